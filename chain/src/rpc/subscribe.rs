//! `eth_subscribe`: new heads, logs, waiting transactions and the state of synchronisation, pushed over WebSocket.
//! Nothing is kept for a client that does not read: its subscription ends.

use std::{sync::Arc, time::Duration};

use alloy_rpc_types_eth::Filter;
use jsonrpsee::{
    PendingSubscriptionSink, RpcModule, SubscriptionMessage, SubscriptionSink,
    core::{RegisterMethodError, RpcResult, SubscriptionResult},
    types::Params,
};
use serde_json::{Value, json};

use super::{Backend, block::header_json, block::tx_json, error, log::in_block};
use crate::block;

/// How long a message waits for the client to read those before it.
const PATIENCE: Duration = Duration::from_secs(10);

/// How often the pool is looked at for whoever follows it.
const POOL_PERIOD: Duration = Duration::from_millis(100);

enum Topic {
    Heads,
    Logs(Box<Filter>),
    Pending { full: bool },
    Syncing,
}

pub fn register(module: &mut RpcModule<Backend>) -> Result<(), RegisterMethodError> {
    module.register_subscription("eth_subscribe", "eth_subscription", "eth_unsubscribe", subscribe)?;
    Ok(())
}

async fn subscribe(
    params: Params<'static>,
    pending: PendingSubscriptionSink,
    backend: Arc<Backend>,
    _: jsonrpsee::Extensions,
) -> SubscriptionResult {
    let topic = match topic(params) {
        Ok(topic) => topic,
        Err(e) => {
            pending.reject(e).await;
            return Ok(());
        }
    };
    // What comes from here on is told, whatever happens between this line and the next.
    let arrived = backend.ledger.pool().arrived();
    let sink = pending.accept().await?;
    match topic {
        Topic::Heads => blocks(&backend, &sink, None).await,
        Topic::Logs(filter) => blocks(&backend, &sink, Some(&filter)).await,
        Topic::Pending { full } => waiting(&backend, &sink, full, arrived).await,
        Topic::Syncing => {
            // What is answered here is committed: there is nothing to catch up with.
            tell(&sink, &json!(false)).await?;
            sink.closed().await;
            Ok(())
        }
    }
}

fn topic(params: Params<'_>) -> RpcResult<Topic> {
    let mut params = params.sequence();
    let name: String = params.next()?;
    match name.as_str() {
        "newHeads" => Ok(Topic::Heads),
        "logs" => {
            let filter: Filter = params.optional_next()?.unwrap_or_default();
            super::log::check(&filter)?;
            Ok(Topic::Logs(Box::new(filter)))
        }
        "newPendingTransactions" => Ok(Topic::Pending { full: params.optional_next()?.unwrap_or(false) }),
        "syncing" => Ok(Topic::Syncing),
        other => Err(error::invalid(format!("no {other:?} subscription in eth namespace"))),
    }
}

async fn blocks(backend: &Backend, sink: &SubscriptionSink, filter: Option<&Filter>) -> SubscriptionResult {
    let mut heights = backend.heights.clone();
    let mut told = *heights.borrow_and_update();
    loop {
        tokio::select! {
            () = sink.closed() => return Ok(()),
            changed = heights.changed() => changed?,
        }
        let newest = *heights.borrow_and_update();
        for height in told + 1..=newest {
            for news in news(backend, filter, height)? {
                tell(sink, &news).await?;
            }
        }
        told = newest;
    }
}

fn news(backend: &Backend, filter: Option<&Filter>, height: u64) -> RpcResult<Vec<Value>> {
    let head = backend.head()?;
    let reader = head.reader.as_ref();
    let Some(header) = block::header_at(reader, height).map_err(error::store)? else { return Ok(vec![]) };
    match filter {
        None => Ok(vec![header_json(&header)?]),
        Some(filter) if !filter.matches_bloom(header.logs_bloom) => Ok(vec![]),
        Some(filter) => {
            let block = block::block_at(reader, height).map_err(error::store)?;
            Ok(block.map(|block| in_block(&block, filter)).unwrap_or_default())
        }
    }
}

async fn waiting(backend: &Backend, sink: &SubscriptionSink, full: bool, mut seen: u64) -> SubscriptionResult {
    let mut period = tokio::time::interval(POOL_PERIOD);
    period.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = sink.closed() => return Ok(()),
            _ = period.tick() => {}
        }
        let fresh: Vec<Value> = {
            let pool = backend.ledger.pool();
            let hashes = pool.since(seen);
            seen = pool.arrived();
            match full {
                false => hashes.into_iter().map(|hash| json!(hash)).collect(),
                true => hashes.into_iter().filter_map(|hash| tx_json(&*pool.find(hash)?, None).ok()).collect(),
            }
        };
        for news in fresh {
            tell(sink, &news).await?;
        }
    }
}

async fn tell(sink: &SubscriptionSink, news: &Value) -> SubscriptionResult {
    let message = SubscriptionMessage::new(sink.method_name(), sink.subscription_id(), news)?;
    Ok(sink.send_timeout(message, PATIENCE).await?)
}
