//! What the node knows of other nodes: peers, and whether it still catches up with them.

use std::{future::Future, pin::Pin, sync::Arc};

use serde_json::{Value, json};

use super::{Backend, error::RpcResult, hex, params::Params};

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

pub fn syncing<'a>(backend: &'a Arc<Backend>, _: Params<'a>) -> Told<'a> {
    Box::pin(async move {
        let height = backend.ledger.head().map_or(0, |head| head.height);
        let neighbours = backend.neighbours().await?;
        Ok(match neighbours.syncing {
            None => Value::Bool(false),
            Some((began, highest)) => json!({
                "startingBlock": hex(began),
                "currentBlock": hex(height),
                "highestBlock": hex(highest.max(height)),
            }),
        })
    })
}

pub fn peer_count<'a>(backend: &'a Arc<Backend>, _: Params<'a>) -> Told<'a> {
    Box::pin(async move { Ok(hex(backend.neighbours().await?.peers)) })
}

/// An answer, later.
pub type Told<'a> = Pin<Box<dyn Future<Output = RpcResult<Value>> + Send + 'a>>;
