//! What happens to transactions before a block: the check, and what a block leaves of them.

use std::sync::Arc;

use alloy_consensus::Transaction as _;
use alloy_primitives::{Address, B256};

use super::{
    execute::RefusedTxs,
    head::Head,
    state::{Ledger, standing},
};
use crate::{
    application::{Check, TxVerdict},
    error::{Fault, StoreError},
    evm::{BlockContext, FORK, admits},
    pool::{PoolError, Standing},
    state::Account,
    store::{Batch, Table},
    tx::Tx,
};

/// Verdict codes: kept, and why not.
const KEPT: u32 = 0;
const MALFORMED: u32 = 1;
const IMPLAUSIBLE: u32 = 2;
const NOT_KEPT: u32 = 3;
const NOT_READY: u32 = 4;

/// Why a transaction may not wait.
pub struct Refusal {
    code: u32,
    pub reason: String,
}

/// Whether `bytes` may wait in the mempool of the consensus engine: only if what comes before it waits too, and all of
/// it can pay for the next block. A mempool that is full of what cannot be executed would stay full for ever. Others
/// wait in this node's own pool.
pub fn check(ledger: &Ledger, bytes: &[u8], _check: Check) -> TxVerdict {
    let kept = decode(ledger, bytes).and_then(|tx| keep(ledger, tx));
    match kept {
        Ok(Kept { tx, held_back: None, .. }) => {
            TxVerdict { code: KEPT, reason: String::new(), gas: tx.envelope.gas_limit() }
        }
        Ok(Kept { held_back: Some(why), .. }) => TxVerdict { code: NOT_KEPT, reason: why.into(), gas: 0 },
        Err(Refusal { code, reason }) => TxVerdict { code, reason, gas: 0 },
    }
}

/// Keeps `tx` of a client, who hears of it if it waits already.
fn admit(ledger: &Ledger, tx: Arc<Tx>) -> Result<(), Refusal> {
    match keep(ledger, tx)?.new {
        true => Ok(()),
        false => Err(refuse(NOT_KEPT, PoolError::Known)),
    }
}

/// The same for its bytes.
fn receive(ledger: &Ledger, bytes: &[u8]) -> Result<Arc<Tx>, Refusal> {
    let tx = decode(ledger, bytes)?;
    admit(ledger, tx.clone())?;
    Ok(tx)
}

fn decode(ledger: &Ledger, bytes: &[u8]) -> Result<Arc<Tx>, Refusal> {
    ledger.decode(bytes, base(ledger)?.as_ref()).map_err(|e| refuse(MALFORMED, e))
}

fn base(ledger: &Ledger) -> Result<Arc<Head>, Refusal> {
    ledger.base().ok_or_else(|| refuse(NOT_READY, "the chain has not begun"))
}

impl Ledger {
    /// Takes a transaction from a client of this node into the pool, or says why not in Ethereum's words. It comes from
    /// [`Self::decode`].
    pub fn admit(&self, tx: Arc<Tx>) -> Result<(), String> {
        admit(self, tx).map_err(|refusal| refusal.reason)
    }

    /// The same for whoever has bytes: decodes and admits them.
    pub fn receive(&self, bytes: &[u8]) -> Result<Arc<Tx>, String> {
        receive(self, bytes).map_err(|refusal| refusal.reason)
    }
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
fn keep(ledger: &Ledger, tx: Arc<Tx>) -> Result<Kept, Refusal> {
    loop {
        let head = base(ledger)?;
        if let Some(kept) = keep_at(ledger, &head, tx.clone())? {
            return Ok(kept);
        }
    }
}

/// The same for an account as it is after `head`. Nothing happens if a block was committed meanwhile.
fn keep_at(ledger: &Ledger, head: &Head, tx: Arc<Tx>) -> Result<Option<Kept>, Refusal> {
    {
        // What waits was looked at when it came, and is whenever its account changes.
        let pool = ledger.pool();
        if pool.contains(tx.hash) {
            return Ok(Some(Kept { held_back: pool.held_back(tx.hash), tx, new: false }));
        }
    }
    let standing = admission(head, &tx).map_err(|e| refuse(NOT_READY, e))?;
    let standing = standing.map_err(|reason| refuse(IMPLAUSIBLE, reason))?;
    let mut pool = ledger.pool();
    if pool.height() > head.height {
        // The account may have moved on.
        return Ok(None);
    }
    // A mempool that has forgotten a transaction may ask again: the answer must not change.
    match pool.insert(tx.clone(), standing) {
        Ok(()) | Err(PoolError::Known) => {}
        Err(e) => return Err(refuse(NOT_KEPT, e)),
    }
    Ok(Some(Kept { held_back: pool.held_back(tx.hash), tx, new: true }))
}

fn refuse(code: u32, reason: impl ToString) -> Refusal {
    Refusal { code, reason: reason.to_string() }
}

/// Whether a block on top of `head` could hold `tx` once its turn comes, by the rules of execution itself: its sender,
/// or why not. What it must pay is the lowest base fee that there can be.
pub fn admission(head: &Head, tx: &Tx) -> Result<Result<Standing, String>, Fault> {
    let fees = &head.params.fees;
    let (have, want) = (tx.envelope.max_fee_per_gas(), fees.min_base_fee);
    if have < u128::from(want) {
        return Ok(Err(PoolError::FeeFloor { have, want }.to_string()));
    }
    let mut view = head.view();
    let account = view.account(tx.sender)?.unwrap_or_default();
    // Earlier ones may wait too: this one is looked at as if they had been executed.
    view.set_account(tx.sender, Account { nonce: account.nonce.max(tx.envelope.nonce()), ..account.clone() })?;
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
    let admitted = admits(&mut view, &block, tx)?;
    Ok(admitted.map(|()| Standing::from(&account)).map_err(|refusal| refusal.0))
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
