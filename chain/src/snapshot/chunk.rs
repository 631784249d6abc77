//! The bytes of a chunk: entries, each a table, two lengths, a key and a value.

use super::{MAX_CHUNK, SECTIONS};
use crate::{error::StoreError, store::Table};

/// One entry of a chunk.
pub type Item<'a> = (Table, &'a [u8], &'a [u8]);

/// Adds an entry to `chunk`.
pub fn add(chunk: &mut Vec<u8>, table: Table, key: &[u8], value: &[u8]) -> Result<(), StoreError> {
    let long = || StoreError::new("make a snapshot", format!("an entry of {table:?} is too long"));
    let length = |bytes: &[u8]| u32::try_from(bytes.len()).map(u32::to_be_bytes).map_err(|_| long());
    if chunk.len() + key.len() + value.len() + 9 > MAX_CHUNK {
        return Err(long());
    }
    chunk.push(table as u8);
    chunk.extend(length(key)?);
    chunk.extend(length(value)?);
    chunk.extend(key);
    chunk.extend(value);
    Ok(())
}

/// Takes the first entry off `chunk`.
pub fn take<'a>(chunk: &mut &'a [u8]) -> Option<Item<'a>> {
    let (head, rest) = chunk.split_first_chunk::<9>()?;
    let table = SECTIONS.into_iter().find(|table| *table as u8 == head[0])?;
    let length = |at: usize| usize::try_from(u32::from_be_bytes(*head.get(at..)?.first_chunk()?)).ok();
    let (key, rest) = rest.split_at_checked(length(1)?)?;
    let (value, rest) = rest.split_at_checked(length(5)?)?;
    *chunk = rest;
    Some((table, key, value))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::snapshot::Manifest;

    proptest! {
        #[test]
        fn nonsense_is_no_entry(bytes in proptest::collection::vec(any::<u8>(), 0..200), table in 0u8..12) {
            let all = [&[table], bytes.as_slice()].concat();
            let mut rest = all.as_slice();
            while take(&mut rest).is_some() {}
            prop_assert!(Manifest::decode(&bytes).is_none_or(|manifest| manifest.encode() == bytes));
        }

        #[test]
        fn entries_survive(key in proptest::collection::vec(any::<u8>(), 0..50), value in any::<[u8; 7]>()) {
            let mut chunk = Vec::new();
            add(&mut chunk, Table::Storage, &key, &value).unwrap();
            add(&mut chunk, Table::Code, &value, &key).unwrap();
            let mut rest = chunk.as_slice();
            prop_assert_eq!(take(&mut rest), Some((Table::Storage, key.as_slice(), value.as_slice())));
            prop_assert_eq!(take(&mut rest), Some((Table::Code, value.as_slice(), key.as_slice())));
            prop_assert!(rest.is_empty());
        }
    }
}
