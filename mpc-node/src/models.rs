//! The sharings of a node: who owns them, who may use them, and this node's part of each, ready for use.
//!
//! Every sharing has a small record file (`<sharing>.sharing`) that says which version is current, and each version a
//! folder named by its manifest. A version appears by renaming its folder and then replacing the record; what a crash
//! leaves without a record is removed at the next start. A record outlives its deletion, so that an old version, or an
//! old access list, never comes back; there are so many of them at most (`limits.sharings`), and none is forgotten.
//!
//! A node has a store for each of its committees, with a folder of its own, and nothing in one is found by way of another: the
//! limits alone are for all of them together, and so is the memory for what was made ready.
//!
//! **Whoever wants weight material has to name the key that asks**: [`ModelStore::permit`] is the only way to it. For a sharing
//! whose rule is a chain's it asks the node's market, for its owner, too.

mod entry;
mod error;
mod files;
mod opening;
mod part;
mod ready;
mod upload;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs::{self, File};
use std::ops::{Deref, DerefMut};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use sahara_circuits::graph::Graph;

use crate::config::Parties;
use crate::engine::{Cost, CostLimits, Plan, WeightMaterial};
use crate::identity::PublicKey;
use crate::manifest::{AccessList, AccessRule, Asset, Manifest, ManifestId, SharingId, SignedAccess};
use crate::market::{Market, Place};
use crate::tls::Admission;
use crate::wire::{FindSharing, SharingEntry, SharingList, SharingReply, Task};
use entry::Entry;
pub use error::{ModelError, Work};
use files::{CLIENT, at, sync_dir};
pub use files::{PartHeader, SharingRecord, write_file};
use ready::Ready;
pub use upload::{Begun, Committed, Upload};

/// How far the next version or serial may be above the last one.
pub const MAX_JUMP: u64 = 1 << 32;

/// How much owners may keep on a node.
#[derive(Clone, Copy, Debug)]
pub struct ModelLimits {
    /// Bytes of all sharings together.
    pub bytes: u64,
    /// Bytes of one owner's sharings.
    pub owner_bytes: u64,
    /// Sharings in all, deleted ones included: what is left of these stays for ever.
    pub sharings: usize,
    /// Of these, sharings of one owner.
    pub owner_sharings: usize,
    /// Keys on all access lists.
    pub access_keys: usize,
    /// What a job of a graph may cost, and what is kept ready in memory.
    pub cost: CostLimits,
}

/// A node's place in a committee, and where it keeps what it is given there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModelPlace {
    /// The folder.
    pub dir: PathBuf,
    /// The node's index.
    pub node: u8,
    /// Digest of the committee.
    pub committee: [u8; 32],
}

/// The sharings of one committee at one node.
pub struct ModelStore {
    place: ModelPlace,
    parties: Parties,
    shelf: usize,
    shared: Arc<Shared>,
    damage: Vec<String>,
    /// Who knows who has paid, and the keys of the committee's members; without it nothing is served for money.
    market: Option<(Arc<dyn Market>, [PublicKey; 3])>,
}

/// What the stores of a node share.
struct Shared {
    limits: ModelLimits,
    ready: Arc<Ready>,
    /// For each store.
    states: Mutex<Vec<State>>,
}

/// The state of one store, while the others stand still, too.
struct Locked<'a> {
    all: MutexGuard<'a, Vec<State>>,
    shelf: usize,
}

impl Deref for Locked<'_> {
    type Target = State;

    fn deref(&self) -> &State {
        &self.all[self.shelf]
    }
}

impl DerefMut for Locked<'_> {
    fn deref_mut(&mut self) -> &mut State {
        &mut self.all[self.shelf]
    }
}

impl Locked<'_> {
    /// Bytes of the sharings of `owner` in all stores, or of all owners.
    fn bytes_in_all(&self, owner: Option<&PublicKey>) -> u64 {
        self.all.iter().map(|state| state.bytes(owner)).sum()
    }

    /// Bytes announced by uploads under way in all stores, but for that of `owner` in this one; and those of `owner` among them.
    fn uploading_elsewhere(&self, owner: &PublicKey) -> [u64; 2] {
        let uploads = self.all.iter().enumerate().flat_map(|(at, state)| state.uploading.iter().map(move |u| (at, u)));
        uploads.filter(|(at, (key, _))| *at != self.shelf || *key != owner).fold(
            [0; 2],
            |[all, own], (_, (key, bytes))| {
                [all.saturating_add(*bytes), if key == owner { own.saturating_add(*bytes) } else { own }]
            },
        )
    }
}

#[derive(Default)]
struct State {
    sharings: BTreeMap<SharingId, Sharing>,
    current: HashMap<ManifestId, SharingId>,
    /// Bytes announced by uploads under way, by owner.
    uploading: HashMap<PublicKey, u64>,
    /// Sharings whose record cannot be read: which versions they had is not known, so nothing is taken for them.
    unreadable: BTreeSet<SharingId>,
}

/// One sharing, or what is left of a deleted one.
struct Sharing {
    record: SharingRecord,
    /// The current version; `None` also when its files cannot be read.
    entry: Option<Arc<Entry>>,
    /// Bytes of files that cannot be read.
    damaged: u64,
}

impl State {
    fn entry(&self, manifest: &ManifestId) -> Option<(&Sharing, &Arc<Entry>)> {
        let sharing = self.sharings.get(self.current.get(manifest)?)?;
        Some((sharing, sharing.entry.as_ref()?))
    }

    /// Bytes of the sharings of `owner`, or of all.
    fn bytes(&self, owner: Option<&PublicKey>) -> u64 {
        let of = |s: &&Sharing| owner.is_none_or(|owner| s.record.owner.lane_key() == *owner);
        self.sharings.values().filter(of).map(Sharing::bytes).sum()
    }
}

impl Sharing {
    fn new(record: SharingRecord, entry: Option<Arc<Entry>>) -> Self {
        Self { record, entry, damaged: 0 }
    }

    /// Bytes of the current version's files.
    fn bytes(&self) -> u64 {
        self.entry.as_ref().map_or(self.damaged, |entry| entry.bytes)
    }

    /// Keys on its access lists: that of the current manifest, and a later one.
    fn listed(&self) -> usize {
        self.first() + self.later(self.record.access.as_ref().map_or(0, |later| later.list().len()))
    }

    fn first(&self) -> usize {
        let first = self.entry.as_ref().and_then(|entry| entry.manifest().access.list());
        first.map_or(0, AccessList::len)
    }

    /// What a later list of so many keys counts. There is a place for one as long as the first from the beginning: its owner can
    /// always take keys off.
    fn later(&self, keys: usize) -> usize {
        keys.max(self.first())
    }

    /// Whether `key` may use it: the owner; and whoever is among the node's `consumers` and on the latest access list.
    /// (A key that may share models is no consumer for that.) Where a chain says who, it says so of the owner, too.
    fn rule(&self, entry: &Entry, key: &PublicKey, consumers: &Admission) -> Rule {
        let listed = match &entry.manifest().access {
            AccessRule::Chain(asset) => return Rule::Licence(*asset),
            AccessRule::Keys(first) => self.record.access.as_ref().map_or(first, SignedAccess::list),
        };
        match self.is_of(key) || consumers.admits(key) && listed.admits(key) {
            true => Rule::Open,
            false => Rule::Closed,
        }
    }

    fn is_of(&self, owner: &PublicKey) -> bool {
        self.record.owner.lane_key() == *owner
    }
}

/// What a sharing's access rule says of one key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Rule {
    /// It may.
    Open,
    /// It may not.
    Closed,
    /// The market knows.
    Licence(Asset),
}

/// Leave for one task, given after everything was checked: that the sharing is here, that it permits the graph and the
/// assignment, and that the key may use it.
pub struct Permit {
    entry: Arc<Entry>,
    graph: Arc<Graph>,
    task: Task,
    node: u8,
    leave: Option<Work>,
    place: Option<Place>,
}

impl Permit {
    /// Where it is asked for money, if it is: a job is to be paid there.
    pub fn place(&self) -> Option<&Place> {
        self.place.as_ref()
    }

    /// What its owner has signed.
    pub fn manifest(&self) -> &Manifest {
        self.entry.manifest()
    }

    /// How many numbers of an answer are noised.
    pub fn noised(&self) -> u64 {
        let inputs = self.manifest().node_noise().map_or(&[][..], |noise| noise.inputs());
        let len = |input: &u32| self.graph.inputs.get(*input as usize).map_or(0, |spec| spec.shape.len() as u64);
        inputs.iter().map(len).sum()
    }

    /// The graph.
    pub fn graph(&self) -> &Arc<Graph> {
        &self.graph
    }

    /// The plan for the task, and what a job costs.
    ///
    /// # Errors
    /// When that is more than this node allows, or the protocol does not evaluate the graph; [`ModelError::Unready`] when it
    /// is to be made first, without leave.
    pub fn plan(&self) -> Result<(Arc<Plan>, Cost), ModelError> {
        self.entry.plan(&self.graph, &self.task, self.leave)
    }

    /// This node's weight material for the task.
    ///
    /// # Errors
    /// When the part on disk cannot be read, or is not the one that the manifest commits to; [`ModelError::Unready`] when it
    /// is to be read first, without leave.
    pub fn material(&self) -> Result<Arc<WeightMaterial>, ModelError> {
        let (_, cost) = self.plan()?;
        self.entry.material(&self.graph, &cost, self.task.assignment, self.node, self.leave)
    }
}

impl ModelStore {
    /// Opens the store of node `node` of a committee in `dir`; what belongs to no record is removed. What cannot be read is
    /// left alone, not served, said in the log by name, and still bars the versions and serials before it.
    ///
    /// # Errors
    /// When the folder cannot be read.
    pub fn open(
        dir: &Path,
        node: u8,
        committee: [u8; 32],
        parties: Parties,
        limits: ModelLimits,
    ) -> Result<Self, ModelError> {
        let place = ModelPlace { dir: dir.into(), node, committee };
        let mut stores = Self::open_all(vec![place.clone()], &parties, limits)?;
        stores.pop().ok_or_else(|| at("open", &place.dir)(std::io::ErrorKind::NotFound.into()))
    }

    /// [`ModelStore::open`] for the committees of a node, each with its folder: the limits are for all together.
    ///
    /// # Errors
    /// When a folder cannot be read.
    pub fn open_all(places: Vec<ModelPlace>, parties: &Parties, limits: ModelLimits) -> Result<Vec<Self>, ModelError> {
        let ready = Ready::new(limits.cost);
        let (mut states, mut damages) = (Vec::new(), Vec::new());
        for ModelPlace { dir, committee, .. } in &places {
            fs::create_dir_all(dir).map_err(at("create", dir))?;
            let found = opening::read(dir, committee, &ready)?;
            for damage in &found.damage {
                tracing::error!("{damage}");
            }
            states.push(found.state);
            damages.push(found.damage);
        }
        let shared = Arc::new(Shared { limits, ready, states: Mutex::new(states) });
        let stores = places.into_iter().zip(damages).enumerate();
        let store = |(shelf, (place, damage))| Self {
            place,
            parties: parties.clone(),
            shelf,
            shared: shared.clone(),
            damage,
            market: None,
        };
        Ok(stores.map(store).collect())
    }

    /// The same store, which serves sharings for money to whom this market calls licensed. `keys` are those of the committee's
    /// members, in its order.
    #[must_use]
    pub fn with_market(self, market: Arc<dyn Market>, keys: [PublicKey; 3]) -> Self {
        Self { market: Some((market, keys)), ..self }
    }

    /// What was found at the start that cannot be read, each by its name, with what follows from it.
    pub fn damage(&self) -> &[String] {
        &self.damage
    }

    /// Leave for `key` to have a task computed. What of it is not in memory is made ready only with `leave` for that work, which
    /// one at a time has: [`ModelError::Unready`] asks for it.
    ///
    /// # Errors
    /// [`ModelError::Missing`] alike for what is not here and for what `key` may not use, so that nobody finds out what
    /// others share; [`ModelError::Unlicensed`] for what is asked for money; [`ModelError::Refused`] when the manifest does not
    /// permit the graph or the assignment.
    pub fn permit(&self, task: &Task, key: &PublicKey, leave: Option<Work>) -> Result<Permit, ModelError> {
        let (entry, rule) = {
            let state = self.lock();
            let (sharing, entry) = state.entry(&task.manifest).ok_or_else(|| not_for(&task.manifest))?;
            (entry.clone(), sharing.rule(entry, key, &self.parties.consumers))
        };
        let place = self.allows(&task.manifest, rule, key)?;
        if !entry.manifest().serves(task.assignment) {
            let text = format!("the sharing is not for jobs with node {} as helper", task.assignment.helper() + 1);
            return Err(ModelError::Refused(text));
        }
        let graph = entry.graph(task.graph, leave)?;
        Ok(Permit { entry, graph, task: *task, node: self.place.node, leave, place })
    }

    /// Whether a version is current: packs of others are of no use.
    pub fn is_current(&self, manifest: &ManifestId) -> bool {
        self.lock().current.contains_key(manifest)
    }

    /// Whether `key` may use a version, which is current.
    pub fn admits(&self, manifest: &ManifestId, key: &PublicKey) -> bool {
        let rule = {
            let state = self.lock();
            state.entry(manifest).map(|(sharing, entry)| sharing.rule(entry, key, &self.parties.consumers))
        };
        rule.is_some_and(|rule| self.allows(manifest, rule, key).is_ok())
    }

    /// Where a version is asked for money; none if it is not here, or not asked for money, or this node serves no market.
    pub fn place(&self, manifest: &ManifestId) -> Option<Place> {
        let asset = match self.lock().entry(manifest)?.1.manifest().access {
            AccessRule::Chain(asset) => asset,
            AccessRule::Keys(_) => return None,
        };
        self.place_of(manifest, asset)
    }

    fn place_of(&self, manifest: &ManifestId, asset: Asset) -> Option<Place> {
        let (_, keys) = self.market.as_ref()?;
        Some(Place { committee: self.place.committee, keys: *keys, manifest: *manifest, asset })
    }

    /// Whether what the rule of a version says of a key is that it may use it, and where it is asked for money then. Not asked while
    /// anything is locked.
    fn allows(&self, manifest: &ManifestId, rule: Rule, key: &PublicKey) -> Result<Option<Place>, ModelError> {
        let asset = match rule {
            Rule::Open => return Ok(None),
            Rule::Closed => return Err(not_for(manifest)),
            Rule::Licence(asset) => asset,
        };
        let (Some((market, _)), Some(place)) = (&self.market, self.place_of(manifest, asset)) else {
            return Err(no_market(&asset));
        };
        market.licensed(&place, key)?;
        Ok(Some(place))
    }

    /// What `key` may know of one sharing.
    pub fn find(&self, which: &FindSharing, key: &PublicKey) -> SharingReply {
        let state = self.lock();
        let id = match which {
            FindSharing::Current(id) => Some(id),
            FindSharing::Exactly(manifest) => state.current.get(manifest),
        };
        let Some(sharing) = id.and_then(|id| state.sharings.get(id)) else { return SharingReply::default() };
        let own = sharing.is_of(key);
        let mut reply = SharingReply::default();
        if own {
            (reply.last_version, reply.last_serial) = (sharing.record.last_version, sharing.record.last_serial);
            reply.deleted = sharing.record.current.is_none();
        }
        // What is for sale is shown to whoever may want to buy it: its licence names the manifest.
        let shown = |entry: &&Arc<Entry>| match sharing.rule(entry, key, &self.parties.consumers) {
            Rule::Open => true,
            Rule::Closed => false,
            Rule::Licence(_) => own || self.market.is_some(),
        };
        if let Some(entry) = sharing.entry.as_ref().filter(shown) {
            reply.manifest = Some(entry.signed().clone());
            // Others on the list are none of a consumer's business beyond what the manifest shows.
            reply.access = sharing.record.access.clone().filter(|_| own);
        }
        reply
    }

    /// The sharings that `key` owns or may use; all of them for an operator of the committee.
    pub fn list(&self, key: &PublicKey, operator: bool) -> SharingList {
        let mut list: Vec<SharingEntry> =
            self.seen_by(Some(key).filter(|_| !operator)).into_iter().map(|(_, shown)| shown).collect();
        list.sort_by_cached_key(|s| (s.owner, s.name.clone()));
        list.truncate(crate::wire::MAX_SHARINGS);
        SharingList(list)
    }

    /// How many sharings are here, or how many of them `key` owns or may use.
    pub fn count(&self, key: Option<&PublicKey>) -> u32 {
        self.seen_by(key).len() as u32
    }

    /// What `key` owns or may use of what is here, or all of it.
    fn seen_by(&self, key: Option<&PublicKey>) -> Vec<(Rule, SharingEntry)> {
        let rule = |s: &Sharing, entry: &Entry| match key {
            Some(key) if !s.is_of(key) => s.rule(entry, key, &self.parties.consumers),
            _ => Rule::Open,
        };
        let mut seen: Vec<(Rule, SharingEntry)> = {
            let state = self.lock();
            let entries = state.sharings.values().filter_map(|s| Some((rule(s, s.entry.as_ref()?), s)));
            entries.filter(|(rule, _)| *rule != Rule::Closed).filter_map(|(rule, s)| Some((rule, s.shown()?))).collect()
        };
        seen.retain(|(rule, shown)| key.is_none_or(|key| self.allows(&shown.manifest, *rule, key).is_ok()));
        seen
    }

    /// Takes a later access list, from the owner's own lane.
    ///
    /// # Errors
    /// When it is not the owner's, no such sharing is here, or a list with this serial or a later one was.
    pub fn put_access(&self, key: &PublicKey, access: SignedAccess) -> Result<(), ModelError> {
        let mut state = self.lock();
        let none = || ModelError::Missing("such a sharing of yours".into());
        let sharing = state
            .sharings
            .get(&access.sharing())
            .filter(|s| s.record.owner == access.owner() && s.record.owner.lane_key() == *key && s.entry.is_some())
            .ok_or_else(none)?;
        // One for another committee says nothing about this one, whoever brings it here.
        if sharing.entry.as_ref().is_none_or(|entry| access.committee() != Some(entry.manifest().committee)) {
            let text = "the access list was not signed for this committee: sign one that names it";
            return Err(ModelError::Refused(text.into()));
        }
        if sharing.entry.as_ref().is_some_and(|entry| entry.manifest().access.list().is_none()) {
            let text =
                "an asset on a chain says who may use this sharing: share it anew to put a list of keys in its place";
            return Err(ModelError::Refused(text.into()));
        }
        let serial = access.list().serial;
        if serial <= sharing.record.last_serial {
            let text = format!(
                "the access list has serial {serial}, this node has seen {}: sign one with a higher serial",
                sharing.record.last_serial
            );
            return Err(ModelError::Refused(text));
        }
        upload::no_jump("serial", serial, sharing.record.last_serial)?;
        let first = sharing.first();
        self.room_for_keys(&state, first + sharing.later(access.list().len()), sharing.listed())?;
        let sharing = state.sharings.get_mut(&access.sharing()).ok_or_else(none)?;
        let record = SharingRecord { last_serial: serial, access: Some(access), ..sharing.record.clone() };
        record.save(&self.place.dir)?;
        sharing.record = record;
        Ok(())
    }

    /// Whether access lists may have so many keys more, where so many are replaced: always, if these are as many.
    fn room_for_keys(&self, state: &Locked<'_>, more: usize, replaced: usize) -> Result<(), ModelError> {
        let sharings = state.all.iter().flat_map(|state| state.sharings.values());
        let listed = sharings.map(Sharing::listed).sum::<usize>() - replaced;
        if listed + more > self.shared.limits.access_keys && more > replaced {
            let text = format!(
                "the access lists here have {listed} keys, with {more} more they would have more than {} (limits.access_keys): share with fewer, or ask the node's operator",
                self.shared.limits.access_keys
            );
            return Err(ModelError::Refused(text));
        }
        Ok(())
    }

    /// Deletes a sharing; only its owner can. Whether there was one.
    ///
    /// # Errors
    /// When the file system refuses.
    pub fn delete(&self, key: &PublicKey, id: &SharingId) -> Result<bool, ModelError> {
        let gone = {
            let mut guard = self.lock();
            let state = &mut *guard;
            let Some(sharing) = state.sharings.get_mut(id).filter(|s| s.record.owner.lane_key() == *key) else {
                return Ok(false);
            };
            // Also a version whose files cannot be read.
            let Some(gone) = sharing.record.current else { return Ok(false) };
            let record = SharingRecord { current: None, access: None, ..sharing.record.clone() };
            record.save(&self.place.dir)?;
            *sharing = Sharing::new(record, None);
            state.current.remove(&gone);
            gone
        };
        remove_folder(&self.place.dir.join(gone.to_string()));
        Ok(true)
    }

    /// The client part of a version, open for reading, its length, and whose it is.
    ///
    /// # Errors
    /// When `key` may not use it, or it has none.
    pub fn client_part(&self, manifest: &ManifestId, key: &PublicKey) -> Result<(File, u64, PublicKey), ModelError> {
        let (path, part, owner, rule) = {
            let state = self.lock();
            let (sharing, entry) = state.entry(manifest).ok_or_else(|| not_for(manifest))?;
            let rule = match sharing.is_of(key) {
                true => Rule::Open,
                false => sharing.rule(entry, key, &self.parties.consumers),
            };
            let (signed, owner) = (entry.manifest(), entry.manifest().owner.lane_key());
            (entry.folder().join(CLIENT), signed.client_part, owner, rule)
        };
        self.allows(manifest, rule, key)?;
        let part = part.ok_or_else(|| ModelError::Refused("the sharing has no client part".into()))?;
        let file = File::open(&path).map_err(at("open", &path))?;
        Ok((file, part.len, owner))
    }

    fn lock(&self) -> Locked<'_> {
        Locked { all: self.shared.states.lock().unwrap_or_else(PoisonError::into_inner), shelf: self.shelf }
    }
}

impl Sharing {
    fn shown(&self) -> Option<SharingEntry> {
        let entry = self.entry.as_ref()?;
        let manifest = entry.manifest();
        Some(SharingEntry {
            owner: manifest.owner.lane_key(),
            name: manifest.name.clone(),
            version: manifest.version,
            manifest: entry.id(),
            visibility: manifest.visibility(),
            client_part: manifest.client_part.map_or(0, |part| part.len),
            bytes: entry.bytes,
        })
    }
}

/// Nothing is taken for a sharing of which this node has lost the memory.
fn unreadable() -> ModelError {
    let text = "what this node remembers of the sharing is damaged, so that no version can be told to be newer: its operator has to put that right, or share under another name";
    ModelError::Refused(text.into())
}

pub(crate) fn not_for(manifest: &ManifestId) -> ModelError {
    ModelError::Missing(format!("sharing {:.16}…, for this key,", manifest.to_string()))
}

/// Nothing here knows who has paid.
fn no_market(asset: &Asset) -> ModelError {
    let text = format!(
        "access by an asset on chain {} is not served here: this node serves no market (`market` in its node.toml)",
        asset.chain
    );
    ModelError::Refused(text)
}

/// Removes what nothing points to any more; what stays is removed at the next start.
fn remove_folder(folder: &Path) {
    if let Err(error) = fs::remove_dir_all(folder) {
        tracing::warn!(%error, folder = %folder.display(), "a folder stays until the next start");
    }
    if let Some(Err(error)) = folder.parent().map(sync_dir) {
        tracing::warn!(%error, "a folder may be found again at the next start");
    }
}

#[cfg(test)]
mod tests;
