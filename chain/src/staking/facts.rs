//! What consensus says about a block.

use std::collections::BTreeMap;

use crate::{
    application::{Offence, Vote},
    validator::{ConsensusAddress, GenesisValidator},
};

/// What consensus says about a block.
#[derive(Clone, Copy, Debug)]
pub struct BlockFacts<'a> {
    /// Its height.
    pub height: u64,
    /// Seconds since the epoch.
    pub time: u64,
    /// The time of the block before.
    pub before: u64,
    /// Who signed the block before.
    pub votes: &'a [Vote],
    /// Proven misbehaviour.
    pub offences: &'a [Offence],
    /// Who is behind the addresses in votes and offences.
    pub known: &'a BTreeMap<ConsensusAddress, GenesisValidator>,
}
