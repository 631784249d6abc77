//! Blocks, transactions and receipts as JSON.

use alloy_consensus::{Eip658Value, Header, Transaction as _, TxReceipt as _};
use alloy_eips::{BlockNumberOrTag, eip2718::Typed2718};
use alloy_primitives::{B256, Log, U64};
use serde_json::{Value, json};

use super::{
    Backend,
    budget::{BLOCK, Budget},
    error::{self, RpcError, RpcResult},
    numbers::hex,
    params::Params,
    raw::encode,
};
use crate::{block::Block, tx::Tx};

pub fn number(backend: &Backend, _: Params<'_>) -> RpcResult<Value> {
    Ok(hex(backend.ledger.head().map_or(0, |head| head.height)))
}

pub fn by_number(backend: &Backend, params: Params<'_>, budget: &mut Budget) -> RpcResult<()> {
    let mut params = params.sequence();
    let (tag, full): (BlockNumberOrTag, Option<bool>) = (params.next()?, params.optional_next()?);
    write_block(backend.block(tag.into(), budget)?, full, budget)
}

pub fn by_hash(backend: &Backend, params: Params<'_>, budget: &mut Budget) -> RpcResult<()> {
    let mut params = params.sequence();
    let (hash, full): (B256, Option<bool>) = (params.next()?, params.optional_next()?);
    write_block(backend.block(hash.into(), budget)?, full, budget)
}

fn write_block(block: Option<Block>, full: Option<bool>, budget: &mut Budget) -> RpcResult<()> {
    let Some(block) = block else { return budget.json(&Value::Null) };
    let mut head = block_json(&block)?.to_string();
    // What is known of a block but its transactions is short.
    head.pop();
    budget.text(&head)?;
    budget.text(",\"transactions\":")?;
    budget.list(block.txs.iter().enumerate(), |budget, (index, tx)| match full.unwrap_or(false) {
        true => budget.json(&tx_json(tx, Some((&block, index)))?),
        false => budget.json(&tx.hash),
    })?;
    budget.text("}")
}

pub fn header_by_number(backend: &Backend, params: Params<'_>) -> RpcResult<Value> {
    let tag: BlockNumberOrTag = params.one()?;
    backend.header(tag.into())?.map_or(Ok(Value::Null), |header| header_json(&header))
}

pub fn header_by_hash(backend: &Backend, params: Params<'_>) -> RpcResult<Value> {
    let hash: B256 = params.one()?;
    backend.header(hash.into())?.map_or(Ok(Value::Null), |header| header_json(&header))
}

pub fn count_by_number(backend: &Backend, params: Params<'_>, budget: &mut Budget) -> RpcResult<()> {
    let tag: BlockNumberOrTag = params.one()?;
    let block = backend.block(tag.into(), budget)?;
    budget.json(&block.map(|block| hex(block.txs.len())))
}

pub fn count_by_hash(backend: &Backend, params: Params<'_>, budget: &mut Budget) -> RpcResult<()> {
    let hash: B256 = params.one()?;
    let block = backend.block(hash.into(), budget)?;
    budget.json(&block.map(|block| hex(block.txs.len())))
}

pub fn receipts(backend: &Backend, params: Params<'_>, budget: &mut Budget) -> RpcResult<()> {
    let Some(block) = backend.block(params.one()?, budget)? else { return budget.json(&Value::Null) };
    let mut before = 0;
    budget.list(0..block.txs.len(), |budget, index| {
        budget.json(&receipt_json(&block, index, before)?)?;
        before += block.receipts.get(index).map_or(0, |receipt| receipt.logs().len());
        Ok(())
    })
}

pub fn transaction_by_block_hash(backend: &Backend, params: Params<'_>, budget: &mut Budget) -> RpcResult<()> {
    let mut params = params.sequence();
    let (hash, index): (B256, U64) = (params.next()?, params.next()?);
    let block = backend.block(hash.into(), budget)?;
    budget.json(&nth(block, index)?)
}

pub fn transaction_by_block_number(backend: &Backend, params: Params<'_>, budget: &mut Budget) -> RpcResult<()> {
    let mut params = params.sequence();
    let (tag, index): (BlockNumberOrTag, U64) = (params.next()?, params.next()?);
    let block = backend.block(tag.into(), budget)?;
    budget.json(&nth(block, index)?)
}

fn nth(block: Option<Block>, index: U64) -> RpcResult<Value> {
    let Some(block) = block else { return Ok(Value::Null) };
    let index: usize = index.saturating_to();
    block.txs.get(index).map_or(Ok(Value::Null), |tx| tx_json(tx, Some((&block, index))))
}

pub fn transaction(backend: &Backend, params: Params<'_>, budget: &mut Budget) -> RpcResult<()> {
    let hash: B256 = params.one()?;
    budget.work(BLOCK)?;
    if let Some((block, index)) = backend.find(hash)? {
        let tx = block.txs.get(index).map_or(Ok(Value::Null), |tx| tx_json(tx, Some((&block, index))));
        return budget.json(&tx?);
    }
    let waiting = backend.ledger.pool().find(hash);
    budget.json(&waiting.map_or(Ok(Value::Null), |tx| tx_json(&tx, None))?)
}

pub fn receipt(backend: &Backend, params: Params<'_>, budget: &mut Budget) -> RpcResult<()> {
    budget.work(BLOCK)?;
    let Some((block, index)) = backend.find(params.one()?)? else { return budget.json(&Value::Null) };
    let before = block.receipts.iter().take(index).map(|receipt| receipt.logs().len()).sum();
    budget.json(&receipt_json(&block, index, before)?)
}

/// A header with its hash, as `newHeads` sends it.
pub fn header_json(header: &Header) -> RpcResult<Value> {
    let mut out = serde_json::to_value(header).map_err(broken)?;
    out["hash"] = json!(header.hash_slow());
    Ok(out)
}

/// A block without its transactions.
pub fn block_json(block: &Block) -> RpcResult<Value> {
    let mut out = header_json(&block.header)?;
    out["size"] = hex(encode(block).len());
    out["uncles"] = json!([]);
    if block.header.withdrawals_root.is_some() {
        out["withdrawals"] = json!([]);
    }
    Ok(out)
}

/// A transaction, with its place if it has one.
pub fn tx_json(tx: &Tx, place: Option<(&Block, usize)>) -> RpcResult<Value> {
    let mut out = serde_json::to_value(&tx.envelope).map_err(broken)?;
    out["hash"] = json!(tx.hash);
    out["from"] = json!(tx.sender);
    out["blockHash"] = Value::Null;
    out["blockNumber"] = Value::Null;
    out["blockTimestamp"] = Value::Null;
    out["transactionIndex"] = Value::Null;
    let base_fee = place.and_then(|(block, _)| block.header.base_fee_per_gas);
    let price = match base_fee {
        Some(_) => tx.envelope.effective_gas_price(base_fee),
        None => tx.envelope.max_fee_per_gas(),
    };
    out["gasPrice"] = json!(format!("{price:#x}"));
    if let Some((block, index)) = place {
        out["blockHash"] = json!(block.hash);
        out["blockNumber"] = hex(block.header.number);
        out["blockTimestamp"] = hex(block.header.timestamp);
        out["transactionIndex"] = hex(index);
    }
    Ok(out)
}

/// A receipt; `before` is how many logs the block has before it.
fn receipt_json(block: &Block, index: usize, before: usize) -> RpcResult<Value> {
    let (Some(tx), Some(receipt), Some(facts)) =
        (block.txs.get(index), block.receipts.get(index), block.facts.get(index))
    else {
        return Ok(Value::Null);
    };
    let logs = receipt.logs().iter().enumerate();
    let logs: Vec<Value> = logs.map(|(i, log)| log_json(block, index, before + i, log)).collect();
    let created = tx.envelope.is_create() && !facts.contract.is_zero();
    let price = tx.envelope.effective_gas_price(block.header.base_fee_per_gas);
    let mut out = json!({
        "type": hex(tx.envelope.ty()),
        "cumulativeGasUsed": hex(receipt.cumulative_gas_used()),
        "logs": logs,
        "logsBloom": receipt.bloom(),
        "transactionHash": tx.hash,
        "transactionIndex": hex(index),
        "blockHash": block.hash,
        "blockNumber": hex(block.header.number),
        "gasUsed": hex(facts.gas_used),
        "effectiveGasPrice": format!("{price:#x}"),
        "from": facts.sender,
        "to": tx.envelope.to(),
        "contractAddress": created.then_some(facts.contract),
    });
    // Before Byzantium a receipt had a state root instead; this chain has none of those, a test chain can.
    match receipt.status_or_post_state() {
        Eip658Value::Eip658(success) => out["status"] = hex(u64::from(success)),
        Eip658Value::PostState(root) => out["root"] = json!(root),
    }
    Ok(out)
}

/// One log of the transaction at `index`; it is the one with `number` in its block.
pub fn log_json(block: &Block, index: usize, number: usize, log: &Log) -> Value {
    json!({
        "address": log.address,
        "topics": log.topics(),
        "data": log.data.data,
        "blockHash": block.hash,
        "blockNumber": hex(block.header.number),
        "blockTimestamp": hex(block.header.timestamp),
        "transactionHash": block.txs.get(index).map(|tx| tx.hash),
        "transactionIndex": hex(index),
        "logIndex": hex(number),
        "removed": false,
    })
}

fn broken(e: serde_json::Error) -> RpcError {
    error::server(format!("writing the answer: {e}"))
}
