//! Tokens on their way out: still liable for what was done while they were staked.

use alloy_primitives::{Address, U256};

use super::{
    Result, need,
    params::{StakingParams, WHOLE},
    validator::{Status, Validator},
    words::{Words, address, item, of, small, word},
};
use crate::error::StoreError;

/// Entries an account can have at once: paying out is bounded work.
pub const MAX_ENTRIES: u64 = 16;

/// Tokens on their way out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Entry {
    /// From which validator.
    pub validator: Address,
    /// How much.
    pub tokens: U256,
    /// Since which height.
    pub height: u64,
    /// When they arrive.
    pub due: u64,
}

impl Entry {
    fn load(words: &mut impl Words, owner: Address, index: u64) -> std::result::Result<Self, StoreError> {
        let at = U256::from(index);
        Ok(Self {
            validator: address(words.load(item("u.validator", owner, at))?),
            tokens: words.load(item("u.tokens", owner, at))?,
            height: small(words.load(item("u.height", owner, at))?),
            due: small(words.load(item("u.due", owner, at))?),
        })
    }

    fn store(&self, words: &mut impl Words, owner: Address, index: u64) -> std::result::Result<(), StoreError> {
        let at = U256::from(index);
        words.store(item("u.validator", owner, at), word(self.validator))?;
        words.store(item("u.tokens", owner, at), self.tokens)?;
        words.store(item("u.height", owner, at), U256::from(self.height))?;
        words.store(item("u.due", owner, at), U256::from(self.due))
    }

    /// What is left after the offences of its validator: it answers for one that was committed while the tokens were
    /// still staked, and proven after they had left.
    fn payable(&self, words: &mut impl Words) -> Result<U256> {
        let validator = Validator::load(words, self.validator)?;
        let (offence, proven) = validator.offence;
        let liable = validator.status == Status::Tombstoned && (offence..=proven).contains(&self.height) && offence > 0;
        if !liable {
            return Ok(self.tokens);
        }
        let part = StakingParams::load(words)?.double_sign_slash;
        Ok(self.tokens - self.tokens * U256::from(part) / U256::from(WHOLE))
    }
}

/// All entries of `owner`.
pub fn entries(words: &mut impl Words, owner: Address) -> std::result::Result<Vec<Entry>, StoreError> {
    let count = small(words.load(of("u.count", owner))?);
    (0..count.min(MAX_ENTRIES)).map(|index| Entry::load(words, owner, index)).collect()
}

/// Sends `entry` on its way.
pub fn push(words: &mut impl Words, owner: Address, entry: Entry) -> Result<()> {
    let count = small(words.load(of("u.count", owner))?);
    need(count < MAX_ENTRIES, "too many unbonding entries: withdraw those that are due first")?;
    entry.store(words, owner, count)?;
    words.store(of("u.count", owner), U256::from(count + 1))?;
    Ok(())
}

/// Takes what is due at `time`: what is paid, and what the pool keeps.
pub fn take_due(words: &mut impl Words, owner: Address, time: u64) -> Result<(U256, U256)> {
    let all = entries(words, owner)?;
    let (mut paid, mut kept, mut left) = (U256::ZERO, U256::ZERO, Vec::new());
    for entry in &all {
        if entry.due > time {
            left.push(*entry);
            continue;
        }
        let payable = entry.payable(words)?;
        paid += payable;
        kept += entry.tokens - payable;
    }
    for index in 0..all.len() {
        let entry = left.get(index).copied().unwrap_or_default();
        entry.store(words, owner, u64::try_from(index).unwrap_or(MAX_ENTRIES))?;
    }
    words.store(of("u.count", owner), U256::from(left.len()))?;
    Ok((paid, kept))
}
