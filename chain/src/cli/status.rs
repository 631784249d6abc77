//! `chain status`: how far a node is, from its database-free front: JSON-RPC.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
};

use alloy_primitives::U64;
use clap::Args;
use serde::Deserialize;
use serde_json::{Value, json};

use super::say::say;
use crate::{
    comet::Client,
    node::{Config, NodeError, is_running},
};

/// Show how far a node is.
#[derive(Debug, Args)]
pub struct Status {
    /// Folder of the node [default: the local network's]
    #[arg(long)]
    pub(super) home: Option<PathBuf>,
    /// One JSON object
    #[arg(long)]
    json: bool,
}

impl Status {
    /// Asks and prints.
    ///
    /// # Errors
    /// When there is no such home, or its node is not reached.
    pub async fn run(self) -> Result<(), NodeError> {
        let home = super::home::found(self.home)?;
        let config = Config::load(&home)?;
        let client = Client::new(config.rpc);
        let block = latest(config.rpc).await.map_err(|why| not_running(&home, &why))?;
        if !is_running(&home) {
            return Err(not_running(&home, &format!("another program answers at {}", config.rpc)));
        }
        let peers = client.ask("net_peerCount", json!([])).await;
        let chain_id = client.ask("eth_chainId", json!([])).await;
        let chain_id = chain_id.ok().and_then(|id| quantity(&id));
        let syncing = client.ask("eth_syncing", json!([])).await;
        let number = quantity(&block["number"]);
        let driver = config.driver.describe();
        let rpc = format!("http://{}", config.rpc);
        if self.json {
            let status = json!({
                "height": number,
                "hash": block["hash"],
                "chain_id": chain_id,
                "rpc": rpc,
                "driver": driver,
                "peers": peers.ok().and_then(|peers| quantity(&peers)),
                "syncing": syncing.unwrap_or_default(),
            });
            say!("{status}")?;
        } else {
            say!("height    {}", number.unwrap_or_default())?;
            say!("block     {}", block["hash"].as_str().unwrap_or("?"))?;
            say!("chain id  {}", chain_id.map_or_else(|| "?".into(), |id| id.to_string()))?;
            say!("JSON-RPC  {rpc}")?;
            say!("driver    {driver}")?;
            match peers {
                Ok(peers) => say!("peers     {}", quantity(&peers).unwrap_or_default())?,
                Err(why) => say!("peers     unknown: {why}")?,
            }
            if let Some(highest) = syncing.ok().and_then(|syncing| quantity(&syncing["highestBlock"])) {
                say!("syncing   up to block {highest} at least")?;
            }
        }
        Ok(())
    }
}

fn not_running(home: &Path, why: &str) -> NodeError {
    NodeError::Setup(format!("the node of {} does not answer ({why}): is it running?", home.display()))
}

fn quantity(value: &Value) -> Option<u64> {
    U64::deserialize(value).ok().map(|number| number.to())
}

/// The newest block, by the node's JSON-RPC at `address`.
pub async fn latest(address: SocketAddr) -> Result<Value, String> {
    Ok(Client::new(address).ask("eth_getBlockByNumber", json!(["latest", false])).await?)
}
