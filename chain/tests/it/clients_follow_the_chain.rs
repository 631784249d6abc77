//! Subscriptions, filters and the pool's content: new heads, logs, waiting transactions; filters tell each thing once.

use alloy_primitives::{B256, Bytes, bytes};
use serde_json::{Value, json};

use crate::{
    common::{address, transfer},
    rpc::{Rpc, invoke},
    socket::Ws,
};

/// LOG1(topic 0x2a).
const LOGGER: Bytes = bytes!("602a60006000a100");

#[test]
fn clients_follow_the_chain() {
    let mut rpc = Rpc::new();
    let logger = rpc.deploy(0, &LOGGER);
    let (at, _server) = rpc.serve();
    let mut ws = Ws::connect(&rpc, at);
    let heads = ws.subscribe(&rpc, json!(["newHeads"]));
    let logs = ws.subscribe(&rpc, json!(["logs", { "topics": [B256::with_last_byte(0x2a)] }]));
    let pending = ws.subscribe(&rpc, json!(["newPendingTransactions"]));
    let syncing = ws.subscribe(&rpc, json!(["syncing"]));
    assert_eq!(ws.next(&rpc, &syncing), false);
    assert_eq!(ws.ask(&rpc, "eth_unsubscribe", json!([syncing])), Ok(json!(true)));
    assert!(ws.ask(&rpc, "eth_unsubscribe", json!([syncing])).is_err());
    let block_filter = rpc.ask("eth_newBlockFilter", json!([]));
    let log_filter = rpc.ask("eth_newFilter", json!([{ "address": logger }]));
    let pending_filter = rpc.ask("eth_newPendingTransactionFilter", json!([]));

    let txs = [invoke(1, 0, logger, 0, Bytes::new()), transfer(1, 1, address(2), 5)];
    let hashes: Vec<Value> = txs.iter().map(|tx| rpc.ask("eth_sendRawTransaction", json!([tx]))).collect();
    let late = rpc.ask("eth_sendRawTransaction", json!([transfer(2, 3, address(2), 5)]));
    assert_eq!([ws.next(&rpc, &pending), ws.next(&rpc, &pending)], hashes[..]);
    assert_eq!(rpc.ask("eth_getFilterChanges", json!([pending_filter])), json!([hashes[0], hashes[1], late]));
    assert_eq!(rpc.ask("eth_getFilterChanges", json!([pending_filter])), json!([]));
    assert_eq!(rpc.ask("txpool_status", json!([])), json!({ "pending": "0x2", "queued": "0x1" }));
    let content = rpc.ask("txpool_content", json!([]));
    assert_eq!(content["pending"][address(1).to_string()]["1"]["hash"], hashes[1]);
    assert_eq!(content["queued"][address(2).to_string()]["3"]["hash"], late);
    assert_eq!(rpc.ask("txpool_contentFrom", json!([address(2)]))["queued"]["3"]["hash"], late);
    assert_eq!(rpc.ask("eth_getTransactionCount", json!([address(1), "pending"])), "0x2");
    assert_eq!(rpc.ask("eth_getRawTransactionByHash", json!([hashes[0]])), json!(txs[0]));

    let receipts = rpc.block(&txs);
    let head = ws.next(&rpc, &heads);
    let block = rpc.ask("eth_getBlockByNumber", json!(["latest", false]));
    assert_eq!((&head["hash"], &head["number"]), (&block["hash"], &block["number"]));
    assert_eq!(rpc.ask("eth_getHeaderByHash", json!([block["hash"]])), head);
    assert_eq!(ws.next(&rpc, &logs), receipts[0]["logs"][0]);
    assert_eq!(rpc.ask("eth_getFilterChanges", json!([block_filter])), json!([block["hash"]]));
    assert_eq!(rpc.ask("eth_getFilterChanges", json!([log_filter])), receipts[0]["logs"]);
    assert_eq!(rpc.ask("eth_getFilterChanges", json!([log_filter])), json!([]));
    // Without a range a filter means the newest block.
    assert_eq!(rpc.ask("eth_getFilterLogs", json!([log_filter])), receipts[0]["logs"]);
    assert_eq!(rpc.ask("eth_uninstallFilter", json!([log_filter])), true);
    assert_eq!(rpc.refuses("eth_getFilterChanges", json!([log_filter])), (-32000, "filter not found".into()));
    assert_eq!(rpc.ask("txpool_status", json!([])), json!({ "pending": "0x0", "queued": "0x1" }));

    let raw: Bytes = serde_json::from_value(rpc.ask("debug_getRawHeader", json!(["latest"]))).unwrap();
    assert_eq!(json!(alloy_primitives::keccak256(&raw)), block["hash"]);
    let raw: Bytes = serde_json::from_value(rpc.ask("debug_getRawBlock", json!(["latest"]))).unwrap();
    assert_eq!(block["size"], format!("{:#x}", raw.len()));
}
