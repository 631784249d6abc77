//! `join` makes the home of a further node from a running one's address, or from the file of `invite`: it follows the
//! chain from the first block or from a snapshot, and becomes a validator that proposes.

use std::{
    fs,
    path::Path,
    process::{Child, Command, Stdio},
};

use alloy_primitives::{U256, hex};
use rustix::process::{Pid, Signal, kill_process};
use sahara_chain::{
    beacon::Commitment, comet::Ports, genesis::TOKEN, node::Config, staking, validator::ConsensusKey, wallet::Payment,
};
use serde_json::{Value, json};

use crate::{
    cluster::{Cluster, Traffic, staking_input},
    common::pay,
    network::{PROGRAM, ask, eventually},
    stake_net::{CREATE, arguments},
};

/// Blocks between snapshots.
const EVERY: u64 = 3;

fn say(words: &[&str], home: &Path) -> Result<String, String> {
    let output = Command::new(PROGRAM).args(words).arg("--home").arg(home).output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    match output.status.code() {
        Some(0) => Ok(String::from_utf8(output.stdout).unwrap()),
        code => Err(format!("{code:?}: {said}")),
    }
}

fn join(source: &str, home: &Path, ports: &Ports, more: &[&str]) -> Result<Value, String> {
    let at = |port: u16| format!("127.0.0.1:{port}");
    let [rpc, p2p, comet, abci] = [ports.rpc, ports.p2p, ports.comet_rpc, ports.abci].map(at);
    let mut words = vec!["join", source, "--json"];
    words.extend(["--rpc", &rpc, "--p2p", &p2p, "--comet-rpc", &comet, "--abci", &abci]);
    words.extend(more);
    say(&words, home).map(|said| serde_json::from_str(&said).unwrap())
}

struct Runs(Child);

impl Runs {
    fn start(home: &Path) -> Self {
        let mut command = Command::new(PROGRAM);
        Self(command.args(["start", "--cometbft", "--home"]).arg(home).stdout(Stdio::null()).spawn().unwrap())
    }

    /// Ends it as a user would; its CometBFT must be gone too.
    fn stop(mut self, ports: &Ports) {
        kill_process(Pid::from_raw(self.0.id().cast_signed()).unwrap(), Signal::TERM).unwrap();
        assert!(self.0.wait().unwrap().success());
        for port in [ports.comet_rpc, ports.p2p, ports.rpc] {
            let closed = std::net::TcpStream::connect(("127.0.0.1", port)).is_err();
            assert!(closed, "something still listens at {port}");
        }
    }
}

impl Drop for Runs {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn a_further_node_joins_by_one_command() {
    let mut cluster = Cluster::lay_out(1);
    let mut config = Config::load(&cluster.nodes[0].home).unwrap();
    (config.keep.snapshot_every, config.keep.snapshots) = (EVERY, 100);
    config.save(&cluster.nodes[0].home).unwrap();
    cluster.run(0);
    cluster.nodes[0].wait_for_height(2);
    let mut traffic = Traffic::of(5);
    traffic.through(&cluster.nodes[0]);
    let source = format!("http://{}", cluster.nodes[0].comet_rpc().trim_start_matches("http://"));

    // From the first block.
    let (home, ports) = (cluster.folder().join("second"), cluster.ports.of(1));
    let made = join(&source, &home, &ports, &[]).unwrap();
    assert_eq!((&made["evm_chain_id"], made["peers"].as_array().unwrap().len()), (&json!(1337), 1));
    let genesis = |home: &Path| -> Value {
        serde_json::from_slice(&fs::read(home.join("config/genesis.json")).unwrap()).unwrap()
    };
    assert_eq!(genesis(&home)["app_state"], genesis(&cluster.nodes[0].home)["app_state"]);
    let keys: Value = serde_json::from_str(&say(&["keys", "--json"], &home).unwrap()).unwrap();
    let validator = made["validator"].as_str().unwrap();
    assert!(validator.len() == 66 && keys["validator"] == *validator, "{made} {keys}");
    assert!(join(&source, &home, &ports, &[]).unwrap_err().contains("already is the home of a node"));
    let node = Runs::start(&home);
    let rpc = format!("http://127.0.0.1:{}", ports.rpc);
    follows(&rpc, &cluster, &mut traffic);
    becomes_a_validator(&home, &cluster);
    let (second, second_ports) = (node, ports);

    // From a snapshot, by a file.
    let file = cluster.folder().join("join.json");
    cluster.nodes[0].wait_for_height(2 * EVERY + 3);
    say(&["invite", "--out", file.to_str().unwrap()], &cluster.nodes[0].home).unwrap();
    let (home, ports) = (cluster.folder().join("third"), cluster.ports.of(2));
    let invitation: Value = serde_json::from_slice(&fs::read(&file).unwrap()).unwrap();
    let lie = format!("{}:{}", invitation["trust"]["height"], "0".repeat(64));
    let refused = join(file.to_str().unwrap(), &home, &ports, &["--snapshot", "--trust", &lie]).unwrap_err();
    assert!(refused.contains("one of the two lies") && !home.exists(), "{refused}");
    join(file.to_str().unwrap(), &home, &ports, &["--snapshot"]).unwrap();
    let node = Runs::start(&home);
    let rpc = format!("http://127.0.0.1:{}", ports.rpc);
    follows(&rpc, &cluster, &mut traffic);
    let comet = format!("http://127.0.0.1:{}", ports.comet_rpc);
    // Right after the snapshot CometBFT has no block yet, and says 0.
    let earliest = || -> u64 {
        let status = ask(&comet, "status", json!({})).unwrap();
        status["sync_info"]["earliest_block_height"].as_str().unwrap().parse().unwrap()
    };
    eventually("a block after the snapshot", || earliest() > 0);
    let first = earliest();
    assert!(first > EVERY, "it began with block {first}, not from a snapshot");
    node.stop(&ports);

    for wrong in ["http://127.0.0.1:1", "https://x:1", "nowhere"] {
        let error = join(wrong, &cluster.folder().join("no"), &ports, &[]).unwrap_err();
        assert!(error.starts_with("Some(2)") && error.contains(wrong.trim_start_matches("http://")), "{error}");
    }
    assert!(!cluster.folder().join("no").exists());
    second.stop(&second_ports);
}

/// Bonds stake with what `keys` tells the operator of the node in `home`, which signs and proposes from then on.
fn becomes_a_validator(home: &Path, cluster: &Cluster) {
    let operator = crate::common::address(8).to_string();
    let told: Value = serde_json::from_str(&say(&["keys", "--json", "--operator", &operator], home).unwrap()).unwrap();
    let told = &told["registration"];
    let text = |name: &str| told[name].as_str().unwrap().to_owned();
    let key = ConsensusKey(text("consensus_key").parse().unwrap());
    let beacon =
        Commitment { tip: text("beacon_tip").parse().unwrap(), length: told["beacon_length"].as_u64().unwrap() };
    let proof = hex::decode_to_array(text("proof")).unwrap();
    let create = Payment {
        to: Some(staking::ADDRESS),
        value: TOKEN * U256::from(5),
        input: staking_input(CREATE, &arguments(key, 100, &proof, beacon)),
        gas_limit: 500_000,
        ..Payment::default()
    };
    cluster.nodes[0].succeed(&pay(8, create));
    eventually("the new validator's weight", || cluster.nodes[0].powers().contains(&5));
    let own: Value = serde_json::from_slice(&fs::read(home.join("config/priv_validator_key.json")).unwrap()).unwrap();
    eventually("a block that the new validator proposed", || {
        let block = cluster.nodes[0].ask_comet("block", json!({}));
        block["block"]["header"]["proposer_address"] == own["address"]
    });
}

/// The node at `rpc` sees a transfer that is made after it started.
fn follows(rpc: &str, cluster: &Cluster, traffic: &mut Traffic) {
    eventually("the new node answers", || ask(rpc, "eth_blockNumber", json!([])).is_ok());
    traffic.through(&cluster.nodes[0]);
    let count = || cluster.nodes[0].ask("eth_getTransactionCount", json!([crate::common::address(5), "latest"]));
    let wanted = count();
    let seen = || ask(rpc, "eth_getTransactionCount", json!([crate::common::address(5), "latest"])).ok();
    eventually("the new node has the transfer", || seen() == Some(wanted.clone()));
}
