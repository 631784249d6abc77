//! Logs, and filters that remember where a client stopped.

use std::{
    sync::{MutexGuard, PoisonError},
    time::Duration,
};

use alloy_eips::BlockNumberOrTag;
use alloy_primitives::U256;
use alloy_rpc_types_eth::{Filter, FilterBlockOption};
use serde_json::Value;

use super::{
    Backend,
    backend::read_block,
    block::log_json,
    budget::{Budget, HEADER, now},
    error::{self, RpcResult},
    filters::{FilterKind, Filters, Installed, words},
    numbers::quantity,
    params::Params,
    session::Session,
};
use crate::{
    block::{self, Block},
    ledger::Head,
};

/// Blocks in one question.
const MAX_BLOCKS: u64 = 10_000;
/// Logs in one answer.
const MAX_LOGS: usize = 20_000;
/// A filter that nobody asks goes after this time, as with geth.
const FILTER_LIFE: Duration = Duration::from_secs(300);
/// Addresses in one filter, and topics at one place of it.
const MAX_ADDRESSES: usize = 1_000;

pub fn logs(backend: &Backend, params: Params<'_>, budget: &mut Budget) -> RpcResult<()> {
    let filter: Filter = params.one()?;
    matching(backend, &filter, budget)
}

pub fn new_filter(backend: &Backend, session: &Session, params: Params<'_>, budget: &mut Budget) -> RpcResult<()> {
    let filter: Filter = params.one()?;
    check(&filter)?;
    budget.json(&install(backend, session, FilterKind::Logs(Box::new(filter), backend.head()?.height))?)
}

pub fn new_block_filter(backend: &Backend, session: &Session, _: Params<'_>, budget: &mut Budget) -> RpcResult<()> {
    budget.json(&install(backend, session, FilterKind::Blocks(backend.head()?.height))?)
}

pub fn new_pending_filter(backend: &Backend, session: &Session, _: Params<'_>, budget: &mut Budget) -> RpcResult<()> {
    let arrived = backend.ledger.pool().arrived();
    budget.json(&install(backend, session, FilterKind::Pending(arrived))?)
}

pub fn uninstall_filter(backend: &Backend, params: Params<'_>) -> RpcResult<Value> {
    let id: U256 = params.one()?;
    Ok(Value::Bool(filters(backend).all.remove(&id).is_some()))
}

pub fn filter_logs(backend: &Backend, params: Params<'_>, budget: &mut Budget) -> RpcResult<()> {
    match installed(backend, params.one()?)? {
        FilterKind::Logs(filter, _) => matching(backend, &filter, budget),
        _ => Err(error::server("filter not found")),
    }
}

pub fn filter_changes(backend: &Backend, params: Params<'_>, budget: &mut Budget) -> RpcResult<()> {
    let id: U256 = params.one()?;
    let kind = installed(backend, id)?;
    let head = backend.head()?;
    let news = |told: u64| {
        if head.height.saturating_sub(told) > MAX_BLOCKS {
            return Err(error::limit(format!("the filter was asked {MAX_BLOCKS} blocks ago: install a new one")));
        }
        Ok(told + 1..=head.height)
    };
    let kind = match kind {
        FilterKind::Logs(filter, told) => {
            in_range(&head, &filter, news(told)?, budget)?;
            FilterKind::Logs(filter, head.height)
        }
        FilterKind::Blocks(told) => {
            budget.list(news(told)?, |budget, height| {
                budget.work(HEADER)?;
                let hash = block::hash_at(head.reader.as_ref(), height).map_err(error::store)?;
                budget.json(&hash)
            })?;
            FilterKind::Blocks(head.height)
        }
        FilterKind::Pending(seen) => {
            let (hashes, arrived) = {
                let pool = backend.ledger.pool();
                (pool.since(seen), pool.arrived())
            };
            budget.json(&hashes)?;
            FilterKind::Pending(arrived)
        }
    };
    // Nobody brings back a filter that was taken away meanwhile.
    if let Some(filter) = filters(backend).all.get_mut(&id) {
        filter.kind = kind;
    }
    Ok(())
}

fn filters(backend: &Backend) -> MutexGuard<'_, Filters> {
    backend.filters.lock().unwrap_or_else(PoisonError::into_inner)
}

fn install(backend: &Backend, session: &Session, kind: FilterKind) -> RpcResult<Value> {
    // A client must not guess the filters of another.
    let mut id = [0; 16];
    getrandom::fill(&mut id).map_err(|e| error::server(format!("the system gives no randomness: {e}")))?;
    let id = U256::from_be_slice(&id);
    let asked = now();
    let mut filters = filters(backend);
    filters.all.retain(|_, filter| asked.duration_since(filter.asked) < FILTER_LIFE);
    filters.all.insert(id, Installed { kind, owner: session.address, asked });
    filters.make_room();
    Ok(quantity(id))
}

fn installed(backend: &Backend, id: U256) -> RpcResult<FilterKind> {
    let now = now();
    let mut filters = filters(backend);
    filters.all.retain(|_, filter| now.duration_since(filter.asked) < FILTER_LIFE);
    let found = filters.all.get_mut(&id).ok_or_else(|| error::server("filter not found"))?;
    found.asked = now;
    Ok(found.kind.clone())
}

/// Refuses a filter that names too much.
pub fn check(filter: &Filter) -> RpcResult<()> {
    if words(filter) > MAX_ADDRESSES {
        return Err(error::invalid(format!("exceed max addresses and topics in one filter: {MAX_ADDRESSES}")));
    }
    Ok(())
}

fn matching(backend: &Backend, filter: &Filter, budget: &mut Budget) -> RpcResult<()> {
    check(filter)?;
    let head = backend.head()?;
    let range = match &filter.block_option {
        FilterBlockOption::AtBlockHash(hash) => {
            let height = block::height_of(head.reader.as_ref(), *hash).map_err(error::store)?;
            let height = height.ok_or_else(|| error::not_found("unknown block"))?;
            height..=height
        }
        FilterBlockOption::Range { from_block, to_block } => {
            let from = backend.height(from_block.unwrap_or(BlockNumberOrTag::Latest), &head);
            let to = backend.height(to_block.unwrap_or(BlockNumberOrTag::Latest), &head);
            if from > to {
                return Err(error::invalid("invalid block range params"));
            }
            if to > head.height {
                return Err(error::invalid("block range extends beyond current head block"));
            }
            from..=to
        }
    };
    if range.end().saturating_sub(*range.start()) >= MAX_BLOCKS {
        return Err(error::limit(format!("query exceeds max block range {MAX_BLOCKS}")));
    }
    let lowest = block::lowest(head.reader.as_ref()).map_err(error::store)?.unwrap_or(0);
    if *range.start() < lowest {
        return Err(error::server(format!("pruned history unavailable: this node keeps blocks from {lowest} on")));
    }
    in_range(&head, filter, range, budget)
}

/// Writes the logs in `range` that `filter` asks for; one block is read at a time, one log written at a time.
fn in_range(head: &Head, filter: &Filter, range: std::ops::RangeInclusive<u64>, budget: &mut Budget) -> RpcResult<()> {
    let reader = head.reader.as_ref();
    let mut count = 0;
    budget.text("[")?;
    for height in range {
        budget.work(HEADER)?;
        let header = block::header_at(reader, height).map_err(error::store)?;
        if !header.is_some_and(|header| filter.matches_bloom(header.logs_bloom)) {
            continue;
        }
        let Some(block) = read_block(head, height, budget)? else { continue };
        each(&block, filter, |log| {
            count += 1;
            if count > MAX_LOGS {
                return Err(error::limit(format!("query returned more than {MAX_LOGS} results")));
            }
            if count > 1 {
                budget.text(",")?;
            }
            budget.json(&log)
        })?;
    }
    budget.text("]")
}

/// Gives each log of `block` that `filter` asks for to `take`.
pub fn each(block: &Block, filter: &Filter, mut take: impl FnMut(Value) -> RpcResult<()>) -> RpcResult<()> {
    let mut number = 0;
    for (index, receipt) in block.receipts.iter().enumerate() {
        for log in receipt.logs() {
            if filter.matches(log) {
                take(log_json(block, index, number, log))?;
            }
            number += 1;
        }
    }
    Ok(())
}
