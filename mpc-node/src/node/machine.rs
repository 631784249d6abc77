//! What a node has once, however many committees it serves: its key, its configuration, and what protects the machine. A key
//! that asks in two committees gets no more than in one.

use std::collections::BTreeSet;
use std::fs::File;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use rustix::fs::{FlockOperation, flock};

use super::catching::Catching;
use super::error::NodeError;
use super::kept::Kept;
use super::lanes::{LaneLimits, Lanes};
use super::making::Making;
use super::open_rounds::Places;
use super::presenting::Presenting;
use super::quota::Quotas;
use crate::accounts::Accounts;
use crate::config::Config;
use crate::identity::{Identity, PublicKey};
use crate::market::Market;
use crate::meter::Meter;
use crate::tls::Admission;

/// Key, configuration, limits and counters of a node.
pub(super) struct Machine {
    pub(super) config: Config,
    pub(super) identity: Identity,
    /// Of connections that have not said yet which committee they mean.
    pub(super) meter: Meter,
    /// Requests being worked on.
    pub(super) busy: AtomicU32,
    /// Requests and connections refused so far.
    pub(super) refused: AtomicU64,
    pub(super) lanes: Arc<Lanes>,
    pub(super) quotas: Arc<Quotas>,
    /// Graphs, plans and weights that are not in memory, one after the other.
    pub(super) making: Making,
    /// Whoever knows who has paid, if somebody does.
    pub(super) market: Option<Arc<dyn Market>>,
    /// Sessions that are shown, and who has shown one.
    pub(super) presenting: Presenting,
    /// Whose session is caught up with.
    pub(super) catching: Arc<Catching>,
    /// What answers that leave with noise have cost.
    pub(super) accounts: Arc<Accounts>,
    /// Answers of paid jobs, for whoever did not hear them.
    pub(super) kept: Arc<Kept>,
    /// What rounds take, of all committees together.
    pub(super) rounds: Arc<Places>,
    pub(super) stopping: AtomicBool,
    started: Instant,
    lock: File,
}

impl Machine {
    /// Takes the home for this process.
    pub(super) fn open(
        config: Config,
        identity: Identity,
        market: Option<Arc<dyn Market>>,
    ) -> Result<Arc<Self>, NodeError> {
        let lock = File::create(config.home.join("lock"))
            .map_err(|source| NodeError::Home { path: config.home.clone(), source })?;
        flock(&lock, FlockOperation::NonBlockingLockExclusive).map_err(|_| NodeError::Locked(config.home.clone()))?;
        let accounts = Accounts::open(&config.home.join("accounts"));
        let accounts = accounts.map_err(|source| NodeError::Home { path: config.home.clone(), source })?;
        let limits = &config.limits;
        let (quotas, started) = (Quotas::new(limits), Instant::now());
        Ok(Arc::new(Self {
            lanes: Lanes::new(LaneLimits {
                all: limits.lanes as usize,
                per_key: limits.lanes_per_key as usize,
                per_address: limits.lanes_per_address as usize,
            }),
            making: Making::new(quotas.clone(), started),
            quotas,
            market,
            presenting: Presenting::default(),
            catching: Arc::default(),
            accounts,
            kept: Arc::default(),
            rounds: Places::new(limits.job_megabytes << 20),
            config,
            identity,
            meter: Meter::default(),
            busy: AtomicU32::default(),
            refused: AtomicU64::default(),
            stopping: AtomicBool::new(false),
            started,
            lock,
        }))
    }

    /// Lets another process use the home.
    pub(super) fn unlock(&self) {
        if let Err(error) = flock(&self.lock, FlockOperation::Unlock) {
            tracing::warn!(%error, "cannot unlock the home");
        }
    }

    /// Time since the node was started.
    pub(super) fn uptime(&self) -> Duration {
        self.started.elapsed()
    }

    pub(super) fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Relaxed)
    }

    /// Something or somebody was refused.
    pub(super) fn refused(&self) {
        self.refused.fetch_add(1, Ordering::Relaxed);
    }

    /// Whether a key is one of those that the node serves in each of its committees: an owner's or a consumer's.
    pub(super) fn serves(&self, key: &PublicKey) -> bool {
        self.config.owners.admits(key) || self.config.consumers.admits(key)
    }

    /// Whether a key has shown a session, now or before a restart.
    pub(super) fn is_customer(&self, key: &PublicKey) -> bool {
        self.presenting.knows(key) || self.market.as_ref().is_some_and(|market| market.is_customer(key))
    }

    /// Whether strangers are let in as far as they need to be to buy.
    pub(super) fn sells(&self) -> bool {
        self.market.is_some() && self.config.market.is_some()
    }

    /// The keys that may connect: the members' of all committees, the owners' and the consumers'; any where strangers may buy.
    pub(super) fn admission(&self, members: impl Iterator<Item = PublicKey>) -> Admission {
        if self.sells() {
            return Admission::Any;
        }
        let mut keys: BTreeSet<_> = members.collect();
        for list in [&self.config.owners, &self.config.consumers] {
            match list {
                Admission::Any => return Admission::Any,
                Admission::Only(more) => keys.extend(more),
            }
        }
        Admission::Only(keys)
    }
}
