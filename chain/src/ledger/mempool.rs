//! What happens to transactions before a block: the check, and what a block leaves of them.

use std::sync::Arc;

use alloy_consensus::Transaction as _;
use alloy_primitives::{Address, B256, Bytes};

use super::{
    execute::RefusedTxs,
    head::Head,
    state::{Ledger, standing},
};
use crate::{
    application::TxVerdict,
    error::{Fault, StoreError},
    evm::{BlockContext, FORK, Refusal, admits},
    pool::{MAX_AUTHORIZATIONS, PoolError, Standing},
    state::Account,
    store::{Batch, Table},
    tx::{Tx, TxError},
};

/// Verdict codes: kept, and why not.
const KEPT: u32 = 0;
const MALFORMED: u32 = 1;
const IMPLAUSIBLE: u32 = 2;
const NOT_KEPT: u32 = 3;
const NOT_READY: u32 = 4;

/// Of what the engine has, a proposal looks at so many that the pool refuses, and recovers so many authorities.
const MAX_REFUSALS: usize = 1_000;
const MAX_RECOVERIES: usize = 1_024;

/// Why a transaction may not wait. The words are those of Ethereum's nodes.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AdmitError {
    /// There is no state to look at yet.
    #[error("the chain has not begun")]
    NotBegun,
    /// It is no transaction of this chain.
    #[error(transparent)]
    Tx(#[from] TxError),
    /// No block could hold it.
    #[error(transparent)]
    Rules(#[from] Refusal),
    /// The pool does not take it.
    #[error(transparent)]
    Pool(#[from] PoolError),
    /// The database failed.
    #[error(transparent)]
    Fault(#[from] Fault),
}

impl AdmitError {
    /// What the consensus engine is told.
    fn code(&self) -> u32 {
        match self {
            Self::Tx(_) => MALFORMED,
            Self::Rules(_) | Self::Pool(PoolError::FeeFloor { .. } | PoolError::TooManyAuthorizations { .. }) => {
                IMPLAUSIBLE
            }
            Self::Pool(_) => NOT_KEPT,
            Self::NotBegun | Self::Fault(_) => NOT_READY,
        }
    }
}

/// Whether `bytes` may wait in the mempool of the consensus engine: only if what comes before it waits too, and all of
/// it can pay for the next block. A mempool that is full of what cannot be executed would stay full for ever. Others
/// wait in this node's own pool.
pub fn check(ledger: &Ledger, bytes: &[u8]) -> TxVerdict {
    let kept = decode(ledger, bytes).and_then(|tx| keep(ledger, tx));
    match kept {
        Ok(Kept { tx, held_back: None, .. }) => {
            TxVerdict { code: KEPT, reason: String::new(), gas: tx.envelope.gas_limit() }
        }
        Ok(Kept { held_back: Some(why), .. }) => TxVerdict { code: NOT_KEPT, reason: why.into(), gas: 0 },
        Err(e) => TxVerdict { code: e.code(), reason: e.to_string(), gas: 0 },
    }
}

/// What the consensus engine has of `txs` and the pool may not know, for a proposal that it waits for: what costs much
/// until it is known whether it pays is left to the check, which keeps nobody waiting.
pub fn offer(ledger: &Ledger, txs: &[Bytes]) {
    let (mut refusals, mut recoveries) = (MAX_REFUSALS, MAX_RECOVERIES);
    for bytes in txs {
        let Ok(tx) = decode(ledger, bytes) else { continue };
        if ledger.pool().contains(tx.hash) {
            continue;
        }
        if tx.known_authorities().is_none() {
            let Some(left) = recoveries.checked_sub(tx.authorizations()) else { continue };
            recoveries = left;
        }
        // What the pool refuses is not proposed.
        if keep(ledger, tx).is_err() {
            let Some(left) = refusals.checked_sub(1) else { return };
            refusals = left;
        }
    }
}

impl Ledger {
    /// Takes a transaction of a client into the pool; it comes from [`Self::decode`].
    ///
    /// # Errors
    /// It may not wait, or waits already.
    pub fn admit(&self, tx: Arc<Tx>) -> Result<(), AdmitError> {
        match keep(self, tx)?.new {
            true => Ok(()),
            false => Err(PoolError::Known.into()),
        }
    }

    /// The same for whoever has bytes: decodes and admits them.
    ///
    /// # Errors
    /// They are no transaction, or one that may not wait.
    pub fn receive(&self, bytes: &[u8]) -> Result<Arc<Tx>, AdmitError> {
        let tx = decode(self, bytes)?;
        self.admit(tx.clone())?;
        Ok(tx)
    }
}

fn decode(ledger: &Ledger, bytes: &[u8]) -> Result<Arc<Tx>, AdmitError> {
    Ok(ledger.decode(bytes, base(ledger)?.as_ref())?)
}

fn base(ledger: &Ledger) -> Result<Arc<Head>, AdmitError> {
    ledger.base().ok_or(AdmitError::NotBegun)
}

/// A transaction that waits now.
struct Kept {
    tx: Arc<Tx>,
    /// It did not wait before.
    new: bool,
    /// Why it could not be in the next block.
    held_back: Option<&'static str>,
}

/// Keeps `tx` in the pool, unless it waits there already.
fn keep(ledger: &Ledger, tx: Arc<Tx>) -> Result<Kept, AdmitError> {
    loop {
        let head = base(ledger)?;
        if let Some(kept) = keep_at(ledger, &head, tx.clone())? {
            return Ok(kept);
        }
    }
}

/// The same for an account as it is after `head`. Nothing happens if a block was committed meanwhile.
fn keep_at(ledger: &Ledger, head: &Head, tx: Arc<Tx>) -> Result<Option<Kept>, AdmitError> {
    keep_with(ledger, head, tx, |tx| {
        tx.authorities();
    })
}

/// The same; `recover` finds the authorities of a transaction, when everything else speaks for it and nobody waits for
/// the pool meanwhile.
fn keep_with(ledger: &Ledger, head: &Head, tx: Arc<Tx>, recover: impl FnOnce(&Tx)) -> Result<Option<Kept>, AdmitError> {
    {
        // What waits was looked at when it came, and is whenever its account changes.
        let pool = ledger.pool();
        if pool.contains(tx.hash) {
            return Ok(Some(Kept { held_back: pool.held_back(tx.hash), tx, new: false }));
        }
        if let Some(why) = pool.turned_away(tx.hash) {
            return Err(why.clone().into());
        }
    }
    let standing = admission(head, &tx)?;
    if tx.known_authorities().is_none() {
        let mut pool = ledger.pool();
        if pool.height() > head.height {
            return Ok(None);
        }
        pool.consider(&tx, standing)?;
        drop(pool);
        recover(&tx);
    }
    let mut pool = ledger.pool();
    if pool.height() > head.height {
        // The account may have moved on.
        return Ok(None);
    }
    // A mempool that has forgotten a transaction may ask again: the answer must not change.
    match pool.insert(tx.clone(), standing) {
        Ok(()) | Err(PoolError::Known) => {}
        Err(e) => return Err(e.into()),
    }
    Ok(Some(Kept { held_back: pool.held_back(tx.hash), tx, new: true }))
}

/// Whether a block on top of `head` could hold `tx` once its turn comes, by the rules of execution itself: its sender,
/// or why not. What it must pay is the lowest base fee that there can be.
fn admission(head: &Head, tx: &Tx) -> Result<Standing, AdmitError> {
    let fees = &head.params.fees;
    let (have, want) = (tx.envelope.max_fee_per_gas(), fees.min_base_fee);
    if have < u128::from(want) {
        return Err(PoolError::FeeFloor { have, want }.into());
    }
    let (have, limit) = (tx.authorizations(), MAX_AUTHORIZATIONS);
    if have > limit {
        return Err(PoolError::TooManyAuthorizations { have, limit }.into());
    }
    let mut view = head.view();
    let account = view.account(tx.sender).map_err(Fault::from)?.unwrap_or_default();
    // Earlier ones may wait too: this one is looked at as if they had been executed.
    view.set_account(tx.sender, Account { nonce: account.nonce.max(tx.envelope.nonce()), ..account.clone() })
        .map_err(Fault::from)?;
    let block = BlockContext {
        chain_id: head.params.chain_id,
        number: head.height + 1,
        time: head.header.timestamp,
        beneficiary: Address::ZERO,
        gas_limit: fees.block_gas_limit,
        base_fee: fees.min_base_fee,
        random: B256::ZERO,
        spec: FORK,
    };
    admits(&mut view, &block, tx)??;
    Ok(Standing::from(&account))
}

/// Looks again at whoever a block changed, and forgets what its execution refused.
pub fn after_block(ledger: &Ledger, head: &Head, batch: &Batch, refused: RefusedTxs) -> Result<(), Fault> {
    let accounts = batch.iter().skip_while(|(table, ..)| *table < Table::Accounts);
    let accounts = accounts.take_while(|(table, ..)| *table == Table::Accounts);
    let changed = accounts.filter_map(|(_, key, _)| Some(Address::from(<[u8; 20]>::try_from(key).ok()?)));
    let mut pool = ledger.pool();
    let changed: Vec<Address> = changed.filter(|address| pool.has_sender(*address)).collect();
    let now: Result<Vec<_>, StoreError> =
        changed.into_iter().map(|address| Ok((address, standing(head.reader.as_ref(), address)?))).collect();
    for (tx, reason) in refused {
        pool.refuse(&tx, reason);
    }
    pool.turn(head.height, head.next_base_fee(), now?);
    Ok(())
}

#[cfg(test)]
mod tests;
