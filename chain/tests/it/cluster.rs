//! Real validators of which each process can be started, wounded and stopped on its own.
#![allow(dead_code)]

use std::{
    fs,
    path::{Path, PathBuf},
    sync::MutexGuard,
};

use alloy_primitives::{Address, Bytes, U256};
use rustix::process::Signal;
use sahara_chain::{
    comet::{self, Launch, Layout, PortBlock, Ports, Processes, settings},
    evm::abi::selector,
};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::{
    common::transfer,
    network::{PROGRAM, alone, ask, eventually, within},
};

/// Lines of each log that a failed test shows.
const SHOWN: usize = 20;

pub const CHAIN: &str = "sahara-cluster";

pub struct Cluster {
    // Dropped in this order: processes before their folder, the turn of the next network last.
    pub nodes: Vec<Node>,
    pub launch: Launch,
    pub ports: PortBlock,
    folder: TempDir,
    _alone: MutexGuard<'static, ()>,
}

pub struct Node {
    pub home: PathBuf,
    pub ports: Ports,
    processes: Option<Processes>,
}

impl Cluster {
    /// Lays out `count` validators and starts none.
    pub fn lay_out(count: usize) -> Self {
        let alone = alone();
        let folder = tempfile::tempdir().unwrap();
        let cometbft = comet::find().unwrap_or_else(|e| panic!("{e}"));
        let Layout { validators, ports } = comet::layout(&cometbft, folder.path(), count, CHAIN).unwrap();
        let ports = ports.unwrap();
        let nodes: Vec<_> = validators.into_iter().map(|v| Node::new(v.home, ports.of(v.index))).collect();
        nodes.iter().for_each(|node| node.set("", "log_level", "\"statesync:info,blocksync:info,*:error\""));
        let launch = Launch { cometbft, ledger: PROGRAM.into(), words: vec![] };
        Self { nodes, launch, ports, folder, _alone: alone }
    }

    /// Lays out `count` validators, starts them and waits for their first block.
    pub fn start(count: usize) -> Self {
        let mut cluster = Self::lay_out(count);
        (0..count).for_each(|index| cluster.run(index));
        (0..count).for_each(|index| cluster.nodes[index].wait_for_height(1));
        cluster
    }

    /// A folder for whatever a test needs beside the validators.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Starts both processes of a validator.
    pub fn run(&mut self, index: usize) {
        let node = &mut self.nodes[index];
        assert!(node.processes.is_none(), "validator {index} runs already");
        node.processes = Some(self.launch.validator(&node.home).unwrap());
    }

    /// Ends the processes of some validators as a user would.
    pub fn stop(&mut self, indices: &[usize]) {
        let mut stopped: Vec<Processes> = indices.iter().map(|i| self.nodes[*i].processes.take().unwrap()).collect();
        comet::stop_all(stopped.iter_mut());
    }

    /// Ends both processes of a validator without warning.
    pub fn kill(&mut self, index: usize) {
        let mut processes = self.nodes[index].processes.take().unwrap();
        processes.cometbft.kill();
        processes.ledger.kill();
    }

    /// Ends the ledger of a validator without warning. CometBFT ends by itself then, but for once in a while, when its own
    /// shutdown hangs (seen in 0.38.25 right after block sync): as whoever supervises it would, this ends it after a while.
    pub fn kill_ledger(&mut self, index: usize) {
        let mut processes = self.nodes[index].processes.take().unwrap();
        processes.ledger.kill();
        within(20, || processes.cometbft.ended().is_some());
        processes.cometbft.kill();
    }

    /// Waits until the CometBFT of a validator has ended by itself, and ends its ledger without warning.
    pub fn dies(&mut self, index: usize) {
        let mut processes = self.nodes[index].processes.take().unwrap();
        eventually("CometBFT to die", || processes.cometbft.ended().is_some());
        processes.ledger.kill();
    }

    pub fn pause(&self, index: usize) {
        self.nodes[index].signal(Signal::STOP);
    }

    pub fn resume(&self, index: usize) {
        self.nodes[index].signal(Signal::CONT);
    }

    /// Takes everything from a stopped validator but its keys and the memory of what it signed.
    pub fn wipe(&self, index: usize) {
        let node = &self.nodes[index];
        assert!(node.processes.is_none(), "validator {index} runs");
        fs::remove_dir_all(node.home.join("chain-data")).unwrap();
        for entry in fs::read_dir(node.home.join("data")).unwrap() {
            let path = entry.unwrap().path();
            match path.is_dir() {
                true => fs::remove_dir_all(path).unwrap(),
                false if path.ends_with("priv_validator_state.json") => {}
                false => fs::remove_file(path).unwrap(),
            }
        }
    }

    /// Waits until each of `indices` has made `more` blocks beyond the highest of them.
    pub fn advance(&self, indices: &[usize], more: u64) {
        let height = indices.iter().map(|i| self.nodes[*i].height()).max().unwrap() + more;
        indices.iter().for_each(|i| self.nodes[*i].wait_for_height(height));
    }

    /// The same application hash and the same EVM block at each height that the validators have, from `first` on.
    /// Gives the last height compared.
    pub fn agree(&self, first: u64) -> u64 {
        let last = self.nodes.iter().map(Node::height).min().unwrap();
        assert!(last >= first, "nothing to compare between {first} and {last}");
        for height in first..=last {
            let seen: Vec<_> = self.nodes.iter().map(|node| (node.app_hash(height), node.block(height))).collect();
            for (index, one) in seen.iter().enumerate() {
                assert_eq!(one, &seen[0], "validators {index} and 0 differ at height {height}");
            }
        }
        last
    }
}

impl Drop for Cluster {
    /// A test that failed shows what its validators said last.
    fn drop(&mut self) {
        if !std::thread::panicking() {
            return;
        }
        for (index, node) in self.nodes.iter().enumerate() {
            for log in ["ledger.log", "cometbft.log"] {
                let text = fs::read_to_string(node.home.join(log)).unwrap_or_default();
                let lines: Vec<&str> = text.lines().collect();
                let last = lines[lines.len().saturating_sub(SHOWN)..].join("\n");
                println!("--- validator {index}, the end of {log}:\n{last}");
            }
        }
    }
}

impl Node {
    pub fn new(home: PathBuf, ports: Ports) -> Self {
        Self { home, ports, processes: None }
    }

    pub fn rpc(&self) -> String {
        format!("http://127.0.0.1:{}", self.ports.rpc)
    }

    pub fn comet_rpc(&self) -> String {
        format!("http://127.0.0.1:{}", self.ports.comet_rpc)
    }

    pub fn ask(&self, method: &str, params: Value) -> Value {
        ask(&self.rpc(), method, params).unwrap()
    }

    pub fn ask_comet(&self, method: &str, params: Value) -> Value {
        ask(&self.comet_rpc(), method, params).unwrap()
    }

    /// Changes lines of CometBFT's settings; counts from its next start.
    pub fn set(&self, section: &'static str, key: &'static str, value: &str) {
        let setting = (section, key, value.to_owned(), "a test");
        settings::apply(&self.home.join("config/config.toml"), &[setting]).unwrap();
    }

    fn signal(&self, signal: Signal) {
        let processes = self.processes.as_ref().unwrap();
        processes.cometbft.signal(signal);
        processes.ledger.signal(signal);
    }

    /// The height of the ledger; zero before it answers.
    pub fn height(&self) -> u64 {
        ask(&self.rpc(), "eth_blockNumber", json!([])).map_or(0, |number| quantity(&number))
    }

    pub fn wait_for_height(&self, height: u64) {
        let what = format!("{} to reach block {height}", self.home.display());
        eventually(&what, || self.height() >= height);
    }

    /// Hands in a transaction; gives its hash.
    pub fn send(&self, tx: &Bytes) -> String {
        self.ask("eth_sendRawTransaction", json!([tx])).as_str().unwrap().to_owned()
    }

    /// The receipt of a transaction, once it is in a block.
    pub fn receipt(&self, hash: &str) -> Value {
        let ask = || self.ask("eth_getTransactionReceipt", json!([hash]));
        eventually("a receipt", || !ask().is_null());
        ask()
    }

    /// Hands in a transaction that must succeed; gives its receipt.
    pub fn succeed(&self, tx: &Bytes) -> Value {
        let receipt = self.receipt(&self.send(tx));
        assert_eq!(receipt["status"], "0x1", "{receipt}");
        receipt
    }

    pub fn call(&self, to: Address, input: &Bytes) -> Bytes {
        let answer = self.ask("eth_call", json!([{ "to": to, "input": input }, "latest"]));
        serde_json::from_value(answer).unwrap()
    }

    /// The hash of the EVM's block.
    pub fn block(&self, height: u64) -> Value {
        self.ask("eth_getBlockByNumber", json!([format!("{height:#x}"), false]))["hash"].clone()
    }

    /// The application hash in the header of `height`.
    pub fn app_hash(&self, height: u64) -> Value {
        let signed = self.ask_comet("commit", json!({ "height": height.to_string() }));
        signed["signed_header"]["header"]["app_hash"].clone()
    }

    /// The weights in consensus after `height`, by address.
    pub fn powers(&self) -> Vec<u64> {
        let answer = self.ask_comet("validators", json!({ "per_page": "100" }));
        let all = answer["validators"].as_array().unwrap();
        all.iter().map(|v| v["voting_power"].as_str().unwrap().parse().unwrap()).collect()
    }
}

/// A number as Ethereum writes it.
pub fn quantity(value: &Value) -> u64 {
    u64::from_str_radix(value.as_str().unwrap().trim_start_matches("0x"), 16).unwrap()
}

/// Transfers of one account, each awaited, none forgotten.
pub struct Traffic {
    from: usize,
    receipts: Vec<Value>,
}

impl Traffic {
    pub const TO: Address = Address::repeat_byte(0x44);

    pub fn of(from: usize) -> Self {
        Self { from, receipts: vec![] }
    }

    /// The next transfer, of one unit.
    pub fn next(&self) -> Bytes {
        transfer(self.from, self.receipts.len() as u64, Self::TO, 1)
    }

    /// Sends the next transfer to `node` and waits until it is in a block.
    pub fn through(&mut self, node: &Node) {
        let hash = node.send(&self.next());
        self.arrives(&hash, node);
    }

    /// Waits until `node` has the next transfer, which was sent as `hash`, in a block.
    pub fn arrives(&mut self, hash: &str, node: &Node) {
        let receipt = node.receipt(hash);
        assert_eq!(receipt["status"], "0x1", "{receipt}");
        self.receipts.push(receipt);
    }

    /// Every validator has every transfer, in the same place and with the same outcome.
    pub fn is_kept(&self, cluster: &Cluster) {
        for node in &cluster.nodes {
            for receipt in &self.receipts {
                assert_eq!(&node.receipt(receipt["transactionHash"].as_str().unwrap()), receipt);
            }
            let balance = node.ask("eth_getBalance", json!([Self::TO, "latest"]));
            assert_eq!(quantity(&balance), self.receipts.len() as u64);
        }
    }
}

/// Input of a call of the staking contract.
pub fn staking_input(name: &str, words: &[U256]) -> Bytes {
    let mut input = selector(name).to_vec();
    words.iter().for_each(|word| input.extend(word.to_be_bytes::<32>()));
    input.into()
}
