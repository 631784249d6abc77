//! What the ledger keeps of the beacon: each validator's chain, what the epoch has shown, the values of past epochs. All
//! of it lies in the staking contract's storage.

use alloy_primitives::{Address, B256, U256};

use super::{
    commitment::{Commitment, hash, step},
    item::Item,
    params::{BeaconParams, DELAY, HISTORY},
};
use crate::{
    error::StoreError,
    staking::storage::{Storage, field, of, slot, small},
};

type Result<T> = std::result::Result<T, StoreError>;

/// A validator's chain, as the ledger knows it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Chain {
    /// What the next preimage is hashed to.
    pub tip: B256,
    /// Preimages that can be shown.
    pub left: u64,
    /// What it shows counts from this epoch on.
    pub counts_from: u64,
    /// How many chains its owner had before this one.
    pub number: u64,
    /// The chain that replaces this one, and from which epoch on.
    pub next: Option<(Commitment, u64)>,
}

impl Chain {
    /// The chain of `operator`'s validator.
    ///
    /// # Errors
    /// When the store cannot be read, or what it holds there is damaged.
    pub fn load(storage: &mut impl Storage, operator: Address) -> Result<Self> {
        let mut found = [U256::ZERO; 4];
        for (found, slot) in found.iter_mut().zip(Self::slots(operator)) {
            *found = storage.load(slot)?;
        }
        Ok(Self::from_words(found))
    }

    /// Where the chain of `operator`'s validator lies in the staking contract's storage.
    pub fn slots(operator: Address) -> [U256; 4] {
        let base = of("beacon.chain", operator);
        [base, field(base, 1), field(base, 2), field(base, 3)]
    }

    /// The chain by the words in its slots.
    pub fn from_words([tip, numbers, next, times]: [U256; 4]) -> Self {
        let [left, counts_from, number, _] = numbers.into_limbs();
        let [length, from, _, _] = times.into_limbs();
        let next = Commitment { tip: next.into(), length };
        Self { tip: tip.into(), left, counts_from, number, next: next.is_sound().then_some((next, from)) }
    }

    fn store(&self, storage: &mut impl Storage, operator: Address) -> Result<()> {
        let base = of("beacon.chain", operator);
        let (next, from) = self.next.unwrap_or((Commitment { tip: B256::ZERO, length: 0 }, 0));
        storage.store(base, self.tip.into())?;
        storage.store(field(base, 1), U256::from_limbs([self.left, self.counts_from, self.number, 0]))?;
        storage.store(field(base, 2), next.tip.into())?;
        storage.store(field(base, 3), U256::from_limbs([next.length, from, 0, 0]))
    }

    /// The chain that is in force in `epoch`.
    pub fn at(self, epoch: u64) -> Self {
        match self.next {
            Some((next, from)) if from <= epoch => Self {
                tip: next.tip,
                left: next.length,
                counts_from: from,
                number: self.number.saturating_add(1),
                next: None,
            },
            _ => self,
        }
    }

    /// Whether `item` shows its next preimage.
    pub fn accepts(&self, item: &Item) -> bool {
        self.left > 0 && step(&item.preimage) == self.tip
    }
}

/// Begins the beacon of a new chain, or takes over that of an exported one, whose storage is there already.
///
/// # Errors
/// When the store cannot be read, or what it holds there is damaged.
pub fn begin(storage: &mut impl Storage, params: &BeaconParams, chain_name: &str, fresh: bool) -> Result<()> {
    storage.store(slot("beacon", &[]), U256::from(params.epoch_blocks))?;
    if !fresh {
        return Ok(());
    }
    // Known to everybody before the chain begins, and so is what follows from it in the first epoch.
    let first = hash(b"sahara beacon genesis 1", &[chain_name.as_bytes()]);
    storage.store(value_slot(0), first.into())?;
    for (operator, commitment) in &params.chains {
        let chain = Chain { tip: commitment.tip, left: commitment.length, ..Chain::default() };
        chain.store(storage, *operator)?;
    }
    Ok(())
}

/// The chain that a new validator brings: it has to show preimages at once, and they count later.
///
/// # Errors
/// When the store fails.
pub fn register_first(
    storage: &mut impl Storage,
    operator: Address,
    commitment: Commitment,
    height: u64,
) -> Result<()> {
    let counts_from = epoch_of(storage, height)?.saturating_add(DELAY);
    let chain = Chain { tip: commitment.tip, left: commitment.length, counts_from, number: 0, next: None };
    chain.store(storage, operator)
}

/// Another chain for a validator, instead of the one that may have been announced before. Gives the epoch in which it
/// replaces the one in force.
///
/// # Errors
/// When the store fails.
pub fn register_next(storage: &mut impl Storage, operator: Address, next: Commitment, height: u64) -> Result<u64> {
    let epoch = epoch_of(storage, height)?;
    let from = epoch.saturating_add(DELAY);
    let chain = Chain::load(storage, operator)?.at(epoch);
    Chain { next: Some((next, from)), ..chain }.store(storage, operator)?;
    Ok(from)
}

/// Blocks in an epoch.
///
/// # Errors
/// When the store cannot be read, or what it holds there is damaged.
pub fn epoch_blocks(storage: &mut impl Storage) -> Result<u64> {
    Ok(small(storage.load(slot("beacon", &[]))?).max(1))
}

/// The epoch of the block at `height`.
///
/// # Errors
/// When the store cannot be read, or what it holds there is damaged.
pub fn epoch_of(storage: &mut impl Storage, height: u64) -> Result<u64> {
    Ok(height / epoch_blocks(storage)?)
}

/// The value of `epoch`, seen from a block of the epoch `now`: nothing if it is not there yet, or no longer.
///
/// # Errors
/// When the store cannot be read, or what it holds there is damaged.
pub fn value(storage: &mut impl Storage, epoch: u64, now: u64) -> Result<Option<B256>> {
    if epoch > now || now - epoch >= HISTORY {
        return Ok(None);
    }
    let value = storage.load(value_slot(epoch))?;
    Ok((!value.is_zero()).then(|| value.into()))
}

/// What `PREVRANDAO` gives in the block at `height`, by the state before it: known to everybody from the epoch's
/// beginning on, and chosen by nobody.
///
/// # Errors
/// When the store cannot be read, or what it holds there is damaged.
pub fn random(storage: &mut impl Storage, height: u64) -> Result<B256> {
    let epoch = epoch_of(storage, height)?;
    let value = value(storage, epoch, epoch)?.unwrap_or_default();
    Ok(hash(b"sahara prevrandao 1", &[value.as_slice(), &height.to_be_bytes()]))
}

/// Ends the block at `height`: takes what its proposer showed, and closes the epoch with its last block. An item that no
/// honest validator would have let through has no effect.
///
/// # Errors
/// When the store cannot be read, or what it holds there is damaged.
pub fn end_block(storage: &mut impl Storage, height: u64, proposer: Option<Address>, item: Option<Item>) -> Result<()> {
    let epoch = epoch_of(storage, height)?;
    if let (Some(operator), Some(item)) = (proposer, item) {
        let chain = Chain::load(storage, operator)?.at(epoch);
        if chain.accepts(&item) {
            if chain.counts_from <= epoch {
                let mixed = storage.load(shown())?;
                let mixed = hash(b"sahara beacon mix 1", &[&mixed.to_be_bytes::<32>(), item.preimage.as_slice()]);
                storage.store(shown(), mixed.into())?;
            }
            Chain { tip: item.preimage, left: chain.left - 1, ..chain }.store(storage, operator)?;
            if let Some(next) = item.next {
                register_next(storage, operator, next, height)?;
            }
        }
    }
    let next = height.saturating_add(1) / epoch_blocks(storage)?;
    if next != epoch {
        let parts = [storage.load(value_slot(epoch))?, storage.load(shown())?, U256::from(next)];
        let parts = parts.map(|part| part.to_be_bytes::<32>());
        let value = hash(b"sahara beacon value 1", &parts.each_ref().map(|part| part.as_slice()));
        storage.store(value_slot(next), value.into())?;
        storage.store(shown(), U256::ZERO)?;
    }
    Ok(())
}

/// What the epoch has shown, mixed.
fn shown() -> U256 {
    field(slot("beacon", &[]), 1)
}

fn value_slot(epoch: u64) -> U256 {
    field(slot("beacon.value", &[]), epoch % HISTORY)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[derive(Clone, Default)]
    struct Memory(BTreeMap<U256, U256>);

    impl Storage for Memory {
        fn load(&mut self, slot: U256) -> Result<U256> {
            Ok(self.0.get(&slot).copied().unwrap_or_default())
        }

        fn store(&mut self, slot: U256, value: U256) -> Result<()> {
            self.0.insert(slot, value);
            Ok(())
        }
    }

    const OPERATOR: Address = Address::repeat_byte(1);

    /// Chain of eight steps from `seed`: its values, the first one last.
    fn values(seed: u8) -> (Commitment, Vec<B256>) {
        let mut all = vec![B256::repeat_byte(seed)];
        (0..8).for_each(|i| all.push(step(&all[i])));
        (Commitment { tip: all[8], length: 8 }, all[..8].iter().rev().copied().collect())
    }

    fn begun() -> Memory {
        let mut storage = Memory::default();
        begin(&mut storage, &BeaconParams { epoch_blocks: 4, ..BeaconParams::default() }, "c", true).unwrap();
        storage
    }

    fn end(storage: &mut Memory, height: u64, preimage: Option<B256>) {
        let item = preimage.map(|preimage| Item { preimage, next: None });
        end_block(storage, height, Some(OPERATOR), item).unwrap();
    }

    #[test]
    fn what_a_new_validator_shows_counts_two_epochs_later() {
        // In blocks 1 and 4 it is new, in block 8 no longer; each time with and without what it shows.
        for (shown_at, counts) in [(1, false), (4, false), (7, false), (8, true)] {
            let run = |shows: bool| {
                let mut storage = begun();
                let (commitment, all) = values(3);
                register_first(&mut storage, OPERATOR, commitment, 1).unwrap();
                for height in 1..=11 {
                    end(&mut storage, height, Some(all[0]).filter(|_| shows && height == shown_at));
                }
                let left = Chain::load(&mut storage, OPERATOR).unwrap().left;
                assert_eq!(left, if shows { 7 } else { 8 });
                value(&mut storage, shown_at / 4 + 1, 3).unwrap()
            };
            assert_eq!(run(true) != run(false), counts, "shown in block {shown_at}");
        }
    }

    #[test]
    fn another_chain_replaces_the_first_two_epochs_after_it_was_announced_and_not_before() {
        let mut storage = begun();
        let ((first, old), (next, new), (other, _)) = (values(3), values(4), values(5));
        register_first(&mut storage, OPERATOR, first, 1).unwrap();
        assert_eq!(register_next(&mut storage, OPERATOR, other, 2).unwrap(), 2);
        // The last announcement counts, from its own time on.
        assert_eq!(register_next(&mut storage, OPERATOR, next, 4).unwrap(), 3);
        let accepts = |storage: &mut Memory, preimage, height: u64| {
            let item = Item { preimage, next: None };
            Chain::load(storage, OPERATOR).unwrap().at(height / 4).accepts(&item)
        };
        for height in [5, 11] {
            assert!(accepts(&mut storage, old[0], height) && !accepts(&mut storage, new[0], height), "{height}");
        }
        assert!(!accepts(&mut storage, old[0], 12) && accepts(&mut storage, new[0], 12));
        end(&mut storage, 12, Some(new[0]));
        let chain = Chain::load(&mut storage, OPERATOR).unwrap();
        assert_eq!((chain.tip, chain.left, chain.number, chain.next), (new[0], 7, 1, None));
        // A chain at its end shows nothing more.
        (1u64..8).for_each(|i| end(&mut storage, 12 + i, Some(new[usize::try_from(i).unwrap()])));
        let chain = Chain::load(&mut storage, OPERATOR).unwrap();
        assert_eq!(chain.left, 0);
        assert!(!chain.accepts(&Item { preimage: chain.tip, next: None }));
    }

    #[test]
    fn a_wrong_preimage_in_a_decided_block_has_no_effect() {
        let run = |preimage: Option<B256>| {
            let mut storage = begun();
            let (commitment, all) = values(3);
            register_first(&mut storage, OPERATOR, commitment, 0).unwrap();
            end(&mut storage, 9, preimage.map(|wrong| wrong ^ all[0]));
            storage.0
        };
        assert_eq!(run(Some(B256::with_last_byte(1))), run(None));
    }

    #[test]
    fn a_chain_at_its_end_accepts_nothing_even_if_it_could_go_on() {
        let (_, all) = values(3);
        let chain = |left| Chain { tip: step(&all[0]), left, ..Chain::default() };
        let item = Item { preimage: all[0], next: None };
        assert!(chain(1).accepts(&item) && !chain(0).accepts(&item));
    }

    #[test]
    fn values_are_kept_for_so_many_epochs() {
        let mut storage = begun();
        let now = HISTORY + 5;
        for epoch in 6..=now {
            storage.store(value_slot(epoch), U256::from(epoch)).unwrap();
        }
        let of = |storage: &mut Memory, epoch| value(storage, epoch, now).unwrap();
        assert_eq!(of(&mut storage, 6), Some(U256::from(6).into()));
        assert_eq!(of(&mut storage, now), Some(U256::from(now).into()));
        assert_eq!((of(&mut storage, 5), of(&mut storage, now + 1)), (None, None));
    }
}
