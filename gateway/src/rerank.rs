//! `POST /v1/rerank`: how relevant each document is to a query, in the shape that Cohere's and Jina's clients speak. The
//! scores are those of the authors' cross-encoder, highest first.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use axum::body::Body;
use axum::extract::{ConnectInfo, State};
use axum::response::Response;
use sahara::embedding::{Engine, MAX_TEXT_BYTES, Query, Stop, wanted};
use serde_json::{Value, json};

use crate::embeddings::{Answered, MAX_TOKENS, Receipts, respond};
use crate::load::work;
use crate::openai::{ApiError, shown};
use crate::served::Failure;
use crate::{Gateway, MAX_BODY, read_body};

/// Most documents of one request, as with Cohere.
const MAX_DOCUMENTS: usize = 1000;
/// Most bytes of the query times documents: it is read with each of them.
const MAX_PAIRED_BYTES: usize = MAX_BODY;
/// Most values in a request's JSON: a document is one, or an object with one, and there are a few fields.
const MAX_VALUES: usize = 4 * MAX_DOCUMENTS;

/// A checked request.
#[derive(Debug)]
struct Request {
    model: Option<Arc<str>>,
    query: Arc<str>,
    documents: Vec<Arc<str>>,
    top: usize,
    return_documents: bool,
    ignored: Vec<String>,
}

/// Answers a request for relevance.
pub async fn answer(
    State(gateway): State<Arc<Gateway>>,
    ConnectInfo(client): ConnectInfo<SocketAddr>,
    body: Body,
) -> Response {
    let started = Instant::now();
    respond(&gateway, started, rank(&gateway, client, body).await)
}

async fn rank(gateway: &Arc<Gateway>, client: SocketAddr, body: Body) -> Result<Answered<Value>, ApiError> {
    let place = gateway.load.enter(client.ip())?;
    let request = parse(&read_body(body).await?)?;
    if let Some(model) = &request.model {
        gateway.check_model(model)?;
    }
    let gateway = gateway.clone();
    work(place, move |stop| gateway.served.answer(&gateway.advice, |engine| ranked(&gateway, engine, &request, stop)))
        .await
}

fn ranked(gateway: &Gateway, engine: &dyn Engine, request: &Request, stop: &Stop) -> Result<Answered<Value>, Failure> {
    let Some(classes) = engine.classes().filter(|classes| classes.labels.len() == 1) else {
        let why = format!("'{}' is no cross-encoder with one output, so it cannot rank documents.", gateway.model);
        return Err(ApiError::invalid("model", why).into());
    };
    let Request { query, documents, top, return_documents, ignored, .. } = request;
    let pair = |document: &Arc<str>| Query { text: query.clone(), pair: Some(document.clone()), ..Query::default() };
    let pairs: Vec<Query> = documents.iter().map(pair).collect();
    let mut tokens = 0;
    for (index, pair) in pairs.iter().enumerate() {
        wanted(stop)?;
        tokens += engine.length(index, pair)?.tokens;
        if tokens > MAX_TOKENS {
            let why = format!("'documents' have more than {MAX_TOKENS} tokens in all: send fewer at once.");
            return Err(ApiError { code: Some("max_tokens_per_request"), ..ApiError::invalid("documents", why) }.into());
        }
    }
    let mut scores = Vec::with_capacity(pairs.len());
    let mut cut = Vec::new();
    let mut receipts = Receipts::default();
    engine.answer_until(&pairs, stop, &mut |answer| {
        if answer.truncated {
            cut.push(answer.index);
        }
        receipts.add(answer.receipt);
        scores.push((answer.index, classes.relevance(&answer.vector).unwrap_or_default()));
        Ok(())
    })?;
    // Equal scores keep the order of the documents.
    scores.sort_by(|a, b| b.1.total_cmp(&a.1));
    let result = |&(index, score): &(usize, f32)| {
        let mut result = json!({"index": index, "relevance_score": score});
        if *return_documents {
            result["document"] = json!({"text": documents[index].as_ref()});
        }
        result
    };
    let results: Vec<Value> = scores.iter().take(*top).map(result).collect();
    let said = |index: &usize| {
        format!("document {index} is longer than the model reads with this query: its end was left out")
    };
    let warnings: Vec<String> = cut.iter().map(said).collect();
    let since = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_nanos());
    let id = format!("rerank-{since:x}");
    let mut meta = json!({"api_version": {"version": "1"}, "billed_units": {"search_units": 0}});
    if !warnings.is_empty() {
        meta["warnings"] = json!(warnings);
    }
    let body = json!({
        "id": id, "object": "list", "model": gateway.model, "results": results, "meta": meta,
        "usage": {"prompt_tokens": tokens, "total_tokens": tokens},
    });
    Ok(Answered { body, texts: documents.len(), tokens, ignored: ignored.clone(), receipts })
}

/// Fields that other servers have and that would change the answer.
const CHANGE_THE_ANSWER: [&str; 7] = [
    "instruction",
    "max_chunks_per_doc",
    "max_tokens_per_doc",
    "overlap_tokens",
    "rank_fields",
    "return_embeddings",
    "truncation",
];

fn parse(body: &[u8]) -> Result<Request, ApiError> {
    let fields = crate::body::object(body, MAX_VALUES).map_err(|e| {
        ApiError::plain(400, "invalid_json", format!("The body is not a JSON object as expected: {e}."))
    })?;
    let mut ignored = Vec::new();
    for (name, value) in &fields {
        match name.as_str() {
            "model" | "query" | "documents" | "top_n" | "return_documents" => {}
            _ if value.is_null() => {}
            name if CHANGE_THE_ANSWER.contains(&name) => {
                let why = format!("'{name}' is not supported here and would change the answer: leave it out.");
                return Err(ApiError::unsupported(name, why));
            }
            name => ignored.push(shown(name)),
        }
    }
    ignored.truncate(16);
    let given = |name: &str| fields.get(name).filter(|value| !value.is_null());
    let missing = |name: &str| ApiError {
        code: Some("missing_required_parameter"),
        ..ApiError::invalid(name, format!("Missing required parameter: '{name}'."))
    };
    let text = |name: &str, value: &Value| -> Result<Arc<str>, ApiError> {
        match value {
            Value::String(text) if text.is_empty() => {
                Err(ApiError::invalid(name, format!("'{name}' has an empty text.")))
            }
            Value::String(text) if text.len() > MAX_TEXT_BYTES => Err(ApiError::invalid(
                name,
                format!("'{name}' has a text of {} bytes; at most {MAX_TEXT_BYTES}.", text.len()),
            )),
            Value::String(text) => Ok(text.as_str().into()),
            _ => Err(ApiError::invalid(name, format!("'{name}' must be text."))),
        }
    };
    let documents = match given("documents").ok_or_else(|| missing("documents"))? {
        Value::Array(list) if list.is_empty() || list.len() > MAX_DOCUMENTS => {
            let why = format!("'documents' has {} texts, not 1 to {MAX_DOCUMENTS}.", list.len());
            return Err(ApiError::invalid("documents", why));
        }
        // Cohere's clients send a text, or an object with a text and nothing else.
        Value::Array(list) => list
            .iter()
            .map(|document| match document {
                Value::Object(object) if object.len() == 1 => {
                    text("documents", object.get("text").unwrap_or(&Value::Null))
                }
                other => text("documents", other),
            })
            .collect::<Result<Vec<_>, _>>()?,
        _ => return Err(ApiError::invalid("documents", "'documents' must be a list of texts.")),
    };
    let top = match given("top_n") {
        None => documents.len(),
        Some(value) => match value.as_u64() {
            Some(top @ 1..) => usize::try_from(top).unwrap_or(usize::MAX),
            _ => return Err(ApiError::invalid("top_n", "'top_n' must be a positive whole number.")),
        },
    };
    let return_documents = match given("return_documents") {
        None => false,
        Some(Value::Bool(flag)) => *flag,
        Some(_) => return Err(ApiError::invalid("return_documents", "'return_documents' must be true or false.")),
    };
    let model = given("model").map(|model| text("model", model)).transpose()?;
    let query = text("query", given("query").ok_or_else(|| missing("query"))?)?;
    let (long, many) = (query.len(), documents.len());
    if long.saturating_mul(many) > MAX_PAIRED_BYTES {
        let why = format!(
            "'query' has {long} bytes and is read with each of {many} documents: at most {MAX_PAIRED_BYTES} bytes in all; \
             shorten it, or send fewer documents at once."
        );
        return Err(ApiError::invalid("query", why));
    }
    Ok(Request { model, query, documents, top, return_documents, ignored })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_of_both_clients_are_read_and_others_refused_by_name() {
        let read = |body: Value| parse(body.to_string().as_bytes());
        let cohere = read(json!({"model": "m", "query": "q", "documents": [{"text": "a"}, "b"], "top_n": 1})).unwrap();
        assert_eq!((cohere.documents, cohere.top, cohere.return_documents), (vec!["a".into(), "b".into()], 1, false));
        let jina = read(json!({"query": "q", "documents": ["a"], "return_documents": true, "user": "me"})).unwrap();
        assert_eq!((jina.return_documents, jina.ignored), (true, vec!["user".to_owned()]));
        for (body, param) in [
            (json!({"documents": ["a"]}), "query"),
            (json!({"query": "q"}), "documents"),
            (json!({"query": "q", "documents": []}), "documents"),
            (json!({"query": "q", "documents": [7]}), "documents"),
            (json!({"query": "q", "documents": [{"title": "t", "text": "a"}]}), "documents"),
            (json!({"query": "q", "documents": ["a"], "top_n": 0}), "top_n"),
            (json!({"query": "q", "documents": ["a"], "max_tokens_per_doc": 9}), "max_tokens_per_doc"),
            (json!({"query": "q", "documents": vec!["a"; 1001]}), "documents"),
            (json!({"query": "q".repeat(8389), "documents": vec!["a"; 1000]}), "query"),
            (json!({"query": "q".repeat(900_000), "documents": vec!["a"; 10]}), "query"),
        ] {
            let error = read(body.clone()).unwrap_err();
            assert_eq!((error.status, error.param.as_deref()), (400, Some(param)), "{body}");
        }
        read(json!({"query": "q".repeat(900_000), "documents": vec!["a"; 9]})).unwrap();
    }
}
