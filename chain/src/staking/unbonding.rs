//! Tokens on their way out: still liable for what was done while they were staked.

use alloy_primitives::{Address, U256};

use super::{
    error::{Result, need},
    origin::Origin,
    params,
    storage::{Storage, address, field, of, slot, small, word},
    validator::{Status, Validator},
};
use crate::error::StoreError;

/// Entries an account can have at once: paying out is bounded work.
pub const MAX_ENTRIES: u64 = 16;

/// Tokens on their way out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// How much.
    pub tokens: U256,
    /// When they arrive, if there were blocks enough by then.
    pub due: u64,
    /// What they left.
    pub left: Origin,
    /// What they had left before that, not long ago.
    pub before: Option<Origin>,
}

impl Entry {
    fn load(storage: &mut impl Storage, owner: Address, index: u64) -> std::result::Result<Self, StoreError> {
        let base = place(owner, index);
        let [due, left, before, _] = storage.load(field(base, 1))?.into_limbs();
        let [left_power, before_power, _, _] = storage.load(field(base, 4))?.into_limbs();
        let mut origin = |at, height, power| {
            let validator = address(storage.load(field(base, at))?);
            Ok::<_, StoreError>(Origin { validator, height, power })
        };
        let (left, before) = (origin(2, left, left_power)?, origin(3, before, before_power)?);
        let before = Some(before).filter(|origin| !origin.validator.is_zero());
        Ok(Self { tokens: storage.load(base)?, due, left, before })
    }

    fn store(&self, storage: &mut impl Storage, owner: Address, index: u64) -> std::result::Result<(), StoreError> {
        let base = place(owner, index);
        let before = self.before.unwrap_or(NOWHERE);
        storage.store(base, self.tokens)?;
        storage.store(field(base, 1), U256::from_limbs([self.due, self.left.height, before.height, 0]))?;
        storage.store(field(base, 2), word(self.left.validator))?;
        storage.store(field(base, 3), word(before.validator))?;
        storage.store(field(base, 4), U256::from_limbs([self.left.power, before.power, 0, 0]))
    }

    /// What is left after the offences of the validators it was with, proven after it had left them.
    fn payable(&self, storage: &mut impl Storage) -> Result<U256> {
        let mut tokens = self.tokens;
        for origin in [Some(self.left), self.before].into_iter().flatten() {
            tokens -= lost(storage, &origin, tokens, self.due)?;
        }
        Ok(tokens)
    }
}

/// What of `tokens`, which answer until the time `until`, is lost to offences of the validator that they were with.
fn lost(storage: &mut impl Storage, origin: &Origin, tokens: U256, until: u64) -> Result<U256> {
    Ok(match Validator::load(storage, origin.validator)?.status {
        Status::Tombstoned(penalty) => {
            let (until, evidence) = (origin.until(storage, until)?, params::evidence_blocks(storage)?);
            penalty.cut(tokens, origin, until, evidence)
        }
        _ => U256::ZERO,
    })
}

/// Where nothing comes from.
const NOWHERE: Origin = Origin { validator: Address::ZERO, height: 0, power: 0 };

fn place(owner: Address, index: u64) -> U256 {
    slot("unbonding", &[owner.as_slice(), &index.to_be_bytes()])
}

/// All entries of `owner`.
pub fn entries(storage: &mut impl Storage, owner: Address) -> std::result::Result<Vec<Entry>, StoreError> {
    let count = small(storage.load(of("unbonding.count", owner))?);
    (0..count.min(MAX_ENTRIES)).map(|index| Entry::load(storage, owner, index)).collect()
}

/// Sends `entry` on its way.
pub fn push(storage: &mut impl Storage, owner: Address, entry: Entry) -> Result<()> {
    let count = small(storage.load(of("unbonding.count", owner))?);
    need(count < MAX_ENTRIES, "too many unbonding entries: withdraw those that are due first")?;
    entry.store(storage, owner, count)?;
    storage.store(of("unbonding.count", owner), U256::from(count + 1))?;
    Ok(())
}

/// Takes what is due at this height and time: what is paid, and what the pool keeps.
pub fn take_due(storage: &mut impl Storage, owner: Address, height: u64, time: u64) -> Result<(U256, U256)> {
    let evidence = params::evidence_blocks(storage)?;
    let all = entries(storage, owner)?;
    let (mut paid, mut kept, mut left) = (U256::ZERO, U256::ZERO, Vec::new());
    for entry in &all {
        if entry.left.answers(entry.left.until(storage, entry.due)?, evidence, height, time) {
            left.push(*entry);
            continue;
        }
        let payable = entry.payable(storage)?;
        paid += payable;
        kept += entry.tokens - payable;
    }
    let nothing = Entry { tokens: U256::ZERO, due: 0, left: NOWHERE, before: None };
    for index in 0..all.len() {
        let entry = left.get(index).unwrap_or(&nothing);
        entry.store(storage, owner, u64::try_from(index).unwrap_or(MAX_ENTRIES))?;
    }
    storage.store(of("unbonding.count", owner), U256::from(left.len()))?;
    Ok((paid, kept))
}
