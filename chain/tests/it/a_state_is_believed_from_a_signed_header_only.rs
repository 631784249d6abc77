//! Whoever has one trusted header of a chain believes of its state what nodes prove, of an embedded validator as of any
//! other, and nothing that they only say.

use std::time::Duration;

use alloy_primitives::{Address, B256, U256, hex};
use sahara_chain::wallet::Payment;
use sahara_light::{Anchor, Light, LightError, Options};
use serde_json::json;

use crate::{
    cluster::quantity,
    common::{CHAIN, START, address, pay},
    network::{self, eventually},
    rpc::{Rpc, invoke},
    workshop::DevNode,
};

/// Stores the word behind its first input word: SSTORE(CALLDATALOAD(0), CALLDATALOAD(32)).
const KEEPER: [u8; 8] = hex!("6020356000355500");

fn slot(number: u64) -> B256 {
    B256::from(U256::from(number))
}

fn keep(slot: u64, value: u64) -> Vec<u8> {
    [U256::from(slot), U256::from(value)].iter().flat_map(|word| word.to_be_bytes::<32>()).collect()
}

/// The chain's own time: that of its tests stands still.
fn at(seconds: u64) -> Duration {
    Duration::from_nanos(START) + Duration::from_secs(seconds)
}

#[test]
fn a_state_is_believed_from_a_signed_header_only() {
    let mut rpc = Rpc::new();
    let keeper = rpc.deploy(6, &KEEPER);
    rpc.block(&[invoke(6, 1, keeper, 0, keep(3, 42).into())]);
    rpc.block(&[]);
    let (place, _server) = rpc.serve();
    let hash = rpc.chain.header_hash(1);
    let url = format!("http://{place}").parse().unwrap();
    let anchor = Anchor::new(CHAIN, 1, 1, hash, vec![url]).unwrap();
    let light = Light::open(anchor.clone(), Options { clock: || at(5), ..Options::default() });

    let nobody = Address::repeat_byte(9);
    let proven = light.words(&[(keeper, slot(3)), (keeper, slot(4)), (nobody, slot(0))]).unwrap();
    assert_eq!(proven.words, [slot(42), slot(0), slot(0)]);
    assert_eq!((proven.height, light.header().unwrap().height), (3, 4));
    // The next block, and what is not followed by a header yet.
    rpc.block(&[invoke(6, 2, keeper, 0, keep(3, 43).into())]);
    assert_eq!(light.words(&[(keeper, slot(3))]).unwrap().words, [slot(42)]);
    rpc.block(&[]);
    assert_eq!(light.words(&[(keeper, slot(3))]).unwrap().words, [slot(43)]);

    let other = Anchor::new(CHAIN, 1, 1, B256::repeat_byte(7), anchor.rpc.clone()).unwrap();
    let deceived = Light::open(other, Options { clock: || at(5), ..Options::default() });
    let said = deceived.words(&[(keeper, slot(3))]).unwrap_err().to_string();
    assert!(said.contains("the trust anchor says"), "{said}");
    let late = Light::open(anchor, Options { clock: || at(100), ..Options::default() });
    let refused = late.words(&[(keeper, slot(3))]).unwrap_err();
    assert!(matches!(refused, LightError::Stale { .. }), "{refused}");
}

#[test]
fn a_chain_that_makes_blocks_on_demand_proves_its_last_one() {
    let node = DevNode::start_with(&["--block-time-ms", "0"]);
    let ask = |method, params| network::ask(&node.url, method, params).unwrap();
    let height = || quantity(&ask("eth_blockNumber", json!([])));
    let anchor = Anchor::of_node(node.url.parse().unwrap(), Duration::from_secs(5)).unwrap();
    let light = Light::open(anchor, Options::default());
    let keeper = address(6).create(0);
    let init = [hex!("6008600c60003960086000f3").as_slice(), &KEEPER].concat();
    ask(
        "eth_sendRawTransaction",
        json!([pay(6, Payment { input: init.into(), gas_limit: 500_000, ..Payment::default() })]),
    );
    for (nonce, value) in (1..).zip([42, 43, 44]) {
        ask("eth_sendRawTransaction", json!([invoke(6, nonce, keeper, 0, keep(3, value).into())]));
        let made = nonce + 1;
        eventually("the transaction's block", || {
            quantity(&ask("eth_getTransactionCount", json!([address(6), "latest"]))) == made
        });
        let before = height();
        let proven = light.words(&[(keeper, slot(3))]).unwrap();
        assert_eq!((proven.words, proven.height), (vec![slot(value)], before), "one block more was made to prove it");
        light.words(&[(keeper, slot(3))]).unwrap();
        assert!(height() <= before + 2, "who asks often gets no block for each question");
    }
}
