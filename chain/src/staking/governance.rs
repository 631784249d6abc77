//! What only the governance address may do. Genesis names it; without one the parameters stay as they are.

use alloy_primitives::{Address, U256};
use alloy_sol_types::SolEvent;

use super::{
    block,
    call::{Answer, Log, ok},
    error::{Result, need},
    interface::IStaking,
    params::StakingParams,
    storage::{Storage, slot},
};
use crate::evm::abi::{Arguments, words_out};

fn allowed(storage: &mut impl Storage, caller: Address) -> Result<StakingParams> {
    let params = StakingParams::load(storage)?;
    need(!caller.is_zero() && params.governance == caller, "only governance may do this")?;
    Ok(params)
}

/// Sets all parameters that are not fixed by genesis.
pub fn set_parameters(storage: &mut impl Storage, caller: Address, arguments: Arguments<'_>) -> Result<Answer> {
    let old = allowed(storage, caller)?;
    let mut numbers = [0; 8];
    for (index, number) in numbers.iter_mut().enumerate() {
        *number = ok(arguments.small(index))?;
    }
    let new = old.with_numbers(numbers);
    need(new.problem().is_none(), new.problem().map_or("", |(field, _)| field))?;
    new.store(storage)?;
    // Another number of validators is another set of them.
    block::mark_changed(storage)?;
    let log = Log { topics: vec![IStaking::ParametersChanged::SIGNATURE_HASH], data: words_out(&[]) };
    Ok(Answer { logs: vec![log], ..Answer::default() })
}

/// Gives the office to `heir`; to the zero address, and nobody has it any more.
pub fn hand_over(storage: &mut impl Storage, caller: Address, heir: Address) -> Result<Answer> {
    let params = allowed(storage, caller)?;
    StakingParams { governance: heir, ..params }.store(storage)?;
    Ok(Answer::default())
}

/// Pays `amount` of what was slashed to the caller.
pub fn take_pool(storage: &mut impl Storage, caller: Address, amount: U256) -> Result<Answer> {
    allowed(storage, caller)?;
    let pool = storage.load(slot("pool", &[]))?;
    need(amount <= pool, "the pool has not that much")?;
    storage.store(slot("pool", &[]), pool - amount)?;
    Ok(Answer { payout: amount, output: words_out(&[amount]), ..Answer::default() })
}
