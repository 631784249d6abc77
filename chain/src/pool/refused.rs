//! Transactions that execution refused, remembered for a while: they are not looked at again before.

use std::collections::{BTreeMap, VecDeque};

use alloy_primitives::B256;

/// For so many blocks. Whatever made execution refuse it may have passed by then.
pub const BLOCKS: u64 = 20;

/// So many are remembered.
const MAX: usize = 8_192;

/// Hashes and reasons, by the height of the refusal.
#[derive(Default)]
pub struct Refused {
    reasons: BTreeMap<B256, (u64, String)>,
    order: VecDeque<(u64, B256)>,
}

impl Refused {
    /// Remembers that `hash` was refused at `height`.
    pub fn remember(&mut self, hash: B256, height: u64, reason: String) {
        if self.order.len() >= MAX {
            self.forget_oldest();
        }
        self.reasons.insert(hash, (height, reason));
        self.order.push_back((height, hash));
    }

    /// Why `hash` was refused lately.
    pub fn reason(&self, hash: B256) -> Option<&str> {
        self.reasons.get(&hash).map(|(_, reason)| reason.as_str())
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
        let mut refused = Refused::default();
        let hash = B256::with_last_byte;
        refused.remember(hash(1), 5, "why".into());
        refused.remember(hash(1), 7, "why now".into());
        refused.turn(5 + BLOCKS);
        assert_eq!(refused.reason(hash(1)), Some("why now"), "refused again since");
        refused.turn(7 + BLOCKS);
        assert_eq!(refused.reason(hash(1)), None);
        for n in 0..2 * MAX {
            refused.remember(alloy_primitives::keccak256(n.to_be_bytes()), 9, String::new());
        }
        assert_eq!((refused.reasons.len(), refused.order.len()), (MAX, MAX));
    }
}
