//! The engine that computes on three share nodes: this machine encodes the text, shares the integers between two
//! nodes, and adds the shares of the answer. A node sees uniform numbers and the padded length.
//!
//! Texts are worked on in windows: packs for a window are made ahead, then its jobs run side by side. The node that
//! helps changes from job to job, so that all three carry the same load.

mod figures;
mod ordered;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use sahara_circuits::frontend::Encoded;
use sahara_circuits::graph::Graph;
use sahara_mpc::client::{
    Assignment, Client, ClientError, ClientOptions, Committee, GraphId, Inference, Job, NodeStatus, Task,
};
pub use sahara_mpc::client::{Rounding, Visibility};
use sahara_mpc::identity::{self, Identity};
use sahara_mpc::wire::FailCode;

pub use figures::Figures;

use crate::embedding::{
    Engine, Length as TextLength, Sink, Stop, check_texts, cores, decode, encode, graph, length, wanted,
};
use crate::error::{Blame, Error, Result};
use crate::home::{Home, create_private_dir};
use crate::models::Model;
use crate::progress::Progress;
use ordered::in_order;

/// Most padded tokens in a window; bounds the packs that lie on the nodes' disks.
const WINDOW_TOKENS: usize = 1024;
/// Pause before a busy node is asked again, and how long that goes on.
const BUSY_PAUSE: Duration = Duration::from_millis(20);
const BUSY_PATIENCE: Duration = Duration::from_secs(120);

/// How the network computes.
#[derive(Clone, Debug)]
pub struct NetworkOptions {
    /// How exactly it rounds.
    pub rounding: Rounding,
    /// Whether the nodes may know the weights.
    pub visibility: Visibility,
    /// Texts on the network at once.
    pub jobs: usize,
}

impl Default for NetworkOptions {
    fn default() -> Self {
        Self { rounding: Rounding::Exact, visibility: Visibility::Private, jobs: (3 * cores()).min(12) }
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
    /// Graphs by padded length, and whether the nodes have them.
    lengths: Mutex<BTreeMap<u32, Length>>,
    /// One hand-over of the model at a time.
    handing_over: Mutex<()>,
}

/// A padded length in use.
#[derive(Clone)]
struct Length {
    graph: Arc<Graph>,
    id: GraphId,
    registered: bool,
}

/// Texts that are encoded and wait to be computed.
pub struct Window {
    first: usize,
    items: Vec<(Encoded, Task)>,
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

/// The key by which share nodes know this machine's user; made when it is first needed.
pub fn consumer_identity(home: &Home) -> Result<Identity> {
    create_private_dir(home.path())?;
    let key = home.path().join("consumer.key");
    identity::load_or_generate(&key)
        .map_err(|e| Error::wrap(&format!("reading the key {}", key.display()), Blame::User, e))
}

impl NetworkEngine {
    /// Connects to the committee of a file, or to the local network.
    pub fn connect(
        home: &Home,
        committee: Option<&Path>,
        model: Arc<Model>,
        options: NetworkOptions,
        progress: &Progress,
    ) -> Result<Self> {
        let local = devnet_committee(home);
        let path = committee.unwrap_or(&local);
        if committee.is_none() && !local.exists() {
            return Err(Error::user(
                "no network is up: start one with `sahara devnet up`, or name one with --committee FILE",
            ));
        }
        progress.step("connecting to the share nodes");
        let committee = Committee::load(path).map_err(|e| Error::wrap("reading the committee", Blame::User, e))?;
        let identity = consumer_identity(home)?;
        let client = Client::new(identity, committee, ClientOptions::default());
        let engine = Self {
            model,
            options,
            client,
            progress: progress.clone(),
            turn: AtomicUsize::new(0),
            lengths: Mutex::default(),
            handing_over: Mutex::default(),
        };
        engine.health()?;
        Ok(engine)
    }

    /// Encoder layers of the model.
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
        let length = Length { id: graph.id(), graph, registered: false };
        lengths.insert(bucket, length.clone());
        Ok(length)
    }

    /// Padded lengths of the texts, and how many of each.
    pub fn buckets_of(&self, texts: &[String]) -> Result<Vec<(u32, usize)>> {
        let mut counts = BTreeMap::new();
        for (index, text) in texts.iter().enumerate() {
            *counts.entry(encode(&self.model, index, text)?.bucket).or_insert(0) += 1;
        }
        Ok(counts.into_iter().collect())
    }

    /// Hands graphs and weights to the nodes unless they have them; whether weights had to be handed over.
    pub fn register(&self, buckets: &[u32]) -> Result<bool> {
        let _turn = self.handing_over.lock().unwrap_or_else(PoisonError::into_inner);
        let mut handed_over = false;
        for &bucket in buckets {
            let length = self.length(bucket)?;
            if length.registered {
                continue;
            }
            self.progress.step(&format!("sharing {} among the nodes ({bucket} tokens)", self.model.info.name));
            let sent = self
                .client
                .register_model(
                    std::slice::from_ref(&length.graph),
                    &self.model.compiled.weights,
                    self.options.visibility,
                    &Assignment::ALL,
                    &mut |_| (),
                )
                .map_err(|e| self.error("sharing the model among the nodes", e))?;
            handed_over |= sent.weights_sent > 0;
            let mut lengths = self.lengths.lock().unwrap_or_else(PoisonError::into_inner);
            lengths.insert(bucket, Length { registered: true, ..length });
        }
        Ok(handed_over)
    }

    /// Encodes the texts from `start` on, as many as fit a window.
    pub fn window(&self, texts: &[String], start: usize) -> Result<Window> {
        let mut window = Window { first: start, items: Vec::new() };
        let mut tokens = 0;
        for (index, text) in texts.iter().enumerate().skip(start) {
            let encoded = encode(&self.model, index, text)?;
            tokens += encoded.bucket as usize;
            if tokens > WINDOW_TOKENS && window.len() >= self.options.jobs {
                break;
            }
            let task = self.task(encoded.bucket)?;
            window.items.push((encoded, task));
        }
        Ok(window)
    }

    fn task(&self, bucket: u32) -> Result<Task> {
        let turn = self.turn.fetch_add(1, Ordering::Relaxed) % Assignment::ALL.len();
        Ok(Task {
            graph: self.length(bucket)?.id,
            assignment: Assignment::ALL[turn],
            rounding: self.options.rounding,
            visibility: self.options.visibility,
        })
    }

    /// Has the nodes make the packs that a window uses up, as far as they are missing.
    pub fn prepare(&self, window: &Window) -> Result<()> {
        self.prepare_by(&self.client, window)
    }

    fn prepare_by(&self, client: &Client, window: &Window) -> Result<()> {
        let mut buckets: Vec<u32> = window.items.iter().map(|(encoded, _)| encoded.bucket).collect();
        buckets.dedup();
        self.register(&buckets)?;
        let mut wanted = BTreeMap::new();
        for (encoded, task) in &window.items {
            wanted.entry((encoded.bucket, task.assignment)).or_insert((encoded.bucket, *task, 0)).2 += 1;
        }
        let tasks: Vec<(u32, Task, u32)> = wanted.into_values().collect();
        let make = |index: usize| {
            let (bucket, task, count) = tasks[index];
            let ready = self.packs_ready(client, &task)?;
            let missing = count.saturating_sub(ready);
            if missing == 0 {
                return Ok(());
            }
            self.ask("preparing masks on the nodes", bucket, || client.prepare(&task, missing, &mut |_| ()))
        };
        in_order(tasks.len(), Assignment::ALL.len(), make, |()| Ok(()))
    }

    /// Packs for a task that both evaluators hold.
    fn packs_ready(&self, client: &Client, task: &Task) -> Result<u32> {
        let asking = |e| self.error("asking the nodes for their packs", e);
        let [first, second] = task.assignment.evaluators();
        let held = client.node_status(first).map_err(asking)?.packs_for(task);
        Ok(held.min(client.node_status(second).map_err(asking)?.packs_for(task)))
    }

    /// Makes a request that needs the model: waits while nodes say that they have too much to do, and hands the model
    /// over again if they lost it since (their disks were cleared).
    fn ask<T>(&self, doing: &str, bucket: u32, mut request: impl FnMut() -> Result<T, ClientError>) -> Result<T> {
        let until = Instant::now() + BUSY_PATIENCE;
        let mut handed_over = false;
        loop {
            match request() {
                Err(error) if error.code() == Some(FailCode::Busy) && Instant::now() < until => {
                    thread::sleep(BUSY_PAUSE);
                }
                Err(error) if error.code() == Some(FailCode::NoModel) && !handed_over => {
                    handed_over = true;
                    self.forget(bucket);
                    self.register(&[bucket])?;
                }
                result => return result.map_err(|e| self.error(doing, e)),
            }
        }
    }

    /// Runs the jobs of a window; the most rounds that one of them took.
    pub fn run(&self, window: Window, sink: Sink<'_>) -> Result<u32> {
        self.run_by(&self.client, window, sink)
    }

    fn run_by(&self, client: &Client, window: Window, sink: Sink<'_>) -> Result<u32> {
        let most = AtomicU32::new(0);
        let job = |offset: usize| {
            let index = window.first + offset;
            let (encoded, task) = &window.items[offset];
            let (integers, rounds) = self.infer(client, task, encoded, index)?;
            most.fetch_max(rounds, Ordering::Relaxed);
            Ok(decode(&self.model, index, encoded, integers))
        };
        in_order(window.len(), self.options.jobs, job, sink)?;
        Ok(most.into_inner())
    }

    fn infer(&self, client: &Client, task: &Task, encoded: &Encoded, index: usize) -> Result<(Vec<Vec<i32>>, u32)> {
        let length = self.length(encoded.bucket)?;
        let job = Job { graph: &length.graph, task: *task, inputs: &encoded.inputs, auto_prepare: true };
        let doing = format!("embedding text {index} on the network");
        let Inference { outputs, stats, .. } = self.ask(&doing, encoded.bucket, || client.infer(&job))?;
        Ok((outputs, stats.rounds))
    }

    fn forget(&self, bucket: u32) {
        let mut lengths = self.lengths.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(length) = lengths.get_mut(&bucket) {
            length.registered = false;
        }
    }

    fn statuses(&self) -> Result<Vec<NodeStatus>> {
        self.client
            .status()
            .into_iter()
            .map(|status| status.map_err(|e| self.error("asking the nodes for their status", e)))
            .collect()
    }

    /// What the nodes have used and sent so far.
    pub fn figures(&self) -> Result<Figures> {
        let mut sum = Figures::default();
        for status in self.statuses()? {
            sum.add(&Figures::of(&status));
        }
        Ok(sum)
    }
}

impl Engine for NetworkEngine {
    fn embed_until(&self, texts: &[String], stop: &Stop, sink: Sink<'_>) -> Result<()> {
        check_texts(texts)?;
        let client = self.client.until(stop.clone());
        let mut start = 0;
        while start < texts.len() {
            wanted(stop)?;
            let window = self.window(texts, start)?;
            start += window.len();
            self.prepare_by(&client, &window)?;
            self.run_by(&client, window, sink)?;
        }
        Ok(())
    }

    fn length(&self, index: usize, text: &str) -> Result<TextLength> {
        length(&self.model, index, text)
    }

    fn text_of(&self, tokens: &[u32]) -> Option<String> {
        self.model.compiled.frontend.text_of(tokens)
    }

    fn dimensions(&self) -> usize {
        self.model.compiled.frontend.dimensions()
    }

    fn health(&self) -> Result<()> {
        let stopping = self.statuses()?.into_iter().find(|status| !status.ready);
        match stopping {
            Some(status) => {
                Err(Error::fault(format!("{} is shutting down", self.client.committee().label(status.index))))
            }
            None => Ok(()),
        }
    }
}

impl NetworkEngine {
    /// An error of the nodes in words for whoever asked.
    fn error(&self, doing: &str, error: ClientError) -> Error {
        if matches!(error, ClientError::Stopped) {
            return Error::stopped();
        }
        if error.is_unreachable() {
            return Error::unreachable(format!(
                "{doing}: {error}: is the network up? See `sahara devnet status`, or start it with `sahara devnet up`"
            ));
        }
        if error.is_not_admitted() {
            return Error::user(format!(
                "{doing}: {error}: its operator must add your key to the list `consumers` in its node.toml: {}",
                self.client.key()
            ));
        }
        Error::wrap(doing, Blame::Fault, error)
    }
}
