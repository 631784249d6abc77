//! `txpool_…`: what waits, by sender and nonce; pending is what follows the account without a gap.

use std::{collections::BTreeMap, sync::Arc};

use alloy_consensus::Transaction as _;
use alloy_primitives::Address;
use jsonrpsee::{core::RpcResult, types::Params};
use serde_json::{Map, Value, json};

use super::{Backend, block::tx_json, error, hex};
use crate::tx::Tx;

/// Transactions in one answer.
const MAX_TXS: usize = 10_000;

#[derive(Default)]
struct Waiting {
    pending: BTreeMap<Address, Vec<Arc<Tx>>>,
    queued: BTreeMap<Address, Vec<Arc<Tx>>>,
}

fn waiting(backend: &Backend, only: Option<Address>) -> RpcResult<Waiting> {
    let head = backend.head()?;
    let all: Vec<Arc<Tx>> =
        backend.ledger.pool().all().filter(|tx| only.is_none_or(|sender| sender == tx.sender)).cloned().collect();
    let mut sorted = Waiting::default();
    let mut next: Option<(Address, u64)> = None;
    for tx in all {
        let nonce = tx.envelope.nonce();
        let expected = match next {
            Some((sender, expected)) if sender == tx.sender => expected,
            _ => crate::ledger::standing(head.reader.as_ref(), tx.sender).map_err(error::store)?.nonce,
        };
        let follows = nonce <= expected;
        next = Some((tx.sender, if follows { nonce + 1 } else { expected }));
        let list = if follows { &mut sorted.pending } else { &mut sorted.queued };
        list.entry(tx.sender).or_default().push(tx);
    }
    Ok(sorted)
}

fn count(list: &BTreeMap<Address, Vec<Arc<Tx>>>) -> usize {
    list.values().map(Vec::len).sum()
}

pub fn status(backend: &Backend, _: Params<'_>) -> RpcResult<Value> {
    let waiting = waiting(backend, None)?;
    Ok(json!({ "pending": hex(count(&waiting.pending)), "queued": hex(count(&waiting.queued)) }))
}

pub fn content(backend: &Backend, _: Params<'_>) -> RpcResult<Value> {
    let waiting = limited(waiting(backend, None)?)?;
    Ok(json!({ "pending": by_sender(&waiting.pending, tx)?, "queued": by_sender(&waiting.queued, tx)? }))
}

pub fn content_from(backend: &Backend, params: Params<'_>) -> RpcResult<Value> {
    let waiting = waiting(backend, Some(params.one()?))?;
    let flat =
        |list: &BTreeMap<Address, Vec<Arc<Tx>>>| list.values().next().map_or(Ok(Map::new()), |txs| by_nonce(txs, tx));
    Ok(json!({ "pending": flat(&waiting.pending)?, "queued": flat(&waiting.queued)? }))
}

pub fn inspect(backend: &Backend, _: Params<'_>) -> RpcResult<Value> {
    let waiting = limited(waiting(backend, None)?)?;
    Ok(json!({ "pending": by_sender(&waiting.pending, words)?, "queued": by_sender(&waiting.queued, words)? }))
}

fn limited(waiting: Waiting) -> RpcResult<Waiting> {
    match count(&waiting.pending) + count(&waiting.queued) {
        n if n > MAX_TXS => {
            Err(error::limit(format!("{n} transactions wait, at most {MAX_TXS} are listed: ask by sender")))
        }
        _ => Ok(waiting),
    }
}

type Show = fn(&Tx) -> RpcResult<Value>;

fn by_sender(list: &BTreeMap<Address, Vec<Arc<Tx>>>, show: Show) -> RpcResult<Map<String, Value>> {
    list.iter().map(|(sender, txs)| Ok((sender.to_string(), Value::Object(by_nonce(txs, show)?)))).collect()
}

fn by_nonce(txs: &[Arc<Tx>], show: Show) -> RpcResult<Map<String, Value>> {
    txs.iter().map(|tx| Ok((tx.envelope.nonce().to_string(), show(tx)?))).collect()
}

fn tx(tx: &Tx) -> RpcResult<Value> {
    tx_json(tx, None)
}

fn words(tx: &Tx) -> RpcResult<Value> {
    let fields = &tx.envelope;
    let to = fields.to().map_or_else(|| "contract creation".to_owned(), |to| to.to_string());
    let (value, gas, price) = (fields.value(), fields.gas_limit(), fields.max_fee_per_gas());
    Ok(json!(format!("{to}: {value} wei + {gas} gas × {price} wei")))
}
