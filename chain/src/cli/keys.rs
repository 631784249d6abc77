//! `chain keys`: what can sign here.

use std::path::PathBuf;

use alloy_primitives::{Address, B256, hex};
use clap::Args;
use serde_json::{Value, json};

use crate::{
    genesis::DEV_ACCOUNTS,
    node::{NodeError, validator_key},
};

/// Show the development accounts and this node's validator key.
#[derive(Debug, Args)]
pub struct Keys {
    /// Folder of a node [default: the local network's]
    #[arg(long)]
    pub(super) home: Option<PathBuf>,
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
        let validator = self.home.as_deref().map(validator_key).transpose()?.flatten();
        let validator = validator.map(hex::encode_prefixed);
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
                // Two lines: together they are wider than a terminal.
                true => println!("account {i}  {address}\n           {secret}"),
                false => println!("account {i}  {address}"),
            }
        }
        Ok(())
    }
}
