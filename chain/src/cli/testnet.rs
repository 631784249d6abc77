//! `chain testnet N`: N real CometBFT validators with N ledgers on loopback, in the foreground.

use std::{
    future::Future,
    io::Write,
    path::{Path, PathBuf},
    time::Duration,
};

use clap::Args;
use serde_json::json;

use super::status::latest;
use crate::{
    comet::{self, Launch, Layout, Processes, Validator, stop_all},
    node::{Config, Driver, NodeError, stop_signal, tell},
};

/// How long the first block may take.
const PATIENCE: Duration = Duration::from_secs(60);
/// How often the processes are looked at.
const GLANCE: Duration = Duration::from_millis(100);

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

/// The validators of the network. They are stopped with this value.
struct Running(Vec<Member>);

struct Member {
    validator: Validator,
    config: Config,
    processes: Processes,
    /// Which of the two have been reported as ended.
    reported: [bool; 2],
}

impl Drop for Running {
    fn drop(&mut self) {
        stop_all(self.0.iter_mut().map(|member| &mut member.processes));
    }
}

impl Testnet {
    /// Lays out, starts, prints, waits.
    ///
    /// # Errors
    /// When the network cannot be laid out or started, or one of its processes dies.
    pub async fn run(self, own: &[&str]) -> Result<(), NodeError> {
        let folder = std::path::absolute(&self.home).map_err(|cause| NodeError::File {
            doing: "find",
            path: self.home.display().to_string(),
            cause,
        })?;
        let interrupted = std::pin::pin!(stop_signal());
        let network = self.start(&folder, own);
        let Some((mut running, interrupted)) = until(interrupted, network).await? else { return Ok(()) };
        let watched = until(interrupted, running.watch()).await;
        tell("stopping");
        watched.map(|_| ())
    }

    async fn start(&self, folder: &Path, own: &[&str]) -> Result<Running, NodeError> {
        let cometbft = comet::find()?;
        let Layout { validators, ports } = comet::layout(&cometbft, folder, self.count, &self.chain_id)?;
        match ports {
            Some(_) => tell(format!("made a network of {} in {}", validators.len(), folder.display())),
            None => tell(format!("continuing the network of {} in {}", validators.len(), folder.display())),
        }
        let ledger = std::env::current_exe().map_err(|cause| NodeError::File {
            doing: "find",
            path: "this program".into(),
            cause,
        })?;
        let words = own.iter().map(|word| (*word).to_owned()).collect();
        let launch = Launch { cometbft, ledger, words };
        let mut running = Running(Vec::new());
        let ledgers: Vec<_> = validators.iter().map(|v| launch.ledger(&v.home)).collect::<Result<_, _>>()?;
        for (validator, mut ledger) in validators.into_iter().zip(ledgers) {
            let config = Config::load(&validator.home)?;
            let cometbft = launch.cometbft(&validator.home, &mut ledger)?;
            let processes = Processes { cometbft, ledger };
            running.0.push(Member { validator, config, processes, reported: [false; 2] });
        }
        tell(format!("started {} ledgers and CometBFT processes, waiting for a block", running.0.len()));
        for index in 0..running.0.len() {
            running.wait_for_block(index).await?;
            self.print(&running.0[index]);
        }
        // From here on the processes hold the ports themselves.
        drop(ports);
        tell("all validators answer; Ctrl-C stops them");
        Ok(running)
    }

    fn print(&self, member: &Member) {
        let Member { validator, config, processes, .. } = member;
        let rpc = format!("http://{}", config.rpc);
        let comet_rpc = match &config.driver {
            Driver::Cometbft { comet_rpc, .. } => format!("http://{comet_rpc}"),
            Driver::Embedded { .. } => String::new(),
        };
        let line = match self.json {
            true => json!({
                "index": validator.index,
                "home": validator.home.to_string_lossy(),
                "rpc": rpc,
                "comet_rpc": comet_rpc,
                "app_pid": processes.ledger.id(),
                "comet_pid": processes.cometbft.id(),
            })
            .to_string(),
            false => format!("validator {}: JSON-RPC {rpc}, CometBFT {comet_rpc}", validator.index),
        };
        // Whoever read the lines may have gone: the network stays.
        let _ = writeln!(std::io::stdout(), "{line}").and_then(|()| std::io::stdout().flush());
    }
}

impl Running {
    async fn wait_for_block(&mut self, index: usize) -> Result<(), NodeError> {
        let address = self.0[index].config.rpc;
        let first = async {
            while latest(address).await.is_err() {
                if let Some(death) = self.deaths().into_iter().next() {
                    return Err(NodeError::Setup(death));
                }
                tokio::time::sleep(GLANCE).await;
            }
            Ok(())
        };
        let late = |_| {
            NodeError::Setup(format!(
                "validator {index} has no block after {} s: see ledger.log and cometbft.log in each home",
                PATIENCE.as_secs()
            ))
        };
        tokio::time::timeout(PATIENCE, first).await.map_err(late)?
    }

    /// Says what ends, for as long as something runs.
    async fn watch(&mut self) -> Result<(), NodeError> {
        loop {
            let deaths = self.deaths();
            deaths.iter().for_each(tell);
            if !deaths.is_empty() {
                let (left, all) = (self.0.iter().filter(|m| m.reported == [false; 2]).count(), self.0.len());
                if left == 0 {
                    return Err(NodeError::Setup("no validator is left; start the same command again".into()));
                }
                let chain = match 3 * left > 2 * all {
                    true => "the chain goes on",
                    false => "too few to decide on a block, the chain stands still",
                };
                tell(format!("{left} of {all} validators are whole: {chain}"));
            }
            tokio::time::sleep(GLANCE).await;
        }
    }

    /// What has ended since the last look, in words.
    fn deaths(&mut self) -> Vec<String> {
        let mut told = Vec::new();
        for Member { validator, processes, reported, .. } in &mut self.0 {
            for (process, reported) in [&mut processes.ledger, &mut processes.cometbft].into_iter().zip(reported) {
                if let Some(how) = process.ended().filter(|_| !*reported) {
                    *reported = true;
                    told.push(format!("validator {}: {how}", validator.index));
                }
            }
        }
        told
    }
}

/// The outcome of `work` and the signal that is still awaited, or nothing if the signal came first.
async fn until<S, T>(
    mut signal: S,
    work: impl Future<Output = Result<T, NodeError>>,
) -> Result<Option<(T, S)>, NodeError>
where
    S: Future<Output = ()> + Unpin,
{
    tokio::select! {
        () = &mut signal => Ok(None),
        done = work => done.map(|value| Some((value, signal))),
    }
}
