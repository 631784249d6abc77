//! The files in a node's home that people read and write.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

use super::NodeError;

/// Settings of the node.
pub const CONFIG_FILE: &str = "chain.toml";
/// The first state, for the embedded driver.
pub const GENESIS_FILE: &str = "genesis.json";
/// The key that signs blocks, for the embedded driver.
pub const KEY_FILE: &str = "validator-key";

/// Settings of the node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Where JSON-RPC listens. Loopback, unless the machine is meant to serve others.
    pub rpc: SocketAddr,
    /// Who makes blocks.
    pub driver: Driver,
}

/// Who makes blocks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Driver {
    /// This process alone.
    Embedded {
        /// Name of the chain in its headers.
        chain_id: String,
        /// A block every so many milliseconds; 0 makes one for each transaction.
        block_time_ms: u64,
    },
    /// A CometBFT process.
    Cometbft {
        /// Where it finds the ledger.
        abci: SocketAddr,
        /// Where it takes transactions.
        comet_rpc: SocketAddr,
    },
}

impl Driver {
    /// In one line, for people.
    pub fn describe(&self) -> String {
        match self {
            Self::Embedded { block_time_ms: 0, .. } => "embedded: one validator, a block for each transaction".into(),
            Self::Embedded { block_time_ms, .. } => {
                format!("embedded: one validator in this process, a block every {block_time_ms} ms, no consensus")
            }
            Self::Cometbft { comet_rpc, .. } => format!("CometBFT at {comet_rpc}"),
        }
    }
}

impl Config {
    /// Reads the settings in `home`.
    pub fn load(home: &Path) -> Result<Self, NodeError> {
        let path = home.join(CONFIG_FILE);
        let text = std::fs::read_to_string(&path).map_err(|cause| match cause.kind() {
            std::io::ErrorKind::NotFound => NodeError::Setup(format!(
                "{} is not the home of a node: make one with `chain init --home {}`",
                home.display(),
                home.display()
            )),
            _ => NodeError::File { doing: "read", path: path.display().to_string(), cause },
        })?;
        toml::from_str(&text).map_err(|e| NodeError::Setup(format!("{}: {e}", path.display())))
    }

    /// Writes the settings into `home`.
    pub fn save(&self, home: &Path) -> Result<(), NodeError> {
        let text = toml::to_string(self).map_err(|e| NodeError::Setup(e.to_string()))?;
        write(&home.join(CONFIG_FILE), text.as_bytes())
    }
}

/// Writes a file and the folders above it.
pub fn write(path: &Path, bytes: &[u8]) -> Result<(), NodeError> {
    let folder: PathBuf = path.parent().map(Path::to_path_buf).unwrap_or_default();
    std::fs::create_dir_all(&folder).and_then(|()| std::fs::write(path, bytes)).map_err(|cause| NodeError::File {
        doing: "write",
        path: path.display().to_string(),
        cause,
    })
}
