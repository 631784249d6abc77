//! A block before consensus decides on it: made from the pool, judged by executing it, and kept, so that the one that is
//! decided need not be executed again.

use alloy_consensus::Transaction as _;
use alloy_primitives::Bytes;

use super::{change::Change, execute::Run, head::Head, mempool, reveal, state::Ledger};
use crate::{
    application::{DecidedBlock, Proposal, Verdict},
    beacon::item,
    error::Fault,
    pool::Best,
};

/// Executed proposals that are kept at a time: this node's own, and the one of a later round.
const KEPT_RUNS: usize = 2;

/// Gas of the cheapest transaction: with less left, a block is full.
const LEAST_GAS: u64 = 21_000;

/// A transaction of more bytes is large: all of them together get half of a block at most. Gas pays for execution, and
/// would let whoever buys the bytes of every block keep the small ones out for little.
const LARGE: u64 = 16 * 1024;

/// Bytes that the block adds to a transaction: a tag and a length.
const FRAME: u64 = 8;

/// Fills a block with what pays best. Each is executed: the block is full when the gas is used, not when it is asked for.
pub fn make(ledger: &Ledger, proposal: &Proposal<'_>) -> Result<Vec<Bytes>, Fault> {
    let Some(base) = ledger.base().filter(|base| base.height + 1 == proposal.height) else { return Ok(vec![]) };
    mempool::offer(ledger, proposal.txs);
    let mut best = Best::of(&ledger.pool(), base.next_base_fee());
    let mut run = Run::begin(&base, proposal.block(vec![]))?;
    ledger.count_execution();
    let (mut bytes, mut large) = (0u64, 0u64);
    if let Some(item) = ledger.reveals.item(&base, proposal.proposer)? {
        bytes = item::MAX_BYTES + FRAME;
        run.show(item);
    }
    let mut refused = Vec::new();
    run.fill(|filling| {
        while filling.gas_left() >= LEAST_GAS {
            let Some(tx) = best.draw() else { break };
            let length = u64::try_from(tx.bytes.len()).unwrap_or(u64::MAX).saturating_add(FRAME);
            let size = if length > LARGE { length } else { 0 };
            if tx.envelope.gas_limit() > filling.gas_left()
                || bytes.saturating_add(length) > proposal.max_bytes
                || large.saturating_add(size) > proposal.max_bytes / 2
            {
                // Its sender waits for another block; others may fit. There are as many senders as the pool holds at most.
                continue;
            }
            let result = filling.run(Ok(tx.clone()))?;
            if result.was_executed() {
                (bytes, large) = (bytes + length, large + size);
                filling.take(tx.bytes.clone(), result);
                best.go_on(tx.sender);
            } else {
                refused.push((tx, result.reason));
            }
        }
        Ok(())
    })?;
    let mut pool = ledger.pool();
    for (tx, reason) in refused {
        pool.refuse(&tx, reason);
    }
    drop(pool);
    let txs = run.block.txs.clone();
    keep(ledger, run);
    Ok(txs)
}

/// Executes a proposal. One with a transaction that cannot be executed, and so pays nothing, is refused. The pool keeps
/// it: by the order of its transactions a proposer could make any of them fail.
pub fn judge(ledger: &Ledger, proposal: &Proposal<'_>) -> Result<Verdict, Fault> {
    let Some(base) = ledger.base().filter(|base| base.height + 1 == proposal.height) else {
        return Ok(Verdict::Reject);
    };
    let (item, txs) = item::split(proposal.txs);
    if !reveal::judge(&base, proposal.proposer, item)? {
        return Ok(Verdict::Reject);
    }
    let block = proposal.block(proposal.txs.to_vec());
    if ledger.pending().runs.iter().any(|run| run.block == block) {
        return Ok(Verdict::Accept);
    }
    let mut run = Run::begin(&base, DecidedBlock { txs: vec![], ..block })?;
    ledger.count_execution();
    let mut bytes = 0u64;
    if let Some(item) = item {
        bytes = item::MAX_BYTES + FRAME;
        run.show(item);
    }
    let verdict = run.fill(|filling| {
        for raw in txs {
            bytes = bytes.saturating_add(u64::try_from(raw.len()).unwrap_or(u64::MAX)).saturating_add(FRAME);
            let Ok(tx) = ledger.decode(raw, &base) else { return Ok(Verdict::Reject) };
            let result = filling.run(Ok(tx.clone()))?;
            if bytes > proposal.max_bytes || !result.was_executed() {
                return Ok(Verdict::Reject);
            }
            filling.take(raw.clone(), result);
        }
        Ok(Verdict::Accept)
    })?;
    if verdict == Verdict::Accept {
        keep(ledger, run);
    }
    Ok(verdict)
}

/// What was executed of `block` when it was proposed.
pub fn take(ledger: &Ledger, block: &DecidedBlock) -> Option<Run> {
    let mut pending = ledger.pending();
    let place = pending.runs.iter().position(|run| run.block == *block)?;
    Some(pending.runs.swap_remove(place))
}

/// Executes a decided block that was never seen as a proposal.
pub fn execute(ledger: &Ledger, base: &Head, block: &DecidedBlock) -> Result<Run, Fault> {
    let mut run = Run::begin(base, DecidedBlock { txs: Vec::with_capacity(block.txs.len()), ..block.clone() })?;
    ledger.count_execution();
    let (item, txs) = item::split(&block.txs);
    if let Some(item) = item {
        run.show(item);
    }
    run.fill(|filling| {
        let mut txs = txs.iter();
        txs.try_for_each(|bytes| match Change::decode(bytes).filter(|_| ledger.developed) {
            Some(change) => filling.change(bytes.clone(), &change),
            None => filling.run_decided(bytes.clone(), ledger.decode(bytes, base)),
        })
    })?;
    Ok(run)
}

fn keep(ledger: &Ledger, run: Run) {
    let mut pending = ledger.pending();
    if pending.runs.len() >= KEPT_RUNS {
        pending.runs.remove(0);
    }
    pending.runs.push(run);
}

#[cfg(test)]
mod tests;
