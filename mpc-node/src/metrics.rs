//! Prometheus metrics and `/healthz`, on a private port of their own.

use std::fmt::Write;
use std::sync::Arc;

use axum::Router;
use axum::http::StatusCode;
use axum::response::IntoResponse;
use axum::routing::get;
use tokio::net::TcpListener;

use crate::meter::ByteCounts;
use crate::node::NodeState;

/// Serves until aborted.
pub(crate) async fn serve(listener: TcpListener, node: Arc<NodeState>) {
    let metrics_node = node.clone();
    let app = Router::new()
        .route("/metrics", get(move || async move { render(&metrics_node) }))
        .route("/healthz", get(move || async move { health(&node) }));
    if let Err(error) = axum::serve(listener, app).await {
        tracing::error!(%error, "the metrics server ended");
    }
}

fn health(node: &NodeState) -> impl IntoResponse + use<> {
    if node.is_ready() { (StatusCode::OK, "ok\n") } else { (StatusCode::SERVICE_UNAVAILABLE, "stopping\n") }
}

fn render(node: &NodeState) -> impl IntoResponse + use<> {
    let status = node.status();
    let (lanes, refused) = node.lanes_and_refusals();
    let mut page = Page(String::new());
    page.one("sahara_ready", "gauge", "Whether the node takes jobs.", f64::from(u8::from(status.ready)));
    page.one("sahara_uptime_seconds", "gauge", "Seconds since start.", status.uptime_seconds as f64);
    page.one("sahara_cpu_seconds_total", "counter", "CPU time, user and system.", status.cpu_seconds());
    page.one("sahara_lanes", "gauge", "Connections now.", f64::from(lanes));
    page.one("sahara_jobs_running", "gauge", "Jobs running now.", f64::from(status.jobs_running));
    page.head("sahara_jobs_total", "counter", "Jobs as an evaluator, by outcome.");
    page.line("sahara_jobs_total{outcome=\"done\"}", status.jobs_done as f64);
    page.line("sahara_jobs_total{outcome=\"failed\"}", status.jobs_failed as f64);
    page.one("sahara_requests_refused_total", "counter", "Requests that failed or were refused.", refused as f64);
    page.one("sahara_rounds_total", "counter", "Rounds with the other evaluator.", status.rounds as f64);
    page.one("sahara_packs_dealt_total", "counter", "Packs dealt as the helper.", status.packs_dealt as f64);
    let packs: u32 = status.packs.iter().map(|(_, n)| n).sum();
    page.one("sahara_packs_ready", "gauge", "Packs ready.", f64::from(packs));
    page.head("sahara_bytes_total", "counter", "Bytes on the wire, by direction and purpose.");
    page.bytes("sent", &status.sent);
    page.bytes("received", &status.received);
    ([("content-type", "text/plain; version=0.0.4")], page.0)
}

struct Page(String);

impl Page {
    fn head(&mut self, name: &str, kind: &str, help: &str) {
        let _ = writeln!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}"); // a String takes everything
    }

    fn line(&mut self, series: &str, value: f64) {
        let _ = writeln!(self.0, "{series} {value}");
    }

    fn one(&mut self, name: &str, kind: &str, help: &str, value: f64) {
        self.head(name, kind, help);
        self.line(name, value);
    }

    fn bytes(&mut self, direction: &str, counts: &ByteCounts) {
        for (purpose, value) in
            [("setup", counts.setup), ("offline", counts.offline), ("online", counts.online), ("client", counts.client)]
        {
            let series = format!("sahara_bytes_total{{direction=\"{direction}\",purpose=\"{purpose}\"}}");
            self.line(&series, value as f64);
        }
    }
}
