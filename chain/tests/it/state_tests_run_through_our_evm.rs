//! The runner of Ethereum's state tests, on small tests of our own: what should pass passes, what is wrong is named,
//! what cannot be run is listed with its reason. Expected roots come from another library's trie.

use std::path::Path;

use alloy_primitives::{Address, B256, KECCAK256_EMPTY, U256, address, hex, keccak256};
use alloy_trie::{TrieAccount, root};
use sahara_chain::evm::committee;
use serde_json::{Value, json};

use crate::runner;

const SENDER: Address = address!("0xa94f5374fce5edbc8e2a8697c15331677e6ebf0b");
const MINER: Address = address!("0x2adc25665018aa1fe0e6bc666dac8fc2697ff9ba");
const OTHER: Address = address!("0x00000000000000000000000000000000000000aa");
const RICH: u64 = 1_000_000_000_000_000_000;
const PRICE: u64 = 10;

#[derive(Clone, Default)]
struct Account {
    nonce: u64,
    balance: u64,
    code: Vec<u8>,
    storage: Vec<(u64, u64)>,
}

/// A test of one transaction at `fork`, and the accounts that it should leave.
fn case(fork: &str, code: &[u8], to: Address, gas: u64, value: u64, after: &[(Address, Account)]) -> Value {
    let rich = Account { balance: RICH, ..Account::default() };
    let before = [(SENDER, rich), (OTHER, Account { code: code.to_vec(), nonce: 1, ..Account::default() })];
    let pre: serde_json::Map<String, Value> = before
        .iter()
        .map(|(at, a)| {
            let fields = json!({ "balance": U256::from(a.balance), "nonce": U256::from(a.nonce),
                "code": hex::encode_prefixed(&a.code), "storage": {} });
            (at.to_string(), fields)
        })
        .collect();
    let no_logs = keccak256([0xc0]);
    json!({
        "env": { "currentCoinbase": MINER, "currentDifficulty": "0x0", "currentGasLimit": "0x989680",
            "currentNumber": "0x1", "currentTimestamp": "0x3e8", "currentBaseFee": "0xa",
            "currentRandom": B256::ZERO, "currentExcessBlobGas": "0x0" },
        "pre": pre,
        "transaction": { "data": ["0x"], "gasLimit": [U256::from(gas)], "value": [format!("{value:#x}")],
            "nonce": "0x0", "sender": SENDER, "to": to.to_string(), "gasPrice": U256::from(PRICE) },
        "post": { fork: [{ "hash": state_root(after), "logs": no_logs,
            "indexes": { "data": 0, "gas": 0, "value": 0 } }] },
    })
}

fn state_root(accounts: &[(Address, Account)]) -> B256 {
    root::state_root_unhashed(accounts.iter().map(|(at, a)| {
        let slots = a.storage.iter().map(|(slot, value)| (B256::from(U256::from(*slot)), U256::from(*value)));
        let account = TrieAccount {
            nonce: a.nonce,
            balance: U256::from(a.balance),
            storage_root: root::storage_root_unhashed(slots),
            code_hash: if a.code.is_empty() { KECCAK256_EMPTY } else { keccak256(&a.code) },
        };
        (*at, account)
    }))
}

fn sender(gas_used: u64, value: u64) -> (Address, Account) {
    (SENDER, Account { nonce: 1, balance: RICH - gas_used * PRICE - value, ..Account::default() })
}

fn other(code: &[u8], balance: u64, storage: &[(u64, u64)]) -> (Address, Account) {
    (OTHER, Account { nonce: 1, balance, code: code.to_vec(), storage: storage.to_vec() })
}

fn write(folder: &Path, name: &str, test: &Value) {
    let path = folder.join(name);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    let label = name.trim_end_matches(".json");
    std::fs::write(path, serde_json::to_vec_pretty(&json!({ label: test })).unwrap()).unwrap();
}

#[test]
fn state_tests_run_through_our_evm() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    // A transfer: 21,000 gas, all of it burnt at the base fee.
    let paid = [sender(21_000, 7), other(&[], 7, &[])];
    write(at, "transfer.json", &case("Osaka", &[], OTHER, 30_000, 7, &paid));
    // PUSH1 5 PUSH1 1 SSTORE: two pushes and a cold write of a fresh slot.
    let store = hex!("6005600155");
    let stored = [sender(21_000 + 6 + 22_100, 0), other(&store, 0, &[(1, 5)])];
    write(at, "deep/er/store.json", &case("Prague", &store, OTHER, 100_000, 0, &stored));
    // The same with too little gas: everything is paid, nothing is stored.
    let failed = [sender(40_000, 0), other(&store, 0, &[])];
    write(at, "out_of_gas.json", &case("Osaka", &store, OTHER, 40_000, 0, &failed));
    // REVERT gives the rest of the gas and the value back: two PUSH0 at two gas.
    let revert = hex!("5f5ffd");
    let reverted = [sender(21_000 + 4, 0), other(&revert, 0, &[])];
    write(at, "revert.json", &case("Cancun", &revert, OTHER, 100_000, 9, &reverted));
    // A native contract of this chain is there: it refuses the empty call, so STATICCALL leaves 0 and a 9 is stored.
    let mut ask = hex!("5f5f5f5f73").to_vec();
    ask.extend(committee::ADDRESS);
    ask.extend(hex!("617530fa15600902600055"));
    write(at, "ours.json", &case("Osaka", &ask, OTHER, 200_000, 0, &[other(&ask, 0, &[(0, 9)])]));
    let asked = runner::run(&at.join("deep"), 1);
    assert_eq!((asked.passed(), asked.files), (1, 1));
    // A transaction that cannot pay is refused, and leaves the state as it was.
    let mut poor = case(
        "Osaka",
        &[],
        OTHER,
        21_000,
        RICH,
        &[(SENDER, Account { balance: RICH, ..Account::default() }), other(&[], 0, &[])],
    );
    poor["post"]["Osaka"][0]["expectException"] = "TransactionException.INSUFFICIENT_ACCOUNT_FUNDS".into();
    write(at, "poor.json", &poor);
    // What is wrong: a root, an unknown fork, no JSON.
    write(at, "wrong.json", &case("Osaka", &[], OTHER, 30_000, 7, &[sender(21_001, 7), other(&[], 7, &[])]));
    write(at, "strange.json", &case("Tomorrow", &[], OTHER, 30_000, 7, &paid));
    // What is foreign: rules of before Paris (the root is wrong, and nobody looks), another kind of test, an index.
    write(at, "old.json", &case("London", &[], OTHER, 30_000, 7, &[]));
    write(at, "other.json", &json!({ "blocks": [], "pre": {}, "network": "Cancun" }));
    std::fs::write(at.join("index.json"), "[]").unwrap();
    std::fs::write(at.join("broken.json"), "{").unwrap();

    let report = runner::run(at, 3);
    let again = runner::run(at, 1);
    assert_eq!(format!("{report:?}"), format!("{again:?}"), "threads do not matter");
    assert_eq!(report.files, 12);
    let failed: Vec<&str> = report.failed.iter().map(String::as_str).collect();
    assert_eq!(report.passed(), 5, "{failed:?}");
    // The root of "ours" is not computed here: gas would have to be. That it fails on the root alone shows it ran.
    assert_eq!(failed.len(), 2, "{failed:?}");
    assert!(failed[0].contains("ours.json") && failed[0].contains("root"), "{failed:?}");
    assert!(failed[1].contains("wrong.json") && failed[1].contains("root"), "{failed:?}");
    let skipped: Vec<&str> = report.skipped.iter().map(|skip| skip.line.as_str()).collect();
    assert_eq!((report.skipped_tests(), report.unexplained()), (5, 2), "{skipped:?}");
    for words in ["broken.json", "index.json", "London: rules of before Paris", "not a state test", "Tomorrow"] {
        assert!(skipped.iter().any(|line| line.contains(words)), "{words}: {skipped:?}");
    }
    assert!(!report.holds(), "something failed");
    let old = tempfile::tempdir().unwrap();
    assert!(!runner::run(old.path(), 1).holds(), "nothing was looked at");
    write(old.path(), "old.json", &case("London", &[], OTHER, 30_000, 7, &[]));
    assert!(runner::run(old.path(), 1).holds(), "all of it is explained");
}

#[test]
fn a_state_that_cannot_be_is_skipped_only_where_it_matters() {
    let folder = tempfile::tempdir().unwrap();
    let orphan = |test: &mut Value| {
        test["pre"]["0x00000000000000000000000000000000000000bb"] =
            json!({ "balance": "0x0", "nonce": "0x0", "code": "0x", "storage": { "0x01": "0x01" } });
    };
    let mut wrong = case("Osaka", &[], OTHER, 30_000, 7, &[sender(21_000, 7), other(&[], 7, &[])]);
    orphan(&mut wrong);
    write(folder.path(), "wrong.json", &wrong);
    let report = runner::run(folder.path(), 1);
    assert_eq!((report.failed.len(), report.skipped_tests(), report.unexplained()), (0, 1, 0));
    assert!(report.skipped[0].line.contains("EIP-7610"), "{report:?}");
}

#[test]
fn a_test_tells_its_chain_and_its_blobs() {
    let folder = tempfile::tempdir().unwrap();
    let paid = [sender(21_000, 7), other(&[], 7, &[])];
    // CHAINID, PUSH0, SSTORE.
    let code = hex!("465f55");
    let stored = [sender(21_000 + 4 + 22_100, 0), other(&code, 0, &[(0, 0x7a)])];
    let mut test = case("Prague", &code, OTHER, 100_000, 0, &stored);
    test["config"] = json!({ "chainid": "0x7a", "blobSchedule": {} });
    test["env"].as_object_mut().unwrap().remove("currentDifficulty");
    write(folder.path(), "chain.json", &test);
    for fork in ["BPO1", "BPO2", "Merge"] {
        write(folder.path(), &format!("{fork}.json"), &case(fork, &[], OTHER, 30_000, 7, &paid));
    }
    // Seven blobs are too many for a transaction of Osaka, and not for one of Prague.
    for (fork, fails) in [("Osaka", true), ("Prague", false)] {
        let mut test = case(fork, &[], OTHER, 30_000, 7, &paid);
        let hash = B256::with_last_byte(1) | B256::from(U256::ONE << 248);
        test["transaction"]["blobVersionedHashes"] = json!(vec![hash; 7]);
        test["transaction"]["maxFeePerBlobGas"] = json!("0xa");
        test["transaction"]["maxFeePerGas"] = json!("0xa");
        test["transaction"].as_object_mut().unwrap().remove("gasPrice");
        let spent = 7 * 131_072;
        let mut payer = sender(21_000, 7);
        payer.1.balance -= spent;
        let after = if fails {
            vec![(SENDER, Account { balance: RICH, ..Account::default() }), other(&[], 0, &[])]
        } else {
            vec![payer, other(&[], 7, &[])]
        };
        test["post"][fork][0]["hash"] = json!(state_root(&after));
        if fails {
            test["post"][fork][0]["expectException"] = json!("TYPE_3_TX_MAX_BLOB_GAS_ALLOWANCE_EXCEEDED");
        }
        write(folder.path(), &format!("blobs-{fork}.json"), &test);
    }
    let report = runner::run(folder.path(), 1);
    assert_eq!((report.passed(), report.failed.len()), (6, 0), "{report:?}");
}
