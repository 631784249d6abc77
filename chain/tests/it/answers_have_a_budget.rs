//! What one request may cost: bytes while the answer is written, work, the sum of a batch, subscriptions and filters of
//! one client and of all. Each refusal names its limit, and the next request is answered.

use std::time::Duration;

use alloy_primitives::{Address, Bytes, bytes};
use sahara_chain::rpc::{Limits, Session};
use serde_json::{Value, json};

use crate::{
    common::{Chain, address, transfer},
    rpc::{Rpc, invoke},
    socket::{Ws, post},
};

/// LOG0 of 4 KiB, eight times.
const LOUD: Bytes = bytes!("6110005fa0" "6110005fa0" "6110005fa0" "6110005fa0" "6110005fa0" "6110005fa0" "6110005fa0" "6110005fa0" "00");
/// Loops until the gas is gone.
const LOOP: Bytes = bytes!("5b5f56");

fn small() -> Limits {
    Limits { answer: 100 << 10, total: 1 << 20, work: 60_000_000, ..Limits::default() }
}

fn refused(error: &Value) -> (i64, &str) {
    (error["code"].as_i64().unwrap(), error["message"].as_str().unwrap())
}

#[test]
fn an_answer_is_refused_before_it_is_too_long() {
    let mut rpc = Rpc::with(Chain::new(), small());
    let loud = rpc.deploy(0, &LOUD);
    let sent: Vec<Bytes> = (0..4).map(|nonce| invoke(1, nonce, loud, 0, Bytes::new())).collect();
    let hash = rpc.chain.block(&sent).block.header.map(|header| header.height).unwrap();
    let height = format!("{hash:#x}");
    let large = json!({ address(1).to_string(): { "code": Bytes::from(vec![0; 60_000]) } });
    for (method, params) in [
        ("eth_getLogs", json!([{ "fromBlock": "0x0", "toBlock": height, "address": loud }])),
        ("eth_getBlockReceipts", json!([height])),
        ("debug_getRawReceipts", json!([height])),
        ("debug_traceBlockByNumber", json!([height, { "tracer": "callTracer", "tracerConfig": { "withLog": true } }])),
        ("debug_traceBlockByNumber", json!([height, { "enableMemory": true }])),
        (
            "debug_traceCall",
            json!([{ "to": address(1) }, "latest", { "tracer": "prestateTracer", "stateOverrides": large }]),
        ),
        ("eth_simulateV1", json!([{ "blockStateCalls": [{ "calls": [{ "to": loud }, { "to": loud }] }] }])),
    ] {
        let error = rpc.try_ask(method, params).expect_err(method);
        let (code, words) = refused(&error);
        assert!(code == -32003 || code == -32005, "{method}: {error}");
        assert!(words.contains("too large") || words.contains("longer than"), "{method}: {error}");
    }
    // One of those logs fits, and nothing of what was refused is still counted.
    let one = rpc.ask("eth_getTransactionReceipt", json!([alloy_primitives::keccak256(&sent[0])]));
    assert_eq!(one["logs"].as_array().unwrap().len(), 8);
    assert_eq!(rpc.backend.under_way(), 0, "what is answered or refused is given back");
}

#[test]
fn the_answers_of_a_batch_count_together() {
    let mut rpc = Rpc::with(Chain::new(), small());
    let loud = rpc.deploy(0, &LOUD);
    let receipt = rpc.block(&[invoke(1, 0, loud, 0, Bytes::new())]).remove(0);
    let ask = |id: u64| json!({ "jsonrpc": "2.0", "id": id, "method": "eth_getTransactionReceipt", "params": [receipt["transactionHash"]] });
    let batch: Vec<Value> = (0..50).map(ask).collect();
    let text = json!(batch).to_string();
    let answers = rpc.raw(&text).unwrap();
    let answers = answers.as_array().unwrap();
    assert_eq!(answers.len(), 50, "each request has its answer");
    let good = answers.iter().filter(|answer| answer.get("result").is_some()).count();
    assert!((1..3).contains(&good), "{good} answers of 70 kB fit into 100 kB");
    for (id, answer) in answers.iter().enumerate() {
        assert_eq!(answer["id"], id);
    }
    let (code, words) = refused(&answers[49]["error"]);
    assert_eq!(code, -32003);
    assert!(words.contains("102400 bytes"), "{words}");
    let many: Vec<Value> =
        (0..1_001).map(|id| json!({ "jsonrpc": "2.0", "id": id, "method": "eth_chainId" })).collect();
    let refusal = rpc.raw(&json!(many).to_string()).unwrap();
    assert!(refused(&refusal["error"]).1.contains("1000 items"), "{refusal}");
}

#[test]
fn work_counts_together_too() {
    let mut rpc = Rpc::with(Chain::new(), small());
    let endless = rpc.deploy(0, &LOOP);
    // Each call uses 50 million of the 60 that a request has.
    let ask = |id: u64| json!({ "jsonrpc": "2.0", "id": id, "method": "eth_call", "params": [{ "to": endless }] });
    let answers = rpc.raw(&json!([ask(0), ask(1), ask(2)]).to_string()).unwrap();
    let words = |i: usize| answers[i]["error"]["message"].as_str().unwrap().to_owned();
    assert!(words(0).contains("OutOfGas") || words(0).contains("out of gas"), "{}", words(0));
    assert!(words(2).contains("60000000 gas"), "{}", words(2));
    assert!(rpc.try_ask("eth_estimateGas", json!([{ "to": endless }])).is_err());
    let late = Limits { time: Duration::ZERO, ..small() };
    let rpc = Rpc::with(Chain::new(), late);
    let error = rpc.try_ask("eth_call", json!([{ "to": address(1) }])).unwrap_err();
    assert!(refused(&error).1.contains("timeout"), "{error}");
}

#[test]
fn what_is_under_way_has_a_total() {
    let limits = Limits { total: 300 << 10, ..small() };
    let rpc = Rpc::with(Chain::new(), limits);
    let (at, _server) = rpc.serve();
    // A request that is too much for all that may be under way is refused while it comes.
    let long = format!(r#"{{"jsonrpc":"2.0","id":1,"method":"eth_chainId","params":["{}"]}}"#, "x".repeat(400 << 10));
    let said = post(at, &long);
    assert_eq!(said.status, 503, "{said:?}");
    assert!(said.body.contains("307200 bytes"), "{said:?}");
    let mut ws = Ws::connect(&rpc, at);
    let mut other = Ws::connect(&rpc, at);
    assert!(ws.sends_and_is_left(&rpc, &long), "so is one over a WebSocket");
    assert_eq!(other.ask(&rpc, "eth_chainId", json!([])), Ok(json!("0x539")));
}

#[test]
fn one_client_follows_only_so_much() {
    let rpc = Rpc::new();
    let (at, _server) = rpc.serve();
    let mut ws = Ws::connect(&rpc, at);
    let many: Vec<Address> = (0..1_000u64).map(|i| Address::left_padding_from(&i.to_be_bytes())).collect();
    let logs = json!(["logs", { "address": many }]);
    for _ in 0..4 {
        ws.subscribe(&rpc, logs.clone());
    }
    let error = ws.ask(&rpc, "eth_subscribe", logs.clone()).unwrap_err();
    assert!(refused(&error).1.contains("4000 addresses and topics"), "{error}");
    for _ in 4..128 {
        ws.subscribe(&rpc, json!(["newHeads"]));
    }
    let error = ws.ask(&rpc, "eth_subscribe", json!(["newHeads"])).unwrap_err();
    assert!(refused(&error).1.contains("128 subscriptions"), "{error}");
    let more: Vec<Address> = (0..1_001u64).map(|i| Address::left_padding_from(&i.to_be_bytes())).collect();
    let error = ws.ask(&rpc, "eth_subscribe", json!(["logs", { "address": more }])).unwrap_err();
    assert!(refused(&error).1.contains("1000"), "{error}");
    // Over HTTP nothing can be told.
    let (code, words) = rpc.refuses("eth_subscribe", json!(["newHeads"]));
    assert!(code == -32601 && words.contains("notifications not supported"), "{words}");
}

#[test]
fn wrong_answers_of_the_past_stay_right() {
    let mut rpc = Rpc::new();
    // An estimate for somebody without funds says so.
    let poor = Address::repeat_byte(0x77);
    let (_, words) =
        rpc.refuses("eth_estimateGas", json!([{ "from": poor, "to": address(1), "gasPrice": "0x3b9aca00" }]));
    assert!(words.contains("insufficient funds") && words.contains("gas required exceeds allowance (0)"), "{words}");
    let (_, words) = rpc.refuses("eth_estimateGas", json!([{ "from": poor, "to": address(1), "value": "0x1" }]));
    assert!(words.contains("insufficient funds for transfer"), "{words}");
    // Code that cannot be is refused as what it is, whatever asks.
    for code in ["0xef0100", "0xef01", "0xef0100112233"] {
        let overrides = json!({ poor.to_string(): { "code": code } });
        for (method, params) in [
            ("eth_call", json!([{ "to": poor }, "latest", overrides])),
            ("eth_estimateGas", json!([{ "to": poor }, "latest", overrides])),
            ("debug_traceCall", json!([{ "to": poor }, "latest", { "stateOverrides": overrides }])),
            ("eth_simulateV1", json!([{ "blockStateCalls": [{ "stateOverrides": overrides }] }])),
        ] {
            let (code, words) = rpc.refuses(method, params);
            assert!(code == -32602 && words.contains("cannot be executed"), "{method}: {words}");
        }
    }
    let real = json!({ poor.to_string(): { "code": format!("0xef0100{}", "11".repeat(20)) } });
    assert_eq!(rpc.ask("eth_call", json!([{ "to": poor }, "latest", real])), "0x");
    assert_eq!(rpc.ask("eth_coinbase", json!([])), json!(address(9)));
    rpc.block(&[transfer(1, 0, poor, 5)]);
}

#[test]
fn only_so_many_questions_run_and_wait() {
    let mut rpc = Rpc::with(Chain::new(), Limits { heavy: 1, ..Limits::default() });
    let endless = rpc.deploy(0, &LOOP);
    let ask = json!({ "jsonrpc": "2.0", "id": 1, "method": "eth_call", "params": [{ "to": endless }] }).to_string();
    let answers: Vec<Value> = rpc.runtime.block_on(async {
        let all = (0..40).map(|_| {
            let (backend, ask) = (rpc.backend.clone(), ask.clone());
            tokio::spawn(async move {
                let told = sahara_chain::rpc::answer(&backend, &Session::local(), ask.as_bytes()).await;
                serde_json::from_slice(&told.unwrap().text).unwrap()
            })
        });
        let mut told = vec![];
        for one in all.collect::<Vec<_>>() {
            told.push(one.await.unwrap());
        }
        told
    });
    let busy = answers.iter().filter(|answer| answer["error"]["code"] == -32005).count();
    assert!((1..40).contains(&busy), "one runs, some wait, the others are told: {busy}");
    let told = answers.iter().find(|answer| answer["error"]["code"] == -32005).unwrap();
    assert!(refused(&told["error"]).1.contains("1 questions of this kind"), "{told}");
}
