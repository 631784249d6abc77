//! What the node knows of other nodes: peers, and whether it still catches up with them.

use std::{future::Future, pin::Pin};

use jsonrpsee::{core::RpcResult, types::Params};
use serde_json::{Value, json};
use tokio::runtime::Handle;

use super::{Backend, error, hex};

/// What consensus says about other nodes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Neighbours {
    /// Nodes that it is connected to.
    pub peers: u64,
    /// While the node catches up: the height it began at, and the highest it knows of.
    pub syncing: Option<(u64, u64)>,
}

/// An answer about other nodes, later.
pub type Asked<'a> = Pin<Box<dyn Future<Output = Result<Neighbours, String>> + Send + 'a>>;

pub fn syncing(backend: &Backend, _: Params<'_>) -> RpcResult<Value> {
    let height = backend.ledger.head().map_or(0, |head| head.height);
    Ok(match ask(backend)?.syncing {
        None => Value::Bool(false),
        Some((began, highest)) => json!({
            "startingBlock": hex(began),
            "currentBlock": hex(height),
            "highestBlock": hex(highest.max(height)),
        }),
    })
}

pub fn peer_count(backend: &Backend, _: Params<'_>) -> RpcResult<Value> {
    Ok(hex(ask(backend)?.peers))
}

fn ask(backend: &Backend) -> RpcResult<Neighbours> {
    // Handlers run on threads that may wait.
    Handle::current().block_on(backend.submit.neighbours()).map_err(error::server)
}
