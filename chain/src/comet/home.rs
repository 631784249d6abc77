//! Homes of CometBFT validators on this machine: keys and genesis by CometBFT itself, settings by us.

use std::{
    net::{Ipv4Addr, SocketAddr, TcpListener},
    path::{Path, PathBuf},
    process::Command,
};

use alloy_primitives::B256;
use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::{Value, json};

use crate::{
    embedded::MAX_BLOCK_BYTES,
    genesis::{DEV_ACCOUNTS, Genesis, GenesisValidator},
    node::{Config, Driver, NodeError},
    validator::ConsensusKey,
};

/// Where to get CometBFT.
const INSTALL: &str = "go install github.com/cometbft/cometbft/cmd/cometbft@v0.38.25";

/// Weight of each validator of a test network.
const POWER: u64 = 10;

/// The ports of one validator.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ports {
    /// Between validators.
    pub p2p: u16,
    /// CometBFT's RPC.
    pub comet_rpc: u16,
    /// Between CometBFT and the ledger.
    pub abci: u16,
    /// Ethereum's JSON-RPC.
    pub rpc: u16,
}

/// A validator's home.
#[derive(Clone, Debug)]
pub struct Validator {
    /// Its number.
    pub index: usize,
    /// Its folder.
    pub home: PathBuf,
}

/// The `cometbft` program: on the path, or where Go installs it.
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

/// The homes of `count` validators in `folder`: those that are there, or new ones.
pub fn layout(cometbft: &Path, folder: &Path, count: usize, chain_id: &str) -> Result<Vec<Validator>, NodeError> {
    let homes: Vec<Validator> =
        (0..count).map(|index| Validator { index, home: folder.join(format!("node{index}")) }).collect();
    if folder.join("node0").exists() {
        let complete = homes.iter().all(|v| v.home.join(crate::node::CONFIG_FILE).exists());
        let more = folder.join(format!("node{count}")).exists();
        if !complete || more {
            return Err(NodeError::Setup(format!(
                "{} holds a network of another size: give its number of validators, or another folder",
                folder.display()
            )));
        }
        return Ok(homes);
    }
    if count == 0 || count > DEV_ACCOUNTS.len() {
        return Err(NodeError::Setup(format!("a test network has 1 to {} validators", DEV_ACCOUNTS.len())));
    }
    let validators = count.to_string();
    let path = folder.display().to_string();
    let arguments = ["testnet", "--v", &validators, "--o", &path, "--populate-persistent-peers=false"];
    comet(cometbft, &arguments)?;
    let ids: Vec<String> = homes
        .iter()
        .map(|v| comet(cometbft, &["show-node-id", "--home", &v.home.display().to_string()]))
        .collect::<Result<_, _>>()?;
    let ports = free_ports(count)?;
    let genesis = genesis(&homes, chain_id)?;
    for (validator, own) in homes.iter().zip(&ports) {
        write(&validator.home.join("config/genesis.json"), &genesis)?;
        let peers: Vec<String> = ids
            .iter()
            .zip(&ports)
            .filter(|(_, other)| *other != own)
            .map(|(id, other)| format!("{id}@127.0.0.1:{}", other.p2p))
            .collect();
        settings(&validator.home.join("config/config.toml"), own, &peers.join(","))?;
        let loopback = |port| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let driver = Driver::Cometbft { abci: loopback(own.abci), comet_rpc: loopback(own.comet_rpc) };
        Config::new(loopback(own.rpc), driver).save(&validator.home)?;
    }
    Ok(homes)
}

fn comet(program: &Path, arguments: &[&str]) -> Result<String, NodeError> {
    let shown = || format!("cometbft {}", arguments.join(" "));
    let output = Command::new(program).args(arguments).output().map_err(|cause| NodeError::File {
        doing: "run",
        path: program.display().to_string(),
        cause,
    })?;
    if !output.status.success() {
        return Err(NodeError::Setup(format!("{}: {}", shown(), String::from_utf8_lossy(&output.stderr).trim())));
    }
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// The genesis that CometBFT wrote, with our first state and limits.
fn genesis(homes: &[Validator], chain_id: &str) -> Result<String, NodeError> {
    let mut validators = Vec::new();
    for (validator, (operator, _)) in homes.iter().zip(DEV_ACCOUNTS) {
        let path = validator.home.join("config/priv_validator_key.json");
        let key = read_json(&path)?;
        let bytes = key["pub_key"]["value"].as_str().and_then(|text| STANDARD.decode(text).ok());
        let bytes = bytes.and_then(|bytes| <[u8; 32]>::try_from(bytes).ok());
        let bytes = bytes.ok_or_else(|| NodeError::Setup(format!("{}: no ed25519 key", path.display())))?;
        validators.push(GenesisValidator { operator, consensus_key: ConsensusKey(B256::from(bytes)), power: POWER });
    }
    let Some(first) = homes.first() else { return Err(NodeError::Setup("no validators".into())) };
    let mut genesis = read_json(&first.home.join("config/genesis.json"))?;
    let state = Genesis::development(validators);
    genesis["chain_id"] = json!(chain_id);
    genesis["app_state"] = serde_json::to_value(&state).map_err(|e| NodeError::Setup(e.to_string()))?;
    genesis["consensus_params"]["block"]["max_bytes"] = json!(MAX_BLOCK_BYTES.to_string());
    serde_json::to_string_pretty(&genesis).map_err(|e| NodeError::Setup(e.to_string()))
}

/// Changes lines of `config.toml`, whose comments stay for whoever reads it.
fn settings(path: &Path, ports: &Ports, peers: &str) -> Result<(), NodeError> {
    let text = std::fs::read_to_string(path).map_err(|cause| NodeError::File {
        doing: "read",
        path: path.display().to_string(),
        cause,
    })?;
    let mut section = String::new();
    let lines: Vec<String> = text
        .lines()
        .map(|line| {
            if line.starts_with('[') {
                section = line.trim_matches(['[', ']']).to_owned();
            }
            let Some((key, _)) = line.split_once(" = ") else { return line.to_owned() };
            let value = match (section.as_str(), key) {
                ("", "proxy_app") => format!("\"tcp://127.0.0.1:{}\"", ports.abci),
                ("", "log_level") => "\"error\"".into(),
                ("rpc", "laddr") => format!("\"tcp://127.0.0.1:{}\"", ports.comet_rpc),
                ("rpc", "pprof_laddr") => "\"\"".into(),
                ("rpc", "max_request_batch_size") => "200".into(),
                ("p2p", "laddr") => format!("\"tcp://127.0.0.1:{}\"", ports.p2p),
                ("p2p", "persistent_peers") => format!("\"{peers}\""),
                ("p2p", "addr_book_strict") => "false".into(),
                ("p2p", "allow_duplicate_ip") => "true".into(),
                ("mempool", "size") => "50000".into(),
                ("mempool", "cache_size") => "100000".into(),
                ("consensus", "timeout_commit") => "\"500ms\"".into(),
                // Ethereum tools ask the ledger, which has indexes of its own.
                ("tx_index", "indexer") => "\"null\"".into(),
                _ => return line.to_owned(),
            };
            format!("{key} = {value}")
        })
        .collect();
    write(path, &(lines.join("\n") + "\n"))
}

/// Ports that are free now, four for each validator, next to each other.
fn free_ports(count: usize) -> Result<Vec<Ports>, NodeError> {
    let needed = u16::try_from(count * 4).unwrap_or(u16::MAX);
    let free = |port: u16| TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok();
    let base = (27_000u16..60_000).step_by(100).find(|base| (*base..base.saturating_add(needed)).all(free));
    let base = base.ok_or_else(|| NodeError::Setup("no free ports between 27000 and 60000".into()))?;
    let ports = (base..).step_by(4).take(count);
    Ok(ports.map(|p| Ports { p2p: p, comet_rpc: p + 1, abci: p + 2, rpc: p + 3 }).collect())
}

fn read_json(path: &Path) -> Result<Value, NodeError> {
    let bytes = std::fs::read(path).map_err(|cause| NodeError::File {
        doing: "read",
        path: path.display().to_string(),
        cause,
    })?;
    serde_json::from_slice(&bytes).map_err(|e| NodeError::Setup(format!("{}: {e}", path.display())))
}

fn write(path: &Path, text: &str) -> Result<(), NodeError> {
    std::fs::write(path, text).map_err(|cause| NodeError::File {
        doing: "write",
        path: path.display().to_string(),
        cause,
    })
}
