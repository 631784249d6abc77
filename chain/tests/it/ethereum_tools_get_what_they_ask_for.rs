//! JSON-RPC of a node of one validator, as a wallet or a deployment tool uses it, and proofs against its headers.

use std::{
    io::{BufRead, BufReader},
    process::{Child, Command, Stdio},
};

use alloy_primitives::{Address, B256, Bytes, U256, bytes, keccak256};
use alloy_trie::{Nibbles, proof::verify_proof};
use sahara_chain::wallet::Payment;
use serde_json::{Value, json};

use crate::{
    common::{address, pay, transfer},
    network::{PROGRAM, ask, eventually},
};

struct Node {
    process: Child,
    url: String,
    _folder: tempfile::TempDir,
}

impl Node {
    fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let home = folder.path().join("node");
        let made = Command::new(PROGRAM)
            .args(["init", "--rpc", "127.0.0.1:0", "--block-time-ms", "0", "--home"])
            .arg(&home)
            .stdout(Stdio::null())
            .status();
        assert!(made.unwrap().success());
        let mut process =
            Command::new(PROGRAM).args(["start", "--home"]).arg(&home).stdout(Stdio::piped()).spawn().unwrap();
        let lines: Vec<String> = BufReader::new(process.stdout.take().unwrap()).lines().take(2).flatten().collect();
        assert!(lines[0].starts_with("driver: embedded"), "{lines:?}");
        let url = lines[1].trim_start_matches("JSON-RPC: ").to_owned();
        Self { process, url, _folder: folder }
    }

    fn ask(&self, method: &str, params: Value) -> Value {
        ask(&self.url, method, params).unwrap_or_else(|e| panic!("{method}: {e}"))
    }

    fn refuses(&self, method: &str, params: Value) -> String {
        ask(&self.url, method, params).expect_err(method)
    }

    fn send(&self, tx: Bytes) -> Value {
        let hash = self.ask("eth_sendRawTransaction", json!([tx]));
        eventually("a receipt", || !self.ask("eth_getTransactionReceipt", json!([hash])).is_null());
        self.ask("eth_getTransactionReceipt", json!([hash]))
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Stores 42 in slot 0 at deployment. A call without data logs topic 7 and returns slot 0; one with data reverts.
const INIT: Bytes = bytes!("602a5f55" "6015600e5f3960155ff3" "3660115760075f5fa15f545f5260205ff35b5f5ffd");

#[test]
fn ethereum_tools_get_what_they_ask_for() {
    let node = Node::start();
    assert_eq!(node.ask("eth_chainId", json!([])), "0x539");
    assert_eq!(node.ask("net_version", json!([])), "1337");
    assert_eq!(node.ask("eth_getBalance", json!([address(1), "latest"])), "0xd3c21bcecceda1000000");

    // A transfer and everything that shows it.
    let to = Address::repeat_byte(0x31);
    assert_eq!(node.ask("eth_estimateGas", json!([{ "from": address(0), "to": to, "value": "0x5" }])), "0x5208");
    let receipt = node.send(transfer(0, 0, to, 5));
    assert_eq!((&receipt["status"], &receipt["gasUsed"]), (&json!("0x1"), &json!("0x5208")));
    let hash = &receipt["transactionHash"];
    let tx = node.ask("eth_getTransactionByHash", json!([hash]));
    assert_eq!((&tx["from"], &tx["value"], &tx["type"]), (&json!(address(0)), &json!("0x5"), &json!("0x2")));
    let block = node.ask("eth_getBlockByHash", json!([receipt["blockHash"], true]));
    assert_eq!(block["transactions"][0], tx);
    let short = node.ask("eth_getBlockByNumber", json!([receipt["blockNumber"], false]));
    assert_eq!(short["transactions"], json!([hash]));
    assert_eq!(node.ask("eth_getBlockReceipts", json!([receipt["blockNumber"]])), json!([receipt]));
    assert_eq!(node.ask("eth_getTransactionCount", json!([address(0), "pending"])), "0x1");

    // Refusals in Ethereum's words.
    assert!(node.refuses("eth_sendRawTransaction", json!([transfer(0, 0, to, 6)])).starts_with("nonce too low"));
    let poor =
        pay(0, Payment { nonce: 1, to: Some(to), value: U256::MAX >> 8, gas_limit: 21_000, ..Payment::default() });
    assert!(node.refuses("eth_sendRawTransaction", json!([poor])).starts_with("insufficient funds"));
    let cheap = pay(0, Payment { nonce: 1, to: Some(to), gas_limit: 20_000, ..Payment::default() });
    assert!(node.refuses("eth_sendRawTransaction", json!([cheap])).starts_with("intrinsic gas too low"));
    assert!(node.refuses("eth_sendRawTransaction", json!(["0x1234"])).starts_with("rlp"));
    assert_eq!(node.refuses("eth_noSuchThing", json!([])), "Method not found");

    // A contract: deployed, called, reverting, logging, proven.
    let deployed = node.send(pay(0, Payment { nonce: 1, input: INIT, gas_limit: 200_000, ..Payment::default() }));
    assert_eq!(deployed["status"], "0x1");
    let contract = &deployed["contractAddress"];
    assert_eq!(*contract, json!(address(0).create(1)));
    let question = json!({ "to": contract });
    let answer = node.ask("eth_call", json!([question, "latest"]));
    assert_eq!(answer, json!(B256::with_last_byte(42)));
    assert_eq!(node.ask("eth_getStorageAt", json!([contract, "0x0", "latest"])), json!(B256::with_last_byte(42)));
    let estimate = node.ask("eth_estimateGas", json!([question]));
    let estimate: U256 = serde_json::from_value(estimate).unwrap();
    assert!(estimate > U256::from(21_000) && estimate < U256::from(40_000), "{estimate}");
    let call = Payment {
        nonce: 2,
        to: Some(serde_json::from_value(contract.clone()).unwrap()),
        gas_limit: estimate.to(),
        ..Payment::default()
    };
    let called = node.send(pay(0, call));
    assert_eq!(
        (&called["status"], called["logs"].as_array().unwrap().len()),
        (&json!("0x1"), 1),
        "the estimate suffices"
    );
    let wrong = json!({ "to": contract, "input": "0x01" });
    assert_eq!(node.refuses("eth_call", json!([wrong, "latest"])), "0x");
    let filter = json!({ "fromBlock": "0x0", "address": contract, "topics": [B256::with_last_byte(7)] });
    let logs = node.ask("eth_getLogs", json!([filter]));
    assert_eq!(logs, called["logs"]);
    let none = json!({ "fromBlock": "0x0", "topics": [B256::with_last_byte(8)] });
    assert_eq!(node.ask("eth_getLogs", json!([none])), json!([]));

    let proof = node.ask("eth_getProof", json!([contract, ["0x0"], "latest"]));
    let head = node.ask("eth_getBlockByNumber", json!(["latest", false]));
    check_proof(&proof, &head);
}

fn check_proof(proof: &Value, head: &Value) {
    let parse = |value: &Value| -> Vec<Bytes> { serde_json::from_value(value.clone()).unwrap() };
    let b256 = |value: &Value| -> B256 { serde_json::from_value(value.clone()).unwrap() };
    let address: Address = serde_json::from_value(proof["address"].clone()).unwrap();
    let account = alloy_trie::TrieAccount {
        nonce: 1,
        balance: U256::ZERO,
        storage_root: b256(&proof["storageHash"]),
        code_hash: b256(&proof["codeHash"]),
    };
    let leaf = alloy_rlp::encode(account);
    let nodes = parse(&proof["accountProof"]);
    verify_proof(b256(&head["stateRoot"]), Nibbles::unpack(keccak256(address)), Some(leaf), &nodes).unwrap();
    let slot = &proof["storageProof"][0];
    let value = alloy_rlp::encode(U256::from(42));
    let nodes = parse(&slot["proof"]);
    verify_proof(b256(&proof["storageHash"]), Nibbles::unpack(keccak256(B256::ZERO)), Some(value), &nodes).unwrap();
}
