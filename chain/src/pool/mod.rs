//! Transactions that wait: in order of nonces for each sender, replaced by a better fee, limited in number. Whatever
//! takes a place here can be paid for, and gives it up to whoever pays better, to time, or to a block.

mod best;
mod delegation;
mod error;
mod price;
mod refused;
mod room;
mod sender;
mod standing;
#[cfg(test)]
mod tests;
mod turn;

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::Arc,
};

use alloy_consensus::Transaction as _;
use alloy_primitives::{Address, B256, U256};

pub use self::{
    best::Best,
    delegation::MAX_AUTHORIZATIONS,
    error::{PoolError, Shortfall},
    price::PRICE_BUMP_PERCENT,
    standing::Standing,
};
use self::{
    delegation::Delegations,
    price::replaces,
    refused::Refused,
    sender::{Entry, Sender, Worth},
};
use crate::tx::Tx;

/// Transactions in all.
pub const MAX_TXS: usize = 50_000;

/// How far ahead of its account a transaction may be: later ones wait for those before them.
pub const MAX_NONCE_GAP: u64 = 1_024;

/// After so many blocks a transaction that was not executed is forgotten: three hours at a block a second, as in geth.
pub const LIFE: u64 = 10_800;

/// The same for one whose earlier nonce is missing.
pub const GAPPED_LIFE: u64 = 600;

/// How many blocks pass between two looks for what is too old.
const SWEEP: u64 = 32;

/// Hashes that are remembered in order of arrival, for whoever follows them.
const MAX_LATEST: usize = 8_192;

/// How much may wait.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Transactions in all.
    pub txs: usize,
    /// Bytes of all transactions together.
    pub bytes: usize,
    /// Transactions of one sender.
    pub sender_txs: usize,
    /// Bytes of one sender.
    pub sender_bytes: usize,
    /// Those of one sender whose earlier nonce is missing: the nearest are kept.
    pub sender_gapped: usize,
    /// Those of all senders whose earlier nonce is missing.
    pub gapped_txs: usize,
    /// Their bytes.
    pub gapped_bytes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            txs: MAX_TXS,
            bytes: 256 << 20,
            sender_txs: 1_024,
            sender_bytes: 4 << 20,
            sender_gapped: 16,
            gapped_txs: MAX_TXS / 16,
            gapped_bytes: 16 << 20,
        }
    }
}

/// Number and bytes of transactions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Size {
    txs: usize,
    bytes: usize,
}

/// Waiting transactions.
#[derive(Default)]
pub struct Pool {
    limits: Limits,
    by_sender: BTreeMap<Address, Sender>,
    /// Sender and nonce of each.
    #[expect(clippy::disallowed_types, reason = "only looked up: its order decides nothing")]
    places: alloy_primitives::map::B256Map<(Address, u64)>,
    bytes: usize,
    /// Those whose earlier nonce is missing, by what they would pay.
    gaps: BTreeSet<(u128, Address, u64)>,
    gapped_bytes: usize,
    /// Accounts that waiting transactions would delegate.
    delegations: Delegations,
    /// The last of each sender by worth, once the pool was full at this base fee.
    tails: Option<BTreeSet<(Worth, Address)>>,
    /// What execution refused.
    refused: Refused<String, { refused::BLOCKS }>,
    /// What was refused at this height after a long look.
    turned_away: Refused<PoolError, 1>,
    height: u64,
    base_fee: u64,
    /// The last hashes that came, oldest first, and how many came in all.
    latest: VecDeque<B256>,
    arrived: u64,
}

impl Pool {
    /// An empty pool with other limits.
    pub fn with_limits(limits: Limits) -> Self {
        Self { limits, ..Self::default() }
    }

    /// Whether `tx` would be kept, as far as that can be said without recovering the signatures of its authorizations: so
    /// far it has cost its sender's own and some reading, and from here on its sender can pay for the rest.
    ///
    /// # Errors
    /// It would not be kept.
    pub fn consider(&mut self, tx: &Tx, standing: Standing) -> Result<(), PoolError> {
        let considered = self.weigh(tx, standing).map(drop);
        self.turn_away(tx, considered)
    }

    /// Keeps `tx`, which its sender at `standing` could execute if it came next, or says why not. Its authorities were
    /// recovered before ([`Tx::authorities`]): here that would keep everybody waiting.
    ///
    /// # Errors
    /// It is not kept.
    pub fn insert(&mut self, tx: Arc<Tx>, standing: Standing) -> Result<(), PoolError> {
        let weighed = self.weigh(&tx, standing);
        let weighed = weighed.and_then(|leaving| self.check_authorities(&tx).map(|()| leaving));
        for (address, nonce) in self.turn_away(&tx, weighed)? {
            self.remove_at(address, nonce);
        }
        self.place(Entry { cost: tx.max_cost(), since: self.height, order: self.arrived, tx }, standing);
        Ok(())
    }

    /// Places that are given up for `tx`, if everything but its authorities speaks for it.
    fn weigh(&mut self, tx: &Tx, standing: Standing) -> Result<Vec<(Address, u64)>, PoolError> {
        let (sender, nonce, cost) = (tx.sender, tx.envelope.nonce(), tx.max_cost());
        if self.contains(tx.hash) {
            return Err(PoolError::Known);
        }
        if let Some(reason) = self.refused.reason(tx.hash) {
            return Err(PoolError::Refused(reason.clone()));
        }
        let Some(gap) = nonce.checked_sub(standing.nonce) else {
            return Err(PoolError::NonceTooLow { sender, tx: nonce, state: standing.nonce });
        };
        if gap > MAX_NONCE_GAP {
            return Err(PoolError::NonceTooHigh { sender, tx: nonce, state: standing.nonce });
        }
        self.settle(sender, standing);
        self.sort_if_full(tx.bytes.len());
        let new = Sender { standing, missing: standing.nonce, ..Sender::default() };
        let waiting = self.by_sender.get(&sender).unwrap_or(&new);
        let old = waiting.txs.get(&nonce);
        if old.is_some_and(|old| !replaces(tx, &old.tx)) {
            return Err(PoolError::Underpriced);
        }
        let queued = waiting.cost - old.map_or(U256::ZERO, |old| old.cost);
        let overshot = queued.saturating_add(cost).saturating_sub(standing.balance);
        if !overshot.is_zero() {
            let shortfall = Shortfall { balance: standing.balance, queued, cost, overshot };
            return Err(PoolError::Overdraft(Box::new(shortfall)));
        }
        self.check_delegation(waiting, tx)?;
        self.room(waiting, tx)
    }

    /// Why the transaction with `hash` was refused after a long look, if no block has come since: it is not looked at
    /// again before.
    pub fn turned_away(&self, hash: B256) -> Option<&PoolError> {
        self.turned_away.reason(hash)
    }

    /// Remembers refusals that a block can change, of transactions that are dear to look at, and those that it took a walk
    /// through the pool to find.
    fn turn_away<T>(&mut self, tx: &Tx, weighed: Result<T, PoolError>) -> Result<T, PoolError> {
        if let Err(why) = &weighed {
            let dear = match why {
                PoolError::Full | PoolError::AuthorityReserved => true,
                PoolError::AccountLimit | PoolError::InFlight | PoolError::DelegatedGap => tx.authorizations() > 0,
                _ => false,
            };
            if dear {
                self.turned_away.remember(tx.hash, self.height, why.clone());
            }
        }
        weighed
    }

    fn place(&mut self, entry: Entry, standing: Standing) {
        let tx = entry.tx.clone();
        let nonce = tx.envelope.nonce();
        self.delegations.add(&tx);
        self.places.insert(tx.hash, (tx.sender, nonce));
        self.bytes += tx.bytes.len();
        // One change: what comes after a transaction that is replaced never has a gap before it.
        let replaced = self.change(tx.sender, |waiting| {
            if waiting.txs.is_empty() {
                (waiting.standing, waiting.missing) = (standing, standing.nonce);
            }
            let replaced = waiting.take(nonce);
            waiting.add(entry);
            replaced
        });
        if let Some(replaced) = replaced {
            self.forget(&replaced.tx);
        }
        if self.latest.len() >= MAX_LATEST {
            self.latest.pop_front();
        }
        self.latest.push_back(tx.hash);
        self.arrived += 1;
    }

    /// Forgets `tx`, which execution refused, and does not take it back for a while.
    pub fn refuse(&mut self, tx: &Tx, reason: String) {
        self.remove(tx);
        self.refused.remember(tx.hash, self.height, reason);
    }

    /// Forgets `tx`.
    pub fn remove(&mut self, tx: &Tx) {
        if let Some((sender, nonce)) = self.places.get(&tx.hash).copied() {
            self.remove_at(sender, nonce);
        }
    }

    fn remove_at(&mut self, sender: Address, nonce: u64) {
        if !self.by_sender.get(&sender).is_some_and(|waiting| waiting.txs.contains_key(&nonce)) {
            return;
        }
        let gone = self.change(sender, |waiting| waiting.take(nonce));
        if let Some(gone) = gone {
            self.forget(&gone.tx);
        }
    }

    /// Forgets `tx`, which its sender has no longer waiting.
    fn forget(&mut self, tx: &Tx) {
        self.places.remove(&tx.hash);
        self.bytes -= tx.bytes.len();
        self.delegations.remove(tx);
    }

    /// Changes what `sender` has waiting, and everything that is counted over all senders with it.
    fn change<R>(&mut self, sender: Address, change: impl FnOnce(&mut Sender) -> R) -> R {
        let waiting = self.by_sender.entry(sender).or_default();
        for entry in waiting.gapped() {
            let tx = &entry.tx;
            self.gaps.remove(&(tx.envelope.max_fee_per_gas(), sender, tx.envelope.nonce()));
            self.gapped_bytes -= tx.bytes.len();
        }
        if let Some(tails) = &mut self.tails
            && let Some((worth, _)) = waiting.worths(self.base_fee).first()
        {
            tails.remove(&(*worth, sender));
        }
        let result = change(waiting);
        for entry in waiting.gapped() {
            let tx = &entry.tx;
            self.gaps.insert((tx.envelope.max_fee_per_gas(), sender, tx.envelope.nonce()));
            self.gapped_bytes += tx.bytes.len();
        }
        if let Some(tails) = &mut self.tails
            && let Some((worth, _)) = waiting.worths(self.base_fee).first()
        {
            tails.insert((*worth, sender));
        }
        if waiting.txs.is_empty() {
            self.by_sender.remove(&sender);
        }
        result
    }

    /// The waiting transaction with `hash`.
    pub fn find(&self, hash: B256) -> Option<Arc<Tx>> {
        let (sender, nonce) = self.places.get(&hash)?;
        self.by_sender.get(sender)?.txs.get(nonce).map(|entry| entry.tx.clone())
    }

    /// Whether the transaction with `hash` waits.
    pub fn contains(&self, hash: B256) -> bool {
        self.places.contains_key(&hash)
    }

    /// Whether `sender` has anything waiting.
    pub fn has_sender(&self, sender: Address) -> bool {
        self.by_sender.contains_key(&sender)
    }

    /// The nonce after all that `sender` has waiting without a gap from `nonce` on.
    pub fn next_nonce(&self, sender: Address, nonce: u64) -> u64 {
        self.by_sender.get(&sender).map_or(nonce, |waiting| waiting.missing_from(nonce))
    }

    /// Why the waiting transaction with `hash` could not be in the next block, if so.
    pub fn held_back(&self, hash: B256) -> Option<&'static str> {
        let Some((sender, nonce)) = self.places.get(&hash) else { return Some("it does not wait") };
        let sender = self.by_sender.get(sender)?;
        if *nonce >= sender.missing {
            return Some("an earlier nonce is missing");
        }
        match sender.pays(*nonce, self.base_fee) {
            true => None,
            false => Some("max fee per gas less than block base fee: it waits in this node"),
        }
    }

    /// Whether something could be in the next block.
    pub fn has_ready(&self) -> bool {
        let pays = |entry: &Entry| entry.tx.envelope.max_fee_per_gas() >= u128::from(self.base_fee);
        self.by_sender.values().any(|sender| sender.ready().next().is_some_and(pays))
    }

    /// The height of the last block that it heard of.
    pub fn height(&self) -> u64 {
        self.height
    }

    /// The base fee of the next block.
    pub fn base_fee(&self) -> u64 {
        self.base_fee
    }

    /// Everything that waits.
    pub fn all(&self) -> impl Iterator<Item = &Arc<Tx>> {
        self.by_sender.values().flat_map(|waiting| waiting.txs.values().map(|entry| &entry.tx))
    }

    /// How many transactions were ever kept.
    pub fn arrived(&self) -> u64 {
        self.arrived
    }

    /// The transactions that came after the first `seen`, as far as they are remembered.
    pub fn since(&self, seen: u64) -> Vec<B256> {
        let fresh = usize::try_from(self.arrived.saturating_sub(seen)).unwrap_or(usize::MAX);
        let skip = self.latest.len().saturating_sub(fresh);
        self.latest.iter().skip(skip).copied().collect()
    }

    /// How many wait.
    pub fn len(&self) -> usize {
        self.places.len()
    }

    /// Whether none waits.
    pub fn is_empty(&self) -> bool {
        self.places.is_empty()
    }
}
