//! Stake in the first state.

use alloy_primitives::U256;

use super::{
    candidates,
    delegation::Delegation,
    error::Result,
    storage::Storage,
    validator::{Validator, set_last_power},
};
use crate::validator::{GenesisValidator, TOKEN};

/// A validator of the first block, whose operator bonds `power` tokens. The caller credits the contract with them.
///
/// # Errors
/// When such a validator cannot be made, or the store fails.
pub fn bond_genesis(storage: &mut impl Storage, genesis: &GenesisValidator) -> Result<U256> {
    let tokens = TOKEN * U256::from(genesis.power);
    let mut validator = Validator::create(storage, genesis.operator, genesis.consensus_key, 0)?;
    let shares = validator.add(tokens)?;
    let mut own = Delegation::load(storage, genesis.operator, genesis.operator)?;
    own.shares += shares;
    own.store(storage, genesis.operator, genesis.operator)?;
    validator.store(storage)?;
    candidates::enter(storage, genesis.operator)?;
    set_last_power(storage, genesis.operator, genesis.power)?;
    Ok(tokens)
}
