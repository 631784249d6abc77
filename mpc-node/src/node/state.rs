//! What all lanes of a node share.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use rustix::fs::{FlockOperation, flock};

use super::NodeError;
use super::ahead::Refilling;
use super::lanes::{LaneLimits, Lanes};
use super::making::Making;
use super::meeting::Waiting;
use super::quota::Quotas;
use super::slots::Slots;
use crate::committee::Committee;
use crate::config::{Config, Parties};
use crate::identity::{Identity, PublicKey};
use crate::lane::{Lane, LaneError};
use crate::meter::{Meter, process_cpu_nanos};
use crate::models::{ModelLimits, ModelStore};
use crate::packs::{Deposits, PackHeader, PackLimits, PackStore};
use crate::records::RecordStore;
use crate::status::NodeStatus;
use crate::tls::Admission;

/// A node: configuration, stores and counters.
pub struct Node {
    pub(super) config: Config,
    pub(super) identity: Identity,
    pub(super) committee: Committee,
    pub(super) index: u8,
    pub(super) models: ModelStore,
    pub(super) packs: Arc<PackStore>,
    pub(super) records: RecordStore,
    pub(super) meter: Arc<Meter>,
    pub(super) stats: Stats,
    pub(super) lanes: Arc<Lanes>,
    pub(super) quotas: Arc<Quotas>,
    /// Graphs, plans and weights that are not in memory, one after the other.
    pub(super) making: Making,
    pub(super) stopping: AtomicBool,
    /// Jobs as first and as second evaluator: apart, so that nodes waiting for each other cannot form a circle.
    pub(super) first_slots: Arc<Slots>,
    pub(super) second_slots: Arc<Slots>,
    pub(super) deal_slots: Arc<Slots>,
    /// Bytes of memory of running jobs and of dealing.
    pub(super) job_memory: Arc<Slots>,
    /// Names of unused packs that evaluators have handed back to this node as their helper.
    pub(super) deposits: Deposits,
    /// Jobs that consumers have asked this node for as the second evaluator.
    pub(super) waiting: Waiting,
    /// Tasks for which packs are being made ahead.
    pub(super) refilling: Refilling,
    /// Whether the packs found at the start have been looked after: jobs wait for that.
    stocked: (Mutex<bool>, Condvar),
    peers: [Mutex<Vec<Lane>>; 3],
    started: Instant,
    lock: File,
}

/// Counters.
#[derive(Default)]
pub(super) struct Stats {
    /// Requests being worked on.
    pub(super) busy: AtomicU32,
    pub(super) running: AtomicU32,
    pub(super) done: AtomicU64,
    pub(super) failed: AtomicU64,
    pub(super) rounds: AtomicU64,
    pub(super) dealt: AtomicU64,
    pub(super) refused: AtomicU64,
}

impl Node {
    pub(super) fn open(config: Config) -> Result<(Self, Vec<PackHeader>), NodeError> {
        let home = |source| NodeError::Home { path: config.home.clone(), source };
        let identity = config.load_identity()?;
        let committee = config.load_committee()?;
        committee.runnable().map_err(|source| NodeError::NoProtocol { committee: config.committee.clone(), source })?;
        let index = committee
            .index_of(&identity.public())
            .ok_or_else(|| NodeError::NotAMember { key: identity.public(), committee: config.committee.clone() })?;
        let lock = File::create(config.home.join("lock")).map_err(home)?;
        flock(&lock, FlockOperation::NonBlockingLockExclusive).map_err(|_| NodeError::Locked(config.home.clone()))?;
        let limits = &config.limits;
        let pack_limits = PackLimits {
            per_key: limits.packs as usize,
            all: crate::packs::MOST_PACKS,
            bytes: limits.pack_megabytes << 20,
            memory: limits.pack_memory_megabytes << 20,
        };
        let model_limits = ModelLimits {
            bytes: limits.model_megabytes << 20,
            owner_bytes: limits.owner_megabytes << 20,
            sharings: limits.sharings as usize,
            owner_sharings: limits.owner_sharings as usize,
            access_keys: limits.access_keys as usize,
            cost: limits.cost(),
        };
        if config.home.join("models").exists() {
            tracing::warn!(
                folder = %config.home.join("models").display(),
                "models that were registered with an earlier version are not used: have their owners share them again, and remove the folder"
            );
        }
        let sharings = config.home.join("sharings");
        let parties = Parties { owners: config.owners.clone(), consumers: config.consumers.clone() };
        let models = ModelStore::open(&sharings, index, committee.digest(), parties, model_limits)?;
        let (packs, found) = PackStore::open(&config.home.join("packs"), pack_limits)?;
        let packs = Arc::new(packs);
        if let Some(retired) = config.retired {
            tracing::warn!("{}: {retired}", crate::config::FILE);
        }
        let transcripts = config.home.join("transcripts");
        fs::create_dir_all(&transcripts).map_err(home)?;
        let records = RecordStore::open(&transcripts, config.record_limits(), SystemTime::now()).map_err(home)?;
        let (quotas, started) = (Quotas::new(limits), Instant::now());
        let node = Self {
            lanes: Lanes::new(LaneLimits {
                all: limits.lanes as usize,
                per_key: limits.lanes_per_key as usize,
                per_address: limits.lanes_per_address as usize,
            }),
            making: Making::new(quotas.clone(), started),
            quotas,
            first_slots: Slots::new(u64::from(limits.jobs)),
            second_slots: Slots::new(2 * u64::from(limits.jobs)),
            deal_slots: Slots::new(2),
            job_memory: Slots::of_memory(limits.job_megabytes << 20),
            deposits: Deposits::new().map_err(NodeError::Random)?,
            config,
            identity,
            committee,
            index,
            models,
            packs,
            records,
            meter: Arc::default(),
            stats: Stats::default(),
            stopping: AtomicBool::new(false),
            waiting: Waiting::default(),
            refilling: Refilling::default(),
            stocked: Default::default(),
            peers: Default::default(),
            started,
            lock,
        };
        Ok((node, found))
    }

    /// Lets another process use the home.
    pub(super) fn unlock(&self) {
        if let Err(error) = flock(&self.lock, FlockOperation::Unlock) {
            tracing::warn!(%error, "cannot unlock the home");
        }
    }

    /// The keys that may connect: the committee's, the owners' and the consumers'.
    pub(super) fn admission(&self) -> Admission {
        let mut keys: BTreeSet<_> = self.committee.members().iter().map(|m| m.key).collect();
        for list in [&self.config.owners, &self.config.consumers] {
            match list {
                Admission::Any => return Admission::Any,
                Admission::Only(more) => keys.extend(more),
            }
        }
        Admission::Only(keys)
    }

    /// A lane to another node, idle or new.
    pub(super) fn peer_lane(&self, index: u8) -> Result<Lane, LaneError> {
        let mut idle = self.peers[usize::from(index)].lock().unwrap_or_else(PoisonError::into_inner);
        while let Some(lane) = idle.pop() {
            if lane.is_idle() {
                return Ok(lane);
            }
        }
        drop(idle);
        let timeout = self.config.timeouts.connect();
        Lane::connect(&self.identity, &self.committee, index, timeout, self.meter.clone())
    }

    /// Keeps a lane for the next request.
    pub(super) fn put_back(&self, index: u8, mut lane: Lane) {
        lane.count();
        self.peers[usize::from(index)].lock().unwrap_or_else(PoisonError::into_inner).push(lane);
    }

    /// Time since the node was started.
    pub(super) fn uptime(&self) -> Duration {
        self.started.elapsed()
    }

    /// The packs found at the start have been looked after.
    pub(super) fn stocked(&self) {
        *self.stocked.0.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.stocked.1.notify_all();
    }

    /// Waits until the packs found at the start have been looked after.
    pub(super) fn wait_until_stocked(&self) {
        let stocked = self.stocked.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (wait, time) = (&self.stocked.1, 2 * self.config.timeouts.connect());
        drop(wait.wait_timeout_while(stocked, time, |stocked| !*stocked));
    }

    pub(super) fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Relaxed)
    }

    /// State and counters, as the metrics and the operators of the committee see them.
    pub fn status(&self) -> NodeStatus {
        self.status_for(None)
    }

    /// State and counters; of models and packs only what `consumer` may use, if one is named.
    pub(super) fn status_for(&self, consumer: Option<PublicKey>) -> NodeStatus {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let mut packs = Vec::new();
        for (task, count) in self.packs.counts() {
            let shown = match &consumer {
                Some(key) => self.models.admits(&task.manifest, key),
                None => self.models.is_current(&task.manifest),
            };
            if shown {
                packs.push((task, count));
            }
        }
        NodeStatus {
            index: self.index,
            program: env!("CARGO_PKG_VERSION").into(),
            ready: !self.is_stopping(),
            uptime_seconds: self.started.elapsed().as_secs(),
            clock_millis: SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |t| t.as_millis() as u64),
            process: std::process::id(),
            cpu_nanos: process_cpu_nanos(),
            sent: self.meter.sent(),
            received: self.meter.received(),
            jobs_done: read(&self.stats.done),
            jobs_failed: read(&self.stats.failed),
            jobs_running: self.stats.running.load(Ordering::Relaxed),
            rounds: read(&self.stats.rounds),
            packs_dealt: read(&self.stats.dealt),
            sharings: self.models.count(consumer.as_ref()),
            packs,
        }
    }

    /// Whether the node takes jobs.
    pub fn is_ready(&self) -> bool {
        !self.is_stopping()
    }

    /// Connections now, and requests refused so far.
    pub fn lanes_and_refusals(&self) -> (u32, u64) {
        (self.lanes.len() as u32, self.stats.refused.load(Ordering::Relaxed))
    }
}
