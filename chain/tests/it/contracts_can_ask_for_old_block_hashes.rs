//! The contract of EIP-2935 serves the hashes of past blocks, far beyond the 256 of the instruction.

use alloy_eips::eip2935::HISTORY_STORAGE_ADDRESS;
use alloy_primitives::{Address, B256, Bytes, U256};
use sahara_chain::{
    block,
    evm::{BlockContext, Call, FORK, Machine},
    genesis::DEV_CHAIN_ID,
};

use crate::common::Chain;

#[test]
fn contracts_can_ask_for_old_block_hashes() {
    let mut chain = Chain::new();
    for _ in 0..300 {
        chain.block(&[]);
    }
    let head = chain.head();
    let expected = |height| block::hash_at(head.reader.as_ref(), height).unwrap().unwrap();
    for height in [0, 1, 20, 299] {
        assert_eq!(ask(&chain, height), Some(expected(height)), "block {height}");
    }
    assert_eq!(ask(&chain, 5_000), None, "a block that is not there yet");
}

fn ask(chain: &Chain, height: u64) -> Option<B256> {
    let head = chain.head();
    let context = BlockContext {
        chain_id: DEV_CHAIN_ID,
        number: head.height + 1,
        time: head.header.timestamp + 1,
        beneficiary: Address::ZERO,
        gas_limit: 30_000_000,
        base_fee: 0,
        random: B256::ZERO,
        spec: FORK,
    };
    let input = Bytes::from(U256::from(height).to_be_bytes::<32>());
    let call = Call { to: Some(HISTORY_STORAGE_ADDRESS), input, gas_limit: 1_000_000, ..Call::default() };
    let mut view = head.view();
    let outcome = Machine::for_calls(&mut view, &context).call(&call).unwrap().unwrap();
    outcome.success.then(|| B256::from_slice(&outcome.output))
}
