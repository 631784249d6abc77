//! From the bytes of a request to the bytes of its answer: JSON-RPC 2.0, one request or a batch.

use std::{borrow::Cow, sync::Arc};

use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

use super::{
    Backend,
    blocking::blocking,
    budget::{Answer, Budget},
    error::{self, RpcError, RpcResult},
    methods::{Method, find},
    params::{List, Params},
    session::Session,
    turn::turn,
};

/// Requests in one batch; geth takes as many.
const MAX_BATCH: usize = 1_000;
/// Bytes of an id. It is sent back as it came.
const MAX_ID: usize = 1_024;
/// A request; the parts that it has.
#[derive(Deserialize)]
struct Request<'a> {
    #[serde(borrow)]
    jsonrpc: Option<Cow<'a, str>>,
    #[serde(borrow, default, deserialize_with = "present")]
    id: Option<&'a RawValue>,
    #[serde(borrow)]
    method: Cow<'a, str>,
    #[serde(borrow, default)]
    params: Option<&'a RawValue>,
}

/// Only what is sent back, of what is no request.
#[derive(Deserialize)]
struct Named<'a> {
    #[serde(borrow, default, deserialize_with = "present")]
    id: Option<&'a RawValue>,
}

/// An id that is null is there; one that is absent is not.
fn present<'de: 'a, 'a, D: Deserializer<'de>>(deserializer: D) -> Result<Option<&'a RawValue>, D::Error> {
    <&RawValue>::deserialize(deserializer).map(Some)
}

/// The answer to `body`; nothing if it only tells something.
pub async fn answer(backend: &Arc<Backend>, session: &Session, body: &[u8]) -> Option<Answer> {
    let mut budget = backend.budget_of(session);
    let raw = match serde_json::from_slice::<&RawValue>(body) {
        Ok(raw) => raw.get(),
        Err(e) => {
            refuse(&mut budget, None, &error::coded(error::PARSE, format!("parse error: {e}")));
            return Some(budget.finish());
        }
    };
    if !raw.starts_with('[') {
        return one(backend, session, raw, &mut budget).await.then(|| budget.finish());
    }
    let requests = match serde_json::from_str::<List<&RawValue, MAX_BATCH>>(raw) {
        Ok(list) if list.0.is_empty() => Err("empty batch".to_owned()),
        Ok(list) => Ok(list.0),
        Err(e) => Err(format!("batch too large or broken: {e}")),
    };
    match requests {
        Ok(requests) => {
            let some = many(backend, session, &requests, &mut budget).await;
            some.then(|| budget.finish())
        }
        Err(why) => {
            refuse(&mut budget, None, &error::coded(error::REQUEST, why));
            Some(budget.finish())
        }
    }
}

/// Answers a batch in order. When its answers have become too long or too much work, the rest is refused unasked.
async fn many(backend: &Arc<Backend>, session: &Session, requests: &[&RawValue], budget: &mut Budget) -> bool {
    let mut some = false;
    for raw in requests {
        let before = budget.mark();
        budget.frame(if some { "," } else { "[" });
        match one(backend, session, raw.get(), budget).await {
            true => some = true,
            false => budget.undo(before),
        }
    }
    if some {
        budget.frame("]");
    }
    some
}

/// Answers one request into `budget`; false if it wants no answer.
async fn one(backend: &Arc<Backend>, session: &Session, raw: &str, budget: &mut Budget) -> bool {
    let request: Request<'_> = match serde_json::from_str(raw) {
        Ok(request) => request,
        Err(e) => {
            let id = serde_json::from_str::<Named<'_>>(raw).ok().and_then(|named| named.id);
            let id = id.filter(|id| check_id(id).is_ok());
            refuse(budget, id, &error::coded(error::REQUEST, format!("invalid request: {e}")));
            return true;
        }
    };
    let Some(id) = request.id else {
        // Nobody hears the answer of a question without a name: only what has an effect is done.
        if let Some(method @ (Method::Later(_) | Method::Submit)) = find(&request.method) {
            let _ = run(backend, session, method, Params(request.params), budget).await;
        }
        return false;
    };
    let checked = check_id(id).and_then(|()| match request.jsonrpc.as_deref() {
        Some("2.0") => Ok(()),
        other => {
            let why = format!("invalid request: jsonrpc must be \"2.0\", not {}", other.unwrap_or("absent"));
            Err((Some(id), error::coded(error::REQUEST, why)))
        }
    });
    if let Err((id, error)) = checked {
        refuse(budget, id, &error);
        return true;
    }
    let start = budget.mark();
    let done = async {
        let method = find(&request.method).ok_or_else(|| error::coded(error::METHOD, "Method not found"))?;
        // A batch that has used up its answer is told so without further work.
        budget.text("{\"jsonrpc\":\"2.0\",\"id\":")?;
        budget.text(id.get())?;
        budget.text(",\"result\":")?;
        budget.work(0)?;
        run(backend, session, method, Params(request.params), budget).await?;
        budget.text("}")
    };
    if let Err(error) = done.await {
        budget.undo(start);
        refuse(budget, Some(id), &error);
    }
    true
}

/// A name is a string, a number or null, and not too long.
fn check_id(id: &RawValue) -> Result<(), (Option<&RawValue>, RpcError)> {
    let text = id.get();
    if text.len() > MAX_ID {
        return Err((
            None,
            error::coded(error::REQUEST, format!("invalid request: the id has more than {MAX_ID} bytes")),
        ));
    }
    match text.as_bytes().first() {
        Some(b'"' | b'n' | b'-' | b'0'..=b'9') => Ok(()),
        _ => Err((None, error::coded(error::REQUEST, "invalid request: the id must be a string, a number or null"))),
    }
}

async fn run(
    backend: &Arc<Backend>,
    session: &Session,
    method: Method,
    params: Params<'_>,
    budget: &mut Budget,
) -> RpcResult<()> {
    match method {
        Method::Short(handler) => {
            let _turn = turn(&backend.turns.light).await?;
            budget.work(super::budget::VALUE)?;
            let value = blocking(|| handler(backend, params))?;
            budget.json(&value)
        }
        Method::Light(handler) => {
            let _turn = turn(&backend.turns.light).await?;
            blocking(|| handler(backend, params, budget))
        }
        Method::Heavy(handler) => {
            let _turn = turn(&backend.turns.heavy).await?;
            blocking(|| handler(backend, params, budget))
        }
        Method::Session(handler) => blocking(|| handler(backend, session, params, budget)),
        Method::Submit => super::call::send_raw(backend, params, budget).await,
        Method::Waiting(handler) => handler(backend, params, budget).await,
        Method::Later(handler) => {
            budget.work(super::budget::VALUE)?;
            let value = handler(backend, params).await?;
            budget.json(&value)
        }
    }
}

fn refuse(budget: &mut Budget, id: Option<&RawValue>, error: &RpcError) {
    let id = id.map_or("null", RawValue::get);
    let error = serde_json::to_string(error).unwrap_or_default();
    budget.frame(&format!("{{\"jsonrpc\":\"2.0\",\"id\":{id},\"error\":{error}}}"));
}
