//! Snapshots on disk: a folder each, named by the height, with a file a chunk. A folder appears when it is complete.

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
};

use super::{FORMAT, MAX_CHUNK, Manifest, Restore, make::make};
use crate::{
    application::ChunkVerdict,
    consensus::DRIVER_KEY,
    durable,
    error::StoreError,
    failpoint,
    ledger::Head,
    store::{Batch, Store, Table},
};

const MANIFEST: &str = "manifest";
/// What the embedded driver needs to go on, if it made the block. Not for other nodes.
const DRIVER: &str = "driver";
/// What is not complete yet.
const PARTIAL: &str = "partial";
/// Snapshots in one list: CometBFT takes no more.
const LISTED: usize = 10;

/// The snapshots of a node.
#[derive(Clone, Debug)]
pub struct Folder {
    path: PathBuf,
    keep: usize,
}

impl Folder {
    /// Snapshots in `path`, of which the newest `keep` stay. What an interrupted run left there is removed.
    ///
    /// # Errors
    /// When the folder cannot be made, read or tidied.
    pub fn open(path: PathBuf, keep: usize) -> Result<Self, StoreError> {
        let folder = Self { path, keep };
        fs::create_dir_all(&folder.path).map_err(|e| folder.failed("make the folder of snapshots", &e))?;
        folder.remove(&folder.path.join(PARTIAL))?;
        Ok(folder)
    }

    /// Makes a snapshot of `head` and removes the oldest ones.
    ///
    /// # Errors
    /// When the store cannot be read, or the folder not written: then no snapshot is there.
    pub fn make(&self, head: &Head) -> Result<Manifest, StoreError> {
        let partial = self.path.join(PARTIAL);
        let place = self.path.join(head.height.to_string());
        if let Some(known) = self.manifest(head.height)? {
            if known.app_hash == head.app_hash {
                return Ok(known);
            }
            // The chain went back and took another way.
            self.remove(&place)?;
        }
        self.remove(&partial)?;
        let failed = |e: io::Error| self.failed("write a snapshot", &e);
        fs::create_dir_all(&partial).map_err(failed)?;
        let manifest = make(head, |index, chunk| {
            failpoint::reach("snapshot-chunk");
            durable::write_new(&partial.join(index.to_string()), chunk).map_err(failed)
        })?;
        // A chain without consensus has nobody to ask for its last block.
        if let Some(record) = head.reader.get(Table::Meta, DRIVER_KEY)? {
            durable::write_new(&partial.join(DRIVER), &record).map_err(failed)?;
        }
        durable::write_new(&partial.join(MANIFEST), &manifest.encode()).map_err(failed)?;
        failpoint::reach("snapshot-written");
        durable::sync(&partial).map_err(failed)?;
        durable::rename(&partial, &place).map_err(failed)?;
        failpoint::reach("snapshot-complete");
        for old in self.heights()?.into_iter().skip(self.keep.max(1)) {
            self.remove(&self.path.join(old.to_string()))?;
        }
        Ok(manifest)
    }

    /// Removes the snapshots of heights above `height`: the chain went back to it.
    ///
    /// # Errors
    /// When the folder cannot be read, or one of them not removed.
    pub fn forget_above(&self, height: u64) -> Result<(), StoreError> {
        let mut above = self.heights()?.into_iter().filter(|known| *known > height);
        above.try_for_each(|known| self.remove(&self.path.join(known.to_string())))
    }

    /// Builds the state of a snapshot that is here in `store`, which loses what it had.
    ///
    /// # Errors
    /// When a chunk is missing or damaged, or the store fails.
    pub fn restore(&self, store: Arc<dyn Store>, manifest: Manifest) -> Result<(), StoreError> {
        let bad = |what: &str| {
            let place = self.path.join(manifest.height.to_string());
            StoreError::new("restore a snapshot", format!("{}: {what}", place.display()))
        };
        let mut restore = Restore::begin(store.clone(), manifest.clone())?;
        while let Some(index) = restore.needs() {
            let chunk = self.chunk(manifest.height, FORMAT, index)?.ok_or_else(|| bad("a chunk is missing"))?;
            if restore.apply(index, &chunk)? != ChunkVerdict::Accept {
                return Err(bad(&format!("chunk {index} is not what the manifest says: take another snapshot")));
            }
        }
        let Some(record) = self.read(manifest.height, DRIVER)? else { return Ok(()) };
        let mut batch = Batch::default();
        batch.put(Table::Meta, DRIVER_KEY, record);
        store.write(&batch)
    }

    /// The heights of complete snapshots, newest first.
    ///
    /// # Errors
    /// When the folder cannot be read.
    pub fn heights(&self) -> Result<Vec<u64>, StoreError> {
        let entries = fs::read_dir(&self.path).map_err(|e| self.failed("list snapshots", &e))?;
        let mut heights: Vec<u64> = entries
            .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
            .filter(|height: &u64| self.path.join(height.to_string()).join(MANIFEST).exists())
            .collect();
        heights.sort_unstable_by(|a, b| b.cmp(a));
        Ok(heights)
    }

    /// The newest snapshots, for other nodes.
    ///
    /// # Errors
    /// When the folder cannot be read.
    pub fn list(&self) -> Result<Vec<Manifest>, StoreError> {
        let newest = self.heights()?.into_iter().take(LISTED);
        newest.filter_map(|height| self.manifest(height).transpose()).collect()
    }

    /// What the snapshot of `height` is, if there is one.
    ///
    /// # Errors
    /// When the folder cannot be read, or what is there is damaged.
    pub fn manifest(&self, height: u64) -> Result<Option<Manifest>, StoreError> {
        let Some(bytes) = self.read(height, MANIFEST)? else { return Ok(None) };
        let manifest = Manifest::decode(&bytes).filter(|manifest| manifest.height == height);
        let bad = || {
            let place = self.path.join(height.to_string());
            let format = bytes.first_chunk::<4>().map_or(0, |format| u32::from_be_bytes(*format));
            let why = match format == FORMAT {
                true => "is damaged".to_owned(),
                false => format!("has format {format}, this program makes format {FORMAT}"),
            };
            StoreError::new("read a snapshot", format!("{} {why}: remove that folder", place.display()))
        };
        manifest.map(Some).ok_or_else(bad)
    }

    /// A chunk of the snapshot of `height`.
    ///
    /// # Errors
    /// When the folder cannot be read.
    pub fn chunk(&self, height: u64, format: u32, index: u32) -> Result<Option<Vec<u8>>, StoreError> {
        if format != FORMAT {
            return Ok(None);
        }
        Ok(self.read(height, &index.to_string())?.filter(|chunk| chunk.len() <= MAX_CHUNK))
    }

    fn read(&self, height: u64, name: &str) -> Result<Option<Vec<u8>>, StoreError> {
        match fs::read(self.path.join(height.to_string()).join(name)) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(e) => Err(self.failed("read a snapshot", &e)),
        }
    }

    fn remove(&self, place: &Path) -> Result<(), StoreError> {
        match fs::remove_dir_all(place) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => Err(self.failed("remove a snapshot", &e)),
            _ => Ok(()),
        }
    }

    fn failed(&self, doing: &'static str, cause: &io::Error) -> StoreError {
        StoreError::new(doing, format!("{}: {cause}", self.path.display()))
    }
}
