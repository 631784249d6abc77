//! Storage as the logic sees it: words by name.
//!
//! A record lies at the hash of its name and the accounts it belongs to, one word after the other, like a struct in a
//! Solidity mapping: one hash finds all of it.

use alloy_primitives::{Address, B256, U256, address, keccak256};

use crate::{error::StoreError, state::StateView};

/// Where the native contract lives.
pub const ADDRESS: Address = address!("0x0000000000000000000000000000000000000A10");

/// The storage of the staking contract.
pub trait Storage {
    /// The word in `slot`.
    ///
    /// # Errors
    /// When the store cannot be read.
    fn load(&mut self, slot: U256) -> Result<U256, StoreError>;

    /// Sets the word in `slot`.
    ///
    /// # Errors
    /// When the store cannot be read, which tells what the word was.
    fn store(&mut self, slot: U256, value: U256) -> Result<(), StoreError>;
}

/// Between transactions, the contract's storage is just state. A word that stays as it was costs no hash.
impl Storage for StateView {
    fn load(&mut self, slot: U256) -> Result<U256, StoreError> {
        self.slot(ADDRESS, slot)
    }

    fn store(&mut self, slot: U256, value: U256) -> Result<(), StoreError> {
        if self.slot(ADDRESS, slot)? != value {
            self.set_slot(ADDRESS, slot, value);
        }
        Ok(())
    }
}

/// Where a record begins: its name and whose it is are hashed, so that no two records meet.
pub fn slot(record: &str, whose: &[&[u8]]) -> U256 {
    let mut bytes = [0u8; 32 * 3];
    let (name, rest) = bytes.split_at_mut(32);
    name[..record.len()].copy_from_slice(record.as_bytes());
    for (place, part) in rest.chunks_exact_mut(32).zip(whose) {
        place.copy_from_slice(B256::left_padding_from(part).as_slice());
    }
    U256::from_be_bytes(keccak256(&bytes[..32 * (1 + whose.len().min(2))]).0)
}

/// The record of an account.
pub fn of(record: &str, account: Address) -> U256 {
    slot(record, &[account.as_slice()])
}

/// The record of a pair of accounts.
pub fn between(record: &str, one: Address, other: Address) -> U256 {
    slot(record, &[one.as_slice(), other.as_slice()])
}

/// The word with number `index` of the record that begins at `base`.
pub fn field(base: U256, index: u64) -> U256 {
    base.wrapping_add(U256::from(index))
}

/// A number that is known to fit.
pub fn small(word: U256) -> u64 {
    word.saturating_to()
}

/// An address in a word.
pub fn address(word: U256) -> Address {
    Address::from_word(B256::from(word))
}

/// A word with an address.
pub fn word(address: Address) -> U256 {
    U256::from_be_bytes(address.into_word().0)
}
