//! `txpool_…`: what waits, by sender and nonce; pending is what follows the account without a gap.

use std::{collections::BTreeMap, sync::Arc};

use alloy_consensus::Transaction as _;
use alloy_primitives::Address;
use serde_json::{Value, json};

use super::{
    Backend,
    block::tx_json,
    budget::{Budget, VALUE},
    error::{self, RpcResult},
    numbers::hex,
    params::Params,
};
use crate::tx::Tx;

#[derive(Default)]
struct Waiting {
    pending: BTreeMap<Address, Vec<Arc<Tx>>>,
    queued: BTreeMap<Address, Vec<Arc<Tx>>>,
}

fn waiting(backend: &Backend, only: Option<Address>, budget: &mut Budget) -> RpcResult<Waiting> {
    let head = backend.head()?;
    let all: Vec<Arc<Tx>> =
        backend.ledger.pool().all().filter(|tx| only.is_none_or(|sender| sender == tx.sender)).cloned().collect();
    let mut sorted = Waiting::default();
    let mut next: Option<(Address, u64)> = None;
    for tx in all {
        let nonce = tx.envelope.nonce();
        let expected = match next {
            Some((sender, expected)) if sender == tx.sender => expected,
            _ => {
                budget.work(VALUE)?;
                crate::ledger::standing(head.reader.as_ref(), tx.sender).map_err(error::store)?.nonce
            }
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

pub fn status(backend: &Backend, _: Params<'_>, budget: &mut Budget) -> RpcResult<()> {
    let waiting = waiting(backend, None, budget)?;
    budget.json(&json!({ "pending": hex(count(&waiting.pending)), "queued": hex(count(&waiting.queued)) }))
}

pub fn content(backend: &Backend, _: Params<'_>, budget: &mut Budget) -> RpcResult<()> {
    let waiting = waiting(backend, None, budget)?;
    write(&waiting, budget, |list, budget| by_sender(list, tx, budget))
}

pub fn content_from(backend: &Backend, params: Params<'_>, budget: &mut Budget) -> RpcResult<()> {
    let waiting = waiting(backend, Some(params.one()?), budget)?;
    write(&waiting, budget, |list, budget| match list.values().next() {
        Some(txs) => by_nonce(txs, tx, budget),
        None => budget.text("{}"),
    })
}

pub fn inspect(backend: &Backend, _: Params<'_>, budget: &mut Budget) -> RpcResult<()> {
    let waiting = waiting(backend, None, budget)?;
    write(&waiting, budget, |list, budget| by_sender(list, words, budget))
}

type Show = fn(&Tx) -> RpcResult<Value>;
type BySender = BTreeMap<Address, Vec<Arc<Tx>>>;

fn write(
    waiting: &Waiting,
    budget: &mut Budget,
    list: impl Fn(&BySender, &mut Budget) -> RpcResult<()>,
) -> RpcResult<()> {
    budget.text("{\"pending\":")?;
    list(&waiting.pending, budget)?;
    budget.text(",\"queued\":")?;
    list(&waiting.queued, budget)?;
    budget.text("}")
}

fn by_sender(list: &BySender, show: Show, budget: &mut Budget) -> RpcResult<()> {
    budget.text("{")?;
    for (index, (sender, txs)) in list.iter().enumerate() {
        let comma = if index > 0 { "," } else { "" };
        budget.text(&format!("{comma}\"{sender}\":"))?;
        by_nonce(txs, show, budget)?;
    }
    budget.text("}")
}

fn by_nonce(txs: &[Arc<Tx>], show: Show, budget: &mut Budget) -> RpcResult<()> {
    budget.text("{")?;
    for (index, tx) in txs.iter().enumerate() {
        let comma = if index > 0 { "," } else { "" };
        budget.text(&format!("{comma}\"{}\":", tx.envelope.nonce()))?;
        budget.json(&show(tx)?)?;
    }
    budget.text("}")
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
