//! Prometheus metrics and `/healthz`, on a private port of their own.

use std::convert::Infallible;
use std::fmt::Write;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use hyper::body::Incoming;
use hyper::header::{CONTENT_TYPE, HOST, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;

use super::state::Node;
use crate::meter::ByteCounts;

/// Connections at once; more wait until one ends.
const CONNECTIONS: usize = 16;
/// How long a connection may take, with its one request: whoever only holds a place gives it back soon.
const PATIENCE: Duration = Duration::from_secs(5);

/// Serves until aborted.
pub(super) async fn serve(listener: TcpListener, node: Arc<Node>) {
    let open = Arc::new(Semaphore::new(CONNECTIONS));
    // It is never closed.
    while let Ok(place) = open.clone().acquire_owned().await {
        match listener.accept().await {
            Ok((stream, _)) => {
                let node = node.clone();
                tokio::spawn(async move {
                    let _place = place;
                    connection(stream, &node).await;
                });
            }
            Err(error) => {
                // A peer that has gone again, or no file descriptor: some will be given back.
                tracing::warn!(%error, "no connection to the metrics");
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    }
}

async fn connection(stream: TcpStream, node: &Node) {
    let here = stream.local_addr().is_ok_and(|address| address.ip().to_canonical().is_loopback());
    let service = service_fn(async |request: Request<Incoming>| Ok::<_, Infallible>(answer(node, &request, here)));
    let served = http1::Builder::new()
        .keep_alive(false)
        .header_read_timeout(None)
        .serve_connection(TokioIo::new(stream), service);
    // Whoever is too slow, or breaks off, has nobody to be told.
    let _ = tokio::time::timeout(PATIENCE, served).await;
}

/// `here`: asked at an address of this machine alone.
fn answer(node: &Node, request: &Request<Incoming>, here: bool) -> Response<String> {
    let (status, kind, text) = match (request.method(), request.uri().path()) {
        _ if here && !is_of_this_machine(request.headers().get(HOST)) => {
            (StatusCode::FORBIDDEN, PLAIN, "ask for localhost or 127.0.0.1\n".into())
        }
        (&Method::GET | &Method::HEAD, "/metrics") => (StatusCode::OK, "text/plain; version=0.0.4", render(node)),
        (&Method::GET | &Method::HEAD, "/healthz") if node.is_ready() => (StatusCode::OK, PLAIN, "ok\n".into()),
        (&Method::GET | &Method::HEAD, "/healthz") => (StatusCode::SERVICE_UNAVAILABLE, PLAIN, "stopping\n".into()),
        (_, "/metrics" | "/healthz") => (StatusCode::METHOD_NOT_ALLOWED, PLAIN, String::new()),
        _ => (StatusCode::NOT_FOUND, PLAIN, String::new()),
    };
    let mut response = Response::new(text);
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}

/// Whether a Host header names this machine as no owner of a name can: a web page may point its own name here, and would read
/// what it asks for.
fn is_of_this_machine(host: Option<&HeaderValue>) -> bool {
    let Some(host) = host else { return true };
    let host = host.to_str().unwrap_or("?");
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|b| b.is_ascii_digit()) => name,
        _ => host,
    };
    let address = name.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
    name.eq_ignore_ascii_case("localhost") || address.is_ok()
}

const PLAIN: &str = "text/plain; charset=utf-8";

fn render(node: &Node) -> String {
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
    page.0
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
