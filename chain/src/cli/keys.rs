//! `chain keys`: what can sign here, and what a validator needs to register.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
};

use alloy_primitives::{Address, B256, U256, hex};
use base64::{Engine, engine::general_purpose::STANDARD};
use clap::Args;
use ed25519_dalek::{Signer, SigningKey};
use serde_json::{Value, json};
use zeroize::Zeroizing;

use super::say::say;
use crate::{
    beacon::{
        Commitment,
        state::{Chain, epoch_of},
    },
    comet::Client,
    error::Fault,
    genesis::DEV_ACCOUNTS,
    node::{
        Config, DATA, Driver, GENESIS_FILE, KEY_FILE, NodeError, ensure_beacon, load_beacon, load_key, open,
        validator_key,
    },
    staking,
    validator::ConsensusKey,
};

/// CometBFT's key and genesis in a home.
const COMET_KEY: &str = "config/priv_validator_key.json";
const COMET_GENESIS: &str = "config/genesis.json";

/// Show the development accounts and this node's validator key.
///
/// With --operator it also shows what that account passes to the staking contract so that this node validates: the
/// arguments of createValidator, with the proof that the key is here. The beacon chain among them comes from the file
/// beacon-secret in the home, which is made if there is none: keep it, a node without it cannot propose. If it is lost,
/// run this again and pass beacon chain and length to announceBeaconChain. Of a secret that is there, a chain is shown
/// that was never announced: for that the node must answer, or be stopped.
#[derive(Debug, Args)]
pub struct Keys {
    /// Folder of a node [default: the local network's]
    #[arg(long)]
    pub(super) home: Option<PathBuf>,
    /// Account that will operate the validator: also show what it registers
    #[arg(long, value_name = "ACCOUNT")]
    operator: Option<Address>,
    /// Also show the secret keys of the development accounts, which everybody knows
    #[arg(long)]
    secrets: bool,
    /// One JSON object
    #[arg(long)]
    json: bool,
}

impl Keys {
    /// Prints them.
    ///
    /// # Errors
    /// When a file of the home cannot be read or made, or the node, which runs, does not answer.
    pub async fn run(self) -> Result<(), NodeError> {
        let validator = self.home.as_deref().map(validator_key).transpose()?.flatten();
        let validator = validator.map(hex::encode_prefixed);
        let registration = match self.operator {
            Some(operator) => Some(registration(self.home.as_deref(), operator).await?),
            None => None,
        };
        if self.json {
            let account = |(address, secret): &(Address, B256)| match self.secrets {
                true => json!({ "address": address, "secret": secret }),
                false => json!({ "address": address }),
            };
            let accounts: Vec<Value> = DEV_ACCOUNTS.iter().map(account).collect();
            let mut told = json!({ "validator": validator, "accounts": accounts });
            if let Some(registration) = registration {
                told["registration"] = registration;
            }
            say!("{told}")?;
            return Ok(());
        }
        if let Some(key) = validator {
            say!("validator  {key}")?;
        }
        if let Some(registration) = registration {
            let text = |name: &str| registration[name].as_str().unwrap_or_default().to_owned();
            say!("proof      {}", text("proof"))?;
            say!("beacon     {} {}", text("beacon_tip"), registration["beacon_length"])?;
            return Ok(());
        }
        for (i, (address, secret)) in DEV_ACCOUNTS.iter().enumerate() {
            match self.secrets {
                // Two lines: together they are wider than a terminal.
                true => say!("account {i}  {address}\n           {secret}")?,
                false => say!("account {i}  {address}")?,
            }
        }
        Ok(())
    }
}

/// What `operator` passes to `createValidator` beside its commission.
async fn registration(home: Option<&Path>, operator: Address) -> Result<Value, NodeError> {
    let home = home.ok_or_else(|| NodeError::Setup("which node validates? Give --home".into()))?;
    let key = signing_key(home)?;
    let (chain, evm_chain_id) = chain_of(home)?;
    let consensus_key = ConsensusKey(key.verifying_key().to_bytes().into());
    let proof = key.sign(&staking::possession(&chain, evm_chain_id, operator, consensus_key));
    let beacon = unused_chain(home, operator).await?;
    Ok(json!({
        "operator": operator,
        "consensus_key": consensus_key,
        "proof": hex::encode_prefixed(proof.to_bytes()),
        "beacon_tip": beacon.tip,
        "beacon_length": beacon.length,
    }))
}

/// The beacon chain that `operator` may announce: the first of a fresh secret, or the first that was never announced.
async fn unused_chain(home: &Path, operator: Address) -> Result<Commitment, NodeError> {
    let Some(mut secret) = load_beacon(home)? else { return Ok(ensure_beacon(home)?.commitment(0)) };
    let config = Config::load(home)?;
    // A node that runs has the database for itself; another one answers nobody.
    let chain = match ask_chain(config.rpc, operator).await {
        Ok(chain) => chain,
        Err(_) if !home.join(DATA).exists() => Chain::default(),
        Err(unasked) => {
            let opened = open(home).map_err(|e| {
                NodeError::Setup(format!(
                    "which beacon chains {operator} has announced is not known: start this node and wait until it \
                     answers ({unasked}; {e})"
                ))
            })?;
            match opened.1.head() {
                Some(head) => {
                    let mut view = head.view();
                    let epoch = epoch_of(&mut view, head.height + 1).map_err(Fault::from)?;
                    Chain::load(&mut view, operator).map_err(Fault::from)?.at(epoch)
                }
                None => Chain::default(),
            }
        }
    };
    let number = secret.unused(&chain);
    Ok(secret.commitment(number))
}

/// The beacon chain of `operator`'s validator, by the node whose JSON-RPC is at `address`.
async fn ask_chain(address: SocketAddr, operator: Address) -> Result<Chain, String> {
    let questions = Chain::slots(operator).map(|slot| json!([staking::ADDRESS, slot, "latest"]));
    let mut words = [U256::ZERO; 4];
    for (word, answer) in words.iter_mut().zip(Client::new(address).ask_all("eth_getStorageAt", &questions).await?) {
        let answer = answer?;
        *word = answer.as_str().and_then(|text| text.parse().ok()).ok_or("no word of storage")?;
    }
    Ok(Chain::from_words(words))
}

/// The key that signs this node's blocks: the embedded driver's, or CometBFT's.
fn signing_key(home: &Path) -> Result<SigningKey, NodeError> {
    if home.join(KEY_FILE).exists() {
        return load_key(home);
    }
    let path = home.join(COMET_KEY);
    let wrong = |why: &str| NodeError::Setup(format!("{}: {why}", path.display()));
    let key = read_json(&path)?;
    let text = key["priv_key"]["value"].as_str().ok_or_else(|| wrong("has no priv_key.value"))?;
    let bytes = Zeroizing::new(STANDARD.decode(text).map_err(|_| wrong("its key is not base64"))?);
    // CometBFT writes the secret and then the public key.
    let pair = bytes.as_slice().try_into().ok().and_then(|pair| SigningKey::from_keypair_bytes(pair).ok());
    pair.ok_or_else(|| wrong("its key is not an ed25519 key"))
}

/// Names of the chain: in its headers, and for wallets.
fn chain_of(home: &Path) -> Result<(String, u64), NodeError> {
    let config = Config::load(home)?;
    let (path, within) = match config.driver {
        Driver::Embedded { .. } => (home.join(GENESIS_FILE), ""),
        Driver::Cometbft { .. } => (home.join(COMET_GENESIS), "/app_state"),
    };
    let genesis = read_json(&path)?;
    let name = match config.driver {
        Driver::Embedded { chain_id, .. } => Some(chain_id),
        Driver::Cometbft { .. } => genesis["chain_id"].as_str().map(str::to_owned),
    };
    let evm = genesis.pointer(within).and_then(|state| state["chain_id"].as_u64());
    name.zip(evm).ok_or_else(|| NodeError::Setup(format!("{} does not name its chain", path.display())))
}

fn read_json(path: &Path) -> Result<Value, NodeError> {
    let file = |cause| NodeError::File { doing: "read", path: path.display().to_string(), cause };
    let text = Zeroizing::new(std::fs::read_to_string(path).map_err(file)?);
    serde_json::from_str(&text).map_err(|e| NodeError::Setup(format!("{}: {e}", path.display())))
}
