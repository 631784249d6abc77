//! Blocks, headers, transactions and receipts as the bytes that are hashed.

use alloy_eips::{BlockId, eip2718::Encodable2718};
use alloy_primitives::{B256, Bytes};
use alloy_rlp::{Encodable, Header as Rlp};
use serde_json::json;

use super::{
    Backend,
    budget::{BLOCK, Budget},
    error::{self, RpcResult},
    params::Params,
};
use crate::block::Block;

fn block(backend: &Backend, params: Params<'_>, budget: &mut Budget) -> RpcResult<Block> {
    let id: BlockId = params.one()?;
    backend.block(id, budget)?.ok_or_else(|| error::server(format!("block {id} not found")))
}

pub fn raw_header(backend: &Backend, params: Params<'_>, budget: &mut Budget) -> RpcResult<()> {
    let block = block(backend, params, budget)?;
    budget.json(&Bytes::from(alloy_rlp::encode(&block.header)))
}

pub fn raw_block(backend: &Backend, params: Params<'_>, budget: &mut Budget) -> RpcResult<()> {
    let block = block(backend, params, budget)?;
    budget.json(&Bytes::from(encode(&block)))
}

pub fn raw_receipts(backend: &Backend, params: Params<'_>, budget: &mut Budget) -> RpcResult<()> {
    let receipts = block(backend, params, budget)?.receipts;
    budget.list(receipts, |budget, receipt| budget.json(&Bytes::from(receipt.encoded_2718())))
}

pub fn raw_transaction(backend: &Backend, params: Params<'_>, budget: &mut Budget) -> RpcResult<()> {
    let hash: B256 = params.one()?;
    budget.work(BLOCK)?;
    if let Some((block, index)) = backend.find(hash)? {
        return budget.json(&block.txs.get(index).map_or(json!("0x"), |tx| json!(tx.bytes)));
    }
    let waiting = backend.ledger.pool().find(hash);
    budget.json(&waiting.map_or(json!("0x"), |tx| json!(tx.bytes)))
}

/// Ethereum's bytes of a block: header, transactions, no uncles, no withdrawals.
pub fn encode(block: &Block) -> Vec<u8> {
    let mut txs = Vec::new();
    for tx in &block.txs {
        // A list stands as it is; a transaction with a type is a string of bytes.
        match tx.bytes.first() {
            Some(0xc0..) => txs.extend_from_slice(&tx.bytes),
            _ => tx.bytes.encode(&mut txs),
        }
    }
    let mut body = alloy_rlp::encode(&block.header);
    Rlp { list: true, payload_length: txs.len() }.encode(&mut body);
    body.extend(txs);
    let empty = Rlp { list: true, payload_length: 0 };
    empty.encode(&mut body);
    if block.header.withdrawals_root.is_some() {
        empty.encode(&mut body);
    }
    let mut out = Vec::with_capacity(body.len() + 9);
    Rlp { list: true, payload_length: body.len() }.encode(&mut out);
    out.extend(body);
    out
}
