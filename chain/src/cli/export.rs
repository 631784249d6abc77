//! `chain export`: the newest state of a stopped node as a genesis file.

use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::{Value, json};
use tendermint_proto::google::protobuf::Timestamp;

use super::say::say;
use crate::{
    error::Fault,
    ledger::{Head, export},
    node::{self, Config, Driver, NodeError},
};

/// Write the newest state of a stopped node as a genesis file, from which a new chain goes on at the next height.
///
/// For a home with CometBFT this is CometBFT's own genesis file: put it in config/genesis.json of each new home. For a
/// home without, it is genesis.json.
#[derive(Debug, Args)]
pub struct Export {
    /// Folder of the node [default: the local network's]
    #[arg(long)]
    pub(super) home: Option<PathBuf>,
    /// The file to write; standard output if it is not given
    #[arg(long)]
    out: Option<PathBuf>,
    /// Name of the new chain in its headers, where CometBFT keeps it
    #[arg(long)]
    chain_id: Option<String>,
    /// Say where it is as one JSON object
    #[arg(long)]
    json: bool,
}

impl Export {
    /// Does it.
    ///
    /// # Errors
    /// When a node runs there, it has no block, or the file cannot be written.
    pub fn run(self) -> Result<(), NodeError> {
        let home = super::home::found(self.home.clone())?;
        let config = Config::load(&home)?;
        let (_store, ledger) = node::open(&home)?;
        let head = ledger.head();
        let head = head.ok_or_else(|| NodeError::Setup(format!("{} has no block yet", home.display())))?;
        let state = export(&head).map_err(Fault::from)?;
        let state = serde_json::to_value(&state).map_err(|e| NodeError::Setup(e.to_string()))?;
        let genesis = match config.driver {
            Driver::Embedded { .. } => state,
            Driver::Cometbft { .. } => self.comet(&home, &head, state)?,
        };
        let text = serde_json::to_string_pretty(&genesis).map_err(|e| NodeError::Setup(e.to_string()))?;
        match &self.out {
            Some(path) => node::write(path, text.as_bytes())?,
            None => say!("{text}")?,
        }
        if self.json {
            let told = |path| say!("{}", json!({ "out": path, "height": head.height, "first_block": head.height + 1 }));
            return self.out.as_ref().map_or(Ok(()), told);
        }
        node::tell(format_args!(
            "Exported the state after block {}; the new chain begins with block {}",
            head.height,
            head.height + 1
        ));
        Ok(())
    }

    /// CometBFT's genesis file around `state`. The ledger names the validators when the chain begins.
    fn comet(&self, home: &Path, head: &Head, state: Value) -> Result<Value, NodeError> {
        let path = home.join("config/genesis.json");
        let mut genesis = read(&path)?;
        if let Some(chain_id) = &self.chain_id {
            genesis["chain_id"] = json!(chain_id);
        }
        // A block is never older than the one before.
        let seconds = i64::try_from(head.header.timestamp.saturating_add(1)).unwrap_or(i64::MAX);
        genesis["genesis_time"] =
            serde_json::to_value(Timestamp { seconds, nanos: 0 }).map_err(|e| NodeError::Setup(e.to_string()))?;
        genesis["initial_height"] = json!((head.height + 1).to_string());
        genesis["validators"] = json!([]);
        genesis["app_hash"] = json!("");
        genesis["app_state"] = state;
        Ok(genesis)
    }
}

fn read(path: &Path) -> Result<Value, NodeError> {
    let bytes = std::fs::read(path).map_err(|cause| NodeError::File {
        doing: "read",
        path: path.display().to_string(),
        cause,
    })?;
    serde_json::from_slice(&bytes).map_err(|e| NodeError::Setup(format!("{}: {e}", path.display())))
}
