//! Preprocessing packs of an evaluator: each is used once and never twice, whatever crashes and whatever is restored.
//!
//! **Which packs are unused is known to memory alone.** New packs stay in memory up to a limit, further ones go to disk;
//! the files of a running node are worth something to that process only. A node that is stopped hands the names of its
//! unused packs back to their helpers and writes those in memory to disk; at its next start it reclaims each name from the
//! helper, who gives it out once and keeps the list in memory, under an *incarnation* drawn when the helper starts. So a
//! file that comes back from a backup is never used: its name is not on the helper's list any more, or the helper's
//! incarnation is another one. A node that is killed has handed nothing back and loses its packs, which is always safe.
//!
//! A pack is *reserved* for a job and loaded before the job is opened, and destroyed (its file is gone) before anything
//! masked by it leaves the node. Until then the job can give it back. A file has a checksum, and is synced together with its
//! directory before a stopped node ends; a damaged one is a lone half, and the next pack serves.
//!
//! A node has a store for each of its committees, with a folder of its own: no store finds a pack of another. Limits are for all
//! of them together, and whoever has most makes room wherever it has it.

mod file;
mod header;
mod index;
mod spare;
#[cfg(test)]
mod tests;

use std::collections::HashSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use sahara_circuits::bytes::DecodeError;
use thiserror::Error;

use crate::engine::{EvaluatorRole, PackContents};
use crate::identity::PublicKey;
use crate::wire::{Incarnation, PackId};
use file::{at, destroy, sync_dir};
pub use header::{PackHeader, PackKey};
pub use index::Purpose;
use index::{Choice, Index, Promise, Ready, Spot, room};
pub(crate) use index::{MOST_PACKS, PACK_MEMORY};

/// A pack that cannot be kept or used.
#[derive(Debug, Error)]
pub enum PackError {
    /// The file system refuses.
    #[error("cannot {action} {}: {source}", path.display())]
    Io {
        /// What was being done.
        action: &'static str,
        /// With which file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The file is not what it should be.
    #[error("{}: {source}", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        source: DecodeError,
    },
    /// No room.
    #[error("{0}")]
    Full(String),
}

/// The packs of one committee at one node.
pub struct PackStore {
    shelf: usize,
    shared: Arc<Shared>,
}

/// What the stores of a node share.
struct Shared {
    /// The folder of each store.
    dirs: Vec<PathBuf>,
    index: Mutex<Index>,
    changed: Condvar,
    limits: PackLimits,
}

/// How much may be kept.
#[derive(Clone, Copy, Debug)]
pub struct PackLimits {
    /// Packs for one key.
    pub per_key: usize,
    /// Packs in all.
    pub all: usize,
    /// Bytes in all: of files, in whole blocks.
    pub bytes: u64,
    /// Of these, bytes in memory.
    pub memory: u64,
}

impl PackStore {
    /// Opens the store in `dir`, without a pack; gives the packs found there, of which none may be used unless its helper
    /// gives its name back ([`PackStore::readmit`]). What cannot be read is destroyed.
    ///
    /// # Errors
    /// When the folder cannot be read.
    pub fn open(dir: &Path, limits: PackLimits) -> Result<(Self, Vec<PackHeader>), PackError> {
        let found = find(dir)?;
        let shared = Shared::new(vec![dir.into()], limits);
        Ok((Self { shelf: 0, shared }, found))
    }

    /// [`PackStore::open`] for the committees of a node, each with its folder: the limits are for all together.
    ///
    /// # Errors
    /// When a folder cannot be read.
    pub fn open_all(dirs: Vec<PathBuf>, limits: PackLimits) -> Result<Vec<(Self, Vec<PackHeader>)>, PackError> {
        let found = dirs.iter().map(|dir| find(dir)).collect::<Result<Vec<_>, _>>()?;
        let shared = Shared::new(dirs, limits);
        let stores = found.into_iter().enumerate();
        Ok(stores.map(|(shelf, found)| (Self { shelf, shared: shared.clone() }, found)).collect())
    }

    /// Makes packs found at the start usable: exactly those whose names their helper has just given back.
    pub fn readmit(&self, packs: &[PackHeader], purpose: Purpose, now: Instant) {
        let mut index = self.lock();
        for header in packs {
            let (header, shelf) = (*header, self.shelf);
            index.add(Ready { header, shelf, contents: None, purpose, for_anybody: true, made: now });
        }
        drop(index);
        self.shared.changed.notify_all();
    }

    /// Destroys packs found at the start.
    ///
    /// # Errors
    /// When a file cannot be destroyed.
    pub fn discard(&self, packs: &[PackHeader]) -> Result<(), PackError> {
        packs.iter().try_for_each(|header| destroy(&self.path(&header.id, "pack")))
    }

    /// Keeps room for a pack of `bytes` bytes that is about to be made.
    ///
    /// # Errors
    /// When there is none, and nobody has more than whoever asks for it.
    pub fn promise(&self, key: PackKey, bytes: u64, purpose: Purpose) -> Result<Promised<'_>, PackError> {
        let promise = Promise { spot: self.spot(&key), bytes: room(bytes), purpose };
        let gone = self.lock().promise(&self.shared.limits, promise, Instant::now())?;
        self.destroy_all(&gone)?;
        Ok(Promised { store: self, promise })
    }

    /// Reserves a pack for the job of a consumer; waits at most `time` for one that is being made.
    ///
    /// # Errors
    /// None.
    pub fn reserve(
        self: &Arc<Self>,
        key: &PackKey,
        wanted: &Purpose,
        time: Duration,
    ) -> Result<Option<Reserved>, PackError> {
        self.reserve_while(key, wanted, time, time, || Ok(()))
    }

    /// The same; asks every `glance` whether the pack is still wanted, and again when there is one: it goes back then.
    ///
    /// # Errors
    /// What `still_wanted` says.
    pub fn reserve_while<E>(
        self: &Arc<Self>,
        key: &PackKey,
        wanted: &Purpose,
        time: Duration,
        glance: Duration,
        mut still_wanted: impl FnMut() -> Result<(), E>,
    ) -> Result<Option<Reserved>, E> {
        let end = Instant::now() + time;
        loop {
            still_wanted()?;
            let mut index = self.lock();
            let now = Instant::now();
            match index.choose(&self.spot(key), wanted, now) {
                Choice::Pack(pack) => {
                    drop(index);
                    let reserved = Reserved::new(self, *pack);
                    still_wanted()?;
                    return Ok(Some(reserved));
                }
                Choice::Wait if now < end => {}
                Choice::Wait | Choice::None => return Ok(None),
            }
            let wait = (end - now).min(glance);
            drop(self.shared.changed.wait_timeout(index, wait).unwrap_or_else(PoisonError::into_inner));
        }
    }

    /// Reserves the pack with this name.
    pub fn reserve_this(self: &Arc<Self>, key: &PackKey, id: &PackId) -> Option<Reserved> {
        self.lock().choose_this(&self.spot(key), id).map(|pack| Reserved::new(self, pack))
    }

    /// Stops handing out packs (of any store of the node), and gives the headers of those that are ready here: their names can
    /// be handed back.
    pub fn close(&self) -> Vec<PackHeader> {
        let ready = self.lock().close(self.shelf);
        self.shared.changed.notify_all();
        ready
    }

    /// Writes the packs in memory to disk, as far as `keep` wants them, and destroys the other files. After
    /// [`PackStore::close`].
    ///
    /// # Errors
    /// When a file cannot be written or destroyed.
    pub fn spill(&self, keep: impl Fn(&PackHeader) -> bool) -> Result<usize, PackError> {
        self.remove_where(|pack| !keep(&pack.header))?;
        let in_memory = self.lock().take_contents(self.shelf);
        for (header, contents) in &in_memory {
            self.write_file(header, contents)?;
        }
        sync_dir(self.dir())?;
        Ok(in_memory.len())
    }

    fn write_file(&self, header: &PackHeader, contents: &PackContents) -> Result<(), PackError> {
        file::write(&self.path(&header.id, "pack"), header, contents)
    }

    /// All packs for `key` that are ready or in use.
    pub fn held(&self, key: &PackKey) -> Vec<PackId> {
        self.lock().held(&self.spot(key))
    }

    /// Destroys the ready packs for `key` that the other evaluator does not hold.
    ///
    /// # Errors
    /// When a file cannot be destroyed.
    pub fn keep_only(&self, key: &PackKey, held: &[PackId]) -> Result<usize, PackError> {
        self.remove_where(|pack| pack.header.key == *key && !held.contains(&pack.header.id))
    }

    /// Destroys the ready packs whose key fails `keep` (a model was registered anew).
    ///
    /// # Errors
    /// When a file cannot be destroyed.
    pub fn retain(&self, keep: impl Fn(&PackKey) -> bool) -> Result<usize, PackError> {
        self.remove_where(|pack| !keep(&pack.header.key))
    }

    /// A buffer of `len` bytes, of whatever contents, for the corrections of a pack that is about to come: one that a
    /// used pack has left, if there is one, for fresh memory costs more than what is received into it.
    pub fn buffer(&self, len: usize) -> Vec<u8> {
        let spare = self.lock().spares.take(len);
        spare.unwrap_or_else(|| vec![0; len])
    }

    /// Takes back the buffer of a pack's corrections after a job, for the next; within the limit of packs in memory.
    pub fn recycle(&self, buffer: Vec<u8>, now: Instant) {
        self.lock().recycle(&self.shared.limits, buffer, now);
    }

    /// Destroys the packs here that have waited for `age` or longer, and frees buffers that have.
    ///
    /// # Errors
    /// When a file cannot be destroyed.
    pub fn expire(&self, age: Duration, now: Instant) -> Result<usize, PackError> {
        self.lock().spares.expire(age, now);
        self.remove_where(|pack| now.saturating_duration_since(pack.made) >= age)
    }

    fn remove_where(&self, doomed: impl Fn(&Ready) -> bool) -> Result<usize, PackError> {
        let gone = self.lock().remove_where(|pack| pack.shelf == self.shelf && doomed(pack));
        self.destroy_all(&gone)?;
        Ok(gone.len())
    }

    /// Also of other committees: whoever has most makes room there.
    fn destroy_all(&self, packs: &[(usize, PackId)]) -> Result<(), PackError> {
        // All of them, also after one that cannot be removed: nobody counts them any more.
        packs.iter().map(|(shelf, id)| destroy(&self.shared.path(*shelf, id, "pack"))).fold(Ok(()), Result::and)
    }

    /// Packs ready, by key.
    pub fn counts(&self) -> Vec<(PackKey, u32)> {
        self.lock().counts(self.shelf)
    }

    /// Packs ready for a key.
    pub fn count(&self, key: &PackKey) -> u32 {
        self.lock().count(&self.spot(key))
    }

    /// Packs ready for a consumer's next job: not those that are others' for now.
    pub fn count_for(&self, key: &PackKey, consumer: PublicKey, now: Instant) -> u32 {
        self.lock().count_for(&self.spot(key), consumer, now)
    }

    fn spot(&self, key: &PackKey) -> Spot {
        Spot { shelf: self.shelf, key: *key }
    }

    fn dir(&self) -> &Path {
        &self.shared.dirs[self.shelf]
    }

    fn path(&self, id: &PackId, extension: &str) -> PathBuf {
        self.shared.path(self.shelf, id, extension)
    }

    fn lock(&self) -> MutexGuard<'_, Index> {
        self.shared.index.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Shared {
    fn new(dirs: Vec<PathBuf>, limits: PackLimits) -> Arc<Self> {
        Arc::new(Self { dirs, index: Mutex::default(), changed: Condvar::new(), limits })
    }

    fn path(&self, shelf: usize, id: &PackId, extension: &str) -> PathBuf {
        self.dirs[shelf].join(format!("{id}.{extension}"))
    }
}

/// The packs in a folder; what cannot be read is destroyed.
fn find(dir: &Path) -> Result<Vec<PackHeader>, PackError> {
    fs::create_dir_all(dir).map_err(at("create", dir))?;
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).map_err(at("list", dir))? {
        let path = entry.map_err(at("list", dir))?.path();
        match path.extension().and_then(|e| e.to_str()) {
            Some("pack") => match file::read_header(&path) {
                Ok(header) => found.push(header),
                Err(error) => {
                    tracing::warn!(%error, "destroying an unusable pack");
                    destroy(&path)?;
                }
            },
            // Not finished, or in use by an earlier version of this program.
            Some("partial" | "taken") => destroy(&path)?,
            _ => {}
        }
    }
    found.sort_by_key(|header| header.id);
    Ok(found)
}

/// Room for a pack that is being made; free again when dropped.
pub struct Promised<'a> {
    store: &'a PackStore,
    promise: Promise,
}

impl<'a> Promised<'a> {
    /// Keeps the pack, not yet ready for use: in memory if there is room, else on disk.
    ///
    /// # Errors
    /// When there is no room in memory and the file cannot be written.
    pub fn stage(self, header: PackHeader, contents: PackContents) -> Result<StagedPack<'a>, PackError> {
        let len = header.file_len().unwrap_or(u64::MAX);
        let enters = self.store.lock().enters_memory(&self.store.shared.limits, len);
        if enters {
            return Ok(StagedPack { promised: self, header, contents: Some(contents), committed: false });
        }
        let staged = StagedPack { promised: self, header, contents: None, committed: false };
        staged.promised.store.write_file(&header, &contents)?;
        Ok(staged)
    }
}

impl Drop for Promised<'_> {
    fn drop(&mut self) {
        self.store.lock().keep_or_break(&self.promise);
        self.store.shared.changed.notify_all(); // who waits for it finds it ready, or learns that there is none
    }
}

/// A pack that is not ready yet; destroyed unless committed.
pub struct StagedPack<'a> {
    promised: Promised<'a>,
    header: PackHeader,
    contents: Option<PackContents>,
    committed: bool,
}

impl StagedPack<'_> {
    /// Makes the pack ready.
    pub fn commit(mut self, now: Instant) {
        self.committed = true;
        let Promise { purpose, .. } = self.promised.promise;
        let (header, contents, shelf) = (self.header, self.contents.take(), self.promised.store.shelf);
        let ready = Ready { header, shelf, contents, purpose, for_anybody: false, made: now };
        // In one step with the end of the promise, so that nobody who waits for it sees neither.
        let mut index = self.promised.store.lock();
        index.keep_or_break(&self.promised.promise);
        index.add(ready);
    }
}

impl Drop for StagedPack<'_> {
    fn drop(&mut self) {
        if self.committed {
            return;
        }
        let store = self.promised.store;
        if self.contents.is_some() {
            store.lock().memory -= self.header.file_len().unwrap_or(u64::MAX);
        } else {
            let _ = fs::remove_file(store.path(&self.header.id, "pack")); // else the next start removes it
        }
    }
}

/// A pack that is reserved for one job: back in its place when dropped, gone for ever once taken.
pub struct Reserved {
    store: Arc<PackStore>,
    /// Present until it is taken or destroyed.
    pack: Option<Ready>,
    /// Read from its file, which is still there.
    loaded: Option<PackContents>,
}

/// Keeps a used pack's name on the list of held packs until the job has ended.
pub struct InUse {
    store: Arc<PackStore>,
    spot: Spot,
    id: PackId,
}

impl Reserved {
    fn new(store: &Arc<PackStore>, pack: Ready) -> Self {
        Self { store: store.clone(), pack: Some(pack), loaded: None }
    }

    /// Its name.
    pub fn id(&self) -> PackId {
        self.pack.as_ref().map_or(PackId([0; 16]), |pack| pack.header.id)
    }

    /// What it is bound to.
    pub fn header(&self) -> Option<&PackHeader> {
        self.pack.as_ref().map(|pack| &pack.header)
    }

    /// Reads the pack if it is on disk, and checks that it is whole and for this role. It can still be given back.
    ///
    /// # Errors
    /// When it cannot be used: destroy it then.
    pub fn load(&mut self, role: EvaluatorRole) -> Result<(), PackError> {
        let Some(pack) = &self.pack else { return Ok(()) };
        let path = self.store.path(&pack.header.id, "pack");
        if pack.header.role != role {
            return Err(file::damaged(&path)(DecodeError::Field { what: "pack", field: "role" }));
        }
        if pack.contents.is_none() && self.loaded.is_none() {
            let (header, contents) = file::read(&path)?;
            if header != pack.header {
                return Err(file::damaged(&path)(DecodeError::Field { what: "pack", field: "header" }));
            }
            self.loaded = Some(contents);
        }
        Ok(())
    }

    /// Before the pack is named to the node that has its other half, if it is still wanted: this is the last moment at
    /// which it goes back as it was.
    ///
    /// # Errors
    /// What `still_wanted` says.
    pub fn offer<E>(self, still_wanted: impl FnOnce() -> Result<(), E>) -> Result<Offered, E> {
        still_wanted()?;
        Ok(Offered(Some(self)))
    }

    /// Takes the pack for good: its file is gone before this returns.
    ///
    /// # Errors
    /// When its file cannot be removed; the pack is lost then.
    pub fn take(mut self, role: EvaluatorRole) -> Result<(PackContents, InUse), PackError> {
        self.load(role)?;
        let on_disk = self.loaded.is_some();
        let contents = self.loaded.take().or_else(|| self.pack.as_mut().and_then(|pack| pack.contents.take()));
        let (Some(pack), Some(contents)) = (self.pack.take(), contents) else {
            let what = DecodeError::Field { what: "pack", field: "contents" };
            return Err(file::damaged(self.store.dir())(what));
        };
        let in_use = InUse { store: self.store.clone(), spot: pack.spot(), id: pack.header.id };
        if on_disk {
            destroy(&self.store.path(&pack.header.id, "pack"))?;
            sync_dir(self.store.dir())?;
        }
        Ok((contents, in_use))
    }

    /// Destroys the pack.
    ///
    /// # Errors
    /// When its file cannot be removed; the running node does not use it any more all the same.
    pub fn destroy(mut self) -> Result<(), PackError> {
        let Some(pack) = self.pack.take() else { return Ok(()) };
        self.store.lock().release(&pack.spot(), &pack.header.id);
        destroy(&self.store.path(&pack.header.id, "pack"))
    }
}

/// A reserved pack that was named to the node that has its other half: destroyed when dropped, for nobody knows whether
/// that node has begun to use it.
pub struct Offered(Option<Reserved>);

impl Offered {
    /// The other half will not be used: this one can serve another job.
    pub fn give_back(mut self) {
        self.0 = None;
    }

    /// [`Reserved::take`].
    ///
    /// # Errors
    /// When its file cannot be removed; the pack is lost then.
    pub fn take(mut self, role: EvaluatorRole) -> Result<(PackContents, InUse), PackError> {
        let gone = || file::damaged(Path::new(""))(DecodeError::Field { what: "pack", field: "contents" });
        self.0.take().ok_or_else(gone)?.take(role)
    }
}

impl Drop for Offered {
    fn drop(&mut self) {
        if let Some(Err(error)) = self.0.take().map(Reserved::destroy) {
            tracing::warn!(%error, "a pack that may have been used could not be removed");
        }
    }
}

impl Drop for Reserved {
    fn drop(&mut self) {
        if let Some(pack) = self.pack.take() {
            self.store.lock().put_back(&self.store.shared.limits, pack);
            self.store.shared.changed.notify_all();
        }
    }
}

impl Drop for InUse {
    fn drop(&mut self) {
        self.store.lock().release(&self.spot, &self.id);
    }
}

/// What a helper remembers of the packs that its evaluators have handed back: in memory only.
pub struct Deposits {
    incarnation: Incarnation,
    /// By evaluator.
    handed_back: Vec<Mutex<HashSet<PackId>>>,
}

impl Deposits {
    /// Most names that one evaluator may have handed back.
    const MOST: usize = 1 << 16;

    /// Empty, under a fresh incarnation, for a committee of so many members.
    ///
    /// # Errors
    /// When the system has no random bytes to give.
    pub fn new(members: usize) -> Result<Self, getrandom::Error> {
        let handed_back = (0..members).map(|_| Mutex::default()).collect();
        Ok(Self { incarnation: Incarnation::random()?, handed_back })
    }

    /// Names this run of the helper.
    pub fn incarnation(&self) -> Incarnation {
        self.incarnation
    }

    /// An evaluator that stops hands back names of unused packs; says how many were taken.
    pub fn hand_back(&self, evaluator: u8, incarnation: Incarnation, packs: &[PackId]) -> usize {
        if incarnation != self.incarnation {
            return 0;
        }
        let Some(mut names) = self.names(evaluator) else { return 0 };
        let before = names.len();
        names.extend(packs.iter().take(Self::MOST.saturating_sub(before)));
        names.len() - before
    }

    /// An evaluator that starts reclaims names: those that it has handed back, each once.
    pub fn reclaim(&self, evaluator: u8, incarnation: Incarnation, packs: &[PackId]) -> Vec<PackId> {
        if incarnation != self.incarnation {
            return Vec::new();
        }
        let Some(mut names) = self.names(evaluator) else { return Vec::new() };
        packs.iter().filter(|pack| names.remove(pack)).copied().collect()
    }

    fn names(&self, evaluator: u8) -> Option<MutexGuard<'_, HashSet<PackId>>> {
        let names = self.handed_back.get(usize::from(evaluator))?;
        Some(names.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
