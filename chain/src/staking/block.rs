//! What every block does to stake: rewards, offences, absence, and the set of validators that follows.

use alloy_primitives::{Address, U256};

use super::{
    candidates,
    error::{Result, StakeError},
    facts::BlockFacts,
    origin,
    params::{StakingParams, share},
    storage::{Storage, slot},
    timelock,
    validator::{self, SCALE, Status, Validator},
};
use crate::{application::Offence, validator::GenesisValidator};

/// Rewards whoever signed, counts who did not, punishes offences. Gives the tokens that were made: the caller credits
/// the contract with them.
///
/// # Errors
/// When the store cannot be read, or what it holds there is damaged.
pub fn begin_block(storage: &mut impl Storage, facts: &BlockFacts<'_>) -> Result<U256> {
    origin::note_pause(storage, facts)?;
    if timelock::pass(storage, facts)? {
        // Another number of validators is another set of them.
        mark_changed(storage)?;
    }
    let params = StakingParams::load(storage)?;
    for offence in facts.offences {
        if let Some(known) = facts.known.get(&offence.validator) {
            punish(storage, &params, known.operator, offence, facts)?;
        }
    }
    // Of all weight, not of what signed: who leaves votes out of a block gains nothing by it.
    let total: u128 = facts.votes.iter().map(|vote| u128::from(vote.power)).sum();
    let mut made = U256::ZERO;
    for vote in facts.votes {
        let Some(known) = facts.known.get(&vote.validator) else { continue };
        let mut validator = Validator::load(storage, known.operator)?;
        watch(storage, &params, &mut validator, vote.signed, facts)?;
        if vote.signed && total > 0 && !validator.shares.is_zero() {
            let reward = U256::from(params.block_reward) * U256::from(vote.power) / U256::from(total);
            made += pay(&mut validator, reward);
        }
        validator.store(storage)?;
    }
    Ok(made)
}

/// Shares `reward` among the delegators, after the operator's commission. Gives what was really credited.
pub(super) fn pay(validator: &mut Validator, reward: U256) -> U256 {
    let commission = share(reward, validator.commission);
    let each = (reward - commission) * SCALE / validator.shares;
    validator.earned += each;
    validator.owed += commission;
    // Rounded up, so that the contract can always pay what it owes.
    commission + (each * validator.shares).div_ceil(SCALE)
}

fn watch(
    storage: &mut impl Storage,
    params: &StakingParams,
    validator: &mut Validator,
    signed: bool,
    facts: &BlockFacts<'_>,
) -> Result<()> {
    let bit = U256::from(1) << usize::from(validator.expected);
    validator.expected = validator.expected.wrapping_add(1);
    validator.missed = if signed { validator.missed & !bit } else { validator.missed | bit };
    let missed = u64::try_from(validator.missed.count_ones()).unwrap_or(0);
    if validator.status == Status::Active && missed > params.max_missed {
        let taken = validator.slash(params.downtime_slash);
        validator.status = Status::Jailed(facts.time.saturating_add(params.jail_seconds));
        validator.missed = U256::ZERO;
        to_pool(storage, taken)?;
        mark_changed(storage)?;
    }
    Ok(())
}

/// The stake that is there pays for as much of it as stood behind the offence; what left since pays when it is settled or
/// withdrawn. Once, for the worst of all offences: a further proof only adds what is missing.
fn punish(
    storage: &mut impl Storage,
    params: &StakingParams,
    operator: Address,
    offence: &Offence,
    now: &BlockFacts<'_>,
) -> Result<()> {
    let mut validator = match Validator::load(storage, operator) {
        Ok(validator) => validator,
        Err(StakeError::Refused(_)) => return Ok(()),
        Err(e) => return Err(e),
    };
    let taken = validator.penalise(offence, params.double_sign_slash, now);
    validator.store(storage)?;
    to_pool(storage, taken)?;
    mark_changed(storage)
}

/// What was slashed stays in the contract, for governance to decide.
pub fn to_pool(storage: &mut impl Storage, tokens: U256) -> Result<()> {
    if !tokens.is_zero() {
        let pool = storage.load(slot("pool", &[]))?;
        storage.store(slot("pool", &[]), pool + tokens)?;
    }
    Ok(())
}

/// Remembers that the set of validators may have changed.
pub fn mark_changed(storage: &mut impl Storage) -> Result<()> {
    storage.store(slot("changed", &[]), U256::from(1))?;
    Ok(())
}

/// The validators whose weight changes with this block.
///
/// # Errors
/// When the store cannot be read, or what it holds there is damaged.
pub fn end_block(storage: &mut impl Storage) -> Result<Vec<GenesisValidator>> {
    if storage.load(slot("changed", &[]))?.is_zero() {
        return Ok(vec![]);
    }
    storage.store(slot("changed", &[]), U256::ZERO)?;
    let limit = usize::try_from(StakingParams::load(storage)?.max_validators).unwrap_or(usize::MAX);
    let mut all = Vec::new();
    for index in 0..candidates::count(storage)? {
        let candidate = candidates::at(storage, index)?;
        all.push((Validator::load(storage, candidate.operator)?, candidate.since));
    }
    // The most powerful; among equals, whoever came first.
    all.sort_by_key(|(validator, since)| (u64::MAX - validator.power(), *since));
    if all.first().is_none_or(|(strongest, _)| strongest.power() == 0) {
        // A chain without validators is over: the last ones stay, whatever they did, until there are others.
        mark_changed(storage)?;
        return Ok(vec![]);
    }
    let mut changes = Vec::new();
    for (rank, (validator, _)) in all.iter().enumerate() {
        let power = if rank < limit { validator.power() } else { 0 };
        if validator::last_power(storage, validator.operator)? != power {
            validator::set_last_power(storage, validator.operator, power)?;
            changes.push(GenesisValidator { operator: validator.operator, consensus_key: validator.key, power });
        }
        if rank >= candidates::PLACES || validator.shares.is_zero() || matches!(validator.status, Status::Tombstoned(_))
        {
            candidates::leave(storage, validator.operator)?;
        }
    }
    Ok(changes)
}
