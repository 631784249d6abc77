//! A validator without its data returns from a snapshot that its peers serve, without the blocks before it; a node that
//! never was there starts the same way, bonds stake, and signs blocks.

use std::{fs, process::Command};

use alloy_primitives::{U256, hex};
use sahara_chain::{
    beacon::Commitment,
    genesis::TOKEN,
    node::{Config, Driver, ensure_beacon},
    staking,
    validator::ConsensusKey,
    wallet::Payment,
};
use serde_json::{Value, json};

use crate::{
    cluster::{Cluster, Node, Traffic, staking_input},
    common::{address, pay},
    network::{PROGRAM, eventually},
    stake_net::{CREATE, arguments},
};

/// Blocks between snapshots.
const EVERY: u64 = 5;

/// Lets `node` begin from a snapshot of the others, which it checks against a header that its owner trusts.
fn trust(node: &Node, cluster: &Cluster) {
    let servers: Vec<String> = cluster.nodes[..2].iter().map(Node::comet_rpc).collect();
    let signed = cluster.nodes[0].ask_comet("commit", json!({ "height": "1" }))["signed_header"].clone();
    node.set("statesync", "enable", "true");
    node.set("statesync", "rpc_servers", &format!("\"{}\"", servers.join(",")));
    node.set("statesync", "trust_height", "1");
    node.set("statesync", "trust_hash", &signed["commit"]["block_id"]["hash"].to_string());
    node.set("statesync", "trust_period", "\"1h\"");
    node.set("statesync", "discovery_time", "\"5s\"");
}

/// The home of a node that was not there at genesis.
fn newcomer(cluster: &Cluster) -> Node {
    let original = &cluster.nodes[0];
    let home = cluster.folder().join("newcomer");
    fs::create_dir_all(home.join("config")).unwrap();
    fs::create_dir_all(home.join("data")).unwrap();
    for file in ["config.toml", "genesis.json"] {
        fs::copy(original.home.join("config").join(file), home.join("config").join(file)).unwrap();
    }
    let ports = cluster.ports.of(cluster.nodes.len());
    let loopback = |port: u16| std::net::SocketAddr::from(([127, 0, 0, 1], port));
    let driver = Driver::Cometbft { abci: loopback(ports.abci), comet_rpc: loopback(ports.comet_rpc) };
    Config::new(loopback(ports.rpc), driver).save(&home).unwrap();
    ensure_beacon(&home).unwrap();
    let node = Node::new(home, ports);
    let url = |port: u16| format!("\"tcp://127.0.0.1:{port}\"");
    node.set("", "proxy_app", &url(ports.abci));
    node.set("rpc", "laddr", &url(ports.comet_rpc));
    node.set("p2p", "laddr", &url(ports.p2p));
    node
}

/// The first block that CometBFT has: above one after a state sync. It has none between snapshot and next block.
fn earliest(node: &Node) -> u64 {
    let ask = || -> u64 {
        let status = node.ask_comet("status", json!({}));
        status["sync_info"]["earliest_block_height"].as_str().unwrap().parse().unwrap()
    };
    eventually("a block after the snapshot", || ask() > 0);
    ask()
}

#[test]
fn state_sync_brings_back_a_wiped_validator_and_lets_a_newcomer_in() {
    let mut cluster = Cluster::lay_out(4);
    for node in &cluster.nodes {
        let mut config = Config::load(&node.home).unwrap();
        config.keep.snapshot_every = EVERY;
        // A node looks for snapshots for five seconds and takes one then: it must still be there.
        config.keep.snapshots = 100;
        config.save(&node.home).unwrap();
    }
    (0..4).for_each(|index| cluster.run(index));
    cluster.nodes[0].wait_for_height(1);
    let mut traffic = Traffic::of(5);
    traffic.through(&cluster.nodes[0]);

    cluster.stop(&[3]);
    cluster.wipe(3);
    // Beyond a snapshot, so that CometBFT can check it with the headers that follow.
    cluster.nodes[0].wait_for_height(2 * EVERY + 3);
    traffic.through(&cluster.nodes[1]);
    trust(&cluster.nodes[3], &cluster);
    cluster.run(3);
    cluster.advance(&[0, 1, 2, 3], 2);
    let first = earliest(&cluster.nodes[3]);
    assert!(first > EVERY, "the wiped validator began with block {first}, not from a snapshot");
    traffic.through(&cluster.nodes[3]);

    let newcomer = newcomer(&cluster);
    trust(&newcomer, &cluster);
    cluster.nodes.push(newcomer);
    cluster.run(4);
    cluster.advance(&[0, 1, 2, 3, 4], 2);
    let first = first.max(earliest(&cluster.nodes[4]));
    assert!(earliest(&cluster.nodes[4]) > EVERY, "the newcomer began with the first block, not from a snapshot");

    let key: Value =
        serde_json::from_slice(&fs::read(cluster.nodes[4].home.join("config/priv_validator_key.json")).unwrap())
            .unwrap();
    // What `chain keys` tells its operator to register.
    let told = Command::new(PROGRAM)
        .args(["keys", "--json", "--operator", &address(8).to_string(), "--home"])
        .arg(&cluster.nodes[4].home)
        .output()
        .unwrap();
    let told: Value = serde_json::from_slice(&told.stdout).unwrap();
    let told = &told["registration"];
    let text = |name: &str| told[name].as_str().unwrap().to_owned();
    let beacon =
        Commitment { tip: text("beacon_tip").parse().unwrap(), length: told["beacon_length"].as_u64().unwrap() };
    let proof = hex::decode_to_array(text("proof")).unwrap();
    let consensus_key = ConsensusKey(text("consensus_key").parse().unwrap());
    let create = Payment {
        to: Some(staking::ADDRESS),
        value: TOKEN * U256::from(20),
        input: staking_input(CREATE, &arguments(consensus_key, 100, &proof, beacon)),
        gas_limit: 600_000,
        ..Payment::default()
    };
    cluster.nodes[4].succeed(&pay(8, create));
    eventually("the newcomer's weight", || cluster.nodes[0].powers().contains(&20));
    eventually("the newcomer's signature", || {
        let commit = cluster.nodes[0].ask_comet("commit", json!({}))["signed_header"]["commit"].clone();
        let all = commit["signatures"].as_array().unwrap();
        all.iter().any(|s| s["validator_address"] == key["address"] && s["block_id_flag"] == 2)
    });
    // Its weight counts: without one of the first four, the others decide with it.
    cluster.kill(0);
    traffic.through(&cluster.nodes[4]);
    cluster.run(0);
    cluster.advance(&[0, 1, 2, 3, 4], 1);
    for node in &cluster.nodes {
        assert_eq!(node.ask("eth_getBalance", json!([Traffic::TO, "latest"])), json!("0x4"));
        assert_eq!(node.ask("eth_getTransactionCount", json!([address(5), "latest"])), json!("0x4"));
    }
    // The first block is known by its hash only where execution began after it.
    cluster.agree(first + 1);
}
