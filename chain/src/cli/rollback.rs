//! `chain rollback`: takes the last block of a stopped node back.

use std::path::PathBuf;

use clap::Args;
use serde_json::json;

use super::say::say;
use crate::{
    error::Fault,
    ledger::roll_back,
    node::{self, Config, Driver, NodeError},
};

/// Take the last block back; the node must be stopped.
///
/// The block is executed again at the next start, by the driver's own copy of it. Under CometBFT this undoes the
/// ledger's side only, which is enough where its result was wrong on this node alone. Where CometBFT has kept a wrong
/// result too, run `cometbft rollback --home HOME` as well, before the next start; both go back by one block.
#[derive(Debug, Args)]
pub struct Rollback {
    /// Folder of the node [default: the local network's]
    #[arg(long)]
    pub(super) home: Option<PathBuf>,
    /// Say it as one JSON object
    #[arg(long)]
    json: bool,
}

impl Rollback {
    /// Does it.
    ///
    /// # Errors
    /// When a node runs there, or the last block cannot be undone.
    pub fn run(self) -> Result<(), NodeError> {
        let home = super::home::found(self.home)?;
        let config = Config::load(&home)?;
        let store = node::open_store(&home)?;
        let now = roll_back(store.as_ref()).map_err(Fault::from)?;
        if self.json {
            return say!("{}", json!({ "height": now.height, "app_hash": now.app_hash.0 }));
        }
        say!("The last block is now {} with application hash\n  {}", now.height, now.app_hash.0)?;
        if matches!(config.driver, Driver::Cometbft { .. }) {
            let home = home.display();
            say!("If CometBFT has kept a wrong result, also run:\n  cometbft rollback --home {home}")?;
        }
        Ok(())
    }
}
