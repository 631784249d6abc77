//! What happens to transactions before a block: the check, and what a block leaves of them.

use std::sync::Arc;

use alloy_consensus::Transaction as _;

use super::{Head, Ledger, standing};
use crate::{
    application::{Check, TxVerdict},
    error::{Fault, StoreError},
    pool::plausible,
    tx::Tx,
};

/// Verdict codes: kept, and why not.
const KEPT: u32 = 0;
const MALFORMED: u32 = 1;
const IMPLAUSIBLE: u32 = 2;
const NOT_KEPT: u32 = 3;
const NOT_READY: u32 = 4;

/// Whether `bytes` may wait in the mempool.
pub fn check(ledger: &Ledger, bytes: &[u8], _check: Check) -> TxVerdict {
    let refuse = |code, reason: String| TxVerdict { code, reason, gas: 0 };
    let Some(head) = ledger.base() else { return refuse(NOT_READY, "the chain has not begun".into()) };
    let tx = match ledger.decode(bytes, &head) {
        Ok(tx) => tx,
        Err(e) => return refuse(MALFORMED, e.to_string()),
    };
    let standing = match standing(head.reader.as_ref(), tx.sender) {
        Ok(standing) => standing,
        Err(e) => return refuse(NOT_READY, e.to_string()),
    };
    let fees = &head.params.fees;
    if let Err(e) = plausible(&tx, standing, fees.block_gas_limit, fees.min_base_fee) {
        ledger.pool().remove(&tx);
        return refuse(IMPLAUSIBLE, e.to_string());
    }
    let kept = TxVerdict { code: KEPT, reason: String::new(), gas: tx.envelope.gas_limit() };
    let mut pool = ledger.pool();
    // A mempool that has forgotten a transaction may ask again: the answer must not change.
    if pool.contains(tx.hash) {
        return kept;
    }
    match pool.insert(tx, standing) {
        Ok(()) => kept,
        Err(e) => refuse(NOT_KEPT, e.to_string()),
    }
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
