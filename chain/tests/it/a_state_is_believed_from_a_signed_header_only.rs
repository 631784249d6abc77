//! Whoever has one trusted header of a chain believes of its state what nodes prove, of an embedded validator as of any
//! other, and nothing that they only say.

use std::time::Duration;

use alloy_primitives::{Address, B256, U256, hex};
use sahara_light::{Anchor, Light, LightError, Options};

use crate::{
    common::{CHAIN, START},
    rpc::{Rpc, invoke},
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
    let (address, _server) = rpc.serve();
    let hash = rpc.chain.header_hash(1);
    let url = format!("http://{address}").parse().unwrap();
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
