//! The fuzz targets of the ledger on random bytes, so that every run of the suite tries some.

use proptest::prelude::*;
use sahara_chain::{evm::abi::selector, genesis::Genesis};

use crate::{arbitrary, common};

fn bytes(most: usize) -> impl Strategy<Value = Vec<u8>> {
    proptest::collection::vec(any::<u8>(), 0..most)
}

/// Calls of the staking contract that have a right selector and words that often mean something.
fn calls() -> impl Strategy<Value = Vec<u8>> {
    let names = [
        "createValidator(bytes32,uint256,bytes,bytes32,uint256)",
        "announceBeaconChain(bytes32,uint256)",
        "setCommission(uint256)",
        "unjail()",
        "delegate(address)",
        "undelegate(address,uint256)",
        "redelegate(address,address,uint256)",
        "settle(address,address)",
        "withdraw()",
        "claim(address)",
        "claimCommission()",
        "setParameters((uint256,uint256,uint256,uint256,uint256,uint256,uint256,uint256))",
        "setGovernance(address)",
        "takePool(uint256)",
        "cancelParameters()",
        "collectPool()",
        "cancelPool()",
        "pendingParameters()",
        "pendingPool()",
        "unbondingOf(address)",
        "delegationOf(address,address)",
    ];
    let word = prop_oneof![
        (0usize..10).prop_map(|i| common::address(i).into_word().0),
        any::<u64>().prop_map(|n| alloy_primitives::U256::from(n).to_be_bytes::<32>()),
        any::<[u8; 32]>(),
    ];
    let call = (any::<u8>(), any::<u8>(), 0..names.len(), proptest::collection::vec(word, 0..4));
    proptest::collection::vec(call, 0..24).prop_map(move |calls| {
        let one = |(who, value, name, words): (u8, u8, usize, Vec<[u8; 32]>)| {
            let input = [selector(names[name]).as_slice(), &words.concat()].concat();
            [[who, value, u8::try_from(input.len()).unwrap()].as_slice(), &input].concat()
        };
        calls.into_iter().flat_map(one).collect()
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn in_check_tx(input in bytes(600)) { arbitrary::check_tx(&input) }

    #[test]
    fn in_prepare_proposal(input in bytes(600)) { arbitrary::prepare(&input) }

    #[test]
    fn in_process_proposal(input in bytes(600)) { arbitrary::process(&input) }

    #[test]
    fn in_finalize_block(input in bytes(600)) { arbitrary::finalize(&input) }

    #[test]
    fn in_the_committee_contract(input in bytes(600)) { arbitrary::committee(&input) }

    #[test]
    fn in_the_staking_contract(input in bytes(600), calls in calls()) {
        arbitrary::staking(&input);
        arbitrary::staking(&calls);
    }

    #[test]
    fn in_a_genesis_file(input in bytes(300), at in any::<prop::sample::Index>(), to in any::<u8>()) {
        arbitrary::genesis(&input);
        let mut json = serde_json::to_vec(&Genesis { accounts: Default::default(), ..common::genesis() }).unwrap();
        let at = at.index(json.len());
        json[at] = to;
        arbitrary::genesis(&json);
    }

    #[test]
    fn in_a_snapshot(input in bytes(600)) { arbitrary::snapshot(&input) }

    #[test]
    fn in_a_stored_block(input in bytes(600), at in any::<prop::sample::Index>(), to in any::<u8>()) {
        arbitrary::stored_block(&input);
        let mut chain = common::Chain::new();
        chain.block(&[common::transfer(0, 0, common::address(1), 5)]);
        let key = 1u64.to_be_bytes();
        let mut stored = chain.head().reader.get(sahara_chain::store::Table::Blocks, &key).unwrap().unwrap();
        let at = at.index(stored.len());
        stored[at] = to;
        arbitrary::stored_block(&stored);
    }
}
