//! A delegator's part of a validator.

use alloy_primitives::{Address, U256};

use super::{
    Result,
    validator::{SCALE, Validator},
    words::{Words, between},
};
use crate::error::StoreError;

/// Shares, and rewards that were counted but not paid.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Delegation {
    /// Of the validator.
    pub shares: U256,
    /// The validator's `earned` up to which rewards are counted.
    pub settled: U256,
    /// Counted and not paid.
    pub owed: U256,
}

impl Delegation {
    /// What `delegator` has at `validator`, nothing if never seen.
    pub fn load(
        words: &mut impl Words,
        validator: Address,
        delegator: Address,
    ) -> std::result::Result<Self, StoreError> {
        Ok(Self {
            shares: words.load(between("d.shares", validator, delegator))?,
            settled: words.load(between("d.settled", validator, delegator))?,
            owed: words.load(between("d.owed", validator, delegator))?,
        })
    }

    /// Writes it back.
    pub fn store(
        &self,
        words: &mut impl Words,
        validator: Address,
        delegator: Address,
    ) -> std::result::Result<(), StoreError> {
        words.store(between("d.shares", validator, delegator), self.shares)?;
        words.store(between("d.settled", validator, delegator), self.settled)?;
        words.store(between("d.owed", validator, delegator), self.owed)
    }

    /// Counts the rewards since the last time. Before any change of shares.
    pub fn settle(&mut self, validator: &Validator) {
        self.owed += self.shares * (validator.earned - self.settled) / SCALE;
        self.settled = validator.earned;
    }
}

/// Adds `tokens` of `delegator` to `validator`.
pub fn delegate(words: &mut impl Words, validator: &mut Validator, delegator: Address, tokens: U256) -> Result<()> {
    let mut own = Delegation::load(words, validator.operator, delegator)?;
    own.settle(validator);
    own.shares += validator.add(tokens)?;
    own.store(words, validator.operator, delegator)?;
    validator.store(words)?;
    Ok(())
}

/// Takes at least `tokens` of `delegator` from `validator`, rounded up to a share; gives what they were worth.
pub fn withdraw(words: &mut impl Words, validator: &mut Validator, delegator: Address, tokens: U256) -> Result<U256> {
    let mut own = Delegation::load(words, validator.operator, delegator)?;
    own.settle(validator);
    super::need(!tokens.is_zero() && tokens <= validator.worth(own.shares), "not that much is delegated")?;
    let shares = (tokens * validator.shares).div_ceil(validator.tokens).min(own.shares);
    own.shares -= shares;
    let taken = validator.take(shares);
    own.store(words, validator.operator, delegator)?;
    validator.store(words)?;
    Ok(taken)
}
