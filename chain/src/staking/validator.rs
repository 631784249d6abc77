//! A validator: its key, its stake, its conduct.

use alloy_primitives::{Address, B256, U256};

use super::{
    Result, StakeError,
    delegation::Delegation,
    need,
    params::WHOLE,
    words::{Words, address, item, of, slot, small, word},
};
use crate::{
    error::StoreError,
    genesis::{GenesisValidator, TOKEN},
    validator::ConsensusKey,
};

/// Whether a validator may make blocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// It may.
    Free,
    /// It was away; it may return after this time.
    Jailed(u64),
    /// It signed two blocks of one height. It never returns.
    Tombstoned,
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
    /// What one share has earned since the beginning, times [`SCALE`].
    pub earned: U256,
    /// Which of the last 256 blocks it missed, by height modulo 256.
    pub missed: U256,
    /// Height of the offence it was tombstoned for, and height of its proof.
    pub offence: (u64, u64),
}

/// Fixed point of [`Validator::earned`].
pub const SCALE: U256 = TOKEN;

/// No share is worth less than a thousandth of a unit: shares grow when stake is slashed, and must not overflow.
const MAX_SHARES: U256 = U256::from_limbs([0, 0, 1, 0]);

/// Validators there can be in all.
const MAX_ALL: u64 = 1_000;

const ALL: &str = "all";
const TOMB: u64 = u64::MAX;

impl Validator {
    /// The validator that `operator` controls.
    pub fn load(words: &mut impl Words, operator: Address) -> Result<Self> {
        let key = words.load(of("key", operator))?;
        need(!key.is_zero(), "no such validator")?;
        let status = match small(words.load(of("status", operator))?) {
            0 => Status::Free,
            TOMB => Status::Tombstoned,
            until => Status::Jailed(until),
        };
        let offence = (small(words.load(of("offence", operator))?), small(words.load(of("proven", operator))?));
        Ok(Self {
            operator,
            key: ConsensusKey(B256::from(key)),
            tokens: words.load(of("tokens", operator))?,
            shares: words.load(of("shares", operator))?,
            commission: small(words.load(of("commission", operator))?),
            status,
            earned: words.load(of("earned", operator))?,
            missed: words.load(of("missed", operator))?,
            offence,
        })
    }

    /// Writes it back.
    pub fn store(&self, words: &mut impl Words) -> std::result::Result<(), StoreError> {
        let operator = self.operator;
        let status = match self.status {
            Status::Free => 0,
            Status::Jailed(until) => until.clamp(1, TOMB - 1),
            Status::Tombstoned => TOMB,
        };
        words.store(of("key", operator), U256::from_be_bytes(self.key.0.0))?;
        words.store(of("tokens", operator), self.tokens)?;
        words.store(of("shares", operator), self.shares)?;
        words.store(of("commission", operator), U256::from(self.commission))?;
        words.store(of("status", operator), U256::from(status))?;
        words.store(of("earned", operator), self.earned)?;
        words.store(of("missed", operator), self.missed)?;
        words.store(of("offence", operator), U256::from(self.offence.0))?;
        words.store(of("proven", operator), U256::from(self.offence.1))
    }

    /// A new validator, without stake.
    pub fn create(words: &mut impl Words, operator: Address, key: ConsensusKey, commission: u64) -> Result<Self> {
        need(words.load(of("key", operator))?.is_zero(), "this account already operates a validator")?;
        need(operator_of(words, key)?.is_none(), "another validator has this key")?;
        need(ed25519_dalek::VerifyingKey::from_bytes(&key.0.0).is_ok_and(|k| !k.is_weak()), "not an ed25519 key")?;
        need(commission <= WHOLE, "commission above 100 percent")?;
        let count = count(words)?;
        need(count < MAX_ALL, "too many validators")?;
        words.store(item(ALL, Address::ZERO, U256::from(count)), word(operator))?;
        words.store(slot("count", &[]), U256::from(count + 1))?;
        words.store(slot("operator", &[key.0.as_slice()]), word(operator))?;
        Ok(Self {
            operator,
            key,
            tokens: U256::ZERO,
            shares: U256::ZERO,
            commission,
            status: Status::Free,
            earned: U256::ZERO,
            missed: U256::ZERO,
            offence: (0, 0),
        })
    }

    /// Shares for `tokens` that are added.
    pub fn add(&mut self, tokens: U256) -> Result<U256> {
        let shares = match self.shares.is_zero() {
            true => tokens,
            false => {
                need(!self.tokens.is_zero(), "all of its stake was slashed")?;
                tokens.checked_mul(self.shares).ok_or(StakeError::Refused("amount too large"))? / self.tokens
            }
        };
        need(!shares.is_zero() && self.shares + shares < MAX_SHARES, "amount out of range")?;
        self.tokens += tokens;
        self.shares += shares;
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

    /// Takes `part` of ten thousand from the stake and gives what was taken.
    pub fn slash(&mut self, part: u64) -> U256 {
        let taken = self.tokens * U256::from(part) / U256::from(WHOLE);
        self.tokens -= taken;
        taken
    }

    /// Weight in consensus: whole tokens, if it may make blocks at all.
    pub fn power(&self) -> u64 {
        match self.status {
            Status::Free => small(self.tokens / TOKEN),
            _ => 0,
        }
    }
}

/// How many validators there are, in all states.
pub fn count(words: &mut impl Words) -> std::result::Result<u64, StoreError> {
    words.load(slot("count", &[])).map(small)
}

/// Operator of the validator with number `index`.
pub fn at(words: &mut impl Words, index: u64) -> std::result::Result<Address, StoreError> {
    words.load(item(ALL, Address::ZERO, U256::from(index))).map(address)
}

/// Who operates the validator with `key`.
pub fn operator_of(words: &mut impl Words, key: ConsensusKey) -> std::result::Result<Option<Address>, StoreError> {
    let word = words.load(slot("operator", &[key.0.as_slice()]))?;
    Ok((!word.is_zero()).then(|| address(word)))
}

/// A validator of the first block, whose operator bonds `power` tokens. The caller credits the contract with them.
pub fn bond_genesis(words: &mut impl Words, genesis: &GenesisValidator) -> Result<U256> {
    let tokens = TOKEN * U256::from(genesis.power);
    let mut validator = Validator::create(words, genesis.operator, genesis.consensus_key, 0)?;
    let shares = validator.add(tokens)?;
    Delegation { shares, ..Delegation::default() }.store(words, genesis.operator, genesis.operator)?;
    validator.store(words)?;
    words.store(of("active", genesis.operator), U256::from(genesis.power))?;
    Ok(tokens)
}
