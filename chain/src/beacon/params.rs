//! Parameters of the beacon, in genesis and by definition.

use serde::{Deserialize, Serialize};

use super::commitment::Commitment;

/// Epochs between announcing a chain and its counting.
pub const DELAY: u64 = 2;

/// Epochs whose values are kept.
pub const HISTORY: u64 = 4096;

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
