//! The flat-call, four-byte and mux tracers, in the shapes that geth documents.

use alloy_primitives::{Address, Bytes, bytes};
use serde_json::{Value, json};

use crate::{
    common::address,
    rpc::{Rpc, invoke},
};

/// Calls the address in its input (after four bytes) with three units, asks the identity contract, then stops.
const CALLER: Bytes = bytes!("5f5f5f5f6003" "6004355af150" "5f5f5f5f60045afa50" "00");
/// Reverts without a word.
const REVERTER: Bytes = bytes!("5f5ffd");
/// Jumps nowhere.
const JUMPER: Bytes = bytes!("600056");
/// Gives itself to the caller.
const QUITTER: Bytes = bytes!("33ff");

fn trace(rpc: &Rpc, hash: &Value, tracer: &str, config: Value) -> Value {
    rpc.ask("debug_traceTransaction", json!([hash, { "tracer": tracer, "tracerConfig": config }]))
}

fn input(to: Address) -> Bytes {
    [&[0xab, 0xcd, 0xef, 0x01], to.into_word().as_slice()].concat().into()
}

#[test]
fn tracers_have_the_shapes_of_geth() {
    let mut rpc = Rpc::new();
    let caller = rpc.deploy(0, &CALLER);
    let reverter = rpc.deploy(0, &REVERTER);
    let jumper = rpc.deploy(0, &JUMPER);
    let quitter = rpc.deploy(0, &QUITTER);
    let made = rpc.ask("eth_getBlockByNumber", json!(["0x2", false]))["transactions"][0].clone();
    let receipts = rpc.block(&[
        invoke(1, 0, caller, 10, input(quitter)),
        invoke(1, 1, reverter, 0, input(quitter)),
        invoke(1, 2, caller, 10, input(jumper)),
    ]);
    let hashes: Vec<Value> = receipts.iter().map(|receipt| receipt["transactionHash"].clone()).collect();
    let block = rpc.ask("eth_getBlockByNumber", json!(["latest", false]));

    let flat = trace(&rpc, &hashes[0], "flatCallTracer", Value::Null);
    let frames = flat.as_array().unwrap();
    assert_eq!(frames.len(), 3, "{flat}");
    let number = u64::from_str_radix(block["number"].as_str().unwrap().trim_start_matches("0x"), 16).unwrap();
    let place = |frame: &Value| {
        let fields = ["blockHash", "blockNumber", "transactionHash", "transactionPosition"];
        fields.map(|field| frame[field].clone())
    };
    for frame in frames {
        assert_eq!(place(frame), [block["hash"].clone(), json!(number), hashes[0].clone(), json!(0)]);
    }
    let top = json!({ "callType": "call", "from": address(1), "to": caller, "gas": "0x493e0", "value": "0xa",
        "input": input(quitter) });
    let lower = |value: &Value| value.to_string().to_lowercase();
    assert_eq!(lower(&frames[0]["action"]), lower(&top));
    assert_eq!(frames[0]["result"], json!({ "gasUsed": receipts[0]["gasUsed"], "output": "0x" }));
    assert_eq!((&frames[0]["subtraces"], &frames[0]["traceAddress"]), (&json!(1), &json!([])));
    assert_eq!((&frames[1]["type"], &frames[1]["traceAddress"]), (&json!("call"), &json!([0])));
    assert_eq!((&frames[1]["action"]["value"], &frames[1]["subtraces"]), (&json!("0x3"), &json!(1)));
    let quit = json!({ "address": quitter, "balance": "0x3", "refundAddress": caller });
    assert_eq!((lower(&frames[2]["action"]), &frames[2]["traceAddress"]), (lower(&quit), &json!([0, 0])));
    assert_eq!((&frames[2]["type"], frames[2].get("result")), (&json!("suicide"), None));
    let with = trace(&rpc, &hashes[0], "flatCallTracer", json!({ "includePrecompiles": true }));
    assert_eq!(with.as_array().unwrap().len(), 4);
    assert_eq!(with[3]["action"]["callType"], "staticcall");
    assert_eq!(with[0]["subtraces"], 2);

    let create = trace(&rpc, &made, "flatCallTracer", Value::Null);
    assert_eq!((&create[0]["type"], &create[0]["action"]["creationMethod"]), (&json!("create"), &json!("create")));
    assert_eq!(create[0]["result"]["code"], json!(CALLER));
    assert_eq!(lower(&create[0]["result"]["address"]), lower(&json!(caller)));

    let reverted = trace(&rpc, &hashes[1], "flatCallTracer", Value::Null);
    assert_eq!(reverted[0]["error"], "execution reverted");
    assert_eq!(reverted[0]["result"]["gasUsed"], receipts[1]["gasUsed"]);
    let parity = trace(&rpc, &hashes[1], "flatCallTracer", json!({ "convertParityErrors": true }));
    assert_eq!(parity[0]["error"], "Reverted");
    let failed = trace(&rpc, &hashes[2], "flatCallTracer", json!({ "convertParityErrors": true }));
    assert_eq!((&failed[1]["error"], failed[1].get("result")), (&json!("Bad jump destination"), None));

    // Selectors of calls, native contracts and creations left out.
    assert_eq!(trace(&rpc, &hashes[0], "4byteTracer", Value::Null), json!({ "0xabcdef01-32": 1 }));
    assert_eq!(trace(&rpc, &made, "4byteTracer", Value::Null), json!({}));

    let both = trace(&rpc, &hashes[0], "muxTracer", json!({ "callTracer": { "withLog": true }, "4byteTracer": {} }));
    let calls = trace(&rpc, &hashes[0], "callTracer", json!({ "withLog": true }));
    assert_eq!(both, json!({ "callTracer": calls, "4byteTracer": { "0xabcdef01-32": 1 } }));
    let whole = json!([block["number"], { "tracer": "muxTracer", "tracerConfig": { "flatCallTracer": null } }]);
    let whole = rpc.ask("debug_traceBlockByNumber", whole);
    assert_eq!(whole[0]["result"]["flatCallTracer"], flat);
    assert_eq!(whole[2]["txHash"], hashes[2]);
    let question = json!([{ "to": caller, "input": input(quitter) }, "latest", { "tracer": "4byteTracer" }]);
    assert_eq!(rpc.ask("debug_traceCall", question), json!({ "0xabcdef01-32": 1 }));

    for (config, words) in [
        (json!({ "muxTracer": {} }), "other tracers"),
        (json!({ "slowTracer": {} }), "slowTracer"),
        (json!([1]), "tracerConfig of muxTracer"),
    ] {
        let asked = json!([hashes[0], { "tracer": "muxTracer", "tracerConfig": config }]);
        let (_, said) = rpc.refuses("debug_traceTransaction", asked);
        assert!(said.contains(words), "{said}");
    }
}
