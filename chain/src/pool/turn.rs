//! What a block changes for those who wait: accounts move on or lose what would pay, and time passes.

use alloy_consensus::Transaction as _;
use alloy_primitives::Address;

use super::{GAPPED_LIFE, LIFE, Pool, SWEEP, Standing, sender::Entry};

impl Pool {
    /// A block at `height` was committed, the next one has `base_fee`, and these accounts changed.
    pub fn turn(&mut self, height: u64, base_fee: u64, changed: impl IntoIterator<Item = (Address, Standing)>) {
        (self.height, self.base_fee, self.tails) = (height, base_fee, None);
        self.refused.turn(height);
        self.turned_away.turn(height);
        for (sender, standing) in changed {
            self.settle(sender, standing);
        }
        if height.is_multiple_of(SWEEP) {
            self.sweep();
        }
    }

    /// Forgets what its sender, now at `standing`, has behind it or cannot pay for any more.
    pub(super) fn settle(&mut self, sender: Address, standing: Standing) {
        let Some(waiting) = self.by_sender.get(&sender) else { return };
        if waiting.standing == standing {
            return;
        }
        let mut left = standing.balance;
        let mut going: Vec<u64> = waiting.txs.range(..standing.nonce).map(|(nonce, _)| *nonce).collect();
        let later = waiting.txs.range(standing.nonce..);
        let allowed = if standing.delegated { 1 } else { usize::MAX };
        let paid = later.clone().take(allowed).take_while(|(_, entry)| {
            let enough = left >= entry.cost;
            left = left.saturating_sub(entry.cost);
            enough
        });
        let paid = paid.count();
        // The last first: what is before it stays in order meanwhile.
        let unpaid: Vec<u64> = later.skip(paid).map(|(nonce, _)| *nonce).collect();
        going.extend(unpaid.into_iter().rev());
        self.change(sender, |waiting| waiting.standing = standing);
        for nonce in going {
            self.remove_at(sender, nonce);
        }
        if self.by_sender.contains_key(&sender) {
            self.change(sender, |waiting| waiting.missing = waiting.missing_from(standing.nonce));
        }
    }

    /// Forgets what waited too long, and what comes after it.
    fn sweep(&mut self) {
        let height = self.height;
        let old = |entry: &Entry, life: u64| entry.since.saturating_add(life) <= height;
        let mut going = Vec::new();
        for (address, sender) in &self.by_sender {
            let expired = sender.ready().find(|entry| old(entry, LIFE)).map(|entry| entry.tx.envelope.nonce());
            let alive = expired.unwrap_or(u64::MAX);
            let late = sender.txs.range(alive..).map(|(nonce, _)| *nonce);
            let gapped = sender.gapped().filter(|entry| old(entry, GAPPED_LIFE)).map(|entry| entry.tx.envelope.nonce());
            going.extend(late.chain(gapped).rev().map(|nonce| (*address, nonce)));
        }
        for (sender, nonce) in going {
            self.remove_at(sender, nonce);
        }
    }
}
