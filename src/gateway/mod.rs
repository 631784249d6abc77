//! An OpenAI-compatible server on the person's own machine: it reads the text, makes the shares itself, and only
//! shares leave. Whoever runs the gateway sees the text, so it listens on loopback unless told otherwise.

mod metrics;
mod openai;

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::rejection::BytesRejection;
use axum::extract::{DefaultBodyLimit, Path, Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use serde_json::json;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;

use crate::embedding::{Embedding, Engine, embed_all};
use crate::error::{Blame, Error, Result};
use metrics::Metrics;
use openai::{ApiError, EmbeddingRequest, EmbeddingResponse};

/// Largest body of a request in bytes.
const MAX_BODY: usize = 16 << 20;
/// Requests served at once; more are told to come back.
const MAX_RUNNING: usize = 64;

/// Settings of a gateway.
pub struct GatewayConfig {
    /// Where to listen.
    pub listen: SocketAddr,
    /// Accept connections from other machines, whose users' texts this machine will then see.
    pub allow_remote: bool,
    /// Name of the model that is served.
    pub model: String,
}

struct Gateway {
    engine: Arc<dyn Engine>,
    model: String,
    created: u64,
    metrics: Metrics,
    running: Semaphore,
    /// Only names of this machine are accepted in the Host header, so that no web page can reach the gateway by
    /// pointing its own name at loopback.
    loopback_only: bool,
}

/// A gateway that has its port and waits to be run.
pub struct Listening {
    listener: TcpListener,
    address: SocketAddr,
    model: String,
}

impl Listening {
    /// The address it listens on (with the real port when 0 was asked).
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Serves until `stop` resolves, then finishes what is running.
    pub async fn serve(self, engine: Arc<dyn Engine>, stop: impl Future<Output = ()> + Send + 'static) -> Result<()> {
        let router = router(engine, self.model, self.address.ip().is_loopback());
        axum::serve(self.listener, router)
            .with_graceful_shutdown(stop)
            .await
            .map_err(|e| Error::fault_from("serving the gateway", e))
    }
}

/// Takes the port; refuses addresses that other machines reach unless that was asked for.
pub async fn bind(config: GatewayConfig) -> Result<Listening> {
    check_address(config.listen, config.allow_remote)?;
    let doing = format!("listening on {}", config.listen);
    let listener = TcpListener::bind(config.listen).await.map_err(|e| match e.kind() {
        std::io::ErrorKind::AddrInUse => Error::user(format!(
            "{doing}: the port is in use by another program; choose another with --listen {}:PORT",
            config.listen.ip()
        )),
        _ => Error::wrap(&doing, Blame::User, e),
    })?;
    let address = listener.local_addr().map_err(|e| Error::fault_from(doing, e))?;
    Ok(Listening { listener, address, model: config.model })
}

fn check_address(listen: SocketAddr, allow_remote: bool) -> Result<()> {
    if listen.ip().is_loopback() || allow_remote {
        return Ok(());
    }
    Err(Error::user(format!(
        "{listen} can be reached from other machines, and a gateway sees the text it is sent: listen on 127.0.0.1, or say --allow-remote if that is what you want"
    )))
}

fn router(engine: Arc<dyn Engine>, model: String, loopback_only: bool) -> Router {
    let created = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let gateway = Arc::new(Gateway {
        engine,
        model,
        created,
        metrics: Metrics::default(),
        running: Semaphore::new(MAX_RUNNING),
        loopback_only,
    });
    Router::new()
        .route("/v1/models", get(list_models))
        .route("/v1/models/{id}", get(show_model))
        .route("/v1/embeddings", post(embeddings))
        .route("/healthz", get(healthz))
        .route("/metrics", get(show_metrics))
        .fallback(async || {
            refuse(&ApiError::plain(
                404,
                "not_found",
                "No such page. There are /v1/models, /v1/embeddings, /healthz and /metrics.",
            ))
        })
        .method_not_allowed_fallback(async || {
            refuse(&ApiError::plain(
                405,
                "method_not_allowed",
                "This page has another method: POST for /v1/embeddings, GET for the others.",
            ))
        })
        .layer(DefaultBodyLimit::max(MAX_BODY))
        .layer(middleware::from_fn_with_state(gateway.clone(), check_head))
        .with_state(gateway)
}

/// Refuses by the request's head, before its body is read.
async fn check_head(State(gateway): State<Arc<Gateway>>, request: Request<Body>, next: Next) -> Response {
    if gateway.loopback_only && !names_this_machine(request.headers()) {
        return refuse(&ApiError::plain(
            403,
            "foreign_host",
            "This gateway answers only to localhost, 127.0.0.1 and [::1].",
        ));
    }
    if announced_length(request.headers()).is_some_and(|length| length > MAX_BODY as u64) {
        return refuse(&too_large());
    }
    next.run(request).await
}

fn names_this_machine(headers: &HeaderMap) -> bool {
    let Some(host) = headers.get(header::HOST) else { return true };
    let Ok(host) = host.to_str() else { return false };
    let name = match host.rsplit_once(':') {
        Some((name, port)) if !port.is_empty() && port.bytes().all(|b| b.is_ascii_digit()) => name,
        _ => host,
    };
    let bare = name.trim_start_matches('[').trim_end_matches(']');
    bare.eq_ignore_ascii_case("localhost") || bare.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

fn announced_length(headers: &HeaderMap) -> Option<u64> {
    headers.get(header::CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

fn too_large() -> ApiError {
    let message = format!("The body is larger than {MAX_BODY} bytes: send fewer or shorter texts.");
    ApiError::plain(413, "request_too_large", message)
}

async fn list_models(State(gateway): State<Arc<Gateway>>) -> Response {
    axum::Json(openai::model_list(&gateway.model, gateway.created)).into_response()
}

async fn show_model(State(gateway): State<Arc<Gateway>>, Path(id): Path<String>) -> Response {
    if id != gateway.model {
        return refuse(&ApiError::unknown_model(&id, &gateway.model));
    }
    axum::Json(openai::model_object(&gateway.model, gateway.created)).into_response()
}

async fn embeddings(State(gateway): State<Arc<Gateway>>, body: Result<Bytes, BytesRejection>) -> Response {
    let started = Instant::now();
    let _running = gateway.metrics.begin();
    match answer(&gateway, body).await {
        Ok(response) => {
            gateway.metrics.served(response.texts, response.tokens, started.elapsed());
            axum::Json(response.body).into_response()
        }
        Err(error) => {
            gateway.metrics.error(error.status);
            refuse(&error)
        }
    }
}

struct Answered {
    body: EmbeddingResponse,
    texts: usize,
    tokens: usize,
}

async fn answer(gateway: &Arc<Gateway>, body: Result<Bytes, BytesRejection>) -> Result<Answered, ApiError> {
    let body = body.map_err(|rejection| match rejection.status() {
        StatusCode::PAYLOAD_TOO_LARGE => too_large(),
        status => ApiError::plain(status.as_u16(), "bad_body", "The body could not be read."),
    })?;
    let request = openai::parse_request(&body)?;
    if request.model != gateway.model {
        return Err(ApiError::unknown_model(&request.model, &gateway.model));
    }
    let Ok(_permit) = gateway.running.try_acquire() else {
        return Err(ApiError::plain(
            429,
            "too_many_requests",
            format!("{MAX_RUNNING} requests are being served: try again shortly."),
        ));
    };
    let EmbeddingRequest { texts, format, .. } = request;
    let engine = gateway.engine.clone();
    let answers = tokio::task::spawn_blocking(move || embed_all(engine.as_ref(), &texts))
        .await
        .map_err(|_| ApiError::plain(500, "internal_error", "The gateway failed while serving this request."))?
        .map_err(|error| engine_error(&error))?;
    if let Some(long) = answers.iter().find(|answer| answer.truncated) {
        return Err(too_long(long));
    }
    let (texts, tokens) = (answers.len(), answers.iter().map(|answer| answer.tokens).sum());
    Ok(Answered { body: EmbeddingResponse::new(&gateway.model, answers, format), texts, tokens })
}

fn too_long(answer: &Embedding) -> ApiError {
    ApiError::invalid(
        "input",
        format!(
            "'input' {} is longer than the model reads ({} tokens): split it into passages.",
            answer.index, answer.tokens
        ),
    )
}

fn engine_error(error: &Error) -> ApiError {
    match error.blame() {
        Blame::User => ApiError::invalid("input", error.report()),
        Blame::Unreachable => ApiError::plain(503, "network_unavailable", error.report()),
        Blame::Fault | Blame::Quiet => {
            ApiError::plain(502, "network_error", format!("The share nodes did not answer: {error}"))
        }
    }
}

async fn healthz(State(gateway): State<Arc<Gateway>>) -> Response {
    let engine = gateway.engine.clone();
    let health = tokio::task::spawn_blocking(move || engine.health()).await;
    match health {
        Ok(Ok(())) => axum::Json(json!({"status": "ok", "model": gateway.model})).into_response(),
        Ok(Err(error)) => unhealthy(&error.to_string()),
        Err(_) => unhealthy("the health check failed"),
    }
}

fn unhealthy(reason: &str) -> Response {
    (StatusCode::SERVICE_UNAVAILABLE, axum::Json(json!({"status": "unavailable", "reason": reason}))).into_response()
}

async fn show_metrics(State(gateway): State<Arc<Gateway>>) -> Response {
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4")], gateway.metrics.render()).into_response()
}

fn refuse(error: &ApiError) -> Response {
    let status = StatusCode::from_u16(error.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    (status, axum::Json(error.body())).into_response()
}

#[cfg(test)]
mod tests;
