//! The state that a chain exports is the first state of another one, root for root: accounts, contracts, stake. The new
//! chain begins at the next height, embedded and under CometBFT.

use std::{path::Path, process::Command, sync::Arc};

use alloy_primitives::{Address, U256, bytes, keccak256};
use sahara_chain::{
    application::{Application, ChainStart, EvidenceAge},
    block::header_at,
    genesis::{Genesis, TOKEN},
    ledger::{Ledger, export, roll_back},
    snapshot::Folder,
    staking,
    store::{MemoryStore, Store},
    wallet::Payment,
};
use serde_json::{Value, json};

use crate::{
    a_node_that_dies_anywhere_goes_on_where_it_was::{Node, init},
    common::{Chain, SECOND, START, address, pay, transfer},
    network::{Network, PROGRAM, ask, eventually},
};

#[test]
fn an_exported_chain_goes_on() {
    let mut old = Chain::new();
    // A contract with storage, a delegation, and rewards that wait.
    let create = Payment { nonce: 0, input: bytes!("60076001555f5ff3"), gas_limit: 500_000, ..Payment::default() };
    assert_eq!(old.send(pay(0, create)).code, 0);
    let selector = keccak256("delegate(address)");
    let input = [&selector[..4], &[0; 12], address(9).as_slice()].concat().into();
    let to = Some(staking::ADDRESS);
    let value = TOKEN * U256::from(3);
    let delegate = Payment { nonce: 1, to, value, input, gas_limit: 1_000_000, ..Payment::default() };
    let result = old.send(pay(0, delegate));
    assert_eq!(result.code, 0, "{result:?}");
    for nonce in 2..6 {
        assert_eq!(old.send(transfer(0, nonce, Address::repeat_byte(0x99), 4)).code, 0);
    }

    let last = old.head();
    let json = serde_json::to_vec(&export(&last).unwrap()).unwrap();
    let exported = Genesis::read(&json).unwrap();
    assert_eq!(exported.first_height(), last.height + 1);
    let store: Arc<dyn Store> = Arc::new(MemoryStore::default());
    let mut new = Chain::open(store.clone(), &exported, START + 100 * SECOND);
    assert_eq!(new.ledger.info().height, 0, "nothing is stored before the first block");
    assert_eq!(new.send(transfer(0, 6, Address::repeat_byte(0x99), 4)).code, 0);
    let head = new.head();
    assert_eq!(head.height, last.height + 1);
    assert_eq!(head.header.base_fee_per_gas.unwrap(), last.next_base_fee());
    let first = header_at(head.reader.as_ref(), last.height).unwrap().unwrap();
    assert_eq!(first.state_root, last.header.state_root);
    assert_eq!(new.ledger.state_at(last.height).unwrap().unwrap().validators, last.validators);
    assert!(roll_back(store.as_ref()).is_err());

    // It is a chain like others: opened again, in a snapshot, taken back.
    new.block(&[]);
    let folder = tempfile::tempdir().unwrap();
    let folder = Folder::open(folder.path().into(), 1).unwrap();
    let made = folder.make(&new.head()).unwrap();
    let copy: Arc<dyn Store> = Arc::new(MemoryStore::default());
    folder.restore(copy.clone(), made).unwrap();
    assert_eq!(Ledger::open(copy.clone()).unwrap().info(), new.ledger.info());
    assert_eq!(roll_back(store.as_ref()).unwrap().height, last.height + 1);

    // Under another first height than the file's nothing begins.
    let start = ChainStart { chain_id: "x".into(), time: 1, app_state: json, initial_height: 1, evidence: None };
    let error = Ledger::open(Arc::new(MemoryStore::default())).unwrap().init_chain(&start).unwrap_err();
    assert!(error.to_string().contains("initial_height"), "{error}");
}

#[test]
fn no_chain_begins_that_breaks_a_promise_of_its_stake_or_its_beacon() {
    let begin = |genesis: &Genesis, evidence: Option<EvidenceAge>| {
        let app_state = serde_json::to_vec(genesis).unwrap();
        let initial_height = genesis.first_height();
        let start = ChainStart { chain_id: "x".into(), time: 1, app_state, initial_height, evidence };
        let ledger = Ledger::open(Arc::new(MemoryStore::default())).unwrap();
        ledger.init_chain(&start).map(drop).map_err(|e| e.to_string())
    };
    let fresh = crate::common::genesis();
    let (seconds, blocks) = (fresh.staking.evidence_seconds, fresh.staking.evidence_blocks);
    assert_eq!(begin(&fresh, Some(EvidenceAge { seconds, blocks })), Ok(()));
    let longer = begin(&fresh, Some(EvidenceAge { seconds: seconds + 1, blocks })).unwrap_err();
    assert!(longer.contains("staking.evidence_seconds"), "{longer}");

    let mut old = Chain::new();
    old.block(&[]);
    let mut exported = export(&old.head()).unwrap();
    assert_eq!(begin(&exported, None), Ok(()));
    exported.beacon.epoch_blocks += 1;
    let other = begin(&exported, None).unwrap_err();
    assert!(other.contains("beacon.epoch_blocks"), "{other}");
}

fn export_to(home: &Path, arguments: &[&str]) -> Value {
    let output = Command::new(PROGRAM).arg("export").args(arguments).arg("--home").arg(home).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

#[test]
fn the_command_exports_for_a_home_without_consensus() {
    let (one, two) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    init(one.path());
    let node = Node::start(one.path(), "").unwrap();
    eventually("a few blocks", || node.newest().is_some_and(|(height, _)| height >= 5));
    node.end("-TERM");
    let exported = export_to(one.path(), &[]);
    let height = exported["exported"]["height"].as_u64().unwrap();
    assert!(height >= 5);
    for file in ["chain.toml", "validator-key", "beacon-secret"] {
        std::fs::copy(one.path().join(file), two.path().join(file)).unwrap();
    }
    std::fs::write(two.path().join("genesis.json"), exported.to_string()).unwrap();
    let node = Node::start(two.path(), "").map_err(|(_, said)| said).unwrap();
    assert!(node.newest().unwrap().0 > height);
    node.end("-TERM");
    // And once more, as any start.
    let node = Node::start(two.path(), "").map_err(|(_, said)| said).unwrap();
    assert!(node.newest().unwrap().0 > height);
}

#[test]
fn the_command_exports_for_cometbft() {
    let folder = tempfile::tempdir().unwrap();
    let network = Network::start(folder.path(), 1);
    let rpc = network.validators[0].rpc.clone();
    ask(&rpc, "eth_sendRawTransaction", json!([transfer(0, 0, Address::repeat_byte(0x66), 8)])).unwrap();
    let balance = |rpc: &str| ask(rpc, "eth_getBalance", json!([Address::repeat_byte(0x66), "latest"])).unwrap();
    eventually("the transfer", || balance(&rpc) == "0x8");
    network.stop();

    let home = folder.path().join("node0");
    let exported = export_to(&home, &["--chain-id", "sahara-second"]);
    let first: u64 = exported["initial_height"].as_str().unwrap().parse().unwrap();
    for old in ["chain-data", "data", "snapshots"] {
        let _ = std::fs::remove_dir_all(home.join(old));
    }
    std::fs::create_dir(home.join("data")).unwrap();
    let unsigned = json!({ "height": "0", "round": 0, "step": 0 }).to_string();
    std::fs::write(home.join("data/priv_validator_state.json"), unsigned).unwrap();
    std::fs::write(home.join("config/genesis.json"), exported.to_string()).unwrap();
    let network = Network::start(folder.path(), 1);
    network.wait_for_height(0, first + 1);
    assert_eq!(balance(&network.validators[0].rpc), "0x8");
    network.stop();
}
