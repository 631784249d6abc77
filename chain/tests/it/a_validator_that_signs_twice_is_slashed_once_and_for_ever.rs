//! Two CometBFT processes with one validator's key really sign different votes: the evidence arrives in a block, the
//! validator loses its part once, is tombstoned and leaves consensus, and the others go on.

use std::fs;

use alloy_primitives::U256;
use sahara_chain::{
    evm::abi::split,
    genesis::TOKEN,
    node::{BEACON_FILE, Config, Driver},
    staking,
};
use serde_json::json;

use crate::{
    cluster::{Cluster, Node, Traffic, staking_input},
    common::address,
    network::eventually,
};

/// Tombstoned, in the contract's words.
const TOMBSTONED: u64 = 2;

/// A second home with the key of validator `index` and no memory of what that signed.
fn twin(cluster: &Cluster, index: usize) -> Node {
    let original = &cluster.nodes[index];
    let home = cluster.folder().join("twin");
    for folder in ["config", "data"] {
        fs::create_dir_all(home.join(folder)).unwrap();
    }
    for file in ["config.toml", "genesis.json", "priv_validator_key.json"] {
        fs::copy(original.home.join("config").join(file), home.join("config").join(file)).unwrap();
    }
    fs::copy(original.home.join(BEACON_FILE), home.join(BEACON_FILE)).unwrap();
    fs::write(home.join("data/priv_validator_state.json"), r#"{"height":"0","round":0,"step":0}"#).unwrap();
    let ports = cluster.ports.of(cluster.nodes.len());
    let loopback = |port: u16| std::net::SocketAddr::from(([127, 0, 0, 1], port));
    let driver = Driver::Cometbft { abci: loopback(ports.abci), comet_rpc: loopback(ports.comet_rpc) };
    Config::new(loopback(ports.rpc), driver).save(&home).unwrap();
    let node = Node::new(home, ports);
    let url = |port: u16| format!("\"tcp://127.0.0.1:{port}\"");
    node.set("", "proxy_app", &url(ports.abci));
    node.set("rpc", "laddr", &url(ports.comet_rpc));
    node.set("p2p", "laddr", &url(ports.p2p));
    node
}

#[derive(Debug, PartialEq, Eq)]
struct Standing {
    tokens: U256,
    status: u64,
    power: u64,
    pool: U256,
}

fn standing(node: &Node, index: usize) -> Standing {
    let operator = U256::from_be_slice(address(index).as_slice());
    let view = node.call(staking::ADDRESS, &staking_input("validatorOf(address)", &[operator]));
    let pool = node.call(staking::ADDRESS, &staking_input("pool()", &[]));
    // Return values are laid out as arguments are, but for the selector.
    let behind_selector = [&[0; 4], view.as_ref()].concat();
    let (_, words) = split(&behind_selector).unwrap();
    Standing {
        tokens: words.number(1).unwrap(),
        status: words.small(4).unwrap(),
        power: words.small(6).unwrap(),
        pool: U256::from_be_slice(&pool),
    }
}

/// Pieces of evidence in the blocks up to `height`.
fn evidence(node: &Node, height: u64) -> usize {
    let in_block = |height: u64| {
        let block = node.ask_comet("block", json!({ "height": height.to_string() }));
        block["block"]["evidence"]["evidence"].as_array().map_or(0, Vec::len)
    };
    (1..=height).map(in_block).sum()
}

#[test]
fn a_validator_that_signs_twice_is_slashed_once_and_for_ever() {
    let mut cluster = Cluster::start(4);
    let mut traffic = Traffic::of(5);
    traffic.through(&cluster.nodes[0]);
    let whole = Standing { tokens: TOKEN * U256::from(10), status: 0, power: 10, pool: U256::ZERO };
    assert_eq!(standing(&cluster.nodes[0], 3), whole);

    let second = twin(&cluster, 3);
    cluster.nodes.push(second);
    cluster.run(4);
    eventually("evidence", || standing(&cluster.nodes[0], 3).status == TOMBSTONED);

    // Five parts of a hundred are gone, and stay the only ones while further evidence may arrive.
    let half = TOKEN / U256::from(2);
    let punished = Standing { tokens: whole.tokens - half, status: TOMBSTONED, power: 0, pool: half };
    assert_eq!(standing(&cluster.nodes[0], 3), punished);
    cluster.advance(&[0, 1, 2, 3, 4], 4);
    traffic.through(&cluster.nodes[1]);
    for node in &cluster.nodes {
        assert_eq!(standing(node, 3), punished);
        assert_eq!(node.powers(), [10, 10, 10]);
    }
    let pieces = evidence(&cluster.nodes[0], cluster.nodes[0].height() - 1);
    println!("pieces of evidence: {pieces}");
    assert!(pieces > 0);
    // Its absence is no loss: the three others decide.
    cluster.stop(&[3, 4]);
    traffic.through(&cluster.nodes[2]);
    cluster.nodes.truncate(3);
    cluster.advance(&[0, 1, 2], 1);
    traffic.is_kept(&cluster);
    cluster.agree(1);
}
