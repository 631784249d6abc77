//! Where stake was: which validator it answers for, and for how long.

use alloy_primitives::{Address, U256};

use super::{
    facts::BlockFacts,
    params::MARGIN_SECONDS,
    storage::{Storage, slot, small},
};
use crate::error::StoreError;

/// Which validator stake was with, and until which height.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Origin {
    /// The validator.
    pub validator: Address,
    /// The height at which the stake left it.
    pub height: u64,
    /// The weight of offences that it had paid for by then: that of a penalty, zero of who had none.
    pub power: u64,
}

impl Origin {
    /// Whether something can still be proven, at this height and time, of what the stake stood behind: the engine takes
    /// evidence for as long as it is young in seconds *or* in blocks (`evidence` of them).
    pub fn answers(&self, until: u64, evidence: u64, height: u64, time: u64) -> bool {
        until > time || height <= self.height.saturating_add(evidence).saturating_add(1)
    }

    /// The time until which stake answers that was to answer until `until`, had no time passed before the next block.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn until(&self, storage: &mut impl Storage, until: u64) -> std::result::Result<u64, StoreError> {
        Ok(until.saturating_add(small(storage.load(pause(self.height))?)))
    }
}

/// Remembers that a chain stood still: what left in the block before has weight in this one, and answers for it as long
/// as if it had left now.
pub fn note_pause(storage: &mut impl Storage, facts: &BlockFacts<'_>) -> std::result::Result<(), StoreError> {
    let paused = facts.time.saturating_sub(facts.before);
    match facts.height.checked_sub(1) {
        Some(last) if paused >= MARGIN_SECONDS => storage.store(pause(last), U256::from(paused)),
        _ => Ok(()),
    }
}

fn pause(height: u64) -> U256 {
    slot("pause", &[&height.to_be_bytes()])
}
