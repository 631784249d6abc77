//! The validators that consensus chooses from. A place here belongs to stake: who has none loses it at the end of the
//! block, and when there are too many, the weakest do. Their records stay, because they answer for their past; with new
//! stake they come back.

use alloy_primitives::{Address, U256};

use super::words::{Words, address, field, of, slot, small, word};
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
pub fn count(words: &mut impl Words) -> Result<u64> {
    words.load(slot("count", &[])).map(small)
}

/// The one in place `index`.
pub fn at(words: &mut impl Words, index: u64) -> Result<Candidate> {
    let found = words.load(place(index))?;
    Ok(Candidate { operator: address(found & MASK), since: small(found >> BITS) })
}

/// Gives `operator` a place, if it has none.
pub fn enter(words: &mut impl Words, operator: Address) -> Result<()> {
    if !words.load(of("place", operator))?.is_zero() {
        return Ok(());
    }
    let (count, since) = (count(words)?, words.load(slot("since", &[]))?);
    words.store(slot("since", &[]), since + U256::from(1))?;
    words.store(slot("count", &[]), U256::from(count + 1))?;
    put(words, count, word(operator) | since << BITS)
}

/// Takes the place of `operator`, if it has one; the last one fills the gap.
pub fn leave(words: &mut impl Words, operator: Address) -> Result<()> {
    let Some(index) = small(words.load(of("place", operator))?).checked_sub(1) else { return Ok(()) };
    let last = count(words)?.saturating_sub(1);
    let moved = words.load(place(last))?;
    put(words, index, moved)?;
    words.store(place(last), U256::ZERO)?;
    words.store(slot("count", &[]), U256::from(last))?;
    words.store(of("place", operator), U256::ZERO)
}

const BITS: usize = 160;
const MASK: U256 = U256::from_limbs([u64::MAX, u64::MAX, u32::MAX as u64, 0]);

fn place(index: u64) -> U256 {
    field(slot("all", &[]), index)
}

fn put(words: &mut impl Words, index: u64, candidate: U256) -> Result<()> {
    words.store(place(index), candidate)?;
    words.store(of("place", address(candidate & MASK)), U256::from(index + 1))
}
