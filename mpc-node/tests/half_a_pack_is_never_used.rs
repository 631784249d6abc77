//! A pack of which one evaluator has lost its half is destroyed on the other side, and the next pack serves.
#![allow(clippy::unwrap_used)] // a panic is the failure report

mod common;

use common::{Network, case, files};
use sahara_mpc::client::{Rounding, Visibility};
use sahara_mpc::wire::FailCode;

fn lost_by(node: usize) {
    let mut network = Network::start(|toml| toml);
    let client = network.client();
    let case = case(21);
    case.register(&client, Visibility::Private);
    let task = case.task(0, Rounding::Exact, Visibility::Private);
    client.prepare(&task, 2, &mut |_| ()).unwrap();
    network.stop_node(node);
    let packs = files(&network.home(node).join("packs"));
    assert_eq!(packs.len(), 2, "a stopped node writes its packs to disk: {packs:?}");
    packs.iter().for_each(|pack| std::fs::remove_file(pack).unwrap());
    network.start_node(node);

    let error = case.run(&client, task, false).unwrap_err();
    assert_eq!(error.code(), Some(FailCode::NoPack), "{error}");
    assert_eq!(case.run(&client, task, true).unwrap().outputs, case.expected);
    let ready: Vec<u32> = network.status(&client).iter().map(|s| s.packs_for(&task)).collect();
    assert_eq!(ready, [0, 0, 0], "the halves without a twin are gone");
}

#[test]
fn lost_by_the_first_evaluator() {
    lost_by(1);
}

#[test]
fn lost_by_the_second_evaluator() {
    lost_by(2);
}

#[test]
fn one_half_of_two_is_lost() {
    let mut network = Network::start(|toml| toml);
    let client = network.client();
    let case = case(22);
    case.register(&client, Visibility::Private);
    let task = case.task(0, Rounding::Faithful, Visibility::Private);
    client.prepare(&task, 3, &mut |_| ()).unwrap();
    network.stop_node(2);
    std::fs::remove_file(&files(&network.home(2).join("packs"))[0]).unwrap();
    network.start_node(2);
    for _ in 0..2 {
        case.run(&client, task, false).unwrap();
    }
    assert_eq!(case.run(&client, task, false).unwrap_err().code(), Some(FailCode::NoPack));
}
