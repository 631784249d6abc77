//! What rounds take of a node, over all its seats: looked at and held at once, so that no number of lanes at a time has more.
//!
//! A coordinator has at most half of what others leave: a few keys do not have all.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::identity::PublicKey;
use crate::wire::MAX_ROUNDS;

/// Most rounds of one coordinator that are not over.
pub(in crate::node) const MOST_OF_ONE: usize = 8;
/// Of the memory of jobs, what all rounds together may have: one in so many.
const PART: u64 = 2;
/// Of what others leave, what one coordinator may have: one in so many.
const OF_ONE: u64 = 2;

/// What is held for rounds.
pub(in crate::node) struct Places {
    /// Bytes for all rounds together.
    bytes: u64,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    all: Held,
    of: HashMap<PublicKey, Held>,
}

#[derive(Clone, Copy, Default, Debug, PartialEq)]
struct Held {
    rounds: usize,
    bytes: u64,
}

/// A part of it; free again when dropped.
pub(in crate::node) struct Place {
    places: Arc<Places>,
    coordinator: PublicKey,
    held: Held,
}

/// Why there is no place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::node) enum Full {
    /// For so large a round there is none at all.
    Round,
    /// The coordinator's own rounds take too many bytes, or are too many.
    Own,
    /// All rounds are.
    All,
}

impl Places {
    /// Of a node with so many bytes for jobs.
    pub(in crate::node) fn new(job_memory: u64) -> Arc<Self> {
        Arc::new(Self { bytes: job_memory / PART, state: Mutex::default() })
    }

    /// Holds a place, and bytes, for a round until it is over, and bytes for as long as it is remembered.
    pub(in crate::node) fn take(
        self: &Arc<Self>,
        coordinator: PublicKey,
        working: u64,
        kept: u64,
    ) -> Result<(Place, Place), Full> {
        let bytes = working.saturating_add(kept);
        if bytes > self.bytes / OF_ONE {
            return Err(Full::Round);
        }
        let mut state = self.lock();
        let own = state.of.get(&coordinator).copied().unwrap_or_default();
        let others = Held { rounds: state.all.rounds - own.rounds, bytes: state.all.bytes - own.bytes };
        let (free, places) = (self.bytes.saturating_sub(others.bytes), MAX_ROUNDS.saturating_sub(others.rounds));
        if own.rounds >= MOST_OF_ONE || own.bytes + bytes > self.bytes / OF_ONE {
            return Err(Full::Own);
        }
        if own.rounds + 1 > places.div_ceil(OF_ONE as usize) || own.bytes + bytes > free / OF_ONE {
            return Err(Full::All);
        }
        let mut place = |rounds, bytes| {
            let held = Held { rounds, bytes };
            state.add(coordinator, held);
            Place { places: self.clone(), coordinator, held }
        };
        Ok((place(1, working), place(0, kept)))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn add(&mut self, coordinator: PublicKey, held: Held) {
        for sum in [&mut self.all, self.of.entry(coordinator).or_default()] {
            *sum = Held { rounds: sum.rounds + held.rounds, bytes: sum.bytes + held.bytes };
        }
    }

    fn give_back(&mut self, coordinator: &PublicKey, held: Held) {
        let less = |sum: &mut Held| {
            *sum = Held { rounds: sum.rounds.saturating_sub(held.rounds), bytes: sum.bytes.saturating_sub(held.bytes) };
            *sum == Held::default()
        };
        less(&mut self.all);
        if self.of.get_mut(coordinator).is_some_and(less) {
            self.of.remove(coordinator);
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.places.lock().give_back(&self.coordinator, self.held);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: PublicKey = PublicKey([1; 32]);

    fn places(keys: u8, rounds: usize, bytes: u64) -> (Arc<Places>, Vec<(Place, Place)>) {
        let places = Places::new(1600);
        let asked = &places;
        let take = |key| std::iter::from_fn(move || asked.take(PublicKey([key; 32]), bytes, 0).ok()).take(rounds);
        let held = (2..2 + keys).flat_map(take).collect();
        (places, held)
    }

    #[test]
    fn one_key_has_eight_rounds_and_half_of_the_bytes_that_others_leave() {
        let (places, _none) = places(0, 0, 0);
        assert_eq!(places.take(KEY, 300, 101).err(), Some(Full::Round));
        let first = places.take(KEY, 300, 90).unwrap();
        assert_eq!(places.take(KEY, 11, 0).err(), Some(Full::Own));
        let more: Vec<_> = (0..7).map(|_| places.take(KEY, 1, 0).unwrap()).collect();
        assert_eq!(places.take(KEY, 1, 0).err(), Some(Full::Own));
        // What is over keeps bytes, and no place.
        let (working, _kept) = first;
        drop(working);
        assert_eq!(places.lock().all, Held { rounds: 7, bytes: 97 });
        assert!(places.take(KEY, 1, 0).is_ok());
        drop((more, _kept));
        assert!(places.lock().of.is_empty() && places.lock().all == Held::default());
    }

    #[test]
    fn a_few_keys_that_take_all_they_get_leave_something() {
        let (full, _held) = places(32, 8, 0);
        assert_eq!(full.lock().all.rounds, 252, "eight each, but for the last one");
        assert!(full.take(KEY, 0, 0).is_ok());
        let (full, held) = places(7, 1, 100);
        assert_eq!(held.len(), 7);
        assert!(full.take(KEY, 50, 0).is_ok() && full.take(KEY, 51, 0).err() == Some(Full::All));
    }

    /// Many lanes at a time.
    #[test]
    fn no_more_is_held_than_there_is_whoever_asks_at_the_same_time() {
        let (places, _none) = places(0, 0, 0);
        let held = std::thread::scope(|scope| {
            let lanes: Vec<_> = (0..64).map(|_| scope.spawn(|| places.take(KEY, 1, 1).ok())).collect();
            lanes.into_iter().filter_map(|lane| lane.join().ok().flatten()).collect::<Vec<_>>()
        });
        assert_eq!(held.len(), MOST_OF_ONE);
    }
}
