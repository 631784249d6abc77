//! A validator: its key, its stake, its conduct.

use alloy_primitives::{Address, B256, U256};

use super::{
    error::{Result, StakeError, need},
    facts::BlockFacts,
    origin::Origin,
    params::{WHOLE, share},
    penalty::Penalty,
    storage::{Storage, address, field, of, slot, small, word},
};
use crate::{
    application::Offence,
    error::StoreError,
    validator::{ConsensusKey, TOKEN},
};

/// Whether a validator may make blocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// It may.
    Active,
    /// It was away, or its operator took its own stake back; it may return after this time.
    Jailed(u64),
    /// It signed two blocks of one height. It never returns.
    Tombstoned(Penalty),
}

/// A validator.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Validator {
    /// The account that controls it.
    pub operator: Address,
    /// The key that signs blocks.
    pub key: ConsensusKey,
    /// What stands behind it.
    pub tokens: U256,
    /// Owned by its delegators.
    pub shares: U256,
    /// Its part of rewards, in hundredths of a percent.
    pub commission: u64,
    /// Whether it may make blocks.
    pub status: Status,
    /// What one share has earned since the beginning, times `SCALE`.
    pub earned: U256,
    /// Which of the last 256 blocks that it should have signed it missed, by [`Self::expected`] modulo 256.
    pub missed: U256,
    /// Blocks that it should have signed, modulo 256: those while it was out do not count, and forgive nothing.
    pub expected: u8,
    /// Commission that was counted and not paid.
    pub owed: U256,
}

/// Fixed point of [`Validator::earned`].
pub const SCALE: U256 = TOKEN;

/// A bound that keeps products in 256 bits: shares grow against tokens when stake is slashed.
const MAX_SHARES: U256 = U256::from_limbs([0, 0, 1, 0]);

/// Rounding may take one part in this many of what is added.
const MOST_LOST: U256 = U256::from_limbs([1_000_000, 0, 0, 0]);

/// Words of the record.
const KEY: u64 = 0;
const TOKENS: u64 = 1;
const SHARES: u64 = 2;
/// Commission, the penalty's part, the kind of status and the count of expected blocks in 64 bits; a time; the
/// penalty's two heights.
const CONDUCT: u64 = 3;
const EARNED: u64 = 4;
const MISSED: u64 = 5;
const OWED: u64 = 6;
/// Weight that consensus was told last.
const LAST_POWER: u64 = 7;
/// The penalty's stake and power.
const PENALTY_STAKE: u64 = 8;
const PENALTY_POWER: u64 = 9;

/// Kinds of status.
const ACTIVE: u64 = 0;
const JAILED: u64 = 1;

impl Validator {
    /// The validator that `operator` controls.
    ///
    /// # Errors
    /// When the operator has no validator, or the store cannot be read.
    pub fn load(storage: &mut impl Storage, operator: Address) -> Result<Self> {
        let base = of("validator", operator);
        let key = storage.load(field(base, KEY))?;
        need(!key.is_zero(), "no such validator")?;
        let [parts, time, height, proven] = storage.load(field(base, CONDUCT))?.into_limbs();
        let status = match parts >> 32 & 0xff {
            ACTIVE => Status::Active,
            JAILED => Status::Jailed(time),
            _ => Status::Tombstoned(Penalty {
                height,
                proven,
                time,
                part: parts >> 16 & 0xffff,
                stake: storage.load(field(base, PENALTY_STAKE))?,
                power: small(storage.load(field(base, PENALTY_POWER))?),
            }),
        };
        Ok(Self {
            operator,
            key: ConsensusKey(B256::from(key)),
            tokens: storage.load(field(base, TOKENS))?,
            shares: storage.load(field(base, SHARES))?,
            commission: parts & 0xffff,
            status,
            earned: storage.load(field(base, EARNED))?,
            missed: storage.load(field(base, MISSED))?,
            expected: parts.to_be_bytes()[2],
            owed: storage.load(field(base, OWED))?,
        })
    }

    /// Writes it back.
    ///
    /// # Errors
    /// When the store cannot be read, or what it holds there is damaged.
    pub fn store(&self, storage: &mut impl Storage) -> std::result::Result<(), StoreError> {
        let base = of("validator", self.operator);
        let [kind, time, part, height, proven] = match self.status {
            Status::Active => [ACTIVE, 0, 0, 0, 0],
            Status::Jailed(until) => [JAILED, until, 0, 0, 0],
            Status::Tombstoned(s) => [JAILED + 1, s.time, s.part, s.height, s.proven],
        };
        if let Status::Tombstoned(s) = self.status {
            storage.store(field(base, PENALTY_STAKE), s.stake)?;
            storage.store(field(base, PENALTY_POWER), U256::from(s.power))?;
        }
        let parts = self.commission | part << 16 | kind << 32 | u64::from(self.expected) << 40;
        storage.store(field(base, KEY), U256::from_be_bytes(self.key.0.0))?;
        storage.store(field(base, TOKENS), self.tokens)?;
        storage.store(field(base, SHARES), self.shares)?;
        storage.store(field(base, CONDUCT), U256::from_limbs([parts, time, height, proven]))?;
        storage.store(field(base, EARNED), self.earned)?;
        storage.store(field(base, MISSED), self.missed)?;
        storage.store(field(base, OWED), self.owed)
    }

    /// A new validator, without stake.
    ///
    /// # Errors
    /// When the account operates a validator already, another validator has the key or it is none of Ed25519, the
    /// commission is above 100 percent, or the store fails.
    pub fn create(storage: &mut impl Storage, operator: Address, key: ConsensusKey, commission: u64) -> Result<Self> {
        need(storage.load(of("validator", operator))?.is_zero(), "this account already operates a validator")?;
        need(operator_of(storage, key)?.is_none(), "another validator has this key")?;
        need(ed25519_dalek::VerifyingKey::from_bytes(&key.0.0).is_ok_and(|k| !k.is_weak()), "not an ed25519 key")?;
        need(commission <= WHOLE, "commission above 100 percent")?;
        storage.store(slot("operator", &[key.0.as_slice()]), word(operator))?;
        Ok(Self {
            operator,
            key,
            tokens: U256::ZERO,
            shares: U256::ZERO,
            commission,
            status: Status::Active,
            earned: U256::ZERO,
            missed: U256::ZERO,
            expected: 0,
            owed: U256::ZERO,
        })
    }

    /// Shares for `tokens` that are added.
    ///
    /// # Errors
    /// When the sum does not fit.
    pub fn add(&mut self, tokens: U256) -> Result<U256> {
        let shares = match self.shares.is_zero() {
            true => tokens,
            false => {
                need(!self.tokens.is_zero(), "all of its stake was slashed")?;
                tokens.checked_mul(self.shares).ok_or(StakeError::Refused("amount too large"))? / self.tokens
            }
        };
        let sum = self.shares.checked_add(shares).filter(|sum| *sum < MAX_SHARES);
        need(!shares.is_zero() && sum.is_some(), "amount out of range")?;
        self.tokens += tokens;
        self.shares += shares;
        // What rounding takes goes to the others: nobody may arrange that it is much.
        need(self.worth(shares) + tokens / MOST_LOST + U256::ONE >= tokens, "amount too small for this validator")?;
        Ok(shares)
    }

    /// Tokens for `shares` that are taken, rounded down.
    pub fn take(&mut self, shares: U256) -> U256 {
        let tokens = self.worth(shares);
        self.tokens -= tokens;
        self.shares -= shares;
        tokens
    }

    /// What `shares` are worth, rounded down.
    pub fn worth(&self, shares: U256) -> U256 {
        if self.shares.is_zero() { U256::ZERO } else { shares * self.tokens / self.shares }
    }

    /// Takes `part` of ten thousand of the stake. Gives what was taken.
    pub fn slash(&mut self, part: u64) -> U256 {
        let taken = share(self.tokens, part);
        self.tokens -= taken;
        taken
    }

    /// Penalises it for an offence, or widens the penalty that it has. Gives what was taken of the stake that is there.
    pub fn penalise(&mut self, offence: &Offence, part: u64, now: &BlockFacts<'_>) -> U256 {
        let (penalty, paid) = match self.status {
            Status::Tombstoned(old) => (old.widened(offence), old.power),
            _ => (Penalty::first(offence, part, self.tokens, now), 0),
        };
        let taken = penalty.rest(self.tokens, paid);
        self.tokens -= taken;
        self.status = Status::Tombstoned(penalty);
        taken
    }

    /// Where stake was that leaves it at `height`.
    pub fn origin(&self, height: u64) -> Origin {
        let power = match self.status {
            Status::Tombstoned(penalty) => penalty.power,
            _ => 0,
        };
        Origin { validator: self.operator, height, power }
    }

    /// Weight in consensus: whole tokens, if it may make blocks at all.
    pub fn power(&self) -> u64 {
        match self.status {
            Status::Active => small(self.tokens / TOKEN),
            _ => 0,
        }
    }
}

/// Who operates the validator with `key`.
pub fn operator_of(storage: &mut impl Storage, key: ConsensusKey) -> std::result::Result<Option<Address>, StoreError> {
    let word = storage.load(slot("operator", &[key.0.as_slice()]))?;
    Ok((!word.is_zero()).then(|| address(word)))
}

/// Weight of `operator`'s validator that consensus was told last.
pub fn last_power(storage: &mut impl Storage, operator: Address) -> std::result::Result<u64, StoreError> {
    storage.load(field(of("validator", operator), LAST_POWER)).map(small)
}

/// Remembers what consensus is told.
pub fn set_last_power(
    storage: &mut impl Storage,
    operator: Address,
    power: u64,
) -> std::result::Result<(), StoreError> {
    storage.store(field(of("validator", operator), LAST_POWER), U256::from(power))
}
