//! Which records there are, and which goes first when there is no room: the oldest of the consumer who has most, so that
//! nobody washes away the evidence of what others asked.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::time::SystemTime;

use crate::identity::PublicKey;

/// Whose a record is; none for files of before they said so.
pub(super) type Owner = Option<PublicKey>;

/// A record with what belongs to it.
pub(super) struct Kept {
    /// In which store.
    pub(super) shelf: usize,
    pub(super) at: SystemTime,
    pub(super) name: String,
    pub(super) bytes: u64,
}

/// Records by the consumer of their job.
#[derive(Default)]
pub(super) struct Piles {
    of: HashMap<Owner, Pile>,
    bytes: u64,
    by_bytes: BTreeSet<(u64, Owner)>,
    by_age: BTreeSet<(SystemTime, Owner)>,
}

#[derive(Default)]
struct Pile {
    bytes: u64,
    /// Oldest first, as far as the clock did not go back.
    kept: VecDeque<Kept>,
}

impl Piles {
    /// Bytes of all.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Adds the newest record of an owner.
    pub(super) fn add(&mut self, owner: Owner, kept: Kept) {
        self.change(owner, |pile| {
            pile.bytes += kept.bytes;
            pile.kept.push_back(kept);
        });
    }

    /// The time of the oldest record there is.
    pub(super) fn oldest(&self) -> Option<SystemTime> {
        self.by_age.first().map(|(at, _)| *at)
    }

    /// Takes the oldest record out.
    pub(super) fn pop_oldest(&mut self) -> Option<Kept> {
        let (_, owner) = *self.by_age.first()?;
        self.pop(owner)
    }

    /// Takes out the oldest record of whoever has most bytes.
    pub(super) fn pop_of_largest(&mut self) -> Option<Kept> {
        let (_, owner) = *self.by_bytes.last()?;
        self.pop(owner)
    }

    fn pop(&mut self, owner: Owner) -> Option<Kept> {
        let mut popped = None;
        self.change(owner, |pile| {
            popped = pile.kept.pop_front();
            pile.bytes -= popped.as_ref().map_or(0, |kept| kept.bytes);
        });
        popped
    }

    fn change(&mut self, owner: Owner, change: impl FnOnce(&mut Pile)) {
        let pile = self.of.entry(owner).or_default();
        if let Some(first) = pile.kept.front() {
            self.by_bytes.remove(&(pile.bytes, owner));
            self.by_age.remove(&(first.at, owner));
        }
        self.bytes -= pile.bytes;
        change(pile);
        self.bytes += pile.bytes;
        match pile.kept.front() {
            Some(first) => {
                self.by_bytes.insert((pile.bytes, owner));
                self.by_age.insert((first.at, owner));
            }
            None => drop(self.of.remove(&owner)),
        }
    }
}
