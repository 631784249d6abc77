//! Parameters, in the genesis file and in storage, where governance changes them.

use alloy_primitives::{Address, U256};
use serde::{Deserialize, Serialize};

use super::storage::{Storage, address, field, slot, word};
use crate::error::StoreError;

/// One hundred percent.
pub const WHOLE: u64 = 10_000;

/// Stake stays liable so much longer than offences can be proven: between blocks, time jumps. A longer jump is remembered.
pub const MARGIN_SECONDS: u64 = 3600;
/// Ten years.
const MOST_SECONDS: u64 = 10 * 365 * 24 * 3600;

/// `part` of ten thousand of `tokens`, rounded down.
pub fn share(tokens: U256, part: u64) -> U256 {
    tokens * U256::from(part) / U256::from(WHOLE)
}

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
    /// Seconds for which an offence can be proven; the engine's own limit is no longer. Fixed by genesis.
    pub evidence_seconds: u64,
    /// Blocks for which an offence can be proven even if they take longer; the engine's own limit is no higher. Fixed by
    /// genesis.
    pub evidence_blocks: u64,
    /// Who may change the others, and use what was slashed. Nobody, if zero.
    pub governance: Address,
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
            evidence_seconds: 14 * 24 * 3600,
            evidence_blocks: 100,
            governance: Address::ZERO,
        }
    }
}

impl StakingParams {
    /// The field that makes no sense, and why.
    pub fn problem(&self) -> Option<(&'static str, &'static str)> {
        let longer = "must be an hour longer than staking.evidence_seconds, or offenders leave before they are found";
        let soonest = self.evidence_seconds.saturating_add(MARGIN_SECONDS);
        let checks = [
            (self.max_validators > 0, "staking.max_validators", "must not be zero"),
            (self.max_validators <= 300, "staking.max_validators", "must be 300 at most"),
            (self.evidence_seconds > 0, "staking.evidence_seconds", "must not be zero"),
            (self.evidence_blocks > 0, "staking.evidence_blocks", "must not be zero"),
            (self.evidence_blocks <= 10_000_000, "staking.evidence_blocks", "must be 10000000 at most"),
            (self.unbonding_seconds >= soonest, "staking.unbonding_seconds", longer),
            (self.unbonding_seconds <= MOST_SECONDS, "staking.unbonding_seconds", "must be ten years at most"),
            (self.double_sign_slash <= WHOLE, "staking.double_sign_slash", "must be 10000 at most"),
            (self.downtime_slash <= WHOLE, "staking.downtime_slash", "must be 10000 at most"),
            ((1..=256).contains(&self.max_missed), "staking.max_missed", "must be between 1 and 256"),
        ];
        checks.into_iter().find(|(holds, _, _)| !holds).map(|(_, field, why)| (field, why))
    }

    /// What governance can change, in the order of the Solidity interface.
    pub fn numbers(&self) -> [u64; 8] {
        [
            self.min_self_bond,
            self.unbonding_seconds,
            self.max_validators,
            self.block_reward,
            self.double_sign_slash,
            self.downtime_slash,
            self.max_missed,
            self.jail_seconds,
        ]
    }

    /// The same with other numbers.
    pub fn with_numbers(&self, numbers: [u64; 8]) -> Self {
        let [
            min_self_bond,
            unbonding_seconds,
            max_validators,
            block_reward,
            double_sign_slash,
            downtime_slash,
            max_missed,
            jail_seconds,
        ] = numbers;
        Self {
            min_self_bond,
            unbonding_seconds,
            max_validators,
            block_reward,
            double_sign_slash,
            downtime_slash,
            max_missed,
            jail_seconds,
            ..self.clone()
        }
    }

    /// Puts them into storage: four numbers a word.
    ///
    /// # Errors
    /// When the store cannot be read, or what it holds there is damaged.
    pub fn store(&self, storage: &mut impl Storage) -> Result<(), StoreError> {
        let base = slot("params", &[]);
        let [a, b, c, d, e, f, g, h] = self.numbers();
        storage.store(field(base, 0), U256::from_limbs([a, b, c, d]))?;
        storage.store(field(base, 1), U256::from_limbs([e, f, g, h]))?;
        storage.store(field(base, 2), U256::from_limbs([self.evidence_seconds, self.evidence_blocks, 0, 0]))?;
        storage.store(field(base, 3), word(self.governance))
    }

    /// Reads them from storage.
    ///
    /// # Errors
    /// When the store cannot be read, or what it holds there is damaged.
    pub fn load(storage: &mut impl Storage) -> Result<Self, StoreError> {
        let base = slot("params", &[]);
        let [a, b, c, d] = storage.load(field(base, 0))?.into_limbs();
        let [e, f, g, h] = storage.load(field(base, 1))?.into_limbs();
        let [evidence_seconds, evidence_blocks, _, _] = storage.load(field(base, 2))?.into_limbs();
        let fixed = Self {
            evidence_seconds,
            evidence_blocks,
            governance: address(storage.load(field(base, 3))?),
            ..Self::default()
        };
        Ok(fixed.with_numbers([a, b, c, d, e, f, g, h]))
    }
}

/// Blocks for which an offence can be proven, however long they take.
pub fn evidence_blocks(storage: &mut impl Storage) -> Result<u64, StoreError> {
    let [_, blocks, _, _] = storage.load(field(slot("params", &[]), 2))?.into_limbs();
    Ok(blocks)
}
