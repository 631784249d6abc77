//! How large a state is, as the state itself says: the chain's own store keeps the bytes of all flat values, so whoever
//! trusts an application hash can hold a snapshot of it against that.

use super::chain_store::{self, Changes};
use crate::{
    error::StoreError,
    store::{Batch, Reader, Table},
};

/// Key in the chain's store.
pub const KEY: &[u8] = b"size";

/// Tables whose keys and values count, beside the chain's own store without this key.
const COUNTED: [Table; 3] = [Table::Accounts, Table::Storage, Table::Code];

/// Adds the new size to `chain`, the changes of the chain's own store, after those in `batch` and the others in `chain`.
///
/// # Errors
/// When the store cannot be read, or what it holds there is damaged.
pub fn count(reader: &dyn Reader, chain: &mut Changes, batch: &Batch) -> Result<(), StoreError> {
    let mut size = i128::from(read(chain_store::get(reader, KEY)?.as_deref())?);
    let mut change = |table, key: &[u8], value: Option<&[u8]>| {
        size += bytes(key, value) - bytes(key, reader.get(table, key)?.as_deref());
        Ok::<_, StoreError>(())
    };
    for (table, key, value) in batch.iter().filter(|(table, _, _)| COUNTED.contains(table)) {
        change(table, key, value)?;
    }
    for (key, value) in chain.iter().filter(|(key, _)| *key != KEY) {
        change(Table::ChainState, key, value.as_deref())?;
    }
    let size = u64::try_from(size).map_err(|e| StoreError::corrupt("count the state", e))?;
    chain.insert(KEY.to_vec(), Some(size.to_be_bytes().to_vec()));
    Ok(())
}

/// The number in a stored size: zero before there is one.
///
/// # Errors
/// When the bytes are no number.
pub fn read(value: Option<&[u8]>) -> Result<u64, StoreError> {
    let Some(value) = value else { return Ok(0) };
    let bytes = value.try_into().map_err(|_| StoreError::corrupt("read the size of the state", "wrong length"))?;
    Ok(u64::from_be_bytes(bytes))
}

fn bytes(key: &[u8], value: Option<&[u8]>) -> i128 {
    value.map_or(0, |value| i128::try_from(key.len() + value.len()).unwrap_or(i128::MAX))
}
