//! What one sender has waiting, in order of nonces, and what that is worth to a proposer.

use std::{collections::BTreeMap, sync::Arc};

use alloy_consensus::Transaction as _;
use alloy_primitives::U256;

use super::{price::bumped, standing::Standing};
use crate::tx::Tx;

/// A transaction that waits.
#[derive(Clone)]
pub struct Entry {
    pub tx: Arc<Tx>,
    /// The most it can cost its sender.
    pub cost: U256,
    /// The height at which it came.
    pub since: u64,
    /// Its number among all that ever came.
    pub order: u64,
}

/// What a waiting transaction is worth, the least first: what cannot be executed yet; what cannot pay the base fee now,
/// by its fee; what can, by its tip.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Worth {
    /// An earlier nonce is missing. By what it would pay a gas.
    Gapped(u128),
    /// It offers less than the base fee. By what it would pay a gas.
    Unpayable(u128),
    /// It can be in the next block. By what the proposer gets a gas.
    Ready(u128),
}

impl Worth {
    /// What `tx` is worth at `base_fee` if everything before it is there.
    pub fn of(tx: &Tx, base_fee: u64) -> Self {
        match tx.envelope.effective_tip_per_gas(base_fee) {
            Some(tip) => Self::Ready(tip),
            None => Self::Unpayable(tx.envelope.max_fee_per_gas()),
        }
    }

    /// Whether it is better than `other`: by the bump of a replacement where both are of one kind.
    pub fn outbids(self, other: Self) -> bool {
        match (self, other) {
            (Self::Ready(new), Self::Ready(old))
            | (Self::Unpayable(new), Self::Unpayable(old))
            | (Self::Gapped(new), Self::Gapped(old)) => new >= bumped(old),
            _ => self > other,
        }
    }
}

/// What one sender has waiting. Nothing below its nonce is here.
#[derive(Default)]
pub struct Sender {
    pub txs: BTreeMap<u64, Entry>,
    /// The account, as it was last seen.
    pub standing: Standing,
    /// The first nonce that is missing, from the account's on.
    pub missing: u64,
    /// The most that all can cost.
    pub cost: U256,
    /// Bytes of all.
    pub bytes: usize,
    /// The least that any offers a gas; zero if none waits.
    pub least_fee: u128,
}

#[cfg(test)]
thread_local! {
    /// How often this thread found what all of a sender are worth.
    pub static FOUND: std::cell::Cell<usize> = const { std::cell::Cell::new(0) };
}

impl Sender {
    /// The first nonce that is missing, now that the account is known to be at `nonce`.
    pub fn missing_from(&self, nonce: u64) -> u64 {
        let known = self.missing.max(nonce);
        (known..).find(|n| !self.txs.contains_key(n)).unwrap_or(known)
    }

    /// Adds `entry`, whose nonce is free.
    pub fn add(&mut self, entry: Entry) {
        let (nonce, fee) = (entry.tx.envelope.nonce(), entry.tx.envelope.max_fee_per_gas());
        self.least_fee = if self.txs.is_empty() { fee } else { self.least_fee.min(fee) };
        self.cost += entry.cost;
        self.bytes += entry.tx.bytes.len();
        self.txs.insert(nonce, entry);
        self.missing = self.missing_from(self.standing.nonce);
    }

    /// Takes what is at `nonce` away.
    pub fn take(&mut self, nonce: u64) -> Option<Entry> {
        let gone = self.txs.remove(&nonce)?;
        self.cost -= gone.cost;
        self.bytes -= gone.tx.bytes.len();
        if gone.tx.envelope.max_fee_per_gas() <= self.least_fee {
            let fees = self.txs.values().map(|entry| entry.tx.envelope.max_fee_per_gas());
            self.least_fee = fees.min().unwrap_or_default();
        }
        if nonce >= self.standing.nonce {
            self.missing = self.missing.min(nonce);
        }
        Some(gone)
    }

    /// Whether everything up to `nonce` can pay `base_fee`.
    pub fn pays(&self, nonce: u64, base_fee: u64) -> bool {
        let base_fee = u128::from(base_fee);
        self.least_fee >= base_fee
            || self.txs.range(..=nonce).all(|(_, entry)| entry.tx.envelope.max_fee_per_gas() >= base_fee)
    }

    /// What can be executed one after the other.
    pub fn ready(&self) -> impl Iterator<Item = &Entry> {
        self.txs.range(..self.missing).map(|(_, entry)| entry)
    }

    /// What waits for an earlier nonce.
    pub fn gapped(&self) -> impl DoubleEndedIterator<Item = &Entry> {
        self.txs.range(self.missing..).map(|(_, entry)| entry)
    }

    /// What each is worth at `base_fee`, the last first: none is worth more than what must come before it, so the last
    /// is worth least and nothing else waits for it.
    pub fn worths(&self, base_fee: u64) -> Vec<(Worth, u64)> {
        #[cfg(test)]
        FOUND.set(FOUND.get() + 1);
        let mut least = Worth::Ready(u128::MAX);
        let mut all: Vec<(Worth, u64)> = Vec::with_capacity(self.txs.len());
        for (nonce, entry) in &self.txs {
            let own = match *nonce < self.missing {
                true => Worth::of(&entry.tx, base_fee),
                false => Worth::Gapped(entry.tx.envelope.max_fee_per_gas()),
            };
            least = least.min(own);
            all.push((least, *nonce));
        }
        all.reverse();
        all
    }

    /// What it is worth to add `tx` at its place.
    pub fn worth_of(&self, tx: &Tx, base_fee: u64) -> Worth {
        let nonce = tx.envelope.nonce();
        if nonce > self.missing {
            return Worth::Gapped(tx.envelope.max_fee_per_gas());
        }
        let before = self.txs.range(..nonce).map(|(_, entry)| Worth::of(&entry.tx, base_fee));
        before.fold(Worth::of(tx, base_fee), Worth::min)
    }
}
