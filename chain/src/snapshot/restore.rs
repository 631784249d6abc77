//! Builds a state from the chunks of a snapshot. Each chunk is checked against the manifest, and the whole against the
//! application hash that the caller trusts; until then nothing of it is a state.

use std::{collections::BTreeSet, sync::Arc};

use alloy_primitives::{Address, B256, KECCAK256_EMPTY, U256, keccak256};
use sha2::{Digest, Sha256};

use super::{MAX_CHUNK, MOST_HEADER, MOST_HEADERS, Manifest, SECTIONS, chunk};
use crate::{
    application::ChunkVerdict,
    block,
    error::StoreError,
    failpoint,
    ledger::{BLOCK_KEY, NEEDED_HEADERS, store_head},
    state::{Account, StateView, StoreRoots, chain_store, size},
    store::{Batch, Store, TABLES, Table},
};

/// Keys that are removed in one batch.
const CLEARED: usize = 20_000;

/// A snapshot that is being restored.
pub struct Restore {
    store: Arc<dyn Store>,
    manifest: Manifest,
    next: usize,
    /// The last entry: the next one comes after it.
    last: Option<(usize, Vec<u8>)>,
    evm: B256,
    /// Bytes of flat values so far, of those that the state says it has; and headers.
    bytes: u64,
    headers: u64,
}

/// Why a chunk that the manifest names is refused all the same.
type Wrong = &'static str;

impl Restore {
    /// Begins to restore `manifest`, whose application hash is trusted, into `store`, whose content is removed.
    ///
    /// # Errors
    /// When the store fails.
    pub fn begin(store: Arc<dyn Store>, manifest: Manifest) -> Result<Self, StoreError> {
        clear(store.as_ref())?;
        Ok(Self { store, manifest, next: 0, last: None, evm: B256::ZERO, bytes: 0, headers: 0 })
    }

    /// The next chunk that is needed; nothing once all are there.
    pub fn needs(&self) -> Option<u32> {
        (self.next < self.manifest.chunks.len()).then(|| u32::try_from(self.next).unwrap_or(u32::MAX))
    }

    /// Takes a chunk. After the last one the state is committed.
    ///
    /// # Errors
    /// When the store fails; a chunk that is not the one of the manifest is a [`ChunkVerdict`].
    pub fn apply(&mut self, index: u32, bytes: &[u8]) -> Result<ChunkVerdict, StoreError> {
        let expected = self.needs() == Some(index) && bytes.len() <= MAX_CHUNK;
        let hash: [u8; 32] = if expected { Sha256::digest(bytes).into() } else { [0; 32] };
        if self.manifest.chunks.get(self.next).is_none_or(|wanted| !expected || *wanted != hash) {
            return Ok(ChunkVerdict::Retry);
        }
        let reader = self.store.reader()?;
        let mut view = StateView::new(reader.clone());
        let mut batch = Batch::default();
        if let Err(wrong) = self.fill(bytes, &mut view, &mut batch)? {
            tracing::warn!("snapshot of block {}: {wrong}", self.manifest.height);
            return Ok(ChunkVerdict::RejectSnapshot);
        }
        drop(reader);
        let (evm, values) = view.evm_root()?;
        batch.extend(values);
        failpoint::reach("restore-chunk");
        self.store.write(&batch)?;
        self.evm = evm;
        self.next += 1;
        if self.needs().is_some() {
            return Ok(ChunkVerdict::Accept);
        }
        match self.finish()? {
            Ok(batch) => {
                failpoint::reach("restore-finish");
                self.store.write(&batch)?;
                Ok(ChunkVerdict::Accept)
            }
            Err(wrong) => {
                tracing::warn!("snapshot of block {}: {wrong}", self.manifest.height);
                Ok(ChunkVerdict::RejectSnapshot)
            }
        }
    }

    fn fill(
        &mut self,
        mut bytes: &[u8],
        view: &mut StateView,
        batch: &mut Batch,
    ) -> Result<Result<(), Wrong>, StoreError> {
        let mut codes = BTreeSet::from([KECCAK256_EMPTY]);
        while !bytes.is_empty() {
            let Some((table, key, value)) = chunk::take(&mut bytes) else { return Ok(Err("an entry is malformed")) };
            let rank = SECTIONS.iter().position(|section| *section == table).unwrap_or(usize::MAX);
            let place = (rank, key.to_vec());
            if self.last.as_ref().is_some_and(|last| *last >= place) {
                return Ok(Err("entries are out of order"));
            }
            self.last = Some(place);
            // Before anything of it is kept: a stranger may have made the manifest, but not the state's own size.
            match table {
                Table::Headers => self.headers += 1,
                Table::ChainState if key == size::KEY => {}
                _ => self.bytes += (key.len() + value.len()) as u64,
            }
            let long = table == Table::Headers && value.len() as u64 > MOST_HEADER;
            if self.bytes > self.manifest.size.bytes || self.headers > MOST_HEADERS || long {
                return Ok(Err("it has more than the state"));
            }
            match table {
                Table::Code => {
                    let hash = keccak256(value);
                    if key != hash.as_slice() {
                        return Ok(Err("code has another hash"));
                    }
                    codes.insert(hash);
                    batch.put(table, key, value);
                }
                Table::Accounts => {
                    let (Ok(address), Ok(account)) = (Address::try_from(key), Account::decode(value)) else {
                        return Ok(Err("an account is malformed"));
                    };
                    let hash = account.code_hash;
                    if !codes.contains(&hash) && view.reader().get(Table::Code, hash.as_slice())?.is_none() {
                        return Ok(Err("an account's code is missing"));
                    }
                    view.set_account(address, account)?;
                }
                Table::Storage => {
                    let (Some((address, slot)), Ok(word)) =
                        (key.split_first_chunk::<20>(), <[u8; 32]>::try_from(value))
                    else {
                        return Ok(Err("a storage word is malformed"));
                    };
                    let word = U256::from_be_bytes(word);
                    let address = Address::from(address);
                    if slot.len() != 32 || word.is_zero() || view.account(address)?.is_none() {
                        return Ok(Err("a storage word is of no account"));
                    }
                    view.set_slot(address, U256::from_be_slice(slot), word);
                }
                Table::Headers => match block::decode_header(value) {
                    Ok(header) if key == header.number.to_be_bytes() && alloy_rlp::encode(&header) == value => {
                        block::store_header(&header, batch);
                    }
                    _ => return Ok(Err("a header is malformed")),
                },
                _ => batch.put(table, key, value),
            }
        }
        Ok(Ok(()))
    }

    /// Compares everything with the trusted hash.
    fn finish(&self) -> Result<Result<Batch, Wrong>, StoreError> {
        let height = self.manifest.height;
        let reader = self.store.reader()?;
        let mut batch = Batch::default();
        let chain = chain_store::rebuild(height, reader.scan(Table::ChainState, &[])?, &mut batch)?;
        let roots = StoreRoots { chain, evm: self.evm, ibc: chain_store::EMPTY_TREE };
        if roots.app_hash() != self.manifest.app_hash {
            return Ok(Err("its state has another application hash"));
        }
        let headers = reader.page(Table::Headers, None, usize::try_from(NEEDED_HEADERS + 1).unwrap_or(usize::MAX))?;
        let mut hash = chain_store::get(reader.as_ref(), BLOCK_KEY)?.unwrap_or_default();
        let mut whole = false;
        for (number, (key, value)) in (0..=height).rev().zip(headers.iter().rev()) {
            if *key != number.to_be_bytes() || keccak256(value).as_slice() != hash {
                return Ok(Err("its headers do not follow each other"));
            }
            let parent = block::decode_header(value)?.parent_hash;
            whole = parent.is_zero();
            hash = parent.to_vec();
        }
        // All that execution needs, or all since the chain began.
        if !whole && u64::try_from(headers.len()).ok() != Some(NEEDED_HEADERS) {
            return Ok(Err("it has not the headers that execution needs"));
        }
        store_head(height, &roots, &mut batch);
        Ok(Ok(batch))
    }
}

/// Removes everything in `store`.
///
/// # Errors
/// When the store fails.
pub fn clear(store: &dyn Store) -> Result<(), StoreError> {
    for table in TABLES {
        loop {
            let page = store.reader()?.page(table, None, CLEARED)?;
            let page: Vec<Vec<u8>> = page.into_iter().map(|(key, _)| key).filter(|key| !kept(table, key)).collect();
            if page.is_empty() {
                break;
            }
            let mut batch = Batch::default();
            page.into_iter().for_each(|key| batch.delete(table, key));
            store.write(&batch)?;
        }
    }
    Ok(())
}

/// The format of the file stays.
fn kept(table: Table, key: &[u8]) -> bool {
    table == Table::Meta && key == crate::store::FORMAT_KEY
}
