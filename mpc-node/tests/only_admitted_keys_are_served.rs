//! A node with lists of owners and consumers refuses other keys in the handshake.
#![allow(clippy::unwrap_used)] // a panic is the failure report

mod common;

use std::sync::Arc;

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
fn whoever_looks_for_models_is_told_which_node_refuses_the_key() {
    let mut network = Network::start(|toml| toml);
    let someone = Arc::new(identity::generate().unwrap());
    let (client, case) = (network.client_of(&someone), case(35));
    let refused = |client: &Client| -> Vec<String> {
        client.sharings().unwrap().failed.iter().map(ToString::to_string).collect()
    };
    assert_eq!(refused(&client), [""; 0]);
    case.register(&network.client(), Visibility::Private);
    // Node 1, which is asked first, and then node 2 take nobody but their own operator in.
    let other = identity::generate().unwrap().public();
    for refusing in [0, 1] {
        let friend = Arc::new(identity::load(&network.home(refusing).join("key")).unwrap());
        network.stop_node(refusing);
        let file = network.home(refusing).join("node.toml");
        let text = std::fs::read_to_string(&file).unwrap();
        let text = text.replacen("owners = \"any\"", &format!("owners = [\"{other}\"]"), 1);
        std::fs::write(&file, text.replacen("consumers = \"any\"", &format!("consumers = [\"{other}\"]"), 1)).unwrap();
        network.start_node_for(refusing, &network.client_of(&friend));
        let client = network.client_of(&someone);
        let told = client.sharings().unwrap();
        assert_eq!(told.sharings.len(), 1, "as the others tell");
        let refused = refused(&client);
        assert_eq!(refused.len(), refusing + 1);
        for (node, text) in refused.iter().enumerate() {
            assert!(text.contains(&format!("node {}", node + 1)) && text.contains("does not admit"), "{text}");
        }
        assert!(told.failed.iter().all(sahara_mpc::client::ClientError::is_not_admitted));
    }
    (1..3).for_each(|node| network.stop_node(node));
    let error = network.client_of(&someone).sharings().unwrap_err().to_string();
    assert!(error.contains("node 1") && error.contains("does not admit"), "nobody answers: {error}");
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
