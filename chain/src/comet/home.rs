//! Homes of CometBFT validators on this machine: keys and genesis by CometBFT itself, settings by us.

use std::{
    collections::BTreeMap,
    ffi::OsStr,
    net::{Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    process::Command,
};

use alloy_primitives::B256;
use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::{Value, json};

use super::{PortBlock, settings};
use crate::{
    durable,
    embedded::MAX_BLOCK_BYTES,
    genesis::{DEV_ACCOUNTS, Genesis, GenesisValidator},
    node::{Config, Driver, NodeError, ensure_beacon},
    validator::ConsensusKey,
};

/// Where to get CometBFT.
const INSTALL: &str = "go install github.com/cometbft/cometbft/cmd/cometbft@v0.38.25";

/// Weight of each validator of a test network.
const POWER: u64 = 10;

/// A validator's home.
#[derive(Clone, Debug)]
pub struct Validator {
    /// Its number.
    pub index: usize,
    /// Its folder.
    pub home: PathBuf,
}

/// The `cometbft` program: on the path, or where Go installs it.
///
/// # Errors
/// When it is in none of these places.
pub fn find() -> Result<PathBuf, NodeError> {
    let on_path = std::env::var_os("PATH").map(|path| std::env::split_paths(&path).collect()).unwrap_or_default();
    let folders: Vec<PathBuf> = on_path;
    let go = [("GOBIN", ""), ("GOPATH", "bin"), ("HOME", "go/bin")]
        .into_iter()
        .filter_map(|(name, below)| std::env::var_os(name).map(|value| PathBuf::from(value).join(below)));
    let mut candidates = folders.into_iter().chain(go).map(|folder| folder.join("cometbft"));
    candidates
        .find(|path| path.is_file())
        .ok_or_else(|| NodeError::Setup(format!("cometbft is missing. Install it with Go: {INSTALL}")))
}

/// A network on this machine.
#[derive(Debug)]
pub struct Layout {
    /// Its validators.
    pub validators: Vec<Validator>,
    /// Holds the ports of a new network until its processes listen on them.
    pub ports: Option<PortBlock>,
}

/// The network of `count` validators in `folder`: the one that is there, or a new one.
///
/// # Errors
/// When `count` is out of range, the folder holds another network or cannot be written, no ports are free, or
/// `cometbft` fails.
pub fn layout(cometbft: &Path, folder: &Path, count: usize, chain_id: &str) -> Result<Layout, NodeError> {
    let most = DEV_ACCOUNTS.len().min(PortBlock::VALIDATORS);
    if count == 0 || count > most {
        return Err(NodeError::Setup(format!("a test network has 1 to {most} validators")));
    }
    let homes = |folder: &Path| -> Vec<Validator> {
        (0..count).map(|index| Validator { index, home: folder.join(format!("node{index}")) }).collect()
    };
    let validators = homes(folder);
    if folder.join("node0").exists() {
        let complete = validators.iter().all(|v| v.home.join(crate::node::CONFIG_FILE).exists());
        if !complete || folder.join(format!("node{count}")).exists() {
            return Err(NodeError::Setup(format!(
                "{} holds a network of another size: give its number of validators, or another folder",
                folder.display()
            )));
        }
        validators.iter().try_for_each(check_ports)?;
        return Ok(Layout { validators, ports: None });
    }
    // Made elsewhere and moved, the first validator last: what an interrupted start leaves behind is not taken for a
    // network.
    let draft = folder.join("unfinished");
    if draft.exists() {
        std::fs::remove_dir_all(&draft).map_err(file("remove", &draft))?;
    }
    let ports = PortBlock::reserve(folder)?;
    draw(cometbft, &draft, &homes(&draft), &ports, chain_id)?;
    durable::sync_tree(&draft).map_err(file("write", &draft))?;
    for (from, to) in homes(&draft).iter().zip(&validators).rev() {
        durable::rename(&from.home, &to.home).map_err(file("make", &to.home))?;
    }
    std::fs::remove_dir_all(&draft).map_err(file("remove", &draft))?;
    durable::sync(folder).map_err(file("write", folder))?;
    Ok(Layout { validators, ports: Some(ports) })
}

/// Says which port another program has, before processes fail for it one by one.
fn check_ports(validator: &Validator) -> Result<(), NodeError> {
    let config = Config::load(&validator.home)?;
    let mut needed = vec![config.rpc];
    if let Driver::Cometbft { abci, comet_rpc } = config.driver {
        needed.extend([abci, comet_rpc]);
    }
    match needed.into_iter().find(|address| std::net::TcpListener::bind(address).is_err()) {
        None => Ok(()),
        Some(taken) => Err(NodeError::Setup(format!(
            "validator {} listens at {taken}, where another program listens now: does this network run already?",
            validator.index
        ))),
    }
}

fn draw(
    cometbft: &Path,
    folder: &Path,
    validators: &[Validator],
    block: &PortBlock,
    chain_id: &str,
) -> Result<(), NodeError> {
    let count = validators.len().to_string();
    let words = ["testnet", "--populate-persistent-peers=false", "--v", &count, "--o"];
    run(cometbft, words.iter().map(OsStr::new).chain([folder.as_os_str()]))?;
    let peers: Vec<String> = validators
        .iter()
        .map(|v| {
            let id = run(cometbft, ["show-node-id", "--home"].iter().map(OsStr::new).chain([v.home.as_os_str()]))?;
            Ok(format!("{id}@127.0.0.1:{}", block.of(v.index).p2p))
        })
        .collect::<Result<_, NodeError>>()?;
    let genesis = genesis(validators, chain_id)?;
    for validator in validators {
        let ports = block.of(validator.index);
        write(&validator.home.join("config/genesis.json"), &genesis)?;
        let mut others = peers.clone();
        others.remove(validator.index);
        settings::apply(&validator.home.join("config/config.toml"), &settings::testnet(&ports, &others.join(",")))?;
        let loopback = |port| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let driver = Driver::Cometbft { abci: loopback(ports.abci), comet_rpc: loopback(ports.comet_rpc) };
        Config::new(loopback(ports.rpc), driver).save(&validator.home)?;
    }
    Ok(())
}

/// Runs one of CometBFT's own commands to its end; what it printed.
///
/// # Errors
/// When the program does not start, or ends with another code than 0: what it said is told.
pub fn run<'a>(program: &Path, arguments: impl Iterator<Item = &'a OsStr>) -> Result<String, NodeError> {
    let mut command = Command::new(program);
    command.args(arguments);
    let output = command.output().map_err(file("run", program))?;
    if !output.status.success() {
        let shown: Vec<_> = command.get_args().map(|a| a.to_string_lossy()).collect();
        let said = String::from_utf8_lossy(&output.stderr);
        return Err(NodeError::Setup(format!("cometbft {}: {}", shown.join(" "), said.trim())));
    }
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// The genesis that CometBFT wrote, with our first state and limits.
fn genesis(homes: &[Validator], chain_id: &str) -> Result<String, NodeError> {
    let (mut validators, mut chains) = (Vec::new(), BTreeMap::new());
    for (validator, (operator, _)) in homes.iter().zip(DEV_ACCOUNTS) {
        let path = validator.home.join("config/priv_validator_key.json");
        let key = read_json(&path)?;
        let bytes = key["pub_key"]["value"].as_str().and_then(|text| STANDARD.decode(text).ok());
        let bytes = bytes.and_then(|bytes| <[u8; 32]>::try_from(bytes).ok());
        let bytes = bytes.ok_or_else(|| NodeError::Setup(format!("{}: no ed25519 key", path.display())))?;
        chains.insert(operator, ensure_beacon(&validator.home)?.commitment(0));
        validators.push(GenesisValidator { operator, consensus_key: ConsensusKey(B256::from(bytes)), power: POWER });
    }
    let Some(first) = homes.first() else { return Err(NodeError::Setup("no validators".into())) };
    let mut genesis = read_json(&first.home.join("config/genesis.json"))?;
    let mut state = Genesis::development(validators);
    state.beacon.chains = chains;
    genesis["chain_id"] = json!(chain_id);
    genesis["app_state"] = serde_json::to_value(&state).map_err(|e| NodeError::Setup(e.to_string()))?;
    // Stake stays bonded for longer than evidence counts, in time and in blocks.
    let evidence = state.staking.evidence_seconds;
    genesis["consensus_params"]["evidence"]["max_age_duration"] =
        json!((u128::from(evidence) * 1_000_000_000).to_string());
    genesis["consensus_params"]["evidence"]["max_age_num_blocks"] = json!(state.staking.evidence_blocks.to_string());
    genesis["consensus_params"]["block"]["max_bytes"] = json!(MAX_BLOCK_BYTES.to_string());
    serde_json::to_string_pretty(&genesis).map_err(|e| NodeError::Setup(e.to_string()))
}

fn read_json(path: &Path) -> Result<Value, NodeError> {
    let bytes = std::fs::read(path).map_err(file("read", path))?;
    serde_json::from_slice(&bytes).map_err(|e| NodeError::Setup(format!("{}: {e}", path.display())))
}

fn write(path: &Path, text: &str) -> Result<(), NodeError> {
    std::fs::write(path, text).map_err(file("write", path))
}

fn file(doing: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> NodeError {
    let path = path.display().to_string();
    move |cause| NodeError::File { doing, path, cause }
}
