//! What this node is and what it keeps.

use serde_json::{Value, json};

use super::{
    Backend,
    error::{self, RpcResult},
    numbers::hex,
    params::Params,
};
use crate::block;

/// The families of methods, each with its version.
pub fn modules(_: &Backend, _: Params<'_>) -> RpcResult<Value> {
    Ok(
        json!({ "debug": "1.0", "eth": "1.0", "net": "1.0", "rpc": "1.0", "sahara": "1.0", "txpool": "1.0", "web3": "1.0" }),
    )
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

/// The address that gets the tips of this node's blocks: of the validator of the newest block, as far as it is known.
pub fn coinbase(backend: &Backend, _: Params<'_>) -> RpcResult<Value> {
    Ok(json!(backend.head()?.header.beneficiary))
}

/// The program and its version. A chain for development begins with the word that Hardhat's helpers look for before they
/// move time or go back: they take no other network.
pub fn version(backend: &Backend, _: Params<'_>) -> RpcResult<Value> {
    let name = concat!("sahara/", env!("CARGO_PKG_VERSION"));
    Ok(Value::String(match backend.develop {
        None => name.into(),
        Some(_) => format!("anvil/{name}"),
    }))
}
