//! Filters that clients have installed, and who makes room for whom.

use std::{collections::BTreeMap, net::IpAddr, time::Instant};

use alloy_primitives::U256;
use alloy_rpc_types_eth::Filter;

/// Filters at once, and addresses and topics in all of them. Beyond, filters of the client that has most of them go,
/// those first that were asked least lately.
const MAX_FILTERS: usize = 1_000;
const MAX_FILTER_WORDS: usize = 100_000;

/// Installed filters.
#[derive(Default)]
pub struct Filters {
    pub all: BTreeMap<U256, Installed>,
}

/// One of them.
pub struct Installed {
    pub kind: FilterKind,
    /// Who installed it.
    pub owner: IpAddr,
    /// When it was asked last.
    pub asked: Instant,
}

/// What is asked for, and how far it was told: a height, or how many transactions had come.
#[derive(Clone)]
pub enum FilterKind {
    Logs(Box<Filter>, u64),
    Blocks(u64),
    Pending(u64),
}

impl FilterKind {
    /// Addresses and topics that it names.
    pub fn words(&self) -> usize {
        match self {
            Self::Logs(filter, _) => words(filter),
            _ => 0,
        }
    }
}

impl Filters {
    /// Removes filters of whoever has most until the others have their place.
    pub fn make_room(&mut self) {
        loop {
            // What a filter takes: itself, and what it names.
            let mut taken: BTreeMap<IpAddr, usize> = BTreeMap::new();
            let mut words = 0;
            for filter in self.all.values() {
                *taken.entry(filter.owner).or_default() += 100 + filter.kind.words();
                words += filter.kind.words();
            }
            if self.all.len() <= MAX_FILTERS && words <= MAX_FILTER_WORDS {
                return;
            }
            let greedy = taken.into_iter().max_by_key(|(_, taken)| *taken).map(|(owner, _)| owner);
            let of_greedy = self.all.iter().filter(|(_, filter)| Some(filter.owner) == greedy);
            let Some(oldest) = of_greedy.min_by_key(|(_, filter)| filter.asked).map(|(id, _)| *id) else { return };
            self.all.remove(&oldest);
        }
    }
}

/// Addresses and topics that `filter` names.
pub fn words(filter: &Filter) -> usize {
    filter.address.len() + filter.topics.iter().map(|topics| topics.len()).sum::<usize>()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::rpc::budget::now;

    #[test]
    fn whoever_has_most_filters_makes_room_for_the_others() {
        let mut filters = Filters::default();
        let begun = now();
        let install = |filters: &mut Filters, id: u64, owner: u8| {
            let asked = begun + Duration::from_millis(id);
            let owner = IpAddr::from([10, 0, 0, owner]);
            filters.all.insert(U256::from(id), Installed { kind: FilterKind::Blocks(0), owner, asked });
            filters.make_room();
        };
        for id in 0..3 {
            install(&mut filters, id, 1);
        }
        for id in 3..3_000 {
            install(&mut filters, id, 2);
        }
        assert_eq!(filters.all.len(), MAX_FILTERS);
        assert!((0..3).all(|id| filters.all.contains_key(&U256::from(id))), "the modest client keeps its filters");
        assert!(filters.all.contains_key(&U256::from(2_999)), "the newest stays");
    }
}
