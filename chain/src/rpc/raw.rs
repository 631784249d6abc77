//! Blocks, headers, transactions and receipts as the bytes that are hashed.

use alloy_eips::{BlockId, eip2718::Encodable2718};
use alloy_primitives::{B256, Bytes};
use alloy_rlp::{Encodable, Header as Rlp};
use jsonrpsee::{core::RpcResult, types::Params};
use serde_json::{Value, json};

use super::{Backend, block::find, error};
use crate::block::Block;

fn block(backend: &Backend, params: Params<'_>) -> RpcResult<Block> {
    let id: BlockId = params.one()?;
    backend.block(id)?.ok_or_else(|| error::server(format!("block {id} not found")))
}

pub fn raw_header(backend: &Backend, params: Params<'_>) -> RpcResult<Value> {
    Ok(json!(Bytes::from(alloy_rlp::encode(&block(backend, params)?.header))))
}

pub fn raw_block(backend: &Backend, params: Params<'_>) -> RpcResult<Value> {
    Ok(json!(Bytes::from(encode(&block(backend, params)?))))
}

pub fn raw_receipts(backend: &Backend, params: Params<'_>) -> RpcResult<Value> {
    let receipts = block(backend, params)?.receipts;
    Ok(receipts.iter().map(|receipt| json!(Bytes::from(receipt.encoded_2718()))).collect())
}

pub fn raw_transaction(backend: &Backend, params: Params<'_>) -> RpcResult<Value> {
    let hash: B256 = params.one()?;
    if let Some((block, index)) = find(backend, hash)? {
        return Ok(block.txs.get(index).map_or(json!("0x"), |tx| json!(tx.bytes)));
    }
    let waiting = backend.ledger.pool().find(hash);
    Ok(waiting.map_or(json!("0x"), |tx| json!(tx.bytes)))
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
