//! `doctor` names the cause when a node of the committee cannot be talked to: another committee file is not a node that
//! does not run.
#![allow(clippy::unwrap_used)] // a panic is the failure report

mod common;

use common::Network;
use sahara_mpc::client::{Committee, Member};
use sahara_mpc::doctor::{Finding, Level, examine};
use sahara_mpc::identity;

fn peers(network: &Network) -> Vec<Finding> {
    let findings = examine(&network.home(0));
    findings.into_iter().filter(|finding| finding.what == "peer" && finding.level == Level::Problem).collect()
}

/// Gives node 1 a committee file of its own, though its process keeps the old one.
fn change(network: &Network, edit: impl Fn(&mut [Member; 3])) {
    let mut members = network.committee.members().to_vec().try_into().unwrap();
    edit(&mut members);
    Committee::new(members).unwrap().save(&network.home(0).join("committee.toml")).unwrap();
}

#[test]
fn each_cause_has_its_own_fix() {
    let mut network = Network::start(|toml| toml);
    assert_eq!(peers(&network), [], "a network that runs has no problem");

    change(&network, |members| members[1].key = identity::generate().unwrap().public());
    let found = peers(&network);
    assert!(found[0].fix.as_ref().unwrap().contains("committee mismatch: another key"), "{found:?}");
    let says =
        |found: &[Finding], what: &str| found.iter().all(|f| f.fix.as_ref().is_some_and(|fix| fix.contains(what)));
    assert!(says(&found, "committee mismatch") && found.len() == 2, "{found:?}");

    change(&network, |members| members.swap(1, 2));
    let found = peers(&network);
    assert!(says(&found, "committee mismatch") && found.len() == 2, "the order of the keys counts: {found:?}");

    change(&network, |_| ());
    network.stop_node(1);
    let found = peers(&network);
    assert!(says(&found, "nothing listens there") && found.len() == 1, "{found:?}");

    // Something listens that is no share node and never speaks.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    change(&network, |members| members[1].address = silent.local_addr().unwrap().to_string());
    let found = peers(&network);
    assert!(says(&found, "says nothing") && found.len() == 1, "{found:?}");
}
