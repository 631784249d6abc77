//! Four real CometBFT validators agree; one that is killed is not missed and catches up after a restart; no committed
//! transaction is lost.

use alloy_primitives::Address;
use serde_json::{Value, json};

use crate::{
    common::transfer,
    network::{Network, ask, eventually},
};

fn send(network: &Network, via: usize, nonce: u64, to: Address) -> String {
    let tx = transfer(0, nonce, to, 7);
    let hash = ask(&network.validators[via].rpc, "eth_sendRawTransaction", json!([tx])).unwrap();
    hash.as_str().unwrap().to_owned()
}

fn receipt(network: &Network, at: usize, hash: &str) -> Value {
    let url = &network.validators[at].rpc;
    eventually("a receipt", || !ask(url, "eth_getTransactionReceipt", json!([hash])).unwrap().is_null());
    ask(url, "eth_getTransactionReceipt", json!([hash])).unwrap()
}

fn block_hash(network: &Network, at: usize, height: u64) -> Value {
    let tag = format!("{height:#x}");
    ask(&network.validators[at].rpc, "eth_getBlockByNumber", json!([tag, false])).unwrap()["hash"].clone()
}

#[test]
fn four_validators_survive_a_killed_one_and_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let to = Address::repeat_byte(0x44);
    let network = Network::start(folder.path(), 4);
    let first = send(&network, 0, 0, to);
    let known = receipt(&network, 3, &first);
    assert_eq!(known["status"], "0x1");

    network.kill(3);
    let second = send(&network, 1, 1, to);
    assert_eq!(receipt(&network, 2, &second)["status"], "0x1");
    let height = network.height(0) + 3;
    for validator in 0..3 {
        network.wait_for_height(validator, height);
    }
    network.stop();

    let network = Network::start(folder.path(), 4);
    for validator in 0..4 {
        network.wait_for_height(validator, height + 2);
        assert_eq!(block_hash(&network, validator, height), block_hash(&network, 0, height));
        assert_eq!(receipt(&network, validator, &first), known);
        let balance = ask(&network.validators[validator].rpc, "eth_getBalance", json!([to, "latest"])).unwrap();
        assert_eq!(balance, "0xe");
    }
    network.stop();
}
