//! The engine that computes on three share nodes: this machine encodes the text, shares the integers between two
//! nodes, and adds the shares of the answer. A node sees uniform numbers and the padded length.
//!
//! Texts are worked on in windows: packs for a window are made ahead, then its jobs run side by side. The node that
//! helps changes from job to job, so that all three carry the same load.

mod error;
mod figures;
mod ordered;
mod owner;
mod shared;

use std::collections::BTreeMap;
use std::hash::{BuildHasher, RandomState};
use std::mem;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use sahara_circuits::frontend::Encoded;
use sahara_circuits::graph::Graph;
use sahara_mpc::client::{Assignment, Client, GraphId, Inference, Job, Task};
pub use sahara_mpc::client::{
    ClientError, Committee, Consumers, NodeStatus, OwnerKey, Rounding, Sharing, SharingName, SharingRef, Visibility,
};
pub use sahara_mpc::identity::PublicKey;
use sahara_mpc::manifest::{AnswerCost, NoiseTerms};
pub use sahara_mpc::market::{Asset, Purse};
use sahara_mpc::wire::FailCode;
pub use sahara_mpc::wire::SharingEntry;

pub use error::NetworkError;
use error::consumers_error;
pub(crate) use error::{find_error, not_for_us};
pub use figures::Figures;
pub use owner::{Listing, NoiseOptions, OwnSharing, Owner, ShareOptions, sharings};

use crate::embedding::{
    Embedding, ModelEngine, Privacy, Query, Sink, Stop, check_queries, cores, decode, encode, graph, wanted,
};
use crate::error::{Error, Result};
use crate::home::Home;
use crate::keys::{self, Role};
use crate::models::Model;
use crate::progress::Progress;
use ordered::in_order;
use shared::Shared;
pub(crate) use shared::{Graphs, graphs};

/// Most padded tokens in a window; bounds the packs that lie on the nodes' disks.
const WINDOW_TOKENS: usize = 1024;
/// Pause before a busy node is asked again, and how long that goes on.
const BUSY_PAUSE: Duration = Duration::from_millis(20);
const BUSY_PATIENCE: Duration = Duration::from_secs(120);
/// So many texts alone have a pack made for each, once there was none ready, until one asks for a ready one again.
const LOOK_AGAIN: u32 = 16;
/// Packs of a kind that a request has made before its first job.
const PACKS_AHEAD: u32 = 4;

/// How the network computes.
#[derive(Clone, Debug)]
pub struct NetworkOptions {
    /// Exactly, as in the clear, or faithfully: a value may differ by one in its last place, for less work.
    pub rounding: Rounding,
    /// Whether the nodes may know the weights: private if nothing is said, for somebody else's model as its owner has
    /// chosen.
    pub visibility: Option<Visibility>,
    /// Texts on the network at once; at first three for each core of this machine, at most 12. Those that are paid for run one after
    /// the other.
    pub jobs: usize,
    /// What pays for models that are asked for money; without it they are not asked.
    pub purse: Option<Arc<dyn Purse>>,
}

impl Default for NetworkOptions {
    fn default() -> Self {
        Self { rounding: Rounding::Exact, visibility: None, jobs: (3 * cores()).min(12), purse: None }
    }
}

/// A model on three share nodes.
pub struct NetworkEngine {
    model: Arc<Model>,
    options: NetworkOptions,
    client: Client,
    progress: Progress,
    /// The helper of the next text.
    turn: AtomicUsize,
    /// Graphs by padded length.
    lengths: Mutex<BTreeMap<u32, Length>>,
    shared: Shared,
    /// Texts alone since one of them found a pack that was made ahead.
    without_pack: AtomicU32,
}

/// A padded length in use.
#[derive(Clone)]
struct Length {
    graph: Arc<Graph>,
    id: GraphId,
}

/// One text's answer.
struct Inferred {
    integers: Vec<Vec<i32>>,
    rounds: u32,
    receipt: Option<Vec<u8>>,
}

/// Texts that are encoded and wait to be computed.
pub struct Window {
    first: usize,
    items: Vec<Item>,
}

/// One text.
struct Item {
    encoded: Encoded,
    assignment: Assignment,
    /// The most ε that its answer may cost.
    most: Option<f64>,
}

impl Window {
    /// Number of texts.
    pub fn len(&self) -> usize {
        self.items.len()
    }

    /// Whether there is nothing to do.
    pub fn is_empty(&self) -> bool {
        self.items.is_empty()
    }
}

/// Where the devnet leaves its committee file.
pub fn devnet_committee(home: &Home) -> PathBuf {
    home.devnet().join("committee.toml")
}

/// The committee of a file, or of the local network.
///
/// # Errors
/// When there is none, or its file cannot be read.
pub fn committee(home: &Home, file: Option<&Path>) -> Result<Committee> {
    let local = devnet_committee(home);
    if file.is_none() && !local.exists() {
        return Err(NetworkError::NoCommittee { local }.into());
    }
    Committee::load(file.unwrap_or(&local)).map_err(|e| NetworkError::Committee(e).into())
}

impl NetworkEngine {
    /// Connects to the committee of a file, or to the local network.
    ///
    /// # Errors
    /// When there is no such committee, a key cannot be read, or a node is not reached or not ready.
    pub fn connect(
        home: &Home,
        committee: Option<&Path>,
        model: Arc<Model>,
        options: NetworkOptions,
        progress: &Progress,
    ) -> Result<Self> {
        let committee = self::committee(home, committee)?;
        progress.step("connecting to the share nodes");
        let client = keys::client(home, Role::Consumer, committee.clone())?.with_purse(options.purse.clone());
        let shared = match &model.shared {
            Some(shared) => Shared::of_another(shared, options.visibility)?,
            None => {
                let visibility = options.visibility.unwrap_or(Visibility::Private);
                Shared::own(home, committee, &model, visibility)?
            }
        };
        let engine = Self {
            model,
            options,
            client,
            progress: progress.clone(),
            turn: AtomicUsize::new(first_turn()),
            lengths: Mutex::default(),
            shared,
            without_pack: AtomicU32::new(0),
        };
        // What every question needs to know tells that the nodes are there, too.
        engine.shared.look(&engine.client, &engine.model)?;
        Ok(engine)
    }

    /// Encoder layers of the model.
    ///
    /// # Errors
    /// When the model has no graph.
    pub fn layers(&self) -> Result<u32> {
        let shortest = self.model.compiled.buckets().into_iter().min();
        shortest.map_or(Ok(0), |bucket| Ok(self.length(bucket)?.graph.layers))
    }

    fn length(&self, bucket: u32) -> Result<Length> {
        let mut lengths = self.lengths.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(length) = lengths.get(&bucket) {
            return Ok(length.clone());
        }
        let graph = graph(&self.model, bucket)?;
        let length = Length { id: graph.id(), graph };
        lengths.insert(bucket, length.clone());
        Ok(length)
    }

    /// Padded lengths of the texts, and how many of each.
    ///
    /// # Errors
    /// When the model cannot read a text.
    pub fn buckets_of(&self, texts: &[String]) -> Result<Vec<(u32, usize)>> {
        let mut counts = BTreeMap::new();
        for (index, text) in texts.iter().enumerate() {
            *counts.entry(encode(&self.model, index, &text.into())?.bucket).or_insert(0) += 1;
        }
        Ok(counts.into_iter().collect())
    }

    /// Under which name the nodes hold the model: `OWNER/NAME`, or a manifest's id.
    pub fn sharing(&self) -> String {
        self.shared.which().to_string()
    }

    /// Hands the model to the nodes unless they have it; whether it had to be handed over.
    ///
    /// # Errors
    /// When the nodes cannot be reached or refuse it.
    pub fn register(&self) -> Result<bool> {
        self.sharing_for(&self.client).map(|(_, handed_over)| handed_over)
    }

    /// The sharing that is asked, and whether the model had to be handed over for it: whoever asked hears of that.
    fn sharing_for(&self, client: &Client) -> Result<(Sharing, bool)> {
        let (sharing, handed_over) = self.shared.get(client, &self.model, &self.progress)?;
        if handed_over {
            self.progress.note(&self.handed_over());
        }
        Ok((sharing, handed_over))
    }

    /// What is to be known after the model was handed over: as what the nodes hold it now.
    pub fn handed_over(&self) -> String {
        format!("the nodes hold {} now, for your own key, as {}", self.model.info.name, self.shared.which())
    }

    /// Encodes the texts from `start` on, as many as fit a window.
    ///
    /// # Errors
    /// When the model cannot read a text.
    pub fn window(&self, queries: &[Query], start: usize) -> Result<Window> {
        let mut window = Window { first: start, items: Vec::new() };
        let mut tokens = 0;
        for (index, query) in queries.iter().enumerate().skip(start) {
            let encoded = encode(&self.model, index, query)?;
            tokens += encoded.bucket as usize;
            if tokens > WINDOW_TOKENS && window.len() >= self.options.jobs {
                break;
            }
            window.items.push(Item { encoded, assignment: self.next_assignment(), most: query.most_epsilon });
        }
        Ok(window)
    }

    /// Makes sure that the privacy budget suffices for so many answers before one is spent.
    fn suffices(&self, texts: usize) -> Result<()> {
        match self.cost()? {
            Some(Privacy { answers, spent, budget, delta, .. }) if answers < Privacy::COUNTED.min(texts as u64) => {
                Err(NetworkError::TooFew { texts, answers, spent, budget, delta }.into())
            }
            _ => Ok(()),
        }
    }

    fn next_assignment(&self) -> Assignment {
        Assignment::ALL[self.turn.fetch_add(1, Ordering::Relaxed) % Assignment::ALL.len()]
    }

    /// The task of one text, on the version of the sharing that is current.
    /// Where answers leave with noise there is one assignment, and what the answer may cost is looked at for this very version.
    fn task(&self, client: &Client, bucket: u32, assignment: Assignment, most: Option<f64>) -> Result<Task> {
        let (sharing, _) = self.sharing_for(client)?;
        let length = self.length(bucket)?;
        let noise = sharing.manifest().noise.as_ref();
        if let Some(most) = most {
            let terms = noise.ok_or(NetworkError::NoNoise)?;
            let (cost, delta) = (alone(terms, cost_in(terms, &length.graph))?, terms.budget.delta());
            if cost.is_nan() || cost > most {
                return Err(NetworkError::CostsMore { cost, most, delta }.into());
            }
        }
        let assignment = noise.map_or(assignment, |terms| terms.assignment);
        let task = sharing.task_of(length.id, &length.graph, assignment, self.options.rounding);
        task.map_err(|e| consumers_error(client, "choosing what to compute", e))
    }

    /// Has the nodes make the packs that a window uses up, as far as they are missing.
    ///
    /// # Errors
    /// When the nodes cannot be reached or make none.
    pub fn prepare(&self, window: &Window) -> Result<()> {
        self.prepare_by(&self.client, window, u32::MAX, |_| false)
    }

    /// Has at most `most` packs of a kind made; an error that `tolerates` says is none.
    fn prepare_by(&self, client: &Client, window: &Window, most: u32, tolerates: fn(FailCode) -> bool) -> Result<()> {
        let mut wanted = BTreeMap::new();
        for Item { encoded, assignment, .. } in &window.items {
            *wanted.entry((encoded.bucket, *assignment)).or_insert(0) += 1;
        }
        let wanted: Vec<((u32, Assignment), u32)> = wanted.into_iter().collect();
        let make = |index: usize| {
            let ((bucket, assignment), count) = wanted[index];
            self.ask("preparing masks on the nodes", || {
                let task = self.task(client, bucket, assignment, None)?;
                let missing = count.min(most).saturating_sub(client.packs_ready(&task)?);
                if missing == 0 {
                    return Ok(());
                }
                match client.prepare(&task, missing, &mut |_| ()) {
                    Err(error) if error.code().is_some_and(tolerates) => Ok(()),
                    result => Ok(result?),
                }
            })
        };
        in_order(wanted.len(), Assignment::ALL.len(), make, |()| Ok(()))
    }

    /// Makes a request that needs the model: waits while nodes say that they have too much to do, and looks for the
    /// model again if they lost it since (another version came, or their disks were cleared).
    fn ask<T>(&self, doing: &str, mut request: impl FnMut() -> Result<T, Failed>) -> Result<T> {
        let until = Instant::now() + BUSY_PATIENCE;
        let mut again = true;
        loop {
            match request() {
                Err(Failed::Client(e)) if e.code() == Some(FailCode::Busy) && Instant::now() < until => {
                    thread::sleep(BUSY_PAUSE);
                }
                Err(Failed::Client(e)) if e.code() == Some(FailCode::NoModel) && again => {
                    again = false;
                    self.shared.forget();
                }
                Ok(value) => return Ok(value),
                Err(Failed::Client(error)) => return Err(consumers_error(&self.client, doing, error)),
                Err(Failed::Other(error)) => return Err(error),
            }
        }
    }

    /// Runs the jobs of a window; the most rounds that one of them took.
    ///
    /// # Errors
    /// When a job fails; the sink's error, if it gives one.
    pub fn run(&self, window: Window, sink: Sink<'_>) -> Result<u32> {
        self.run_by(&self.client, window, sink)
    }

    fn run_by(&self, client: &Client, window: Window, sink: Sink<'_>) -> Result<u32> {
        let most = AtomicU32::new(0);
        let job = |offset: usize| {
            let index = window.first + offset;
            let item = &window.items[offset];
            let Inferred { integers, rounds, receipt } = self.infer(client, item, (index, window.len() == 1))?;
            most.fetch_max(rounds, Ordering::Relaxed);
            Ok(Embedding { receipt, ..decode(&self.model, index, &item.encoded, integers) })
        };
        // One after the other where they are counted: one that came before an earlier one is refused would be spent and lost.
        let counted = self.sharing_for(client)?.0.manifest().noise.is_some();
        in_order(window.len(), if counted { 1 } else { self.options.jobs }, job, sink)?;
        Ok(most.into_inner())
    }

    fn infer(
        &self,
        client: &Client,
        Item { encoded, assignment, most }: &Item,
        (index, alone): (usize, bool),
    ) -> Result<Inferred> {
        let length = self.length(encoded.bucket)?;
        let doing = format!("answering for text {index} on the network");
        let mut inputs = encoded.inputs.clone();
        // Empty where the nodes supply noise.
        inputs.resize(length.graph.inputs.len().max(inputs.len()), Vec::new());
        // Where none was ready before, none is expected; now and then that is looked at again.
        let before = if alone { self.without_pack.load(Ordering::Relaxed) } else { 0 };
        // Only at the first try: a pack that was made before the nodes were too busy waits for the next one.
        let mut make_first = before % LOOK_AGAIN != 0;
        let Inference { outputs, stats, receipt, .. } = self.ask(&doing, || {
            let task = self.task(client, encoded.bucket, *assignment, *most)?;
            let job = Job { graph: &length.graph, task, inputs: &inputs, auto_prepare: true };
            let make_first = mem::take(&mut make_first);
            let inference = if make_first { client.infer_prepared(&job)? } else { client.infer(&job)? };
            if alone {
                let now = if inference.stats.prepared { before.wrapping_add(1) } else { 0 };
                self.without_pack.store(now, Ordering::Relaxed);
            }
            Ok(inference)
        })?;
        Ok(Inferred { integers: outputs, rounds: stats.rounds, receipt: receipt.map(|complete| complete.receipt) })
    }

    /// Requests to the nodes so far.
    pub fn requests(&self) -> u64 {
        self.client.requests()
    }

    /// What the nodes say of themselves; one that does not know what was bought yet says nothing, and is there all the same.
    fn statuses(&self) -> Result<Vec<NodeStatus>> {
        let told = self.client.status().into_iter();
        let known = told.filter(|told| !matches!(told, Err(error) if error.code() == Some(FailCode::Unpresented)));
        let asking = |e| consumers_error(&self.client, "asking the nodes for their status", e);
        known.map(|told| told.map_err(asking)).collect()
    }

    /// What each node is called in the committee, and what it says of itself or why it says nothing.
    pub fn nodes(&self) -> Vec<(String, Result<NodeStatus>)> {
        let asking = |e| consumers_error(&self.client, "asking the nodes for their status", e);
        let nodes = (0..).zip(self.client.status());
        nodes.map(|(index, status)| (self.client.committee().label(index), status.map_err(asking))).collect()
    }

    /// What the nodes have used and sent so far.
    ///
    /// # Errors
    /// When a node does not say.
    pub fn figures(&self) -> Result<Figures> {
        let mut sum = Figures::default();
        for status in self.statuses()? {
            sum.add(&Figures::of(&status));
        }
        Ok(sum)
    }
}

/// What an answer of a graph costs under these terms.
fn cost_in(terms: &NoiseTerms, graph: &Graph) -> AnswerCost {
    let inputs = terms.noise.inputs().iter().filter_map(|input| graph.inputs.get(*input as usize));
    terms.cost(inputs.map(|spec| spec.shape.len() as u64).sum())
}

/// ε of one answer.
fn alone(terms: &NoiseTerms, cost: AnswerCost) -> Result<f64> {
    AnswerCost::epsilon(&[(cost, 1)], terms.budget.delta()).map_err(beyond)
}

fn beyond(error: impl ToString) -> Error {
    NetworkError::Budget(error.to_string()).into()
}

impl ModelEngine for NetworkEngine {
    fn model(&self) -> &Model {
        &self.model
    }

    fn compute_until(&self, queries: &[Query], stop: &Stop, sink: Sink<'_>) -> Result<()> {
        check_queries(queries)?;
        let client = self.client.until(stop.clone());
        if queries.len() > 1 {
            self.suffices(queries.len())?;
        }
        let mut start = 0;
        while start < queries.len() {
            wanted(stop)?;
            let window = self.window(queries, start)?;
            start += window.len();
            // One alone needs no count of packs: the evaluators find out whether they have one.
            if window.len() == 1 {
                self.run_by(&client, window, sink)?;
                continue;
            }
            // A head start only: each job has its own pack made where none is left. Requests beside each other that waited
            // for all of theirs would fill the nodes with packs that nobody uses.
            self.prepare_by(&client, &window, PACKS_AHEAD, no_room)?;
            self.run_by(&client, window, sink)?;
        }
        Ok(())
    }

    fn cost(&self) -> Result<Option<Privacy>> {
        let (sharing, _) = self.sharing_for(&self.client)?;
        let Some(terms) = &sharing.manifest().noise else { return Ok(None) };
        // As many numbers are noised whatever a text's length is: the counts.
        let Some(bucket) = self.model.compiled.buckets().first().copied() else { return Ok(None) };
        let cost = cost_in(terms, &self.length(bucket)?.graph);
        let doing = "asking for the account of the data";
        let Some(told) = self.client.spent(&sharing).map_err(|e| consumers_error(&self.client, doing, e))? else {
            return Ok(None);
        };
        let budget = &terms.budget;
        Ok(Some(Privacy {
            epsilon: alone(terms, cost)?,
            spent: told.epsilon(budget).map_err(beyond)?,
            answers: told.answers_left(cost, budget, Privacy::COUNTED).map_err(beyond)?,
            budget: budget.epsilon(),
            delta: budget.delta(),
        }))
    }

    fn ready(&self) -> Result<()> {
        let stopping = self.statuses()?.into_iter().find(|status| !status.ready);
        match stopping {
            Some(status) => Err(NetworkError::Stopping(self.client.committee().label(status.index)).into()),
            None => Ok(()),
        }
    }
}

/// The helper of the first text, by chance: processes that ask one question each load all nodes alike.
fn first_turn() -> usize {
    RandomState::new().hash_one(()) as usize % Assignment::ALL.len()
}

/// Whether a node says that it makes no pack now; what else is wrong, the job itself hears.
fn no_room(code: FailCode) -> bool {
    matches!(code, FailCode::Busy | FailCode::Peer | FailCode::Refused)
}

/// Why a request failed: at the nodes, or before it was made.
enum Failed {
    Client(ClientError),
    Other(Error),
}

impl From<ClientError> for Failed {
    fn from(error: ClientError) -> Self {
        Self::Client(error)
    }
}

impl From<Error> for Failed {
    fn from(error: Error) -> Self {
        Self::Other(error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_asks_one_question_does_not_always_begin_with_the_same_helper() {
        let begun: std::collections::BTreeSet<usize> = (0..200).map(|_| first_turn()).collect();
        assert!(begun.into_iter().eq(0..Assignment::ALL.len()));
    }
}
