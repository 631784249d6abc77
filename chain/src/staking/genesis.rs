//! Stake in the first state.

use alloy_primitives::U256;

use super::{
    candidates,
    delegation::Delegation,
    error::Result,
    validator::{Validator, set_active},
    words::Words,
};
use crate::validator::{GenesisValidator, TOKEN};

/// A validator of the first block, whose operator bonds `power` tokens. The caller credits the contract with them.
pub fn bond_genesis(words: &mut impl Words, genesis: &GenesisValidator) -> Result<U256> {
    let tokens = TOKEN * U256::from(genesis.power);
    let mut validator = Validator::create(words, genesis.operator, genesis.consensus_key, 0)?;
    let shares = validator.add(tokens)?;
    let mut own = Delegation::load(words, genesis.operator, genesis.operator)?;
    own.shares += shares;
    own.store(words, genesis.operator, genesis.operator)?;
    validator.store(words)?;
    candidates::enter(words, genesis.operator)?;
    set_active(words, genesis.operator, genesis.power)?;
    Ok(tokens)
}
