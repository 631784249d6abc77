//! Tracers of transactions, blocks and calls, in recent blocks of the past: calls inside calls, logs, steps, the state
//! that was touched; what failed leaves no logs.

use alloy_primitives::{Address, B256, Bytes, bytes};
use serde_json::{Value, json};

use crate::{
    common::address,
    rpc::{Rpc, invoke},
};

/// SSTORE(0, CALLVALUE + 1), LOG1(topic 0x2a).
const LOGGER: Bytes = bytes!("34600101600055602a60006000a100");
/// Calls the address in its input with three units, then stops.
const CALLER: Bytes = bytes!("60006000600060006003" "6000355af100");
/// Does the same, then reverts.
const REVERTER: Bytes = bytes!("60006000600060006003" "6000355af15f5ffd");

fn input(to: Address) -> Bytes {
    Bytes::from(to.into_word().0)
}

fn number(value: &Value) -> u64 {
    u64::from_str_radix(value.as_str().unwrap().trim_start_matches("0x"), 16).unwrap()
}

#[test]
fn traces_show_what_a_transaction_did() {
    let mut rpc = Rpc::new();
    let logger = rpc.deploy(0, &LOGGER);
    let caller = rpc.deploy(0, &CALLER);
    let reverter = rpc.deploy(0, &REVERTER);
    let receipts = rpc.block(&[
        invoke(1, 0, caller, 10, input(logger)),
        invoke(1, 1, reverter, 10, input(logger)),
        invoke(1, 2, address(5), 7, Bytes::new()),
    ]);
    assert_eq!(receipts.iter().map(|r| r["status"].clone()).collect::<Vec<_>>(), ["0x1", "0x0", "0x1"]);
    // The state before is of the past by now.
    rpc.block(&[invoke(1, 3, caller, 10, input(logger))]);
    rpc.block(&[]);
    let (done, failed, plain) = (&receipts[0], &receipts[1], &receipts[2]);

    let config = json!({ "tracer": "callTracer", "tracerConfig": { "withLog": true } });
    let call = rpc.ask("debug_traceTransaction", json!([done["transactionHash"], config]));
    assert_eq!((&call["type"], &call["from"], &call["to"]), (&json!("CALL"), &json!(address(1)), &json!(caller)));
    assert_eq!((&call["gas"], &call["gasUsed"], &call["value"]), (&json!("0x493e0"), &done["gasUsed"], &json!("0xa")));
    assert_eq!(call.get("error"), None);
    let inner = &call["calls"][0];
    assert_eq!((&inner["from"], &inner["to"], &inner["value"]), (&json!(caller), &json!(logger), &json!("0x3")));
    assert_eq!(inner["logs"][0]["topics"], json!([B256::with_last_byte(0x2a)]));
    assert_eq!((&inner["logs"][0]["address"], &inner["logs"][0]["position"]), (&json!(logger), &json!("0x0")));
    assert!(number(&inner["gasUsed"]) > 20_000 && number(&inner["gasUsed"]) < number(&call["gasUsed"]));

    let reverted = rpc.ask("debug_traceTransaction", json!([failed["transactionHash"], config]));
    assert_eq!((&reverted["error"], &reverted["gasUsed"]), (&json!("execution reverted"), &failed["gasUsed"]));
    assert_eq!(reverted["calls"][0]["to"], json!(logger));
    assert_eq!(reverted["calls"][0].get("logs"), None, "what failed leaves no logs");
    let top = json!({ "tracer": "callTracer", "tracerConfig": { "onlyTopCall": true } });
    let top = rpc.ask("debug_traceTransaction", json!([done["transactionHash"], top]));
    assert_eq!((top.get("calls"), &top["gasUsed"]), (None, &done["gasUsed"]));

    let steps = rpc.ask("debug_traceTransaction", json!([done["transactionHash"]]));
    assert_eq!((&steps["gas"], &steps["failed"]), (&json!(number(&done["gasUsed"])), &json!(false)));
    let logs = steps["structLogs"].as_array().unwrap();
    let first: Vec<&Value> = logs.iter().take(3).map(|step| &step["op"]).collect();
    assert_eq!(first, ["PUSH1", "PUSH1", "PUSH1"]);
    for pair in logs.windows(2).filter(|pair| pair[0]["depth"] == pair[1]["depth"]) {
        let left = pair[0]["gas"].as_u64().unwrap() - pair[0]["gasCost"].as_u64().unwrap();
        assert_eq!(left, pair[1]["gas"].as_u64().unwrap(), "{} before {}", pair[0], pair[1]);
    }
    let store = logs.iter().find(|step| step["op"] == "SSTORE").unwrap();
    assert_eq!((&store["depth"], &store["stack"]), (&json!(2), &json!(["0x4", "0x0"])));
    assert_eq!(store["storage"], json!({ B256::ZERO.to_string(): B256::with_last_byte(4) }));
    let lean = json!({ "disableStack": true, "disableStorage": true, "limit": 2 });
    let lean = rpc.ask("debug_traceTransaction", json!([done["transactionHash"], lean]));
    assert_eq!(lean["structLogs"].as_array().unwrap().len(), 2);
    assert_eq!(lean["structLogs"][0].get("stack"), None);

    let before = json!({ "tracer": "prestateTracer" });
    let before = rpc.ask("debug_traceTransaction", json!([done["transactionHash"], before]));
    assert_eq!(before[logger.to_string().to_lowercase()]["code"], json!(LOGGER));
    let diff = json!({ "tracer": "prestateTracer", "tracerConfig": { "diffMode": true } });
    let diff = rpc.ask("debug_traceTransaction", json!([done["transactionHash"], diff]));
    let changed = &diff["post"][logger.to_string().to_lowercase()];
    assert_eq!((&changed["balance"], changed.get("code")), (&json!("0x3"), None));
    assert_eq!(changed["storage"], json!({ B256::ZERO.to_string(): B256::with_last_byte(4) }));

    // A whole block: each transaction on the state after those before it.
    let block = rpc.ask("debug_traceBlockByHash", json!([done["blockHash"], { "tracer": "callTracer" }]));
    let used: Vec<&Value> = block.as_array().unwrap().iter().map(|tx| &tx["result"]["gasUsed"]).collect();
    assert_eq!(used, [&done["gasUsed"], &failed["gasUsed"], &plain["gasUsed"]]);
    assert_eq!(block[2]["txHash"], plain["transactionHash"]);
    let again = rpc.ask("debug_traceBlockByNumber", json!([done["blockNumber"], { "tracer": "callTracer" }]));
    assert_eq!(again, block);

    let question = json!({ "from": address(1), "to": caller, "value": "0xa", "input": input(logger) });
    let asked = rpc.ask("debug_traceCall", json!([question, "latest", { "tracer": "callTracer" }]));
    assert_eq!((&asked["type"], &asked["calls"][0]["to"]), (&json!("CALL"), &json!(logger)));

    assert_eq!(rpc.refuses("debug_traceTransaction", json!([B256::ZERO])), (-32000, "transaction not found".into()));
    assert_eq!(rpc.refuses("debug_traceBlockByNumber", json!(["0x0"])), (-32000, "genesis is not traceable".into()));
    let unknown = rpc.refuses("debug_traceTransaction", json!([done["transactionHash"], { "tracer": "{}" }]));
    assert!(unknown.1.contains("not found"), "{unknown:?}");
}
