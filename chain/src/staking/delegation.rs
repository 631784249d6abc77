//! A delegator's part of a validator.

use alloy_primitives::{Address, U256};

use super::{
    error::{Result, need},
    origin::Origin,
    params,
    storage::{Storage, address, between, field, word},
    validator::{SCALE, Status, Validator},
};
use crate::error::StoreError;

/// Moves to one validator that a delegator can have open at once: settling is bounded work.
pub const MAX_MOVES: usize = 3;

/// Shares, and rewards that were counted but not paid.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Delegation {
    /// Of the validator.
    pub shares: U256,
    /// The validator's `earned` up to which rewards are counted.
    pub settled: U256,
    /// Counted and not paid.
    pub owed: U256,
    /// The shares among them that came from another validator and still answer for it, oldest first.
    pub moves: Vec<Move>,
    /// Moves in storage.
    stored: usize,
}

/// Shares that came from another validator.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Move {
    /// Whose offences they answer for.
    pub origin: Origin,
    /// How many.
    pub shares: U256,
    /// After this time, and blocks enough, nothing can be proven any more.
    pub until: u64,
}

const MOVES: u64 = 3;
const MOVE_WORDS: u64 = 3;

impl Delegation {
    /// What `delegator` has at `validator`, nothing if never seen.
    pub fn load(
        storage: &mut impl Storage,
        validator: Address,
        delegator: Address,
    ) -> std::result::Result<Self, StoreError> {
        let base = between("delegation", validator, delegator);
        let mut moves = Vec::new();
        for place in places(base) {
            let from = storage.load(place)?;
            if from.is_zero() {
                break;
            }
            let shares = storage.load(field(place, 1))?;
            let [height, until, power, _] = storage.load(field(place, 2))?.into_limbs();
            moves.push(Move { origin: Origin { validator: address(from), height, power }, shares, until });
        }
        Ok(Self {
            shares: storage.load(base)?,
            settled: storage.load(field(base, 1))?,
            owed: storage.load(field(base, 2))?,
            stored: moves.len(),
            moves,
        })
    }

    /// Writes it back.
    pub fn store(
        &self,
        storage: &mut impl Storage,
        validator: Address,
        delegator: Address,
    ) -> std::result::Result<(), StoreError> {
        let base = between("delegation", validator, delegator);
        storage.store(base, self.shares)?;
        storage.store(field(base, 1), self.settled)?;
        storage.store(field(base, 2), self.owed)?;
        let touched = self.stored.max(self.moves.len());
        for (place, index) in places(base).zip(0..touched) {
            let (from, shares, times) = match self.moves.get(index) {
                Some(Move { origin, shares, until }) => {
                    (word(origin.validator), *shares, U256::from_limbs([origin.height, *until, origin.power, 0]))
                }
                None => Default::default(),
            };
            storage.store(place, from)?;
            storage.store(field(place, 1), shares)?;
            storage.store(field(place, 2), times)?;
        }
        Ok(())
    }

    /// Counts the rewards since the last time, then takes what moved shares owe for offences of the validators they
    /// came from. Before anything else happens to a delegation: nothing leaves it unsettled. Gives what was taken; the
    /// caller puts it into the pool.
    pub fn settle(
        &mut self,
        storage: &mut impl Storage,
        validator: &mut Validator,
        height: u64,
        time: u64,
    ) -> Result<U256> {
        self.owed += self.shares * (validator.earned - self.settled) / SCALE;
        self.settled = validator.earned;
        let evidence = if self.moves.is_empty() { 0 } else { params::evidence_blocks(storage)? };
        let mut taken = U256::ZERO;
        for mut open in std::mem::take(&mut self.moves) {
            let until = open.origin.until(storage, open.until)?;
            let mut answers = open.origin.answers(until, evidence, height, time);
            if let Status::Tombstoned(penalty) = Validator::load(storage, open.origin.validator)?.status {
                let shares = penalty.cut(open.shares, &open.origin, until, evidence);
                self.shares -= shares;
                open.shares -= shares;
                taken += validator.take(shares);
                // What was gone before the first proof pays once; the rest may still owe for a stronger offence.
                if penalty.was_there(&open.origin) {
                    open.origin.power = penalty.power;
                } else {
                    answers &= !penalty.is_liable(&open.origin, until, evidence);
                }
            }
            if answers && !open.shares.is_zero() {
                self.moves.push(open);
            }
        }
        Ok(taken)
    }

    /// Shares that answer for nobody else.
    pub fn free(&self) -> U256 {
        self.shares - self.moves.iter().map(|open| open.shares).sum::<U256>()
    }

    /// Takes `shares`, the free ones first, and says for whom each part of them answers.
    pub fn split_off(&mut self, shares: U256) -> Vec<(U256, Option<Origin>)> {
        let free = self.free().min(shares);
        self.shares -= shares;
        let mut parts = vec![(free, None)];
        let mut rest = shares - free;
        for open in &mut self.moves {
            let part = open.shares.min(rest);
            open.shares -= part;
            rest -= part;
            parts.push((part, Some(open.origin)));
        }
        self.moves.retain(|open| !open.shares.is_zero());
        parts.retain(|(shares, _)| !shares.is_zero());
        parts
    }
}

fn places(base: U256) -> impl Iterator<Item = U256> {
    (0u64..).take(MAX_MOVES).map(move |index| field(base, MOVES + MOVE_WORDS * index))
}

/// The shares behind `tokens`, rounded up, of the `available` ones.
pub fn shares_for(validator: &Validator, tokens: U256, available: U256, why: &'static str) -> Result<U256> {
    need(!tokens.is_zero() && tokens <= validator.worth(available), why)?;
    Ok((tokens * validator.shares).div_ceil(validator.tokens).min(available))
}
