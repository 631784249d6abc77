//! Logs, and filters that remember where a client stopped.

use std::{collections::BTreeMap, sync::PoisonError};

use alloy_eips::BlockNumberOrTag;
use alloy_primitives::{B256, U256};
use alloy_rpc_types_eth::{Filter, FilterBlockOption};
use jsonrpsee::{core::RpcResult, types::Params};
use serde_json::{Value, json};

use super::{Backend, backend::quantity, block::logs_json, error};
use crate::block::{self, Block};

/// Blocks in one question.
const MAX_BLOCKS: u64 = 10_000;
/// Logs in one answer.
const MAX_LOGS: usize = 20_000;
/// Filters at once; the oldest goes.
const MAX_FILTERS: usize = 1_000;

/// Installed filters.
#[derive(Default)]
pub struct Filters {
    next: u64,
    all: BTreeMap<U256, Installed>,
}

struct Installed {
    kind: Kind,
    /// The last height that was told.
    told: u64,
}

#[derive(Clone)]
enum Kind {
    Logs(Box<Filter>),
    Blocks,
    Pending(Vec<B256>),
}

pub fn logs(backend: &Backend, params: Params<'_>) -> RpcResult<Value> {
    let filter: Filter = params.one()?;
    matching(backend, &filter).map(Value::Array)
}

pub fn new_filter(backend: &Backend, params: Params<'_>) -> RpcResult<Value> {
    install(backend, Kind::Logs(Box::new(params.one()?)))
}

pub fn new_block_filter(backend: &Backend, _: Params<'_>) -> RpcResult<Value> {
    install(backend, Kind::Blocks)
}

pub fn new_pending_filter(backend: &Backend, _: Params<'_>) -> RpcResult<Value> {
    let known = waiting(backend);
    install(backend, Kind::Pending(known))
}

pub fn uninstall_filter(backend: &Backend, params: Params<'_>) -> RpcResult<Value> {
    let id: U256 = params.one()?;
    let mut filters = backend.filters.lock().unwrap_or_else(PoisonError::into_inner);
    Ok(Value::Bool(filters.all.remove(&id).is_some()))
}

pub fn filter_logs(backend: &Backend, params: Params<'_>) -> RpcResult<Value> {
    let (kind, _) = installed(backend, params.one()?)?;
    match kind {
        Kind::Logs(filter) => matching(backend, &filter).map(Value::Array),
        _ => Err(error::server("filter not found")),
    }
}

pub fn filter_changes(backend: &Backend, params: Params<'_>) -> RpcResult<Value> {
    let id: U256 = params.one()?;
    let (kind, told) = installed(backend, id)?;
    let head = backend.head()?;
    let news = told + 1..=head.height;
    let (answer, kind) = match kind {
        Kind::Logs(filter) => {
            let mut found = vec![];
            for height in news {
                found.extend(matching_in(backend, &filter, height)?);
            }
            (found, Kind::Logs(filter))
        }
        Kind::Blocks => {
            let hashes: Result<Vec<_>, _> = news.map(|h| block::hash_at(head.reader.as_ref(), h)).collect();
            (hashes.map_err(error::store)?.into_iter().flatten().map(|hash| json!(hash)).collect(), Kind::Blocks)
        }
        Kind::Pending(known) => {
            let now = waiting(backend);
            let fresh = now.iter().filter(|hash| known.binary_search(hash).is_err()).map(|hash| json!(hash)).collect();
            (fresh, Kind::Pending(now))
        }
    };
    let mut filters = backend.filters.lock().unwrap_or_else(PoisonError::into_inner);
    filters.all.insert(id, Installed { kind, told: head.height });
    Ok(Value::Array(answer))
}

fn waiting(backend: &Backend) -> Vec<B256> {
    let mut hashes: Vec<B256> = backend.ledger.pool().all().map(|tx| tx.hash).collect();
    hashes.sort_unstable();
    hashes
}

fn install(backend: &Backend, kind: Kind) -> RpcResult<Value> {
    let told = backend.head()?.height;
    let mut filters = backend.filters.lock().unwrap_or_else(PoisonError::into_inner);
    if filters.all.len() >= MAX_FILTERS {
        filters.all.pop_first();
    }
    filters.next += 1;
    let id = U256::from(filters.next);
    filters.all.insert(id, Installed { kind, told });
    Ok(quantity(id))
}

fn installed(backend: &Backend, id: U256) -> RpcResult<(Kind, u64)> {
    let filters = backend.filters.lock().unwrap_or_else(PoisonError::into_inner);
    let found = filters.all.get(&id).ok_or_else(|| error::server("filter not found"))?;
    Ok((found.kind.clone(), found.told))
}

fn matching(backend: &Backend, filter: &Filter) -> RpcResult<Vec<Value>> {
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
            from..=to.min(head.height)
        }
    };
    if range.end().saturating_sub(*range.start()) >= MAX_BLOCKS {
        return Err(error::limit(format!("query exceeds max block range {MAX_BLOCKS}")));
    }
    let mut found = Vec::new();
    for height in range {
        found.extend(matching_in(backend, filter, height)?);
        if found.len() > MAX_LOGS {
            return Err(error::limit(format!("query returned more than {MAX_LOGS} results")));
        }
    }
    Ok(found)
}

fn matching_in(backend: &Backend, filter: &Filter, height: u64) -> RpcResult<Vec<Value>> {
    let head = backend.head()?;
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
