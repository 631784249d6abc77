//! Parameters, in the genesis file and in storage: governance will change them there.

use alloy_primitives::U256;
use serde::{Deserialize, Serialize};

use super::words::{Words, slot};
use crate::error::StoreError;

/// One hundred percent.
pub const WHOLE: u64 = 10_000;

/// Parameters of staking.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct StakingParams {
    /// Tokens (whole) that a validator must bond itself.
    pub min_self_bond: u64,
    /// Seconds between undelegating and having the tokens. Longer than evidence can take.
    pub unbonding_seconds: u64,
    /// Validators that make blocks at once.
    pub max_validators: u64,
    /// Made for each block and shared by stake, in the smallest unit.
    pub block_reward: u64,
    /// Taken for signing two blocks of one height, in hundredths of a percent. The validator never returns.
    pub double_sign_slash: u64,
    /// Taken for being away, in hundredths of a percent.
    pub downtime_slash: u64,
    /// Of the last 256 blocks, how many may be missed.
    pub max_missed: u64,
    /// Seconds in jail at least, for being away.
    pub jail_seconds: u64,
}

impl Default for StakingParams {
    fn default() -> Self {
        Self {
            min_self_bond: 1,
            unbonding_seconds: 21 * 24 * 3600,
            max_validators: 100,
            block_reward: 100_000_000_000_000_000,
            double_sign_slash: 500,
            downtime_slash: 1,
            max_missed: 192,
            jail_seconds: 600,
        }
    }
}

impl StakingParams {
    /// The field that makes no sense, and why.
    pub fn problem(&self) -> Option<(&'static str, &'static str)> {
        let checks = [
            (self.max_validators > 0, "staking.max_validators", "must not be zero"),
            (self.max_validators <= 300, "staking.max_validators", "must be 300 at most"),
            (self.unbonding_seconds > 0, "staking.unbonding_seconds", "must not be zero"),
            (self.double_sign_slash <= WHOLE, "staking.double_sign_slash", "must be 10000 at most"),
            (self.downtime_slash <= WHOLE, "staking.downtime_slash", "must be 10000 at most"),
            ((1..=256).contains(&self.max_missed), "staking.max_missed", "must be between 1 and 256"),
        ];
        checks.into_iter().find(|(holds, _, _)| !holds).map(|(_, field, why)| (field, why))
    }

    /// Puts them into storage.
    pub fn store(&self, words: &mut impl Words) -> Result<(), StoreError> {
        let fields = [
            self.min_self_bond,
            self.unbonding_seconds,
            self.max_validators,
            self.block_reward,
            self.double_sign_slash,
            self.downtime_slash,
            self.max_missed,
            self.jail_seconds,
        ];
        (0u8..).zip(fields).try_for_each(|(i, field)| words.store(slot("param", &[&[i]]), U256::from(field)))
    }

    /// Reads them from storage.
    pub fn load(words: &mut impl Words) -> Result<Self, StoreError> {
        let mut field = |i: u8| words.load(slot("param", &[&[i]])).map(super::words::small);
        Ok(Self {
            min_self_bond: field(0)?,
            unbonding_seconds: field(1)?,
            max_validators: field(2)?,
            block_reward: field(3)?,
            double_sign_slash: field(4)?,
            downtime_slash: field(5)?,
            max_missed: field(6)?,
            jail_seconds: field(7)?,
        })
    }
}
