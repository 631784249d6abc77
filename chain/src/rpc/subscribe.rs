//! `eth_subscribe`: new heads, logs, waiting transactions and the state of synchronisation, pushed over a WebSocket.
//! Nothing is kept for a client: what is new is read when it is told, one message after the other.

use alloy_primitives::hex;
use alloy_rpc_types_eth::Filter;
use serde_json::{Value, json};

use super::{
    Backend,
    block::{header_json, tx_json},
    budget::Budget,
    error::{self, RpcResult},
    log,
    params::Params,
    session::Session,
    topic::{Followed, Topic},
};
use crate::block;

pub fn subscribe(backend: &Backend, session: &Session, params: Params<'_>, budget: &mut Budget) -> RpcResult<()> {
    let topic = topic(params)?;
    let told = match topic {
        Topic::Pending { .. } => backend.ledger.pool().arrived(),
        Topic::Syncing => 0,
        _ => *backend.heights.borrow(),
    };
    // A name on one connection is no secret; without randomness of the system there is none.
    let mut id = [0; 16];
    getrandom::fill(&mut id).map_err(|e| error::server(format!("the system gives no randomness: {e}")))?;
    let id = hex::encode_prefixed(id);
    budget.json(&id)?;
    session.follow(id.clone(), Followed { topic, told, announced: false })?;
    budget.subscribed.push(id);
    Ok(())
}

pub fn unsubscribe(_: &Backend, session: &Session, params: Params<'_>, budget: &mut Budget) -> RpcResult<()> {
    let id: String = params.one()?;
    match session.leave(&id) {
        true => budget.json(&true),
        false => Err(error::server("subscription not found")),
    }
}

fn topic(params: Params<'_>) -> RpcResult<Topic> {
    let mut params = params.sequence();
    let name: String = params.next()?;
    match name.as_str() {
        "newHeads" => Ok(Topic::Heads),
        "logs" => {
            let filter: Filter = params.optional_next()?.unwrap_or_default();
            log::check(&filter)?;
            Ok(Topic::Logs(Box::new(filter)))
        }
        "newPendingTransactions" => Ok(Topic::Pending { full: params.optional_next()?.unwrap_or(false) }),
        "syncing" => Ok(Topic::Syncing),
        other => Err(error::invalid(format!("no {other:?} subscription in eth namespace"))),
    }
}

/// What is new for `topic` in block `height`, into `budget`: a message for each, one after the other.
pub fn in_block(backend: &Backend, topic: &Topic, id: &str, height: u64, budget: &mut Budget) -> RpcResult<Vec<usize>> {
    let head = backend.head()?;
    let reader = head.reader.as_ref();
    let Some(header) = block::header_at(reader, height).map_err(error::store)? else { return Ok(vec![]) };
    match topic {
        Topic::Heads => Ok(vec![message(id, &header_json(&header)?, budget)?]),
        Topic::Logs(filter) if filter.matches_bloom(header.logs_bloom) => {
            let Some(block) = backend.recent_block(height)? else { return Ok(vec![]) };
            let mut ends = vec![];
            log::each(&block, filter, |value| {
                ends.push(message(id, &value, budget)?);
                Ok(())
            })?;
            Ok(ends)
        }
        _ => Ok(vec![]),
    }
}

/// Transactions that began to wait since `told`, into `budget`; gives the ends of messages, and how many had come.
pub fn waiting(
    backend: &Backend,
    full: bool,
    told: u64,
    id: &str,
    budget: &mut Budget,
) -> RpcResult<(Vec<usize>, u64)> {
    let (fresh, arrived) = {
        let pool = backend.ledger.pool();
        let fresh: Vec<_> = pool.since(told).into_iter().filter_map(|hash| pool.find(hash)).collect();
        (fresh, pool.arrived())
    };
    let mut ends = vec![];
    for tx in fresh {
        let news = if full { tx_json(&tx, None)? } else { json!(tx.hash) };
        ends.push(message(id, &news, budget)?);
    }
    Ok((ends, arrived))
}

/// Writes a message about `id`; gives its end.
pub fn message(id: &str, news: &Value, budget: &mut Budget) -> RpcResult<usize> {
    budget.text("{\"jsonrpc\":\"2.0\",\"method\":\"eth_subscription\",\"params\":{\"subscription\":\"")?;
    budget.text(id)?;
    budget.text("\",\"result\":")?;
    budget.json(news)?;
    budget.text("}}")?;
    Ok(budget.mark())
}
