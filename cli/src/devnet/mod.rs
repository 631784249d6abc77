//! Three share nodes and a chain on this machine: the same program and the same code paths as a real network.
//!
//! `devnet/` holds `devnet.json` (the ports), `committee.toml`, for each node a folder with its configuration, key, log
//! and pid file, and `chain`, the home of the chain. Bringing up what is up changes nothing; a node that died is started again.

mod chain;
mod paid;
mod process;
mod setup;

use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use sahara_mpc::client::{Client, Committee};
use serde::{Deserialize, Serialize};

use crate::dashboard::Watched;
use crate::error::{Blame, Error, Result};
use crate::parties::parties;
use crate::progress::Indicator;
use chain::Chain;
pub use chain::ChainState;
pub use paid::{PASSWORD, Paid};
pub use process::Process;
use sahara::embedding::{Stop, wanted};
use sahara::home::{Home, create_private_dir, write_atomic};
use sahara::models::Model;

/// First port of the nodes unless another is asked for.
pub const DEFAULT_PORT: u16 = 7700;
/// The nodes' metrics ports follow at this distance.
const METRICS_OFFSET: u16 = 5;
/// The chain's JSON-RPC follows at this distance, where the nodes are not at their usual ports.
const CHAIN_OFFSET: u16 = 8;
/// Version of `devnet.json`.
const FORMAT: u32 = 1;
/// How long the nodes may take to become ready.
const PATIENCE: Duration = Duration::from_secs(30);
/// Largest tail of a log that is shown.
const MAX_LOG_TAIL: u64 = 4 << 20;

/// `devnet.json`.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
struct Layout {
    format: u32,
    port: u16,
}

/// One node as it is now.
#[derive(Clone, Debug, Serialize)]
pub struct NodeState {
    /// 1, 2 or 3.
    pub node: usize,
    /// Its process, if it runs.
    pub pid: Option<i32>,
    /// Whether it answers and takes jobs.
    pub ready: bool,
    /// Where it listens for nodes and consumers.
    pub address: SocketAddr,
    /// Where it shows metrics.
    pub metrics: SocketAddr,
    /// Its folder.
    pub folder: PathBuf,
    /// Processor seconds so far.
    pub cpu_seconds: Option<f64>,
    /// Jobs that it finished.
    pub jobs_done: Option<u64>,
    /// Jobs that failed.
    pub jobs_failed: Option<u64>,
    /// Packs that wait to be used.
    pub packs: Option<u64>,
    /// Why it is not ready.
    pub problem: Option<String>,
}

/// The network as it is now.
#[derive(Clone, Debug, Serialize)]
pub struct Status {
    /// Whether all three nodes are ready, and the chain if there is one.
    pub up: bool,
    /// First port.
    pub port: u16,
    /// The nodes.
    pub nodes: Vec<NodeState>,
    /// The chain, if one was started.
    pub chain: Option<ChainState>,
}

impl Status {
    /// What of it is not ready.
    pub fn down(&self) -> Vec<String> {
        let nodes = self.nodes.iter().filter(|node| !node.ready).map(|node| format!("node {}", node.node));
        let chain = self.chain.iter().filter(|chain| !chain.ready).map(|_| "the chain".to_owned());
        nodes.chain(chain).collect()
    }
}

/// What was not running before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Started {
    /// A share node.
    pub nodes: bool,
    /// The chain.
    pub chain: bool,
}

/// The home of the local network's chain, below Sahara's folder.
pub fn chain_home(home: &Path) -> PathBuf {
    chain::folder(&home.join("devnet"))
}

/// The local network of a home.
pub struct Devnet {
    home: Home,
    folder: PathBuf,
    program: PathBuf,
}

impl Devnet {
    /// The local network of this home; `program` is the `sahara` program that nodes are started with.
    pub fn new(home: &Home, program: PathBuf) -> Self {
        Self { home: home.clone(), folder: home.devnet(), program }
    }

    /// Starts the nodes and the chain, whatever of them does not run. If one of them fails, or `stop` is set before all
    /// are ready, what this call has started is stopped again.
    ///
    /// # Errors
    /// When a port is taken, something does not start, or `stop` is set.
    pub fn up_all(
        &self,
        port: Option<u16>,
        chain_port: Option<u16>,
        stop: &Stop,
        progress: &Indicator,
    ) -> Result<Started> {
        create_private_dir(&self.folder)?;
        let _lock = self.lock()?;
        self.up_both((port, chain_port), None, stop, progress).map(|(started, _)| started)
    }

    /// The same with a market: `model` is sold on it, and a licence bought. Whatever of that was done before stays.
    ///
    /// # Errors
    /// As [`Self::up_all`]; when another model is sold here; when a command that sets it up fails: what it said.
    pub fn up_paid(
        &self,
        ports: (Option<u16>, Option<u16>),
        model: &Model,
        stop: &Stop,
        progress: &Indicator,
    ) -> Result<(Started, Option<Paid>)> {
        create_private_dir(&self.folder)?;
        let _lock = self.lock()?;
        self.up_both(ports, Some(model), stop, progress)
    }

    fn up_both(
        &self,
        (port, chain_port): (Option<u16>, Option<u16>),
        model: Option<&Model>,
        stop: &Stop,
        progress: &Indicator,
    ) -> Result<(Started, Option<Paid>)> {
        let before: Vec<usize> = (0..3).filter(|&node| self.process(node).is_some()).collect();
        // All ports are looked at before anything is started.
        let place = self.chain_place(port, chain_port)?;
        self.check_ports(port)?;
        if self.chain().rpc()?.is_none() {
            self.forget_the_market()?;
        }
        progress.step("starting the chain");
        let chain = self.chain().up(place, stop)?;
        let rest = || {
            if model.is_some() {
                self.know_the_chain()?;
            }
            let nodes = self.up_nodes(port, model.is_some(), stop, progress)?;
            let paid = model.map(|model| self.sell(model, stop, progress)).transpose()?;
            Ok((Started { nodes, chain }, paid))
        };
        rest().inspect_err(|_| {
            progress.step("stopping what was started");
            (0..3).filter(|node| !before.contains(node)).for_each(|node| self.stop(node));
            if chain {
                self.chain().stop();
            }
        })
    }

    /// Starts the nodes that do not run and waits until all are ready. Whether anything was started.
    ///
    /// # Errors
    /// When a port is taken, or a node does not start.
    pub fn up(&self, port: Option<u16>, progress: &Indicator) -> Result<bool> {
        create_private_dir(&self.folder)?;
        let _lock = self.lock()?;
        self.check_ports(port)?;
        self.up_nodes(port, false, &Stop::default(), progress)
    }

    /// Makes sure that nobody else has the ports of the nodes that do not run.
    fn check_ports(&self, port: Option<u16>) -> Result<()> {
        let layout = self.layout(port)?;
        (0..3).filter(|&node| self.process(node).is_none()).try_for_each(|node| {
            check_port_free(address(&layout, node), "--port")?;
            check_port_free(metrics_address(&layout, node), "--port")
        })
    }

    /// `market`: they serve what is paid for, too.
    fn up_nodes(&self, port: Option<u16>, market: bool, stop: &Stop, progress: &Indicator) -> Result<bool> {
        let layout = self.layout(port)?;
        setup::write_homes(&self.folder, &layout.addresses(), &parties(&self.home)?)?;
        let json = serde_json::to_vec(&layout).map_err(|e| Error::fault_from("encoding devnet.json", e))?;
        write_atomic(&self.folder.join("devnet.json"), &json)?;
        for node in 0..3 {
            // Other ports make another configuration, which has to say it again.
            let changed = (market || self.paid().is_some()) && self.configure(node)?;
            if changed {
                self.stop(node);
            }
        }
        let missing: Vec<usize> = (0..3).filter(|&node| self.process(node).is_none()).collect();
        if missing.is_empty() {
            self.wait_until_ready(&layout, stop, progress)?;
            return Ok(false);
        }
        progress.step("starting three share nodes on this machine");
        let started = missing.iter().try_for_each(|&node| self.start(node));
        let ready = started.and_then(|()| self.wait_until_ready(&layout, stop, progress));
        if let Err(error) = ready {
            for &node in &missing {
                self.stop(node);
            }
            return Err(error);
        }
        Ok(true)
    }

    /// Where the chain is to be started. The nodes' ports decide its own, unless they are the usual ones.
    fn chain_place(&self, nodes: Option<u16>, chain: Option<u16>) -> Result<Option<SocketAddr>> {
        let layout = self.layout(nodes)?;
        let usual = layout.port == DEFAULT_PORT;
        let place = self.chain().place(chain, if usual { chain::DEFAULT_PORT } else { layout.port + CHAIN_OFFSET })?;
        let taken = layout.addresses().into_iter().flat_map(|(node, metrics)| [node, metrics]);
        match place.filter(|place| taken.into_iter().any(|address| address == *place)) {
            Some(place) => Err(Error::user(format!(
                "port {} is one of the share nodes': choose another with `sahara devnet up --chain-port N`",
                place.port()
            ))),
            None => Ok(place),
        }
    }

    /// Stops the nodes and the chain; whether any was running.
    pub fn down(&self, progress: &Indicator) -> Result<bool> {
        if !self.folder.exists() {
            return Ok(false);
        }
        let _lock = self.lock()?;
        let chain = self.chain();
        let running = (0..3).any(|node| self.process(node).is_some()) || chain.process().is_some();
        if running {
            progress.step("stopping the nodes");
        }
        thread::scope(|scope| {
            for node in 0..3 {
                scope.spawn(move || self.stop(node));
            }
            scope.spawn(|| chain.stop());
        });
        if let Some(process) = chain.process() {
            return Err(Error::fault(format!("the chain (process {}) does not stop", process.pid)));
        }
        match (0..3).find_map(|node| self.process(node).map(|process| (node, process.pid))) {
            Some((node, pid)) => Err(Error::fault(format!("node {} (process {pid}) does not stop", node + 1))),
            None => Ok(running),
        }
    }

    /// The network as it is now.
    pub fn status(&self) -> Result<Status> {
        let Some(layout) = self.stored_layout()? else {
            return Err(Error::user("no local network yet: start one with `sahara devnet up`"));
        };
        let client = self.client();
        let nodes: Vec<NodeState> = (0..3).map(|node| self.node_state(&layout, node, client.as_ref().ok())).collect();
        let chain = self.chain().state()?;
        let mut status = Status { up: false, port: layout.port, nodes, chain };
        status.up = status.down().is_empty();
        Ok(status)
    }

    /// The last lines of the nodes' logs, each with the node's number.
    pub fn logs(&self, node: Option<usize>, lines: usize) -> Result<Vec<(usize, String)>> {
        let mut all = Vec::new();
        for index in (0..3).filter(|index| node.is_none_or(|node| node == index + 1)) {
            let text = read_log(&self.log(index))?;
            let found: Vec<&str> = text.lines().collect();
            all.extend(
                found.iter().skip(found.len().saturating_sub(lines)).map(|line| (index + 1, (*line).to_owned())),
            );
        }
        Ok(all)
    }

    /// The last lines of the chain's log.
    pub fn chain_logs(&self, lines: usize) -> Result<Vec<String>> {
        let text = read_log(&self.chain().log())?;
        let found: Vec<&str> = text.lines().collect();
        Ok(found.iter().skip(found.len().saturating_sub(lines)).map(|line| (*line).to_owned()).collect())
    }

    fn chain(&self) -> Chain {
        Chain::new(chain::folder(&self.folder), self.program.clone())
    }

    fn start(&self, node: usize) -> Result<()> {
        let home = self.node_folder(node);
        let args = ["operator".as_ref(), "run".as_ref(), "--home".as_ref(), home.as_os_str()];
        Process::start(&self.program, &args, &self.log(node), &self.pid_file(node)).map(drop)
    }

    fn stop(&self, node: usize) {
        if let Some(process) = self.process(node) {
            process.stop();
        }
        // A pid file that stays names a process that is gone, which `recall` finds out.
        let _ = fs::remove_file(self.pid_file(node));
    }

    fn wait_until_ready(&self, layout: &Layout, stop: &Stop, progress: &Indicator) -> Result<()> {
        let deadline = Instant::now() + PATIENCE;
        let client = self.client()?;
        progress.step("waiting for the nodes");
        loop {
            wanted(stop)?;
            let nodes: Vec<NodeState> = (0..3).map(|node| self.node_state(layout, node, Some(&client))).collect();
            let Some(waiting) = nodes.iter().find(|node| !node.ready) else { return Ok(()) };
            if waiting.pid.is_none() {
                return Err(self.died(waiting.node));
            }
            if Instant::now() > deadline {
                let why = waiting.problem.as_deref().unwrap_or("it gives no reason");
                return Err(Error::fault(format!(
                    "node {} is not ready after {} s ({why}): see `sahara devnet logs {}`",
                    waiting.node,
                    PATIENCE.as_secs(),
                    waiting.node
                )));
            }
            thread::sleep(Duration::from_millis(50));
        }
    }

    fn died(&self, node: usize) -> Error {
        let last = tail(&self.log(node - 1)).ok().and_then(|text| text.lines().last().map(str::to_owned));
        let said = last.unwrap_or_else(|| "it said nothing".to_owned());
        Error::fault(format!("node {node} stopped at once ({said}): see `sahara devnet logs {node}`"))
    }

    fn node_state(&self, layout: &Layout, node: usize, client: Option<&Client>) -> NodeState {
        let process = self.process(node);
        let mut state = NodeState {
            node: node + 1,
            pid: process.as_ref().map(|process| process.pid),
            ready: false,
            address: address(layout, node),
            metrics: metrics_address(layout, node),
            folder: self.node_folder(node),
            cpu_seconds: None,
            jobs_done: None,
            jobs_failed: None,
            packs: None,
            problem: None,
        };
        let (Some(process), Some(client)) = (process, client) else {
            state.problem = Some("not running".to_owned());
            return state;
        };
        match client.node_status(node as u8) {
            Ok(status) if i64::from(status.process) != i64::from(process.pid) => {
                state.problem = Some(format!("another process ({}) answers at its address", status.process));
            }
            Ok(status) => {
                state.ready = status.ready;
                state.cpu_seconds = Some(status.cpu_seconds());
                state.jobs_done = Some(status.jobs_done);
                state.jobs_failed = Some(status.jobs_failed);
                state.packs = Some(status.packs.iter().map(|(_, count)| u64::from(*count)).sum());
            }
            Err(error) => state.problem = Some(error.to_string()),
        }
        state
    }

    /// The network for its dashboard.
    pub fn watched(&self) -> Result<Watched> {
        let chain = self.chain().rpc()?;
        Ok(Watched { title: "three share nodes and a chain on this machine".to_owned(), client: self.client()?, chain })
    }

    fn client(&self) -> Result<Client> {
        let committee = Committee::load(&self.folder.join("committee.toml"))
            .map_err(|e| Error::wrap("reading the local committee", Blame::User, e))?;
        setup::client(&self.folder, committee)
    }

    /// The layout to use: the stored one while nodes run, else the port asked for, the stored one, or the default.
    fn layout(&self, port: Option<u16>) -> Result<Layout> {
        let stored = self.stored_layout()?;
        let running = (0..3).any(|node| self.process(node).is_some());
        match (stored, port) {
            (Some(stored), Some(port)) if running && stored.port != port => Err(Error::user(format!(
                "the local network runs at port {}: stop it first with `sahara devnet down`",
                stored.port
            ))),
            (Some(stored), None) => Ok(stored),
            (_, port) => Layout::new(port.unwrap_or(DEFAULT_PORT)),
        }
    }

    fn stored_layout(&self) -> Result<Option<Layout>> {
        let path = self.folder.join("devnet.json");
        let bytes = match fs::read(&path) {
            Ok(bytes) => bytes,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(e) => return Err(Error::io("reading", &path, e)),
        };
        match serde_json::from_slice::<Layout>(&bytes) {
            Ok(layout) if layout.format == FORMAT => Ok(Some(layout)),
            Ok(layout) => Err(Error::user(format!(
                "{} has format {}, this program reads {FORMAT}: remove {}",
                path.display(),
                layout.format,
                self.folder.display()
            ))),
            Err(e) => {
                Err(Error::user(format!("{} is damaged ({e}): remove {}", path.display(), self.folder.display())))
            }
        }
    }

    fn lock(&self) -> Result<File> {
        let path = self.folder.join(".lock");
        let file = File::create(&path).map_err(|e| Error::io("opening", &path, e))?;
        file.lock().map_err(|e| Error::io("locking", &path, e))?;
        Ok(file)
    }

    fn process(&self, node: usize) -> Option<Process> {
        Process::recall(&self.pid_file(node))
    }

    fn node_folder(&self, node: usize) -> PathBuf {
        self.folder.join(format!("node-{}", node + 1))
    }

    fn log(&self, node: usize) -> PathBuf {
        self.node_folder(node).join("log")
    }

    fn pid_file(&self, node: usize) -> PathBuf {
        self.node_folder(node).join("pid")
    }
}

impl Layout {
    fn new(port: u16) -> Result<Self> {
        if !(1024..=u16::MAX - METRICS_OFFSET - 3).contains(&port) {
            return Err(Error::user(format!(
                "port {port} leaves no room for the nodes: choose one from 1024 to 65000"
            )));
        }
        Ok(Self { format: FORMAT, port })
    }

    /// Addresses of the nodes and of their metrics.
    fn addresses(&self) -> [(SocketAddr, SocketAddr); 3] {
        [0, 1, 2].map(|node| (address(self, node), metrics_address(self, node)))
    }
}

fn address(layout: &Layout, node: usize) -> SocketAddr {
    (Ipv4Addr::LOCALHOST, layout.port + node as u16).into()
}

fn metrics_address(layout: &Layout, node: usize) -> SocketAddr {
    (Ipv4Addr::LOCALHOST, layout.port + METRICS_OFFSET + node as u16).into()
}

/// `option` is the one that chooses another port.
fn check_port_free(address: SocketAddr, option: &str) -> Result<()> {
    match TcpListener::bind(address) {
        Ok(_) => Ok(()),
        Err(e) if e.kind() == std::io::ErrorKind::AddrInUse => Err(Error::user(format!(
            "port {} is in use by another program: choose another with `sahara devnet up {option} N`",
            address.port()
        ))),
        Err(e) => Err(Error::wrap(&format!("listening on {address}"), Blame::User, e)),
    }
}

fn read_log(path: &Path) -> Result<String> {
    tail(path).map_err(|e| match e.kind() {
        std::io::ErrorKind::NotFound => Error::user("no logs yet: start the network with `sahara devnet up`"),
        _ => Error::io("reading", path, e),
    })
}

/// The end of a file, from a whole line on.
fn tail(path: &Path) -> std::io::Result<String> {
    let mut file = File::open(path)?;
    let len = file.metadata()?.len();
    file.seek(SeekFrom::Start(len.saturating_sub(MAX_LOG_TAIL)))?;
    let mut bytes = Vec::new();
    file.take(MAX_LOG_TAIL).read_to_end(&mut bytes)?;
    let text = String::from_utf8_lossy(&bytes).into_owned();
    Ok(match text.split_once('\n') {
        Some((_, rest)) if len > MAX_LOG_TAIL => rest.to_owned(),
        _ => text,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn devnet() -> (tempfile::TempDir, Devnet) {
        let dir = tempfile::tempdir().unwrap();
        let home = Home::locate(Some(dir.path().to_owned())).unwrap();
        (dir, Devnet::new(&home, PathBuf::from("/no/such/program")))
    }

    #[test]
    fn a_network_that_never_was_is_down() {
        let (_dir, devnet) = devnet();
        assert!(!devnet.down(&Indicator::silent()).unwrap());
        assert_eq!(devnet.status().unwrap_err().exit_code(), 2);
        assert_eq!(devnet.logs(None, 5).unwrap_err().exit_code(), 2);
    }

    #[test]
    fn a_port_in_use_is_named_before_anything_is_written() {
        let (_dir, devnet) = devnet();
        let taken = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = taken.local_addr().unwrap().port();
        let error = devnet.up(Some(port - 2), &Indicator::silent()).unwrap_err();
        assert_eq!(error.exit_code(), 2);
        assert!(error.report().contains("--port"), "{}", error.report());
        assert!(!devnet.folder.join("devnet.json").exists());
        assert_eq!(devnet.up(Some(80), &Indicator::silent()).unwrap_err().exit_code(), 2);
        // The chain's too, and where it would be one of the nodes' own.
        for chain in [port, port + 20] {
            let all = devnet.up_all(Some(port + 20), Some(chain), &Stop::default(), &Indicator::silent());
            let error = all.unwrap_err();
            assert!(error.exit_code() == 2 && error.report().contains("--chain-port"), "{}", error.report());
            assert!(!devnet.folder.join("devnet.json").exists() && !devnet.node_folder(0).exists());
        }
    }

    #[test]
    fn a_damaged_layout_says_what_to_remove() {
        let (_dir, devnet) = devnet();
        fs::create_dir_all(&devnet.folder).unwrap();
        fs::write(devnet.folder.join("devnet.json"), "{\"format\":9,\"port\":7700}").unwrap();
        assert!(devnet.status().unwrap_err().report().contains("format 9"));
        fs::write(devnet.folder.join("devnet.json"), "x").unwrap();
        assert!(devnet.status().unwrap_err().report().contains("damaged"));
    }

    #[test]
    fn logs_show_the_last_lines_of_each_node() {
        let (_dir, devnet) = devnet();
        for node in 0..3 {
            fs::create_dir_all(devnet.node_folder(node)).unwrap();
            fs::write(devnet.log(node), format!("a\nb\nnode {node}\n")).unwrap();
        }
        assert_eq!(devnet.logs(Some(2), 1).unwrap(), [(2, "node 1".to_owned())]);
        assert_eq!(devnet.logs(None, 2).unwrap().len(), 6);
    }
}
