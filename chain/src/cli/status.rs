//! `chain status`: how far a node is, from its database-free front: JSON-RPC.

use std::{net::SocketAddr, path::PathBuf};

use clap::Args;
use serde_json::{Value, json};

use crate::{
    comet::Client,
    node::{Config, NodeError},
};

/// Show how far a node is.
#[derive(Debug, Args)]
pub struct Status {
    /// Folder of the node
    #[arg(long)]
    home: PathBuf,
    /// One JSON object
    #[arg(long)]
    json: bool,
}

impl Status {
    /// Asks and prints.
    pub async fn run(self) -> Result<(), NodeError> {
        let config = Config::load(&self.home)?;
        let block = latest(config.rpc).await.map_err(NodeError::Setup)?;
        let number = block["number"].as_str().and_then(|n| u64::from_str_radix(n.trim_start_matches("0x"), 16).ok());
        let driver = config.driver.describe();
        let rpc = format!("http://{}", config.rpc);
        if self.json {
            println!("{}", json!({ "height": number, "hash": block["hash"], "rpc": rpc, "driver": driver }));
        } else {
            println!("height    {}", number.unwrap_or_default());
            println!("block     {}", block["hash"].as_str().unwrap_or("?"));
            println!("JSON-RPC  {rpc}");
            println!("driver    {driver}");
        }
        Ok(())
    }
}

/// The newest block, by the node's JSON-RPC at `address`.
pub async fn latest(address: SocketAddr) -> Result<Value, String> {
    Client::new(address).ask("eth_getBlockByNumber", json!(["latest", false])).await
}
