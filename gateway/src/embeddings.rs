//! `POST /v1/embeddings`: everything that can be refused is refused before anything is computed.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use axum::body::Body;
use axum::extract::{ConnectInfo, State};
use axum::http::HeaderValue;
use axum::response::{IntoResponse, Response};
use sahara::embedding::{Embedding, Engine, Query, Stop, wanted};
use sahara::error::{Error, ErrorKind, NetworkError};
use serde::Serialize;

use crate::error::Advice;
use crate::load::work;
use crate::openai::{ApiError, EmbeddingRequest, EmbeddingResponse, Input, parse_request};
use crate::served::Failure;
use crate::{Gateway, read_body, refuse, tokens};

/// Most tokens of one request, as with OpenAI: bounds what one request can make the nodes do.
pub(super) const MAX_TOKENS: usize = 300_000;

/// Answers a request for embeddings.
pub async fn answer(
    State(gateway): State<Arc<Gateway>>,
    ConnectInfo(client): ConnectInfo<SocketAddr>,
    body: Body,
) -> Response {
    let started = Instant::now();
    respond(&gateway, started, embed(&gateway, client, body).await)
}

/// What a request was answered with.
pub(super) struct Answered<B> {
    pub(super) body: B,
    pub(super) texts: usize,
    pub(super) tokens: usize,
    /// Members of the request that were passed over.
    pub(super) ignored: Vec<String>,
    pub(super) receipts: Receipts,
}

/// The response to a request that came in at `started`.
pub(super) fn respond<B: Serialize>(
    gateway: &Gateway,
    started: Instant,
    answered: Result<Answered<B>, ApiError>,
) -> Response {
    match answered {
        Ok(Answered { body, texts, tokens, ignored, receipts }) => {
            gateway.metrics.served(texts, tokens, started.elapsed());
            with_warning(with_receipts(axum::Json(body).into_response(), gateway, &receipts), &ignored)
        }
        Err(error) => refuse(&error),
    }
}

/// How many answers of a request were paid for, and the last one's receipt: it follows all others of its session.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Receipts {
    count: usize,
    last: Option<Vec<u8>>,
}

impl Receipts {
    /// One more answer.
    pub(super) fn add(&mut self, receipt: Option<Vec<u8>>) {
        if let Some(receipt) = receipt {
            self.count += 1;
            self.last = Some(receipt);
        }
    }
}

async fn embed(
    gateway: &Arc<Gateway>,
    client: SocketAddr,
    body: Body,
) -> Result<Answered<EmbeddingResponse>, ApiError> {
    let place = gateway.load.enter(client.ip())?;
    let body = read_body(body).await?;
    let request = parse_request(&body)?;
    drop(body);
    gateway.check_model(&request.model)?;
    let gateway = gateway.clone();
    work(place, move |stop| {
        let mut answers = gateway.served.answer(&gateway.advice, |engine| answers(&gateway, engine, &request, stop))?;
        let mut receipts = Receipts::default();
        answers.iter_mut().for_each(|answer| receipts.add(answer.receipt.take()));
        let (texts, tokens) = (answers.len(), answers.iter().map(|answer| answer.tokens).sum());
        let body = EmbeddingResponse::new(&gateway.model, answers, request.format);
        Ok(Answered { body, texts, tokens, ignored: request.ignored, receipts })
    })
    .await
}

fn answers(
    gateway: &Gateway,
    engine: &dyn Engine,
    request: &EmbeddingRequest,
    stop: &Stop,
) -> Result<Vec<Embedding>, Failure> {
    if engine.classes().is_some() {
        let why = format!("'{}' is a classifier, it has no embeddings: ask /v1/classify or /v1/rerank.", gateway.model);
        return Err(ApiError::invalid("model", why).into());
    }
    check_dimensions(request.dimensions, engine.dimensions())?;
    let texts = texts(gateway, engine, &request.inputs, stop)?;
    let mut answers: Vec<Embedding> = Vec::with_capacity(texts.len());
    engine.embed_until(&texts, stop, &mut |answer| {
        answers.push(answer);
        Ok(())
    })?;
    Ok(answers)
}

fn check_dimensions(asked: Option<u64>, own: usize) -> Result<(), ApiError> {
    match asked {
        Some(asked) if asked != own as u64 => {
            let why = format!("'dimensions' {asked} is not supported: the model's embeddings have {own} numbers.");
            Err(ApiError::unsupported("dimensions", why))
        }
        _ => Ok(()),
    }
}

/// The texts of the inputs, none of them longer than the model reads.
fn texts(gateway: &Gateway, engine: &dyn Engine, inputs: &[Input], stop: &Stop) -> Result<Vec<String>, Failure> {
    let mut tokens = 0;
    let mut texts = Vec::with_capacity(inputs.len());
    for (index, input) in inputs.iter().enumerate() {
        wanted(stop)?;
        let text = match input {
            Input::Text(text) => text.clone(),
            Input::Tokens(ids) => {
                tokens::text_of(index, ids, gateway.token_arrays, engine, &gateway.advice.token_arrays)?
            }
        };
        let length = engine.length(index, &Query::from(&text))?;
        if length.truncated {
            let why = format!(
                "This model's maximum context length is {} tokens, and 'input' {index} is longer: split it into passages.",
                length.tokens
            );
            return Err(ApiError { code: Some("context_length_exceeded"), ..ApiError::invalid("input", why) }.into());
        }
        tokens += length.tokens;
        if tokens > MAX_TOKENS {
            let why = format!("'input' has more than {MAX_TOKENS} tokens in all: send fewer texts at once.");
            return Err(ApiError { code: Some("max_tokens_per_request"), ..ApiError::invalid("input", why) }.into());
        }
        texts.push(text);
    }
    Ok(texts)
}

/// Says what was paid for: `x-sahara-receipt` is the id of the last receipt, `x-sahara-receipts` how many there are.
fn with_receipts(mut response: Response, gateway: &Gateway, receipts: &Receipts) -> Response {
    let id = receipts.last.as_ref().and_then(|last| gateway.receipt_id.as_ref()?(last));
    if let Some(value) = id.and_then(|id| HeaderValue::from_str(&id).ok()) {
        response.headers_mut().insert("x-sahara-receipt", value);
        response.headers_mut().insert("x-sahara-receipts", receipts.count.into());
    }
    response
}

fn with_warning(mut response: Response, ignored: &[String]) -> Response {
    if ignored.is_empty() {
        return response;
    }
    let text = format!("ignored fields: {}", ignored.join(", "));
    // The names were made of printable ASCII when they were read.
    if let Ok(value) = HeaderValue::from_str(&text) {
        response.headers_mut().insert("x-sahara-warning", value);
    }
    response
}

/// What others are told where an answer is not paid for: not what is left, nor in which session.
const UNPAID: &str = "The gateway cannot pay for this answer now.";
/// And where the network fails.
const NO_ANSWER: &str = "The share nodes behind the gateway did not answer.";

/// And where the privacy budget does not suffice.
const USED_UP: &str = "The privacy budget of the data behind the model does not suffice for this.";

/// What is wrong where an answer is not within a privacy budget: with which parameter, and under which code.
fn of_budget(error: &NetworkError) -> Option<(Option<&'static str>, &'static str)> {
    match error {
        NetworkError::NoNoise => Some((Some("dp"), "no_noise")),
        NetworkError::CostsMore { .. } => Some((Some("dp"), "costs_more_epsilon")),
        NetworkError::UsedUp { .. } | NetworkError::TooFew { .. } => Some((None, "privacy_budget_used_up")),
        _ => None,
    }
}

/// An engine's error in OpenAI's shape.
pub fn engine_error(error: &Error, advice: &Advice) -> ApiError {
    let said = (advice.explain)(error);
    if let Error::Network(network) = error
        && let Some((param, code)) = of_budget(network)
    {
        let told = ApiError { param: param.map(str::to_owned), ..ApiError::plain(400, code, said) };
        // What a node's refusal names is its operators' and the owner's.
        return if param.is_none() { told.told_elsewhere(USED_UP) } else { told };
    }
    match error.kind() {
        ErrorKind::Input => ApiError::invalid("input", said),
        ErrorKind::Missing => ApiError::no_model(said).told_elsewhere("The gateway's model is not to be had now."),
        ErrorKind::Unpaid => ApiError::plain(402, "payment_required", said).told_elsewhere(UNPAID),
        // A client that asks again is answered by the other version.
        ErrorKind::Changed => ApiError::plain(503, "model_changed", said),
        ErrorKind::Unreachable => ApiError::plain(503, "network_unavailable", said).told_elsewhere(NO_ANSWER),
        ErrorKind::Machine => {
            ApiError::plain(500, "internal_error", said).told_elsewhere("The gateway's machine failed.")
        }
        // Nobody is there to read this one.
        ErrorKind::Stopped => ApiError::plain(499, "client_closed_request", "The client has hung up."),
        _ => {
            let said = format!("The share nodes did not answer: {said}");
            ApiError::plain(502, "network_error", said).told_elsewhere(NO_ANSWER)
        }
    }
}
