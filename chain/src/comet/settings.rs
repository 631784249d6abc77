//! What a test network, and a node that joins a chain, change in CometBFT's `config.toml`, each with its reason, which is written there too.

use std::{net::SocketAddr, path::Path};

use super::Ports;
use crate::node::NodeError;

/// A line of `config.toml`: section, key, value, and why.
pub type Setting = (&'static str, &'static str, String, &'static str);

/// The settings of a validator at `ports` that keeps connections to `peers`.
pub fn testnet(ports: &Ports, peers: &str) -> Vec<Setting> {
    let at = |port: u16| format!("\"tcp://127.0.0.1:{port}\"");
    vec![
        ("", "proxy_app", at(ports.abci), "the ledger"),
        ("", "log_level", "\"error\"".into(), "a block a second would fill the log"),
        ("rpc", "laddr", at(ports.comet_rpc), "loopback: this RPC is for the ledger and for light clients"),
        ("rpc", "pprof_laddr", "\"\"".into(), "no profiler"),
        ("rpc", "max_request_batch_size", "200".into(), "the ledger hands transactions in by batches"),
        ("p2p", "laddr", at(ports.p2p), "all validators are on this machine"),
        ("p2p", "persistent_peers", format!("\"{peers}\""), "every other validator"),
        ("p2p", "persistent_peers_max_dial_period", "\"10s\"".into(), "one that was away for long is found again soon"),
        ("p2p", "addr_book_strict", "false".into(), "loopback addresses are good addresses here"),
        ("p2p", "allow_duplicate_ip", "true".into(), "all validators have the same address"),
        ("p2p", "flush_throttle_timeout", "\"10ms\"".into(), "a vote need not wait for more to send"),
        ("p2p", "send_rate", "20480000".into(), "a large block travels in a fraction of a second"),
        ("p2p", "recv_rate", "20480000".into(), "as send_rate"),
        (
            "mempool",
            "size",
            "10000".into(),
            "two full blocks: all that waits is checked again after each, and the ledger keeps the rest",
        ),
        ("mempool", "cache_size", "100000".into(), "what was seen is not checked twice"),
        ("consensus", "timeout_commit", "\"500ms\"".into(), "blocks of about a second"),
        ("consensus", "peer_gossip_sleep_duration", "\"25ms\"".into(), "blocks and votes reach their peers sooner"),
        ("tx_index", "indexer", "\"null\"".into(), "Ethereum tools ask the ledger, which has indexes of its own"),
    ]
}

/// Where a node listens that joined a chain.
#[derive(Clone, Copy, Debug)]
pub struct Addresses {
    /// For other nodes.
    pub p2p: SocketAddr,
    /// For the ledger and for light clients.
    pub comet_rpc: SocketAddr,
    /// The ledger, for CometBFT.
    pub abci: SocketAddr,
}

/// A start from a snapshot.
#[derive(Clone, Debug)]
pub struct Sync {
    /// Where headers are asked for.
    pub servers: Vec<String>,
    /// Height of the header to trust.
    pub height: u64,
    /// Its hash.
    pub hash: String,
    /// How long it is good.
    pub seconds: u64,
}

/// The settings of a node at `at` that joined a chain by `peers`, of which `local` says that all are on this machine.
pub fn joined(at: &Addresses, external: Option<&str>, peers: &str, local: bool, sync: Option<&Sync>) -> Vec<Setting> {
    let ports = Ports { p2p: at.p2p.port(), comet_rpc: at.comet_rpc.port(), abci: at.abci.port(), rpc: 0 };
    let url = |address: SocketAddr| format!("\"tcp://{address}\"");
    let text = |text: &str| format!("\"{text}\"");
    let mut settings = testnet(&ports, peers);
    let mut set = |section, key, value, why| {
        settings.retain(|(within, name, _, _)| (*within, *name) != (section, key));
        settings.push((section, key, value, why));
    };
    set("", "proxy_app", url(at.abci), "the ledger");
    set("rpc", "laddr", url(at.comet_rpc), "for the ledger and for light clients");
    set("p2p", "laddr", url(at.p2p), "where other nodes connect");
    set("p2p", "external_address", text(external.unwrap_or("")), "where others reach it, if that is another address");
    set("p2p", "persistent_peers", text(peers), "the nodes that it joined by");
    set("p2p", "addr_book_strict", (!local).to_string(), "loopback addresses are good only among nodes of one machine");
    set("p2p", "allow_duplicate_ip", local.to_string(), "as addr_book_strict");
    if let Some(sync) = sync {
        let mut servers = sync.servers.clone();
        if let [only] = &servers[..] {
            // CometBFT wants two, and takes one twice.
            servers.push(only.clone());
        }
        set("statesync", "enable", "true".into(), "start from a snapshot of the others");
        set("statesync", "rpc_servers", text(&servers.join(",")), "where headers are asked for");
        set("statesync", "trust_height", sync.height.to_string(), "the header that the snapshot is checked against");
        set("statesync", "trust_hash", text(&sync.hash), "as trust_height");
        set("statesync", "trust_period", text(&format!("{}s", sync.seconds)), "as long as offences are punished");
        set("statesync", "discovery_time", text("5s"), "snapshots are soon found or not at all");
    }
    settings
}

/// Changes lines of the `config.toml` at `path`; its own comments stay for whoever reads it.
///
/// # Errors
/// When the file cannot be read or written.
pub fn apply(path: &Path, settings: &[Setting]) -> Result<(), NodeError> {
    let failed = |doing| move |cause| NodeError::File { doing, path: path.display().to_string(), cause };
    let text = std::fs::read_to_string(path).map_err(failed("read"))?;
    std::fs::write(path, change(&text, settings)).map_err(failed("write"))
}

fn change(text: &str, settings: &[Setting]) -> String {
    let mut section = "";
    let mut out = String::new();
    for line in text.lines() {
        if let Some(name) = line.strip_prefix('[') {
            section = name.trim_end_matches(']');
        }
        let key = line.split_once(" = ").map(|(key, _)| key);
        match settings.iter().find(|(within, name, _, _)| *within == section && Some(*name) == key) {
            Some((_, key, value, why)) => out.push_str(&format!("# Sahara: {why}.\n{key} = {value}\n")),
            None => out.extend([line, "\n"]),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_that_joins_has_each_setting_once_and_its_own_addresses() {
        let address = |port: u16| SocketAddr::from(([0, 0, 0, 0], port));
        let at = Addresses { p2p: address(1), comet_rpc: address(2), abci: address(3) };
        let sync = Sync { servers: vec!["http://a:1".into()], height: 9, hash: "AB".into(), seconds: 60 };
        let settings = joined(&at, Some("me.example:9"), "id@b:2", false, Some(&sync));
        let value = |section: &str, key: &str| {
            let found: Vec<_> = settings.iter().filter(|(s, k, _, _)| (*s, *k) == (section, key)).collect();
            assert_eq!(found.len(), 1, "{section}.{key}");
            found[0].2.clone()
        };
        assert_eq!(value("p2p", "laddr"), "\"tcp://0.0.0.0:1\"");
        assert_eq!(value("", "proxy_app"), "\"tcp://0.0.0.0:3\"");
        assert_eq!(value("p2p", "persistent_peers"), "\"id@b:2\"");
        assert_eq!(value("p2p", "external_address"), "\"me.example:9\"");
        assert_eq!(value("p2p", "addr_book_strict"), "true");
        assert_eq!(value("statesync", "rpc_servers"), "\"http://a:1,http://a:1\"");
        assert!(joined(&at, None, "id@b:2", true, None).iter().all(|(section, ..)| *section != "statesync"));
    }

    #[test]
    fn only_the_named_lines_of_the_named_section_change() {
        let text = "laddr = 1\n# words\n[p2p]\nladdr = 2\nother = 3\n[rpc]\nladdr = 4\n";
        let changed = change(text, &[("p2p", "laddr", "9".into(), "why")]);
        assert_eq!(changed, text.replace("laddr = 2", "# Sahara: why.\nladdr = 9"));
    }
}
