//! `eth_simulateV1`: blocks on top of a state that are only supposed. Ethereum's own pairs are asked by the example
//! `execution-apis`; here is what matters on this chain.

use alloy_primitives::{Address, B256, Bytes, U256, bytes};
use serde_json::{Value, json};

use crate::{
    common::address,
    rpc::{Rpc, invoke},
};

/// SSTORE(0, CALLVALUE + 1), LOG1(topic 0x2a).
const LOGGER: Bytes = bytes!("34600101600055602a60006000a100");

#[test]
fn blocks_can_be_supposed() {
    let mut rpc = Rpc::new();
    let logger = rpc.deploy(0, &LOGGER);
    let before = rpc.chain.head().app_hash;
    let poor = Address::repeat_byte(0x42);
    let rich = json!({ poor.to_string(): { "balance": "0x64" } });
    let first = json!({ "stateOverrides": rich, "calls": [{ "from": poor, "to": logger, "value": "0x9" }] });
    let second =
        json!({ "blockOverrides": { "number": "0x9" }, "calls": [{ "from": poor, "to": address(1), "value": "0x1" }] });
    let asked = json!({ "blockStateCalls": [first, second], "traceTransfers": true, "returnFullTransactions": true });
    let told = rpc.ask("eth_simulateV1", json!([asked, "latest"]));
    let blocks = told.as_array().unwrap();
    let numbers: Vec<&Value> = blocks.iter().map(|block| &block["number"]).collect();
    assert_eq!(numbers, ["0x3", "0x4", "0x5", "0x6", "0x7", "0x8", "0x9"], "what is left out is empty");
    for (block, next) in blocks.iter().zip(&blocks[1..]) {
        assert_eq!(next["parentHash"], block["hash"]);
    }
    let call = &blocks[0]["calls"][0];
    assert_eq!(call["status"], "0x1");
    let logs = call["logs"].as_array().unwrap();
    assert_eq!(logs.len(), 2, "the payment, and the contract's own");
    assert_eq!(logs[0]["address"], "0xeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeee");
    assert_eq!((&logs[1]["topics"], &logs[1]["blockHash"]), (&json!([B256::with_last_byte(0x2a)]), &blocks[0]["hash"]));
    assert_eq!(blocks[0]["transactions"][0]["from"], json!(poor));
    assert_eq!(blocks[6]["calls"][0]["status"], "0x1", "what one block leaves, the next one has");
    // A real block with the same transaction has the same root.
    rpc.block(&[invoke(1, 0, logger, 9, Bytes::new())]);
    let of = |rpc: &Rpc, at: Value| {
        let fees = json!({ "from": address(1), "to": logger, "value": "0x9", "gas": "0x493e0", "nonce": "0x0",
            "maxFeePerGas": "0x2540be400", "maxPriorityFeePerGas": "0x3b9aca00" });
        rpc.ask("eth_simulateV1", json!([{ "blockStateCalls": [{ "calls": [fees] }], "validation": true }, at]))
    };
    let real = rpc.ask("eth_getBlockByNumber", json!(["0x3", false]));
    let supposed = of(&rpc, json!("0x2"));
    for field in ["gasUsed", "receiptsRoot", "logsBloom", "baseFeePerGas"] {
        assert_eq!(supposed[0][field], real[field], "{field}");
    }
    // Nothing of it stays.
    assert_eq!(rpc.ask("eth_getBalance", json!([poor, "latest"])), "0x0");
    assert_ne!(rpc.chain.head().app_hash, before);

    let refuses = |block: Value, more: Value| {
        let mut asked = json!({ "blockStateCalls": [block] });
        asked.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        rpc.refuses("eth_simulateV1", json!([asked, "latest"]))
    };
    let pay = |more: Value| {
        let mut call = json!({ "from": poor, "to": address(1), "value": "0x1" });
        call.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        json!({ "stateOverrides": { poor.to_string(): { "balance": "0x64" } }, "calls": [call] })
    };
    let paying = |more: Value| {
        let mut block = pay(more);
        block["stateOverrides"][poor.to_string()]["balance"] = json!("0xde0b6b3a7640000");
        block
    };
    let strict = json!({ "validation": true });
    let none = json!({});
    for (block, more, code) in [
        (json!({ "calls": [{ "from": poor, "to": address(1), "value": "0x1" }] }), &none, -38014),
        (paying(json!({ "nonce": "0x5", "maxFeePerGas": "0x77359400", "gas": "0x5208" })), &strict, -38011),
        (pay(json!({})), &strict, -38012),
        (pay(json!({ "gas": "0x5207" })), &none, -38013),
        (pay(json!({ "gas": "0xffffffffff" })), &none, -38015),
        (json!({ "blockOverrides": { "number": "0x1" } }), &none, -38020),
        (json!({ "blockOverrides": { "time": "0x1" } }), &none, -38021),
        (json!({ "blockOverrides": { "number": "0x10000" } }), &none, -38026),
        (json!({ "blockOverrides": { "number": U256::MAX } }), &none, -38026),
    ] {
        let (said, words) = refuses(block.clone(), more.clone());
        assert_eq!(said, code, "{block} {more}: {words}");
    }
    let far = rpc.try_ask("eth_simulateV1", json!([{ "blockStateCalls": vec![json!({}); 257] }])).unwrap_err();
    assert_eq!(far["code"], -38026, "{far}");
    let missing = rpc.refuses("eth_simulateV1", json!([{ "blockStateCalls": [] }, "0x999"]));
    assert_eq!(missing.0, -32000);
}
