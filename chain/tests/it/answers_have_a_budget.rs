//! What one request may cost: bytes while the answer is written, work, the sum of a batch, subscriptions and filters of
//! one client and of all. Each refusal names its limit, and the next request is answered.

use std::time::Duration;

use alloy_consensus::TxEip7702;
use alloy_eips::eip7702::Authorization;
use alloy_primitives::{Address, Bytes, U256, bytes};
use sahara_chain::{
    genesis::DEV_CHAIN_ID,
    rpc::{Limits, Session},
};
use serde_json::{Value, json};

use crate::{
    common::{Chain, address, transfer, wallet},
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

/// Returns the gas that is left.
const GAS: Bytes = bytes!("5a5f5260205ff3");

#[test]
fn what_is_supposed_is_charged_in_each_block() {
    let rpc = Rpc::with(Chain::new(), small());
    let slots = |count: u64| -> Value {
        let words = (1..=count).map(|i| (format!("{i:#066x}"), json!(format!("{i:#066x}"))));
        Value::Object(words.collect())
    };
    let blocks = |empty: usize| -> Value {
        let first = json!({ "stateOverrides": { address(1).to_string(): { "stateDiff": slots(1_000) } } });
        json!([{ "blockStateCalls": std::iter::once(first).chain((0..empty).map(|_| json!({}))).collect::<Vec<_>>() }])
    };
    // A root costs five million for a thousand words, in each block anew.
    assert_eq!(rpc.ask("eth_simulateV1", blocks(2)).as_array().unwrap().len(), 3);
    let (_, words) = rpc.refuses("eth_simulateV1", blocks(20));
    assert!(words.contains("60000000 gas"), "{words}");
    // An account is read before it is otherwise, whatever asks.
    let limits = Limits { work: 2_000_000, ..small() };
    let rpc = Rpc::with(Chain::new(), limits);
    let many: Value = (0..1_000u64)
        .map(|i| (Address::left_padding_from(&(i + 5_000).to_be_bytes()).to_string(), json!({ "balance": "0x1" })))
        .collect::<serde_json::Map<_, _>>()
        .into();
    let (_, words) = rpc.refuses("eth_call", json!([{ "to": address(1) }, "latest", many]));
    assert!(words.contains("2000000 gas"), "{words}");
}

#[test]
fn a_state_of_the_past_costs_what_is_read_to_see_it() {
    let mut rpc = Rpc::with(Chain::new(), Limits { work: 25_000, ..small() });
    for _ in 0..30 {
        rpc.chain.block(&[]);
    }
    for (method, mut params) in [
        ("eth_getBalance", json!([address(1)])),
        ("eth_getTransactionCount", json!([address(1)])),
        ("eth_getCode", json!([address(1)])),
        ("eth_getStorageAt", json!([address(1), "0x0"])),
        ("eth_getStorageValues", json!([{ address(1).to_string(): ["0x0"] }])),
    ] {
        rpc.ask(method, params.clone());
        params.as_array_mut().unwrap().push(json!("0x1"));
        let (code, words) = rpc.refuses(method, params);
        assert!(code == -32005 && words.contains("25000 gas"), "{method}: {words}");
    }
    let limits = Limits { work: 1_000_000, ..small() };
    let rpc = Rpc::with(rpc.chain, limits);
    assert!(rpc.ask("eth_getBalance", json!([address(1), "0x1"])).is_string());
}

#[test]
fn one_question_has_so_many_slots_and_so_much_gas() {
    let rpc = Rpc::with(Chain::new(), small());
    let slots =
        |count: u64| json!([{ address(1).to_string(): (0..count).map(|i| format!("{i:#x}")).collect::<Vec<_>>() }]);
    rpc.ask("eth_getStorageValues", slots(1_024));
    let (_, words) = rpc.refuses("eth_getStorageValues", slots(1_025));
    assert!(words.contains("1024"), "{words}");
    let code = |code: Bytes| json!({ address(1).to_string(): { "code": code } });
    let left = rpc.ask("eth_call", json!([{ "to": address(1), "gas": "0xffffffffff" }, "latest", code(GAS)]));
    let left = u64::from_str_radix(&left.as_str().unwrap()[50..], 16).unwrap();
    assert!((40_000_000..50_000_000).contains(&left), "a call has 50 million gas at most, not {left}");
    // Each trace of an endless call uses 50 million of the 60 that a request has.
    let options = json!({ "tracer": "noopTracer", "stateOverrides": code(LOOP) });
    let ask = |id: u64| json!({ "jsonrpc": "2.0", "id": id, "method": "debug_traceCall", "params": [{ "to": address(1) }, "latest", options] });
    let told = rpc.raw(&json!([ask(0), ask(1), ask(2)]).to_string()).unwrap();
    assert!(told[0].get("result").is_some(), "{told}");
    assert!(refused(&told[1]["error"]).1.contains("60000000 gas"), "{told}");
}

#[test]
fn what_is_handed_in_is_charged_by_its_signatures_and_waits_for_its_turn() {
    let signed = |nonce, count| {
        let authorization = Authorization { chain_id: U256::ZERO, address: Address::ZERO, nonce: 7 };
        let signature = wallet(3).sign_hash(authorization.signature_hash()).unwrap();
        let tx = TxEip7702 {
            chain_id: DEV_CHAIN_ID,
            nonce,
            gas_limit: 2_000_000,
            max_fee_per_gas: 10_000_000_000,
            authorization_list: vec![authorization.into_signed(signature); count],
            ..TxEip7702::default()
        };
        wallet(1).sign(tx).unwrap()
    };
    let rpc = Rpc::with(Chain::new(), Limits { work: 1_000_000, ..Limits::default() });
    let error = rpc.try_ask("eth_sendRawTransaction", json!([signed(0, 64)])).unwrap_err();
    let (code, words) = refused(&error);
    assert!(code == -32005 && words.contains("more work than the 1000000 gas"), "{error}");
    assert!(rpc.chain.ledger.pool().is_empty());
    // A batch has as much as one; what is left of it is refused unasked.
    let of = |nonce| json!({ "jsonrpc": "2.0", "id": nonce, "method": "eth_sendRawTransaction", "params": [signed(nonce, 20)] });
    let answers = rpc.raw(&json!([of(0), of(1)]).to_string()).unwrap();
    assert!(answers[0]["result"].is_string(), "{answers}");
    assert_eq!(answers[1]["error"]["code"], json!(-32005), "{answers}");
    assert_eq!(rpc.chain.ledger.pool().len(), 1);

    let rpc = Rpc::with(Chain::new(), Limits { light: 0, ..Limits::default() });
    let error = rpc.try_ask("eth_sendRawTransaction", json!([signed(0, 1)])).unwrap_err();
    assert!(refused(&error).1.contains("the node is busy"), "{error}");
    assert_eq!(rpc.chain.ledger.decodings(), 0, "nothing is decoded before");
}
