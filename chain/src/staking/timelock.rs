//! What governance announces waits here until everybody who does not want it can have left: longer than the longest exit,
//! in seconds and in blocks. Time in which the chain stood still does not count.

use alloy_primitives::U256;

use super::{
    error::Result,
    facts::BlockFacts,
    params::{MARGIN_SECONDS, StakingParams},
    storage::{Storage, field, slot, small},
};
use crate::error::StoreError;

/// To notice an announcement, before the longest exit has to begin.
pub const NOTICE_SECONDS: u64 = 3 * 24 * 3600;
/// Blocks beyond those for which an offence can be proven, which an exit waits out.
pub const NOTICE_BLOCKS: u64 = 600;

/// From when on something counts: in the first block that has reached both.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Due {
    /// Seconds since the epoch.
    pub time: u64,
    /// Height of a block.
    pub height: u64,
}

impl Due {
    /// What is announced at this height and time. Whoever began to leave before the unbonding time was last shortened has
    /// left by then, too.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn of(
        storage: &mut impl Storage,
        params: &StakingParams,
        height: u64,
        time: u64,
    ) -> std::result::Result<Self, StoreError> {
        let exit = time.saturating_add(params.unbonding_seconds).saturating_add(NOTICE_SECONDS);
        let blocks = params.evidence_blocks.saturating_add(NOTICE_BLOCKS);
        let longest = small(storage.load(slot("lock.longest", &[]))?);
        Ok(Self { time: exit.max(longest), height: height.saturating_add(blocks) })
    }

    /// Whether a block at this height and time has reached it.
    pub fn is_reached(&self, height: u64, time: u64) -> bool {
        time >= self.time && height >= self.height
    }
}

/// What waits, and where.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Waiting {
    /// Other parameters.
    Parameters,
    /// A payment of what was slashed.
    Pool,
}

impl Waiting {
    fn place(self) -> U256 {
        match self {
            Self::Parameters => slot("lock.params", &[]),
            Self::Pool => slot("lock.pool", &[]),
        }
    }

    /// From when on it counts, and its two words; none if nothing waits.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn load(self, storage: &mut impl Storage) -> std::result::Result<Option<(Due, [U256; 2])>, StoreError> {
        let base = self.place();
        let [time, height, _, _] = storage.load(base)?.into_limbs();
        if time == 0 {
            return Ok(None);
        }
        Ok(Some((Due { time, height }, [storage.load(field(base, 1))?, storage.load(field(base, 2))?])))
    }

    /// Lets it wait, in the place of what waited there before.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn store(self, storage: &mut impl Storage, due: Due, words: [U256; 2]) -> std::result::Result<(), StoreError> {
        let base = self.place();
        storage.store(base, U256::from_limbs([due.time, due.height, 0, 0]))?;
        storage.store(field(base, 1), words[0])?;
        storage.store(field(base, 2), words[1])
    }

    /// Forgets it.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn clear(self, storage: &mut impl Storage) -> std::result::Result<(), StoreError> {
        self.store(storage, Due { time: 0, height: 0 }, [U256::ZERO; 2])
    }
}

/// The numbers of parameters as words, and back.
pub fn words(numbers: [u64; 8]) -> [U256; 2] {
    let [a, b, c, d, e, f, g, h] = numbers;
    [U256::from_limbs([a, b, c, d]), U256::from_limbs([e, f, g, h])]
}

/// The numbers in two words.
pub fn numbers([first, second]: [U256; 2]) -> [u64; 8] {
    let ([a, b, c, d], [e, f, g, h]) = (first.into_limbs(), second.into_limbs());
    [a, b, c, d, e, f, g, h]
}

/// At the beginning of a block: what waits does so longer by the time in which the chain stood still, and parameters whose
/// time has come are those in force. Says whether they changed.
///
/// # Errors
/// When the store cannot be read, or what it holds there is damaged.
pub fn pass(storage: &mut impl Storage, facts: &BlockFacts<'_>) -> Result<bool> {
    let paused = facts.time.saturating_sub(facts.before);
    if paused >= MARGIN_SECONDS {
        for waiting in [Waiting::Parameters, Waiting::Pool] {
            if let Some((due, words)) = waiting.load(storage)? {
                waiting.store(storage, Due { time: due.time.saturating_add(paused), ..due }, words)?;
            }
        }
        let longest = small(storage.load(slot("lock.longest", &[]))?);
        if longest > facts.before {
            storage.store(slot("lock.longest", &[]), U256::from(longest.saturating_add(paused)))?;
        }
    }
    let Some((due, words)) = Waiting::Parameters.load(storage)? else { return Ok(false) };
    if !due.is_reached(facts.height, facts.time) {
        return Ok(false);
    }
    let old = StakingParams::load(storage)?;
    let new = old.with_numbers(numbers(words));
    new.store(storage)?;
    Waiting::Parameters.clear(storage)?;
    // Who left until now does so by the old time, who leaves from now on by the new one.
    let longest = Due::of(storage, &old, facts.height, facts.time)?.time;
    storage.store(slot("lock.longest", &[]), U256::from(longest))?;
    if let Some((due, words)) = Waiting::Pool.load(storage)? {
        let time = due.time.max(Due::of(storage, &new, facts.height, facts.time)?.time);
        Waiting::Pool.store(storage, Due { time, ..due }, words)?;
    }
    Ok(true)
}
