//! A node is killed at every place around a write, again and again in one home, and at any moment. Each time it opens
//! with what it had committed, and in the end a replay of all its blocks gives the same hashes.

use std::{
    io::{BufRead, BufReader, Read},
    path::Path,
    process::{Child, Command, ExitStatus, Stdio},
    sync::Arc,
};

use alloy_primitives::Address;
use sahara_chain::{
    application::{Application, ChainStart, DecidedBlock, Vote},
    block::block_at,
    error::StoreError,
    genesis::Genesis,
    ledger::{BeginBlock, Ledger},
    node::open,
    store::{Batch, Engine, MemoryStore, Reader, Store},
};
use serde_json::{Value, json};

use crate::{
    common::{address, genesis, transfer},
    network::{PROGRAM, ask, eventually},
};

/// A running node of a home.
pub struct Node {
    process: Child,
    pub rpc: String,
}

/// A home that makes blocks and snapshots quickly.
pub fn init(home: &Path) {
    init_with(home, Engine::Redb);
}

/// The same with another database.
pub fn init_with(home: &Path, engine: Engine) {
    let status = Command::new(PROGRAM)
        .args(["init", "--rpc", "127.0.0.1:0", "--block-time-ms", "20", "--home"])
        .arg(home)
        .stdout(Stdio::null())
        .status()
        .unwrap();
    assert!(status.success());
    let path = home.join("chain.toml");
    let text = std::fs::read_to_string(&path).unwrap();
    let text = text.replace("snapshot_every = 1000", "snapshot_every = 3");
    let text = text.replace("engine = \"redb\"", &format!("engine = \"{engine}\""));
    assert!(text.contains("snapshot_every = 3") && text.contains(&format!("engine = \"{engine}\"")), "{text}");
    std::fs::write(path, text).unwrap();
}

impl Node {
    /// Starts it; `fail` names the place where it dies. Nothing if it dies before it answers.
    pub fn start(home: &Path, fail: &str) -> Result<Self, (ExitStatus, String)> {
        let mut command = Command::new(PROGRAM);
        command.arg("start").arg("--home").arg(home).stdout(Stdio::piped()).stderr(Stdio::piped());
        if !fail.is_empty() {
            command.env("SAHARA_CHAIN_FAIL", fail);
        }
        let mut process = command.spawn().unwrap();
        let mut lines = BufReader::new(process.stdout.take().unwrap()).lines();
        let rpc = lines.find_map(|line| Some(line.ok()?.strip_prefix("JSON-RPC: ")?.to_owned()));
        match rpc {
            Some(rpc) => {
                let mut stderr = process.stderr.take().unwrap();
                std::thread::spawn(move || std::io::copy(&mut stderr, &mut std::io::sink()));
                Ok(Self { process, rpc })
            }
            None => {
                let mut said = String::new();
                process.stderr.take().unwrap().read_to_string(&mut said).unwrap();
                Err((process.wait().unwrap(), said))
            }
        }
    }

    /// The newest block, while it lives.
    pub fn newest(&self) -> Option<(u64, Value)> {
        let block = ask(&self.rpc, "eth_getBlockByNumber", json!(["latest", false])).ok()?;
        let number = block["number"].as_str()?;
        Some((u64::from_str_radix(number.trim_start_matches("0x"), 16).ok()?, block["hash"].clone()))
    }

    fn send(&self, nonce: u64) {
        let _ = ask(&self.rpc, "eth_sendRawTransaction", json!([transfer(0, nonce, address(1), 9)]));
    }

    pub fn end(mut self, signal: &str) -> ExitStatus {
        let _ = Command::new("kill").args([signal, &self.process.id().to_string()]).status();
        self.process.wait().unwrap()
    }

    fn dies(&mut self) -> bool {
        self.process.try_wait().unwrap().is_some()
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Every block of the home, executed again from genesis in another store.
fn replay(home: &Path) {
    let (_store, old) = open(home).unwrap();
    let head = old.head().unwrap();
    let genesis_json = std::fs::read(home.join("genesis.json")).unwrap();
    let own = Genesis::read(&genesis_json).unwrap().validators[0].clone();
    let new = Ledger::open(Arc::new(MemoryStore::default())).unwrap();
    let first = sahara_chain::block::header_at(head.reader.as_ref(), 0).unwrap().unwrap();
    let chain_id = old.chain_name().unwrap().unwrap();
    let time = first.timestamp;
    new.init_chain(&ChainStart { chain_id, time, app_state: genesis_json, initial_height: 1, evidence: None }).unwrap();
    for height in 1..=head.height {
        let block = block_at(head.reader.as_ref(), height).unwrap().unwrap();
        let validator = own.consensus_key.address();
        let item = BeginBlock::at(head.reader.as_ref(), height).unwrap().unwrap().item;
        assert!(item.is_some());
        let vote = Vote { validator, power: own.power, signed: true };
        new.finalize(&DecidedBlock {
            height,
            time: block.header.timestamp,
            proposer: Some(validator),
            txs: item
                .into_iter()
                .map(|item| item.encode())
                .chain(block.txs.iter().map(|tx| tx.bytes.clone()))
                .collect(),
            votes: if height == 1 { vec![] } else { vec![vote] },
            offences: vec![],
        })
        .unwrap();
        new.commit().unwrap();
        assert_eq!(new.head().unwrap().hash, block.hash, "block {height}");
    }
    assert_eq!(new.info(), old.info());
}

#[test]
fn a_node_that_dies_anywhere_goes_on_where_it_was() {
    Engine::built().iter().for_each(|engine| dies_anywhere(*engine));
}

fn dies_anywhere(engine: Engine) {
    let folder = tempfile::tempdir().unwrap();
    let home = folder.path();
    init_with(home, engine);
    let mut seen = (0, Value::Null);
    let mut nonce = 0;
    let places = ["keep", "kept", "commit", "committed", "done"].map(|place| format!("{place}:1"));
    let later = ["keep:4", "kept:4", "commit:5", "committed:4", "done:6"].map(str::to_owned);
    let snapshots = ["snapshot-chunk", "snapshot-written", "snapshot-complete"].map(str::to_owned);
    for fail in places.into_iter().chain(later).chain(snapshots) {
        if let Ok(mut node) = Node::start(home, &fail) {
            eventually(&format!("death at {fail}"), || {
                node.send(nonce);
                nonce += 1;
                seen = node.newest().filter(|(height, _)| *height >= seen.0).unwrap_or(seen.clone());
                node.dies()
            });
        }
        // What was seen is still there, and the chain goes on.
        let node = Node::start(home, "").unwrap_or_else(|(_, said)| panic!("after {fail}: {said}"));
        let block = ask(&node.rpc, "eth_getBlockByNumber", json!([format!("{:#x}", seen.0), false])).unwrap();
        assert!(seen.0 == 0 || block["hash"] == seen.1, "after {fail}: {seen:?} became {block}");
        let count = ask(&node.rpc, "eth_getTransactionCount", json!([address(0), "latest"])).unwrap();
        nonce = u64::from_str_radix(count.as_str().unwrap().trim_start_matches("0x"), 16).unwrap();
        node.send(nonce);
        nonce += 1;
        let from = node.newest().unwrap().0;
        eventually("two blocks", || node.newest().is_some_and(|(height, _)| height >= from + 2));
        seen = node.newest().unwrap();
        node.end("-KILL");
    }
    assert!(nonce > 10);
    replay(home);
}

/// A store whose write fails: before anything happened, or after all of it.
struct Failing {
    inner: MemoryStore,
    after: bool,
    armed: std::sync::atomic::AtomicBool,
}

impl Store for Failing {
    fn reader(&self) -> Result<Arc<dyn Reader>, StoreError> {
        self.inner.reader()
    }

    fn write(&self, batch: &Batch) -> Result<(), StoreError> {
        let fails = self.armed.load(std::sync::atomic::Ordering::SeqCst);
        if !fails || self.after {
            self.inner.write(batch)?;
        }
        if fails { Err(StoreError::new("write", "the disk is gone")) } else { Ok(()) }
    }
}

fn decided(height: u64) -> DecidedBlock {
    let tx = transfer(0, height - 1, Address::repeat_byte(0x31), 5);
    DecidedBlock { height, time: 1_700_000_000 + height, txs: vec![tx], ..DecidedBlock::default() }
}

#[test]
fn after_a_failed_commit_the_engine_replays_what_is_missing() {
    let start = || ChainStart {
        chain_id: "sahara-test".into(),
        time: 1_700_000_000,
        app_state: serde_json::to_vec(&genesis()).unwrap(),
        initial_height: 1,
        evidence: None,
    };
    let sound = Ledger::open(Arc::new(MemoryStore::default())).unwrap();
    let first = sound.init_chain(&start()).unwrap().app_hash;
    for dies_at in 1..4u64 {
        for after in [false, true] {
            let inner = MemoryStore::default();
            let store = Arc::new(Failing { inner: inner.clone(), after, armed: false.into() });
            let ledger = Ledger::open(store.clone()).unwrap();
            // Before the first commit an engine may begin the chain again and again; it is always the same.
            for _ in 0..2 {
                assert_eq!(ledger.init_chain(&start()).unwrap().app_hash, first);
                assert_eq!(ledger.info(), Default::default());
            }
            for height in 1..=dies_at {
                let hash = ledger.finalize(&decided(height)).unwrap().app_hash;
                // Finalizing is without effect until the commit, and may be repeated.
                assert_eq!(ledger.info().height, height - 1);
                assert_eq!(ledger.finalize(&decided(height)).unwrap().app_hash, hash);
                store.armed.store(height == dies_at, std::sync::atomic::Ordering::SeqCst);
                assert_eq!(ledger.commit().is_err(), height == dies_at);
            }
            drop(ledger);
            let again = Ledger::open(Arc::new(inner)).unwrap();
            let done = if after { dies_at } else { dies_at - 1 };
            assert_eq!(again.info().height, done);
            if done == 0 {
                again.init_chain(&start()).unwrap();
            } else {
                let refused = again.init_chain(&start()).unwrap_err().to_string();
                assert!(refused.contains("already has a chain"), "{refused}");
            }
            let refused = again.finalize(&decided(done + 2)).unwrap_err().to_string();
            assert!(refused.contains("another chain or another time"), "{refused}");
            for height in done + 1..=5 {
                again.finalize(&decided(height)).unwrap();
                again.commit().unwrap();
            }
            if sound.info().height == 0 {
                for height in 1..=5 {
                    sound.finalize(&decided(height)).unwrap();
                    sound.commit().unwrap();
                }
            }
            assert_eq!(again.info(), sound.info());
        }
    }
}
