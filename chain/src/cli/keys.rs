//! `chain keys`: what can sign here.

use std::path::PathBuf;

use alloy_primitives::{Address, B256, hex};
use clap::Args;
use serde_json::{Value, json};

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
    /// One JSON object
    #[arg(long)]
    json: bool,
}

impl Keys {
    /// Prints them.
    pub fn run(self) -> Result<(), NodeError> {
        let home = self.home.filter(|home| home.join(KEY_FILE).exists());
        let validator = home.map(|home| load_key(&home)).transpose()?;
        let validator = validator.map(|key| hex::encode_prefixed(key.verifying_key().to_bytes()));
        if self.json {
            let account = |(address, secret): &(Address, B256)| match self.secrets {
                true => json!({ "address": address, "secret": secret }),
                false => json!({ "address": address }),
            };
            let accounts: Vec<Value> = DEV_ACCOUNTS.iter().map(account).collect();
            println!("{}", json!({ "validator": validator, "accounts": accounts }));
            return Ok(());
        }
        if let Some(key) = validator {
            println!("validator  {key}");
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
