//! A committee of three nodes inside the test process, on loopback.
#![allow(dead_code)] // each test file uses its own part

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use sahara_circuits::graph::Graph;
use sahara_circuits::reference::{ExecOptions, execute};
use sahara_circuits::testgraph;
use sahara_circuits::weights::Weights;
use sahara_mpc::client::{
    Assignment, Client, ClientError, ClientOptions, Committee, Inference, Job, Member, NodeStatus, Registration,
    Rounding, Task, Visibility,
};
use sahara_mpc::config::Config;
use sahara_mpc::identity;
use tempfile::TempDir;
use tokio::sync::oneshot;

pub struct Network {
    pub dir: TempDir,
    pub committee: Committee,
    pub nodes: [Option<Running>; 3],
}

pub struct Running {
    stop: oneshot::Sender<()>,
    thread: JoinHandle<()>,
}

/// Three free ports on loopback.
pub fn ports() -> [u16; 3] {
    let listeners = [(); 3].map(|()| std::net::TcpListener::bind("127.0.0.1:0").unwrap());
    listeners.map(|l| l.local_addr().unwrap().port())
}

impl Network {
    /// Three running nodes; `edit` may change each `node.toml` before the start.
    pub fn start(edit: impl Fn(String) -> String) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let ports = ports();
        let members = [0, 1, 2].map(|i| {
            let home = dir.path().join(format!("node{i}"));
            let address = format!("127.0.0.1:{}", ports[i]);
            let config = Config::init(&home, address.parse().unwrap(), None).unwrap();
            let file = home.join("node.toml");
            let text = edit(std::fs::read_to_string(&file).unwrap());
            std::fs::write(&file, text).unwrap();
            let key = config.load_identity().unwrap().public();
            Member { name: format!("node {}", i + 1), address, key }
        });
        let committee = Committee::new(members).unwrap();
        let mut network = Self { dir, committee, nodes: [None, None, None] };
        for i in 0..3 {
            network.committee.save(&network.home(i).join("committee.toml")).unwrap();
            network.start_node(i);
        }
        network
    }

    pub fn home(&self, index: usize) -> PathBuf {
        self.dir.path().join(format!("node{index}"))
    }

    pub fn start_node(&mut self, index: usize) {
        let client = self.client();
        self.start_node_for(index, &client);
    }

    /// Starts a node and waits until it answers this client.
    pub fn start_node_for(&mut self, index: usize, client: &Client) {
        let config = Config::load(&self.home(index)).unwrap();
        let (stop, stopped) = oneshot::channel();
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(sahara_mpc::node::run(config, async { stopped.await.unwrap_or(()) })).unwrap();
        });
        self.nodes[index] = Some(Running { stop, thread });
        let end = Instant::now() + Duration::from_secs(10);
        while client.node_status(index as u8).is_err() {
            assert!(Instant::now() < end, "node {index} does not come up");
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Stops a node and waits until it has stopped.
    pub fn stop_node(&mut self, index: usize) {
        let Running { stop, thread } = self.nodes[index].take().unwrap();
        stop.send(()).unwrap();
        thread.join().unwrap();
    }

    pub fn client(&self) -> Client {
        Client::new(identity::generate().unwrap(), self.committee.clone(), ClientOptions::default())
    }

    pub fn status(&self, client: &Client) -> [NodeStatus; 3] {
        client.status().map(Result::unwrap)
    }
}

impl Drop for Network {
    /// The nodes stop before their directories go.
    fn drop(&mut self) {
        for node in &mut self.nodes {
            if let Some(Running { stop, thread }) = node.take() {
                let _ = stop.send(());
                let _ = thread.join();
            }
        }
    }
}

/// A small random graph with weights, inputs, and the reference's answer.
pub struct Case {
    pub graph: Arc<Graph>,
    pub weights: Weights,
    pub inputs: Vec<Vec<i32>>,
    pub expected: Vec<Vec<i32>>,
}

pub fn case(seed: u64) -> Case {
    let (mut graph, weights, inputs) = testgraph::random(seed);
    graph.weights_root = weights.root(&graph.weights);
    let expected = execute(&graph, &weights, &inputs, &ExecOptions::default()).unwrap().outputs;
    Case { graph: Arc::new(graph), weights, inputs, expected }
}

impl Case {
    pub fn task(&self, helper: u8, rounding: Rounding, visibility: Visibility) -> Task {
        Task { graph: self.graph.id(), assignment: Assignment::new(helper).unwrap(), rounding, visibility }
    }

    pub fn register(&self, client: &Client, visibility: Visibility) {
        self.register_for(client, visibility, &Assignment::ALL);
    }

    pub fn register_for(&self, client: &Client, visibility: Visibility, assignments: &[Assignment]) -> Registration {
        client
            .register_model(std::slice::from_ref(&self.graph), &self.weights, visibility, assignments, &mut |_| ())
            .unwrap()
    }

    pub fn run(&self, client: &Client, task: Task, auto_prepare: bool) -> Result<Inference, ClientError> {
        client.infer(&Job { graph: &self.graph, task, inputs: &self.inputs, auto_prepare })
    }
}

/// All files below a directory.
pub fn files(dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { found.extend(files(&path)) } else { found.push(path) }
    }
    found
}
