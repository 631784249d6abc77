//! The chain of the local network: one embedded validator with its JSON-RPC, a process beside the share nodes.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use sahara_chain::cli::Init;
use sahara_chain::comet::Client;
use sahara_chain::node::{CONFIG_FILE, Config};
use serde::Serialize;
use serde_json::json;

use super::process::Process;
use super::{check_port_free, tail};
use crate::error::{Blame, Error, Result};
use sahara::embedding::{Stop, wanted};
use sahara::home::create_private_dir;

/// Where Ethereum tools look for a node on this machine.
pub const DEFAULT_PORT: u16 = 8545;
/// How long it may take to answer.
const PATIENCE: Duration = Duration::from_secs(20);

/// The chain as it is now.
#[derive(Clone, Debug, Serialize)]
pub struct ChainState {
    /// Its process, if it runs.
    pub pid: Option<i32>,
    /// Whether it answers.
    pub ready: bool,
    /// Its JSON-RPC, for Ethereum tools.
    pub rpc: String,
    /// Who makes its blocks, in one line.
    pub driver: String,
    /// Its last block.
    pub height: Option<u64>,
    /// Its folder.
    pub folder: PathBuf,
}

/// The chain's home and process.
pub struct Chain {
    folder: PathBuf,
    program: PathBuf,
}

impl Chain {
    /// The chain with its home in `folder`; `program` is the `sahara` program.
    pub fn new(folder: PathBuf, program: PathBuf) -> Self {
        Self { folder, program }
    }

    /// Where it is to be started: at `port` if one is asked for, else as last time, else at `otherwise`; nowhere if it runs.
    pub fn place(&self, port: Option<u16>, otherwise: u16) -> Result<Option<SocketAddr>> {
        let running = self.process().is_some();
        let before = self.config()?.map(|config| config.rpc.port());
        if let (true, Some(before), Some(port)) = (running, before, port.filter(|port| Some(*port) != before)) {
            return Err(Error::user(format!(
                "the local chain runs at port {before}, not {port}: stop it first with `sahara devnet down`"
            )));
        }
        if running {
            return Ok(None);
        }
        let rpc = SocketAddr::from((Ipv4Addr::LOCALHOST, port.or(before).unwrap_or(otherwise)));
        check_port_free(rpc, "--chain-port")?;
        Ok(Some(rpc))
    }

    /// Starts it at a place that [`Chain::place`] found, and waits until it answers. Whether it had to be started.
    pub fn up(&self, place: Option<SocketAddr>, stop: &Stop) -> Result<bool> {
        let Some(rpc) = place else {
            self.wait_until_ready(stop)?;
            return Ok(false);
        };
        match self.config()? {
            None => self.make(rpc)?,
            Some(config) if config.rpc != rpc => {
                Config { rpc, ..config }.save(&self.folder).map_err(|e| self.broken("changing the port of", e))?;
            }
            Some(_) => {}
        }
        let args = ["chain".as_ref(), "start".as_ref(), "--home".as_ref(), self.folder.as_os_str()];
        Process::start(&self.program, &args, &self.log(), &self.pid_file())?;
        self.wait_until_ready(stop).inspect_err(|_| self.stop())?;
        Ok(true)
    }

    /// Stops it.
    pub fn stop(&self) {
        if let Some(process) = self.process() {
            process.stop();
        }
        // A pid file that stays names a process that is gone, which `recall` finds out.
        let _ = fs::remove_file(self.pid_file());
    }

    /// Its process, if it runs.
    pub fn process(&self) -> Option<Process> {
        Process::recall(&self.pid_file())
    }

    /// How it is now; nothing if there never was one.
    pub fn state(&self) -> Result<Option<ChainState>> {
        let Some(config) = self.config()? else { return Ok(None) };
        let pid = self.process().map(|process| process.pid);
        let height = pid.and_then(|_| height(config.rpc));
        Ok(Some(ChainState {
            pid,
            ready: height.is_some(),
            rpc: format!("http://{}", config.rpc),
            driver: config.driver.describe(),
            height,
            folder: self.folder.clone(),
        }))
    }

    /// Its JSON-RPC; none if there never was one.
    pub fn rpc(&self) -> Result<Option<SocketAddr>> {
        Ok(self.config()?.map(|config| config.rpc))
    }

    /// Its log.
    pub fn log(&self) -> PathBuf {
        self.folder.join("log")
    }

    fn make(&self, rpc: SocketAddr) -> Result<()> {
        create_private_dir(&self.folder)?;
        Init::new(self.folder.clone(), rpc).make().map_err(|e| self.broken("making", e))
    }

    fn config(&self) -> Result<Option<Config>> {
        if !self.folder.join(CONFIG_FILE).exists() {
            return Ok(None);
        }
        Config::load(&self.folder).map(Some).map_err(|e| self.broken("reading", e))
    }

    fn broken(&self, doing: &str, error: impl std::error::Error + Send + Sync + 'static) -> Error {
        Error::wrap(&format!("{doing} the local chain in {}", self.folder.display()), Blame::User, error)
    }

    fn wait_until_ready(&self, stop: &Stop) -> Result<()> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            wanted(stop)?;
            match self.state()? {
                Some(state) if state.ready => return Ok(()),
                Some(state) if state.pid.is_none() => {
                    let last = tail(&self.log()).ok().and_then(|text| text.lines().last().map(str::to_owned));
                    let said = last.unwrap_or_else(|| "it said nothing".to_owned());
                    return Err(Error::fault(format!(
                        "the chain stopped at once ({said}): see `sahara devnet logs chain`"
                    )));
                }
                _ if Instant::now() > deadline => {
                    let seconds = PATIENCE.as_secs();
                    return Err(Error::fault(format!(
                        "the chain does not answer after {seconds} s: see `sahara devnet logs chain`"
                    )));
                }
                _ => thread::sleep(Duration::from_millis(20)),
            }
        }
    }

    fn pid_file(&self) -> PathBuf {
        self.folder.join("pid")
    }
}

/// The last block of the node at `rpc`, if it answers within a second.
fn height(rpc: SocketAddr) -> Option<u64> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().ok()?;
    let client = Client::new(rpc);
    let number = client.quantity("eth_blockNumber", json!([]));
    runtime.block_on(async { tokio::time::timeout(Duration::from_secs(1), number).await }).ok()?
}

/// The chain's home below the folder of the local network.
pub fn folder(devnet: &Path) -> PathBuf {
    devnet.join("chain")
}
