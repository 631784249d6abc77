//! State and block overrides of calls, access lists, and what estimates say about them.

use alloy_primitives::{B256, Bytes, U256, bytes};
use serde_json::json;

use crate::{common::address, rpc::Rpc};

/// Returns slot 0, block number, block time and its own balance.
const SHOW: Bytes = bytes!("5f545f52436020524260405247606052" "60805ff3");
/// Returns the balance of the address in its input, read by a call that touches it.
const ASK: Bytes = bytes!("5f3531" "5f525f545060205ff3");

#[test]
fn questions_can_suppose_another_state() {
    let mut rpc = Rpc::new();
    let contract = rpc.deploy(0, &SHOW);
    let words = |rpc: &Rpc, params| -> Vec<U256> {
        let answer: Bytes = serde_json::from_value(rpc.ask("eth_call", params)).unwrap();
        answer.chunks(32).map(U256::from_be_slice).collect()
    };
    let question = json!({ "to": contract });
    let plain = words(&rpc, json!([question, "latest"]));
    assert_eq!((plain[0], plain[1], plain[3]), (U256::ZERO, U256::from(2), U256::ZERO));
    let pending = words(&rpc, json!([question, "pending"]));
    assert_eq!(pending[1], U256::from(3));
    let state = json!({ contract.to_string(): { "balance": "0x5", "stateDiff": { B256::ZERO.to_string(): B256::with_last_byte(9) } } });
    let block = json!({ "number": "0x64", "time": "0x65" });
    let otherwise = words(&rpc, json!([question, "latest", state, block]));
    assert_eq!(otherwise, [9u64, 100, 101, 5].map(U256::from));
    let code = json!({ address(7).to_string(): { "code": SHOW, "state": { B256::ZERO.to_string(): B256::with_last_byte(1) } } });
    assert_eq!(words(&rpc, json!([{ "to": address(7) }, "latest", code]))[0], U256::from(1));
    assert_eq!(words(&rpc, json!([question, "latest"])), plain, "nothing of it stays");

    let both = json!({ contract.to_string(): { "state": {}, "stateDiff": {} } });
    assert_eq!(rpc.refuses("eth_call", json!([question, "latest", both])).0, -32000);
    let poor = rpc.refuses("eth_call", json!([{ "from": contract, "to": address(1), "value": "0x1" }, "latest"]));
    assert!(poor.1.starts_with("insufficient funds for gas * price + value"), "{poor:?}");
    let rich = json!({ contract.to_string(): { "balance": "0x1" } });
    let sent = json!([{ "from": contract, "to": address(1), "value": "0x1" }, "latest", rich]);
    assert_eq!(rpc.ask("eth_estimateGas", sent), "0x5208");

    let asking = rpc.deploy(0, &ASK);
    let question = json!({ "from": address(1), "to": asking, "input": address(3).into_word() });
    let listed = rpc.ask("eth_createAccessList", json!([question, "latest"]));
    let mut expected = vec![json!({ "address": address(3), "storageKeys": [] })];
    expected.push(json!({ "address": asking, "storageKeys": [B256::ZERO] }));
    expected.sort_by_key(|item| item["address"].as_str().unwrap().to_owned());
    assert_eq!(listed["accessList"], json!(expected));
    let mut with_list = question.clone();
    with_list["accessList"] = listed["accessList"].clone();
    assert_eq!(rpc.ask("eth_estimateGas", json!([with_list])), listed["gasUsed"]);
}
