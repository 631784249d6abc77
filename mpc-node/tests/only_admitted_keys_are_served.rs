//! A node with a list of consumers refuses other keys in the handshake; a model belongs to the key that registered it.
#![allow(clippy::unwrap_used)] // a panic is the failure report

mod common;

use common::{Network, case};
use sahara_mpc::client::{Assignment, Client, ClientOptions, Rounding, Visibility};
use sahara_mpc::identity;
use sahara_mpc::wire::FailCode;

#[test]
fn strangers_are_refused_in_the_handshake() {
    let friend = identity::generate().unwrap();
    let line = format!("consumers = [\"{}\"]", friend.public());
    let mut network = Network::start(|toml| toml);
    for node in 0..3 {
        network.stop_node(node);
        let file = network.home(node).join("node.toml");
        let text = std::fs::read_to_string(&file).unwrap().replacen("consumers = \"any\"", &line, 1);
        std::fs::write(&file, text).unwrap();
    }
    let friend = Client::new(friend, network.committee.clone(), ClientOptions::default());
    for node in 0..3 {
        network.start_node_for(node, &friend);
    }
    let stranger = network.client();
    let error = stranger.node_status(1).unwrap_err().to_string();
    assert!(error.contains("node 2") && error.contains("does not admit this key"), "{error}");

    // The nodes admit each other, too.
    let case = case(31);
    case.register(&friend, Visibility::Private);
    let task = case.task(2, Rounding::Exact, Visibility::Private);
    assert_eq!(case.run(&friend, task, true).unwrap().outputs, case.expected);
}

#[test]
fn only_its_owner_replaces_a_model() {
    let network = Network::start(|toml| toml);
    let (owner, thief) = (network.client(), network.client());
    let case = case(32);
    case.register(&owner, Visibility::Private);
    // Break the agreement of the three parts from outside: a thief cannot.
    let error = thief
        .register_model(
            std::slice::from_ref(&case.graph),
            &case.weights,
            Visibility::Private,
            &Assignment::ALL,
            &mut |_| (),
        )
        .map(|done| done.weights_sent);
    assert_eq!(error.unwrap(), 0, "all parts are there, so nothing is sent");
    let mut other = common::case(33);
    other.weights = case.weights.clone();
    let error = thief.register_model(&[other.graph], &other.weights, Visibility::Open, &Assignment::ALL, &mut |_| ());
    assert!(error.is_err(), "weights of another model");
}

#[test]
fn open_weights_must_be_those_of_the_graph() {
    let network = Network::start(|toml| toml);
    let client = network.client();
    let mut case = case(34);
    case.weights.tensors[0][0] ^= 1;
    let error = client
        .register_model(
            std::slice::from_ref(&case.graph),
            &case.weights,
            Visibility::Open,
            &Assignment::ALL,
            &mut |_| (),
        )
        .unwrap_err();
    assert_eq!(error.code(), Some(FailCode::Refused));
    assert!(error.to_string().contains("not those that the graph commits to"), "{error}");
}
