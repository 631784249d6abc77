//! The validators that consensus chooses from. A place here belongs to stake: who has none loses it at the end of the
//! block, and when there are too many, the weakest do. Their records stay, because they answer for their past; with new
//! stake they come back.

use alloy_primitives::{Address, U256};

use super::storage::{Storage, address, field, of, slot, small, word};
use crate::error::StoreError;

type Result<T> = std::result::Result<T, StoreError>;

/// Places.
pub const PLACES: usize = 1_000;

/// A validator in its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// Who.
    pub operator: Address,
    /// The lower, the longer it is here.
    pub since: u64,
}

/// How many there are.
pub fn count(storage: &mut impl Storage) -> Result<u64> {
    storage.load(slot("count", &[])).map(small)
}

/// The one in place `index`.
pub fn at(storage: &mut impl Storage, index: u64) -> Result<Candidate> {
    let found = storage.load(place(index))?;
    Ok(Candidate { operator: address(found & MASK), since: small(found >> BITS) })
}

/// Gives `operator` a place, if it has none.
pub fn enter(storage: &mut impl Storage, operator: Address) -> Result<()> {
    if !storage.load(of("place", operator))?.is_zero() {
        return Ok(());
    }
    let (count, since) = (count(storage)?, storage.load(slot("since", &[]))?);
    storage.store(slot("since", &[]), since + U256::from(1))?;
    storage.store(slot("count", &[]), U256::from(count + 1))?;
    put(storage, count, word(operator) | since << BITS)
}

/// Takes the place of `operator`, if it has one; the last one fills the gap.
pub fn leave(storage: &mut impl Storage, operator: Address) -> Result<()> {
    let Some(index) = small(storage.load(of("place", operator))?).checked_sub(1) else { return Ok(()) };
    let last = count(storage)?.saturating_sub(1);
    let moved = storage.load(place(last))?;
    put(storage, index, moved)?;
    storage.store(place(last), U256::ZERO)?;
    storage.store(slot("count", &[]), U256::from(last))?;
    storage.store(of("place", operator), U256::ZERO)
}

const BITS: usize = 160;
const MASK: U256 = U256::from_limbs([u64::MAX, u64::MAX, u32::MAX as u64, 0]);

fn place(index: u64) -> U256 {
    field(slot("all", &[]), index)
}

fn put(storage: &mut impl Storage, index: u64, candidate: U256) -> Result<()> {
    storage.store(place(index), candidate)?;
    storage.store(of("place", address(candidate & MASK)), U256::from(index + 1))
}
