//! The store of a node that needs nothing beside this program: one file of copy-on-write B-trees (redb). A crash leaves the last committed batch.

use std::{collections::BTreeMap, ops::Bound, path::Path, sync::Arc};

use redb::{Database, DatabaseError, ReadOnlyTable, ReadableDatabase, ReadableTable, TableDefinition, TableError};

use super::{
    Batch, Entry, Reader, Store, TABLES, Table,
    format::{self, FORMAT, FORMAT_KEY},
    inside::{Leave, enter, inside},
};
use crate::{durable, error::StoreError, failpoint};

/// The file in a node's data folder.
pub const FILE: &str = "chain.redb";
/// Its name while it is made.
const DRAFT: &str = "chain.redb.draft";

type Bytes = &'static [u8];

/// Tables in a file.
pub struct RedbStore {
    database: Database,
    _leave: Leave,
}

/// The library has work to do when a database is closed.
impl Drop for RedbStore {
    fn drop(&mut self) {
        enter();
    }
}

impl RedbStore {
    /// Opens the store in `folder`, or makes an empty one there.
    ///
    /// # Errors
    /// When another process has it open, or it is damaged or of another format.
    pub fn open(folder: &Path) -> Result<Self, StoreError> {
        let place = folder.join(FILE);
        if !place.try_exists().map_err(|e| StoreError::new("look for chain.redb", e))? {
            make(folder, &place)?;
        }
        inside(|| {
            let store = Self { database: Database::open(&place).map_err(refused)?, _leave: Leave };
            store.check_format()?;
            Ok(store)
        })
    }

    /// Whether a process has the store in `folder` open, as a running node does.
    pub fn is_in_use(folder: &Path) -> bool {
        let Ok(file) = std::fs::File::open(folder.join(FILE)) else { return false };
        // The database's library locks the file; the lock that is got here goes with it at once.
        matches!(file.try_lock_shared(), Err(std::fs::TryLockError::WouldBlock))
    }

    fn check_format(&self) -> Result<(), StoreError> {
        let read = self.database.begin_read().map_err(|e| StoreError::new("begin to read", e))?;
        let meta = match read.open_table(definition(Table::Meta)) {
            Ok(meta) => meta,
            // An empty file is what a program of an earlier version leaves if it is killed while it makes one.
            Err(TableError::TableDoesNotExist(_)) => return Err(StoreError::corrupt("open chain.redb", "it is empty")),
            Err(e) => return Err(StoreError::new("open a table", e)),
        };
        let found = meta.get(FORMAT_KEY).map_err(|e| StoreError::new("read the format", e))?;
        format::check("open chain.redb", found.and_then(|found| found.value().first().copied()))
    }
}

/// Makes an empty store in one step: it is made under another name, and whole before it has its own.
fn make(folder: &Path, place: &Path) -> Result<(), StoreError> {
    let failed = |e: std::io::Error| StoreError::new("make the data folder", e);
    std::fs::create_dir_all(folder).map_err(failed)?;
    failpoint::reach("database-folder");
    let draft = folder.join(DRAFT);
    match std::fs::remove_file(&draft) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => return Err(failed(e)),
        _ => {}
    }
    let database = Database::create(&draft).map_err(refused)?;
    failpoint::reach("database-draft");
    let write = database.begin_write().map_err(|e| StoreError::new("begin", e))?;
    for table in TABLES {
        write.open_table(definition(table)).map_err(|e| StoreError::new("open a table", e))?;
    }
    let mut meta = write.open_table(definition(Table::Meta)).map_err(|e| StoreError::new("open a table", e))?;
    meta.insert(FORMAT_KEY, [FORMAT].as_slice()).map_err(|e| StoreError::new("put", e))?;
    drop(meta);
    write.commit().map_err(|e| StoreError::new("create the tables", e))?;
    drop(database);
    failpoint::reach("database-whole");
    durable::rename(&draft, place).map_err(failed)?;
    failpoint::reach("database-made");
    Ok(())
}

fn refused(error: DatabaseError) -> StoreError {
    match error {
        DatabaseError::DatabaseAlreadyOpen => StoreError::new("open chain.redb", "another process is using it"),
        e => StoreError::corrupt("open chain.redb", e),
    }
}

fn definition(table: Table) -> TableDefinition<'static, Bytes, Bytes> {
    TableDefinition::new(match table {
        Table::Meta => "meta",
        Table::Accounts => "accounts",
        Table::Storage => "storage",
        Table::Code => "code",
        Table::TrieNodes => "trie-nodes",
        Table::TreeNodes => "tree-nodes",
        Table::TreeValues => "tree-values",
        Table::ChainState => "chain-state",
        Table::Blocks => "blocks",
        Table::BlockHeights => "block-heights",
        Table::Transactions => "transactions",
        Table::Headers => "headers",
        Table::ChangeSets => "history",
        Table::BeginBlocks => "openings",
        Table::Archive => "archive",
    })
}

impl Store for RedbStore {
    fn reader(&self) -> Result<Arc<dyn Reader>, StoreError> {
        inside(|| self.begin_read())
    }

    fn write(&self, batch: &Batch) -> Result<(), StoreError> {
        inside(|| self.write_batch(batch))
    }
}

impl RedbStore {
    fn begin_read(&self) -> Result<Arc<dyn Reader>, StoreError> {
        let read = self.database.begin_read().map_err(|e| StoreError::new("begin to read", e))?;
        let mut tables = BTreeMap::new();
        for table in TABLES {
            let open = read.open_table(definition(table)).map_err(|e| StoreError::new("open a table", e))?;
            tables.insert(table, open);
        }
        Ok(Arc::new(Snapshot { tables, _leave: Leave }))
    }

    fn write_batch(&self, batch: &Batch) -> Result<(), StoreError> {
        let write = self.database.begin_write().map_err(|e| StoreError::new("begin a batch", e))?;
        // In order of tables and keys: neighbours of the tree are written one after the other.
        let mut changes = batch.iter().peekable();
        while let Some((table, _, _)) = changes.peek().copied() {
            let mut open = write.open_table(definition(table)).map_err(|e| StoreError::new("open a table", e))?;
            while let Some((_, key, value)) = changes.next_if(|(t, _, _)| *t == table) {
                match value {
                    Some(value) => open.insert(key, value).map_err(|e| StoreError::new("put", e))?,
                    None => open.remove(key).map_err(|e| StoreError::new("delete", e))?,
                };
            }
        }
        write.commit().map_err(|e| StoreError::new("commit a batch", e))
    }
}

struct Snapshot {
    tables: BTreeMap<Table, ReadOnlyTable<Bytes, Bytes>>,
    _leave: Leave,
}

impl Drop for Snapshot {
    fn drop(&mut self) {
        enter();
    }
}

impl Snapshot {
    fn table(&self, table: Table) -> Result<&ReadOnlyTable<Bytes, Bytes>, StoreError> {
        self.tables.get(&table).ok_or_else(|| StoreError::new("find a table", format!("{table:?}")))
    }
}

impl Reader for Snapshot {
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        inside(|| self.read(table, key))
    }

    fn scan(&self, table: Table, prefix: &[u8]) -> Result<Vec<Entry>, StoreError> {
        inside(|| self.read_all(table, prefix))
    }

    fn page(&self, table: Table, after: Option<&[u8]>, limit: usize) -> Result<Vec<Entry>, StoreError> {
        inside(|| self.read_page(table, after, limit))
    }

    fn first_key(&self, table: Table) -> Result<Option<Vec<u8>>, StoreError> {
        inside(|| self.read_first(table))
    }
}

impl Snapshot {
    fn read(&self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        let value = self.table(table)?.get(key).map_err(|e| StoreError::new("get", e))?;
        Ok(value.map(|guard| guard.value().to_vec()))
    }

    fn read_all(&self, table: Table, prefix: &[u8]) -> Result<Vec<Entry>, StoreError> {
        let mut found = Vec::new();
        for entry in self.table(table)?.range(prefix..).map_err(|e| StoreError::new("scan", e))? {
            let (key, value) = entry.map_err(|e| StoreError::new("scan", e))?;
            if !key.value().starts_with(prefix) {
                break;
            }
            found.push((key.value().to_vec(), value.value().to_vec()));
        }
        Ok(found)
    }

    fn read_page(&self, table: Table, after: Option<&[u8]>, limit: usize) -> Result<Vec<Entry>, StoreError> {
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        let range =
            self.table(table)?.range::<&[u8]>((from, Bound::Unbounded)).map_err(|e| StoreError::new("page", e))?;
        range
            .take(limit)
            .map(|entry| {
                let (key, value) = entry.map_err(|e| StoreError::new("page", e))?;
                Ok((key.value().to_vec(), value.value().to_vec()))
            })
            .collect()
    }

    fn read_first(&self, table: Table) -> Result<Option<Vec<u8>>, StoreError> {
        let first = self.table(table)?.first().map_err(|e| StoreError::new("find the first key", e))?;
        Ok(first.map(|(key, _)| key.value().to_vec()))
    }
}
