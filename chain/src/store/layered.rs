//! A batch that is not written yet, seen as if it were.

use std::{collections::BTreeMap, sync::Arc};

use super::{Batch, Entry, Reader, Table};
use crate::error::StoreError;

/// `batch` over `base`.
pub struct Layered {
    /// What is committed.
    pub base: Arc<dyn Reader>,
    /// What is not.
    pub batch: Batch,
}

impl Reader for Layered {
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        match self.batch.changes.get(&(table, key.to_vec())) {
            Some(value) => Ok(value.clone()),
            None => self.base.get(table, key),
        }
    }

    fn scan(&self, table: Table, prefix: &[u8]) -> Result<Vec<Entry>, StoreError> {
        let mut found: BTreeMap<Vec<u8>, Vec<u8>> = self.base.scan(table, prefix)?.into_iter().collect();
        let ours = self.batch.changes.range((table, prefix.to_vec())..);
        for ((_, key), value) in ours.take_while(|((t, key), _)| *t == table && key.starts_with(prefix)) {
            match value {
                Some(value) => found.insert(key.clone(), value.clone()),
                None => found.remove(key),
            };
        }
        Ok(found.into_iter().collect())
    }
}
