//! What could be in the next block: best payers first, each sender in order of nonces.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BinaryHeap, VecDeque},
    sync::Arc,
};

use alloy_consensus::Transaction as _;
use alloy_primitives::Address;

use super::Pool;
use crate::tx::Tx;

/// A choice among what can be executed. Whoever draws from it says of each whether its sender goes on.
pub struct Best {
    base_fee: u64,
    /// The next of each sender: by tip, then whoever came first.
    heads: BinaryHeap<(u128, Reverse<u64>, Address)>,
    queues: BTreeMap<Address, VecDeque<(u64, Arc<Tx>)>>,
}

impl Best {
    /// Everything in `pool` that can be executed and pays `base_fee`. The pool may change meanwhile.
    pub fn of(pool: &Pool, base_fee: u64) -> Self {
        let pays = |tx: &Tx| tx.envelope.effective_tip_per_gas(base_fee).is_some();
        let queues: BTreeMap<Address, VecDeque<(u64, Arc<Tx>)>> = pool
            .by_sender
            .iter()
            .map(|(address, sender)| {
                let paying = sender.ready().take_while(|entry| pays(&entry.tx));
                (*address, paying.map(|entry| (entry.order, entry.tx.clone())).collect())
            })
            .collect();
        let mut best = Self { base_fee, heads: BinaryHeap::new(), queues };
        let senders: Vec<Address> = best.queues.keys().copied().collect();
        senders.into_iter().for_each(|sender| best.push(sender));
        best
    }

    /// The best that is left, with its sender out of the choice until [`Self::go_on`].
    pub fn draw(&mut self) -> Option<Arc<Tx>> {
        let (_, _, sender) = self.heads.pop()?;
        self.queues.get_mut(&sender)?.pop_front().map(|(_, tx)| tx)
    }

    /// The last that was drawn of `sender` is in the block: its next may follow.
    pub fn go_on(&mut self, sender: Address) {
        self.push(sender);
    }

    fn push(&mut self, sender: Address) {
        if let Some((order, tx)) = self.queues.get(&sender).and_then(VecDeque::front) {
            let tip = tx.envelope.effective_tip_per_gas(self.base_fee).unwrap_or(0);
            self.heads.push((tip, Reverse(*order), sender));
        }
    }
}
