//! Makes a snapshot of a state, which the reader holds still meanwhile.

use sha2::{Digest, Sha256};

use super::{CHUNK, MAX_CHUNKS, Manifest, SECTIONS, StateSize, chunk};
use crate::{
    error::StoreError,
    ledger::{Head, NEEDED_HEADERS},
    store::Table,
};

/// Entries that are read at once.
const PAGE: usize = 512;

/// Gives each chunk of `head` to `keep`, in order, and then the manifest.
pub fn make(head: &Head, mut keep: impl FnMut(u32, &[u8]) -> Result<(), StoreError>) -> Result<Manifest, StoreError> {
    let mut chunks = Vec::new();
    let mut open = Vec::with_capacity(CHUNK + CHUNK / 4);
    let mut close = |open: &mut Vec<u8>| {
        let index = u32::try_from(chunks.len()).ok().filter(|_| chunks.len() < MAX_CHUNKS);
        let index = index.ok_or_else(|| StoreError::new("make a snapshot", "the state is too large"))?;
        chunks.push(Sha256::digest(&*open).into());
        keep(index, open)?;
        open.clear();
        Ok::<_, StoreError>(())
    };
    for table in SECTIONS {
        let mut after = match table {
            Table::Headers => head.height.checked_sub(NEEDED_HEADERS).map(|height| height.to_be_bytes().to_vec()),
            _ => None,
        };
        loop {
            let page = head.reader.page(table, after.as_deref(), PAGE)?;
            for (key, value) in &page {
                chunk::add(&mut open, table, key, value)?;
                if open.len() >= CHUNK {
                    close(&mut open)?;
                }
            }
            match page.into_iter().last() {
                Some((key, _)) => after = Some(key),
                None => break,
            }
        }
    }
    if !open.is_empty() {
        close(&mut open)?;
    }
    Ok(Manifest { height: head.height, app_hash: head.app_hash, chunks, size: StateSize::of(head)? })
}
