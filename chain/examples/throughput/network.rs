//! The processes that are measured: started in a folder that goes with them, their processor time read from `/proc`.

use std::{
    io::{BufRead, BufReader},
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use sahara_chain::{
    comet,
    node::{Config, Driver},
};
use serde_json::Value;

use super::Result;

/// Running processes.
pub struct Network {
    /// Where transactions go, one for each validator: JSON-RPC of the ledger, or of CometBFT.
    pub targets: Vec<SocketAddr>,
    /// Ledgers, then engines.
    pids: [Vec<u32>; 2],
    children: Vec<Child>,
    _folder: tempfile::TempDir,
}

/// Processor seconds of ledgers, engines and this process.
#[derive(Clone, Copy, Debug, Default)]
pub struct Cpu {
    pub ledgers: f64,
    pub engines: f64,
    pub load: f64,
}

impl Cpu {
    pub fn since(self, before: Self) -> Self {
        Self {
            ledgers: self.ledgers - before.ledgers,
            engines: self.engines - before.engines,
            load: self.load - before.load,
        }
    }

    pub fn all(self) -> f64 {
        self.ledgers + self.engines + self.load
    }
}

impl Network {
    /// `count` validators: the ledger under CometBFT.
    pub fn validators(count: usize) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let mut testnet = Command::new(program()?)
            .args(["testnet", &count.to_string(), "--json", "--home"])
            .arg(folder.path())
            .stdout(Stdio::piped())
            .spawn()?;
        let lines = BufReader::new(testnet.stdout.take().ok_or("no output")?).lines();
        let mut network = Self { targets: vec![], pids: [vec![], vec![]], children: vec![testnet], _folder: folder };
        for line in lines.take(count) {
            let told: Value = serde_json::from_str(&line?)?;
            let text = told["rpc"].as_str().unwrap_or_default();
            network.targets.push(text.trim_start_matches("http://").parse()?);
            for (pids, name) in network.pids.iter_mut().zip(["app_pid", "comet_pid"]) {
                pids.push(u32::try_from(told[name].as_u64().unwrap_or_default())?);
            }
        }
        if network.targets.len() < count {
            return Err("the network did not come up: its output is above".into());
        }
        Ok(network)
    }

    /// `count` validators: an application that does nothing under CometBFT with the same settings.
    pub fn noop(count: usize) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let cometbft = comet::find()?;
        let layout = comet::layout(&cometbft, folder.path(), count, "noop")?;
        let mut network = Self { targets: vec![], pids: [vec![], vec![]], children: vec![], _folder: folder };
        for validator in &layout.validators {
            let Driver::Cometbft { abci, comet_rpc, .. } = Config::load(&validator.home)?.driver else {
                return Err("a test network runs CometBFT".into());
            };
            let app = Command::new(std::env::current_exe()?).args(["noop", &abci.to_string()]).spawn()?;
            network.pids[0].push(app.id());
            network.children.push(app);
            let engine = engine(&cometbft, &validator.home)?;
            network.pids[1].push(engine.id());
            network.children.push(engine);
            network.targets.push(comet_rpc);
        }
        Ok(network)
    }

    /// One embedded validator that makes two blocks a second.
    pub fn embedded() -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let home = folder.path().join("node");
        let init = ["init", "--rpc", "127.0.0.1:0", "--block-time-ms", "500", "--home"];
        Command::new(program()?).args(init).arg(&home).stdout(Stdio::null()).status()?;
        let mut node = Command::new(program()?).arg("start").arg("--home").arg(&home).stdout(Stdio::piped()).spawn()?;
        let lines = BufReader::new(node.stdout.take().ok_or("no output")?).lines();
        let mut addresses = lines.map_while(std::result::Result::ok);
        let address = addresses.find_map(|line| line.strip_prefix("JSON-RPC: http://").map(str::to_owned));
        let target = address.ok_or("the node did not come up")?.parse()?;
        Ok(Self { targets: vec![target], pids: [vec![node.id()], vec![]], children: vec![node], _folder: folder })
    }

    /// Processor time so far.
    pub fn cpu(&self) -> Cpu {
        let sum = |pids: &[u32]| pids.iter().map(|pid| cpu_seconds(&pid.to_string())).sum();
        Cpu { ledgers: sum(&self.pids[0]), engines: sum(&self.pids[1]), load: cpu_seconds("self") }
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        for child in &mut self.children {
            let _ = Command::new("kill").arg(child.id().to_string()).status();
            let _ = child.wait();
        }
    }
}

fn engine(cometbft: &Path, home: &Path) -> Result<Child> {
    Ok(Command::new(cometbft).args(["node", "--home"]).arg(home).stdout(Stdio::null()).spawn()?)
}

/// The node's program, beside the folder of examples.
fn program() -> Result<PathBuf> {
    let path = std::env::current_exe()?.with_file_name("../sahara-chain");
    match path.is_file() {
        true => Ok(path),
        false => Err("sahara-chain is not built: cargo build --release -p sahara-chain".into()),
    }
}

/// User and system time of a process, in seconds; Linux counts 100 ticks a second.
fn cpu_seconds(pid: &str) -> f64 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let fields = stat.rsplit_once(')').map(|(_, rest)| rest.split_whitespace()).into_iter().flatten();
    fields.skip(11).take(2).filter_map(|ticks| ticks.parse::<f64>().ok()).sum::<f64>() / 100.0
}
