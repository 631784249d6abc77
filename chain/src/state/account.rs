//! An Ethereum account, as stored flat and as a leaf of the state trie: the same bytes.

use alloy_primitives::{B256, KECCAK256_EMPTY, U256};
use alloy_rlp::{Decodable, RlpDecodable, RlpEncodable};

use super::trie::EMPTY_ROOT;
use crate::error::StoreError;

/// Nonce, balance, storage root, code hash.
#[derive(Clone, Debug, PartialEq, Eq, RlpEncodable, RlpDecodable)]
pub struct Account {
    /// Transactions sent, or contracts created.
    pub nonce: u64,
    /// In the smallest unit.
    pub balance: U256,
    /// Root of the storage trie.
    pub storage_root: B256,
    /// Keccak of the code.
    pub code_hash: B256,
}

impl Default for Account {
    fn default() -> Self {
        Self { nonce: 0, balance: U256::ZERO, storage_root: EMPTY_ROOT, code_hash: KECCAK256_EMPTY }
    }
}

impl Account {
    /// The stored bytes.
    pub fn encode(&self) -> Vec<u8> {
        alloy_rlp::encode(self)
    }

    /// Reads stored bytes.
    ///
    /// # Errors
    /// When the bytes are no account.
    pub fn decode(mut bytes: &[u8]) -> Result<Self, StoreError> {
        <Self as Decodable>::decode(&mut bytes).map_err(|e| StoreError::corrupt("read an account", e))
    }
}
