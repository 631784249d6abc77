//! Errors carry the codes and words that Ethereum tools look for, and what is too much is refused.

use alloy_consensus::TxLegacy;
use alloy_primitives::{Address, B256, Bytes, TxKind, U256, bytes};
use sahara_chain::wallet::{Payment, Wallet};
use serde_json::{Value, json};

use crate::{
    common::{address, pay, transfer},
    rpc::Rpc,
};

/// Reverts with `Error("no")`.
const SAYS_NO: Bytes =
    bytes!("6308c379a060e01b5f52602060045260026024526f6e6f000000000000000000000000000060801b60445260645ffd");
/// Runs for ever.
const LOOPS: Bytes = bytes!("5b5f56");

#[test]
fn refusals_have_ethereums_codes() {
    let mut rpc = Rpc::new();
    let says_no = rpc.deploy(0, &SAYS_NO);
    let loops = rpc.deploy(0, &LOOPS);
    let error = rpc.try_ask("eth_call", json!([{ "to": says_no }, "latest"])).unwrap_err();
    assert_eq!((&error["code"], &error["message"]), (&json!(3), &json!("execution reverted: no")));
    assert!(error["data"].as_str().unwrap().starts_with("0x08c379a0"), "{error}");
    assert_eq!(rpc.refuses("eth_estimateGas", json!([{ "to": says_no }])).0, 3);
    let endless = rpc.refuses("eth_estimateGas", json!([{ "to": loops }]));
    assert_eq!(endless, (-32000, "gas required exceeds allowance (16777216)".into()));
    let little = rpc.refuses("eth_estimateGas", json!([{ "to": loops, "gas": "0x7530" }]));
    assert_eq!(little, (-32000, "gas required exceeds allowance (30000)".into()));

    let code = |method: &str, params: Value| rpc.refuses(method, params).0;
    assert_eq!(code("eth_noSuchThing", json!([])), -32601);
    for params in [json!([]), json!(["0x12"]), json!([7]), json!([address(0), "newest"]), json!([address(0), "10"])] {
        assert_eq!(code("eth_getBalance", params), -32602);
    }
    let key = "0x00000000000000000000000000000000000000000000000000000000000000000";
    assert_eq!(code("eth_getStorageAt", json!([address(0), key, "latest"])), -32602);
    assert_eq!(rpc.refuses("eth_getBalance", json!([address(0), "0x64"])).1, "header not found");
    assert_eq!(rpc.ask("eth_getBlockByNumber", json!(["0x64", false])), Value::Null);
    for tag in ["latest", "safe", "finalized", "pending"] {
        assert_eq!(rpc.ask("eth_getBlockByNumber", json!([tag, false]))["number"], "0x3");
    }
    assert_eq!(rpc.ask("eth_getBlockByNumber", json!(["earliest", false]))["number"], "0x0");

    // Logs: ranges and sizes.
    let wrong = |filter: Value| rpc.refuses("eth_getLogs", json!([filter]));
    assert_eq!(wrong(json!({ "fromBlock": "0x3", "toBlock": "0x2" })), (-32602, "invalid block range params".into()));
    assert_eq!(wrong(json!({ "fromBlock": "0x1", "toBlock": "0x9" })).0, -32602);
    assert_eq!(wrong(json!({ "blockHash": B256::ZERO, "fromBlock": "0x1" })).0, -32602);
    assert_eq!(wrong(json!({ "topics": [null, null, null, null, null] })).0, -32602);
    let many: Vec<Address> = (0..1_001u64).map(|i| Address::from_word(U256::from(i).into())).collect();
    assert_eq!(wrong(json!({ "address": many })).0, -32602);
    let slots: Vec<U256> = (0..1_025).map(U256::from).collect();
    assert_eq!(code("eth_getProof", json!([address(0), slots, "latest"])), -32005);
    assert_eq!(code("eth_feeHistory", json!(["0x5", "latest", [50, 10]])), -32602);

    // Transactions.
    let send = |tx: Bytes| rpc.refuses("eth_sendRawTransaction", json!([tx]));
    let foreign = TxLegacy {
        chain_id: Some(5),
        gas_price: 1,
        gas_limit: 21_000,
        to: TxKind::Call(Address::ZERO),
        ..TxLegacy::default()
    };
    let foreign = Wallet::new(sahara_chain::genesis::DEV_ACCOUNTS[1].1, 5).unwrap().sign(foreign).unwrap();
    assert_eq!(send(foreign), (-32000, "invalid chain id for signer: have 5 want 1337".into()));
    assert!(send(transfer(0, 0, address(1), 1)).1.starts_with("nonce too low"));
    let first = transfer(1, 0, address(2), 1);
    rpc.ask("eth_sendRawTransaction", json!([first]));
    assert_eq!(send(first).1, "already known");
    assert_eq!(send(transfer(1, 0, address(2), 2)).1, "replacement transaction underpriced");
    let greedy = pay(2, Payment { to: Some(address(1)), gas_limit: 1 << 25, ..Payment::default() });
    assert!(send(greedy).1.contains("gas limit too high"));
    assert_eq!(rpc.refuses("eth_sendRawTransaction", json!(["0x01"])).0, -32602);

    // An id comes back as it was sent.
    let answer = rpc.raw(r#"{"jsonrpc":"2.0","id":"x","method":"eth_chainId"}"#).unwrap();
    assert_eq!((&answer["id"], &answer["result"]), (&json!("x"), &json!("0x539")));
}
