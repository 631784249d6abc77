//! A validator as the consensus engine and genesis see it: a key, a weight, and who is behind them.

use alloy_primitives::{Address, B256, U256, hex};
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

/// Units in one whole token, which is what one unit of weight stands for.
pub const TOKEN: U256 = U256::from_limbs([1_000_000_000_000_000_000, 0, 0, 0]);

/// A validator of the first blocks; and who is behind a consensus key, as the ledger remembers it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GenesisValidator {
    /// The account that controls it.
    pub operator: Address,
    /// The ed25519 key that signs its blocks. Never the operator's.
    pub consensus_key: ConsensusKey,
    /// Its weight, and the whole tokens it bonds for that.
    pub power: u64,
}

/// A change of a validator's weight; zero removes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ValidatorUpdate {
    /// Whose.
    pub key: ConsensusKey,
    /// The new weight.
    pub power: u64,
}
