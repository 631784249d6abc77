//! One page about a network, for people of this machine alone: nodes, jobs, bytes and processor time, the chain's head
//! and its peers. It only shows; there is nothing to press.

mod samples;

use std::net::SocketAddr;
use std::sync::Arc;

use axum::extract::{Query, State};
use axum::http::{HeaderValue, header};
use axum::response::{Html, IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde::Deserialize;
use serde_json::json;
use sha2::{Digest, Sha256};
use tokio::net::TcpListener;

use crate::error::{Blame, Error, Result};
use samples::Samples;
pub use samples::Watched;

/// Where the page is unless another address is asked for.
pub const ADDRESS: &str = "127.0.0.1:8322";

const PAGE: &str = include_str!("page.html");

struct Shown {
    title: String,
    names: Vec<String>,
    samples: Samples,
}

#[derive(Deserialize)]
struct Asked {
    /// Only what is later, in seconds since 1970.
    #[serde(default)]
    after: f64,
}

/// Takes the page's address.
///
/// # Errors
/// When other machines reach it, or another program has it.
pub async fn bind(listen: SocketAddr) -> Result<TcpListener> {
    if !listen.ip().is_loopback() {
        return Err(Error::user(format!(
            "a dashboard at {listen} could be read from other machines: choose an address of this one, as {ADDRESS}"
        )));
    }
    TcpListener::bind(listen)
        .await
        .map_err(|e| Error::wrap(&format!("listening on {listen} for the dashboard"), Blame::User, e))
}

/// Shows a network until `stop` resolves.
pub async fn serve(listener: TcpListener, watched: Watched, stop: impl Future<Output = ()>) {
    let committee = watched.client.committee();
    let shown = Shown {
        title: watched.title.clone(),
        names: committee.indices().map(|index| committee.label(index)).collect(),
        samples: Samples::of(watched),
    };
    let pages = Router::new().route("/", get(page)).route("/data", get(data)).with_state(Arc::new(shown));
    sahara_gateway::local::serve(listener, pages, stop).await;
}

async fn page() -> Response {
    let mut page = Html(PAGE).into_response();
    let rules = format!(
        "default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-{}'; connect-src 'self'; base-uri 'none'; \
         form-action 'none'; frame-ancestors 'none'",
        BASE64_STANDARD.encode(Sha256::digest(script()))
    );
    if let Ok(rules) = HeaderValue::from_str(&rules) {
        page.headers_mut().insert(header::CONTENT_SECURITY_POLICY, rules);
    }
    page.headers_mut().insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    page
}

/// The page's only script, of which the browser is told the hash: it runs no other.
fn script() -> &'static str {
    let after = PAGE.split_once("<script>").map_or("", |(_, after)| after);
    after.split_once("</script>").map_or("", |(script, _)| script)
}

async fn data(State(shown): State<Arc<Shown>>, Query(asked): Query<Asked>) -> impl IntoResponse {
    let (now, samples) = (shown.samples.now(), shown.samples.since(asked.after));
    let data = json!({"title": shown.title, "names": shown.names, "now": now, "samples": samples});
    ([(header::CACHE_CONTROL, "no-store")], Json(data))
}
