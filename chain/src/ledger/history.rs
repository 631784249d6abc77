//! States of the past: each block keeps its change set, the values that it replaced, so a recent state is the newest one
//! seen through the change sets of the blocks since then. One row a block to write, one to forget.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
};

use super::archive;
use crate::{
    block,
    error::StoreError,
    store::{Batch, Entry, Reader, Table},
};

/// Version of a row.
const VERSION: u8 = 1;

/// Tables whose old values are kept. Not the tries of the EVM, which are large and follow from the values; not what is
/// only added to, or belongs to a height anyway.
const RECORDED: [Table; 6] =
    [Table::Meta, Table::Accounts, Table::Storage, Table::TreeNodes, Table::TreeValues, Table::ChainState];

/// Blocks and states that one commit forgets at most.
const FORGOTTEN_AT_ONCE: u64 = 4;

/// Headers that execution needs, for `BLOCKHASH`.
pub const NEEDED_HEADERS: u64 = 256;

/// Bytes of rows that are kept for the next question.
const CACHED: usize = 64 << 20;

/// What a node keeps of the past.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retention {
    /// States before the newest. One at least, for a rollback.
    pub states: u64,
    /// Blocks with their receipts; zero keeps all. A block that a kept state needs is never forgotten.
    pub blocks: u64,
    /// Every state since this began, and what blocks began with, so that any height can be asked.
    pub archive: bool,
}

impl Default for Retention {
    fn default() -> Self {
        Self { states: 256, blocks: 0, archive: false }
    }
}

impl Retention {
    /// The same for a node at `newest` that keeps the states from `height` on, whatever it keeps otherwise.
    pub fn with_states_from(self, newest: u64, height: Option<u64>) -> Self {
        let needed = height.map_or(0, |height| newest.saturating_sub(height));
        Self { states: self.states.max(needed), ..self }
    }

    /// The lowest block that is kept when `height` is the newest; zero keeps all.
    pub fn lowest_block(&self, height: u64) -> u64 {
        if self.blocks == 0 || self.archive {
            return 0;
        }
        let needed = self.states.max(1).saturating_add(NEEDED_HEADERS + 1);
        (height + 1).saturating_sub(self.blocks.max(needed))
    }
}

/// Adds to `batch`, the changes of block `height`, the values in `before` that they replace.
///
/// # Errors
/// When the store cannot be read, or what it holds there is damaged.
pub fn record(before: &dyn Reader, height: u64, batch: &mut Batch) -> Result<(), StoreError> {
    record_with(before, height, false, batch)
}

/// The same, and with `archive` each of them for ever.
pub fn record_with(before: &dyn Reader, height: u64, archive: bool, batch: &mut Batch) -> Result<(), StoreError> {
    let mut kept = Batch::default();
    let mut ends = Vec::new();
    let mut body = Vec::new();
    let length = |n: usize| u32::try_from(n).map_err(|_| StoreError::new("record the past", "the block is too large"));
    for (table, key, value) in batch.iter().filter(|(table, _, _)| RECORDED.contains(table)) {
        let old = before.get(table, key)?;
        if old.as_deref() == value {
            continue;
        }
        if archive {
            archive::keep(table, key, old.as_deref(), height, &mut kept);
        }
        body.push(table as u8);
        body.push(u8::from(old.is_some()));
        body.extend(length(key.len())?.to_be_bytes());
        body.extend(key);
        body.extend(old.unwrap_or_default());
        ends.push(length(body.len())?);
    }
    let mut row = Vec::with_capacity(5 + 4 * ends.len() + body.len());
    row.push(VERSION);
    row.extend(length(ends.len())?.to_be_bytes());
    row.extend(ends.iter().flat_map(|end| end.to_be_bytes()));
    row.extend(body);
    batch.put(Table::ChangeSets, height.to_be_bytes(), row);
    archive::mark(before, height, archive, &mut kept)?;
    batch.extend(kept);
    Ok(())
}

/// Adds to `batch`, which commits `height`, the removal of what need not be kept any more.
pub fn prune(before: &dyn Reader, height: u64, keep: Retention, batch: &mut Batch) -> Result<(), StoreError> {
    let lowest_state = (height + 1).saturating_sub(keep.states.max(1));
    for old in outdated(before, Table::ChangeSets, lowest_state)? {
        batch.delete(Table::ChangeSets, old.to_be_bytes());
        if !keep.archive {
            batch.delete(Table::BeginBlocks, old.to_be_bytes());
        }
    }
    for old in outdated(before, Table::Headers, keep.lowest_block(height))? {
        block::forget(before, old, batch)?;
    }
    Ok(())
}

/// A few keys of `table` below `lowest`: heights, without gaps.
fn outdated(reader: &dyn Reader, table: Table, lowest: u64) -> Result<std::ops::Range<u64>, StoreError> {
    if lowest == 0 {
        return Ok(0..0);
    }
    let Some(first) = lowest_height(reader, table)? else { return Ok(0..0) };
    Ok(first..lowest.min(first.saturating_add(FORGOTTEN_AT_ONCE)))
}

/// The lowest height that is a key of `table`.
pub fn lowest_height(reader: &dyn Reader, table: Table) -> Result<Option<u64>, StoreError> {
    let Some(key) = reader.first_key(table)? else { return Ok(None) };
    let key = key.try_into().map_err(|_| StoreError::corrupt("read a height", "wrong length"))?;
    Ok(Some(u64::from_be_bytes(key)))
}

/// The change set of a block: the values that it replaced, searched in the bytes of their row.
pub struct ChangeSet {
    row: Vec<u8>,
    count: usize,
}

/// Table, key, value before the block.
type Old<'a> = (u8, &'a [u8], Option<&'a [u8]>);

impl ChangeSet {
    /// Reads a row and checks its form.
    pub fn read(row: Vec<u8>) -> Result<Self, StoreError> {
        let bad = || StoreError::corrupt("read what a block replaced", "wrong form");
        let (version, rest) = row.split_first().ok_or_else(bad)?;
        if *version != VERSION {
            return Err(StoreError::new("read what a block replaced", format!("unknown version {version}")));
        }
        let (count, _) = rest.split_first_chunk::<4>().ok_or_else(bad)?;
        let count = usize::try_from(u32::from_be_bytes(*count)).map_err(|_| bad())?;
        if count > row.len() / 4 {
            return Err(bad());
        }
        let changes = Self { row, count };
        match changes.entries().count() == count {
            true => Ok(changes),
            false => Err(bad()),
        }
    }

    /// The row of block `height` in `reader`, if it is kept.
    pub fn at(reader: &dyn Reader, height: u64) -> Result<Option<Self>, StoreError> {
        reader.get(Table::ChangeSets, &height.to_be_bytes())?.map(Self::read).transpose()
    }

    /// All values, in order of table and key.
    pub fn entries(&self) -> impl Iterator<Item = (Table, &[u8], Option<&[u8]>)> {
        let known = |number: u8| RECORDED.into_iter().find(|table| *table as u8 == number);
        (0..self.count).filter_map(|i| self.entry(i)).filter_map(move |(t, key, old)| Some((known(t)?, key, old)))
    }

    /// The value before the block, if the block changed it.
    fn find(&self, table: Table, key: &[u8]) -> Option<Option<&[u8]>> {
        let at = self.first_not_below(table, key);
        let (t, k, old) = self.entry(at)?;
        (t == table as u8 && k == key).then_some(old)
    }

    fn first_not_below(&self, table: Table, key: &[u8]) -> usize {
        let (mut low, mut high) = (0, self.count);
        while low < high {
            let middle = low + (high - low) / 2;
            match self.entry(middle) {
                Some((t, k, _)) if (t, k) < (table as u8, key) => low = middle + 1,
                _ => high = middle,
            }
        }
        low
    }

    fn end(&self, index: usize) -> Option<usize> {
        let at = 5 + 4 * index;
        let end = self.row.get(at..at + 4)?.first_chunk::<4>()?;
        usize::try_from(u32::from_be_bytes(*end)).ok()
    }

    fn entry(&self, index: usize) -> Option<Old<'_>> {
        if index >= self.count {
            return None;
        }
        let start = if index == 0 { 0 } else { self.end(index - 1)? };
        let body = self.row.get(5 + 4 * self.count..)?;
        let entry = body.get(start..self.end(index)?)?;
        let (head, rest) = entry.split_first_chunk::<6>()?;
        let length = usize::try_from(u32::from_be_bytes([head[2], head[3], head[4], head[5]])).ok()?;
        let (key, value) = rest.split_at_checked(length)?;
        Some((head[0], key, (head[1] == 1).then_some(value)))
    }
}

/// A state of the past: the newest one, and the change sets of the blocks since then.
pub struct HistoricalState {
    /// The newest state.
    pub now: Arc<dyn Reader>,
    /// The height of this state.
    pub height: u64,
    /// What the blocks above it replaced, lowest first.
    pub since: Vec<Arc<ChangeSet>>,
}

impl Reader for HistoricalState {
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        match table {
            Table::TrieNodes => Err(StoreError::new("read a trie node", "only the newest state has its tries")),
            Table::Blocks | Table::Headers if key > self.height.to_be_bytes().as_slice() => Ok(None),
            _ => match self.since.iter().find_map(|block| block.find(table, key)) {
                Some(old) => Ok(old.map(<[u8]>::to_vec)),
                None => self.now.get(table, key),
            },
        }
    }

    fn scan(&self, table: Table, prefix: &[u8]) -> Result<Vec<Entry>, StoreError> {
        if table == Table::TrieNodes {
            return Err(StoreError::new("read a trie", "only the newest state has its tries"));
        }
        let mut found: BTreeMap<Vec<u8>, Vec<u8>> = self.now.scan(table, prefix)?.into_iter().collect();
        for block in self.since.iter().rev() {
            let from = block.first_not_below(table, prefix);
            let touched = (from..block.count).map_while(|i| block.entry(i));
            for (_, key, old) in touched.take_while(|(t, key, _)| *t == table as u8 && key.starts_with(prefix)) {
                match old {
                    Some(old) => found.insert(key.to_vec(), old.to_vec()),
                    None => found.remove(key),
                };
            }
        }
        Ok(found.into_iter().collect())
    }
}

/// Change sets that were read lately.
#[derive(Default)]
pub struct ChangeSetCache(Mutex<Cached>);

#[derive(Default)]
struct Cached {
    /// For the next question.
    kept: BTreeMap<u64, Arc<ChangeSet>>,
    /// Whatever any question works with, kept or not: two of them share one copy.
    lent: BTreeMap<u64, Weak<ChangeSet>>,
    /// Bytes of those that are kept.
    bytes: usize,
}

impl ChangeSetCache {
    /// The state at `height` below `newest`, whose state is `now`; nothing if it is not kept.
    /// `read` is told the bytes of each row, and may refuse to go on.
    pub fn state_at<E: From<StoreError>>(
        &self,
        now: Arc<dyn Reader>,
        newest: u64,
        height: u64,
        mut read: impl FnMut(usize) -> Result<(), E>,
    ) -> Result<Option<HistoricalState>, E> {
        let kept = lowest_height(now.as_ref(), Table::ChangeSets)?.is_some_and(|first| first <= height + 1);
        if !kept || height >= newest {
            return Ok(None);
        }
        let mut since = Vec::new();
        for block in height + 1..=newest {
            match self.row(now.as_ref(), block)? {
                Some(row) => {
                    read(row.row.len())?;
                    since.push(row);
                }
                None => return Ok(None),
            }
        }
        Ok(Some(HistoricalState { now, height, since }))
    }

    /// Forgets the rows of blocks from `height` on: there will be others.
    pub fn forget_from(&self, height: u64) {
        let mut cached = self.cached();
        let gone = cached.kept.split_off(&height);
        cached.bytes -= gone.values().map(|row| row.row.len()).sum::<usize>();
        cached.lent.split_off(&height);
    }

    fn cached(&self) -> MutexGuard<'_, Cached> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn row(&self, reader: &dyn Reader, height: u64) -> Result<Option<Arc<ChangeSet>>, StoreError> {
        if let Some(row) = self.cached().find(height) {
            return Ok(Some(row));
        }
        let Some(row) = ChangeSet::at(reader, height)? else { return Ok(None) };
        Ok(Some(self.cached().keep(height, row, CACHED)))
    }
}

impl Cached {
    fn find(&self, height: u64) -> Option<Arc<ChangeSet>> {
        self.kept.get(&height).cloned().or_else(|| self.lent.get(&height)?.upgrade())
    }

    /// Keeps `row`, unless somebody was faster, and lets those go that are too much for `room` bytes.
    fn keep(&mut self, height: u64, row: ChangeSet, room: usize) -> Arc<ChangeSet> {
        if let Some(row) = self.find(height) {
            return row;
        }
        let row = Arc::new(row);
        self.bytes += row.row.len();
        self.kept.insert(height, row.clone());
        self.lent.insert(height, Arc::downgrade(&row));
        while self.bytes > room && self.kept.len() > 1 {
            let Some((_, oldest)) = self.kept.pop_first() else { break };
            self.bytes -= oldest.row.len();
        }
        self.lent.retain(|_, lent| lent.strong_count() > 0);
        row
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::store::{MemoryStore, Store};

    fn row(length: usize) -> ChangeSet {
        ChangeSet { row: vec![0; length], count: 0 }
    }

    #[test]
    fn rows_that_are_kept_have_a_bound_and_questions_share_them() {
        let mut cached = Cached::default();
        let first = cached.keep(1, row(40), 100);
        for height in 2..10 {
            cached.keep(height, row(40), 100);
            let bytes: usize = cached.kept.values().map(|row| row.row.len()).sum();
            assert!(bytes <= 100 && bytes == cached.bytes, "{bytes} bytes are kept");
        }
        assert_eq!(cached.kept.keys().copied().collect::<Vec<_>>(), [8, 9]);
        // A question works with the first row still: the next one does not read it anew.
        assert!(Arc::ptr_eq(&first, &cached.find(1).unwrap()));
        assert!(Arc::ptr_eq(&first, &cached.keep(1, row(40), 100)), "nor does one that read it at the same time");
        drop(first);
        assert!(cached.find(1).is_none());
        cached.keep(10, row(40), 100);
        assert_eq!(cached.lent.len(), 2, "what nobody works with is forgotten");
        let rows = ChangeSetCache(Mutex::new(cached));
        rows.forget_from(10);
        assert_eq!(rows.cached().bytes, 40);
    }

    #[test]
    fn who_reads_the_past_hears_what_it_costs_and_can_stop() {
        let store = MemoryStore::default();
        for (height, length) in (1..=5u64).zip((100..).step_by(100)) {
            let mut batch = Batch::default();
            batch.put(Table::Accounts, [1], vec![0; length]);
            record(store.reader().unwrap().as_ref(), height, &mut batch).unwrap();
            store.write(&batch).unwrap();
        }
        let (rows, mut read) = (ChangeSetCache::default(), vec![]);
        let asked = rows.state_at(store.reader().unwrap(), 5, 0, |bytes| {
            read.push(bytes);
            if read.len() < 3 { Ok(()) } else { Err(StoreError::new("read", "enough")) }
        });
        assert!(asked.is_err());
        assert!(read.len() == 3 && read.is_sorted() && read[2] > 200, "{read:?}");
        assert_eq!(rows.cached().kept.len(), 3, "no further row is read");
    }

    proptest! {
        #[test]
        fn every_kept_state_is_the_one_that_was(
            blocks in proptest::collection::vec(proptest::collection::vec((0u8..6, proptest::option::of(0u8..4)), 0..8), 1..12)
        ) {
            let store = MemoryStore::default();
            let mut readers = vec![store.reader().unwrap()];
            for (height, changes) in (1u64..).zip(&blocks) {
                let mut batch = Batch::default();
                for (key, value) in changes {
                    match value {
                        Some(value) => batch.put(Table::Accounts, [key / 3, *key], [*value]),
                        None => batch.delete(Table::Accounts, [key / 3, *key]),
                    }
                }
                record(readers.last().unwrap().as_ref(), height, &mut batch).unwrap();
                store.write(&batch).unwrap();
                readers.push(store.reader().unwrap());
            }
            let newest = blocks.len() as u64;
            let rows = ChangeSetCache::default();
            for (height, was) in (0u64..newest).zip(&readers) {
                let past = rows.state_at(readers[blocks.len()].clone(), newest, height, |_| Ok::<_, StoreError>(())).unwrap().unwrap();
                for prefix in [&[][..], &[0], &[1], &[0, 2]] {
                    prop_assert_eq!(past.scan(Table::Accounts, prefix).unwrap(), was.scan(Table::Accounts, prefix).unwrap());
                }
                for key in 0u8..6 {
                    let key = [key / 3, key];
                    prop_assert_eq!(past.get(Table::Accounts, &key).unwrap(), was.get(Table::Accounts, &key).unwrap());
                }
            }
        }

        #[test]
        fn a_row_that_is_cut_short_or_of_another_version_is_refused(
            keys in proptest::collection::btree_set(proptest::collection::vec(any::<u8>(), 1..9), 1..6),
            noise in proptest::collection::vec(any::<u8>(), 0..60),
        ) {
            let store = MemoryStore::default();
            let mut row = Vec::new();
            for value in [3, 4] {
                let mut batch = Batch::default();
                keys.iter().for_each(|key| batch.put(Table::Accounts, key.clone(), [value]));
                record(store.reader().unwrap().as_ref(), value.into(), &mut batch).unwrap();
                store.write(&batch).unwrap();
                row = store.reader().unwrap().get(Table::ChangeSets, &u64::from(value).to_be_bytes()).unwrap().unwrap();
            }
            let whole = ChangeSet::read(row.clone()).unwrap();
            for key in &keys {
                prop_assert_eq!(whole.find(Table::Accounts, key), Some(Some(&[3][..])));
            }
            for length in 0..row.len() {
                prop_assert!(ChangeSet::read(row[..length].to_vec()).is_err(), "{} of {} bytes", length, row.len());
            }
            row[0] = VERSION + 1;
            prop_assert!(ChangeSet::read(row).is_err());

            // Whatever is accepted can be looked through.
            if let Ok(read) = ChangeSet::read([&[VERSION, 0, 0, 0], noise.as_slice()].concat()) {
                prop_assert_eq!(read.entries().count(), read.count);
                prop_assert!(read.find(Table::Blocks, b"key").is_none_or(|old| old.is_none_or(|old| old.len() <= noise.len())));
            }
        }
    }
}
