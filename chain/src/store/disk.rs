//! The store of a node: one file of copy-on-write B-trees (redb). A crash leaves the last committed batch.

use std::{collections::BTreeMap, ops::Bound, path::Path, sync::Arc};

use redb::{Database, DatabaseError, ReadOnlyTable, ReadableDatabase, ReadableTable, TableDefinition};

use super::{Batch, Entry, Reader, Store, TABLES, Table};
use crate::error::StoreError;

/// Version of what the tables mean. Another number is refused by name.
const FORMAT: u8 = 2;
/// Its name in the table of names.
pub const FORMAT_KEY: &[u8] = b"format";
const FILE: &str = "chain.redb";

type Bytes = &'static [u8];

/// Tables in a file.
pub struct DiskStore {
    database: Database,
}

impl DiskStore {
    /// Opens the store in `folder`, or makes an empty one there.
    pub fn open(folder: &Path) -> Result<Self, StoreError> {
        std::fs::create_dir_all(folder).map_err(|e| StoreError::new("make the data folder", e))?;
        let database = Database::create(folder.join(FILE)).map_err(|e| match e {
            DatabaseError::DatabaseAlreadyOpen => StoreError::new("open chain.redb", "another process is using it"),
            e => StoreError::corrupt("open chain.redb", e),
        })?;
        let store = Self { database };
        let write = store.database.begin_write().map_err(|e| StoreError::new("begin", e))?;
        for table in TABLES {
            write.open_table(definition(table)).map_err(|e| StoreError::new("open a table", e))?;
        }
        write.commit().map_err(|e| StoreError::new("create the tables", e))?;
        match store.reader()?.get(Table::Meta, FORMAT_KEY)?.as_deref() {
            None => {
                let mut batch = Batch::default();
                batch.put(Table::Meta, FORMAT_KEY, [FORMAT]);
                store.write(&batch)?;
            }
            Some([FORMAT]) => {}
            Some(other) => {
                return Err(StoreError::new(
                    "open chain.redb",
                    format!(
                        "it has format {}, this program reads format {FORMAT}. Use the program that wrote it, or remove \
                         the data folder and let the node sync again",
                        other.first().copied().unwrap_or_default()
                    ),
                ));
            }
        }
        Ok(store)
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
        Table::History => "history",
        Table::Openings => "openings",
    })
}

impl Store for DiskStore {
    fn reader(&self) -> Result<Arc<dyn Reader>, StoreError> {
        let read = self.database.begin_read().map_err(|e| StoreError::new("begin to read", e))?;
        let mut tables = BTreeMap::new();
        for table in TABLES {
            let open = read.open_table(definition(table)).map_err(|e| StoreError::new("open a table", e))?;
            tables.insert(table, open);
        }
        Ok(Arc::new(Snapshot { tables }))
    }

    fn write(&self, batch: &Batch) -> Result<(), StoreError> {
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
}

impl Snapshot {
    fn table(&self, table: Table) -> Result<&ReadOnlyTable<Bytes, Bytes>, StoreError> {
        self.tables.get(&table).ok_or_else(|| StoreError::new("find a table", format!("{table:?}")))
    }
}

impl Reader for Snapshot {
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        let value = self.table(table)?.get(key).map_err(|e| StoreError::new("get", e))?;
        Ok(value.map(|guard| guard.value().to_vec()))
    }

    fn scan(&self, table: Table, prefix: &[u8]) -> Result<Vec<Entry>, StoreError> {
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
    fn page(&self, table: Table, after: Option<&[u8]>, limit: usize) -> Result<Vec<Entry>, StoreError> {
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

    fn first_key(&self, table: Table) -> Result<Option<Vec<u8>>, StoreError> {
        let first = self.table(table)?.first().map_err(|e| StoreError::new("find the first key", e))?;
        Ok(first.map(|(key, _)| key.value().to_vec()))
    }
}
