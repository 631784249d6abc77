//! Four real CometBFT validators agree on transfers, contracts and stake, whichever of them is asked, and weights that
//! staking changes reach consensus.

use alloy_primitives::{Bytes, U256, bytes};
use sahara_chain::{genesis::TOKEN, staking, wallet::Payment};
use serde_json::json;

use crate::{
    cluster::{Cluster, Traffic, staking_input},
    common::{address, pay},
    network::eventually,
};

/// Deploys: SSTORE(0, CALLVALUE + 1), LOG1(topic 0x2a), STOP.
const INIT: Bytes = bytes!("600f600c600039600f6000f3" "3460010160005560" "2a60006000a100");

#[test]
fn four_validators_carry_transfers_contracts_and_stake() {
    let cluster = Cluster::start(4);
    let nodes = &cluster.nodes;
    let mut traffic = Traffic::of(5);
    for node in nodes {
        traffic.through(node);
    }

    let created = nodes[0].succeed(&pay(6, Payment { input: INIT, gas_limit: 200_000, ..Payment::default() }));
    let contract: alloy_primitives::Address = serde_json::from_value(created["contractAddress"].clone()).unwrap();
    assert_eq!(contract, address(6).create(0));
    let call =
        Payment { nonce: 1, to: Some(contract), value: U256::from(41), gas_limit: 100_000, ..Payment::default() };
    let called = nodes[1].succeed(&pay(6, call));
    assert_eq!(called["logs"][0]["address"], json!(contract));
    let height = crate::cluster::quantity(&called["blockNumber"]);
    for node in nodes {
        node.wait_for_height(height);
        let stored = node.ask("eth_getStorageAt", json!([contract, "0x0", "latest"]));
        assert_eq!(stored.as_str().unwrap(), format!("{:#066x}", 42));
    }

    // Seven whole tokens for validator 2: its weight grows from 10 to 17 in consensus itself.
    let delegate = Payment {
        to: Some(staking::ADDRESS),
        value: TOKEN * U256::from(7),
        input: staking_input("delegate(address)", &[U256::from_be_slice(address(2).as_slice())]),
        gas_limit: 300_000,
        ..Payment::default()
    };
    nodes[2].succeed(&pay(7, delegate));
    for node in nodes {
        eventually("the new weight", || {
            let mut powers = node.powers();
            powers.sort_unstable();
            powers == [10, 10, 10, 17]
        });
    }
    traffic.through(&nodes[3]);
    cluster.advance(&[0, 1, 2, 3], 1);
    traffic.is_kept(&cluster);
    cluster.agree(1);
}
