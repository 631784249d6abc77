//! What a test network changes in CometBFT's `config.toml`, each with its reason, which is written there too.

use std::path::Path;

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

/// Changes lines of the `config.toml` at `path`; its own comments stay for whoever reads it.
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
    fn only_the_named_lines_of_the_named_section_change() {
        let text = "laddr = 1\n# words\n[p2p]\nladdr = 2\nother = 3\n[rpc]\nladdr = 4\n";
        let changed = change(text, &[("p2p", "laddr", "9".into(), "why")]);
        assert_eq!(changed, text.replace("laddr = 2", "# Sahara: why.\nladdr = 9"));
    }
}
