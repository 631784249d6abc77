//! The consumer's and the owner's side: shares models, has packs prepared, runs jobs, asks for status.
//!
//! All calls block; a [`Client`] can be shared among threads (each call takes lanes of its own from a pool). The client
//! makes the shares itself: an input leaves this process only as two uniform halves, each to one node.

mod apart;
mod held;
mod job;
mod offer;
mod paying;
mod rounds;
mod sharing;
mod stop;

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use thiserror::Error;

use crate::channel::{ChannelError, SLOWEST};
use crate::committee::NoProtocol;
pub use crate::committee::{Committee, Member};
pub use crate::engine::{Assignment, GraphId, Rounding, Visibility};
use crate::identity::{Identity, PublicKey};
use crate::lane::{Lane, LaneError};
pub use crate::manifest::{Consumers, ManifestId, OwnerKey, SharingName, SharingRef};
use crate::meter::{ByteCounts, Meter, Traffic};
use crate::pool::LanePool;
pub use crate::status::NodeStatus;
use crate::wire::{CountPacks, FailCode, Kind, PackCount, Prepare, Progress};
pub use crate::wire::{JobId, Task};
pub use apart::{Fetched, Halves, OneHalf, first_half, halves};
pub use held::{Held, Listed};
pub use job::{Inference, Job, JobStats};
pub use offer::{Access, Offer};
use paying::Paying;
pub use rounds::Contribution;
pub use sharing::{Listing, Sharing};
pub use stop::Stop;

/// Why a request failed.
#[derive(Debug, Error)]
pub enum ClientError {
    /// A node could not be reached, failed or refused.
    #[error(transparent)]
    Node(#[from] Box<LaneError>),
    /// The request does not make sense; nothing was sent.
    #[error("{0}")]
    Request(String),
    /// The nodes' answers do not fit together.
    #[error("{0}")]
    Answer(String),
    /// A node did not answer in time, or was given up because the other one failed.
    #[error("{0}")]
    Unanswered(String),
    /// The committee is of a kind that this version does not compute with; nothing was sent.
    #[error(transparent)]
    NoProtocol(#[from] NoProtocol),
    /// What is asked costs money: a node says that nothing that counts pays for it, or the client's purse does not.
    #[error("{0}")]
    Unpaid(String),
    /// Whoever asked has given the request up (see [`Client::until`]).
    #[error("the request was given up")]
    Stopped,
    /// The operating system gives no random bytes.
    #[error("the operating system gives no random bytes: {0}")]
    Random(#[from] getrandom::Error),
}

impl From<LaneError> for ClientError {
    fn from(error: LaneError) -> Self {
        match error {
            LaneError::Channel { source: ChannelError::GivenUp, .. } => Self::Stopped,
            error if error.fail().is_some_and(|fail| fail.code == FailCode::Unpaid) => Self::Unpaid(error.told()),
            error => Self::Node(Box::new(error)),
        }
    }
}

impl ClientError {
    /// The code that a node reported, if one did.
    pub fn code(&self) -> Option<FailCode> {
        match self {
            Self::Node(error) => error.fail().map(|fail| fail.code),
            Self::Unpaid(_) => Some(FailCode::Unpaid),
            _ => None,
        }
    }

    /// Whether no connection could be made at all (the network is not up).
    pub fn is_unreachable(&self) -> bool {
        matches!(self, Self::Node(error) if matches!(**error, LaneError::Connect { .. }))
    }

    /// Whether a node does not let this client's key in.
    pub fn is_not_admitted(&self) -> bool {
        let not_admitted = |e: &LaneError| matches!(e, LaneError::Channel { source: ChannelError::NotAdmitted, .. });
        matches!(self, Self::Node(error) if not_admitted(error))
    }

    /// Whether a node has another committee than this client's committee file.
    pub fn is_other_committee(&self) -> bool {
        let other = |e: &LaneError| e.fail().is_some_and(|fail| fail.text == crate::lane::OTHER_COMMITTEE);
        matches!(self, Self::Node(error) if other(error))
    }

    /// Whether another key answers at a node's address than the committee file has for it.
    pub fn is_wrong_key(&self) -> bool {
        let wrong = |e: &LaneError| matches!(e, LaneError::Channel { source: ChannelError::WrongKey, .. });
        matches!(self, Self::Node(error) if wrong(error))
    }

    /// How much the error tells about what went wrong inside the network.
    fn depth(&self) -> u8 {
        match (self, self.code()) {
            // What the asker can put right.
            (_, Some(FailCode::Unpaid | FailCode::Unpresented | FailCode::UsedUp)) => 4,
            (_, Some(FailCode::Peer)) => 3,
            (_, Some(_)) => 2,
            (Self::Unanswered(_) | Self::Stopped, _) => 0,
            (Self::Node(_), None) => 1,
            _ => 4,
        }
    }
}

/// How long a client waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClientOptions {
    /// For connecting, the handshake and the greeting together, and for a request with a small answer.
    pub connect_timeout: Duration,
    /// For a job to end, besides what the slowest transfer of its input and its answer takes.
    pub job_timeout: Duration,
    /// For one pack to be prepared, or one piece of a model to be taken or given, besides what its slowest transfer takes.
    pub prepare_timeout: Duration,
}

impl Default for ClientOptions {
    fn default() -> Self {
        Self {
            connect_timeout: Duration::from_secs(5),
            job_timeout: Duration::from_secs(120),
            prepare_timeout: Duration::from_secs(120),
        }
    }
}

/// A connection to a committee, with the key of a consumer.
pub struct Client {
    identity: Arc<Identity>,
    committee: Committee,
    options: ClientOptions,
    lanes: Arc<LanePool>,
    meter: Arc<Meter>,
    requests: Arc<AtomicU64>,
    stop: Stop,
    local: bool,
    paying: Arc<Paying>,
}

impl Client {
    /// A client of a committee. Connects when first needed.
    pub fn new(identity: Identity, committee: Committee, options: ClientOptions) -> Self {
        Self::shared(Arc::new(identity), committee, options)
    }

    /// A client with a key that others use, too.
    pub fn shared(identity: Arc<Identity>, committee: Committee, options: ClientOptions) -> Self {
        let (meter, requests, stop, local, paying): (Arc<Meter>, _, _, _, _) = Default::default();
        let lanes = Arc::new(LanePool::new(&committee, meter.clone()));
        Self { identity, committee, options, lanes, meter, requests, stop, local, paying }
    }

    /// Remembers whether the nodes are of this machine's own network, which whoever asks can start: see
    /// [`Client::is_local`].
    pub fn local(self, local: bool) -> Self {
        Self { local, ..self }
    }

    /// Whether the nodes are of this machine's own network: what to do about one that is away depends on it.
    pub fn is_local(&self) -> bool {
        self.local
    }

    /// The same client (its lanes, its counters) whose requests end with [`ClientError::Stopped`] once `stop` is set:
    /// the lanes that they use are closed, by which the nodes learn that nobody waits any more.
    pub fn until(&self, stop: Stop) -> Self {
        Self {
            identity: self.identity.clone(),
            committee: self.committee.clone(),
            options: self.options,
            lanes: self.lanes.clone(),
            meter: self.meter.clone(),
            requests: self.requests.clone(),
            stop,
            local: self.local,
            paying: self.paying.clone(),
        }
    }

    /// What this client's requests look at: see [`Client::until`].
    pub fn stop(&self) -> &Stop {
        &self.stop
    }

    /// This client's public key.
    pub fn key(&self) -> PublicKey {
        self.identity.public()
    }

    /// The committee.
    pub fn committee(&self) -> &Committee {
        &self.committee
    }

    /// Bytes this client has sent so far.
    pub fn sent(&self) -> ByteCounts {
        self.meter.sent()
    }

    /// Bytes this client has received so far.
    pub fn received(&self) -> ByteCounts {
        self.meter.received()
    }

    /// Requests that this client has made so far, to all nodes together.
    pub fn requests(&self) -> u64 {
        self.requests.load(Ordering::Relaxed)
    }

    /// Asks all nodes for their status, in the order of the committee.
    pub fn status(&self) -> Vec<Result<NodeStatus, ClientError>> {
        self.at_all(|index| self.node_status(index))
    }

    /// Asks one node for its status.
    ///
    /// # Errors
    /// When the node is not reached, does not let this key in, or says what makes no sense.
    pub fn node_status(&self, index: u8) -> Result<NodeStatus, ClientError> {
        self.ask(index, "when asked for its status", |lane| {
            lane.send_frame(Kind::Status, &[])?;
            Ok(lane.receive()?)
        })
    }

    /// How many packs for `task` are ready at both its evaluators, as each says; none for a task that this client may not use.
    ///
    /// # Errors
    /// When an evaluator is not reached, does not let this key in, or says what makes no sense.
    pub fn packs_ready(&self, task: &Task) -> Result<u32, ClientError> {
        let [first, second] = task.assignment.evaluators();
        self.shown(&task.manifest, &[first, second], || {
            Ok(self.packs_ready_at(first, task)?.min(self.packs_ready_at(second, task)?))
        })
    }

    fn packs_ready_at(&self, node: u8, task: &Task) -> Result<u32, ClientError> {
        self.ask(node, "when asked how many packs are ready", |lane| {
            lane.send(&CountPacks(*task))?;
            let PackCount(count) = lane.receive()?;
            Ok(count)
        })
    }

    /// Has the helper of `task` make `count` packs; `progress` hears how many are done.
    ///
    /// # Errors
    /// When the helper is not reached or does not let this key in, the task is not of a sharing that this key may
    /// ask, a node has no room for the packs, or not the time; [`ClientError::Stopped`].
    pub fn prepare(&self, task: &Task, count: u32, progress: &mut dyn FnMut(u32)) -> Result<(), ClientError> {
        self.prepare_for(task, count, None, progress)
    }

    /// Has packs made, for a job if one is named.
    fn prepare_for(
        &self,
        task: &Task,
        count: u32,
        job: Option<JobId>,
        progress: &mut dyn FnMut(u32),
    ) -> Result<(), ClientError> {
        let nodes: Vec<u8> = self.committee.indices().collect();
        self.shown(&task.manifest, &nodes, || self.prepare_once(task, count, job, progress))
    }

    fn prepare_once(
        &self,
        task: &Task,
        count: u32,
        job: Option<JobId>,
        progress: &mut dyn FnMut(u32),
    ) -> Result<(), ClientError> {
        self.on_lane(task.assignment.helper(), |lane| {
            lane.begin("while packs were prepared", Traffic::Setup, self.options.prepare_timeout);
            lane.send(&Prepare { task: *task, count, consumer: self.identity.public(), job, asked: None })?;
            let mut last = 0;
            loop {
                // Each pack has the time for one, and is told of once.
                lane.limit(Some(self.options.prepare_timeout));
                let (Kind::Progress, payload) = lane.receive_one_of(&[Kind::Done, Kind::Progress])? else {
                    return Ok(());
                };
                let Progress { done, .. } = lane.decode(&payload)?;
                if done <= last || done > count {
                    let text = format!("{} says that {done} of {count} packs are done, after {last}", lane.who());
                    return Err(ClientError::Answer(text));
                }
                last = done;
                progress(done);
            }
        })
    }

    /// A request with a small answer, which has the time of a connection in all.
    fn ask<T>(
        &self,
        index: u8,
        step: &str,
        mut work: impl FnMut(&mut Lane) -> Result<T, ClientError>,
    ) -> Result<T, ClientError> {
        let time = self.options.connect_timeout;
        self.on_lane(index, |lane| {
            lane.begin(step, Traffic::Setup, time);
            lane.limit(Some(time));
            work(lane)
        })
    }

    /// Runs `work` on an idle or a new lane to a node. One that fails is not kept.
    fn on_lane<T>(
        &self,
        index: u8,
        mut work: impl FnMut(&mut Lane) -> Result<T, ClientError>,
    ) -> Result<T, ClientError> {
        self.stop.check()?;
        self.requests.fetch_add(1, Ordering::Relaxed);
        let mut lane = self.lane(index)?;
        let result = work(&mut lane);
        if result.is_ok() {
            self.put_back(index, lane);
        }
        result
    }

    fn lane(&self, index: u8) -> Result<Lane, ClientError> {
        self.committee.runnable()?;
        if self.committee.member(index).is_none() {
            return Err(ClientError::Request(format!("the committee has no node {}", u32::from(index) + 1)));
        }
        let timeout = self.options.connect_timeout;
        let mut lane = self.lanes.take(&self.identity, &self.committee, index, timeout)?;
        lane.stop_with(Some(self.stop.flag()));
        Ok(lane)
    }

    fn put_back(&self, index: u8, lane: Lane) {
        self.lanes.put_back(index, lane);
    }

    /// Asks all nodes at the same time, so that one that is slow keeps nothing from the others; in the order of the committee.
    fn at_all<T: Send>(&self, ask: impl Fn(u8) -> Result<T, ClientError> + Sync) -> Vec<Result<T, ClientError>> {
        let died = || ClientError::Answer("internal: a thread that asked died".into());
        let ask = &ask;
        std::thread::scope(|scope| {
            let threads: Vec<_> = self.committee.indices().map(|index| scope.spawn(move || ask(index))).collect();
            threads.into_iter().map(|thread| thread.join().unwrap_or_else(|_| Err(died()))).collect()
        })
    }
}

/// How often a waiting request looks whether it is still wanted.
const LOOK: Duration = Duration::from_millis(20);

/// Two requests that belong together: when one has failed, the other is soon given up.
struct Pair {
    failed: AtomicU8,
    deadline: Instant,
    stop: Stop,
}

impl Pair {
    /// One side has lost its node: the other one's may know more.
    const LOST: u8 = 1;
    /// One side was told why.
    const TOLD: u8 = 2;
    /// How long the better informed side gets to report after the other has lost its node.
    const GRACE: Duration = Duration::from_secs(2);

    fn new(timeout: Duration, stop: Stop) -> Self {
        Self { failed: AtomicU8::new(0), deadline: Instant::now() + timeout, stop }
    }

    /// Waits for an answer on `lane`; gives up early when the other request has failed.
    fn wait(&self, lane: &mut Lane) -> Result<(), ClientError> {
        let mut deadline = self.deadline;
        let mut shortened = false;
        while !lane.readable(LOOK)? {
            self.stop.check()?;
            let failed = self.failed.load(Ordering::Relaxed);
            if failed == Self::LOST && !shortened {
                shortened = true;
                deadline = deadline.min(Instant::now() + Self::GRACE);
            }
            if failed == Self::TOLD || Instant::now() >= deadline {
                let text = format!("{} did not answer in time while it ran the job", lane.who());
                return Err(ClientError::Unanswered(text));
            }
        }
        Ok(())
    }

    fn note<T>(&self, result: Result<T, ClientError>) -> Result<T, ClientError> {
        if let Err(error) = &result {
            let weight = if error.code().is_some() { Self::TOLD } else { Self::LOST };
            self.failed.fetch_max(weight, Ordering::Relaxed);
        }
        result
    }
}
