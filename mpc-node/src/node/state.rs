//! A node: what it has once, and its seats in committees.

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::SystemTime;

use super::error::NodeError;
use super::machine::Machine;
use super::seat::Seat;
use super::slots::Slots;
use crate::config::{Config, FOLDERS, Parties, ServedCommittee};
use crate::identity::PublicKey;
use crate::market::Market;
use crate::models::{ModelLimits, ModelPlace, ModelStore};
use crate::packs::{PackHeader, PackLimits, PackStore};
use crate::records::RecordStore;
use crate::status::NodeStatus;
use crate::tls::Admission;

/// A node with its seats, one at least.
pub struct Node {
    pub(super) machine: Arc<Machine>,
    pub(super) seats: Vec<Arc<Seat>>,
}

/// A seat, and the packs found on its disk.
pub(super) type Found = (Arc<Seat>, Vec<PackHeader>);

impl Node {
    pub(super) fn open(config: Config, market: Option<Arc<dyn Market>>) -> Result<(Self, Vec<Found>), NodeError> {
        let identity = config.load_identity()?;
        let served = config.load_committees()?;
        let indices = served.iter().map(|served| seat_of(served, identity.public())).collect::<Result<Vec<_>, _>>()?;
        if let (Some(file), None) = (&config.market, &market) {
            return Err(NodeError::NoMarket(file.clone()));
        }
        let machine = Machine::open(config, identity, market)?;
        let config = &machine.config;
        if config.home.join("models").exists() {
            tracing::warn!(
                folder = %config.home.join("models").display(),
                "models that were registered with an earlier version are not used: have their owners share them again, and remove the folder"
            );
        }
        if let Some(retired) = config.retired {
            tracing::warn!("{}: {retired}", crate::config::FILE);
        }
        for folder in config.left_folders(&served) {
            tracing::warn!(
                folder = %folder.display(),
                "a folder of a committee that this node does not serve: remove it, unless the node is to serve it again"
            );
        }
        let folders = |name| -> Vec<PathBuf> { served.iter().map(|served| served.folder.join(name)).collect() };
        for served in &served {
            create(&served.folder)?;
        }
        let [sharings, packs, transcripts] = FOLDERS.map(folders);
        let places = sharings.into_iter().zip(&served).zip(&indices);
        let places =
            places.map(|((dir, served), node)| ModelPlace { dir, node: *node, committee: served.committee.digest() });
        let parties = Parties { owners: config.owners.clone(), consumers: config.consumers.clone() };
        let models = ModelStore::open_all(places.collect(), &parties, model_limits(config))?;
        let models = models.into_iter().zip(&served).map(|(store, served)| with_market(store, served, &machine));
        let packs = PackStore::open_all(packs, pack_limits(config))?;
        for folder in &transcripts {
            create(folder)?;
        }
        let records = RecordStore::open_all(transcripts, config.record_limits(), SystemTime::now());
        let records = records.map_err(|source| NodeError::Home { path: config.home.clone(), source })?;
        let memory = Slots::of_memory(config.limits.job_megabytes << 20, served.len());
        let stores = models.collect::<Vec<_>>().into_iter().zip(packs).zip(records).zip(memory);
        let found = served.into_iter().zip(indices).zip(stores);
        let found = found.map(|((served, index), (((models, (packs, found)), records), memory))| {
            Ok((Seat::new(&machine, (served.committee, index), models, packs, records, memory)?, found))
        });
        let found = found.collect::<Result<Vec<Found>, NodeError>>()?;
        let seats = found.iter().map(|(seat, _)| seat.clone()).collect();
        Ok((Self { machine, seats }, found))
    }

    /// The keys that may connect: the members' of all committees, the owners' and the consumers'.
    pub(super) fn admission(&self) -> Admission {
        let members = self.seats.iter().flat_map(|seat| seat.committee.members());
        self.machine.admission(members.map(|member| member.key))
    }

    /// The seat in the committee of this digest, if there is one.
    pub(super) fn seat(&self, committee: &[u8; 32]) -> Option<&Arc<Seat>> {
        self.seats.iter().find(|seat| seat.digest == *committee)
    }

    /// State and counters of all committees together, as the metrics show them.
    pub fn status(&self) -> NodeStatus {
        let (sent, received) = (self.machine.meter.sent(), self.machine.meter.received());
        let begin = NodeStatus { sent, received, ..NodeStatus::default() };
        self.seats.iter().fold(begin, |mut sum, seat| {
            let one = seat.status_for(None);
            sum.packs.extend(one.packs);
            NodeStatus {
                sent: sum.sent + one.sent,
                received: sum.received + one.received,
                jobs_done: sum.jobs_done + one.jobs_done,
                jobs_failed: sum.jobs_failed + one.jobs_failed,
                jobs_running: sum.jobs_running + one.jobs_running,
                rounds: sum.rounds + one.rounds,
                packs_dealt: sum.packs_dealt + one.packs_dealt,
                sharings: sum.sharings + one.sharings,
                packs: sum.packs,
                ..one
            }
        })
    }

    /// Whether the node takes jobs.
    pub fn is_ready(&self) -> bool {
        !self.machine.is_stopping()
    }

    /// Connections now, and requests refused so far.
    pub fn lanes_and_refusals(&self) -> (u32, u64) {
        (self.machine.lanes.len() as u32, self.machine.refused.load(Ordering::Relaxed))
    }
}

/// This node's index in a committee that this version can serve.
fn seat_of(served: &ServedCommittee, key: PublicKey) -> Result<u8, NodeError> {
    let file = || served.file.clone();
    served.committee.runnable().map_err(|source| NodeError::NoProtocol { committee: file(), source })?;
    served.committee.index_of(&key).ok_or_else(|| NodeError::NotAMember { key, committee: file() })
}

/// The store of a committee's sharings, with the market if there is one.
fn with_market(store: ModelStore, served: &ServedCommittee, machine: &Machine) -> ModelStore {
    match (&machine.market, served.committee.keys()) {
        (Some(market), Some(keys)) => store.with_market(market.clone(), keys),
        _ => store,
    }
}

fn create(folder: &PathBuf) -> Result<(), NodeError> {
    fs::create_dir_all(folder).map_err(|source| NodeError::Home { path: folder.clone(), source })
}

fn pack_limits(config: &Config) -> PackLimits {
    let limits = &config.limits;
    PackLimits {
        per_key: limits.packs as usize,
        all: crate::packs::MOST_PACKS,
        bytes: limits.pack_megabytes << 20,
        memory: limits.pack_memory_megabytes << 20,
    }
}

fn model_limits(config: &Config) -> ModelLimits {
    let limits = &config.limits;
    ModelLimits {
        bytes: limits.model_megabytes << 20,
        owner_bytes: limits.owner_megabytes << 20,
        sharings: limits.sharings as usize,
        owner_sharings: limits.owner_sharings as usize,
        access_keys: limits.access_keys as usize,
        cost: limits.cost(),
    }
}
