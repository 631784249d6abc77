//! A node with lists of owners and consumers refuses other keys in the handshake.
#![allow(clippy::unwrap_used)] // a panic is the failure report

mod common;

use common::{Network, case};
use sahara_mpc::client::{Client, ClientOptions, Rounding, Visibility};
use sahara_mpc::identity;
use sahara_mpc::wire::FailCode;

#[test]
fn strangers_are_refused_in_the_handshake() {
    let friend = identity::generate().unwrap();
    let line = |list: &str| format!("{list} = [\"{}\"]", friend.public());
    let mut network = Network::start(|toml| toml);
    for node in 0..3 {
        network.stop_node(node);
        let file = network.home(node).join("node.toml");
        let mut text = std::fs::read_to_string(&file).unwrap();
        for list in ["owners", "consumers"] {
            text = text.replacen(&format!("{list} = \"any\""), &line(list), 1);
        }
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
fn open_weights_must_be_those_of_the_graph() {
    let network = Network::start(|toml| toml);
    let client = network.client();
    let mut case = case(34);
    case.weights.tensors[0][0] ^= 1;
    let error = client.share(&case.offer(Visibility::Open), &|_, _| ()).unwrap_err();
    assert_eq!(error.code(), Some(FailCode::Refused));
    assert!(error.to_string().contains("not those that the manifest commits to"), "{error}");
}
