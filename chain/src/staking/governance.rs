//! What only the governance address may do. Genesis names it; without one the parameters stay as they are. What touches
//! anybody's stake is announced first, and waits behind `timelock`.

use alloy_primitives::{Address, B256, U256};
use alloy_sol_types::SolEvent;

use super::{
    call::{Answer, Env, Log, ok, paid, said},
    error::{Result, StakeError, need},
    interface::IStaking,
    params::StakingParams,
    storage::{Storage, slot},
    timelock::{self, Due, Waiting},
};
use crate::evm::abi::{Arguments, words_out};

fn allowed(storage: &mut impl Storage, caller: Address) -> Result<StakingParams> {
    let params = StakingParams::load(storage)?;
    need(!caller.is_zero() && params.governance == caller, "only governance may do this")?;
    Ok(params)
}

/// Announces all parameters that are not fixed by genesis. They are in force from the first block on that reaches what is
/// returned. Announced again, the time begins anew.
pub fn set_parameters(storage: &mut impl Storage, env: &Env, arguments: Arguments<'_>) -> Result<Answer> {
    let old = allowed(storage, env.caller)?;
    let mut numbers = [0; 8];
    for (index, number) in numbers.iter_mut().enumerate() {
        *number = ok(arguments.small(index))?;
    }
    let new = old.with_numbers(numbers);
    need(new.problem().is_none(), new.problem().map_or("", |(field, _)| field))?;
    let due = Due::of(storage, &old, env.height, env.time)?;
    Waiting::Parameters.store(storage, due, timelock::words(numbers))?;
    Ok(announced(IStaking::ParametersAnnounced::SIGNATURE_HASH, &[], due))
}

/// Announces that `amount` of what was slashed will be paid to governance.
pub fn take_pool(storage: &mut impl Storage, env: &Env, amount: U256) -> Result<Answer> {
    let params = allowed(storage, env.caller)?;
    let pool = storage.load(slot("pool", &[]))?;
    need(amount <= pool, "the pool has not that much")?;
    let due = Due::of(storage, &params, env.height, env.time)?;
    Waiting::Pool.store(storage, due, [amount, U256::ZERO])?;
    Ok(announced(IStaking::PoolAnnounced::SIGNATURE_HASH, &[amount], due))
}

/// Pays to the caller what was announced, once its time has come.
pub fn collect_pool(storage: &mut impl Storage, env: &Env) -> Result<Answer> {
    allowed(storage, env.caller)?;
    let waiting = Waiting::Pool.load(storage)?;
    let Some((due, [amount, _])) = waiting else { return Err(StakeError::Refused("no payment of the pool waits")) };
    need(due.is_reached(env.height, env.time), "this was announced and is not due yet: see pendingPool")?;
    let pool = storage.load(slot("pool", &[]))?;
    need(amount <= pool, "the pool has not that much")?;
    storage.store(slot("pool", &[]), pool - amount)?;
    Waiting::Pool.clear(storage)?;
    Ok(paid(amount))
}

/// Takes back what was announced.
pub fn cancel(storage: &mut impl Storage, caller: Address, waiting: Waiting) -> Result<Answer> {
    allowed(storage, caller)?;
    need(waiting.load(storage)?.is_some(), "nothing was announced")?;
    waiting.clear(storage)?;
    let event = match waiting {
        Waiting::Parameters => IStaking::ParametersCancelled::SIGNATURE_HASH,
        Waiting::Pool => IStaking::PoolCancelled::SIGNATURE_HASH,
    };
    Ok(Answer { logs: vec![Log { topics: vec![event], data: words_out(&[]) }], ..Answer::default() })
}

/// What waits, in words: what it is, then from which time and height on. Zeros when nothing does.
pub fn pending(storage: &mut impl Storage, waiting: Waiting) -> Result<Answer> {
    let (due, words) = waiting.load(storage)?.unwrap_or_default();
    let mut out = match waiting {
        Waiting::Parameters => timelock::numbers(words).map(U256::from).to_vec(),
        Waiting::Pool => vec![words[0]],
    };
    out.extend([due.time, due.height].map(U256::from));
    Ok(said(&out))
}

/// Gives the office to `heir`; to the zero address, and nobody has it any more, and nothing waits.
pub fn hand_over(storage: &mut impl Storage, caller: Address, heir: Address) -> Result<Answer> {
    let params = allowed(storage, caller)?;
    StakingParams { governance: heir, ..params }.store(storage)?;
    if heir.is_zero() {
        // Nobody could take it back.
        Waiting::Parameters.clear(storage)?;
        Waiting::Pool.clear(storage)?;
    }
    Ok(Answer::default())
}

fn announced(event: B256, what: &[U256], due: Due) -> Answer {
    let when = [due.time, due.height].map(U256::from);
    let log = Log { topics: vec![event], data: words_out(&[what, when.as_slice()].concat()) };
    Answer { logs: vec![log], output: words_out(&when), ..Answer::default() }
}
