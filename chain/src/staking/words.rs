//! Storage as the logic sees it: words by name.

use alloy_primitives::{Address, B256, U256, keccak256};

use crate::{error::StoreError, state::StateView};

/// The storage of the staking contract.
pub trait Words {
    /// The word in `slot`.
    fn load(&mut self, slot: U256) -> Result<U256, StoreError>;

    /// Sets the word in `slot`.
    fn store(&mut self, slot: U256, value: U256) -> Result<(), StoreError>;
}

/// Between transactions, the contract's storage is just state.
impl Words for StateView {
    fn load(&mut self, slot: U256) -> Result<U256, StoreError> {
        self.slot(super::ADDRESS, slot)
    }

    fn store(&mut self, slot: U256, value: U256) -> Result<(), StoreError> {
        self.set_slot(super::ADDRESS, slot, value);
        Ok(())
    }
}

/// The slot of a field: names and arguments are hashed, so that no two fields meet.
pub fn slot(field: &str, arguments: &[&[u8]]) -> U256 {
    let mut bytes = B256::right_padding_from(field.as_bytes()).to_vec();
    for argument in arguments {
        bytes.extend(B256::left_padding_from(argument));
    }
    U256::from_be_bytes(keccak256(bytes).0)
}

/// A field of an account.
pub fn of(field: &str, account: Address) -> U256 {
    slot(field, &[account.as_slice()])
}

/// A field of a pair of accounts.
pub fn between(field: &str, one: Address, other: Address) -> U256 {
    slot(field, &[one.as_slice(), other.as_slice()])
}

/// The item of a list.
pub fn item(field: &str, account: Address, index: U256) -> U256 {
    slot(field, &[account.as_slice(), &index.to_be_bytes::<32>()])
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
