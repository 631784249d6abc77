//! The store of a node whose state has outgrown memory: a log-structured tree (RocksDB, the distribution's library), with
//! the number of the table before each key. A crash leaves the last batch that was written.

use std::{
    fs::{File, TryLockError},
    path::Path,
    sync::Arc,
};

use rocksdb::{
    BlockBasedOptions, Cache, DB, DBCompressionType, DBIterator, Direction, ErrorKind, IteratorMode, Options,
    ReadOptions, WriteBatch, WriteOptions,
};

use super::{
    Batch, Entry, Reader, Store, Table,
    format::{self, FORMAT, FORMAT_KEY},
};
use crate::{durable, error::StoreError, failpoint};

/// The folder in a node's data folder.
pub const FOLDER: &str = "rocksdb";
/// Its name while it is made.
const DRAFT: &str = "rocksdb.draft";
/// Locked by whoever has the database open: the library's own lock cannot be looked at without taking it.
const LOCK: &str = "rocksdb.lock";

/// Bytes of blocks that are kept in memory, uncompressed.
const CACHE: usize = 128 << 20;
/// Bytes of a key's filter, in bits, so that what is not there is not looked for on disk.
const FILTER_BITS: f64 = 10.0;

/// Tables in a folder.
pub struct RocksStore {
    open: Arc<Open>,
}

/// The database, for as long as anybody reads it.
struct Open {
    database: DB,
    _lock: File,
}

impl RocksStore {
    /// Opens the store in `folder`, or makes an empty one there.
    pub fn open(folder: &Path) -> Result<Self, StoreError> {
        let place = folder.join(FOLDER);
        std::fs::create_dir_all(folder).map_err(|e| StoreError::new("make the data folder", e))?;
        failpoint::reach("database-folder");
        let lock = lock(folder)?;
        if !place.try_exists().map_err(|e| StoreError::new("look for the database", e))? {
            make(folder, &place)?;
        }
        let database = DB::open(&options(), &place).map_err(|e| failed("open the database", e))?;
        let found = database.get(key(Table::Meta, FORMAT_KEY)).map_err(|e| failed("read the format", e))?;
        format::check("open the database", found.and_then(|found| found.first().copied()))?;
        Ok(Self { open: Arc::new(Open { database, _lock: lock }) })
    }

    /// Whether a process has the store in `folder` open, as a running node does.
    pub fn is_in_use(folder: &Path) -> bool {
        let Ok(file) = File::open(folder.join(LOCK)) else { return false };
        matches!(file.try_lock_shared(), Err(TryLockError::WouldBlock))
    }
}

fn lock(folder: &Path) -> Result<File, StoreError> {
    let refused = |cause: String| StoreError::new("open the database", cause);
    let file = File::create(folder.join(LOCK)).map_err(|e| refused(e.to_string()))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(refused("another process is using it".into())),
        Err(TryLockError::Error(e)) => Err(refused(e.to_string())),
    }
}

/// Makes an empty store in one step: it is made under another name, and whole before it has its own.
fn make(folder: &Path, place: &Path) -> Result<(), StoreError> {
    let doing = "make the database";
    let draft = folder.join(DRAFT);
    if draft.exists() {
        std::fs::remove_dir_all(&draft).map_err(|e| StoreError::new(doing, e))?;
    }
    let mut options = options();
    options.create_if_missing(true);
    let database = DB::open(&options, &draft).map_err(|e| failed(doing, e))?;
    failpoint::reach("database-draft");
    database.put_opt(key(Table::Meta, FORMAT_KEY), [FORMAT], &synced()).map_err(|e| failed(doing, e))?;
    drop(database);
    failpoint::reach("database-whole");
    durable::sync_tree(&draft).and_then(|()| durable::rename(&draft, place)).map_err(|e| StoreError::new(doing, e))?;
    failpoint::reach("database-made");
    Ok(())
}

fn options() -> Options {
    let mut blocks = BlockBasedOptions::default();
    blocks.set_bloom_filter(FILTER_BITS, false);
    if let Ok(cache) = Cache::new_lru_cache(CACHE) {
        blocks.set_block_cache(&cache);
    }
    let mut options = Options::default();
    options.set_block_based_table_factory(&blocks);
    // Most of it is hashes, which nothing makes shorter; a read must not wait for unpacking.
    options.set_compression_type(DBCompressionType::None);
    options.set_max_open_files(512);
    options.set_keep_log_file_num(2);
    options.set_max_background_jobs(2);
    options
}

/// A write returns when it survives a loss of power.
fn synced() -> WriteOptions {
    let mut options = WriteOptions::default();
    options.set_sync(true);
    options
}

fn failed(doing: &'static str, error: rocksdb::Error) -> StoreError {
    match error.kind() {
        ErrorKind::Corruption => StoreError::corrupt(doing, error),
        _ => StoreError::new(doing, error),
    }
}

fn key(table: Table, key: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(1 + key.len());
    out.push(table as u8);
    out.extend_from_slice(key);
    out
}

impl Store for RocksStore {
    fn reader(&self) -> Result<Arc<dyn Reader>, StoreError> {
        Ok(Arc::new(Snapshot(Pinned::new(self.open.clone(), |open| open.database.snapshot()))))
    }

    fn write(&self, batch: &Batch) -> Result<(), StoreError> {
        let mut writes = WriteBatch::default();
        for (table, name, value) in batch.iter() {
            match value {
                Some(value) => writes.put(key(table, name), value),
                None => writes.delete(key(table, name)),
            }
        }
        self.open.database.write_opt(writes, &synced()).map_err(|e| failed("write a batch", e))
    }
}

type View<'a> = rocksdb::SnapshotWithThreadMode<'a, DB>;

self_cell::self_cell!(
    /// A view and the database that it is of.
    struct Pinned {
        owner: Arc<Open>,
        #[covariant]
        dependent: View,
    }
);

struct Snapshot(Pinned);

impl Snapshot {
    /// Entries of `table` from `from` on.
    fn entries(&self, table: Table, from: &[u8]) -> DBIterator<'_> {
        let mut options = ReadOptions::default();
        options.set_iterate_upper_bound([table as u8 + 1]);
        let from = key(table, from);
        self.0.borrow_dependent().iterator_opt(IteratorMode::From(&from, Direction::Forward), options)
    }
}

impl Reader for Snapshot {
    fn get(&self, table: Table, name: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        self.0.borrow_dependent().get(key(table, name)).map_err(|e| failed("get", e))
    }

    fn scan(&self, table: Table, prefix: &[u8]) -> Result<Vec<Entry>, StoreError> {
        let mut found = Vec::new();
        for entry in self.entries(table, prefix) {
            let (name, value) = entry.map_err(|e| failed("scan", e))?;
            let Some(name) = name.get(1..).filter(|name| name.starts_with(prefix)) else { break };
            found.push((name.to_vec(), value.into_vec()));
        }
        Ok(found)
    }

    fn page(&self, table: Table, after: Option<&[u8]>, limit: usize) -> Result<Vec<Entry>, StoreError> {
        let mut found = Vec::new();
        for entry in self.entries(table, after.unwrap_or_default()) {
            if found.len() == limit {
                break;
            }
            let (name, value) = entry.map_err(|e| failed("page", e))?;
            let name = name.get(1..).unwrap_or_default();
            if after != Some(name) {
                found.push((name.to_vec(), value.into_vec()));
            }
        }
        Ok(found)
    }
}
