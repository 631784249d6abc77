//! Whose turn it is: which of the requests that wait are tried now. Many wait for their other evaluator at the same time, as that costs
//! a thread and no work; nobody has more than a part of the places, and who was in vain waits behind others.

use std::collections::BTreeMap;
use std::sync::Arc;

use alloy_primitives::{Address, B256};
use sahara_market::request::{ANSWER_TIME, Sealed};

use super::slip::Wanted;

/// Requests that are tried at the same time; of one asset; of one asker.
pub const MOST: usize = 32;
const MOST_OF_ASSET: usize = 16;
const MOST_OF_ASKER: usize = 4;
/// Seconds of one attempt's time: both evaluators find the attempt's number by their clocks.
const WINDOW: u64 = 60;
/// The attempts of an hour, by their windows.
const ATTEMPTS: [u64; 9] = [0, 1, 2, 4, 8, 16, 32, 48, 56];
/// Askers and assets whose failures are remembered.
const MOST_REMEMBERED: usize = 4096;

/// A request that is tried.
pub struct Turn {
    /// What is asked.
    pub wanted: Arc<Wanted>,
    /// What was sealed.
    pub sealed: Arc<Sealed>,
    /// The attempt's number, and when its time begins, in seconds since 1970.
    pub attempt: (u64, u64),
}

/// The order of a node's attempts.
#[derive(Default)]
pub struct Turns {
    /// The window of the last attempt at each, and how many there were.
    attempted: BTreeMap<B256, (u64, u32)>,
    under_way: BTreeMap<B256, (Address, B256)>,
    /// Who was in vain how often since something of theirs was answered, and when that was last.
    askers: BTreeMap<Address, (u32, u64)>,
    assets: BTreeMap<B256, (u32, u64)>,
}

impl Turns {
    /// Those of the requests that wait whose turn it is at this time.
    pub fn begin(&mut self, mut waiting: Vec<(Arc<Wanted>, Arc<Sealed>)>, now: u64) -> Vec<Turn> {
        self.attempted.retain(|id, _| waiting.iter().any(|(wanted, _)| wanted.id == *id));
        forget(&mut self.askers, now);
        forget(&mut self.assets, now);
        waiting.sort_by_cached_key(|(wanted, _)| {
            let request = &wanted.request;
            let vain = self.askers.get(&request.asker).map_or(0, |(times, _)| *times);
            let attempts = self.attempted.get(&wanted.id).map_or(0, |(_, attempts)| *attempts);
            (vain, attempts, self.assets.get(&request.asset).map_or(0, |(times, _)| *times), request.number)
        });
        let mut turns = Vec::new();
        for (wanted, sealed) in waiting {
            let request = &wanted.request;
            let begun = request.until.saturating_sub(ANSWER_TIME);
            let window = now.saturating_sub(begun) / WINDOW;
            let attempts = match self.attempted.get(&wanted.id) {
                Some((last, _)) if *last == window => continue,
                known => known.map_or(0, |(_, attempts)| *attempts),
            };
            let of = |is: &dyn Fn(&(Address, B256)) -> bool| self.under_way.values().filter(|one| is(one)).count();
            let room = self.under_way.len() < MOST
                && of(&|(asker, _)| *asker == request.asker) < MOST_OF_ASKER
                && of(&|(_, asset)| *asset == request.asset) < MOST_OF_ASSET;
            if !ATTEMPTS.contains(&window) || !room || self.under_way.contains_key(&wanted.id) {
                continue;
            }
            self.attempted.insert(wanted.id, (window, attempts + 1));
            self.under_way.insert(wanted.id, (request.asker, request.asset));
            turns.push(Turn { wanted, sealed, attempt: (window, begun + window * WINDOW) });
        }
        turns
    }

    /// An attempt is over.
    pub fn ended(&mut self, id: B256, answered: bool, now: u64) {
        let Some((asker, asset)) = self.under_way.remove(&id) else { return };
        if answered {
            self.askers.remove(&asker);
            self.assets.remove(&asset);
            return;
        }
        let (askers, assets) = (self.askers.entry(asker).or_default(), self.assets.entry(asset).or_default());
        *askers = (askers.0.saturating_add(1), now);
        *assets = (assets.0.saturating_add(1), now);
    }
}

/// Forgets failures that are an hour old, and the oldest of too many.
fn forget<K: Ord + Copy>(all: &mut BTreeMap<K, (u32, u64)>, now: u64) {
    all.retain(|_, (_, last)| last.saturating_add(ANSWER_TIME) > now);
    while all.len() > MOST_REMEMBERED {
        let oldest = all.iter().min_by_key(|(_, (_, last))| *last).map(|(key, _)| *key);
        let Some(oldest) = oldest else { break };
        all.remove(&oldest);
    }
}

#[cfg(test)]
mod tests {
    use super::super::book::tests::{NOW, sealed, wanted_of};
    use super::*;

    /// What an asker waits for, under so many numbers.
    fn asked(asker: u8, asset: u8, numbers: std::ops::Range<u64>) -> Vec<(Arc<Wanted>, Arc<Sealed>)> {
        numbers.map(|number| (Arc::new(wanted_of(asker, asset, number)), Arc::new(sealed()))).collect()
    }

    fn numbers(turns: &[Turn]) -> Vec<u64> {
        turns.iter().map(|turn| turn.wanted.request.number.to::<u64>()).collect()
    }

    #[test]
    fn an_honest_request_is_tried_at_once_beside_nonsense_of_others() {
        let mut turns = Turns::default();
        let mut waiting: Vec<_> =
            (1..=10).flat_map(|asker| asked(asker, 1, u64::from(asker)..1 + u64::from(asker))).collect();
        assert_eq!(numbers(&turns.begin(waiting.clone(), NOW)).len(), 10);
        waiting.extend(asked(11, 1, 11..12));
        assert_eq!(numbers(&turns.begin(waiting, NOW + 2)), [11], "while all of them wait for their other evaluator");
    }

    #[test]
    fn nobody_has_all_places_and_who_was_in_vain_waits_behind_others() {
        let mut turns = Turns::default();
        let many = asked(1, 1, 0..16);
        let begun = turns.begin(many.clone(), NOW);
        assert_eq!(begun.len(), MOST_OF_ASKER, "of one asker");
        let others: Vec<_> =
            (2..40).flat_map(|asker| asked(asker, 1, 100 + u64::from(asker)..101 + u64::from(asker))).collect();
        assert_eq!(turns.begin(others, NOW).len(), MOST_OF_ASSET - MOST_OF_ASKER, "of one asset");
        assert_eq!(numbers(&turns.begin(asked(50, 2, 200..201), NOW)), [200], "of another asset");
        for turn in &begun {
            turns.ended(turn.wanted.id, false, NOW + 15);
        }
        let both = [many, asked(60, 1, 300..301)].concat();
        assert_eq!(numbers(&turns.begin(both, NOW + 16))[0], 300, "who was never in vain comes first");
    }

    #[test]
    fn each_window_has_one_attempt_at_a_request_and_an_answer_makes_good() {
        let mut turns = Turns::default();
        let one = asked(1, 1, 0..1);
        let at = |seconds: u64, turns: &mut Turns| turns.begin(one.clone(), NOW + seconds).len();
        assert_eq!((at(0, &mut turns), at(1, &mut turns)), (1, 0));
        turns.ended(one[0].0.id, false, NOW + 5);
        assert_eq!((at(30, &mut turns), at(60, &mut turns)), (0, 1));
        turns.ended(one[0].0.id, false, NOW + 70);
        assert_eq!((at(125, &mut turns), at(200, &mut turns)), (1, 0), "there is none in the fourth window");
        turns.ended(one[0].0.id, true, NOW + 130);
        assert!(turns.askers.is_empty() && turns.assets.is_empty());
    }
}
