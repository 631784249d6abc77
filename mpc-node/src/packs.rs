//! Preprocessing packs of an evaluator: each is used once and never twice, whatever crashes.
//!
//! New packs stay in memory up to a limit, further ones go to disk; a node that is stopped writes those in memory to
//! disk, a node that is killed has lost them, which is always safe. On disk, `<id>.partial` is being written,
//! `<id>.pack` is ready, `<id>.taken` belongs to a job. Taking a pack renames it and syncs the directory *before*
//! anything is read, and the file is removed as soon as it is in memory. At start every `.partial` and `.taken` is
//! destroyed: a job that was interrupted takes its masks with it. A taken pack is one value that cannot be cloned and
//! is consumed by loading it.

mod header;
#[cfg(test)]
mod tests;

use std::collections::{HashMap, VecDeque};
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use thiserror::Error;
use zeroize::Zeroizing;

use crate::codec::{DecodeError, unhex};
use crate::engine::{EvaluatorRole, PackContents};
use crate::identity::private_file;
use crate::wire::PackId;
use header::PREFIX;
pub use header::{PackHeader, PackKey};

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

/// The packs of one node.
pub struct PackStore {
    dir: PathBuf,
    index: Mutex<Index>,
    limits: PackLimits,
}

/// How much may be kept.
#[derive(Clone, Copy, Debug)]
pub struct PackLimits {
    /// Packs for one key.
    pub per_key: usize,
    /// Bytes in all.
    pub bytes: u64,
    /// Of these, bytes in memory.
    pub memory: u64,
}

#[derive(Default)]
struct Index {
    ready: HashMap<PackKey, VecDeque<Ready>>,
    in_use: HashMap<PackKey, Vec<PackId>>,
    /// Bytes of all ready packs.
    bytes: u64,
    /// Bytes of packs in memory, ready or not.
    memory: u64,
}

/// A pack that waits for its job.
struct Ready {
    header: PackHeader,
    /// `None` when it is on disk.
    contents: Option<PackContents>,
}

impl Ready {
    fn len(&self) -> u64 {
        self.header.file_len().unwrap_or(u64::MAX)
    }
}

impl PackStore {
    /// Opens the store in `dir`; destroys what a crash left half-written or half-used, and what cannot be read.
    pub fn open(dir: &Path, limits: PackLimits) -> Result<Self, PackError> {
        fs::create_dir_all(dir).map_err(at("create", dir))?;
        let mut found = Vec::new();
        for entry in fs::read_dir(dir).map_err(at("list", dir))? {
            let path = entry.map_err(at("list", dir))?.path();
            match path.extension().and_then(|e| e.to_str()) {
                Some("pack") => match read_header(&path) {
                    Ok((header, modified)) => found.push((modified, header)),
                    Err(error) => {
                        tracing::warn!(%error, "destroying an unusable pack");
                        destroy(&path)?;
                    }
                },
                Some("partial" | "taken") => destroy(&path)?,
                _ => {}
            }
        }
        found.sort_by_key(|(modified, _)| *modified);
        let mut index = Index::default();
        for (_, header) in found {
            let ready = Ready { header, contents: None };
            index.bytes += ready.len();
            index.ready.entry(header.key).or_default().push_back(ready);
        }
        sync_dir(dir)?;
        Ok(Self { dir: dir.into(), index: Mutex::new(index), limits })
    }

    /// Whether another pack of `bytes` bytes may be kept.
    pub fn has_room(&self, key: &PackKey, bytes: u64) -> Result<(), PackError> {
        let index = self.lock();
        if index.ready.get(key).map_or(0, VecDeque::len) >= self.limits.per_key {
            let text = format!("{} packs are ready for this task already, the limit", self.limits.per_key);
            return Err(PackError::Full(text));
        }
        if index.bytes.saturating_add(bytes) > self.limits.bytes {
            let text = format!(
                "the packs on disk would take more than the limit of {} MB (limits.pack_megabytes)",
                self.limits.bytes >> 20
            );
            return Err(PackError::Full(text));
        }
        Ok(())
    }

    /// Keeps a pack, not yet ready for use: in memory if there is room, else on disk.
    pub fn stage(&self, header: PackHeader, contents: PackContents) -> Result<StagedPack<'_>, PackError> {
        let len = header.file_len().unwrap_or(u64::MAX);
        {
            let mut index = self.lock();
            if index.memory.saturating_add(len) <= self.limits.memory {
                index.memory += len;
                return Ok(StagedPack { store: self, header, contents: Some(contents), committed: false });
            }
        }
        let staged = StagedPack { store: self, header, contents: None, committed: false };
        self.write_file(&header, &contents)?;
        Ok(staged)
    }

    /// Writes the packs in memory to disk (the node stops).
    pub fn spill(&self) -> Result<usize, PackError> {
        let mut index = self.lock();
        let index = &mut *index;
        let mut spilled = 0;
        for ready in index.ready.values_mut().flatten() {
            if let Some(contents) = ready.contents.take() {
                self.write_file(&ready.header, &contents)?;
                self.make_ready(&ready.header.id)?;
                index.memory -= ready.len();
                spilled += 1;
            }
        }
        Ok(spilled)
    }

    fn write_file(&self, header: &PackHeader, contents: &PackContents) -> Result<(), PackError> {
        let path = self.path(&header.id, "partial");
        let mut file = private_file(&path).map_err(at("create", &path))?;
        file.write_all(&header.encode(&contents.seed))
            .and_then(|()| file.write_all(&contents.corrections))
            .and_then(|()| file.write_all(&contents.prepared))
            .map_err(at("write", &path))
    }

    fn make_ready(&self, id: &PackId) -> Result<(), PackError> {
        let partial = self.path(id, "partial");
        fs::rename(&partial, self.path(id, "pack")).map_err(at("rename", &partial))
    }

    /// Takes the oldest pack for `key`.
    pub fn take_oldest(self: &Arc<Self>, key: &PackKey) -> Result<Option<TakenPack>, PackError> {
        self.take_where(key, |_| true)
    }

    /// Takes one pack.
    pub fn take(self: &Arc<Self>, key: &PackKey, id: &PackId) -> Result<Option<TakenPack>, PackError> {
        self.take_where(key, |candidate| candidate == id)
    }

    fn take_where(
        self: &Arc<Self>,
        key: &PackKey,
        wanted: impl Fn(&PackId) -> bool,
    ) -> Result<Option<TakenPack>, PackError> {
        let mut pack = {
            let mut index = self.lock();
            let Some(ready) = index.ready.get_mut(key) else { return Ok(None) };
            let Some(at) = ready.iter().position(|ready| wanted(&ready.header.id)) else { return Ok(None) };
            let Some(pack) = ready.remove(at) else { return Ok(None) };
            index.bytes -= pack.len();
            if pack.contents.is_some() {
                index.memory -= pack.len();
            }
            index.in_use.entry(*key).or_default().push(pack.header.id);
            pack
        };
        let id = pack.header.id;
        let in_use = InUse { store: self.clone(), key: *key, id };
        let place = match pack.contents.take() {
            Some(contents) => Place::Memory(pack.header.role, contents),
            None => {
                let (ready, taken) = (self.path(&id, "pack"), self.path(&id, "taken"));
                fs::rename(&ready, &taken).map_err(at("take", &ready))?;
                let file = TakenFile(taken);
                sync_dir(&self.dir)?;
                Place::Disk(file)
            }
        };
        Ok(Some(TakenPack { place, in_use }))
    }

    /// All packs for `key` that are ready or in use.
    pub fn held(&self, key: &PackKey) -> Vec<PackId> {
        let index = self.lock();
        let ready = index.ready.get(key).into_iter().flatten().map(|ready| ready.header.id);
        ready.chain(index.in_use.get(key).into_iter().flatten().copied()).collect()
    }

    /// Destroys the ready packs for `key` that the other evaluator does not hold.
    pub fn keep_only(&self, key: &PackKey, held: &[PackId]) -> Result<usize, PackError> {
        self.remove_where(|k, id| k == key && !held.contains(id))
    }

    /// Destroys the ready packs whose key fails `keep` (a model was registered anew).
    pub fn retain(&self, keep: impl Fn(&PackKey) -> bool) -> Result<usize, PackError> {
        self.remove_where(|key, _| !keep(key))
    }

    fn remove_where(&self, doomed: impl Fn(&PackKey, &PackId) -> bool) -> Result<usize, PackError> {
        let mut gone = Vec::new();
        {
            let mut index = self.lock();
            let index = &mut *index;
            for (key, ready) in &mut index.ready {
                ready.retain(|pack| {
                    let dies = doomed(key, &pack.header.id);
                    if dies {
                        index.bytes -= pack.len();
                        if pack.contents.is_some() {
                            index.memory -= pack.len();
                        }
                        gone.push(pack.header.id);
                    }
                    !dies
                });
            }
        }
        for id in &gone {
            destroy(&self.path(id, "pack"))?;
        }
        Ok(gone.len())
    }

    /// Packs ready, by key.
    pub fn counts(&self) -> Vec<(PackKey, u32)> {
        self.lock().ready.iter().filter(|(_, r)| !r.is_empty()).map(|(key, r)| (*key, r.len() as u32)).collect()
    }

    /// Packs ready for a key.
    pub fn count(&self, key: &PackKey) -> u32 {
        self.lock().ready.get(key).map_or(0, |ready| ready.len() as u32)
    }

    fn path(&self, id: &PackId, extension: &str) -> PathBuf {
        self.dir.join(format!("{id}.{extension}"))
    }

    fn lock(&self) -> MutexGuard<'_, Index> {
        self.index.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A pack that is not ready yet; destroyed unless committed.
pub struct StagedPack<'a> {
    store: &'a PackStore,
    header: PackHeader,
    contents: Option<PackContents>,
    committed: bool,
}

impl StagedPack<'_> {
    /// Makes the pack ready.
    pub fn commit(mut self) -> Result<(), PackError> {
        if self.contents.is_none() {
            self.store.make_ready(&self.header.id)?;
        }
        self.committed = true;
        let ready = Ready { header: self.header, contents: self.contents.take() };
        let mut index = self.store.lock();
        index.bytes += ready.len();
        index.ready.entry(self.header.key).or_default().push_back(ready);
        Ok(())
    }
}

impl Drop for StagedPack<'_> {
    fn drop(&mut self) {
        if self.committed {
            return;
        }
        if self.contents.is_some() {
            self.store.lock().memory -= self.header.file_len().unwrap_or(u64::MAX);
        } else {
            let _ = fs::remove_file(self.store.path(&self.header.id, "partial")); // else the next start removes it
        }
    }
}

/// A pack that belongs to one job from now on; destroyed when dropped.
pub struct TakenPack {
    place: Place,
    in_use: InUse,
}

enum Place {
    Memory(EvaluatorRole, PackContents),
    Disk(TakenFile),
}

/// Keeps a pack's name on the list of held packs until the job has ended.
pub struct InUse {
    store: Arc<PackStore>,
    key: PackKey,
    id: PackId,
}

/// The file of a taken pack; removed when dropped.
struct TakenFile(PathBuf);

impl TakenPack {
    /// Its name.
    pub fn id(&self) -> PackId {
        self.in_use.id
    }

    /// The pack itself. A file is read into memory and removed.
    pub fn load(self, role: EvaluatorRole) -> Result<(PackContents, InUse), PackError> {
        let path = self.in_use.store.path(&self.in_use.id, "taken");
        let other_role = || PackError::Damaged {
            path: path.clone(),
            source: DecodeError::Field { what: "pack", field: "name, role or length" },
        };
        match self.place {
            Place::Memory(made_for, contents) if made_for == role => Ok((contents, self.in_use)),
            Place::Memory(..) => Err(other_role()),
            Place::Disk(file) => {
                let (header, contents) = file.read(&path)?;
                if (header.id, header.key, header.role) != (self.in_use.id, self.in_use.key, role) {
                    return Err(other_role());
                }
                Ok((contents, self.in_use))
            }
        }
    }
}

impl TakenFile {
    fn read(self, path: &Path) -> Result<(PackHeader, PackContents), PackError> {
        let mut file = File::open(path).map_err(at("open", path))?;
        let mut prefix = Zeroizing::new([0; PREFIX]);
        file.read_exact(prefix.as_mut()).map_err(at("read", path))?;
        let damaged = |source| PackError::Damaged { path: path.into(), source };
        let (header, seed) = PackHeader::decode(&prefix[..]).map_err(damaged)?;
        let len = file.metadata().map_err(at("read", path))?.len();
        if header.file_len() != Some(len) {
            return Err(damaged(DecodeError::Field { what: "pack", field: "name, role or length" }));
        }
        let mut read = |len: u64| {
            let mut bytes = Vec::with_capacity(len as usize);
            (&mut file).take(len).read_to_end(&mut bytes).map(|_| bytes)
        };
        let corrections = read(header.corrections).map_err(at("read", path))?;
        let prepared = read(header.prepared).map_err(at("read", path))?;
        Ok((header, PackContents { seed, corrections, prepared }))
    }
}

impl Drop for TakenFile {
    fn drop(&mut self) {
        if let Err(error) = destroy(&self.0) {
            tracing::warn!(%error, "a used pack stays on disk until the next start");
        }
    }
}

impl Drop for InUse {
    fn drop(&mut self) {
        let mut index = self.store.lock();
        if let Some(list) = index.in_use.get_mut(&self.key) {
            list.retain(|id| *id != self.id);
        }
    }
}

fn read_header(path: &Path) -> Result<(PackHeader, std::time::SystemTime), PackError> {
    let mut file = File::open(path).map_err(at("open", path))?;
    let mut prefix = Zeroizing::new([0; PREFIX]);
    file.read_exact(prefix.as_mut()).map_err(at("read", path))?;
    let damaged = |source| PackError::Damaged { path: path.into(), source };
    let (header, _) = PackHeader::decode(&prefix[..]).map_err(damaged)?;
    let metadata = file.metadata().map_err(at("read", path))?;
    let named = path.file_stem().and_then(|s| s.to_str()).and_then(unhex::<16>) == Some(header.id.0);
    if !named || header.file_len() != Some(metadata.len()) {
        return Err(damaged(DecodeError::Field { what: "pack", field: "name or length" }));
    }
    Ok((header, metadata.modified().map_err(at("read", path))?))
}

fn destroy(path: &Path) -> Result<(), PackError> {
    match fs::remove_file(path) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => Err(at("remove", path)(e)),
        _ => Ok(()),
    }
}

fn sync_dir(dir: &Path) -> Result<(), PackError> {
    File::open(dir).and_then(|d| d.sync_all()).map_err(at("sync", dir))
}

fn at(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> PackError {
    let path = path.to_path_buf();
    move |source| PackError::Io { action, path, source }
}
