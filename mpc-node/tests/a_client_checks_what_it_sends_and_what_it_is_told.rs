//! The client is the consumer's guard: inputs for which the graph's bounds do not hold never leave it, and a node's word
//! about a sharing counts as far as the owner has signed it. (`a_misbehaving_evaluator_is_named` has what it checks of answers.)
#![allow(clippy::unwrap_used)] // a panic is the failure report

mod common;

use std::sync::{Arc, Mutex};

use common::rogue::Rogue;
use common::upload::ByHand;
use common::{Case, Network, case};
use sahara_circuits::graph::Graph;
use sahara_mpc::client::{
    Assignment, Client, ClientError, ClientOptions, Committee, Job, ManifestId, Member, OwnerKey, Rounding,
    SharingName, SharingRef, Task,
};
use sahara_mpc::identity::generate;
use sahara_mpc::wire::{Caller, FindSharing, Kind, Message, SharingReply};

#[test]
fn inputs_for_which_the_bounds_do_not_hold_never_leave_the_client() {
    // Nobody listens there: whoever tried to send something would hear of it.
    let member = |n: u8| Member {
        name: format!("node {n}"),
        address: format!("127.0.0.1:{n}"),
        key: generate().unwrap().public(),
    };
    let committee = Committee::new([1, 2, 3].map(member)).unwrap();
    let client = Client::new(generate().unwrap(), committee, ClientOptions::default());
    let Case { graph, mut inputs, .. } = case(41);
    let mut graph = Graph::clone(&graph);
    graph.inputs[0].max_abs = 100;
    graph.inputs[0].max_row_norm = 120;
    let infer = |inputs: &[Vec<i32>]| {
        let assignment = Assignment::ALL[0];
        let task = Task { manifest: ManifestId([1; 32]), graph: graph.id(), assignment, rounding: Rounding::Exact };
        client.infer(&Job { graph: &graph, task, inputs, auto_prepare: false }).unwrap_err()
    };
    let columns = graph.inputs[0].shape.cols as usize;
    assert!(columns > 1);
    inputs[0].fill(0);
    assert!(infer(&inputs).is_unreachable(), "these may go");
    let refused = |inputs: &[Vec<i32>], say: &str| {
        let error = infer(inputs);
        assert!(matches!(error, ClientError::Request(_)) && error.to_string().contains(say), "{error}");
    };
    refused(&inputs[1..], "inputs, ");
    let change = |change: &dyn Fn(&mut Vec<i32>)| {
        let mut changed = inputs.clone();
        change(&mut changed[0]);
        changed
    };
    refused(&change(&|x| x.truncate(x.len() - 1)), "were given");
    refused(&change(&|x| x.push(0)), "were given");
    refused(&change(&|x| x[0] = 101), "100");
    refused(&change(&|x| x[0] = i32::MIN), "100");
    // Each value may be, the row may not.
    refused(&change(&|x| x[..2].fill(-90)), "120");
    assert!(infer(&change(&|x| x[..2].fill(80))).is_unreachable());
}

/// Plays node 3, which answers questions after a sharing with what `says` holds.
fn liar(network: &mut Network, says: &Arc<Mutex<SharingReply>>) -> Rogue {
    network.stop_node(2);
    let says = says.clone();
    Rogue::start(network, 2, move |mut lane| {
        while let Ok((kind, question)) = lane.receive_request(Caller::Consumer) {
            assert_eq!(kind, Kind::FindSharing);
            FindSharing::decode(&question).unwrap();
            let reply = says.lock().unwrap().clone();
            lane.send(&reply).unwrap();
        }
    })
}

#[test]
fn a_node_cannot_pass_off_another_sharing_as_the_one_that_is_meant() {
    let mut network = Network::start(|toml| toml);
    let (owner, thief) = (generate().unwrap(), generate().unwrap());
    let model = case(13);
    let signed = |key, name, committee: [u8; 32]| {
        let mut by_hand = ByHand::new(&network, key, name, 1, &model);
        by_hand.manifest.committee = committee;
        by_hand.manifest.sign(key).unwrap()
    };
    let here = network.committee.digest();
    let right = signed(&owner, "model", here);
    let wrong = [
        ("another owner", signed(&thief, "model", here)),
        ("another name", signed(&owner, "other", here)),
        ("another committee", signed(&owner, "model", [7; 32])),
    ];
    let named = SharingRef::Named(OwnerKey::Ed25519(owner.public()), "model".parse::<SharingName>().unwrap());
    let exactly = SharingRef::Manifest(right.id());
    let by_hand = ByHand::new(&network, &owner, "model", 1, &model);
    assert_eq!(by_hand.manifest.clone().sign(&owner).unwrap().id(), right.id());
    (0..2).for_each(|node| by_hand.upload(&network, &owner, node).unwrap());

    let says = Arc::new(Mutex::new(SharingReply::default()));
    let rogue = liar(&mut network, &says);
    let client = network.client();
    for (what, manifest) in wrong {
        *says.lock().unwrap() = SharingReply { manifest: Some(manifest), ..SharingReply::default() };
        for which in [&named, &exactly] {
            let error = client.find(which).unwrap_err().to_string();
            assert!(error.contains("node 3 (") && error.contains("another sharing than"), "{what}: {error}");
        }
    }
    *says.lock().unwrap() = SharingReply { manifest: Some(right.clone()), ..SharingReply::default() };
    assert_eq!(client.find(&named).unwrap().unwrap().id(), right.id());
    rogue.stop();
}
