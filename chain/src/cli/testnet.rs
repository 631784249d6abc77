//! `chain testnet N`: N real CometBFT validators with N ledgers on loopback, in the foreground.

use std::{
    fs::File,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use clap::Args;
use serde_json::json;

use super::status::latest;
use crate::{
    comet::{self, Validator},
    node::{Config, Driver, NodeError, stop_signal},
};

/// How long the first block may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// Run a network of real CometBFT validators on this machine until it is interrupted.
#[derive(Debug, Args)]
pub struct Testnet {
    /// Number of validators
    count: usize,
    /// Folder of the network; what is there is continued
    #[arg(long)]
    home: PathBuf,
    /// First print one JSON object a line for each validator
    #[arg(long)]
    json: bool,
    /// Name of the chain
    #[arg(long, default_value = "sahara-testnet")]
    chain_id: String,
}

/// The two processes of a validator. Both end with this value.
struct Running {
    ledger: Child,
    cometbft: Child,
}

impl Drop for Running {
    fn drop(&mut self) {
        for child in [&mut self.cometbft, &mut self.ledger] {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

impl Testnet {
    /// Lays out, starts, prints, waits.
    pub async fn run(self, own: &[&str]) -> Result<(), NodeError> {
        let cometbft = comet::find()?;
        let validators = comet::layout(&cometbft, &self.home, self.count, &self.chain_id)?;
        let mut running = Vec::new();
        for validator in &validators {
            running.push(start(&cometbft, validator, own)?);
        }
        for (validator, processes) in validators.iter().zip(&running) {
            let config = Config::load(&validator.home)?;
            wait_for_block(&config).await?;
            self.print(validator, &config, processes);
        }
        stop_signal().await;
        Ok(())
    }

    fn print(&self, validator: &Validator, config: &Config, processes: &Running) {
        let rpc = format!("http://{}", config.rpc);
        let comet_rpc = match &config.driver {
            Driver::Cometbft { comet_rpc, .. } => format!("http://{comet_rpc}"),
            Driver::Embedded { .. } => String::new(),
        };
        if self.json {
            let line = json!({
                "index": validator.index,
                "home": validator.home,
                "rpc": rpc,
                "comet_rpc": comet_rpc,
                "app_pid": processes.ledger.id(),
                "comet_pid": processes.cometbft.id(),
            });
            println!("{line}");
        } else {
            println!("validator {}: JSON-RPC {rpc}, CometBFT {comet_rpc}", validator.index);
        }
    }
}

fn start(cometbft: &Path, validator: &Validator, own: &[&str]) -> Result<Running, NodeError> {
    let home = &validator.home;
    let failed = |path: &Path, cause| NodeError::File { doing: "start", path: path.display().to_string(), cause };
    let log = |name: &str| {
        let path = home.join(name);
        let file = File::options().create(true).append(true).open(&path);
        file.and_then(|file| Ok((file.try_clone()?, file))).map_err(|cause| NodeError::File {
            doing: "write",
            path: path.display().to_string(),
            cause,
        })
    };
    let program = std::env::current_exe().map_err(|cause| failed(Path::new("this program"), cause))?;
    let (out, err) = log("ledger.log")?;
    let ledger = Command::new(&program)
        .args(own)
        .args(["start", "--until-stdin-ends", "--home"])
        .arg(home)
        .stdin(Stdio::piped())
        .stdout(out)
        .stderr(err)
        .spawn()
        .map_err(|cause| failed(&program, cause))?;
    let (out, err) = log("cometbft.log")?;
    // CometBFT waits for the ledger's socket by itself, and ends when that closes.
    let cometbft = Command::new(cometbft)
        .args(["node", "--home"])
        .arg(home)
        .stdin(Stdio::null())
        .stdout(out)
        .stderr(err)
        .spawn()
        .map_err(|cause| failed(cometbft, cause))?;
    Ok(Running { ledger, cometbft })
}

async fn wait_for_block(config: &Config) -> Result<(), NodeError> {
    let first = async {
        while latest(config.rpc).await.is_err() {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    tokio::time::timeout(PATIENCE, first).await.map_err(|_| {
        NodeError::Setup(format!(
            "no block within {} s: see ledger.log and cometbft.log in each home",
            PATIENCE.as_secs()
        ))
    })
}
