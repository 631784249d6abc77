//! Keys that consensus no longer knows: they are remembered for as long as an offence of theirs can be proven, and then
//! forgotten, so that a node does not keep everybody who ever validated.

use alloy_primitives::U256;

use super::{
    error::Result,
    origin::Origin,
    params::StakingParams,
    storage::{Storage, address, field, of, slot, small, word},
    validator::{self, Validator},
};
use crate::validator::{ConsensusKey, GenesisValidator};

/// Keys that one block forgets at most.
const AT_ONCE: usize = 4;

/// Notes who leaves consensus with `changes` in the block at this height and time, and gives the keys that have been gone
/// for long enough.
///
/// # Errors
/// When the store cannot be read, or what it holds there is damaged.
pub fn forget(
    storage: &mut impl Storage,
    height: u64,
    time: u64,
    changes: &[GenesisValidator],
) -> Result<Vec<ConsensusKey>> {
    let [mut first, mut next, _, _] = storage.load(slot("gone", &[]))?.into_limbs();
    let before = (first, next);
    for gone in changes.iter().filter(|change| change.power == 0) {
        let place = place(next);
        storage.store(place, word(gone.operator))?;
        storage.store(field(place, 1), U256::from_limbs([height, time, 0, 0]))?;
        next += 1;
        // Who comes back and leaves again is noted again: the last note counts.
        storage.store(of("gone.last", gone.operator), U256::from(next))?;
    }
    let params = StakingParams::load(storage)?;
    let mut forgotten = Vec::new();
    while first < next && forgotten.len() < AT_ONCE {
        let place = place(first);
        let operator = address(storage.load(place)?);
        let [left, at, _, _] = storage.load(field(place, 1))?.into_limbs();
        let origin = Origin { validator: operator, height: left, power: 0 };
        if origin.answers(at.saturating_add(params.unbonding_seconds), params.evidence_blocks, height, time) {
            break;
        }
        first += 1;
        storage.store(place, U256::ZERO)?;
        storage.store(field(place, 1), U256::ZERO)?;
        let last = small(storage.load(of("gone.last", operator))?) == first;
        if last && validator::last_power(storage, operator)? == 0 {
            storage.store(of("gone.last", operator), U256::ZERO)?;
            forgotten.push(Validator::load(storage, operator)?.key);
        }
    }
    if (first, next) != before {
        storage.store(slot("gone", &[]), U256::from_limbs([first, next, 0, 0]))?;
    }
    Ok(forgotten)
}

fn place(index: u64) -> U256 {
    field(slot("gone.entry", &[]), index.wrapping_mul(2))
}
