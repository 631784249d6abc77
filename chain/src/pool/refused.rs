//! Transactions that were refused, remembered for a while: they are not looked at again before.

use std::collections::{BTreeMap, VecDeque};

use alloy_primitives::B256;

/// Blocks for which it is remembered that execution refused a transaction. Whatever made it do so may have passed by then.
pub const BLOCKS: u64 = 20;

/// So many are remembered.
const MAX: usize = 8_192;

/// Hashes and reasons, by the height of the refusal, each for `BLOCKS` blocks.
pub struct Refused<R, const BLOCKS: u64> {
    reasons: BTreeMap<B256, (u64, R)>,
    order: VecDeque<(u64, B256)>,
}

impl<R, const BLOCKS: u64> Default for Refused<R, BLOCKS> {
    fn default() -> Self {
        Self { reasons: BTreeMap::new(), order: VecDeque::new() }
    }
}

impl<R, const BLOCKS: u64> Refused<R, BLOCKS> {
    /// Remembers that `hash` was refused at `height`.
    pub fn remember(&mut self, hash: B256, height: u64, reason: R) {
        if self.order.len() >= MAX {
            self.forget_oldest();
        }
        self.reasons.insert(hash, (height, reason));
        self.order.push_back((height, hash));
    }

    /// Why `hash` was refused lately.
    pub fn reason(&self, hash: B256) -> Option<&R> {
        self.reasons.get(&hash).map(|(_, reason)| reason)
    }

    /// Forgets what is old at `height`.
    pub fn turn(&mut self, height: u64) {
        while self.order.front().is_some_and(|(at, _)| at.saturating_add(BLOCKS) <= height) {
            self.forget_oldest();
        }
    }

    fn forget_oldest(&mut self) {
        let Some((at, hash)) = self.order.pop_front() else { return };
        if self.reasons.get(&hash).is_some_and(|(last, _)| *last <= at) {
            self.reasons.remove(&hash);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_is_remembered_for_its_time_and_their_number_is_bounded() {
        let mut refused = Refused::<&str, BLOCKS>::default();
        let hash = B256::with_last_byte;
        refused.remember(hash(1), 5, "why");
        refused.remember(hash(1), 7, "why now");
        refused.turn(5 + BLOCKS);
        assert_eq!(refused.reason(hash(1)), Some(&"why now"), "refused again since");
        refused.turn(7 + BLOCKS);
        assert_eq!(refused.reason(hash(1)), None);
        for n in 0..2 * MAX {
            refused.remember(alloy_primitives::keccak256(n.to_be_bytes()), 9, "");
        }
        assert_eq!((refused.reasons.len(), refused.order.len()), (MAX, MAX));
    }
}
