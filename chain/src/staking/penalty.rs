//! What a tombstoned validator's stake answers for: all of its offences together, in whatever order they are proven.
//!
//! Each token that stood behind at least one of them pays once. What was gone when the first was proven pays the whole
//! part, wherever it is now. What was still there pays together as much as the strongest offence weighed: a later proof of
//! a stronger one takes the rest, also from what has left since.

use alloy_primitives::U256;

use super::{
    facts::BlockFacts,
    origin::Origin,
    params::{WHOLE, share},
};
use crate::{application::Offence, validator::TOKEN};

/// A penalty.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Penalty {
    /// Height of the earliest offence that is proven.
    pub height: u64,
    /// Height of the block that brought the first proof.
    pub proven: u64,
    /// Its time.
    pub time: u64,
    /// What is taken, in hundredths of a percent: as it was then.
    pub part: u64,
    /// What stood behind the validator then.
    pub stake: U256,
    /// The most weight that it had in one of the offences.
    pub power: u64,
}

impl Penalty {
    /// For the first offence that is proven, of a validator with this stake.
    pub fn first(offence: &Offence, part: u64, stake: U256, now: &BlockFacts<'_>) -> Self {
        Self { height: offence.height, proven: now.height, time: now.time, part, stake, power: offence.power }
    }

    /// The same with a further offence. One that was counted changes nothing.
    pub fn widened(&self, offence: &Offence) -> Self {
        Self { height: self.height.min(offence.height), power: self.power.max(offence.power), ..*self }
    }

    /// What it takes from `tokens` that left the validator as `origin` says and answer for it until the time `until`.
    /// `evidence` is for how many blocks an offence can be proven.
    pub fn cut(&self, tokens: U256, origin: &Origin, until: u64, evidence: u64) -> U256 {
        if self.was_there(origin) {
            self.rest(tokens, origin.power)
        } else if self.is_liable(origin, until, evidence) {
            share(tokens, self.part)
        } else {
            U256::ZERO
        }
    }

    /// Whether stake was still with the validator at the first proof.
    pub fn was_there(&self, origin: &Origin) -> bool {
        origin.height >= self.proven
    }

    /// Whether stake that was gone by then stood behind an offence. What leaves in one block has weight in the next.
    pub fn is_liable(&self, origin: &Origin, until: u64, evidence: u64) -> bool {
        origin.height.saturating_add(1) >= self.height && origin.answers(until, evidence, self.proven, self.time)
    }

    /// What it takes from `tokens` that were there at the first proof and paid for offences of the weight `paid`.
    pub fn rest(&self, tokens: U256, paid: u64) -> U256 {
        let taken = |power: u64| U256::from(self.part) * self.stake.min(TOKEN * U256::from(power));
        let left = U256::from(WHOLE) * self.stake - taken(paid);
        if left.is_zero() { U256::ZERO } else { tokens * taken(self.power).saturating_sub(taken(paid)) / left }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::{application::OffenceKind, validator::ConsensusAddress};

    fn offence(height: u64, power: u64) -> Offence {
        Offence { validator: ConsensusAddress([1; 20]), height, power, kind: OffenceKind::DoubleSign }
    }

    fn facts(known: &BTreeMap<ConsensusAddress, crate::validator::GenesisValidator>) -> BlockFacts<'_> {
        BlockFacts { height: 1_000, time: 5_000, before: 4_999, votes: &[], offences: &[], known }
    }

    #[test]
    fn every_order_of_proofs_ends_with_the_same_loss() {
        let known = BTreeMap::new();
        let stake = TOKEN * U256::from(100);
        let offences = [offence(900, 1), offence(500, 70), offence(700, 20)];
        let left = |height| Origin { validator: Default::default(), height, power: 0 };
        let outcome = |order: [usize; 3]| {
            let mut tokens = stake;
            let mut penalty = Penalty::first(&offences[order[0]], 500, stake, &facts(&known));
            tokens -= penalty.rest(tokens, 0);
            for next in &order[1..] {
                let wider = penalty.widened(&offences[*next]);
                tokens -= wider.rest(tokens, penalty.power);
                penalty = wider;
            }
            let gone = [498, 499, 600, 899, 999].map(|at| penalty.cut(stake, &left(at), 9_000, 100));
            (tokens, gone)
        };
        let part = stake / U256::from(20);
        let expected = (stake - part * U256::from(70) / U256::from(100), [U256::ZERO, part, part, part, part]);
        for order in [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]] {
            let found = outcome(order);
            assert!(found.0.abs_diff(expected.0) < U256::from(4), "{order:?}: {}", found.0);
            assert_eq!(found.1, expected.1, "{order:?}");
        }
    }

    #[test]
    fn what_left_between_two_proofs_pays_the_difference() {
        let known = BTreeMap::new();
        let stake = TOKEN * U256::from(100);
        let first = Penalty::first(&offence(900, 10), 500, stake, &facts(&known));
        let ten = stake / U256::from(10);
        let kept = ten - first.rest(ten, 0);
        let left = Origin { validator: Default::default(), height: 1_001, power: 10 };
        assert_eq!(first.cut(kept, &left, 9_000, 100), U256::ZERO, "it has paid");
        let wider = first.widened(&offence(400, 100));
        assert_eq!(kept - wider.cut(kept, &left, 9_000, 100), ten - share(ten, 500));
        assert_eq!(wider.widened(&offence(400, 100)), wider, "twice is once");
    }
}
