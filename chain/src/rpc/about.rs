//! What this node is and what it keeps.

use jsonrpsee::{core::RpcResult, types::Params};
use serde_json::{Value, json};

use super::{Backend, error, hex};
use crate::block;

/// The families of methods, each with its version.
pub fn modules(_: &Backend, _: Params<'_>) -> RpcResult<Value> {
    Ok(json!({ "debug": "1.0", "eth": "1.0", "net": "1.0", "rpc": "1.0", "txpool": "1.0", "web3": "1.0" }))
}

/// The oldest block whose state, content and proofs can be asked for.
pub fn capabilities(backend: &Backend, _: Params<'_>) -> RpcResult<Value> {
    let head = backend.head()?;
    let from = |height: u64| json!({ "disabled": false, "oldestBlock": hex(height) });
    let blocks = from(block::lowest(head.reader.as_ref()).map_err(error::store)?.unwrap_or(head.height));
    Ok(json!({
        "head": { "number": hex(head.height), "hash": head.hash },
        "state": from(backend.ledger.oldest_state().map_err(error::store)?),
        "stateproofs": from(head.height),
        "blocks": blocks,
        "tx": blocks,
        "receipts": blocks,
        "logs": blocks,
    }))
}
