//! How a block began: what the engine said of votes and offences is in no Ethereum header, so it is kept beside the state
//! that it changed.

use crate::{
    application::{Offence, OffenceKind, Vote},
    beacon::Item,
    error::StoreError,
    store::{Batch, Reader, Table},
    validator::ConsensusAddress,
};

const VERSION: u8 = 2;

/// What the engine told at the beginning of a block, beside its transactions.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BeginBlock {
    /// Who signed the block before.
    pub votes: Vec<Vote>,
    /// Proven misbehaviour.
    pub offences: Vec<Offence>,
    /// What the block began with: its proposer's part in the beacon.
    pub item: Option<Item>,
}

impl BeginBlock {
    /// Puts it into `batch`.
    pub fn store(votes: &[Vote], offences: &[Offence], item: Option<Item>, height: u64, batch: &mut Batch) {
        let item = item.map(|item| item.encode()).unwrap_or_default();
        let mut row = vec![VERSION, u8::try_from(item.len()).unwrap_or_default()];
        row.extend(&item);
        row.extend(u32::try_from(votes.len()).unwrap_or(u32::MAX).to_be_bytes());
        for vote in votes {
            row.extend(entry(vote.validator, 0, vote.power, u8::from(vote.signed)));
        }
        for offence in offences {
            row.extend(entry(offence.validator, offence.height, offence.power, offence.kind as u8));
        }
        batch.put(Table::BeginBlocks, height.to_be_bytes(), row);
    }

    /// That of block `height`, if it is kept.
    ///
    /// # Errors
    /// When the store cannot be read, or what it holds there is damaged.
    pub fn at(reader: &dyn Reader, height: u64) -> Result<Option<Self>, StoreError> {
        let Some(row) = reader.get(Table::BeginBlocks, &height.to_be_bytes())? else { return Ok(None) };
        Self::read(&row).map(Some).ok_or_else(|| StoreError::corrupt("read how a block opened", "wrong form"))
    }

    fn read(row: &[u8]) -> Option<Self> {
        let (version, rest) = row.split_first()?;
        let (length, rest) = rest.split_first()?;
        let (item, rest) = rest.split_at_checked(usize::from(*length))?;
        let item = if item.is_empty() { None } else { Some(Item::decode(item)?) };
        let (count, rest) = rest.split_first_chunk::<4>()?;
        let (entries, []) = rest.as_chunks::<ENTRY>() else { return None };
        let count = usize::try_from(u32::from_be_bytes(*count)).ok()?;
        let (votes, offences) = entries.split_at_checked(count)?;
        if *version != VERSION {
            return None;
        }
        let vote = |entry| {
            let (validator, _, power, signed) = parts(entry)?;
            Some(Vote { validator, power, signed: signed == 1 })
        };
        let offence = |entry| {
            let (validator, height, power, kind) = parts(entry)?;
            let kind = match kind {
                1 => OffenceKind::DoubleSign,
                2 => OffenceKind::LightClientAttack,
                _ => return None,
            };
            Some(Offence { validator, height, power, kind })
        };
        Some(Self {
            votes: votes.iter().map(vote).collect::<Option<_>>()?,
            offences: offences.iter().map(offence).collect::<Option<_>>()?,
            item,
        })
    }
}

/// A vote or an offence as stored: validator, height, power, and what it is.
const ENTRY: usize = 20 + 8 + 8 + 1;

fn entry(validator: ConsensusAddress, height: u64, power: u64, what: u8) -> Vec<u8> {
    [validator.0.as_slice(), &height.to_be_bytes(), &power.to_be_bytes(), &[what]].concat()
}

fn parts(entry: &[u8; ENTRY]) -> Option<(ConsensusAddress, u64, u64, u8)> {
    let (validator, rest) = entry.split_first_chunk::<20>()?;
    let (height, rest) = rest.split_first_chunk::<8>()?;
    let (power, what) = rest.split_first_chunk::<8>()?;
    Some((ConsensusAddress(*validator), u64::from_be_bytes(*height), u64::from_be_bytes(*power), *what.first()?))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use alloy_primitives::B256;

    use super::*;
    use crate::store::{MemoryStore, Store};

    #[test]
    fn what_a_block_began_with_survives_the_store() {
        let validator = ConsensusAddress([7; 20]);
        let votes = vec![Vote { validator, power: 9, signed: true }, Vote { validator, power: 1, signed: false }];
        let offences = vec![Offence { validator, height: 3, power: 8, kind: OffenceKind::DoubleSign }];
        let (store, mut batch) = (MemoryStore::default(), Batch::default());
        let item = Some(Item { preimage: B256::repeat_byte(4), next: None });
        BeginBlock::store(&votes, &offences, item, 5, &mut batch);
        store.write(&batch).unwrap();
        let read = BeginBlock::at(store.reader().unwrap().as_ref(), 5).unwrap();
        assert_eq!(read, Some(BeginBlock { votes, offences, item }));
    }

    proptest! {
        #[test]
        fn half_a_row_and_an_unknown_offence_are_refused(
            votes in 0usize..4, offences in 1usize..4, item: bool, noise in proptest::collection::vec(any::<u8>(), 0..100),
        ) {
            let validator = ConsensusAddress([7; 20]);
            let votes = vec![Vote { validator, power: 9, signed: true }; votes];
            let offences = vec![Offence { validator, height: 3, power: 8, kind: OffenceKind::LightClientAttack }; offences];
            let item = item.then_some(Item { preimage: B256::repeat_byte(4), next: None });
            let mut batch = Batch::default();
            BeginBlock::store(&votes, &offences, item, 5, &mut batch);
            let mut row = batch.iter().next().unwrap().2.unwrap().to_vec();
            let whole = BeginBlock { votes, offences, item };
            prop_assert_eq!(BeginBlock::read(&row), Some(whole.clone()));
            for length in 0..row.len() {
                let missing = row.len() - length;
                let fewer = missing.is_multiple_of(ENTRY) && missing / ENTRY <= whole.offences.len();
                prop_assert_eq!(BeginBlock::read(&row[..length]).is_some(), fewer, "{} of {} bytes", length, row.len());
            }
            *row.last_mut().unwrap() = 3;
            prop_assert_eq!(BeginBlock::read(&row), None);

            // No bytes make it panic, and none say more than they have room for.
            let read = BeginBlock::read(&[&[VERSION, 0, 0, 0, 0], noise.as_slice()].concat());
            prop_assert!(read.is_none_or(|read| (read.votes.len() + read.offences.len()) * ENTRY <= noise.len()));
        }
    }
}
