//! A validator as the consensus engine sees it: a key and a weight.

use alloy_primitives::{Address, B256, hex};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// An ed25519 key that signs blocks and votes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ConsensusKey(pub B256);

/// The first 20 bytes of a key's SHA-256: how headers and votes name a validator.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConsensusAddress(pub [u8; 20]);

impl ConsensusKey {
    /// The address of this key.
    pub fn address(&self) -> ConsensusAddress {
        let digest: [u8; 32] = Sha256::digest(self.0.as_slice()).into();
        let mut address = [0; 20];
        address.copy_from_slice(&digest[..20]);
        ConsensusAddress(address)
    }
}

impl std::fmt::Display for ConsensusAddress {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&hex::encode_upper(self.0))
    }
}

impl ConsensusAddress {
    /// The same bytes as an account, for a block's beneficiary when no operator is known.
    pub fn as_account(&self) -> Address {
        Address::from(self.0)
    }
}

/// A change of a validator's weight; zero removes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ValidatorUpdate {
    /// Whose.
    pub key: ConsensusKey,
    /// The new weight.
    pub power: u64,
}
