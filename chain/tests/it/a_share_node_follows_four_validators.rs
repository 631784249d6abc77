//! What a share node believes of a network of four validators: through a change of who validates, with nodes that die, and
//! nothing any more once the chain stands still.

use std::time::Duration;

use alloy_primitives::{Address, B256, Bytes, U256, bytes};
use sahara_chain::{genesis::TOKEN, staking, wallet::Payment};
use sahara_light::{Anchor, Light, LightError, Options};
use serde_json::json;

use crate::{
    cluster::{CHAIN, Cluster, staking_input},
    common::{address, pay},
    network::{ask, eventually},
};

/// Deploys: SSTORE(0, CALLVALUE + 1), STOP.
const INIT: Bytes = bytes!("600a600c600039600a6000f3" "34600101600055000000");

fn call(contract: Address, nonce: u64, value: u64) -> Bytes {
    let value = U256::from(value);
    pay(6, Payment { nonce, to: Some(contract), value, gas_limit: 100_000, ..Payment::default() })
}

#[test]
fn a_share_node_follows_four_validators() {
    let mut cluster = Cluster::start(4);
    let urls =
        |nodes: &[usize]| nodes.iter().map(|node| cluster.nodes[*node].rpc().parse().unwrap()).collect::<Vec<_>>();
    let trusted = Anchor::of_node(urls(&[0]).remove(0), Duration::from_secs(10)).unwrap();
    assert_eq!(trusted.chain, CHAIN);
    // The nodes are asked in this order; the first of them is not there.
    let mut rpc = vec!["http://127.0.0.1:1".parse().unwrap()];
    rpc.extend(urls(&[3, 2]));
    let anchor = Anchor { rpc, ..trusted };
    let folder = tempfile::tempdir().unwrap();
    let kept = Some(folder.path().join("header"));
    let light = Light::open(anchor.clone(), Options { kept: kept.clone(), ..Options::default() });

    // Another set of validators than the anchor's, and a contract whose slot 0 is 42.
    let delegate = Payment {
        to: Some(staking::ADDRESS),
        value: TOKEN * U256::from(30),
        input: staking_input("delegate(address)", &[U256::from_be_slice(address(2).as_slice())]),
        gas_limit: 300_000,
        ..Payment::default()
    };
    let powers = cluster.nodes[1].powers();
    cluster.nodes[1].succeed(&pay(7, delegate));
    let contract = address(6).create(0);
    cluster.nodes[1].succeed(&pay(6, Payment { input: INIT, gas_limit: 200_000, ..Payment::default() }));
    cluster.nodes[1].succeed(&call(contract, 1, 41));
    let word = |light: &Light| light.words(&[(contract, B256::ZERO)]).map(|proven| proven.words[0]);
    let number = |number: u64| Ok(B256::from(U256::from(number)));
    eventually("the word to be proven", || word(&light) == number(42));
    eventually("who validates to change", || cluster.nodes[1].powers() != powers);
    cluster.advance(&[0, 1, 2, 3], 2);
    eventually("the new validators to be believed", || word(&light) == number(42));
    assert!(light.header().unwrap().height > anchor.height + 3);
    // Whoever comes later, from the anchor in one leap; and the other way of asking.
    let later = Light::open(anchor.clone(), Options::default());
    assert_eq!(word(&later), number(42));
    assert_eq!(later.refresh().unwrap().height, later.header().unwrap().height);
    let many = json!([{ format!("{contract:#x}"): vec!["0x0"; 1025] }]);
    assert!(ask(&cluster.nodes[2].rpc(), "sahara_proof", many).unwrap_err().contains("too many slots"));
    let missing = ask(&cluster.nodes[2].rpc(), "sahara_header", json!(["0xffffff"])).unwrap_err();
    assert!(missing.contains("no signed header"), "{missing}");

    // The node that is asked dies: the next one answers, of a newer state.
    cluster.kill(3);
    cluster.nodes[1].succeed(&call(contract, 2, 7));
    eventually("the next node's word to be proven", || word(&light) == number(8));
    // Another dies, and the chain stands still: what was true is not proven any more after a while.
    cluster.stop(&[1]);
    let hasty = Options { max_header_age: Duration::from_secs(5), kept, ..Options::default() };
    let hasty = Light::open(anchor, hasty);
    assert!(hasty.header().is_some(), "it begins where the other one was");
    eventually("the last header to be too old", || matches!(word(&hasty), Err(LightError::Stale { .. })));
    cluster.run(1);
    eventually("the chain to go on", || word(&hasty) == number(8));
}
