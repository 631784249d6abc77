//! `keep = "archive"`: what an indexer asks for at any height is answered as it was, long after other nodes have
//! forgotten it. The questions are those of graph-node and of Blockscout, in the order in which they ask.

use std::sync::Arc;

use alloy_primitives::{Address, B256, Bytes, U256, bytes};
use sahara_chain::{
    consensus::Time,
    embedded::Embedded,
    ledger::{Ledger, Retention},
    rpc::Limits,
    store::{Engine, MemoryStore, Store},
};
use serde_json::{Value, json};

use crate::{
    common::{CHAIN, Chain, START, address, genesis, key, transfer},
    rpc::{Rpc, invoke},
};

/// SSTORE(0, CALLVALUE + 1), LOG1(topic 0x2a) with a call's value; without value it returns slot 0.
const COUNTER: Bytes = bytes!("34600f575f545f5260205ff35b" "5b3460010160005534600052602a60206000a100");

fn archive(store: Arc<dyn Store>, keep: Retention) -> Chain {
    let ledger = Arc::new(Ledger::open(store.clone()).unwrap().keeping(keep));
    let json = serde_json::to_vec(&genesis()).unwrap();
    let driver = Embedded::start(ledger.clone(), store.clone(), key(), CHAIN, &json, Time(START)).unwrap();
    Chain { ledger, driver, store, now: START }
}

fn number(height: u64) -> Value {
    json!(format!("{height:#x}"))
}

/// Questions at `height`, as graph-node and Blockscout put them for a block.
fn index(rpc: &Rpc, height: u64, contract: Address) -> Value {
    let mut seen = Vec::new();
    let mut ask = |method: &str, params: Value| {
        let told = rpc.ask(method, params);
        seen.push(told.clone());
        told
    };
    // graph-node: the block with transactions, receipts at once, logs by hash and by range, calls at the block's hash.
    let block = ask("eth_getBlockByNumber", json!([number(height), true]));
    let hash = &block["hash"];
    ask("eth_getBlockByHash", json!([hash, true]));
    let receipts = ask("eth_getBlockReceipts", json!([{ "blockHash": hash }]));
    for tx in block["transactions"].as_array().unwrap() {
        ask("eth_getTransactionReceipt", json!([tx["hash"]]));
    }
    ask("eth_getLogs", json!([{ "blockHash": hash, "address": [contract] }]));
    ask(
        "eth_getLogs",
        json!([{ "fromBlock": number(height), "toBlock": number(height), "topics": [[B256::with_last_byte(0x2a)]] }]),
    );
    ask("eth_call", json!([{ "to": contract }, { "blockHash": hash }]));
    ask("eth_call", json!([{ "to": contract, "gas": "0x2faf080" }, { "blockNumber": number(height) }]));
    ask("eth_getCode", json!([contract, { "blockHash": hash }]));
    // Blockscout: balances and code of whoever took part at this height, internal transactions, the transaction's traces.
    for who in [address(1), contract, Address::repeat_byte(0x77), block["miner"].as_str().unwrap().parse().unwrap()] {
        ask("eth_getBalance", json!([who, number(height)]));
        ask("eth_getTransactionCount", json!([who, number(height)]));
    }
    ask("eth_getStorageAt", json!([contract, "0x0", number(height)]));
    let tracer = json!({ "tracer": "callTracer", "timeout": "5s" });
    ask("debug_traceBlockByNumber", json!([number(height), tracer]));
    ask("debug_traceBlockByHash", json!([hash, { "tracer": "flatCallTracer" }]));
    for receipt in receipts.as_array().unwrap() {
        ask("debug_traceTransaction", json!([receipt["transactionHash"], tracer]));
    }
    Value::Array(seen)
}

fn every_height(store: Arc<dyn Store>) {
    let keep = Retention { states: 3, blocks: 0, archive: true };
    let mut rpc = Rpc::with(archive(store, keep), Limits::default());
    let contract = rpc.deploy(0, &COUNTER);
    let first = rpc.chain.driver.height();
    let mut told = Vec::new();
    for nonce in 0..12 {
        let txs = match nonce % 3 {
            0 => vec![invoke(1, nonce, contract, nonce + 1, Bytes::new())],
            1 => vec![transfer(1, nonce, Address::repeat_byte(0x77), 5)],
            _ => vec![transfer(1, nonce, address(2), 5), transfer(2, (nonce - 2) / 3, Address::repeat_byte(0x77), 1)],
        };
        rpc.block(&txs);
        let height = rpc.chain.driver.height();
        told.push((height, index(&rpc, height, contract)));
    }
    for _ in 0..10 {
        rpc.block(&[]);
    }
    assert_eq!(rpc.chain.ledger.oldest_state().unwrap(), 0, "all states are kept");
    for (height, was) in &told {
        assert_eq!(index(&rpc, *height, contract), *was, "block {height} is answered as it was");
    }
    // Before the contract there was nothing, and so says the archive.
    assert_eq!(rpc.ask("eth_getCode", json!([contract, number(first - 1)])), "0x");
    assert_eq!(rpc.ask("eth_call", json!([{ "to": contract }, number(first - 1)])), "0x");
    assert_eq!(rpc.ask("eth_getBalance", json!([address(1), "earliest"])), "0xd3c21bcecceda1000000");
    let what = rpc.ask("eth_capabilities", json!([]));
    assert_eq!(what["state"]["oldestBlock"], "0x0");
    // Old proofs are refused by name: the tries of the past are not kept.
    let (_, words) = rpc.refuses("eth_getProof", json!([contract, ["0x0"], number(first)]));
    assert!(words.contains("newest block only"), "{words}");
}

#[test]
fn an_archive_answers_at_every_height() {
    every_height(Arc::new(MemoryStore::default()));
    for engine in Engine::built() {
        let folder = tempfile::tempdir().unwrap();
        every_height(engine.open(folder.path()).unwrap());
    }
}

#[test]
fn an_archive_begins_where_it_was_switched_on_and_ends_with_a_gap() {
    let store: Arc<dyn Store> = Arc::new(MemoryStore::default());
    let to = Address::repeat_byte(0x77);
    let mut nonce = 0;
    let mut run = |on: bool, blocks: u64| {
        let mut chain = archive(store.clone(), Retention { states: 2, blocks: 0, archive: on });
        for _ in 0..blocks {
            chain.block(&[transfer(0, nonce, to, 1)]);
            nonce += 1;
        }
        let heights: Vec<u64> = (0..=nonce).filter(|h| chain.ledger.state_at(*h).unwrap().is_some()).collect();
        for height in &heights {
            let state = chain.ledger.state_at(*height).unwrap().unwrap();
            let balance = state.view().account(to).unwrap().map_or(U256::ZERO, |account| account.balance);
            assert_eq!(balance, U256::from(*height), "one more in each block");
        }
        assert_eq!(chain.ledger.oldest_state().unwrap(), heights[0]);
        heights[0]
    };
    assert_eq!(run(false, 10), 8, "the last two, and the newest");
    assert_eq!(run(true, 10), 10, "since it is an archive");
    assert_eq!(run(false, 10), 28, "no longer one");
    assert_eq!(run(true, 10), 30, "one again: nothing of before the gap counts");
}
