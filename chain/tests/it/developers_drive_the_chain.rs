//! What contract developers expect of a local chain: time, snapshots, balances, code, storage, accounts without keys. On a
//! node, in the shapes of anvil and Hardhat; refused by name where the chain is not for development.

use alloy_primitives::{Address, B256, U256};
use serde_json::{Value, json};

use crate::{
    common::{address, transfer},
    network::ask,
    rpc::Rpc,
    workshop::DevNode,
};

struct Node(DevNode);

impl Node {
    fn ask(&self, method: &str, params: Value) -> Value {
        ask(&self.0.url, method, params).unwrap_or_else(|e| panic!("{method}: {e}"))
    }

    fn refuses(&self, method: &str, params: Value) -> String {
        ask(&self.0.url, method, params).expect_err(method)
    }

    fn number(&self, method: &str, params: Value) -> u64 {
        let told = self.ask(method, params);
        u64::from_str_radix(told.as_str().unwrap().trim_start_matches("0x"), 16).unwrap()
    }

    fn height(&self) -> u64 {
        self.number("eth_blockNumber", json!([]))
    }

    fn time(&self) -> u64 {
        let block = self.ask("eth_getBlockByNumber", json!(["latest", false]));
        u64::from_str_radix(block["timestamp"].as_str().unwrap().trim_start_matches("0x"), 16).unwrap()
    }
}

#[test]
fn developers_drive_the_chain() {
    // Blocks come when they are asked for, so that everything here is exact.
    let node = Node(DevNode::start_with(&["--block-time-ms", "0"]));
    assert_eq!(node.ask("evm_setAutomine", json!([false])), true);
    time(&node);
    accounts(&node);
    without_keys(&node);
    back(&node);
}

fn time(node: &Node) {
    let (height, now) = (node.height(), node.time());
    assert_eq!(node.ask("evm_mine", json!([])), "0x0");
    assert_eq!(node.height(), height + 1);
    assert_eq!(node.ask("evm_increaseTime", json!([1_000])), 1_000);
    assert_eq!(node.ask("evm_increaseTime", json!(["0x3e8"])), 2_000, "all of it");
    node.ask("evm_mine", json!([]));
    assert!((now + 2_000..now + 2_600).contains(&node.time()), "{} after {now}", node.time());
    let then = now + 1_000_000;
    assert_eq!(node.ask("evm_setNextBlockTimestamp", json!([then])), Value::Null);
    node.ask("evm_mine", json!([]));
    assert_eq!(node.time(), then);
    node.ask("evm_mine", json!([then + 50]));
    assert_eq!(node.time(), then + 50);
    let why = node.refuses("evm_setNextBlockTimestamp", json!([then + 50]));
    assert!(why.contains("not greater than that of the last block"), "{why}");
    let height = node.height();
    assert_eq!(node.ask("anvil_mine", json!(["0x5", "0x3c"])), Value::Null);
    assert_eq!(node.height(), height + 5);
    assert!(node.time() >= then + 50 + 4 * 60, "a minute between them");
    assert_eq!(node.ask("hardhat_mine", json!(["0x2"])), true);
    assert_eq!(node.height(), height + 7);
    assert!(node.refuses("anvil_mine", json!([100_000])).contains("10000 blocks"));
}

fn accounts(node: &Node) {
    let who = Address::repeat_byte(0x42);
    assert_eq!(node.ask("anvil_setBalance", json!([who, "0x1234"])), Value::Null);
    assert_eq!(node.ask("eth_getBalance", json!([who, "latest"])), "0x1234");
    assert_eq!(node.ask("hardhat_setBalance", json!([who, "0x56"])), true);
    assert_eq!(node.ask("eth_getBalance", json!([who, "latest"])), "0x56");
    // Returns slot 0.
    assert_eq!(node.ask("anvil_setCode", json!([who, "0x5f545f5260205ff3"])), Value::Null);
    assert_eq!(node.ask("eth_getCode", json!([who, "latest"])), "0x5f545f5260205ff3");
    assert_eq!(node.ask("anvil_setStorageAt", json!([who, "0x0", B256::with_last_byte(9)])), true);
    assert_eq!(node.ask("eth_call", json!([{ "to": who }, "latest"])), json!(B256::with_last_byte(9)));
    assert_eq!(node.ask("hardhat_setNonce", json!([who, "0x7"])), true);
    assert_eq!(node.ask("eth_getTransactionCount", json!([who, "latest"])), "0x7");
    assert!(node.refuses("anvil_setCode", json!([who, "0xef0100"])).contains("cannot be executed"));
    // The state has a root like every other: it can be proven, and the past is as it was.
    let proof = node.ask("eth_getProof", json!([who, ["0x0"], "latest"]));
    assert_eq!((&proof["balance"], &proof["storageProof"][0]["value"]), (&json!("0x56"), &json!("0x9")));
    let before = format!("{:#x}", node.height() - 3);
    assert_eq!(node.ask("eth_getBalance", json!([who, before])), "0x56");
    assert_eq!(node.ask("eth_getCode", json!([who, before])), "0x");
}

fn without_keys(node: &Node) {
    // An account with code, whose key nobody has.
    let who = Address::repeat_byte(0x42);
    let pay = json!({ "from": who, "to": address(3), "value": "0x64" });
    node.ask("anvil_setBalance", json!([who, "0xde0b6b3a7640000"]));
    let why = node.refuses("eth_sendTransaction", json!([pay]));
    assert!(why.contains("impersonate it first"), "{why}");
    assert_eq!(node.ask("hardhat_impersonateAccount", json!([who])), true);
    let accounts = node.ask("eth_accounts", json!([]));
    assert_eq!((&accounts[0], &accounts[10]), (&json!(address(0)), &json!(who)));
    let before = node.ask("eth_getBalance", json!([address(3), "latest"]));
    let hash = node.ask("eth_sendTransaction", json!([pay]));
    node.ask("evm_mine", json!([]));
    let receipt = node.ask("eth_getTransactionReceipt", json!([hash]));
    assert_eq!((&receipt["status"], &receipt["from"]), (&json!("0x1"), &json!(who)));
    let balance = |value: &Value| -> U256 { serde_json::from_value(value.clone()).unwrap() };
    let after = node.ask("eth_getBalance", json!([address(3), "latest"]));
    assert_eq!(balance(&after) - balance(&before), U256::from(100));
    assert_eq!(node.ask("eth_getTransactionByHash", json!([hash]))["from"], json!(who));
    let trace = node.ask("debug_traceTransaction", json!([hash, { "tracer": "callTracer" }]));
    assert_eq!(trace["from"], json!(who));
    let raw = node.ask("eth_getRawTransactionByHash", json!([hash]));
    // The same bytes from outside are no transaction of anybody.
    assert_eq!(node.ask("anvil_stopImpersonatingAccount", json!([who])), Value::Null);
    assert_eq!(node.ask("hardhat_stopImpersonatingAccount", json!([who])), false);
    let why = node.refuses("eth_sendRawTransaction", json!([raw]));
    assert!(why.contains("invalid sender") || why.contains("already known"), "{why}");
    assert!(node.refuses("eth_sendTransaction", json!([pay])).contains("impersonate it first"));
}

fn back(node: &Node) {
    let who = Address::repeat_byte(0x43);
    let (height, hash) = (node.height(), node.ask("eth_getBlockByNumber", json!(["latest", false]))["hash"].clone());
    let first = node.ask("evm_snapshot", json!([]));
    node.ask("anvil_setBalance", json!([who, "0x1"]));
    let second = node.ask("evm_snapshot", json!([]));
    assert_ne!(first, second);
    node.ask("eth_sendRawTransaction", json!([transfer(5, 0, who, 7)]));
    node.ask("anvil_mine", json!([300]));
    assert_eq!(node.ask("eth_getBalance", json!([who, "latest"])), "0x8");
    assert_eq!(node.ask("evm_revert", json!([second])), true);
    assert_eq!(node.ask("eth_getBalance", json!([who, "latest"])), "0x1");
    assert_eq!(node.ask("evm_revert", json!([first])), true, "further back than 256 blocks from where it was");
    assert_eq!(node.height(), height);
    assert_eq!(node.ask("eth_getBlockByNumber", json!(["latest", false]))["hash"], hash);
    assert_eq!(node.ask("eth_getBalance", json!([who, "latest"])), "0x0");
    assert_eq!(node.ask("eth_getTransactionCount", json!([address(5), "latest"])), "0x0");
    assert_eq!(node.ask("evm_revert", json!([second])), false, "it was used up");
    // The chain goes on, and so does the same transaction.
    node.ask("eth_sendRawTransaction", json!([transfer(5, 0, who, 7)]));
    node.ask("evm_mine", json!([]));
    assert_eq!(node.ask("eth_getBalance", json!([who, "latest"])), "0x7");
    assert_eq!(node.height(), height + 1);
}

#[test]
fn a_chain_that_is_not_for_development_refuses_by_name() {
    let rpc = Rpc::new();
    for method in sahara_chain::rpc::methods() {
        let known = ["anvil_", "evm_", "hardhat_"].iter().any(|prefix| method.starts_with(prefix));
        if known || method == "eth_sendTransaction" {
            let (code, words) = rpc.refuses(method, json!([address(1), "0x1", "0x1"]));
            assert!(code == -32601 || code == -32602, "{method}: {code} {words}");
        }
    }
    for (method, params) in [
        ("evm_mine", json!([])),
        ("evm_snapshot", json!([])),
        ("evm_revert", json!(["0x1"])),
        ("evm_increaseTime", json!([1])),
        ("anvil_setBalance", json!([address(1), "0x1"])),
        ("hardhat_impersonateAccount", json!([address(1)])),
        ("eth_sendTransaction", json!([{ "from": address(1) }])),
    ] {
        let (code, words) = rpc.refuses(method, params);
        assert!(code == -32601 && words.contains("development = true"), "{method}: {words}");
    }
    assert_eq!(rpc.ask("eth_accounts", json!([])), json!([]));
    assert_eq!(rpc.chain.driver.height(), 1);
    assert_eq!(rpc.chain.balance(address(1)), "1000000000000000000000000".parse::<U256>().unwrap());
}
