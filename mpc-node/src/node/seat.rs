//! A node's seat in one committee: what belongs to that committee alone. A lane belongs to one seat from its greeting on, and
//! everything that is asked on it is looked for there: sharings, packs, records, jobs and peers of another committee are not
//! within its reach.

use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use super::error::NodeError;
use super::machine::Machine;
use super::open_rounds::Rounds;
use super::refilling::Refilling;
use super::slots::Slots;
use super::waiting::Waiting;
use crate::committee::Committee;
use crate::identity::PublicKey;
use crate::lane::{Lane, LaneError};
use crate::meter::{Meter, process_cpu_nanos};
use crate::models::ModelStore;
use crate::packs::{Deposits, PackStore};
use crate::pool::LanePool;
use crate::records::RecordStore;
use crate::status::NodeStatus;
use crate::wire::Caller;

/// Stores, peers and counters of one committee.
pub(super) struct Seat {
    pub(super) machine: Arc<Machine>,
    pub(super) committee: Committee,
    /// [`Committee::digest`].
    pub(super) digest: [u8; 32],
    /// This node's index in the committee.
    pub(super) index: u8,
    pub(super) models: ModelStore,
    pub(super) packs: Arc<PackStore>,
    pub(super) records: RecordStore,
    pub(super) meter: Arc<Meter>,
    pub(super) stats: Stats,
    /// Names of unused packs that evaluators have handed back to this node as their helper.
    pub(super) deposits: Deposits,
    /// Jobs that consumers have asked this node for as the second evaluator.
    pub(super) waiting: Waiting,
    /// Tasks for which packs are being made ahead.
    pub(super) refilling: Refilling,
    /// Rounds that coordinators have opened here.
    pub(super) rounds: Rounds,
    /// Whether the packs found at the start have been looked after: jobs wait for that.
    stocked: (Mutex<bool>, Condvar),
    /// Jobs as first and as second evaluator: apart, so that nodes waiting for each other cannot form a circle. Each committee
    /// has its own, as they are held while its other members are waited for.
    pub(super) first_slots: Arc<Slots>,
    pub(super) second_slots: Arc<Slots>,
    pub(super) deal_slots: Arc<Slots>,
    /// Bytes of memory of running jobs and of dealing: the machine's, of which some is kept for this committee.
    pub(super) job_memory: Arc<Slots>,
    /// Lanes to the other members.
    peers: LanePool,
    /// Members that did not answer, as helpers, when they were asked for their signature last.
    silent: Box<[AtomicBool]>,
}

/// Counters.
#[derive(Default)]
pub(super) struct Stats {
    pub(super) running: AtomicU32,
    pub(super) done: AtomicU64,
    pub(super) failed: AtomicU64,
    pub(super) rounds: AtomicU64,
    pub(super) dealt: AtomicU64,
}

impl Seat {
    /// The seat of node `index` of a committee, with its stores.
    pub(super) fn new(
        machine: &Arc<Machine>,
        (committee, index): (Committee, u8),
        models: ModelStore,
        packs: PackStore,
        records: RecordStore,
        job_memory: Arc<Slots>,
    ) -> Result<Arc<Self>, NodeError> {
        let jobs = u64::from(machine.config.limits.jobs);
        let meter: Arc<Meter> = Arc::default();
        Ok(Arc::new(Self {
            machine: machine.clone(),
            digest: committee.digest(),
            index,
            models,
            packs: Arc::new(packs),
            records,
            stats: Stats::default(),
            deposits: Deposits::new(committee.members().len()).map_err(NodeError::Random)?,
            waiting: Waiting::default(),
            refilling: Refilling::new(committee.members().len()),
            rounds: Rounds::default(),
            stocked: Default::default(),
            first_slots: Slots::new(jobs),
            second_slots: Slots::new(2 * jobs),
            deal_slots: Slots::new(2),
            job_memory,
            peers: LanePool::new(&committee, meter.clone()),
            silent: committee.members().iter().map(|_| AtomicBool::default()).collect(),
            meter,
            committee,
        }))
    }

    /// As whom a key is served here, if at all: a member of this committee, an owner or a consumer, or one that has shown a session;
    /// where strangers may buy, all others as strangers. A member of another committee is one of those.
    pub(super) fn admits(&self, key: &PublicKey) -> Option<Caller> {
        if self.committee.index_of(key).is_some() {
            Some(Caller::Member)
        } else if self.machine.serves(key) || self.machine.is_customer(key) {
            Some(Caller::Consumer)
        } else {
            self.machine.sells().then_some(Caller::Stranger)
        }
    }

    /// A lane to another member, idle or new.
    pub(super) fn peer_lane(&self, index: u8) -> Result<Lane, LaneError> {
        let timeout = self.machine.config.timeouts.connect();
        self.peers.take(&self.machine.identity, &self.committee, index, timeout)
    }

    /// Keeps a lane for the next request.
    pub(super) fn put_back(&self, index: u8, lane: Lane) {
        self.peers.put_back(index, lane);
    }

    /// A helper was asked something: whether it answered.
    pub(super) fn answers(&self, index: u8, answers: bool) {
        if let Some(silent) = self.silent.get(usize::from(index)) {
            silent.store(!answers, Ordering::Relaxed);
        }
    }

    /// Whether a helper did not answer when it was asked last: no pack is used before it does.
    pub(super) fn is_silent(&self, index: u8) -> bool {
        self.silent.get(usize::from(index)).is_some_and(|silent| silent.load(Ordering::Relaxed))
    }

    /// The packs found at the start have been looked after.
    pub(super) fn stocked(&self) {
        *self.stocked.0.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.stocked.1.notify_all();
    }

    /// Waits until the packs found at the start have been looked after.
    pub(super) fn wait_until_stocked(&self) {
        let stocked = self.stocked.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (wait, time) = (&self.stocked.1, 2 * self.machine.config.timeouts.connect());
        drop(wait.wait_timeout_while(stocked, time, |stocked| !*stocked));
    }

    /// What logs say of this seat, where there are several.
    pub(super) fn span(&self) -> tracing::Span {
        match self.machine.config.committee_files().count() {
            0 | 1 => tracing::Span::none(),
            _ => tracing::info_span!("seat", committee = %self.committee.short()),
        }
    }

    /// State and counters, as the operators of the committee see them; of models and packs only what `consumer` may use, if one
    /// is named. Other committees of this node do not count, but in what cannot be told apart: the process and its time.
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
            ready: !self.machine.is_stopping(),
            uptime_seconds: self.machine.uptime().as_secs(),
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
}
