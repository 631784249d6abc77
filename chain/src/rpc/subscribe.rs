//! `eth_subscribe`: new heads, logs and waiting transactions, pushed over WebSocket.

use std::sync::Arc;

use alloy_rpc_types_eth::Filter;
use jsonrpsee::{
    PendingSubscriptionSink, RpcModule, SubscriptionMessage, SubscriptionSink,
    core::{RegisterMethodError, RpcResult, SubscriptionResult},
    types::Params,
};
use serde_json::{Value, json};

use super::{Backend, block::header_json, error, log::in_block};
use crate::block;

enum Topic {
    Heads,
    Logs(Box<Filter>),
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
    let sink = pending.accept().await?;
    follow(&backend, &sink, &topic).await
}

fn topic(params: Params<'_>) -> RpcResult<Topic> {
    let mut params = params.sequence();
    let name: String = params.next()?;
    match name.as_str() {
        "newHeads" => Ok(Topic::Heads),
        "logs" => Ok(Topic::Logs(Box::new(params.optional_next()?.unwrap_or_default()))),
        other => Err(error::invalid(format!("no {other:?} subscription in eth namespace"))),
    }
}

async fn follow(backend: &Backend, sink: &SubscriptionSink, topic: &Topic) -> SubscriptionResult {
    let mut heights = backend.heights.clone();
    let mut told = *heights.borrow_and_update();
    loop {
        tokio::select! {
            () = sink.closed() => return Ok(()),
            changed = heights.changed() => changed?,
        }
        let newest = *heights.borrow_and_update();
        for height in told + 1..=newest {
            for news in news(backend, topic, height)? {
                let message = SubscriptionMessage::new(sink.method_name(), sink.subscription_id(), &json!(news))?;
                sink.send(message).await?;
            }
        }
        told = newest;
    }
}

fn news(backend: &Backend, topic: &Topic, height: u64) -> RpcResult<Vec<Value>> {
    let head = backend.head()?;
    let Some(block) = block::block_at(head.reader.as_ref(), height).map_err(error::store)? else { return Ok(vec![]) };
    match topic {
        Topic::Heads => Ok(vec![header_json(&block)?]),
        Topic::Logs(filter) => Ok(in_block(&block, filter)),
    }
}
