//! One step of a chain of hashes, and the commitment to a chain.

use alloy_primitives::B256;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// The longest chain.
pub const MAX_LENGTH: u64 = 1 << 24;

/// What a value is the preimage of.
pub fn step(value: &B256) -> B256 {
    hash(b"sahara beacon chain 1", &[value.as_slice()])
}

/// SHA-256 of parts, in a domain of its own.
pub fn hash(domain: &[u8], parts: &[&[u8]]) -> B256 {
    let mut hasher = Sha256::new_with_prefix(domain);
    parts.iter().for_each(|part| hasher.update(part));
    B256::from(<[u8; 32]>::from(hasher.finalize()))
}

/// What a validator commits to: how the last step of its chain ends, and how many preimages it can show.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Commitment {
    /// The end of the chain.
    pub tip: B256,
    /// Steps from its beginning.
    pub length: u64,
}

impl Commitment {
    /// Whether it can be one at all; nobody knows a preimage of zero.
    pub fn is_sound(&self) -> bool {
        !self.tip.is_zero() && (1..=MAX_LENGTH).contains(&self.length)
    }
}
