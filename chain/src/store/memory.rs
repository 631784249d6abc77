//! A store that lives as long as the process, for tests and throw-away networks.

use std::{
    collections::{BTreeMap, VecDeque},
    ops::Bound,
    sync::{Arc, PoisonError, RwLock},
};

use super::{Batch, Entry, Reader, Store, Table};
use crate::error::StoreError;

/// Every version of every key, by the number of the write, so that a snapshot is just a number.
type Versions = BTreeMap<(Table, Vec<u8>), Vec<(u64, Option<Vec<u8>>)>>;

#[derive(Default)]
struct Inner {
    writes: u64,
    versions: Versions,
    /// Keys that were deleted, and by which write: forgotten once no snapshot can see them.
    deleted: VecDeque<(u64, (Table, Vec<u8>))>,
    /// Snapshots that are still held; older versions than the oldest of them are dropped.
    held: BTreeMap<u64, usize>,
}

/// Tables in memory.
#[derive(Clone, Default)]
pub struct MemoryStore {
    inner: Arc<RwLock<Inner>>,
}

struct Snapshot {
    at: u64,
    inner: Arc<RwLock<Inner>>,
}

impl Store for MemoryStore {
    fn reader(&self) -> Result<Arc<dyn Reader>, StoreError> {
        let mut inner = self.inner.write().unwrap_or_else(PoisonError::into_inner);
        let at = inner.writes;
        *inner.held.entry(at).or_default() += 1;
        Ok(Arc::new(Snapshot { at, inner: self.inner.clone() }))
    }

    fn write(&self, batch: &Batch) -> Result<(), StoreError> {
        let mut inner = self.inner.write().unwrap_or_else(PoisonError::into_inner);
        inner.writes += 1;
        let now = inner.writes;
        let oldest = inner.held.keys().next().copied().unwrap_or(now);
        for (table, key, value) in batch.iter() {
            let versions = inner.versions.entry((table, key.to_vec())).or_default();
            versions.push((now, value.map(<[u8]>::to_vec)));
            // Keep the newest version that the oldest snapshot can see, and everything after it.
            let keep_from = versions.iter().rposition(|(at, _)| *at <= oldest).unwrap_or(0);
            versions.drain(..keep_from);
            if value.is_none() {
                inner.deleted.push_back((now, (table, key.to_vec())));
            }
        }
        inner.forget(oldest);
        Ok(())
    }
}

impl Inner {
    fn forget(&mut self, oldest: u64) {
        while self.deleted.front().is_some_and(|(at, _)| *at <= oldest) {
            let Some((at, key)) = self.deleted.pop_front() else { return };
            if self.versions.get(&key).is_some_and(|versions| versions.last() == Some(&(at, None))) {
                self.versions.remove(&key);
            }
        }
    }
}

fn visible(versions: &[(u64, Option<Vec<u8>>)], at: u64) -> Option<&Vec<u8>> {
    versions.iter().rev().find(|(version, _)| *version <= at).and_then(|(_, value)| value.as_ref())
}

impl Reader for Snapshot {
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        let inner = self.inner.read().unwrap_or_else(PoisonError::into_inner);
        Ok(inner.versions.get(&(table, key.to_vec())).and_then(|versions| visible(versions, self.at)).cloned())
    }

    fn scan(&self, table: Table, prefix: &[u8]) -> Result<Vec<Entry>, StoreError> {
        let inner = self.inner.read().unwrap_or_else(PoisonError::into_inner);
        let found = inner
            .versions
            .range((table, prefix.to_vec())..)
            .take_while(|((t, key), _)| *t == table && key.starts_with(prefix))
            .filter_map(|((_, key), versions)| Some((key.clone(), visible(versions, self.at)?.clone())))
            .collect();
        Ok(found)
    }

    fn page(&self, table: Table, after: Option<&[u8]>, limit: usize) -> Result<Vec<Entry>, StoreError> {
        let inner = self.inner.read().unwrap_or_else(PoisonError::into_inner);
        let from = match after {
            Some(after) => Bound::Excluded((table, after.to_vec())),
            None => Bound::Included((table, vec![])),
        };
        let found = inner
            .versions
            .range((from, Bound::Unbounded))
            .take_while(|((t, _), _)| *t == table)
            .filter_map(|((_, key), versions)| Some((key.clone(), visible(versions, self.at)?.clone())))
            .take(limit)
            .collect();
        Ok(found)
    }
}

impl Drop for Snapshot {
    fn drop(&mut self) {
        let mut inner = self.inner.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = inner.held.get_mut(&self.at) {
            *count -= 1;
            if *count == 0 {
                inner.held.remove(&self.at);
            }
        }
    }
}
