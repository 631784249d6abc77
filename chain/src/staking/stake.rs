//! The calls that move stake: into a validator, out of it, and from one to another.

use alloy_primitives::{Address, B256, U256};
use alloy_sol_types::SolEvent;

use super::{
    block,
    call::{Answer, Env, logged},
    candidates,
    delegation::{Delegation, MAX_MOVES, Move, shares_for},
    error::{Result, StakeError, need},
    identity,
    interface::IStaking,
    params::StakingParams,
    storage::Storage,
    unbonding::{self, Entry},
    validator::{Status, Validator},
};
use crate::{
    beacon::{self, Commitment},
    evm::abi::words_out,
    validator::{ConsensusKey, TOKEN},
};

/// What a new validator brings.
pub struct Registration<'a> {
    /// The key that will sign blocks.
    pub key: ConsensusKey,
    /// Its part of rewards, in hundredths of a percent.
    pub commission: u64,
    /// The key's signature of [`identity::possession`].
    pub proof: &'a [u8],
    /// Its beacon chain.
    pub beacon: Commitment,
}

const DELEGATED: B256 = IStaking::Delegated::SIGNATURE_HASH;
const UNDELEGATED: B256 = IStaking::Undelegated::SIGNATURE_HASH;

/// A validator and `delegator`'s part of it, with everything counted and taken that is due.
pub fn settled(
    storage: &mut impl Storage,
    env: &Env,
    validator: Address,
    delegator: Address,
) -> Result<(Validator, Delegation)> {
    let mut validator = Validator::load(storage, validator)?;
    let mut own = Delegation::load(storage, validator.operator, delegator)?;
    let taken = own.settle(storage, &mut validator, env.height, env.time)?;
    block::to_pool(storage, taken)?;
    Ok((validator, own))
}

/// Stores a validator whose stake may have changed. With stake it is among those that consensus chooses from.
pub fn keep(storage: &mut impl Storage, validator: &mut Validator) -> Result<()> {
    validator.store(storage)?;
    if !validator.shares.is_zero() && !matches!(validator.status, Status::Tombstoned(_)) {
        candidates::enter(storage, validator.operator)?;
    }
    block::mark_changed(storage)
}

/// Makes the caller a validator.
pub fn create(storage: &mut impl Storage, env: &Env, wanted: &Registration<'_>) -> Result<Answer> {
    need(env.value >= least(storage)?, "the operator must bond more itself")?;
    let Registration { key, commission, proof, beacon } = *wanted;
    need(beacon.is_sound(), "the beacon chain must have a tip and 1 to 16777216 steps")?;
    identity::check(storage, env.caller, key, proof)?;
    Validator::create(storage, env.caller, key, commission)?.store(storage)?;
    beacon::state::register_first(storage, env.caller, beacon, env.height)?;
    delegate(storage, env, env.caller)
}

/// Announces the beacon chain that will replace the caller's, and from which epoch on.
pub fn announce_chain(storage: &mut impl Storage, env: &Env, next: Commitment) -> Result<Answer> {
    Validator::load(storage, env.caller)?;
    need(next.is_sound(), "the beacon chain must have a tip and 1 to 16777216 steps")?;
    let from = beacon::state::register_next(storage, env.caller, next, env.height)?;
    Ok(Answer { output: words_out(&[U256::from(from)]), ..Answer::default() })
}

/// Adds the value of the call to a validator.
pub fn delegate(storage: &mut impl Storage, env: &Env, validator: Address) -> Result<Answer> {
    let (mut validator, mut own) = settled(storage, env, validator, env.caller)?;
    need(!matches!(validator.status, Status::Tombstoned(_)), "this validator is tombstoned")?;
    own.shares += validator.add(env.value)?;
    own.store(storage, validator.operator, env.caller)?;
    keep(storage, &mut validator)?;
    Ok(logged(DELEGATED, validator.operator, env.caller, env.value))
}

/// Ends the caller's jail.
pub fn unjail(storage: &mut impl Storage, env: &Env) -> Result<Answer> {
    let (mut validator, own) = settled(storage, env, env.caller, env.caller)?;
    match validator.status {
        Status::Jailed(until) => need(env.time >= until, "too early")?,
        Status::Active => return Err(StakeError::Refused("not in jail")),
        Status::Tombstoned(_) => return Err(StakeError::Refused("tombstoned: for ever")),
    }
    need(validator.worth(own.shares) >= least(storage)?, "the operator must bond more itself")?;
    validator.status = Status::Active;
    own.store(storage, validator.operator, env.caller)?;
    keep(storage, &mut validator)?;
    Ok(Answer::default())
}

/// Sends stake on its way back. Each part goes with the validators it still answers for.
pub fn undelegate(storage: &mut impl Storage, env: &Env, validator: Address, tokens: U256) -> Result<Answer> {
    let (mut validator, mut own) = settled(storage, env, validator, env.caller)?;
    let shares = shares_for(&validator, tokens, own.shares, "not that much is delegated")?;
    let due = env.time.saturating_add(StakingParams::load(storage)?.unbonding_seconds);
    let left = validator.origin(env.height);
    let mut taken = U256::ZERO;
    for (part, before) in own.split_off(shares) {
        let tokens = validator.take(part);
        if !tokens.is_zero() {
            unbonding::push(storage, env.caller, Entry { tokens, due, left, before })?;
        }
        taken += tokens;
    }
    own.store(storage, validator.operator, env.caller)?;
    stand_down(storage, env, &mut validator, &own)?;
    keep(storage, &mut validator)?;
    Ok(logged(UNDELEGATED, validator.operator, env.caller, taken))
}

/// Moves stake at once. It goes on answering for the validator it leaves, so it is no way around the wait; and what
/// already answers for two cannot move again.
pub fn redelegate(storage: &mut impl Storage, env: &Env, from: Address, to: Address, tokens: U256) -> Result<Answer> {
    need(from != to, "from and to are the same")?;
    let (mut old, mut own) = settled(storage, env, from, env.caller)?;
    let shares = shares_for(&old, tokens, own.free(), "not that much is delegated, or it was moved here too recently")?;
    own.shares -= shares;
    let tokens = old.take(shares);
    own.store(storage, from, env.caller)?;
    stand_down(storage, env, &mut old, &own)?;
    keep(storage, &mut old)?;

    let (mut new, mut own) = settled(storage, env, to, env.caller)?;
    need(!matches!(new.status, Status::Tombstoned(_)), "this validator is tombstoned")?;
    need(own.moves.len() < MAX_MOVES, "too many recent moves to this validator")?;
    let shares = new.add(tokens)?;
    let until = env.time.saturating_add(StakingParams::load(storage)?.unbonding_seconds);
    own.shares += shares;
    own.moves.push(Move { origin: old.origin(env.height), shares, until });
    own.store(storage, to, env.caller)?;
    keep(storage, &mut new)?;
    Ok(logged(DELEGATED, to, env.caller, tokens))
}

/// What an operator must bond itself.
fn least(storage: &mut impl Storage) -> Result<U256> {
    Ok(TOKEN * U256::from(StakingParams::load(storage)?.min_self_bond))
}

/// An operator without enough stake of its own goes to jail, until it bonds more.
fn stand_down(storage: &mut impl Storage, env: &Env, validator: &mut Validator, own: &Delegation) -> Result<()> {
    let is_operator = env.caller == validator.operator;
    if is_operator && validator.status == Status::Active && validator.worth(own.shares) < least(storage)? {
        validator.status = Status::Jailed(env.time);
    }
    Ok(())
}
