//! Three nodes in processes of their own, one honest consumer, and beside it a crowd that means no good: strangers that are
//! silent, drip, send noise, have no admission or announce huge frames, and admitted keys that ask for what they may not
//! have, leave jobs half asked and want packs without end. Prints the honest consumer's times with and without the crowd
//! and the nodes' memory; fails if its 99th percentile more than doubles or a node exceeds what its limits add up to.
//!
//! `load [--strangers 1000] [--keys 200] [--jobs 300]`; `cargo xtask soak load` runs it.
#![allow(clippy::unwrap_used)] // a panic is the failure report

#[path = "../tests/common/mod.rs"]
mod common;
#[path = "../tests/common/hostile.rs"]
mod hostile;
#[path = "../tests/common/load.rs"]
mod load;

use std::io::Read;
use std::path::Path;
use std::process::{Child, Command, ExitCode, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use load::{Crowd, deeds, member_gets_in, quantile, times};
use sahara_mpc::client::{
    Assignment, Client, ClientOptions, Committee, Consumers, Member, Offer, Rounding, Visibility,
};
use sahara_mpc::config::{Config, FILE, Parties};
use sahara_mpc::identity::{self, Identity};
use sahara_mpc::tls::Admission;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let [word, home] = &arguments[..]
        && word == "node"
    {
        serve(Path::new(home));
        return ExitCode::SUCCESS;
    }
    let number = |name: &str, default: usize| match arguments.iter().position(|word| word == name) {
        Some(at) => arguments.get(at + 1).and_then(|n| n.parse().ok()).unwrap_or_else(|| panic!("{name} NUMBER")),
        None => default,
    };
    // Each connection of the crowd is a file of this process.
    let files = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: files.maximum, ..files }).unwrap();
    let crowd = Crowd { strangers: number("--strangers", 1000), keys: number("--keys", 200) };
    if measure(crowd, number("--jobs", 300)) { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Runs a node until standard input ends.
fn serve(home: &Path) {
    let config = Config::load(home).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let stopped = async {
        let wait = tokio::task::spawn_blocking(|| std::io::stdin().read_to_end(&mut Vec::new()));
        let _ = wait.await; // however it ends, nobody holds the other end any more
    };
    runtime.block_on(sahara_mpc::node::run(config, stopped)).unwrap();
}

fn measure(crowd: Crowd, jobs: usize) -> bool {
    let dir = tempfile::tempdir().unwrap();
    let identities: Vec<Arc<Identity>> =
        (0..crowd.keys.max(1) + 2).map(|_| Arc::new(identity::generate().unwrap())).collect();
    let [owner, honest, keys @ ..] = &identities[..] else { unreachable!("at least three") };
    let parties = Parties {
        owners: Admission::Only([owner.public()].into()),
        consumers: Admission::Only(identities.iter().map(|id| id.public()).collect()),
    };
    let ports: [u16; 3] = common::ports();
    let homes = [0, 1, 2].map(|i| dir.path().join(format!("node{i}")));
    let members = [0, 1, 2].map(|i| {
        let address = format!("127.0.0.1:{}", ports[i]);
        let config = Config::init(&homes[i], address.parse().unwrap(), None, &parties).unwrap();
        let file = homes[i].join(FILE);
        let text = std::fs::read_to_string(&file).unwrap();
        let text = text
            .replacen("job_megabytes = 8192", "job_megabytes = 256", 1)
            .replacen("cache_megabytes = 4096", "cache_megabytes = 128", 1)
            .replacen("pack_memory_megabytes = 1024", "pack_memory_megabytes = 128", 1);
        std::fs::write(&file, text).unwrap();
        Member { name: format!("node {}", i + 1), address, key: config.load_identity().unwrap().public() }
    });
    let committee = Committee::new(members).unwrap();
    let nodes: Vec<Node> = homes
        .iter()
        .map(|home| {
            committee.save(&home.join("committee.toml")).unwrap();
            Node::start(home)
        })
        .collect();
    let client =
        |identity: &Arc<Identity>| Client::shared(identity.clone(), committee.clone(), ClientOptions::default());
    let (owner, honest) = (client(owner), client(honest));
    let end = Instant::now() + Duration::from_secs(20);
    while owner.status().iter().any(Result::is_err) {
        assert!(Instant::now() < end, "the nodes do not come up");
        std::thread::sleep(Duration::from_millis(50));
    }

    let case = common::case(5);
    let share = |name: &str, consumers: Consumers| {
        let offer = Offer { name: name.parse().unwrap(), access: consumers.into(), ..case.offer(Visibility::Private) };
        let sharing = owner.share(&offer, &|_, _| ()).unwrap();
        sharing.task(&case.graph, Assignment::ALL[0], Rounding::Exact).unwrap()
    };
    let task = share("honest", Consumers::only([honest.key()]));
    let own = share("crowd", Consumers::only(keys[..crowd.keys / 5].iter().map(|key| key.public())));
    times(&case, &honest, task, 20);
    let alone = times(&case, &honest, task, jobs);
    let memory_before: Vec<u64> = nodes.iter().map(Node::resident_megabytes).collect();

    let began = Instant::now();
    let hostile = hostile::Hostile::start(&committee, deeds(&crowd, keys, own, task), 40);
    while hostile.connections() < (crowd.strangers + crowd.keys) as u64 {
        std::thread::sleep(Duration::from_millis(20));
    }
    let beside = times(&case, &honest, task, jobs);
    let member = identity::load(&homes[1].join("key")).unwrap();
    let member = member_gets_in(&committee, &member);
    let memory: Vec<u64> = nodes.iter().map(Node::peak_megabytes).collect();
    let (seconds, connections) = (began.elapsed().as_secs_f64(), hostile.stop());

    let limit = Config::load(&homes[0]).unwrap().memory() >> 20;
    let factor = quantile(&beside, 0.99) / quantile(&alone, 0.99);
    println!("{} strangers and {} hostile keys, {jobs} honest jobs, one after the other", crowd.strangers, crowd.keys);
    println!("{connections} hostile connections in {seconds:.0} s");
    println!("                     median ms    p99 ms");
    println!("alone               {:>10.1}{:>10.1}", quantile(&alone, 0.5), quantile(&alone, 0.99));
    println!("beside the crowd    {:>10.1}{:>10.1}", quantile(&beside, 0.5), quantile(&beside, 0.99));
    println!("p99 times {factor:.2} (at most 2); another node gets in: {member}");
    println!("MB in memory before {memory_before:?}, at most {memory:?}, of {limit} that the limits add up to");
    factor <= 2.0 && member && memory.iter().all(|memory| *memory <= limit)
}

/// A node in a process of its own.
struct Node(Child);

impl Node {
    fn start(home: &Path) -> Self {
        let program = std::env::current_exe().unwrap();
        Self(Command::new(program).arg("node").arg(home).stdin(Stdio::piped()).spawn().unwrap())
    }

    fn resident_megabytes(&self) -> u64 {
        self.status("VmRSS:")
    }

    fn peak_megabytes(&self) -> u64 {
        self.status("VmHWM:")
    }

    fn status(&self, what: &str) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.0.id())).unwrap();
        let line = status.lines().find(|line| line.starts_with(what)).unwrap();
        line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() / 1024
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        drop(self.0.stdin.take());
        let _ = self.0.wait(); // it has nothing left to do
    }
}
