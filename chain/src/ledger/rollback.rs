//! Takes the last block back: its changes are undone from what it replaced, the tries are computed again, and nothing
//! is written unless every root is the one that the block before committed to.

use std::sync::Arc;

use alloy_primitives::{Address, U256};

use super::{archive, execute::BLOCK_KEY, head::Head, history::ChangeSet};
use crate::{
    application::Info,
    block,
    error::StoreError,
    state::{Account, StateView, chain_store},
    store::{Batch, Layered, Store, Table},
};

/// Undoes the last block in `store`, which no ledger may be using. Gives the block that is the last one now.
///
/// # Errors
/// When the store has no block, does not keep the values that the last one replaced, or fails.
pub fn roll_back(store: &dyn Store) -> Result<Info, StoreError> {
    let no = |why: &str| StoreError::new("roll back", why);
    let reader = store.reader()?;
    let head = Head::load(reader.clone())?
        .ok_or_else(|| no("there is no block yet: start the node first (`sahara chain start`)"))?;
    let before = head.height.saturating_sub(1);
    let first = block::header_at(reader.as_ref(), before)?.is_none_or(|header| header.parent_hash.is_zero());
    if first {
        return Err(no("the first block follows from genesis: remove the data folder to begin again"));
    }
    let changes = ChangeSet::at(reader.as_ref(), head.height)?;
    let changes =
        changes.ok_or_else(|| no("what the last block replaced is not kept, so its state cannot be undone"))?;

    let mut view = StateView::new(reader.clone());
    let mut batch = Batch::default();
    for (table, key, old) in changes.entries() {
        archive::forget(table, key, head.height, &mut batch);
        match table {
            Table::Accounts => undo_account(&mut view, key, old)?,
            Table::Storage => undo_slot(&mut view, key, old)?,
            _ => match old {
                Some(old) => batch.put(table, key, old),
                None => batch.delete(table, key),
            },
        }
    }
    let (evm, values) = view.evm_root()?;
    batch.extend(values);
    block::forget(reader.as_ref(), head.height, &mut batch)?;
    batch.delete(Table::ChangeSets, head.height.to_be_bytes());
    batch.delete(Table::BeginBlocks, head.height.to_be_bytes());

    let layered = Layered { base: reader, batch };
    let chain = chain_store::root(&layered, before)?;
    let layered = Arc::new(layered);
    let old = Head::load(layered.clone())?.ok_or_else(|| no("the block before is not there"))?;
    let named = chain_store::get(layered.as_ref(), BLOCK_KEY)?;
    let right = old.height == before
        && (old.header.state_root, old.roots.evm, old.roots.chain) == (evm, evm, chain)
        && old.roots.app_hash() == old.app_hash
        && named.as_deref() == Some(old.hash.as_slice());
    if !right {
        return Err(StoreError::corrupt("roll back", "the roots are not those of the block before"));
    }
    let info = Info { height: before, app_hash: old.app_hash };
    store.write(&layered.batch)?;
    Ok(info)
}

fn undo_account(view: &mut StateView, key: &[u8], old: Option<&[u8]>) -> Result<(), StoreError> {
    let address = Address::try_from(key).map_err(|e| StoreError::corrupt("read the key of an account", e))?;
    match old {
        Some(old) => view.set_account(address, Account::decode(old)?),
        None => {
            view.remove_account(address);
            Ok(())
        }
    }
}

/// Accounts come before storage: what is gone took its storage with it.
fn undo_slot(view: &mut StateView, key: &[u8], old: Option<&[u8]>) -> Result<(), StoreError> {
    let bad = || StoreError::corrupt("read a storage word", "wrong length");
    let (address, slot) = key.split_first_chunk::<20>().ok_or_else(bad)?;
    let slot = <[u8; 32]>::try_from(slot).map_err(|_| bad())?;
    let word = old.map_or(Ok([0; 32]), <[u8; 32]>::try_from).map_err(|_| bad())?;
    let address = Address::from(address);
    if view.account(address)?.is_some() {
        view.set_slot(address, U256::from_be_bytes(slot), U256::from_be_bytes(word));
    }
    Ok(())
}
