//! Which packs are there, promised or in use, and who gets one: the bookkeeping, without files.

use std::collections::{HashMap, HashSet, VecDeque};
use std::hash::Hash;
use std::time::{Duration, Instant};

use super::header::{PackHeader, PackKey};
use super::spare::Spares;
use super::{PackError, PackLimits};
use crate::engine::PackContents;
use crate::identity::PublicKey;
use crate::wire::{JobId, PackId};

/// How long a pack waits for the job that it was made for, or for one of whoever had it made; then any job may have it.
pub(super) const RESERVED: Duration = Duration::from_secs(60);

/// Most packs in all, of all tasks: so many tiny ones take no memory to speak of.
pub(crate) const MOST_PACKS: usize = 1 << 14;
/// Bytes of memory that a pack takes besides its contents, with its task's place and room to grow.
pub(crate) const PACK_MEMORY: u64 = 3 << 10;
/// Files take up whole blocks.
pub(super) const BLOCK: u64 = 4096;

/// Room that a pack's file of so many bytes takes.
pub(super) fn room(len: u64) -> u64 {
    len.checked_next_multiple_of(BLOCK).unwrap_or(u64::MAX)
}

/// Where packs lie: in which store, and for what. Nothing that names one finds packs of another store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Spot {
    pub(super) shelf: usize,
    pub(super) key: PackKey,
}

/// For whom a pack is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Purpose {
    /// Who had it made.
    pub asked_by: PublicKey,
    /// The job that it is for, if it is for one.
    pub job: Option<JobId>,
}

impl Purpose {
    /// Whether a pack of this purpose is for a consumer's job: no other consumer's, which might only open it and go.
    fn is_for(&self, wanted: &Self) -> bool {
        self.asked_by == wanted.asked_by && (self.job.is_none() || self.job == wanted.job)
    }
}

/// A pack that waits for its job.
pub(super) struct Ready {
    pub(super) header: PackHeader,
    /// In which store.
    pub(super) shelf: usize,
    /// `None` when it is on disk.
    pub(super) contents: Option<PackContents>,
    pub(super) purpose: Purpose,
    /// Nobody remembers for whom it was made.
    pub(super) for_anybody: bool,
    pub(super) made: Instant,
}

impl Ready {
    pub(super) fn spot(&self) -> Spot {
        Spot { shelf: self.shelf, key: self.header.key }
    }

    /// What it is called among all.
    fn name(&self) -> (Spot, PackId) {
        (self.spot(), self.header.id)
    }

    /// Bytes of memory of its contents.
    fn len(&self) -> u64 {
        self.header.file_len().unwrap_or(u64::MAX)
    }

    /// Bytes of its file, on the disk or to be written there when the node stops.
    fn room(&self) -> u64 {
        room(self.len())
    }

    /// How well it serves a job of a consumer: made for it, made for any job of the consumer's, or for nobody in particular.
    fn serves(&self, wanted: &Purpose, now: Instant) -> Option<u8> {
        match self.purpose {
            purpose if purpose == *wanted => Some(0),
            purpose if purpose.is_for(wanted) => Some(1),
            _ => self.is_free(now).then_some(2),
        }
    }

    fn is_free(&self, now: Instant) -> bool {
        self.for_anybody || now.saturating_duration_since(self.made) >= RESERVED
    }
}

/// A pack that is being made.
#[derive(Clone, Copy, Debug)]
pub(super) struct Promise {
    pub(super) spot: Spot,
    /// Room that its file will take.
    pub(super) bytes: u64,
    pub(super) purpose: Purpose,
}

/// What a job finds.
pub(super) enum Choice {
    /// This one; it counts as in use.
    Pack(Box<Ready>),
    /// None yet, but one is being made.
    Wait,
    /// None, and none is being made.
    None,
}

/// Packs that make room.
type Gone = HashSet<(Spot, PackId)>;

#[derive(Default)]
pub(super) struct Index {
    ready: HashMap<Spot, VecDeque<Ready>>,
    in_use: HashMap<Spot, Vec<PackId>>,
    promised: Vec<Promise>,
    /// Room of all packs that are ready or promised.
    bytes: u64,
    /// Bytes of packs in memory, ready or not.
    pub(super) memory: u64,
    /// Within the same limit: what used packs have left.
    pub(super) spares: Spares,
    /// The node stops: nothing is handed out any more.
    closed: bool,
}

/// Who deals packs: the helper of an assignment in a store's committee.
type Dealer = (usize, u8);

impl Spot {
    fn dealer(&self) -> Dealer {
        (self.shelf, self.key.assignment.helper())
    }
}

impl Index {
    /// Counts a pack that is about to be made; gives the packs of others that make room for it.
    ///
    /// Whoever has most of what is scarce loses the oldest, unless the newcomer would then have more: first the helpers are
    /// compared, as a helper may deal in whatever name it likes, then the consumers of the one that has most. If nobody else
    /// has more, a newcomer's own pack that has lain for a while makes room: its other half may be lost, and nobody would know.
    pub(super) fn promise(
        &mut self,
        limits: &PackLimits,
        promise: Promise,
        now: Instant,
    ) -> Result<Vec<(usize, PackId)>, PackError> {
        // Nothing is removed before it is known that the newcomer will have room.
        let gone = self.victims(limits, &promise, now)?;
        for (spot, id) in &gone {
            self.remove(spot, id);
        }
        self.bytes += promise.bytes;
        self.promised.push(promise);
        Ok(gone.into_iter().map(|(spot, id)| (spot.shelf, id)).collect())
    }

    /// The packs that make room for a newcomer.
    fn victims(&self, limits: &PackLimits, promise: &Promise, now: Instant) -> Result<Gone, PackError> {
        let Promise { spot, bytes, purpose } = *promise;
        let who = purpose.asked_by;
        let no_room = || {
            let limit = limits.bytes >> 20;
            PackError::Full(format!("the packs would take more than the limit of {limit} MB (limits.pack_megabytes)"))
        };
        if bytes > limits.bytes {
            return Err(no_room());
        }
        let mut gone = Gone::new();
        let mut total = self.bytes;
        loop {
            let here = |other: &Spot| *other == spot;
            let packs = self.holdings(&gone, here, |_| 1, |_, consumer| consumer);
            let chosen = if packs.values().sum::<u64>() >= limits.per_key as u64 {
                let chosen = match largest(&packs, &who, 1) {
                    Some(victim) => self.oldest(&gone, &victim, here, now),
                    None => now.checked_sub(RESERVED).and_then(|by| self.oldest(&gone, &who, here, by)),
                };
                chosen.ok_or_else(|| {
                    let text =
                        format!("{} packs are ready for this task already, the limit (limits.packs)", limits.per_key);
                    PackError::Full(text)
                })?
            } else if self.promised.len() + self.ready.values().map(VecDeque::len).sum::<usize>() - gone.len()
                >= limits.all
            {
                self.of_whoever_has_most(&gone, (spot.dealer(), who), |_| 1, 1, now).ok_or_else(|| {
                    PackError::Full(format!("{} packs are ready already, the most of all tasks", limits.all))
                })?
            } else if total.saturating_add(bytes) > limits.bytes {
                self.of_whoever_has_most(&gone, (spot.dealer(), who), |bytes| bytes, bytes, now).ok_or_else(no_room)?
            } else {
                return Ok(gone);
            };
            total -= chosen.room();
            gone.insert(chosen.name());
        }
    }

    /// Takes a promise back: the pack is ready, or was not made.
    pub(super) fn keep_or_break(&mut self, promise: &Promise) {
        if let Some(at) = self.promised.iter().position(|p| p.spot == promise.spot && p.purpose == promise.purpose) {
            self.promised.swap_remove(at);
            self.bytes -= promise.bytes;
        }
    }

    /// The oldest ready pack of the consumer that has most with the helper that has most; none if the newcomer, a helper and
    /// one of its consumers, would then have more.
    fn of_whoever_has_most(
        &self,
        gone: &Gone,
        (dealer, consumer): (Dealer, PublicKey),
        measure: impl Fn(u64) -> u64,
        more: u64,
        now: Instant,
    ) -> Option<&Ready> {
        let helpers = self.holdings(gone, |_| true, &measure, |spot, _| spot.dealer());
        let most = largest(&helpers, &dealer, more);
        let of = |spot: &Spot| spot.dealer() == most.unwrap_or(dealer);
        let consumers = self.holdings(gone, of, &measure, |_, consumer| consumer);
        let victim = match most {
            // A newcomer there has nothing yet: whoever has most has more.
            Some(_) => consumers.into_iter().max_by_key(|(key, size)| (*size, *key)).map(|(key, _)| key),
            None => largest(&consumers, &consumer, more),
        };
        self.oldest(gone, &victim?, of, now)
    }

    /// How much each has, as `whose` tells a helper and a consumer, of packs at spots that `of` selects: ready ones without
    /// those in `gone` and promised ones, each by `measure` of its room.
    fn holdings<Key: Eq + Hash>(
        &self,
        gone: &Gone,
        of: impl Fn(&Spot) -> bool,
        measure: impl Fn(u64) -> u64,
        whose: impl Fn(&Spot, PublicKey) -> Key,
    ) -> HashMap<Key, u64> {
        let mut held: HashMap<Key, u64> = HashMap::new();
        for (spot, ready) in self.ready.iter().filter(|(spot, _)| of(spot)) {
            for pack in ready.iter().filter(|pack| !gone.contains(&pack.name())) {
                *held.entry(whose(spot, pack.purpose.asked_by)).or_default() += measure(pack.room());
            }
        }
        for promise in self.promised.iter().filter(|promise| of(&promise.spot)) {
            *held.entry(whose(&promise.spot, promise.purpose.asked_by)).or_default() += measure(promise.bytes);
        }
        held
    }

    /// The oldest ready pack of a consumer at spots that `at` selects, without those in `gone`, that was made by then.
    fn oldest(&self, gone: &Gone, of: &PublicKey, at: impl Fn(&Spot) -> bool, by: Instant) -> Option<&Ready> {
        let candidates = self.ready.iter().filter(|(spot, _)| at(spot));
        let mine = candidates.flat_map(|(_, ready)| ready).filter(|pack| pack.purpose.asked_by == *of);
        let mine = mine.filter(|pack| pack.made <= by && !gone.contains(&pack.name()));
        mine.min_by_key(|pack| pack.made)
    }

    /// Whether a pack of `bytes` bytes may stay in memory; spare buffers give way to it.
    pub(super) fn enters_memory(&mut self, limits: &PackLimits, bytes: u64) -> bool {
        let enters = self.memory.saturating_add(bytes) <= limits.memory;
        if enters {
            self.memory += bytes;
            self.spares.shrink(limits.memory - self.memory);
        }
        enters
    }

    /// Keeps the buffer of a used pack if there is room for it.
    pub(super) fn recycle(&mut self, limits: &PackLimits, buffer: Vec<u8>, now: Instant) {
        if !self.closed {
            self.spares.keep(buffer, now);
            self.spares.shrink(limits.memory.saturating_sub(self.memory));
        }
    }

    pub(super) fn add(&mut self, pack: Ready) {
        self.bytes += pack.room();
        self.ready.entry(pack.spot()).or_default().push_back(pack);
    }

    /// Puts a pack back that was chosen and not used; it is the oldest again.
    pub(super) fn put_back(&mut self, limits: &PackLimits, pack: Ready) {
        self.release(&pack.spot(), &pack.header.id);
        self.bytes += pack.room();
        if pack.contents.is_some() {
            self.memory += pack.len();
            self.spares.shrink(limits.memory.saturating_sub(self.memory));
        }
        self.ready.entry(pack.spot()).or_default().push_front(pack);
    }

    /// A pack for the job of a consumer: the one made for it, else the oldest that the consumer has for any job, else the oldest
    /// that is for nobody in particular.
    pub(super) fn choose(&mut self, spot: &Spot, wanted: &Purpose, now: Instant) -> Choice {
        if self.closed {
            return Choice::None;
        }
        let serving = self.ready.get(spot).into_iter().flatten();
        let serving = serving.filter_map(|pack| Some((pack.serves(wanted, now)?, pack.header.id)));
        let id = serving.min_by_key(|(rank, _)| *rank).map(|(_, id)| id);
        if let Some(pack) = id.and_then(|id| self.choose_this(spot, &id)) {
            return Choice::Pack(Box::new(pack));
        }
        let promised = |p: &Promise| p.spot == *spot && p.purpose.is_for(wanted);
        if self.promised.iter().any(promised) { Choice::Wait } else { Choice::None }
    }

    /// The pack with this name; it counts as in use.
    pub(super) fn choose_this(&mut self, spot: &Spot, id: &PackId) -> Option<Ready> {
        if self.closed {
            return None;
        }
        let pack = self.remove(spot, id)?;
        self.in_use.entry(*spot).or_default().push(*id);
        Some(pack)
    }

    fn remove(&mut self, spot: &Spot, id: &PackId) -> Option<Ready> {
        let ready = self.ready.get_mut(spot)?;
        let at = ready.iter().position(|pack| pack.header.id == *id)?;
        let pack = ready.remove(at)?;
        if ready.is_empty() {
            self.ready.remove(spot);
        }
        self.bytes -= pack.room();
        if pack.contents.is_some() {
            self.memory -= pack.len();
        }
        Some(pack)
    }

    pub(super) fn release(&mut self, spot: &Spot, id: &PackId) {
        if let Some(list) = self.in_use.get_mut(spot) {
            list.retain(|used| used != id);
            if list.is_empty() {
                self.in_use.remove(spot);
            }
        }
    }

    /// All packs at a spot that are ready or in use.
    pub(super) fn held(&self, spot: &Spot) -> Vec<PackId> {
        let ready = self.ready.get(spot).into_iter().flatten().map(|ready| ready.header.id);
        ready.chain(self.in_use.get(spot).into_iter().flatten().copied()).collect()
    }

    /// Removes the ready packs that `doomed` names.
    pub(super) fn remove_where(&mut self, doomed: impl Fn(&Ready) -> bool) -> Vec<(usize, PackId)> {
        let all = self.ready.values().flatten();
        let gone: Vec<_> = all.filter(|pack| doomed(pack)).map(Ready::name).collect();
        gone.iter().filter_map(|(spot, id)| self.remove(spot, id)).map(|pack| (pack.shelf, pack.header.id)).collect()
    }

    /// Hands nothing out from now on, and gives the headers of what is ready in a store.
    pub(super) fn close(&mut self, shelf: usize) -> Vec<PackHeader> {
        self.closed = true;
        self.spares = Spares::default();
        self.ready.values().flatten().filter(|pack| pack.shelf == shelf).map(|pack| pack.header).collect()
    }

    pub(super) fn take_contents(&mut self, shelf: usize) -> Vec<(PackHeader, PackContents)> {
        let mut taken = Vec::new();
        for pack in self.ready.values_mut().flatten().filter(|pack| pack.shelf == shelf) {
            if let Some(contents) = pack.contents.take() {
                self.memory -= pack.header.file_len().unwrap_or(u64::MAX);
                taken.push((pack.header, contents));
            }
        }
        taken
    }

    /// How many there are in a store, by task.
    pub(super) fn counts(&self, shelf: usize) -> Vec<(PackKey, u32)> {
        let here = self.ready.iter().filter(|(spot, _)| spot.shelf == shelf);
        here.map(|(spot, ready)| (spot.key, ready.len() as u32)).collect()
    }

    /// How many serve a consumer's next job.
    pub(super) fn count_for(&self, spot: &Spot, consumer: PublicKey, now: Instant) -> u32 {
        let wanted = Purpose { asked_by: consumer, job: None };
        let ready = self.ready.get(spot).into_iter().flatten();
        ready.filter(|pack| pack.serves(&wanted, now).is_some()).count() as u32
    }

    pub(super) fn count(&self, spot: &Spot) -> u32 {
        self.ready.get(spot).map_or(0, |ready| ready.len() as u32)
    }
}

/// Who has most, if that is more than `who` has with `more` added.
fn largest<Key: Copy + Eq + Hash + Ord>(held: &HashMap<Key, u64>, who: &Key, more: u64) -> Option<Key> {
    let own = held.get(who).copied().unwrap_or(0).saturating_add(more);
    let (key, most) = held.iter().filter(|(key, _)| *key != who).max_by_key(|(key, most)| (**most, **key))?;
    (*most > own).then_some(*key)
}
