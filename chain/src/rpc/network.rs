//! What the node knows of other nodes: peers, and whether it still catches up with them.

use std::sync::Arc;

use serde_json::{Value, json};

use super::{Backend, error::Told, numbers::hex, params::Params};

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
