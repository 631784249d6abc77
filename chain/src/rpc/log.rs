//! Logs, and filters that remember where a client stopped.

use std::{
    collections::BTreeMap,
    sync::{MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use alloy_eips::BlockNumberOrTag;
use alloy_primitives::U256;
use alloy_rpc_types_eth::{Filter, FilterBlockOption};
use jsonrpsee::{core::RpcResult, types::Params};
use serde_json::{Value, json};

use super::{Backend, backend::quantity, block::logs_json, error};
use crate::{
    block::{self, Block},
    ledger::Head,
};

/// Blocks in one question.
const MAX_BLOCKS: u64 = 10_000;
/// Logs in one answer.
const MAX_LOGS: usize = 20_000;
/// Filters at once; the one that was asked least lately goes.
const MAX_FILTERS: usize = 1_000;
/// A filter that nobody asks goes after this time, as with geth.
const FILTER_LIFE: Duration = Duration::from_secs(300);
/// Addresses in one filter, and topics at one place of it.
const MAX_ADDRESSES: usize = 1_000;

/// Installed filters.
#[derive(Default)]
pub struct Filters {
    all: BTreeMap<U256, Installed>,
}

struct Installed {
    kind: Kind,
    /// When it was asked last.
    asked: Instant,
}

/// What is asked for, and how far it was told: a height, or how many transactions had come.
#[derive(Clone)]
enum Kind {
    Logs(Box<Filter>, u64),
    Blocks(u64),
    Pending(u64),
}

pub fn logs(backend: &Backend, params: Params<'_>) -> RpcResult<Value> {
    let filter: Filter = params.one()?;
    matching(backend, &filter).map(Value::Array)
}

pub fn new_filter(backend: &Backend, params: Params<'_>) -> RpcResult<Value> {
    let filter: Filter = params.one()?;
    check(&filter)?;
    install(backend, Kind::Logs(Box::new(filter), backend.head()?.height))
}

pub fn new_block_filter(backend: &Backend, _: Params<'_>) -> RpcResult<Value> {
    install(backend, Kind::Blocks(backend.head()?.height))
}

pub fn new_pending_filter(backend: &Backend, _: Params<'_>) -> RpcResult<Value> {
    let arrived = backend.ledger.pool().arrived();
    install(backend, Kind::Pending(arrived))
}

pub fn uninstall_filter(backend: &Backend, params: Params<'_>) -> RpcResult<Value> {
    let id: U256 = params.one()?;
    Ok(Value::Bool(filters(backend).all.remove(&id).is_some()))
}

pub fn filter_logs(backend: &Backend, params: Params<'_>) -> RpcResult<Value> {
    match installed(backend, params.one()?)? {
        Kind::Logs(filter, _) => matching(backend, &filter).map(Value::Array),
        _ => Err(error::server("filter not found")),
    }
}

pub fn filter_changes(backend: &Backend, params: Params<'_>) -> RpcResult<Value> {
    let id: U256 = params.one()?;
    let kind = installed(backend, id)?;
    let head = backend.head()?;
    let news = |told: u64| {
        if head.height.saturating_sub(told) > MAX_BLOCKS {
            return Err(error::limit(format!("the filter was asked {MAX_BLOCKS} blocks ago: install a new one")));
        }
        Ok(told + 1..=head.height)
    };
    let (answer, kind) = match kind {
        Kind::Logs(filter, told) => {
            let mut found = vec![];
            for height in news(told)? {
                found.extend(matching_in(&head, &filter, height)?);
                if found.len() > MAX_LOGS {
                    return Err(error::limit(format!("query returned more than {MAX_LOGS} results")));
                }
            }
            (found, Kind::Logs(filter, head.height))
        }
        Kind::Blocks(told) => {
            let hashes: Result<Vec<_>, _> = news(told)?.map(|h| block::hash_at(head.reader.as_ref(), h)).collect();
            let hashes = hashes.map_err(error::store)?.into_iter().flatten();
            (hashes.map(|hash| json!(hash)).collect(), Kind::Blocks(head.height))
        }
        Kind::Pending(seen) => {
            let pool = backend.ledger.pool();
            (pool.since(seen).into_iter().map(|hash| json!(hash)).collect(), Kind::Pending(pool.arrived()))
        }
    };
    // Nobody brings back a filter that was taken away meanwhile.
    if let Some(filter) = filters(backend).all.get_mut(&id) {
        filter.kind = kind;
    }
    Ok(Value::Array(answer))
}

fn filters(backend: &Backend) -> MutexGuard<'_, Filters> {
    backend.filters.lock().unwrap_or_else(PoisonError::into_inner)
}

#[expect(clippy::disallowed_methods, reason = "a filter belongs to a client of this node, not to the ledger")]
fn now() -> Instant {
    Instant::now()
}

fn install(backend: &Backend, kind: Kind) -> RpcResult<Value> {
    // A client must not guess the filters of another.
    let mut id = [0; 16];
    getrandom::fill(&mut id).map_err(|e| error::server(format!("the system gives no randomness: {e}")))?;
    let id = U256::from_be_slice(&id);
    let now = now();
    let mut filters = filters(backend);
    filters.all.retain(|_, filter| now.duration_since(filter.asked) < FILTER_LIFE);
    if filters.all.len() >= MAX_FILTERS {
        let oldest = filters.all.iter().min_by_key(|(_, filter)| filter.asked).map(|(id, _)| *id);
        oldest.and_then(|id| filters.all.remove(&id));
    }
    filters.all.insert(id, Installed { kind, asked: now });
    Ok(quantity(id))
}

fn installed(backend: &Backend, id: U256) -> RpcResult<Kind> {
    let now = now();
    let mut filters = filters(backend);
    filters.all.retain(|_, filter| now.duration_since(filter.asked) < FILTER_LIFE);
    let found = filters.all.get_mut(&id).ok_or_else(|| error::server("filter not found"))?;
    found.asked = now;
    Ok(found.kind.clone())
}

/// Refuses a filter that names too much.
pub fn check(filter: &Filter) -> RpcResult<()> {
    if filter.address.len() > MAX_ADDRESSES {
        return Err(error::invalid(format!("exceed max addresses or topics per search position: {MAX_ADDRESSES}")));
    }
    if filter.topics.iter().any(|topics| topics.len() > MAX_ADDRESSES) {
        return Err(error::invalid(format!("exceed max addresses or topics per search position: {MAX_ADDRESSES}")));
    }
    Ok(())
}

fn matching(backend: &Backend, filter: &Filter) -> RpcResult<Vec<Value>> {
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
    let mut found = Vec::new();
    for height in range {
        found.extend(matching_in(&head, filter, height)?);
        if found.len() > MAX_LOGS {
            return Err(error::limit(format!("query returned more than {MAX_LOGS} results")));
        }
    }
    Ok(found)
}

fn matching_in(head: &Head, filter: &Filter, height: u64) -> RpcResult<Vec<Value>> {
    let reader = head.reader.as_ref();
    let header = block::header_at(reader, height).map_err(error::store)?;
    if !header.is_some_and(|header| filter.matches_bloom(header.logs_bloom)) {
        return Ok(vec![]);
    }
    let block = block::block_at(reader, height).map_err(error::store)?;
    Ok(block.map(|block| in_block(&block, filter)).unwrap_or_default())
}

/// The logs of `block` that `filter` asks for.
pub fn in_block(block: &Block, filter: &Filter) -> Vec<Value> {
    let mut found = Vec::new();
    for (index, receipt) in block.receipts.iter().enumerate() {
        let wanted: Vec<bool> = receipt.logs().iter().map(|log| filter.matches(log)).collect();
        if wanted.contains(&true) {
            let all = logs_json(block, index);
            found.extend(all.into_iter().zip(wanted).filter(|(_, wanted)| *wanted).map(|(log, _)| log));
        }
    }
    found
}
