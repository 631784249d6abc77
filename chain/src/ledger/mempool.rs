//! What happens to transactions before a block: the check, and what a block leaves of them.

use std::sync::Arc;

use alloy_consensus::Transaction as _;

use super::{Head, Ledger, standing};
use crate::{
    application::{Check, TxVerdict},
    error::{Fault, StoreError},
    pool::{PoolError, plausible},
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

/// Whether `bytes` may wait in the mempool of the consensus engine: only if what comes before it waits too. A mempool
/// that is full of what cannot be executed would stay full for ever. Others wait in this node's own pool.
pub fn check(ledger: &Ledger, bytes: &[u8], _check: Check) -> TxVerdict {
    match keep(ledger, bytes) {
        Ok(Kept { tx, follows: true, .. }) => {
            TxVerdict { code: KEPT, reason: String::new(), gas: tx.envelope.gas_limit() }
        }
        Ok(_) => TxVerdict { code: NOT_KEPT, reason: "an earlier nonce is missing".into(), gas: 0 },
        Err(Refusal { code, reason }) => TxVerdict { code, reason, gas: 0 },
    }
}

/// Keeps `bytes` of a client, who hears of it if they wait already.
pub fn admit(ledger: &Ledger, bytes: &[u8]) -> Result<Arc<Tx>, Refusal> {
    match keep(ledger, bytes)? {
        Kept { tx, new: true, .. } => Ok(tx),
        _ => Err(Refusal { code: NOT_KEPT, reason: PoolError::Known.to_string() }),
    }
}

/// A transaction that waits now.
struct Kept {
    tx: Arc<Tx>,
    /// It did not wait before.
    new: bool,
    /// What comes before it waits too.
    follows: bool,
}

/// Keeps `bytes` in the pool, unless they wait there already.
fn keep(ledger: &Ledger, bytes: &[u8]) -> Result<Kept, Refusal> {
    let refuse = |code, reason: String| Refusal { code, reason };
    let head = ledger.base().ok_or_else(|| refuse(NOT_READY, "the chain has not begun".into()))?;
    let tx = ledger.decode(bytes, &head).map_err(|e| refuse(MALFORMED, e.to_string()))?;
    let standing = standing(head.reader.as_ref(), tx.sender).map_err(|e| refuse(NOT_READY, e.to_string()))?;
    let fees = &head.params.fees;
    if let Err(e) = plausible(&tx, standing, fees.block_gas_limit, fees.min_base_fee) {
        ledger.pool().remove(&tx);
        return Err(refuse(IMPLAUSIBLE, e.to_string()));
    }
    let mut pool = ledger.pool();
    // A mempool that has forgotten a transaction may ask again: the answer must not change.
    let new = !pool.contains(tx.hash);
    if new {
        pool.insert(tx.clone(), standing).map_err(|e| refuse(NOT_KEPT, e.to_string()))?;
    }
    let follows = pool.follows(&tx, standing.nonce);
    Ok(Kept { tx, new, follows })
}

/// Forgets what a block made obsolete.
pub fn after_block(ledger: &Ledger, head: &Head, included: &[Arc<Tx>]) -> Result<(), Fault> {
    let mut senders: Vec<_> = included.iter().map(|tx| tx.sender).collect();
    senders.sort_unstable();
    senders.dedup();
    let now: Result<Vec<_>, StoreError> =
        senders.into_iter().map(|sender| Ok((sender, standing(head.reader.as_ref(), sender)?.nonce))).collect();
    let mut pool = ledger.pool();
    for (sender, nonce) in now? {
        pool.advance(sender, nonce);
    }
    Ok(())
}
