//! What a node needs to know to join a chain that runs: its genesis, peers, and a header to trust. It is asked from the
//! CometBFT of a running node, or read from the file that such a node's owner wrote.

use std::{
    net::{IpAddr, SocketAddr, ToSocketAddrs},
    path::Path,
};

use base64::{Engine, engine::general_purpose::STANDARD};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::client::{AskError, Client};
use crate::node::NodeError;

/// Version of the file.
const VERSION: u32 = 1;
/// Most bytes of a genesis that is taken from another node.
const MAX_GENESIS: usize = 256 << 20;
/// Most pieces that it comes in (16 MiB each).
const MAX_PIECES: u64 = 16;
/// Most peers that are taken over.
const MAX_PEERS: usize = 32;

/// Everything that is needed to join a chain.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Invitation {
    /// Version of this file.
    pub version: u32,
    /// CometBFT's genesis file.
    pub genesis: Value,
    /// Nodes to connect to, each as `id@host:port`.
    pub peers: Vec<String>,
    /// Where headers can be asked: `http://host:port` of one or more nodes' CometBFT.
    pub servers: Vec<String>,
    /// A recent header.
    pub trust: Trust,
}

/// A header that whoever joins from a snapshot takes on trust.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Trust {
    /// Its height.
    pub height: u64,
    /// Its hash, 64 hexadecimal digits.
    pub hash: String,
}

impl std::str::FromStr for Trust {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let trust = text.split_once(':').and_then(|(height, hash)| {
            let hash = hash.strip_prefix("0x").unwrap_or(hash).to_ascii_uppercase();
            Some(Self { height: height.parse().ok()?, hash })
        });
        trust.filter(Self::is_one).ok_or_else(|| "must be HEIGHT:HASH, the hash with 64 hexadecimal digits".to_owned())
    }
}

impl Trust {
    fn is_one(&self) -> bool {
        self.height > 0 && self.hash.len() == 64 && self.hash.bytes().all(|b| b.is_ascii_hexdigit())
    }
}

impl Invitation {
    /// Name of the chain in its headers.
    pub fn chain_id(&self) -> &str {
        self.genesis["chain_id"].as_str().unwrap_or_default()
    }

    /// What wallets sign for.
    pub fn evm_chain_id(&self) -> u64 {
        self.genesis["app_state"]["chain_id"].as_u64().unwrap_or_default()
    }

    /// Seconds for which an old validator's offence is punished: as long is a header good to trust.
    pub fn trust_seconds(&self) -> u64 {
        let evidence = self.genesis["consensus_params"]["evidence"]["max_age_duration"].as_str();
        evidence.and_then(|nanos| nanos.parse::<u64>().ok()).map_or(3600, |nanos| nanos / 1_000_000_000).max(60)
    }

    /// From a file, or from the CometBFT at an address such as `http://203.0.113.7:26657`.
    ///
    /// # Errors
    /// When the file cannot be read or is no invitation, or the node is not reached or its chain cannot be joined.
    pub async fn of(source: &str) -> Result<Self, NodeError> {
        let path = Path::new(source);
        if path.is_file() {
            return Self::read(path);
        }
        match source.split_once("://") {
            Some(("http" | "tcp", rest)) => Self::ask(rest.trim_end_matches('/')).await,
            Some((scheme, _)) => Err(NodeError::Setup(format!(
                "{source}: {scheme} is not spoken here; give http://HOST:PORT of a node's CometBFT, or a file"
            ))),
            None => Err(NodeError::Setup(format!(
                "{source} is neither a file nor an address such as http://203.0.113.7:26657"
            ))),
        }
    }

    fn read(path: &Path) -> Result<Self, NodeError> {
        let name = path.display().to_string();
        let bytes =
            std::fs::read(path).map_err(|cause| NodeError::File { doing: "read", path: name.clone(), cause })?;
        Self::from_bytes(&bytes)
            .map_err(|why| NodeError::Setup(format!("{name} is no invitation ({why}): ask its writer for another")))
    }

    /// Reads the bytes of a file.
    ///
    /// # Errors
    /// What is wrong with them, in words.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, String> {
        let invitation: Self = serde_json::from_slice(bytes).map_err(|e| e.to_string())?;
        if invitation.version != VERSION {
            return Err(format!("version {} is not known, this program knows {VERSION}", invitation.version));
        }
        invitation.check()?;
        Ok(invitation)
    }

    async fn ask(at: &str) -> Result<Self, NodeError> {
        let failed = |why: String| NodeError::Setup(format!("asking the node at {at}: {why}"));
        let unanswered = |e: AskError| failed(e.into());
        let host = at.rsplit_once(':').map_or(at, |(host, _)| host);
        let address = at.to_socket_addrs().ok().and_then(|mut all| all.next());
        let address = address.ok_or_else(|| failed("there is no such host and port".into()))?;
        let client = Client::new(address);
        let status = client.ask("status", json!({})).await.map_err(unanswered)?;
        if status["sync_info"]["catching_up"] == true {
            return Err(failed("it has not caught up itself yet: choose another, or wait".into()));
        }
        let genesis = genesis(&client).await.map_err(failed)?;
        let network = client.ask("net_info", json!({})).await.map_err(unanswered)?;
        let mut peers: Vec<String> = peer(&status["node_info"], host, address.ip()).into_iter().collect();
        for other in network["peers"].as_array().into_iter().flatten() {
            let remote = other["remote_ip"].as_str().unwrap_or_default();
            peers.extend(remote.parse().ok().and_then(|ip| peer(&other["node_info"], remote, ip)));
        }
        peers.truncate(MAX_PEERS);
        let latest = status["sync_info"]["latest_block_height"].as_str().and_then(|height| height.parse::<u64>().ok());
        // The newest block has no commit that everybody agrees on yet.
        let height = latest.unwrap_or(0).saturating_sub(1).max(1);
        let commit = client.ask("commit", json!({ "height": height.to_string() })).await.map_err(unanswered)?;
        let hash = commit["signed_header"]["commit"]["block_id"]["hash"].as_str().unwrap_or_default().to_owned();
        let servers = vec![format!("http://{at}")];
        let invitation = Self { version: VERSION, genesis, peers, servers, trust: Trust { height, hash } };
        invitation.check().map_err(failed)?;
        Ok(invitation)
    }

    /// Whether what another machine said can be written into this node's files.
    fn check(&self) -> Result<(), String> {
        let plain = |text: &str| {
            let good = |b: u8| b.is_ascii_alphanumeric() || b"-._@:[]/".contains(&b);
            !text.is_empty() && text.len() <= 300 && text.bytes().all(good)
        };
        if !plain(self.chain_id()) || self.evm_chain_id() == 0 {
            return Err("its genesis has no chain_id, or is not of a chain of this kind".into());
        }
        if self.peers.is_empty() || self.peers.len() > MAX_PEERS || self.servers.len() > MAX_PEERS {
            return Err("it names no peer, or too many".into());
        }
        if let Some(wrong) = self.peers.iter().chain(&self.servers).find(|text| !plain(text)) {
            return Err(format!("{:?} is no address of a peer", wrong.chars().take(100).collect::<String>()));
        }
        if !self.trust.is_one() {
            return Err("its header to trust has no height or hash".into());
        }
        Ok(())
    }
}

/// The genesis file, in pieces because it may be large.
async fn genesis(client: &Client) -> Result<Value, String> {
    let mut bytes = Vec::new();
    for piece in 0..MAX_PIECES {
        let answer = client.ask("genesis_chunked", json!({ "chunk": piece.to_string() })).await?;
        let data = answer["data"].as_str().and_then(|data| STANDARD.decode(data).ok());
        bytes.extend(data.ok_or("a piece of its genesis is damaged")?);
        let total: u64 = answer["total"].as_str().and_then(|total| total.parse().ok()).unwrap_or(0);
        if total > MAX_PIECES || bytes.len() > MAX_GENESIS {
            return Err("its genesis is too large".into());
        }
        if piece + 1 >= total {
            return serde_json::from_slice(&bytes).map_err(|e| format!("its genesis is damaged ({e})"));
        }
    }
    Err("its genesis is too large".into())
}

/// `id@host:port` of a node that was reached at `host`: the port is the one that it says it listens on, and so is the
/// host, unless it names no machine or only itself.
fn peer(info: &Value, host: &str, reached: IpAddr) -> Option<String> {
    let id = info["id"].as_str().filter(|id| id.len() == 40 && id.bytes().all(|b| b.is_ascii_hexdigit()))?;
    let listens = info["listen_addr"].as_str()?;
    let listens = listens.split_once("://").map_or(listens, |(_, address)| address);
    let (own, port) = listens.rsplit_once(':')?;
    let port: u16 = port.parse().ok()?;
    let anywhere = match own.parse::<IpAddr>() {
        Ok(ip) => ip.is_unspecified() || (ip.is_loopback() && !reached.is_loopback()),
        Err(_) => own.is_empty(),
    };
    Some(format!("{id}@{}:{port}", if anywhere { host } else { own }))
}

/// Whether all of these are on this machine, so that CometBFT's rules for the open network do not fit.
pub fn on_this_machine(peers: &[String]) -> bool {
    peers.iter().all(|peer| {
        let address = peer.split_once('@').and_then(|(_, address)| address.parse::<SocketAddr>().ok());
        address.is_some_and(|address| address.ip().is_loopback())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn invitation() -> Invitation {
        let genesis = json!({ "chain_id": "c-1", "app_state": { "chain_id": 7 } });
        let peer = format!("{}@10.0.0.1:26656", "a".repeat(40));
        let trust = Trust { height: 5, hash: "A".repeat(64) };
        Invitation {
            version: VERSION,
            genesis,
            peers: vec![peer],
            servers: vec!["http://10.0.0.1:26657".into()],
            trust,
        }
    }

    #[test]
    fn a_file_survives_and_what_is_wrong_in_it_is_said() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("join.json");
        let read = |value: &Value| {
            std::fs::write(&path, value.to_string()).unwrap();
            Invitation::read(&path).map_err(|e| e.to_string())
        };
        let good = serde_json::to_value(invitation()).unwrap();
        assert_eq!(read(&good).unwrap(), invitation());
        for (pointer, value, say) in [
            ("/version", json!(9), "version 9"),
            ("/genesis/app_state/chain_id", json!(0), "chain_id"),
            ("/peers", json!([]), "no peer"),
            ("/peers/0", json!("x\"\nmoniker = \"y"), "no address"),
            ("/servers/0", json!("http://a b"), "no address"),
            ("/trust/hash", json!("12"), "header to trust"),
        ] {
            let mut wrong = good.clone();
            *wrong.pointer_mut(pointer).unwrap() = value;
            let error = read(&wrong).unwrap_err();
            assert!(error.contains(say) && error.contains("join.json"), "{pointer}: {error}");
        }
    }

    #[test]
    fn a_peer_is_where_it_was_reached_unless_it_says_better() {
        let info = |listens: &str| json!({ "id": "0f".repeat(20), "listen_addr": listens });
        let far: IpAddr = [203, 0, 113, 7].into();
        let id = "0f".repeat(20);
        for (listens, expected) in [
            ("tcp://0.0.0.0:26656", format!("{id}@node.example:26656")),
            ("tcp://127.0.0.1:26656", format!("{id}@node.example:26656")),
            ("198.51.100.2:1", format!("{id}@198.51.100.2:1")),
            ("tcp://p2p.example:2", format!("{id}@p2p.example:2")),
        ] {
            assert_eq!(peer(&info(listens), "node.example", far), Some(expected));
        }
        let near = peer(&info("tcp://127.0.0.1:3"), "localhost", [127, 0, 0, 1].into()).unwrap();
        assert!(near.ends_with("@127.0.0.1:3") && on_this_machine(&[near]));
        assert_eq!(peer(&json!({ "id": "x\"", "listen_addr": "a:1" }), "h", far), None);
        assert_eq!(peer(&info("a:99999"), "h", far), None);
    }

    #[test]
    fn a_header_to_trust_is_a_height_and_a_hash() {
        let trust: Trust = format!("12:0x{}", "ab".repeat(32)).parse().unwrap();
        assert_eq!(trust, Trust { height: 12, hash: "AB".repeat(32) });
        for wrong in ["", "12", "0:aa", "12:ab", "x:y"] {
            assert!(wrong.parse::<Trust>().is_err(), "{wrong}");
        }
    }
}
