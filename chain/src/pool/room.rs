//! Who must go so that a transaction can come. Decided before anybody goes: whoever is refused has moved nobody.

use std::collections::{BTreeMap, BTreeSet};

use alloy_consensus::Transaction as _;
use alloy_primitives::Address;

use super::{
    Pool, PoolError, Size,
    sender::{Sender, Worth},
};
use crate::tx::Tx;

impl Pool {
    /// Places that are given up for `tx` of the sender who has `waiting`, the cheapest first; each is outbid.
    pub(super) fn room(&self, waiting: &Sender, tx: &Tx) -> Result<Vec<(Address, u64)>, PoolError> {
        let (nonce, length) = (tx.envelope.nonce(), tx.bytes.len());
        let worth = waiting.worth_of(tx, self.base_fee);
        let old = waiting.txs.get(&nonce).map_or(0, |old| old.tx.bytes.len());
        let mut leaving = Leaving { places: vec![], freed: Size { txs: usize::from(old > 0), bytes: old } };
        if waiting.bytes - old + length > self.limits.sender_bytes
            || (old == 0 && waiting.txs.len() >= self.limits.sender_txs)
        {
            return Err(PoolError::AccountLimit);
        }
        if let Worth::Gapped(_) = worth {
            self.gapped_room(waiting, worth, tx, &mut leaving)?;
        }
        let full = |freed: Size| {
            self.len() - freed.txs >= self.limits.txs || self.bytes - freed.bytes + length > self.limits.bytes
        };
        if !full(leaving.freed) {
            return Ok(leaving.places);
        }
        if let Worth::Gapped(_) = worth {
            return Err(PoolError::Full);
        }
        // The last of each sender is worth least of what it has; behind it comes the one before.
        let tails = self.tails.as_ref().ok_or(PoolError::Full)?;
        let mut first = tails.iter().filter(|(_, sender)| *sender != tx.sender).peekable();
        let mut deeper: BTreeSet<(Worth, Address, usize)> = BTreeSet::new();
        // What each is worth is found once, however many of its places are given up.
        let mut found: BTreeMap<Address, Vec<(Worth, u64)>> = BTreeMap::new();
        while full(leaving.freed) {
            let tail = first.peek().map(|(worth, sender)| (*worth, *sender, 0));
            let next = match (tail, deeper.first().copied()) {
                (Some(tail), Some(other)) if other < tail => other,
                (Some(tail), _) => tail,
                (None, Some(other)) => other,
                (None, None) => return Err(PoolError::Full),
            };
            let (least, sender, depth) = next;
            if !worth.outbids(least) {
                return Err(PoolError::Full);
            }
            if depth == 0 {
                first.next();
            } else {
                deeper.remove(&next);
            }
            let Some(other) = self.by_sender.get(&sender) else { continue };
            let worths = found.entry(sender).or_insert_with(|| other.worths(self.base_fee));
            if let Some((_, nonce)) = worths.get(depth) {
                leaving.push(other, sender, *nonce);
            }
            if let Some((worth, _)) = worths.get(depth + 1) {
                deeper.insert((*worth, sender, depth + 1));
            }
        }
        Ok(leaving.places)
    }

    /// The same among those whose earlier nonce is missing: the nearest of each sender, then the best payers of all.
    fn gapped_room(&self, waiting: &Sender, worth: Worth, tx: &Tx, leaving: &mut Leaving) -> Result<(), PoolError> {
        let nonce = tx.envelope.nonce();
        let mut freed = leaving.freed;
        if freed.txs == 0 && waiting.gapped().count() >= self.limits.sender_gapped {
            match waiting.gapped().next_back() {
                Some(last) if last.tx.envelope.nonce() > nonce => {
                    leaving.push(waiting, tx.sender, last.tx.envelope.nonce());
                    freed = leaving.freed;
                }
                _ => return Err(PoolError::AccountLimit),
            }
        }
        let full = |freed: Size| {
            self.gaps.len() - freed.txs >= self.limits.gapped_txs
                || self.gapped_bytes - freed.bytes + tx.bytes.len() > self.limits.gapped_bytes
        };
        let mut cheapest = self.gaps.iter().filter(|(_, sender, _)| *sender != tx.sender);
        while full(freed) {
            let (fee, sender, nonce) = cheapest.next().ok_or(PoolError::Full)?;
            if !worth.outbids(Worth::Gapped(*fee)) {
                return Err(PoolError::Full);
            }
            if let Some(other) = self.by_sender.get(sender) {
                leaving.push(other, *sender, *nonce);
                freed = leaving.freed;
            }
        }
        Ok(())
    }

    /// Sorts the last of each sender by worth, unless they are sorted: only a full pool needs to know.
    pub(super) fn sort_if_full(&mut self, more: usize) {
        let full = self.len() >= self.limits.txs || self.bytes + more > self.limits.bytes;
        if full && self.tails.is_none() {
            let tail =
                |(address, sender): (&Address, &Sender)| Some((sender.worths(self.base_fee).first()?.0, *address));
            self.tails = Some(self.by_sender.iter().filter_map(tail).collect());
        }
    }
}

struct Leaving {
    places: Vec<(Address, u64)>,
    freed: Size,
}

impl Leaving {
    fn push(&mut self, of: &Sender, sender: Address, nonce: u64) {
        let Some(entry) = of.txs.get(&nonce) else { return };
        self.freed.txs += 1;
        self.freed.bytes += entry.tx.bytes.len();
        self.places.push((sender, nonce));
    }
}
