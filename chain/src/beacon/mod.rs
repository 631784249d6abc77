//! Randomness that no proposer chooses.
//!
//! A validator commits to a *chain* of hashes by its tip, and each block that it proposes shows the tip's preimage, which
//! is the tip from then on. It cannot choose what it shows: there is one right value, fixed long before. Blocks are
//! counted in *epochs*; the value of an epoch mixes what the epoch before has shown, and nothing of the blocks' content.
//! So a proposer has one choice only: to propose or to forfeit its turn, one bit. `docs/adr` argues it.
//!
//! A chain that is new in the middle of play could be chosen with the others' values in sight. So what a new validator
//! shows counts [`DELAY`] epochs after it registered, and another chain replaces the first one only as many epochs after
//! it was announced.
//!
//! [`chain`] is the secret side and its hashes, [`item`] what a proposal carries, [`state`] what the ledger keeps (in the
//! staking contract's storage), [`contract`] what Solidity sees.

pub mod chain;
pub mod contract;
pub mod item;
pub mod state;

use serde::{Deserialize, Serialize};

pub use chain::{Commitment, Secret};
pub use item::Item;

/// Epochs between announcing a chain and its counting.
pub const DELAY: u64 = 2;

/// Epochs whose values are kept.
pub const HISTORY: u64 = 4096;

/// The longest chain.
pub const MAX_LENGTH: u64 = 1 << 24;

/// Parameters of the beacon, fixed by genesis.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct BeaconParams {
    /// Blocks in an epoch.
    pub epoch_blocks: u64,
    /// The chain of each validator of the first blocks, by its operator.
    pub chains: std::collections::BTreeMap<alloy_primitives::Address, Commitment>,
}

impl Default for BeaconParams {
    fn default() -> Self {
        Self { epoch_blocks: 100, chains: Default::default() }
    }
}
