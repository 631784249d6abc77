//! Random and mutated request bodies: each gets an answer, no panic, and the node answers the next one. A failure
//! prints the body that made it.

use alloy_primitives::{Address, B256, Bytes, bytes};
use proptest::{prelude::*, test_runner::TestRunner};
use serde_json::{Value, json};

use crate::{
    common::address,
    rpc::{Rpc, invoke},
};

/// SSTORE(0, CALLVALUE + 1), LOG1(topic 0x2a).
const LOGGER: Bytes = bytes!("34600101600055602a60006000a100");

fn value(known: Vec<Value>) -> BoxedStrategy<Value> {
    let leaf = prop_oneof![
        6 => proptest::sample::select(known),
        1 => Just(Value::Null),
        1 => any::<bool>().prop_map(Value::from),
        1 => any::<i64>().prop_map(Value::from),
        1 => any::<f64>().prop_map(|n| json!(n)),
        2 => any::<u64>().prop_map(|n| json!(format!("{n:#x}"))),
        1 => proptest::collection::vec(any::<u8>(), 0..70).prop_map(|bytes| json!(Bytes::from(bytes))),
        1 => ".{0,20}".prop_map(Value::from),
    ];
    let field = proptest::sample::select(vec![
        "from",
        "to",
        "input",
        "data",
        "value",
        "gas",
        "gasPrice",
        "maxFeePerGas",
        "nonce",
        "accessList",
        "topics",
        "address",
        "fromBlock",
        "toBlock",
        "blockHash",
        "tracer",
        "tracerConfig",
        "withLog",
        "diffMode",
        "limit",
        "enableMemory",
        "stateOverrides",
        "balance",
        "code",
        "stateDiff",
        "number",
        "baseFee",
        "authorizationList",
        "storageKeys",
        "chainId",
    ]);
    let field = field.prop_map(str::to_owned).boxed();
    leaf.prop_recursive(4, 24, 5, move |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            proptest::collection::btree_map(field.clone(), inner, 0..6)
                .prop_map(|fields| Value::Object(fields.into_iter().collect())),
        ]
    })
    .boxed()
}

#[test]
fn no_request_breaks_the_node() {
    let mut rpc = Rpc::new();
    let logger = rpc.deploy(0, &LOGGER);
    let receipt = rpc.block(&[invoke(1, 0, logger, 1, Bytes::new())]).remove(0);
    rpc.block(&[]);
    let known: Vec<Value> = vec![
        json!(logger),
        json!(address(1)),
        json!(Address::ZERO),
        receipt["transactionHash"].clone(),
        receipt["blockHash"].clone(),
        json!(B256::ZERO),
        json!("latest"),
        json!("pending"),
        json!("earliest"),
        json!("0x2"),
        json!("0x0"),
        json!("callTracer"),
        json!("prestateTracer"),
        json!(true),
        json!([50]),
        json!({ "to": logger }),
        json!({ "tracer": "callTracer" }),
        json!({ "fromBlock": "0x0" }),
        json!([]),
    ];
    let methods: Vec<String> = sahara_chain::rpc::methods().map(str::to_owned).collect();
    assert!(methods.len() > 60, "{methods:?}");
    let params = proptest::collection::vec(value(known), 0..5);
    let body = (proptest::sample::select(methods), params).prop_map(|(method, params)| {
        json!({ "jsonrpc": "2.0", "id": 1, "method": method, "params": params }).to_string()
    });
    let mutated = (body.clone(), any::<prop::sample::Index>(), any::<char>()).prop_map(|(body, at, with)| {
        let at = at.index(body.chars().count());
        body.chars().enumerate().map(|(i, c)| if i == at { with } else { c }).collect::<String>()
    });
    let strategy = prop_oneof![6 => body, 2 => mutated, 1 => ".{0,200}"];
    let config = ProptestConfig { cases: 3_000, failure_persistence: None, ..ProptestConfig::default() };
    let before = rpc.chain.head().app_hash;
    TestRunner::new(config)
        .run(&strategy, |body| {
            if let Some(answer) = rpc.raw(&body) {
                let error = answer.get("error").and_then(|error| error["code"].as_i64());
                prop_assert!(error != Some(-32603), "an internal error: {} gave {}", body, answer);
            }
            Ok(())
        })
        .unwrap();
    assert_eq!(rpc.ask("eth_blockNumber", json!([])), "0x4");
    assert_eq!(rpc.chain.head().app_hash, before, "questions change nothing");
}
