//! What only the governance address may do. Genesis names it; without one the parameters stay as they are.

use alloy_primitives::{Address, U256, keccak256};

use super::{
    block,
    call::{Answer, Log, ok},
    error::{Result, need},
    params::StakingParams,
    words::{Words, slot},
};
use crate::evm::abi::{Arguments, words_out};

fn allowed(words: &mut impl Words, caller: Address) -> Result<StakingParams> {
    let params = StakingParams::load(words)?;
    need(!caller.is_zero() && params.governance == caller, "only governance may do this")?;
    Ok(params)
}

/// Sets all parameters that are not fixed by genesis.
pub fn set_parameters(words: &mut impl Words, caller: Address, arguments: Arguments<'_>) -> Result<Answer> {
    let old = allowed(words, caller)?;
    let mut numbers = [0; 8];
    for (index, number) in numbers.iter_mut().enumerate() {
        *number = ok(arguments.small(index))?;
    }
    let new = old.with_numbers(numbers);
    need(new.problem().is_none(), new.problem().map_or("", |(field, _)| field))?;
    new.store(words)?;
    // Another number of validators is another set of them.
    block::mark_changed(words)?;
    let log = Log { topics: vec![keccak256("ParametersChanged()")], data: words_out(&[]) };
    Ok(Answer { logs: vec![log], ..Answer::default() })
}

/// Gives the office to `heir`; to the zero address, and nobody has it any more.
pub fn hand_over(words: &mut impl Words, caller: Address, heir: Address) -> Result<Answer> {
    let params = allowed(words, caller)?;
    StakingParams { governance: heir, ..params }.store(words)?;
    Ok(Answer::default())
}

/// Pays `amount` of what was slashed to the caller.
pub fn take_pool(words: &mut impl Words, caller: Address, amount: U256) -> Result<Answer> {
    allowed(words, caller)?;
    let pool = words.load(slot("pool", &[]))?;
    need(amount <= pool, "the pool has not that much")?;
    words.store(slot("pool", &[]), pool - amount)?;
    Ok(Answer { payout: amount, output: words_out(&[amount]), ..Answer::default() })
}
