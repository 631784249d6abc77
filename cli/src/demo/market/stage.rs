//! The stage of the demo: a chain, five operators, an owner, two contributors and a consumer, each with a home and a wallet
//! of their own, all of them processes of this very program.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use sahara_chain::genesis::DEV_ACCOUNTS;
use sahara_mpc::client::{Committee, Member};
use sahara_mpc::identity::PublicKey;
use serde_json::Value;

use crate::devnet::Process;
use crate::error::{Error, Result};
use crate::itself::{Itself, text};
use sahara::home::{Home, create_private_dir};

/// Where ports are looked for: below those that systems give away.
const FIRST_PORT: u16 = 21_000;
const LAST_PORT: u16 = 30_000;
/// Ports of one demo.
const PORTS: u16 = 16;
/// How long a process may take to answer.
const PATIENCE: Duration = Duration::from_secs(30);
/// Of every wallet here: its keys are known to everybody anyway.
const PASSWORD: &str = "demo";
/// Operators.
pub const OPERATORS: usize = 5;
/// Largest answer of the gateway.
const MAX_ANSWER: u64 = 16 << 20;

/// Everybody on the stage; leaving it ends all processes.
pub struct Stage {
    folder: PathBuf,
    program: PathBuf,
    port: u16,
    running: Vec<(String, Process)>,
}

/// Somebody with a home of their own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Who {
    /// Of the model.
    Owner,
    /// Of the licence.
    Consumer,
    /// Of a dataset: 1 or 2.
    Contributor(usize),
    /// 1 to 5.
    Operator(usize),
}

impl Who {
    /// Everybody.
    pub fn all() -> Vec<Self> {
        let contributors = (1..=2).map(Self::Contributor);
        [Self::Owner, Self::Consumer]
            .into_iter()
            .chain(contributors)
            .chain((1..=OPERATORS).map(Self::Operator))
            .collect()
    }

    /// In words.
    pub fn name(self) -> String {
        match self {
            Self::Owner => "owner".to_owned(),
            Self::Consumer => "consumer".to_owned(),
            Self::Contributor(n) => format!("contributor-{n}"),
            Self::Operator(n) => format!("operator-{n}"),
        }
    }

    /// The development account that it has: its address, and the secret that everybody knows.
    fn account(self) -> (alloy_primitives::Address, alloy_primitives::B256) {
        DEV_ACCOUNTS[match self {
            Self::Owner => 0,
            Self::Consumer => 1,
            Self::Contributor(n) => 1 + n,
            Self::Operator(n) => 3 + n,
        }]
    }

    /// Its address.
    pub fn address(self) -> alloy_primitives::Address {
        self.account().0
    }
}

impl Stage {
    /// An empty stage below `home`; what an earlier demo left is removed.
    ///
    /// # Errors
    /// When the folder cannot be made, or no ports are free.
    pub fn new(home: &Home, program: PathBuf) -> Result<Self> {
        let folder = home.path().join("demo");
        if folder.exists() {
            fs::remove_dir_all(&folder).map_err(|e| Error::io("removing", &folder, e))?;
        }
        create_private_dir(&folder)?;
        Ok(Self { folder, program, port: free_ports()?, running: Vec::new() })
    }

    /// Somebody's home.
    pub fn home(&self, who: Who) -> PathBuf {
        self.folder.join(who.name())
    }

    /// Runs `sahara WORDS --json` as somebody; its answer.
    ///
    /// # Errors
    /// With what it said, when it fails.
    pub fn run(&self, who: Who, words: &[&str]) -> Result<Value> {
        self.program_of(&self.home(who)).run(words)
    }

    /// Runs `sahara WORDS` with this home; what it printed.
    ///
    /// # Errors
    /// With what it said, when it fails.
    pub fn output(&self, home: &Path, words: &[&str]) -> Result<String> {
        self.program_of(home).output(words)
    }

    fn program_of(&self, home: &Path) -> Itself {
        Itself::new(&self.program, home, PASSWORD)
    }

    /// JSON-RPC of the chain.
    pub fn rpc(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Where the gateway listens.
    pub fn gateway(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.port + 1).into()
    }

    /// Starts the chain and makes a home with a wallet for everybody; the owner has the models of `home`.
    ///
    /// # Errors
    /// When something of it fails.
    pub fn open(&mut self, home: &Home) -> Result<()> {
        let chain = self.folder.join("chain");
        let (path, rpc) = (text(&chain)?, format!("127.0.0.1:{}", self.port));
        self.output(&self.folder, &["chain", "init", "--home", path, "--rpc", &rpc, "--block-time-ms", "300"])?;
        self.start("chain", &self.folder.clone(), &["chain", "start", "--home", path])?;
        let (made, url) = (Instant::now(), self.rpc());
        let file = loop {
            match self.output(&self.folder, &["network", "make", &url]) {
                Ok(file) => break file,
                Err(error) if made.elapsed() > PATIENCE => return Err(error),
                Err(_) => thread::sleep(Duration::from_millis(100)),
            }
        };
        let network = self.folder.join("network.toml");
        write(&network, &file)?;
        for who in Who::all() {
            let folder = self.home(who);
            create_private_dir(&folder)?;
            let key = folder.join("key.hex");
            write(&key, &alloy_primitives::hex::encode(who.account().1))?;
        }
        let owners = self.home(Who::Owner).join("models");
        symlink(home.models(), &owners).map_err(|e| Error::io("linking", &owners, e))?;
        let network = text(&network)?;
        self.at_once(&Who::all(), |stage, who| {
            let key = stage.home(who).join("key.hex");
            stage.run(who, &["wallet", "import", text(&key)?])?;
            stage.run(who, &["network", "add", network, "--name", "demo"]).map(drop)
        })
    }

    /// Does the same for several at the same time.
    ///
    /// # Errors
    /// The first one's.
    pub fn at_once(&self, all: &[Who], work: impl Fn(&Self, Who) -> Result<()> + Sync) -> Result<()> {
        let work = &work;
        thread::scope(|scope| {
            let threads: Vec<_> = all.iter().map(|&who| scope.spawn(move || work(self, who))).collect();
            let died = || Err(Error::fault("a thread of the demo died"));
            threads.into_iter().try_for_each(|thread| thread.join().unwrap_or_else(|_| died()))
        })
    }

    /// Makes the operators' nodes and starts them: two committees, which have the third one in common.
    ///
    /// # Errors
    /// When something of it fails.
    pub fn start_nodes(&mut self) -> Result<()> {
        let whoami = self.run(Who::Owner, &["whoami"])?;
        let owner = whoami["owner"].as_str().unwrap_or_default();
        let mut members = Vec::with_capacity(OPERATORS);
        for n in 1..=OPERATORS {
            let address = self.node(n).to_string();
            let made = self.run(Who::Operator(n), &["operator", "init", "--listen", &address, "--owner", owner])?;
            let key: PublicKey = made["key"].as_str().unwrap_or_default().parse().map_err(Error::fault)?;
            members.push(Member { name: Who::Operator(n).name(), address, key });
        }
        let committee = |picked: [usize; 3]| {
            Committee::new(picked.map(|n| members[n - 1].clone()))
                .map_err(|why| Error::fault(format!("a committee: {why}")))
        };
        let [first, standby] = [committee([1, 2, 3])?, committee([3, 4, 5])?];
        for (committee, file) in [(&first, self.committee(0)), (&standby, self.committee(1))] {
            committee.save(&file).map_err(|e| Error::fault_from("writing a committee", e))?;
        }
        for n in 1..=OPERATORS {
            self.configure(n, if n <= 3 { &first } else { &standby }, (n == 3).then_some(&standby))?;
            let home = self.home(Who::Operator(n));
            self.start(&Who::Operator(n).name(), &home, &["operator", "run"])?;
        }
        (1..=OPERATORS).try_for_each(|n| self.wait_for(self.node(n)))
    }

    fn configure(&self, n: usize, own: &Committee, other: Option<&Committee>) -> Result<()> {
        let node = self.home(Who::Operator(n)).join("node");
        let failed = |e| Error::fault_from("writing a committee", e);
        own.save(&node.join("committee.toml")).map_err(failed)?;
        let mut lines = "market = \"market.toml\"\n".to_owned();
        if let Some(other) = other {
            other.save(&node.join("standby.toml")).map_err(failed)?;
            lines.push_str("committees = [\"standby.toml\"]\n");
        }
        let config = node.join("node.toml");
        let before = fs::read_to_string(&config).map_err(|e| Error::io("reading", &config, e))?;
        write(&config, &format!("{lines}{before}"))?;
        // Without an account: the demo settles by hand, so that people see it.
        let network = self.folder.join("network.toml");
        write(&node.join("market.toml"), &format!("sahara-node-market = 1\nnetwork = {:?}\n", text(&network)?))
    }

    /// A committee's file: 0 the first, 1 the one that stands by.
    pub fn committee(&self, which: usize) -> PathBuf {
        self.folder.join(["committee.toml", "standby.toml"][which.min(1)])
    }

    fn node(&self, n: usize) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.port + 1 + n as u16).into()
    }

    /// Starts `sahara WORDS` in the background.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn start(&mut self, name: &str, home: &Path, words: &[&str]) -> Result<()> {
        let (log, pid) = (self.folder.join(format!("{name}.log")), self.folder.join(format!("{name}.pid")));
        let variables: Vec<OsString> = self
            .program_of(home)
            .variables()
            .map(|(name, value)| [OsStr::new(name), OsStr::new("="), value].into_iter().collect())
            .into();
        let args: Vec<&OsStr> = variables
            .iter()
            .map(AsRef::as_ref)
            .chain([self.program.as_os_str()])
            .chain(words.iter().map(AsRef::as_ref))
            .collect();
        let process = Process::start(Path::new("env"), &args, &log, &pid)?;
        self.running.push((name.to_owned(), process));
        Ok(())
    }

    /// Ends a process at once, as a machine that loses power does.
    pub fn kill(&self, name: &str) {
        for (_, process) in self.running.iter().filter(|(known, _)| known == name) {
            if let Some(pid) = Pid::from_raw(process.pid) {
                // It may have gone by itself.
                let _ = kill_process(pid, Signal::KILL);
            }
        }
    }

    /// Waits until somebody listens at an address.
    ///
    /// # Errors
    /// When nobody does in time.
    pub fn wait_for(&self, address: SocketAddr) -> Result<()> {
        let began = Instant::now();
        while TcpStream::connect(address).is_err() {
            if began.elapsed() > PATIENCE {
                let logs = self.folder.display();
                return Err(Error::fault(format!("nobody listens at {address}: the logs are in {logs}")));
            }
            thread::sleep(Duration::from_millis(50));
        }
        Ok(())
    }

    /// What an OpenAI client sends for embeddings: the status, the head and the body of the answer.
    ///
    /// # Errors
    /// When the gateway does not answer.
    pub fn ask(&self, model: &str, texts: &[String]) -> Result<(u16, String, Value)> {
        let failed = |e| Error::fault_from("asking the gateway", e);
        let body = serde_json::json!({"model": model, "input": texts}).to_string();
        let mut socket = TcpStream::connect(self.gateway()).map_err(failed)?;
        let head = format!(
            "POST /v1/embeddings HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Type: application/json\r\n\
             Authorization: Bearer unused\r\nContent-Length: {}\r\n\r\n",
            body.len()
        );
        socket.write_all(head.as_bytes()).and_then(|()| socket.write_all(body.as_bytes())).map_err(failed)?;
        let mut answer = String::new();
        socket.take(MAX_ANSWER).read_to_string(&mut answer).map_err(failed)?;
        let status = answer.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or_default();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap_or_default();
        let body = serde_json::from_str(body).map_err(|e| Error::fault_from("reading the gateway's answer", e))?;
        Ok((status, head.to_lowercase(), body))
    }

    fn stop(&mut self) {
        // Those that ask before those that answer.
        for (_, process) in self.running.drain(..).rev() {
            process.stop();
        }
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        self.stop();
    }
}

fn free_ports() -> Result<u16> {
    let free = |port: u16| TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok();
    (FIRST_PORT..LAST_PORT)
        .step_by(usize::from(PORTS))
        .find(|first| (*first..*first + PORTS).all(free))
        .ok_or_else(|| Error::user(format!("no {PORTS} ports in a row are free from {FIRST_PORT} to {LAST_PORT}")))
}

fn write(path: &Path, text: &str) -> Result<()> {
    fs::write(path, text).map_err(|e| Error::io("writing", path, e))
}
