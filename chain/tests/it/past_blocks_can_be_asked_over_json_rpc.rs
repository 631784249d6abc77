//! Balance, nonce, code, storage, calls and estimates at a past block are those of that block, by number and by hash; a
//! state that is not kept any more is refused by name.

use alloy_primitives::{Address, B256, U256, bytes};
use sahara_chain::wallet::Payment;
use serde_json::{Value, json};

use crate::{
    a_node_that_dies_anywhere_goes_on_where_it_was::{Node, init},
    common::{address, pay},
    network::{ask, eventually},
};

fn send(node: &Node, nonce: u64, payment: Payment) -> Value {
    let tx = pay(0, Payment { nonce, gas_limit: 500_000, ..payment });
    let hash = ask(&node.rpc, "eth_sendRawTransaction", json!([tx])).unwrap();
    let receipt = || ask(&node.rpc, "eth_getTransactionReceipt", json!([hash])).unwrap();
    eventually("a receipt", || !receipt().is_null());
    assert_eq!(receipt()["status"], "0x1");
    receipt()
}

#[test]
fn past_blocks_can_be_asked_over_json_rpc() {
    let folder = tempfile::tempdir().unwrap();
    init(folder.path());
    let file = folder.path().join("chain.toml");
    let config = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, config.replace("states = 256", "states = 10000")).unwrap();
    let node = Node::start(folder.path(), "").map_err(|(_, said)| said).unwrap();

    // With input it stores the first word, without it returns what it stored.
    let code = bytes!("36600c575f545f5260205ff35b5f355f55");
    let input = [&bytes!("6011600c60003960116000f3")[..], &code].concat().into();
    let made = send(&node, 0, Payment { input, ..Payment::default() });
    let contract: Address = made["contractAddress"].as_str().unwrap().parse().unwrap();
    let store = |nonce, word: u64| {
        let input = B256::from(U256::from(word)).to_vec().into();
        send(&node, nonce, Payment { to: Some(contract), input, ..Payment::default() })
    };
    let (seven, nine) = (store(1, 7), store(2, 9));

    let at = |method: &str, first: Value, block: &Value| ask(&node.rpc, method, json!([first, block])).unwrap();
    let before = json!(format!("{:#x}", number(&made["blockNumber"]) - 1));
    assert_eq!(at("eth_getCode", json!(contract), &before), "0x");
    assert_eq!(at("eth_getCode", json!(contract), &made["blockNumber"]), json!(code));
    let word = |word: u64| json!(B256::from(U256::from(word)));
    let question = json!({ "to": contract });
    for (block, kept, nonce) in [(&made, 0, "0x1"), (&seven, 7, "0x2"), (&nine, 9, "0x3")] {
        let by_number = block["blockNumber"].clone();
        let by_hash = json!({ "blockHash": block["blockHash"] });
        for id in [&by_number, &by_hash] {
            assert_eq!(at("eth_call", question.clone(), id), word(kept));
            assert_eq!(at("eth_getTransactionCount", json!(address(0)), id), nonce);
            let stored = ask(&node.rpc, "eth_getStorageAt", json!([contract, "0x0", id])).unwrap();
            assert_eq!(stored, word(kept));
        }
    }
    // The first write of a slot costs more than the second.
    let write = json!({ "from": address(1), "to": contract, "input": word(5) });
    let [first, second] = [&made, &seven].map(|b| number(&at("eth_estimateGas", write.clone(), &b["blockNumber"])));
    assert!(first > second + 10_000, "{first} {second}");
    let rich = |block: &Value| at("eth_getBalance", json!(address(0)), block);
    assert_eq!(rich(&json!("earliest")), json!(format!("{:#x}", U256::from(10).pow(U256::from(24)))));
    assert_ne!(rich(&seven["blockNumber"]), rich(&nine["blockNumber"]));
    let refused = |params: Value, method: &str| ask(&node.rpc, method, params).unwrap_err();
    let said = refused(json!([contract, ["0x0"], seven["blockNumber"]]), "eth_getProof");
    assert!(said.contains("newest block only"), "{said}");
    assert!(refused(json!([contract, "0xffffff"]), "eth_getCode").contains("not found"));
    node.end("-TERM");

    // Told to keep less, it forgets step by step.
    std::fs::write(&file, config.replace("states = 256", "states = 1")).unwrap();
    let node = Node::start(folder.path(), "").map_err(|(_, said)| said).unwrap();
    let old = || ask(&node.rpc, "eth_getCode", json!([contract, seven["blockNumber"]]));
    eventually("the old state to go", || old().is_err());
    let said = old().unwrap_err();
    assert!(said.starts_with("missing trie node: ") && said.contains("is pruned"), "{said}");
    assert_eq!(ask(&node.rpc, "eth_getCode", json!([contract, "latest"])).unwrap(), json!(code));
}

fn number(quantity: &Value) -> u64 {
    u64::from_str_radix(quantity.as_str().unwrap().trim_start_matches("0x"), 16).unwrap()
}
