//! A committee of three nodes inside the test process, on loopback.
#![allow(dead_code)] // each test file uses its own part

pub mod market;
pub mod rogue;
pub mod upload;

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use sahara_circuits::graph::{
    BoundOrigin, Graph, InputRange, InputSpec, Node, NodeId, Op, RescaleUse, Shape, WeightId, WeightSpec,
};
use sahara_circuits::reference::{ExecOptions, execute};
use sahara_circuits::testgraph;
use sahara_circuits::weights::Weights;
use sahara_mpc::client::{
    Assignment, Client, ClientError, ClientOptions, Committee, Consumers, Inference, Job, Member, NodeStatus, Offer,
    Rounding, Sharing, Task, Visibility,
};
use sahara_mpc::config::{Config, Parties};
use sahara_mpc::identity::{self, Identity};
use sahara_mpc::market::Market;
use sahara_mpc::tls::Admission;
use tempfile::TempDir;
use tokio::sync::oneshot;

pub struct Network {
    pub dir: TempDir,
    pub committee: Committee,
    pub nodes: [Option<Running>; 3],
    /// What each node asks for money.
    pub markets: [Option<Arc<dyn Market>>; 3],
}

pub struct Running {
    stop: oneshot::Sender<()>,
    thread: JoinHandle<()>,
}

impl Running {
    /// Runs the node whose home this is.
    pub fn start(home: &Path) -> Self {
        Self::start_with(home, None)
    }

    /// The same with a market.
    pub fn start_with(home: &Path, market: Option<Arc<dyn Market>>) -> Self {
        let config = Config::load(home).unwrap();
        let (stop, stopped) = oneshot::channel();
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            let shutdown = async { stopped.await.unwrap_or(()) };
            runtime.block_on(sahara_mpc::node::run_with(config, market, shutdown)).unwrap();
        });
        Self { stop, thread }
    }

    /// Stops it and waits until it has stopped.
    pub fn stop(self) {
        self.stop.send(()).unwrap();
        self.thread.join().unwrap();
    }
}

/// Waits until a node answers this client.
pub fn wait_for(client: &Client, index: u8) {
    let end = Instant::now() + Duration::from_secs(10);
    while client.node_status(index).is_err() {
        assert!(Instant::now() < end, "node {index} does not come up");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// So many free ports on loopback, each given once in this process. They are below those that the system gives to connections
/// (from 32768 on), so that none of these takes one before its node does.
pub fn ports<const N: usize>() -> [u16; N] {
    static GIVEN: AtomicU32 = AtomicU32::new(0);
    let next =
        || 10_000 + (std::process::id().wrapping_mul(131).wrapping_add(GIVEN.fetch_add(1, Ordering::Relaxed))) % 22_000;
    let is_free = |port: &u16| {
        std::net::TcpListener::bind(("127.0.0.1", *port)).is_ok()
            && std::net::UdpSocket::bind(("127.0.0.1", *port)).is_ok()
    };
    [(); N].map(|()| std::iter::repeat_with(|| next() as u16).find(is_free).unwrap())
}

impl Network {
    /// Three running nodes, which anybody may share models with and ask; `edit` may change each `node.toml` before the
    /// start.
    pub fn start(edit: impl Fn(String) -> String) -> Self {
        Self::start_as(&Arc::new(identity::generate().unwrap()), edit)
    }

    /// As [`Network::start`], for nodes that serve `identity` but perhaps not everybody.
    pub fn start_as(identity: &Arc<Identity>, edit: impl Fn(String) -> String) -> Self {
        Self::start_selling(identity, edit, |_| [None, None, None])
    }

    /// As [`Network::start_as`], for nodes that ask these markets of their committee.
    pub fn start_selling(
        identity: &Arc<Identity>,
        edit: impl Fn(String) -> String,
        markets: impl FnOnce(&Committee) -> [Option<Arc<dyn Market>>; 3],
    ) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let ports = ports::<3>();
        let members = [0, 1, 2].map(|i| {
            let home = dir.path().join(format!("node{i}"));
            let address = format!("127.0.0.1:{}", ports[i]);
            let config = Config::init(&home, address.parse().unwrap(), None, &anybody()).unwrap();
            let file = home.join("node.toml");
            let text = edit(std::fs::read_to_string(&file).unwrap());
            // A node that listens over QUIC is reached over it.
            let address = if text.contains("\nlisten_quic =") { format!("quic://{address}") } else { address };
            std::fs::write(&file, text).unwrap();
            let key = config.load_identity().unwrap().public();
            Member { name: format!("node {}", i + 1), address, key }
        });
        let committee = Committee::new(members).unwrap();
        let markets = markets(&committee);
        let mut network = Self { dir, committee, nodes: [None, None, None], markets };
        for i in 0..3 {
            network.committee.save(&network.home(i).join("committee.toml")).unwrap();
            network.start_node_for(i, &network.client_of(identity));
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
        self.nodes[index] = Some(Running::start_with(&self.home(index), self.markets[index].clone()));
        wait_for(client, index as u8);
    }

    /// Stops a node and waits until it has stopped.
    pub fn stop_node(&mut self, index: usize) {
        self.nodes[index].take().unwrap().stop();
    }

    pub fn client(&self) -> Client {
        self.client_of(&Arc::new(identity::generate().unwrap()))
    }

    pub fn client_of(&self, identity: &Arc<Identity>) -> Client {
        Client::shared(identity.clone(), self.committee.clone(), ClientOptions::default())
    }

    pub fn status(&self, client: &Client) -> [NodeStatus; 3] {
        client.status().into_iter().map(Result::unwrap).collect::<Vec<_>>().try_into().unwrap()
    }
}

/// Any key may share and ask.
pub fn anybody() -> Parties {
    Parties { owners: Admission::Any, consumers: Admission::Any }
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
    /// What it was last shared as: with private weights, with open ones.
    pub shared: [Mutex<Option<Sharing>>; 2],
}

pub fn case(seed: u64) -> Case {
    let (mut graph, weights, inputs) = testgraph::random(seed);
    graph.weights_root = weights.root(&graph.weights);
    let expected = execute(&graph, &weights, &inputs, &ExecOptions::default()).unwrap().outputs;
    Case { graph: Arc::new(graph), weights, inputs, expected, shared: Default::default() }
}

/// A graph of so many rounds that both sides sign in between: one rescale after the other.
pub fn deep_case() -> Case {
    let shape = Shape::new(1, 2, 5);
    let node = |op| Node { name: "deep".into(), op, shape, bits: 32, bound: 1 << 28, origin: BoundOrigin::Proven };
    let mut nodes = vec![node(Op::Input(0)), node(Op::AddWeight { x: NodeId(0), w: WeightId(0) })];
    for x in 1..14 {
        nodes.push(node(Op::Rescale { x: NodeId(x), shift: 1, usage: RescaleUse::Value }));
    }
    let weights = Weights { tensors: vec![vec![9, -8, 7, -6, 5]] };
    let input = InputSpec {
        name: "x".into(),
        shape,
        bits: 32,
        range: InputRange::Symmetric,
        max_abs: 1 << 26,
        max_row_norm: u32::MAX,
    };
    let mut graph = Graph {
        model: "deep".into(),
        seq_len: 2,
        layers: 1,
        weights_root: [0; 32],
        inputs: vec![input],
        weights: vec![WeightSpec { name: "w".into(), rows: 1, cols: 5 }],
        tables: vec![],
        outputs: vec![NodeId(nodes.len() as u32 - 1)],
        nodes,
    };
    graph.weights_root = weights.root(&graph.weights);
    let inputs = vec![(0..10).map(|i| (i - 4) * 6_000_000).collect()];
    let expected = execute(&graph, &weights, &inputs, &ExecOptions::default()).unwrap().outputs;
    Case { graph: Arc::new(graph), weights, inputs, expected, shared: Default::default() }
}

/// A product of `m` rows of `k` numbers with a matrix of weights of `n` columns.
pub fn product([m, k, n]: [u32; 3]) -> Case {
    let node = |op, cols| {
        let shape = Shape::new(1, m, cols);
        Node { name: "n".into(), op, shape, bits: 32, bound: 1 << 20, origin: BoundOrigin::Calibrated }
    };
    let shape = Shape::new(1, m, k);
    let input = InputSpec {
        name: "x".into(),
        shape,
        bits: 32,
        range: InputRange::Symmetric,
        max_abs: 16,
        max_row_norm: u32::MAX,
    };
    let weights = Weights { tensors: vec![(0..k * n).map(|i| (i % 7) as i32 - 3).collect()] };
    let mut graph = Graph {
        model: "product".into(),
        seq_len: 1,
        layers: 1,
        weights_root: [0; 32],
        inputs: vec![input],
        weights: vec![WeightSpec { name: "w".into(), rows: k, cols: n }],
        tables: vec![],
        nodes: vec![node(Op::Input(0), k), node(Op::MatMulWeight { x: NodeId(0), w: WeightId(0) }, n)],
        outputs: vec![NodeId(1)],
    };
    graph.weights_root = weights.root(&graph.weights);
    let inputs = vec![(0..m * k).map(|i| (i % 5) as i32 - 2).collect()];
    let expected = execute(&graph, &weights, &inputs, &ExecOptions::default()).unwrap().outputs;
    Case { graph: Arc::new(graph), weights, inputs, expected, shared: Default::default() }
}

impl Case {
    /// A task on what [`Case::register`] has shared.
    pub fn task(&self, helper: u8, rounding: Rounding, visibility: Visibility) -> Task {
        let sharing = self.shared[visibility as usize].lock().unwrap();
        let sharing = sharing.as_ref().expect("the case was registered");
        sharing.task(&self.graph, Assignment::new(helper).unwrap(), rounding).unwrap()
    }

    /// Shares the model for everyone.
    pub fn register(&self, client: &Client, visibility: Visibility) {
        self.register_for(client, visibility, &Assignment::ALL);
    }

    pub fn register_for(&self, client: &Client, visibility: Visibility, assignments: &[Assignment]) -> Sharing {
        let offer = Offer { assignments, ..self.offer(visibility) };
        let sharing = client.share(&offer, &|_, _| ()).unwrap();
        *self.shared[visibility as usize].lock().unwrap() = Some(sharing.clone());
        sharing
    }

    /// An offer to everyone.
    pub fn offer(&self, visibility: Visibility) -> Offer<'_> {
        Offer {
            name: format!("case-{visibility:?}").parse().unwrap(),
            graphs: std::slice::from_ref(&self.graph),
            weights: &self.weights,
            visibility,
            assignments: &Assignment::ALL,
            access: Consumers::Everyone.into(),
            client_part: None,
            noise: None,
        }
    }

    pub fn run(&self, client: &Client, task: Task, auto_prepare: bool) -> Result<Inference, ClientError> {
        client.infer(&Job { graph: &self.graph, task, inputs: &self.inputs, auto_prepare })
    }
}

/// Copies what is in a folder, with all below it.
pub fn copy_folder(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        let name = to.join(path.file_name().unwrap());
        if path.is_dir() { copy_folder(&path, &name) } else { assert!(std::fs::copy(&path, &name).is_ok()) }
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
