//! `chain init`: the home of a chain of one validator.

use std::{net::SocketAddr, path::PathBuf};

use alloy_primitives::Address;
use clap::Args;

use crate::{
    genesis::{DEV_ACCOUNTS, Genesis, GenesisValidator},
    node::{CONFIG_FILE, Config, Driver, GENESIS_FILE, NodeError, generate_key, store_key},
    validator::ConsensusKey,
};

/// Make the home of a chain of one validator.
#[derive(Debug, Args)]
pub struct Init {
    /// Folder of the node
    #[arg(long)]
    home: PathBuf,
    /// Where JSON-RPC will listen
    #[arg(long, default_value = "127.0.0.1:8545")]
    rpc: SocketAddr,
    /// Milliseconds between blocks; 0 makes a block for each transaction
    #[arg(long, default_value_t = 1000)]
    block_time_ms: u64,
    /// Name of the chain in its headers
    #[arg(long, default_value = "sahara-dev")]
    chain_id: String,
    /// Account that operates the validator and gets the tips
    #[arg(long, default_value_t = DEV_ACCOUNTS[0].0)]
    operator: Address,
}

impl Init {
    /// Writes the files, unless there is a node already.
    pub fn run(self) -> Result<(), NodeError> {
        if self.home.join(CONFIG_FILE).exists() {
            return Err(NodeError::Setup(format!("{} already is the home of a node", self.home.display())));
        }
        let key = generate_key()?;
        let consensus_key = ConsensusKey(key.verifying_key().to_bytes().into());
        let genesis =
            Genesis::development(vec![GenesisValidator { operator: self.operator, consensus_key, power: 10 }]);
        genesis.check().map_err(|e| NodeError::Fault(e.into()))?;
        let json = serde_json::to_vec_pretty(&genesis).map_err(|e| NodeError::Setup(e.to_string()))?;
        store_key(&self.home, &key)?;
        crate::node::write(&self.home.join(GENESIS_FILE), &json)?;
        let driver = Driver::Embedded { chain_id: self.chain_id, block_time_ms: self.block_time_ms };
        Config::new(self.rpc, driver).save(&self.home)?;
        println!("Made {}. Run it with: chain start --home {}", self.home.display(), self.home.display());
        Ok(())
    }
}
