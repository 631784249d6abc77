//! An OpenAI-compatible server on the person's own machine: it reads the text, makes the shares itself, and only
//! shares leave. Whoever runs the gateway sees the text, so it listens on loopback unless told otherwise.

#![forbid(unsafe_code)]

mod access;
mod body;
mod classify;
mod embeddings;
mod error;
mod load;
pub mod local;
mod metrics;
mod openai;
mod page;
mod rerank;
mod served;
mod sockets;
mod tokens;

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use axum::Router;
use axum::body::Body;
use axum::extract::{ConnectInfo, Path, Request, State};
use axum::http::{HeaderValue, Method, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use serde_json::json;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;

pub use access::{Origins, check_host};
pub use error::{Advice, GatewayError};
pub use served::{Renew, Served};
pub use tokens::TokenArrays;

use access::{Hosts, Sender};
use load::Load;
use metrics::Metrics;
use openai::ApiError;

/// Largest body of a request in bytes.
const MAX_BODY: usize = 8 << 20;
/// How long a body may take to arrive.
const BODY_PATIENCE: Duration = Duration::from_secs(30);
/// Requests served at once; more are told to come back.
const MAX_RUNNING: usize = 64;
/// Of these, requests of one client unless told otherwise.
pub const REQUESTS_PER_CLIENT: u16 = 16;
/// Questions after the nodes' health at once; more wait.
const HEALTH_CHECKS: usize = 2;
/// How long what is running may go on after the gateway was told to stop.
const GRACE: Duration = Duration::from_secs(10);

/// Settings of a gateway.
pub struct GatewayConfig {
    /// Where to listen.
    pub listen: SocketAddr,
    /// Accept connections from other machines, whose users' texts this machine will then see.
    pub allow_remote: bool,
    /// Names by which clients may call this gateway, besides `localhost` and addresses: see [`check_host`].
    pub hosts: Vec<String>,
    /// Origins of web pages that may ask.
    pub origins: Origins,
    /// Whose token numbers clients send.
    pub token_arrays: TokenArrays,
    /// Requests of one address that are served at once.
    pub requests_per_client: u16,
    /// Name of the model that is served.
    pub model: String,
    /// Other names by which clients may ask for it: see [`Listening::also_as`].
    pub also: Vec<String>,
    /// What people are told who can change these settings.
    pub advice: Advice,
    /// The id of a receipt in the form of the purse that pays for answers, if one does: clients get it in a header.
    pub receipt_id: Option<ReceiptId>,
}

/// Tells the id of a receipt.
pub type ReceiptId = Arc<dyn Fn(&[u8]) -> Option<String> + Send + Sync>;

struct Gateway {
    served: Served,
    model: String,
    also: Vec<String>,
    created: u64,
    origins: Origins,
    token_arrays: TokenArrays,
    metrics: Arc<Metrics>,
    load: Arc<Load>,
    health_checks: Arc<Semaphore>,
    hosts: Hosts,
    advice: Advice,
    receipt_id: Option<ReceiptId>,
}

/// A gateway that has its port and waits to be run.
pub struct Listening {
    listener: TcpListener,
    address: SocketAddr,
    config: GatewayConfig,
}

impl Listening {
    /// The address it listens on (with the real port when 0 was asked).
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Lets clients ask for the model by these names, too.
    pub fn also_as(&mut self, names: Vec<String>) {
        self.config.also.extend(names);
    }

    /// Serves until `stop` resolves; what is running then gets a while to end.
    pub async fn serve(self, served: Served, stop: impl Future<Output = ()>) {
        let router = router(served, self.config, self.address.ip());
        let connections = sockets::serve(self.listener, router, sockets::Limits::default(), stop).await;
        // Whoever is not done by then is left.
        let _ = tokio::time::timeout(GRACE, connections.ended()).await;
    }
}

/// Takes the port.
///
/// # Errors
/// When it cannot be had, and for an address that other machines reach unless that was asked for.
pub async fn bind(config: GatewayConfig) -> Result<Listening, GatewayError> {
    let listen = config.listen;
    if !listen.ip().is_loopback() && !config.allow_remote {
        return Err(GatewayError::Reachable(listen));
    }
    let failed = |source| GatewayError::Listen { listen, source };
    let listener = TcpListener::bind(listen).await.map_err(failed)?;
    let address = listener.local_addr().map_err(failed)?;
    Ok(Listening { listener, address, config })
}

impl Gateway {
    /// Whether a client that asks for `model` asks for the one that is served.
    fn check_model(&self, model: &str) -> Result<(), ApiError> {
        match model == self.model || self.also.iter().any(|name| name == model) {
            true => Ok(()),
            false => Err(ApiError::unknown_model(model, &self.model)),
        }
    }
}

fn router(served: Served, config: GatewayConfig, listen: IpAddr) -> Router {
    let metrics = Arc::new(Metrics::default());
    let gateway = Arc::new(Gateway {
        served,
        model: config.model,
        also: config.also,
        created: SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs()),
        origins: config.origins,
        token_arrays: config.token_arrays,
        load: Arc::new(Load::new(MAX_RUNNING, config.requests_per_client.into(), metrics.clone())),
        metrics,
        health_checks: Arc::new(Semaphore::new(HEALTH_CHECKS)),
        hosts: Hosts::of(listen, config.hosts),
        advice: config.advice,
        receipt_id: config.receipt_id,
    });
    Router::new()
        .route("/", get(page::show))
        .route("/v1/models", get(list_models))
        // A name may have an owner in front, with a slash between.
        .route("/v1/models/{*id}", get(show_model))
        .route("/v1/embeddings", post(embeddings::answer))
        .route("/v1/classify", post(classify::answer))
        .route("/v1/rerank", post(rerank::answer))
        .route("/v2/rerank", post(rerank::answer))
        .route("/healthz", get(healthz))
        .route("/metrics", get(show_metrics))
        .fallback(async || {
            refuse(&ApiError::plain(
                404,
                "not_found",
                "No such page. There are /v1/models, /v1/embeddings, /v1/classify, /v1/rerank, /healthz and /metrics.",
            ))
        })
        .method_not_allowed_fallback(async || {
            refuse(&ApiError::plain(
                405,
                "method_not_allowed",
                "This page has another method: POST for /v1/embeddings, /v1/classify and /v1/rerank, GET for the others.",
            ))
        })
        .layer(middleware::from_fn_with_state(gateway.clone(), check_head))
        .layer(middleware::from_fn_with_state(gateway.clone(), count_errors))
        .with_state(gateway)
}

/// Counts what is refused or fails, wherever that happens. The pages of whoever watches the gateway do not count.
async fn count_errors(State(gateway): State<Arc<Gateway>>, request: Request<Body>, next: Next) -> Response {
    let watching = matches!(request.uri().path(), "/healthz" | "/metrics");
    let response = next.run(request).await;
    if response.status().as_u16() >= 400 && !watching {
        gateway.metrics.error(response.status().as_u16());
    }
    response
}

/// Refuses by the request's head, before its body is read.
async fn check_head(State(gateway): State<Arc<Gateway>>, request: Request<Body>, next: Next) -> Response {
    let headers = request.headers();
    let sender = match Sender::check(headers, &gateway.origins, &gateway.hosts, &gateway.advice) {
        Ok(sender) => sender,
        Err(error) => return refuse(&error),
    };
    if access::is_preflight(request.method(), headers) {
        return sender.share(access::preflight(headers));
    }
    if request.method() == Method::POST
        && let Err(error) = access::check_body(headers, MAX_BODY)
    {
        return sender.share(refuse(&error));
    }
    let own = sender.is_direct() && request.extensions().get().is_some_and(is_of_this_machine);
    let mut answer = next.run(request).await;
    if let Some(Elsewhere(error)) = answer.extensions_mut().remove().filter(|_| !own) {
        answer = refuse(&error);
    }
    sender.share(answer)
}

/// What others are told instead of the answer that carries it.
#[derive(Clone)]
struct Elsewhere(ApiError);

fn is_of_this_machine(ConnectInfo(peer): &ConnectInfo<SocketAddr>) -> bool {
    peer.ip().to_canonical().is_loopback()
}

/// The whole body of a request, within its limits of size and time.
async fn read_body(body: Body) -> Result<axum::body::Bytes, ApiError> {
    match tokio::time::timeout(BODY_PATIENCE, axum::body::to_bytes(body, MAX_BODY)).await {
        Ok(Ok(bytes)) => Ok(bytes),
        // A body without an announced length may still be too long; one that breaks off leaves nobody to answer.
        Ok(Err(_)) => Err(access::too_large(MAX_BODY)),
        Err(_) => Err(ApiError::plain(408, "body_timeout", "The body did not arrive in time.")),
    }
}

async fn list_models(State(gateway): State<Arc<Gateway>>) -> Response {
    axum::Json(openai::model_list(&gateway.model, gateway.created)).into_response()
}

async fn show_model(State(gateway): State<Arc<Gateway>>, Path(id): Path<String>) -> Response {
    if let Err(error) = gateway.check_model(&id) {
        return refuse(&error);
    }
    axum::Json(openai::model_object(&gateway.model, gateway.created)).into_response()
}

async fn healthz(State(gateway): State<Arc<Gateway>>) -> Response {
    // Each question goes to three nodes: a few at a time are enough for whoever watches.
    let Ok(turn) = gateway.health_checks.clone().acquire_owned().await else {
        return unhealthy("the gateway is closing");
    };
    let engine = gateway.served.engine();
    // The turn lasts as long as the question: whoever hangs up has still asked it.
    let health = tokio::task::spawn_blocking(move || {
        let _turn = turn;
        engine.health()
    })
    .await;
    match health {
        Ok(Ok(())) => axum::Json(json!({"status": "ok", "model": gateway.model})).into_response(),
        Ok(Err(error)) => unhealthy(&(gateway.advice.explain)(&error)),
        Err(_) => unhealthy("the health check failed"),
    }
}

fn unhealthy(reason: &str) -> Response {
    let answer = (StatusCode::SERVICE_UNAVAILABLE, axum::Json(json!({"status": "unavailable", "reason": reason})));
    let mut answer = answer.into_response();
    answer.extensions_mut().insert(Elsewhere(ApiError::plain(503, "unavailable", "The gateway is not ready.")));
    answer
}

async fn show_metrics(State(gateway): State<Arc<Gateway>>) -> Response {
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4")], gateway.metrics.render()).into_response()
}

fn refuse(error: &ApiError) -> Response {
    let status = StatusCode::from_u16(error.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut response = (status, axum::Json(error.body())).into_response();
    if let Some(sentence) = error.elsewhere {
        let told = ApiError { message: sentence.to_owned(), elsewhere: None, ..error.clone() };
        response.extensions_mut().insert(Elsewhere(told));
    }
    if status == StatusCode::TOO_MANY_REQUESTS {
        response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
    }
    response
}

#[cfg(test)]
mod tests;
