//! What every block does to stake: rewards, offences, absence, and the set of validators that follows.

use std::collections::BTreeMap;

use alloy_primitives::{Address, U256};

use super::{
    Result, StakeError,
    params::StakingParams,
    validator::{self, SCALE, Sentence, Status, Validator},
    words::{Words, slot},
};
use crate::{
    application::{Offence, Vote},
    genesis::{GenesisValidator, TOKEN},
    validator::ConsensusAddress,
};

/// What consensus says about a block.
#[derive(Clone, Copy, Debug)]
pub struct BlockFacts<'a> {
    /// Its height.
    pub height: u64,
    /// Seconds since the epoch.
    pub time: u64,
    /// Who signed the block before.
    pub votes: &'a [Vote],
    /// Proven misbehaviour.
    pub offences: &'a [Offence],
    /// Who is behind the addresses in votes and offences.
    pub known: &'a BTreeMap<ConsensusAddress, GenesisValidator>,
}

/// Rewards whoever signed, counts who did not, punishes offences. Gives the tokens that were made: the caller credits
/// the contract with them.
pub fn begin_block(words: &mut impl Words, facts: &BlockFacts<'_>) -> Result<U256> {
    let params = StakingParams::load(words)?;
    for offence in facts.offences {
        if let Some(known) = facts.known.get(&offence.validator) {
            punish(words, &params, known.operator, offence, facts)?;
        }
    }
    let signed: u128 = facts.votes.iter().filter(|vote| vote.signed).map(|vote| u128::from(vote.power)).sum();
    let mut made = U256::ZERO;
    for vote in facts.votes {
        let Some(known) = facts.known.get(&vote.validator) else { continue };
        let mut validator = Validator::load(words, known.operator)?;
        watch(words, &params, &mut validator, vote.signed, facts)?;
        if vote.signed && signed > 0 && !validator.shares.is_zero() {
            let reward = U256::from(params.block_reward) * U256::from(vote.power) / U256::from(signed);
            made += pay(&mut validator, reward);
        }
        validator.store(words)?;
    }
    Ok(made)
}

/// Shares `reward` among the delegators, after the operator's commission. Gives what was really credited.
fn pay(validator: &mut Validator, reward: U256) -> U256 {
    let commission = validator::share(reward, validator.commission);
    let each = (reward - commission) * SCALE / validator.shares;
    validator.earned += each;
    validator.owed += commission;
    // Rounded up, so that the contract can always pay what it owes.
    commission + (each * validator.shares).div_ceil(SCALE)
}

fn watch(
    words: &mut impl Words,
    params: &StakingParams,
    validator: &mut Validator,
    signed: bool,
    facts: &BlockFacts<'_>,
) -> Result<()> {
    let bit = U256::from(1) << usize::try_from(facts.height % 256).unwrap_or(0);
    validator.missed = if signed { validator.missed & !bit } else { validator.missed | bit };
    let missed = u64::try_from(validator.missed.count_ones()).unwrap_or(0);
    if validator.status == Status::Free && missed > params.max_missed {
        let taken = validator.slash(params.downtime_slash, validator.tokens);
        validator.status = Status::Jailed(facts.time.saturating_add(params.jail_seconds));
        validator.missed = U256::ZERO;
        to_pool(words, taken)?;
        mark_changed(words)?;
    }
    Ok(())
}

/// Once in a validator's life. The stake that is there pays for as much of it as stood behind the offence; what left
/// since pays when it is settled or withdrawn.
fn punish(
    words: &mut impl Words,
    params: &StakingParams,
    operator: Address,
    offence: &Offence,
    now: &BlockFacts<'_>,
) -> Result<()> {
    let mut validator = match Validator::load(words, operator) {
        Ok(validator) => validator,
        Err(StakeError::Refused(_)) => return Ok(()),
        Err(e) => return Err(e),
    };
    if matches!(validator.status, Status::Tombstoned(_)) {
        return Ok(());
    }
    let part = params.double_sign_slash;
    let taken = validator.slash(part, TOKEN * U256::from(offence.power));
    validator.status =
        Status::Tombstoned(Sentence { height: offence.height, proven: now.height, time: now.time, part });
    validator.store(words)?;
    to_pool(words, taken)?;
    mark_changed(words)
}

/// What was slashed stays in the contract, for governance to decide.
pub fn to_pool(words: &mut impl Words, tokens: U256) -> Result<()> {
    if !tokens.is_zero() {
        let pool = words.load(slot("pool", &[]))?;
        words.store(slot("pool", &[]), pool + tokens)?;
    }
    Ok(())
}

/// Remembers that the set of validators may have changed.
pub fn mark_changed(words: &mut impl Words) -> Result<()> {
    words.store(slot("changed", &[]), U256::from(1))?;
    Ok(())
}

/// The validators whose weight changes with this block.
pub fn end_block(words: &mut impl Words) -> Result<Vec<GenesisValidator>> {
    if words.load(slot("changed", &[]))?.is_zero() {
        return Ok(vec![]);
    }
    words.store(slot("changed", &[]), U256::ZERO)?;
    let limit = usize::try_from(StakingParams::load(words)?.max_validators).unwrap_or(usize::MAX);
    let mut all = Vec::new();
    for index in 0..validator::count(words)? {
        let operator = validator::at(words, index)?;
        all.push(Validator::load(words, operator)?);
    }
    // The most powerful; among equals, whoever came first.
    let mut ranked: Vec<(u64, usize)> = all.iter().enumerate().map(|(i, v)| (v.power(), i)).collect();
    ranked.sort_by_key(|(power, index)| (u64::MAX - power, *index));
    let chosen: BTreeMap<usize, u64> =
        ranked.into_iter().take(limit).filter(|(power, _)| *power > 0).map(|(power, i)| (i, power)).collect();
    if chosen.is_empty() {
        // A chain without validators is over: the last ones stay, whatever they did, until there are others.
        mark_changed(words)?;
        return Ok(vec![]);
    }
    let mut changes = Vec::new();
    for (index, validator) in all.iter_mut().enumerate() {
        let power = chosen.get(&index).copied().unwrap_or(0);
        let before = validator::active(words, validator.operator)?;
        if before == power {
            continue;
        }
        validator::set_active(words, validator.operator, power)?;
        if before == 0 && !validator.missed.is_zero() {
            // What it missed long ago does not count against a newcomer.
            validator.missed = U256::ZERO;
            validator.store(words)?;
        }
        changes.push(GenesisValidator { operator: validator.operator, consensus_key: validator.key, power });
    }
    Ok(changes)
}
