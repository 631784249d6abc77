//! Where bytes are kept: tables of keys and values, snapshots for reading, one atomic batch for a block.

mod engine;
mod format;
mod inside;
mod layered;
mod memory;
mod redb;
#[cfg(feature = "rocksdb")]
mod rocksdb;

use std::{collections::BTreeMap, sync::Arc};

pub use engine::{Engine, OpenError, is_in_use};
pub use format::FORMAT_KEY;
pub use inside::inside_database;
pub use layered::Layered;
pub use memory::MemoryStore;
pub use redb::RedbStore;
#[cfg(feature = "rocksdb")]
pub use rocksdb::RocksStore;

use crate::error::StoreError;

/// One table. The number is part of the stored format.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Table {
    /// Height, application hash and the like, by name.
    Meta = 0,
    /// Account by address.
    Accounts = 1,
    /// Storage word by address and slot.
    Storage = 2,
    /// Contract code by hash.
    Code = 3,
    /// Nodes of the EVM's Merkle-Patricia tries by owner and path.
    TrieNodes = 4,
    /// Nodes of the chain's own tree.
    TreeNodes = 5,
    /// Version, name and value of the leaves of the chain's own tree, by key hash.
    TreeValues = 6,
    /// Values of the chain's own store by key.
    ChainState = 7,
    /// Transactions of a block with their receipts by height.
    Blocks = 8,
    /// Height by block hash.
    BlockHeights = 9,
    /// Place (height, index) by transaction hash.
    Transactions = 10,
    /// Header of a block by height.
    Headers = 11,
    /// Change set of a block: the values that it replaced, by height.
    ChangeSets = 12,
    /// What the engine told at the beginning of a block, by height.
    BeginBlocks = 13,
    /// What blocks replaced, by key and height, on a node that keeps all of the past.
    Archive = 14,
}

/// All tables, in the order of their numbers.
pub const TABLES: [Table; 15] = [
    Table::Meta,
    Table::Accounts,
    Table::Storage,
    Table::Code,
    Table::TrieNodes,
    Table::TreeNodes,
    Table::TreeValues,
    Table::ChainState,
    Table::Blocks,
    Table::BlockHeights,
    Table::Transactions,
    Table::Headers,
    Table::ChangeSets,
    Table::BeginBlocks,
    Table::Archive,
];

/// A key with its value.
pub type Entry = (Vec<u8>, Vec<u8>);

/// A frozen view of the store: what was committed when it was taken.
pub trait Reader: Send + Sync {
    /// The value of `key`.
    ///
    /// # Errors
    /// When the store cannot be read.
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError>;

    /// Every entry whose key begins with `prefix`, in order of keys.
    ///
    /// # Errors
    /// When the store cannot be read.
    fn scan(&self, table: Table, prefix: &[u8]) -> Result<Vec<Entry>, StoreError>;

    /// The first `limit` entries whose key comes after `after` (all do after `None`), in order of keys.
    ///
    /// # Errors
    /// When the store cannot be read.
    fn page(&self, table: Table, after: Option<&[u8]>, limit: usize) -> Result<Vec<Entry>, StoreError> {
        let mut found = self.scan(table, &[])?;
        if let Some(after) = after {
            found.drain(..found.partition_point(|(key, _)| key.as_slice() <= after));
        }
        found.truncate(limit);
        Ok(found)
    }

    /// The lowest key.
    ///
    /// # Errors
    /// When the store cannot be read.
    fn first_key(&self, table: Table) -> Result<Option<Vec<u8>>, StoreError> {
        Ok(self.page(table, None, 1)?.pop().map(|(key, _)| key))
    }
}

/// A place that keeps batches.
pub trait Store: Send + Sync {
    /// A view of what is committed now. Later writes do not show in it.
    ///
    /// # Errors
    /// When the store cannot be read.
    fn reader(&self) -> Result<Arc<dyn Reader>, StoreError>;

    /// Writes the whole batch or nothing, durably before it returns.
    ///
    /// # Errors
    /// When the store fails: then nothing of the batch is in it.
    fn write(&self, batch: &Batch) -> Result<(), StoreError>;
}

/// Changes that become visible together: `None` deletes.
#[derive(Clone, Debug, Default)]
pub struct Batch {
    changes: BTreeMap<(Table, Vec<u8>), Option<Vec<u8>>>,
}

impl Batch {
    /// Sets `key` to `value`.
    pub fn put(&mut self, table: Table, key: impl Into<Vec<u8>>, value: impl Into<Vec<u8>>) {
        self.changes.insert((table, key.into()), Some(value.into()));
    }

    /// Removes `key`.
    pub fn delete(&mut self, table: Table, key: impl Into<Vec<u8>>) {
        self.changes.insert((table, key.into()), None);
    }

    /// Adds all of `later`, which wins where both change a key.
    pub fn extend(&mut self, later: Self) {
        self.changes.extend(later.changes);
    }

    /// The changes in order of table and key.
    pub fn iter(&self) -> impl Iterator<Item = (Table, &[u8], Option<&[u8]>)> {
        self.changes.iter().map(|((table, key), value)| (*table, key.as_slice(), value.as_deref()))
    }

    /// How many keys change.
    pub fn len(&self) -> usize {
        self.changes.len()
    }

    /// Whether nothing changes.
    pub fn is_empty(&self) -> bool {
        self.changes.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn behaves(store: &dyn Store) {
        let mut batch = Batch::default();
        batch.put(Table::Meta, *b"aa", *b"1");
        batch.put(Table::Meta, *b"ab", *b"2");
        batch.put(Table::Meta, *b"b", *b"3");
        batch.put(Table::Code, *b"aa", *b"4");
        store.write(&batch).unwrap();
        let before = store.reader().unwrap();
        let mut batch = Batch::default();
        batch.delete(Table::Meta, *b"aa");
        batch.put(Table::Meta, *b"b", *b"5");
        store.write(&batch).unwrap();
        let after = store.reader().unwrap();
        assert_eq!(before.get(Table::Meta, b"aa").unwrap().unwrap(), b"1");
        assert_eq!(before.get(Table::Meta, b"b").unwrap().unwrap(), b"3");
        assert_eq!(after.get(Table::Meta, b"aa").unwrap(), None);
        assert_eq!(after.get(Table::Meta, b"b").unwrap().unwrap(), b"5");
        assert_eq!(before.scan(Table::Meta, b"a").unwrap().len(), 2);
        assert_eq!(after.scan(Table::Meta, b"a").unwrap(), vec![(b"ab".to_vec(), b"2".to_vec())]);
        assert_eq!(after.get(Table::Code, b"aa").unwrap().unwrap(), b"4");
        let keys = |after: Option<&[u8]>, limit| -> Vec<Vec<u8>> {
            before.page(Table::Meta, after, limit).unwrap().into_iter().map(|(key, _)| key).collect()
        };
        assert!(keys(None, 2).iter().all(|key| key != b"b"));
        assert!(keys(Some(b"aa"), 9).iter().take(2).eq([b"ab".as_slice(), b"b"].iter()));
        assert_eq!(after.first_key(Table::Code).unwrap().unwrap(), b"aa");
        assert_eq!(after.first_key(Table::Blocks).unwrap(), None);
    }

    #[test]
    fn every_store_keeps_snapshots_apart() {
        behaves(&MemoryStore::default());
        for engine in Engine::built() {
            let folder = tempfile::tempdir().unwrap();
            behaves(engine.open(folder.path()).unwrap().as_ref());
        }
    }

    #[test]
    fn a_reopened_store_has_what_was_written() {
        for engine in Engine::built() {
            let folder = tempfile::tempdir().unwrap();
            let mut batch = Batch::default();
            batch.put(Table::Blocks, *b"k", *b"v");
            engine.open(folder.path()).unwrap().write(&batch).unwrap();
            let reader = engine.open(folder.path()).unwrap().reader().unwrap();
            assert_eq!(reader.get(Table::Blocks, b"k").unwrap().unwrap(), b"v", "{engine}");
        }
    }

    /// A few tables and keys, so that batches meet: some keys begin like others, some are empty.
    fn change() -> impl Strategy<Value = (Table, Vec<u8>, Option<u8>)> {
        let table = prop::sample::select(vec![Table::Meta, Table::Accounts, Table::Headers, Table::Archive]);
        let key = prop::collection::vec(prop::sample::select(vec![0u8, 1, 0x7f, 0xff]), 0..4);
        (table, key, prop::option::of(any::<u8>()))
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

        #[test]
        fn every_store_answers_as_the_one_in_memory(
            batches in prop::collection::vec(prop::collection::vec(change(), 1..12), 1..6),
            prefix in prop::collection::vec(prop::sample::select(vec![0u8, 1, 0xff]), 0..3),
            limit in 0usize..5,
        ) {
            let memory = MemoryStore::default();
            let folders: Vec<_> = Engine::built().iter().map(|engine| (engine, tempfile::tempdir().unwrap())).collect();
            let disks: Vec<_> = folders.iter().map(|(engine, at)| engine.open(at.path()).unwrap()).collect();
            let mut readers = vec![];
            for changes in &batches {
                let mut batch = Batch::default();
                for (table, key, value) in changes {
                    match value {
                        Some(value) => batch.put(*table, key.clone(), [*value]),
                        None => batch.delete(*table, key.clone()),
                    }
                }
                memory.write(&batch).unwrap();
                for disk in &disks {
                    disk.write(&batch).unwrap();
                    // Earlier readers go on to see what they saw.
                    readers.push((memory.reader().unwrap(), disk.reader().unwrap()));
                }
            }
            for (ours, theirs) in &readers {
                for table in [Table::Meta, Table::Accounts, Table::Code, Table::Headers, Table::Archive] {
                    // A database on disk says its format.
                    let own = |entries: Vec<Entry>| -> Vec<Entry> {
                        entries.into_iter().filter(|(key, _)| key != FORMAT_KEY).collect()
                    };
                    let all = ours.scan(table, &[]).unwrap();
                    prop_assert_eq!(&all, &own(theirs.scan(table, &[]).unwrap()));
                    prop_assert_eq!(ours.scan(table, &prefix).unwrap(), own(theirs.scan(table, &prefix).unwrap()));
                    prop_assert_eq!(ours.get(table, &prefix).unwrap(), theirs.get(table, &prefix).unwrap());
                    if table != Table::Meta {
                        let page = |reader: &dyn Reader| reader.page(table, Some(&prefix), limit).unwrap();
                        prop_assert_eq!(page(ours.as_ref()), page(theirs.as_ref()));
                        prop_assert_eq!(ours.page(table, None, limit).unwrap(), theirs.page(table, None, limit).unwrap());
                        prop_assert_eq!(ours.first_key(table).unwrap(), theirs.first_key(table).unwrap());
                    }
                }
            }
        }
    }
}
