//! The ledger's side of snapshots: which one is due, which are here, and the one that is being restored.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use sha2::{Digest, Sha256};

use super::head::Head;
use crate::{
    application::{ChunkVerdict, Offer, Snapshot},
    error::{Fault, StoreError},
    snapshot::{FORMAT, Folder, Manifest, Restore, clear},
    store::{Store, TABLES, Table},
};

/// Snapshots that are here, due and on their way in.
#[derive(Default)]
pub struct Snapshots {
    folder: Option<Folder>,
    every: u64,
    due: Mutex<Option<Arc<Head>>>,
    restoring: Mutex<Option<Restore>>,
}

impl Snapshots {
    pub fn new(folder: Folder, every: u64) -> Self {
        Self { folder: Some(folder), every, ..Self::default() }
    }

    /// Remembers the state if a snapshot of it is due. All nodes choose the same heights, so that a new one can take
    /// chunks from many of them.
    pub fn after_block(&self, head: &Arc<Head>) {
        if self.folder.is_some() && self.every != 0 && head.height.is_multiple_of(self.every) {
            *locked(&self.due) = Some(head.clone());
        }
    }

    pub fn make_due(&self) -> Result<Option<Manifest>, StoreError> {
        let due = locked(&self.due).take();
        match (due, &self.folder) {
            (Some(head), Some(folder)) => folder.make(&head).map(Some),
            _ => Ok(None),
        }
    }

    /// Forgets what is above `height`: the chain went back to it.
    pub fn forget_above(&self, height: u64) -> Result<(), StoreError> {
        let mut due = locked(&self.due);
        *due = due.take().filter(|head| head.height <= height);
        drop(due);
        self.folder.as_ref().map_or(Ok(()), |folder| folder.forget_above(height))
    }

    pub fn announce(&self) -> Vec<Snapshot> {
        let listed = self.folder.as_ref().map(Folder::list).unwrap_or_else(|| Ok(vec![]));
        let listed = listed.inspect_err(|e| tracing::warn!("{e}")).unwrap_or_default();
        listed.iter().map(Manifest::announce).collect()
    }

    pub fn chunk(&self, height: u64, format: u32, index: u32) -> Option<Vec<u8>> {
        let chunk = self.folder.as_ref()?.chunk(height, format, index);
        chunk.inspect_err(|e| tracing::warn!("{e}")).ok().flatten()
    }

    pub fn offer(&self, store: &Arc<dyn Store>, offered: &Snapshot, app_hash: &[u8]) -> Result<Offer, Fault> {
        if offered.format != FORMAT {
            return Ok(Offer::RejectFormat);
        }
        let sound = offered.hash == Sha256::digest(&offered.metadata).as_slice();
        let manifest = Manifest::decode(&offered.metadata).filter(|m| {
            sound
                && m.height == offered.height
                && u32::try_from(m.chunks.len()).ok() == Some(offered.chunks)
                && m.fits(app_hash)
        });
        let Some(manifest) = manifest else { return Ok(Offer::Reject) };
        *locked(&self.restoring) = Some(Restore::begin(store.clone(), manifest)?);
        Ok(Offer::Accept)
    }

    /// What becomes of the chunk, and whether it was the last one.
    pub fn apply(&self, index: u32, chunk: &[u8]) -> Result<(ChunkVerdict, bool), Fault> {
        let mut restoring = locked(&self.restoring);
        let Some(restore) = restoring.as_mut() else { return Ok((ChunkVerdict::Abort, false)) };
        let verdict = restore.apply(index, chunk)?;
        let complete = verdict == ChunkVerdict::Accept && restore.needs().is_none();
        if complete || verdict == ChunkVerdict::RejectSnapshot {
            *restoring = None;
        }
        Ok((verdict, complete))
    }
}

/// Removes what an interrupted restore left. Only for a ledger that has no block.
pub fn clear_leftovers(store: &dyn Store) -> Result<(), StoreError> {
    let reader = store.reader()?;
    for table in TABLES.into_iter().filter(|table| *table != Table::Meta) {
        if reader.first_key(table)?.is_some() {
            drop(reader);
            return clear(store);
        }
    }
    Ok(())
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
