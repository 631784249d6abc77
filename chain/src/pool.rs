//! Transactions that wait: in order of nonces for each sender, replaced by a better fee, limited in number.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::Arc,
};

use alloy_consensus::Transaction as _;
use alloy_primitives::{Address, B256, U256};

use crate::{error::StoreError, evm::TX_GAS_CAP, tx::Tx};

/// Transactions in all.
pub const MAX_TXS: usize = 50_000;

/// Bytes of all transactions together.
pub const MAX_BYTES: usize = 256 << 20;

/// How far ahead of its account a transaction may be: later ones wait for those before them.
pub const MAX_NONCE_GAP: u64 = 1_024;

/// Hashes that are remembered in order of arrival, for whoever follows them.
const MAX_LATEST: usize = 8_192;

/// A replacement pays this many percent more at least.
pub const PRICE_BUMP_PERCENT: u128 = 10;

/// Gas of a block, the price of gas in it, its bytes.
#[derive(Clone, Copy, Debug)]
pub struct BlockLimits {
    /// Gas of all transactions together.
    pub gas: u64,
    /// What each must offer at least.
    pub base_fee: u64,
    /// Bytes of all transactions together.
    pub bytes: u64,
}

/// What an account may do next.
#[derive(Clone, Copy, Debug, Default)]
pub struct Standing {
    /// The nonce of its next transaction.
    pub nonce: u64,
    /// What it owns.
    pub balance: U256,
}

/// Why a transaction is not kept. The words are those of geth.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[expect(missing_docs, reason = "the messages say it")]
pub enum PoolError {
    #[error("already known")]
    Known,
    #[error("nonce too low: address {sender}, tx: {tx} state: {state}")]
    NonceTooLow { sender: Address, tx: u64, state: u64 },
    #[error("nonce too high: address {sender}, tx: {tx} state: {state}")]
    NonceTooHigh { sender: Address, tx: u64, state: u64 },
    #[error("insufficient funds for gas * price + value: address {sender} have {have} want {want}")]
    Funds { sender: Address, have: U256, want: U256 },
    #[error("replacement transaction underpriced")]
    Underpriced,
    #[error("transaction underpriced: gas fee cap {have}, minimum needed {want}")]
    FeeFloor { have: u128, want: u64 },
    #[error("max priority fee per gas higher than max fee per gas")]
    TipAboveFee,
    #[error("exceeds block gas limit")]
    GasLimit,
    #[error("transaction gas limit too high (cap: {TX_GAS_CAP}, tx: {0})")]
    GasCap(u64),
    #[error("intrinsic gas too low: have {have}, want {want}")]
    Intrinsic { have: u64, want: u64 },
    #[error("txpool is full")]
    Full,
}

/// What can be said of a transaction without knowing the order of others: it could be executed at some time.
pub fn plausible(tx: &Tx, standing: Standing, gas_limit: u64, min_base_fee: u64) -> Result<(), PoolError> {
    let fields = &tx.envelope;
    let (sender, gas) = (tx.sender, fields.gas_limit());
    if fields.nonce() < standing.nonce {
        return Err(PoolError::NonceTooLow { sender, tx: fields.nonce(), state: standing.nonce });
    }
    if fields.max_priority_fee_per_gas().is_some_and(|tip| tip > fields.max_fee_per_gas()) {
        return Err(PoolError::TipAboveFee);
    }
    if fields.max_fee_per_gas() < u128::from(min_base_fee) {
        return Err(PoolError::FeeFloor { have: fields.max_fee_per_gas(), want: min_base_fee });
    }
    if gas > gas_limit {
        return Err(PoolError::GasLimit);
    }
    if gas > TX_GAS_CAP {
        return Err(PoolError::GasCap(gas));
    }
    if gas < tx.least_gas {
        return Err(PoolError::Intrinsic { have: gas, want: tx.least_gas });
    }
    if tx.max_cost() > standing.balance {
        return Err(PoolError::Funds { sender, have: standing.balance, want: tx.max_cost() });
    }
    Ok(())
}

/// What one sender has waiting.
#[derive(Default)]
struct Waiting {
    txs: BTreeMap<u64, Arc<Tx>>,
    /// The first nonce that is missing, from the account's on.
    missing: u64,
}

impl Waiting {
    /// The first nonce that is missing, now that the account is known to be at `nonce`.
    fn missing_from(&self, nonce: u64) -> u64 {
        let known = self.missing.max(nonce);
        (known..).find(|n| !self.txs.contains_key(n)).unwrap_or(known)
    }
}

/// Waiting transactions.
#[derive(Default)]
pub struct Pool {
    by_sender: BTreeMap<Address, Waiting>,
    /// Sender and nonce of each.
    places: BTreeMap<B256, (Address, u64)>,
    bytes: usize,
    /// The last hashes that came, oldest first, and how many came in all.
    latest: VecDeque<B256>,
    arrived: u64,
}

impl Pool {
    /// Keeps `tx`, which is [`plausible`], or says why not.
    pub fn insert(&mut self, tx: Arc<Tx>, standing: Standing) -> Result<(), PoolError> {
        let nonce = tx.envelope.nonce();
        if self.contains(tx.hash) {
            return Err(PoolError::Known);
        }
        if nonce - standing.nonce.min(nonce) > MAX_NONCE_GAP {
            return Err(PoolError::NonceTooHigh { sender: tx.sender, tx: nonce, state: standing.nonce });
        }
        let old = self.by_sender.get(&tx.sender).and_then(|waiting| waiting.txs.get(&nonce)).cloned();
        match old {
            Some(old) if !outbids(&tx, &old) => return Err(PoolError::Underpriced),
            Some(old) => self.remove(&old),
            None if self.len() >= MAX_TXS || self.bytes + tx.bytes.len() > MAX_BYTES => return Err(PoolError::Full),
            None => {}
        }
        let hash = tx.hash;
        self.places.insert(hash, (tx.sender, nonce));
        self.bytes += tx.bytes.len();
        let waiting = self.by_sender.entry(tx.sender).or_default();
        waiting.txs.insert(nonce, tx);
        waiting.missing = waiting.missing_from(standing.nonce);
        if self.latest.len() >= MAX_LATEST {
            self.latest.pop_front();
        }
        self.latest.push_back(hash);
        self.arrived += 1;
        Ok(())
    }

    /// The waiting transaction with `hash`.
    pub fn find(&self, hash: B256) -> Option<Arc<Tx>> {
        let (sender, nonce) = self.places.get(&hash)?;
        self.by_sender.get(sender)?.txs.get(nonce).cloned()
    }

    /// Whether the transaction with `hash` waits.
    pub fn contains(&self, hash: B256) -> bool {
        self.places.contains_key(&hash)
    }

    /// The nonce after all that `sender` has waiting without a gap from `nonce` on.
    pub fn next_nonce(&self, sender: Address, nonce: u64) -> u64 {
        self.by_sender.get(&sender).map_or(nonce, |waiting| waiting.missing_from(nonce))
    }

    /// Whether everything that must come before `tx`, from `nonce` of its account on, waits too.
    pub fn follows(&self, tx: &Tx, nonce: u64) -> bool {
        self.by_sender.get(&tx.sender).is_some_and(|waiting| tx.envelope.nonce() < waiting.missing_from(nonce))
    }

    /// Forgets what `sender` has waiting below `nonce`.
    pub fn advance(&mut self, sender: Address, nonce: u64) {
        let Some(waiting) = self.by_sender.get_mut(&sender) else { return };
        let later = waiting.txs.split_off(&nonce);
        let gone = std::mem::replace(&mut waiting.txs, later);
        waiting.missing = waiting.missing_from(nonce);
        if waiting.txs.is_empty() {
            self.by_sender.remove(&sender);
        }
        gone.values().for_each(|tx| self.forget(tx));
    }

    /// Forgets `tx`.
    pub fn remove(&mut self, tx: &Tx) {
        if !self.contains(tx.hash) {
            return;
        }
        self.forget(tx);
        let Some(waiting) = self.by_sender.get_mut(&tx.sender) else { return };
        waiting.txs.remove(&tx.envelope.nonce());
        waiting.missing = waiting.missing.min(tx.envelope.nonce());
        if waiting.txs.is_empty() {
            self.by_sender.remove(&tx.sender);
        }
    }

    fn forget(&mut self, tx: &Tx) {
        self.places.remove(&tx.hash);
        self.bytes -= tx.bytes.len();
    }

    /// Everything that waits.
    pub fn all(&self) -> impl Iterator<Item = &Arc<Tx>> {
        self.by_sender.values().flat_map(|waiting| waiting.txs.values())
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

fn outbids(new: &Tx, old: &Tx) -> bool {
    let bump = |old: u128| (old.saturating_mul(PRICE_BUMP_PERCENT) / 100).max(1);
    let enough = |new: u128, old: u128| new >= old.saturating_add(bump(old));
    enough(new.envelope.max_fee_per_gas(), old.envelope.max_fee_per_gas())
        && enough(new.envelope.priority_fee_or_price(), old.envelope.priority_fee_or_price())
}

/// Checks the transactions of a block one after the other, as every node does when it votes: nonces follow each other,
/// each can be paid for, all fit. A block whose transactions all pass is one that an honest node can propose.
pub struct Admission<F> {
    standing: F,
    limits: BlockLimits,
    gas: u64,
    bytes: u64,
    touched: BTreeMap<Address, Standing>,
}

impl<F: FnMut(Address) -> Result<Standing, StoreError>> Admission<F> {
    /// Begins a block with `limits`, where `standing` tells of an account before the block.
    pub fn new(limits: BlockLimits, standing: F) -> Self {
        Self { standing, limits, gas: 0, bytes: 0, touched: BTreeMap::new() }
    }

    /// Takes `tx` as the next of the block, or leaves it out.
    pub fn admit(&mut self, tx: &Tx) -> Result<bool, StoreError> {
        let gas = self.gas.saturating_add(tx.envelope.gas_limit());
        let length = u64::try_from(tx.bytes.len()).unwrap_or(u64::MAX);
        // A transaction is framed in the block: a tag and a length.
        let bytes = self.bytes.saturating_add(length).saturating_add(8);
        if gas > self.limits.gas || bytes > self.limits.bytes {
            return Ok(false);
        }
        let standing = match self.touched.get(&tx.sender) {
            Some(standing) => *standing,
            None => (self.standing)(tx.sender)?,
        };
        if tx.envelope.nonce() != standing.nonce
            || plausible(tx, standing, self.limits.gas, self.limits.base_fee).is_err()
        {
            return Ok(false);
        }
        let after = Standing { nonce: standing.nonce + 1, balance: standing.balance - tx.max_cost() };
        self.touched.insert(tx.sender, after);
        (self.gas, self.bytes) = (gas, bytes);
        Ok(true)
    }
}

/// Chooses from `candidates` for a block: best tip first, each sender in order of nonces.
pub fn select(
    candidates: impl IntoIterator<Item = Arc<Tx>>,
    limits: BlockLimits,
    standing: impl FnMut(Address) -> Result<Standing, StoreError>,
) -> Result<Vec<Arc<Tx>>, StoreError> {
    let tip = |tx: &Tx| tx.envelope.effective_tip_per_gas(limits.base_fee);
    let mut queues: BTreeMap<Address, BTreeMap<u64, Arc<Tx>>> = BTreeMap::new();
    for tx in candidates {
        let queue = queues.entry(tx.sender).or_default();
        let nonce = tx.envelope.nonce();
        if queue.get(&nonce).is_none_or(|other| tip(&tx) > tip(other)) {
            queue.insert(nonce, tx);
        }
    }
    // The best head of all queues: by tip, then by hash, so that everyone would choose the same.
    let mut heads: BTreeSet<(u128, B256, Address)> = BTreeSet::new();
    let push = |heads: &mut BTreeSet<_>, queue: &BTreeMap<u64, Arc<Tx>>| {
        if let Some(tx) = queue.values().next() {
            heads.insert((tip(tx).unwrap_or(0), tx.hash, tx.sender));
        }
    };
    for queue in queues.values() {
        push(&mut heads, queue);
    }
    let mut admission = Admission::new(limits, standing);
    let mut chosen = Vec::new();
    while let Some((_, _, sender)) = heads.pop_last() {
        let Some(queue) = queues.get_mut(&sender) else { continue };
        let Some((_, tx)) = queue.pop_first() else { continue };
        if admission.admit(&tx)? {
            chosen.push(tx);
        }
        // Also after a refusal: what was refused may have been executed already, with its follower still good.
        push(&mut heads, queue);
    }
    Ok(chosen)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        genesis::{DEV_ACCOUNTS, DEV_CHAIN_ID},
        wallet::{Payment, Wallet},
    };

    fn tx(nonce: u64, max_fee: u128) -> Arc<Tx> {
        let wallet = Wallet::new(DEV_ACCOUNTS[0].1, DEV_CHAIN_ID).unwrap();
        let to = Some(Address::ZERO);
        let payment = Payment { nonce, to, gas_limit: 21_000, max_fee, tip: max_fee / 2, ..Payment::default() };
        Arc::new(Tx::decode(&wallet.pay(&payment).unwrap(), DEV_CHAIN_ID).unwrap())
    }

    #[test]
    fn a_better_fee_replaces_and_everything_is_counted() {
        let standing = Standing { nonce: 0, balance: U256::MAX };
        let mut pool = Pool::default();
        let (first, cheap, better) = (tx(0, 1_000), tx(0, 1_050), tx(0, 1_100));
        pool.insert(first.clone(), standing).unwrap();
        assert_eq!(pool.insert(first.clone(), standing), Err(PoolError::Known));
        assert_eq!(pool.insert(cheap, standing), Err(PoolError::Underpriced));
        pool.insert(better.clone(), standing).unwrap();
        assert!(pool.find(first.hash).is_none());
        assert_eq!(pool.find(better.hash).unwrap().hash, better.hash);
        let third = tx(2, 1_000);
        pool.insert(third.clone(), standing).unwrap();
        assert!(pool.follows(&better, 0) && !pool.follows(&third, 0), "the second is missing");
        pool.insert(tx(1, 1_000), standing).unwrap();
        assert!(pool.follows(&third, 0));
        pool.remove(&tx(1, 1_000));
        assert!(pool.follows(&better, 0) && !pool.follows(&third, 0));
        assert_eq!((pool.len(), pool.next_nonce(better.sender, 0)), (2, 1));
        assert!(matches!(pool.insert(tx(2_000, 1), standing), Err(PoolError::NonceTooHigh { .. })));
        pool.remove(&first);
        assert_eq!(pool.len(), 2, "what was replaced is gone already");
        pool.advance(better.sender, 1);
        assert_eq!(pool.all().map(|tx| tx.envelope.nonce()).collect::<Vec<_>>(), [2]);
        assert!(pool.follows(&third, 2), "the account has moved on");
        pool.advance(better.sender, 3);
        assert!(pool.is_empty() && pool.bytes == 0);
    }
}
