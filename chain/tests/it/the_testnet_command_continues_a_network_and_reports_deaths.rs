//! `testnet` makes a network once and continues it afterwards, says what died, refuses to run twice at one place, and
//! leaves no process behind.

use std::{path::Path, process::Command};

use serde_json::json;

use crate::{
    cluster::Traffic,
    network::{Network, PROGRAM, ask, eventually},
};

fn again(home: &Path, count: &str) -> String {
    let output = Command::new(PROGRAM).args(["testnet", count, "--home"]).arg(home).output().unwrap();
    assert_eq!(output.status.code(), Some(2), "a user's mistake");
    String::from_utf8(output.stderr).unwrap()
}

fn runs(pid: u64) -> bool {
    Path::new(&format!("/proc/{pid}")).exists()
}

#[test]
fn the_testnet_command_continues_a_network_and_reports_deaths() {
    let folder = tempfile::tempdir().unwrap();
    let home = folder.path().join("a \"place\" with spaces é/and depth");
    let network = Network::start(&home, 4);
    let [first, last] = [0, 3].map(|i| network.validators[i].rpc.clone());
    let receipt = |hash: &serde_json::Value| ask(&last, "eth_getTransactionReceipt", json!([hash])).unwrap();
    let hash = ask(&first, "eth_sendRawTransaction", json!([Traffic::of(5).next()])).unwrap();
    eventually("a receipt", || !receipt(&hash).is_null());
    let known = receipt(&hash);

    assert!(again(&home, "4").contains("does this network run already?"));
    assert!(again(&home, "3").contains("a network of another size"));

    let dead = network.validators[2].pids[0];
    network.signal("-KILL", dead);
    network.hears("validator 2: ledger was killed");
    network.hears("validator 2: cometbft ended");
    network.hears("3 of 4 validators are whole: the chain goes on");
    let height = network.height(0) + 2;
    network.wait_for_height(0, height);
    let pids: Vec<u64> = network.validators.iter().flat_map(|v| v.pids).collect();
    network.stop();
    assert!(!pids.into_iter().any(runs), "a process outlived the network");

    let network = Network::start(&home, 4);
    for validator in 0..4 {
        network.wait_for_height(validator, height + 1);
        let seen = ask(&network.validators[validator].rpc, "eth_getTransactionReceipt", json!([hash])).unwrap();
        assert_eq!(seen, known);
    }
    // Not even a command that is killed itself leaves processes behind.
    let pids: Vec<u64> = network.validators.iter().flat_map(|v| v.pids).collect();
    network.kill();
    eventually("the validators to end", || !pids.iter().copied().any(runs));
}
