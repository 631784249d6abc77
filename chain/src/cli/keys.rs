//! `chain keys`: what can sign here.

use std::path::PathBuf;

use alloy_primitives::hex;
use clap::Args;

use crate::{
    genesis::DEV_ACCOUNTS,
    node::{KEY_FILE, NodeError, load_key},
};

/// Show the development accounts and this node's validator key.
#[derive(Debug, Args)]
pub struct Keys {
    /// Folder of a node
    #[arg(long)]
    home: Option<PathBuf>,
    /// Also show the secret keys of the development accounts, which everybody knows
    #[arg(long)]
    secrets: bool,
}

impl Keys {
    /// Prints them.
    pub fn run(self) -> Result<(), NodeError> {
        if let Some(home) = self.home.filter(|home| home.join(KEY_FILE).exists()) {
            println!("validator  {}", hex::encode_prefixed(load_key(&home)?.verifying_key().to_bytes()));
        }
        for (i, (address, secret)) in DEV_ACCOUNTS.iter().enumerate() {
            match self.secrets {
                true => println!("account {i}  {address}  {secret}"),
                false => println!("account {i}  {address}"),
            }
        }
        Ok(())
    }
}
