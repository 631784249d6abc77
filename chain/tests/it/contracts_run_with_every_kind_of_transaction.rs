//! Legacy, access-list, fee-market and delegating transactions all execute, log, and show in roots and bloom; blobs
//! are refused.

use crate::common::{Chain, address, pay, wallet};
use alloy_consensus::{TxEip2930, TxEip7702, TxLegacy};
use alloy_eips::eip7702::Authorization;
use alloy_primitives::{Address, B256, Bytes, TxKind, U256, bytes};
use sahara_chain::{block, genesis::DEV_CHAIN_ID, wallet::Payment};

/// Deploys: SSTORE(0, CALLVALUE + 1), LOG1(topic 0x2a), STOP.
const INIT: Bytes = bytes!("600f600c600039600f6000f3" "3460010160005560" "2a60006000a100");
const PRICE: u128 = 3_000_000_000;

#[test]
fn contracts_run_with_every_kind_of_transaction() {
    let mut chain = Chain::new();
    let create = pay(0, Payment { input: INIT, gas_limit: 200_000, ..Payment::default() });
    assert_eq!(chain.send(create).code, 0);
    let block = block::block_at(chain.head().reader.as_ref(), 1).unwrap().unwrap();
    let contract = block.facts[0].contract;
    assert_eq!(contract, address(0).create(0));

    let to = TxKind::Call(contract);
    let legacy = TxLegacy {
        chain_id: Some(DEV_CHAIN_ID),
        gas_price: PRICE,
        gas_limit: 100_000,
        to,
        value: U256::from(4),
        ..TxLegacy::default()
    };
    let listed = TxEip2930 {
        chain_id: DEV_CHAIN_ID,
        gas_price: PRICE,
        gas_limit: 100_000,
        to,
        value: U256::from(6),
        ..TxEip2930::default()
    };
    // Account 3 signs that its address runs the contract's code; account 2 pays and calls it.
    let authorization = Authorization { chain_id: U256::from(DEV_CHAIN_ID), address: contract, nonce: 0 };
    let signature = wallet(3).sign_hash(authorization.signature_hash()).unwrap();
    let delegating = TxEip7702 {
        chain_id: DEV_CHAIN_ID,
        gas_limit: 200_000,
        max_fee_per_gas: PRICE,
        max_priority_fee_per_gas: 1,
        to: address(3),
        authorization_list: vec![authorization.into_signed(signature)],
        ..TxEip7702::default()
    };
    let txs = [
        wallet(0).sign(TxLegacy { nonce: 1, ..legacy }).unwrap(),
        wallet(1).sign(listed).unwrap(),
        wallet(2).sign(delegating).unwrap(),
    ];
    let done = chain.block(&txs);
    assert_eq!(done.results.iter().map(|r| r.code).collect::<Vec<_>>(), [0, 0, 0], "{:?}", done.results);

    let head = chain.head();
    let block = block::block_at(head.reader.as_ref(), 2).unwrap().unwrap();
    assert_eq!(block.hash, head.hash);
    assert_eq!(block.header.parent_hash, block::hash_at(head.reader.as_ref(), 1).unwrap().unwrap());
    assert_eq!(block.receipts.iter().map(|r| r.logs().len()).collect::<Vec<_>>(), [1, 1, 1]);
    let topic = B256::with_last_byte(0x2a);
    assert!(block.header.logs_bloom.contains_raw_log(contract, &[topic]));
    assert!(block.header.logs_bloom.contains_raw_log(address(3), &[topic]));
    assert!(!block.header.logs_bloom.contains_raw_log(Address::ZERO, &[topic]));
    let mut view = head.view();
    let last = if block.facts[0].sender == address(0) && block.facts[1].sender == address(1) { 7 } else { 5 };
    assert_eq!(view.slot(contract, U256::ZERO).unwrap(), U256::from(last));
    assert_eq!(view.slot(address(3), U256::ZERO).unwrap(), U256::from(1));
    assert_eq!(block.header.gas_used, block.facts.iter().map(|f| f.gas_used).sum::<u64>());
    assert_eq!(head.operator(None), Address::ZERO);

    let blob = Bytes::from([&[3u8], txs[1].as_ref()].concat());
    assert_eq!(chain.block(&[blob]).results, []);
}
