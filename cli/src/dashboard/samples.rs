//! What a dashboard shows: the nodes' own figures and the chain's, asked for at a steady pace and kept for a while.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use sahara_chain::comet::Client as ChainClient;
use sahara_mpc::client::{Client, ClientError, NodeStatus};
use serde::Serialize;
use serde_json::json;

/// How often the nodes are asked.
const PACE: Duration = Duration::from_secs(2);
/// Samples that are kept: ten minutes.
const KEPT: usize = 300;
/// How long the chain has to answer.
const CHAIN_PATIENCE: Duration = Duration::from_secs(1);

/// All that was asked at one moment.
#[derive(Clone, Debug, Serialize)]
pub struct Sample {
    /// Seconds since 1970 as this process counts them: setting the machine's clock does not change the order.
    pub time: f64,
    nodes: Vec<Node>,
    chain: Option<Chain>,
}

/// What a node says of itself, or why it says nothing.
#[derive(Clone, Debug, Serialize)]
#[serde(untagged)]
enum Node {
    Up(Figures),
    Down { error: String },
}

#[derive(Clone, Debug, Serialize)]
struct Figures {
    ready: bool,
    uptime_seconds: u64,
    cpu_seconds: f64,
    jobs_done: u64,
    jobs_failed: u64,
    jobs_running: u32,
    packs_dealt: u64,
    packs_ready: u64,
    bytes_sent: u64,
    bytes_received: u64,
}

#[derive(Clone, Debug, Serialize)]
struct Chain {
    height: u64,
    peers: u64,
}

/// A network that is watched.
pub struct Watched {
    /// What the page is headed with.
    pub title: String,
    /// Asks the nodes.
    pub client: Client,
    /// The chain's JSON-RPC, if there is one.
    pub chain: Option<SocketAddr>,
}

/// The latest samples, and the thread that takes them as long as this lives.
pub struct Samples {
    shared: Arc<Shared>,
}

struct Shared {
    /// When the first sample was begun, and what the clock said.
    begun: (Instant, f64),
    kept: Mutex<VecDeque<Sample>>,
    ended: Mutex<bool>,
    woken: Condvar,
}

impl Samples {
    /// Takes a sample now and then, until this is dropped.
    pub fn of(watched: Watched) -> Self {
        let clock = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |since| since.as_secs_f64());
        let begun = (Instant::now(), clock);
        let shared =
            Arc::new(Shared { begun, kept: Mutex::default(), ended: Mutex::default(), woken: Condvar::default() });
        let theirs = shared.clone();
        std::thread::spawn(move || theirs.take(&watched));
        Self { shared }
    }

    /// The present moment, as samples count time.
    pub fn now(&self) -> f64 {
        self.shared.now()
    }

    /// Those later than `time`, the oldest first.
    pub fn since(&self, time: f64) -> Vec<Sample> {
        self.shared.kept().iter().filter(|sample| sample.time > time).cloned().collect()
    }
}

impl Drop for Samples {
    fn drop(&mut self) {
        *self.shared.ended.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.shared.woken.notify_all();
    }
}

impl Shared {
    fn kept(&self) -> std::sync::MutexGuard<'_, VecDeque<Sample>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// In whole milliseconds: so few digits are the same number to every reader of JSON.
    fn now(&self) -> f64 {
        ((self.begun.1 + self.begun.0.elapsed().as_secs_f64()) * 1e3).round() / 1e3
    }

    fn take(&self, watched: &Watched) {
        // Without a runtime the chain is not shown; the nodes are.
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().ok();
        let chain = watched.chain.map(ChainClient::new);
        loop {
            let nodes = watched.client.status().into_iter().map(Node::of).collect();
            let chain = runtime.as_ref().zip(chain.as_ref()).and_then(|(runtime, chain)| {
                runtime.block_on(async { tokio::time::timeout(CHAIN_PATIENCE, Chain::ask(chain)).await.ok()? })
            });
            let time = self.now();
            let mut kept = self.kept();
            kept.push_back(Sample { time, nodes, chain });
            while kept.len() > KEPT {
                kept.pop_front();
            }
            drop(kept);
            let ended = self.ended.lock().unwrap_or_else(PoisonError::into_inner);
            let (ended, _) =
                self.woken.wait_timeout_while(ended, PACE, |ended| !*ended).unwrap_or_else(PoisonError::into_inner);
            if *ended {
                return;
            }
        }
    }
}

impl Node {
    fn of(answer: Result<NodeStatus, ClientError>) -> Self {
        match answer {
            Ok(status) => Self::Up(Figures {
                ready: status.ready,
                uptime_seconds: status.uptime_seconds,
                cpu_seconds: status.cpu_seconds(),
                jobs_done: status.jobs_done,
                jobs_failed: status.jobs_failed,
                jobs_running: status.jobs_running,
                packs_dealt: status.packs_dealt,
                packs_ready: status.packs.iter().map(|(_, count)| u64::from(*count)).sum(),
                bytes_sent: status.sent.total(),
                bytes_received: status.received.total(),
            }),
            Err(error) => Self::Down { error: error.to_string() },
        }
    }
}

impl Chain {
    async fn ask(client: &ChainClient) -> Option<Self> {
        let height = client.quantity("eth_blockNumber", json!([])).await?;
        let peers = client.quantity("net_peerCount", json!([])).await.unwrap_or(0);
        Some(Self { height, peers })
    }
}
