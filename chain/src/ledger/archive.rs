//! Every state of the past, for whoever reads the chain at any height: each value that a block replaced, by its key and
//! the height of that block. The value of a key in an old state is the one that the next block to change it replaced; it
//! is found by one look-up, however long ago that was.

use std::{collections::BTreeMap, sync::Arc};

use crate::{
    error::StoreError,
    store::{Batch, Entry, Reader, Table},
};

/// Tables whose old values are kept for ever: what questions are answered from. Trees are not among them, so there are no
/// proofs of old states.
const KEPT: [Table; 4] = [Table::Meta, Table::Accounts, Table::Storage, Table::ChainState];

/// Key, in the table of names, of the first block whose old values are here.
const FIRST: &[u8] = b"archive";

/// Keeps, in `batch`, that block `height` replaced `old` under `key`.
pub fn keep(table: Table, key: &[u8], old: Option<&[u8]>, height: u64, batch: &mut Batch) {
    if KEPT.contains(&table) {
        let value = old.map_or_else(|| vec![0], |old| [&[1], old].concat());
        batch.put(Table::Archive, place(table, key, height), value);
    }
}

/// Forgets, in `batch`, what block `height` replaced under `key`: the block is taken back.
pub fn forget(table: Table, key: &[u8], height: u64, batch: &mut Batch) {
    if KEPT.contains(&table) {
        batch.delete(Table::Archive, place(table, key, height));
    }
}

/// Notes, in `batch` of block `height`, whether old values are kept from now on. A gap begins the archive anew.
pub fn mark(before: &dyn Reader, height: u64, kept: bool, batch: &mut Batch) -> Result<(), StoreError> {
    match (kept, first(before)?) {
        (true, None) => batch.put(Table::Meta, FIRST, height.to_be_bytes()),
        (false, Some(_)) => batch.delete(Table::Meta, FIRST),
        _ => {}
    }
    Ok(())
}

/// The first block whose old values are kept, without a gap since.
pub fn first(reader: &dyn Reader) -> Result<Option<u64>, StoreError> {
    let Some(bytes) = reader.get(Table::Meta, FIRST)? else { return Ok(None) };
    let bytes = bytes.try_into().map_err(|_| StoreError::corrupt("read where the archive begins", "wrong length"))?;
    Ok(Some(u64::from_be_bytes(bytes)))
}

/// The state at `height`, from the newest one and the archive.
pub struct ArchivedState {
    /// The newest state.
    pub now: Arc<dyn Reader>,
    /// The height of this state.
    pub height: u64,
}

impl Reader for ArchivedState {
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        match table {
            _ if KEPT.contains(&table) => {
                let after = place(table, key, self.height);
                let found = self.now.page(Table::Archive, Some(&after), 1)?.pop();
                match found.filter(|(at, _)| same_key(at, &after)) {
                    Some((_, value)) => old(value),
                    None => self.now.get(table, key),
                }
            }
            Table::TrieNodes | Table::TreeNodes | Table::TreeValues => {
                Err(StoreError::new("read a tree", "only the newest state has its trees"))
            }
            Table::Blocks | Table::Headers if key > self.height.to_be_bytes().as_slice() => Ok(None),
            _ => self.now.get(table, key),
        }
    }

    fn scan(&self, table: Table, prefix: &[u8]) -> Result<Vec<Entry>, StoreError> {
        if !KEPT.contains(&table) {
            return Err(StoreError::new("read a table of the past", "it is not kept as a whole"));
        }
        let mut found: BTreeMap<Vec<u8>, Vec<u8>> = self.now.scan(table, prefix)?.into_iter().collect();
        let mut last: Option<Vec<u8>> = None;
        for (at, value) in self.now.scan(Table::Archive, &[&[table as u8], escaped(prefix).as_slice()].concat())? {
            let bad = || StoreError::corrupt("read the archive", "wrong form");
            let (key, height) = read_place(&at).ok_or_else(bad)?;
            // The first block after this state that changed the key decides.
            if height <= self.height || last.as_ref() == Some(&key) {
                continue;
            }
            match old(value)? {
                Some(value) => found.insert(key.clone(), value),
                None => found.remove(&key),
            };
            last = Some(key);
        }
        Ok(found.into_iter().collect())
    }
}

/// Where the old value of `key` is that block `height` replaced. Keys are written so that they keep their order and none
/// is the beginning of another.
fn place(table: Table, key: &[u8], height: u64) -> Vec<u8> {
    [&[table as u8], escaped(key).as_slice(), &[0, 0], &height.to_be_bytes()].concat()
}

/// A zero is written as zero and 255.
fn escaped(key: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(key.len() + 4);
    for byte in key {
        out.push(*byte);
        if *byte == 0 {
            out.push(255);
        }
    }
    out
}

/// Key and height of a place.
fn read_place(place: &[u8]) -> Option<(Vec<u8>, u64)> {
    let (body, height) = place.get(1..)?.split_last_chunk::<8>()?;
    let mut rest = body.strip_suffix(&[0, 0])?;
    let mut key = Vec::with_capacity(rest.len());
    while let Some((byte, after)) = rest.split_first() {
        key.push(*byte);
        rest = match byte {
            0 => after.strip_prefix(&[255])?,
            _ => after,
        };
    }
    Some((key, u64::from_be_bytes(*height)))
}

/// Whether two places are of the same key.
fn same_key(a: &[u8], b: &[u8]) -> bool {
    a.len() == b.len() && a.split_last_chunk::<8>().map(|(key, _)| key) == b.split_last_chunk::<8>().map(|(key, _)| key)
}

fn old(mut value: Vec<u8>) -> Result<Option<Vec<u8>>, StoreError> {
    match value.first() {
        Some(0) => Ok(None),
        Some(1) => Ok(Some(value.split_off(1))),
        _ => Err(StoreError::corrupt("read the archive", "wrong form")),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::store::{MemoryStore, Store};

    proptest! {
        #[test]
        fn every_state_of_the_past_is_the_one_that_was(
            blocks in proptest::collection::vec(
                proptest::collection::vec((proptest::collection::vec(0u8..2, 0..4), proptest::option::of(any::<u8>())), 0..8),
                1..12
            )
        ) {
            let store = MemoryStore::default();
            let mut readers = vec![store.reader().unwrap()];
            for (height, changes) in (1u64..).zip(&blocks) {
                let mut batch = Batch::default();
                for (key, value) in changes {
                    match value {
                        Some(value) => batch.put(Table::ChainState, key.clone(), [*value]),
                        None => batch.delete(Table::ChainState, key.clone()),
                    }
                }
                let before = readers.last().unwrap();
                let changed: Vec<Vec<u8>> = batch.iter().map(|(_, key, _)| key.to_vec()).collect();
                for key in changed {
                    let old = before.get(Table::ChainState, &key).unwrap();
                    keep(Table::ChainState, &key, old.as_deref(), height, &mut batch);
                }
                store.write(&batch).unwrap();
                readers.push(store.reader().unwrap());
            }
            let now = readers[blocks.len()].clone();
            for (height, was) in (0u64..).zip(&readers) {
                let past = ArchivedState { now: now.clone(), height };
                for prefix in [&[][..], &[0], &[1], &[0, 0], &[0, 1], &[1, 0, 0]] {
                    prop_assert_eq!(past.scan(Table::ChainState, prefix).unwrap(), was.scan(Table::ChainState, prefix).unwrap());
                    prop_assert_eq!(past.get(Table::ChainState, prefix).unwrap(), was.get(Table::ChainState, prefix).unwrap());
                }
            }
        }

        #[test]
        fn places_keep_their_key(key in proptest::collection::vec(0u8..3, 0..8), height in any::<u64>()) {
            let at = place(Table::Accounts, &key, height);
            prop_assert_eq!(read_place(&at), Some((key, height)));
        }
    }
}
