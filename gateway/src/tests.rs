//! The gateway over real sockets, with an engine that needs no network.

use std::sync::atomic::{AtomicUsize, Ordering};

use super::*;
use sahara::embedding::{Embedding, Engine, Length, Query, Sink, Stop, check_queries, wanted};
use sahara::error::{DownloadError, NetworkError};
use sahara::network::ClientError;
use sahara::{Error, Result};
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

fn away() -> Error {
    DownloadError::Unreachable { doing: "asking".into(), why: "cannot connect to node 1".into() }.into()
}

fn broken(why: &str) -> Error {
    Error::Engine { doing: why.into(), source: "strange".into() }
}

fn unpaid() -> Error {
    NetworkError::Unpaid { doing: "answering".into(), source: ClientError::Unpaid("the deposit is used up".into()) }
        .into()
}

fn gone() -> Error {
    NetworkError::Gone("m".parse().unwrap()).into()
}

/// Answers with the text's length as its only number; "down" fails, "away" is unreachable, "long" is longer than the
/// model reads, "slow" waits until it is given up.
#[derive(Default)]
struct Lengths {
    begun: AtomicUsize,
    given_up: AtomicUsize,
}

impl Engine for Lengths {
    fn answer_until(&self, queries: &[Query], stop: &Stop, sink: Sink<'_>) -> Result<()> {
        check_queries(queries)?;
        for (index, Query { text, pair, .. }) in queries.iter().enumerate() {
            self.begun.fetch_add(1, Ordering::SeqCst);
            match text.as_ref() {
                "away" => return Err(away()),
                "down" => return Err(broken("node 2 did not answer in round 7")),
                "gone" => return Err(gone()),
                "dear" => return Err(unpaid()),
                "slow" => {
                    while !stop.is_set() {
                        std::thread::sleep(Duration::from_millis(2));
                    }
                    self.given_up.fetch_add(1, Ordering::SeqCst);
                    wanted(stop)?;
                }
                _ => {}
            }
            let vector = vec![pair.as_ref().unwrap_or(text).len() as f32];
            let receipt = text.strip_prefix("paid ").map(|id| id.as_bytes().to_vec());
            sink(Embedding { index, tokens: 3, truncated: false, vector, integers: vec![], receipt })?;
        }
        Ok(())
    }

    fn length(&self, _: usize, query: &Query) -> Result<Length> {
        let text = query.pair.as_ref().unwrap_or(&query.text);
        Ok(Length { tokens: if **text == *"much" { 200_000 } else { 3 }, truncated: **text == *"long" })
    }

    fn text_of(&self, tokens: &[u32]) -> Option<String> {
        tokens.iter().all(|&id| id < 10).then(|| "x".repeat(tokens.len()))
    }

    fn dimensions(&self) -> usize {
        1
    }
}

fn config(listen: SocketAddr) -> GatewayConfig {
    GatewayConfig {
        listen,
        allow_remote: false,
        hosts: Vec::new(),
        origins: Origins::parse(&["http://app.example".to_owned()]).unwrap(),
        token_arrays: TokenArrays::Model,
        requests_per_client: 4,
        model: "m".into(),
        also: vec!["owner/m".into()],
        advice: Advice { origins: "say --allow-page".into(), ..Advice::default() },
        receipt_id: Some(Arc::new(|receipt| std::str::from_utf8(receipt).ok().map(str::to_owned))),
    }
}

async fn start_with(engine: Arc<Lengths>) -> SocketAddr {
    let listening = bind(config(([127, 0, 0, 1], 0).into())).await.unwrap();
    let address = listening.address();
    tokio::spawn(listening.serve(Served::only(engine), std::future::pending()));
    address
}

async fn start() -> SocketAddr {
    start_with(Arc::default()).await
}

/// Status, head and body of the answer.
async fn send(address: SocketAddr, request: String) -> (u16, String, String) {
    let mut socket = TcpStream::connect(address).await.unwrap();
    socket.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    // A refused body may reset the connection after the answer.
    let _ = socket.read_to_end(&mut answer).await;
    let text = String::from_utf8_lossy(&answer).into_owned();
    let status = text.split(' ').nth(1).unwrap().parse().unwrap();
    let (head, body) = text.split_once("\r\n\r\n").unwrap();
    (status, head.to_lowercase(), body.to_owned())
}

async fn fetch(address: SocketAddr, path: &str, host: &str) -> (u16, String) {
    let (status, _, body) =
        send(address, format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n")).await;
    (status, body)
}

/// A request for embeddings with more lines in its head.
fn post(body: &str, lines: &str) -> String {
    let length = body.len();
    format!(
        "POST /v1/embeddings HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\
         Content-Type: application/json\r\nContent-Length: {length}\r\n{lines}\r\n{body}"
    )
}

async fn embed(address: SocketAddr, body: &str) -> (u16, Value) {
    let (status, _, body) = send(address, post(body, "")).await;
    (status, serde_json::from_str(&body).unwrap())
}

/// Waits for something that must come about.
async fn until(what: &str, is: impl Fn() -> bool) {
    for _ in 0..2000 {
        if is() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    panic!("not within ten seconds: {what}");
}

async fn running(address: SocketAddr) -> String {
    let (_, metrics) = fetch(address, "/metrics", "localhost").await;
    metrics.lines().find_map(|line| line.strip_prefix("sahara_gateway_running ")).unwrap().to_owned()
}

#[tokio::test]
async fn texts_are_answered_in_order_with_usage() {
    let address = start().await;
    let (status, value) = embed(address, r#"{"model":"m","input":["four","a"," "],"dimensions":1}"#).await;
    assert_eq!(status, 200);
    let numbers: Vec<f64> = (0..3).map(|i| value["data"][i]["embedding"][0].as_f64().unwrap()).collect();
    assert_eq!(numbers, [4.0, 1.0, 1.0]);
    assert_eq!(value["usage"]["total_tokens"], 9);
    let (_, metrics) = fetch(address, "/metrics", "localhost").await;
    assert!(metrics.contains("sahara_gateway_texts_total 3"));
}

#[tokio::test]
async fn what_is_refused_is_counted_wherever_that_happens() {
    let address = start().await;
    assert_eq!(fetch(address, "/v1/other", "localhost").await.0, 404);
    let text = post("{}", "").replace("application/json", "text/plain");
    assert_eq!(send(address, text).await.0, 415);
    assert_eq!(embed(address, r#"{"model":"other","input":"a"}"#).await.0, 404);
    assert_eq!(embed(address, r#"{"model":"m","input":"down"}"#).await.0, 502);
    let (_, metrics) = fetch(address, "/metrics", "localhost").await;
    let has = |outcome: &str, count: u8| {
        metrics.contains(&format!("sahara_gateway_requests_total{{outcome=\"{outcome}\"}} {count}\n"))
    };
    assert!(has("refused", 3) && has("failed", 1) && has("served", 0), "{metrics}");
}

#[tokio::test]
async fn refusals_have_openais_shape() {
    let address = start().await;
    for (body, status, code, param) in [
        (r#"{"model":"m","input":"a","dimensions":8}"#, 400, "unsupported_parameter", Some("dimensions")),
        (r#"{"model":"m","input":["a",""]}"#, 400, "invalid_value", Some("input")),
        (r#"{"model":"m","input":[[3],[77]]}"#, 400, "invalid_value", Some("input")),
        (r#"{"model":"m","input":"a","input_type":"query"}"#, 400, "unsupported_parameter", Some("input_type")),
        (r#"{"model":"other","input":"a"}"#, 404, "model_not_found", Some("model")),
        (r#"{"model":"m","input":"dear"}"#, 402, "payment_required", None),
        (r#"{"model":"owner/m","input":"gone"}"#, 404, "model_not_found", Some("model")),
        (r#"{"model":"m","input":"down"}"#, 502, "network_error", None),
        (r#"{"model":"m","input":"away"}"#, 503, "network_unavailable", None),
    ] {
        let (got, value) = embed(address, body).await;
        assert_eq!((got, value["error"]["code"].as_str()), (status, Some(code)), "{body}");
        assert_eq!(value["error"]["param"].as_str(), param, "{body}");
        assert!(value["error"]["message"].is_string() && value["error"]["type"].is_string(), "{value}");
    }
}

#[tokio::test]
async fn what_is_too_long_is_refused_before_anything_is_computed() {
    let engine = Arc::<Lengths>::default();
    let address = start_with(engine.clone()).await;
    let (status, value) = embed(address, r#"{"model":"m","input":["a","long"]}"#).await;
    assert_eq!((status, value["error"]["code"].as_str()), (400, Some("context_length_exceeded")));
    assert!(value["error"]["message"].as_str().unwrap().contains("'input' 1"));
    let (status, value) = embed(address, r#"{"model":"m","input":["much","much"]}"#).await;
    assert_eq!((status, value["error"]["code"].as_str()), (400, Some("max_tokens_per_request")));
    assert_eq!(engine.begun.load(Ordering::SeqCst), 0, "the text before them was not computed either");
}

#[tokio::test]
async fn fields_that_do_not_matter_are_named_in_a_header() {
    let address = start().await;
    let body = r#"{"model":"m","input":"a","temperature":1,"seed":7,"user":"me"}"#;
    let (status, head, _) = send(address, post(body, "")).await;
    assert_eq!(status, 200);
    assert!(head.contains("x-sahara-warning: ignored fields: temperature, seed"), "{head}");
    let (_, head, _) = send(address, post(r#"{"model":"m","input":"a"}"#, "")).await;
    assert!(!head.contains("x-sahara-warning"), "{head}");
}

#[tokio::test]
async fn what_was_paid_for_is_named_in_a_header() {
    let address = start().await;
    let (status, head, _) = send(address, post(r#"{"model":"m","input":["paid 0x12","free","paid 0x34"]}"#, "")).await;
    assert!(
        status == 200 && head.contains("x-sahara-receipt: 0x34") && head.contains("x-sahara-receipts: 2"),
        "{head}"
    );
    let (_, head, _) = send(address, post(r#"{"model":"m","input":"free"}"#, "")).await;
    assert!(!head.contains("x-sahara-receipt"), "{head}");
}

#[tokio::test]
async fn others_are_not_told_what_a_failure_says_of_whoever_runs_the_gateway() {
    let address = start().await;
    for (text, status, secret) in [("dear", 402, "deposit"), ("away", 503, "node 1"), ("down", 502, "round 7")] {
        let body = format!(r#"{{"model":"m","input":"{text}"}}"#);
        let (own, _, said) = send(address, post(&body, "")).await;
        assert!(own == status && said.contains(secret), "{said}");
        let (theirs, head, said) = send(address, post(&body, "Origin: http://app.example\r\n")).await;
        assert!(theirs == status && !said.contains(secret) && said.contains("gateway"), "{said}");
        assert!(head.contains("access-control-allow-origin"), "the page may read it: {head}");
    }
}

#[tokio::test]
async fn a_page_that_pays_reads_what_for() {
    let address = start().await;
    let asked = post(r#"{"model":"m","input":"paid 0x12"}"#, "Origin: http://app.example\r\n");
    let (_, head, _) = send(address, asked).await;
    let exposed = head.lines().find_map(|line| line.strip_prefix("access-control-expose-headers: ")).unwrap();
    for name in ["x-sahara-receipt", "x-sahara-receipts"] {
        assert!(head.contains(&format!("\n{name}: ")) && exposed.split(", ").any(|one| one == name), "{head}");
    }
}

#[tokio::test]
async fn a_client_that_hangs_up_stops_its_work_and_frees_its_place() {
    let engine = Arc::<Lengths>::default();
    let address = start_with(engine.clone()).await;
    let mut clients = Vec::new();
    for _ in 0..4 {
        let mut socket = TcpStream::connect(address).await.unwrap();
        let texts = r#"{"model":"m","input":["slow","never","never"]}"#;
        socket.write_all(post(texts, "").as_bytes()).await.unwrap();
        clients.push(socket);
    }
    until("four requests have begun", || engine.begun.load(Ordering::SeqCst) == 4).await;
    assert_eq!(running(address).await, "4");
    let (status, head, body) = send(address, post(r#"{"model":"m","input":"a"}"#, "")).await;
    assert!(status == 429 && body.contains("rate_limit_error"), "as many as one client may have: {status} {body}");
    assert!(head.contains("retry-after: 1"), "{head}");
    drop(clients);
    until("all four were given up", || engine.given_up.load(Ordering::SeqCst) == 4).await;
    for _ in 0..1000 {
        if running(address).await == "0" {
            break;
        }
    }
    assert_eq!(running(address).await, "0");
    assert_eq!(engine.begun.load(Ordering::SeqCst), 4, "what was queued behind them is never begun");
    assert_eq!(embed(address, r#"{"model":"m","input":"a"}"#).await.0, 200);
}

#[tokio::test]
async fn heads_that_no_client_of_ours_sends_are_refused_before_the_body_is_read() {
    let address = start().await;
    let good = r#"{"model":"m","input":"a"}"#;
    for (lines, from, to, status) in [
        ("", "application/json", "text/plain", 415),
        ("", "application/json", "application/json; charset=utf-8", 200),
        ("Content-Encoding: gzip\r\n", "", "", 415),
        ("Origin: http://evil.example\r\n", "", "", 403),
        ("Origin: http://app.example\r\n", "", "", 200),
        ("Sec-Fetch-Site: cross-site\r\n", "", "", 403),
        ("Sec-Fetch-Site: same-site\r\n", "", "", 403),
        ("", "localhost", "evil.example", 403),
        ("", "Content-Length: 25", "Content-Length: 8388609", 413),
    ] {
        let request = if from.is_empty() { post(good, lines) } else { post(good, lines).replacen(from, to, 1) };
        let (got, head, body) = send(address, request).await;
        assert_eq!(got, status, "{lines}{to}: {body}");
        assert_eq!(head.contains("access-control-allow-origin: http://app.example"), lines.contains("app.example"));
        assert!(got == 200 || serde_json::from_str::<Value>(&body).unwrap()["error"]["code"].is_string());
    }
    let chunked = "POST /v1/embeddings HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\
                   Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
        .to_owned();
    let chunk = format!("{:x}\r\n{}\r\n", MAX_BODY + 1, " ".repeat(MAX_BODY + 1));
    assert_eq!(send(address, chunked + &chunk).await.0, 413, "a length that nobody announced");
}

#[tokio::test]
async fn an_allowed_page_gets_its_preflight_answered_and_no_other() {
    let address = start().await;
    let ask = |origin: &str| {
        format!(
            "OPTIONS /v1/embeddings HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nOrigin: {origin}\r\n\
             Access-Control-Request-Method: POST\r\n\
             Access-Control-Request-Headers: authorization,content-type,x-stainless-lang\r\n\r\n"
        )
    };
    let (status, head, _) = send(address, ask("http://app.example")).await;
    assert_eq!(status, 204);
    for line in [
        "access-control-allow-origin: http://app.example",
        "access-control-allow-methods: get, post",
        "access-control-allow-headers: authorization,content-type,x-stainless-lang",
        "vary: origin",
    ] {
        assert!(head.contains(line), "{line} in {head}");
    }
    let (status, head, _) = send(address, ask("http://evil.example")).await;
    assert!(status == 403 && !head.contains("access-control-allow"), "{head}");
}

#[tokio::test]
async fn models_health_and_unknown_pages() {
    let address = start().await;
    let (status, body) = fetch(address, "/v1/models", "127.0.0.1:9").await;
    assert!(status == 200 && body.contains("\"id\":\"m\""));
    for name in ["m", "owner/m", "owner%2Fm"] {
        assert_eq!(fetch(address, &format!("/v1/models/{name}"), "localhost").await.0, 200, "{name}");
    }
    assert_eq!(fetch(address, "/v1/models/x", "localhost").await.0, 404);
    let (status, page) = fetch(address, "/", "localhost:8321").await;
    assert!(status == 200 && page.contains("http://localhost:8321/v1") && page.contains("<code>m</code>"), "{page}");
    assert_eq!(fetch(address, "/", "evil.example").await.0, 403);
    assert_eq!(fetch(address, "/healthz", "[::1]:80").await.0, 200);
    assert_eq!(fetch(address, "/nothing", "localhost").await.0, 404);
    assert_eq!(fetch(address, "/v1/embeddings", "localhost").await.0, 405);
    assert_eq!(fetch(address, "/v1/models", "evil.example").await.0, 403);
}

#[tokio::test]
async fn a_port_in_use_and_a_public_address_are_the_users_to_fix() {
    let address = start().await;
    let error = bind(config(address)).await.err().unwrap();
    let in_use = |source: &std::io::Error| source.kind() == std::io::ErrorKind::AddrInUse;
    assert!(matches!(&error, GatewayError::Listen { listen, source } if *listen == address && in_use(source)));
    let error = bind(config(([0, 0, 0, 0], 0).into())).await.err().unwrap();
    assert!(matches!(error, GatewayError::Reachable(_)), "{error}");
}

/// An engine whose health is asked until it is let go.
#[derive(Default)]
struct Ailing {
    lengths: Lengths,
    asked: AtomicUsize,
    let_go: Stop,
}

impl Engine for Ailing {
    fn answer_until(&self, queries: &[Query], stop: &Stop, sink: Sink<'_>) -> Result<()> {
        self.lengths.answer_until(queries, stop, sink)
    }

    fn length(&self, index: usize, query: &Query) -> Result<Length> {
        self.lengths.length(index, query)
    }

    fn text_of(&self, tokens: &[u32]) -> Option<String> {
        self.lengths.text_of(tokens)
    }

    fn dimensions(&self) -> usize {
        1
    }

    fn health(&self) -> Result<()> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        while !self.let_go.is_set() {
            std::thread::sleep(Duration::from_millis(2));
        }
        Ok(())
    }
}

#[tokio::test]
async fn health_is_asked_a_few_times_at_once_whoever_hangs_up() {
    let engine = Arc::<Ailing>::default();
    let listening = bind(config(([127, 0, 0, 1], 0).into())).await.unwrap();
    let address = listening.address();
    tokio::spawn(listening.serve(Served::only(engine.clone()), std::future::pending()));
    for round in 0..3 {
        let mut clients = Vec::new();
        for _ in 0..HEALTH_CHECKS {
            let mut socket = TcpStream::connect(address).await.unwrap();
            socket.write_all(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n").await.unwrap();
            clients.push(socket);
        }
        until("the first questions are asked", || engine.asked.load(Ordering::SeqCst) >= HEALTH_CHECKS).await;
        // Time for those of the later rounds to be asked, which they must not be.
        tokio::time::sleep(Duration::from_millis(100)).await;
        assert_eq!(engine.asked.load(Ordering::SeqCst), HEALTH_CHECKS, "round {round}: at once");
        drop(clients);
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    engine.let_go.set();
    assert_eq!(fetch(address, "/healthz", "localhost").await.0, 200, "and again when they are done");
}

/// A cross-encoder whose output is the length of the document.
#[derive(Default)]
struct Relevance(Lengths);

fn one_label() -> &'static sahara::embedding::Classes {
    static CLASSES: std::sync::OnceLock<sahara::embedding::Classes> = std::sync::OnceLock::new();
    CLASSES.get_or_init(|| sahara::embedding::Classes {
        labels: vec![sahara::embedding::Label("LABEL_0".into())],
        function: sahara::embedding::LabelFunction::Sigmoid,
        relevance: sahara::embedding::LabelFunction::Identity,
    })
}

impl Engine for Relevance {
    fn answer_until(&self, queries: &[Query], stop: &Stop, sink: Sink<'_>) -> Result<()> {
        assert!(queries.windows(2).all(|two| Arc::ptr_eq(&two[0].text, &two[1].text)), "the query is there once");
        self.0.answer_until(queries, stop, sink)
    }

    fn length(&self, index: usize, query: &Query) -> Result<Length> {
        self.0.length(index, query)
    }

    fn classes(&self) -> Option<&sahara::embedding::Classes> {
        Some(one_label())
    }

    fn text_of(&self, tokens: &[u32]) -> Option<String> {
        self.0.text_of(tokens)
    }

    fn dimensions(&self) -> usize {
        1
    }
}

#[tokio::test]
async fn documents_are_ranked_by_a_cross_encoder_and_by_nothing_else() {
    let listening = bind(config(([127, 0, 0, 1], 0).into())).await.unwrap();
    let address = listening.address();
    tokio::spawn(listening.serve(Served::only(Arc::new(Relevance::default())), std::future::pending()));
    let rerank = |body: &str| post(body, "").replacen("/v1/embeddings", "/v1/rerank", 1);
    let body = r#"{"model":"m","query":"q","documents":["ab","a",{"text":"abcd"}],"top_n":2,"return_documents":true}"#;
    let (status, _, answer) = send(address, rerank(body)).await;
    let value: Value = serde_json::from_str(&answer).unwrap();
    assert_eq!(status, 200, "{answer}");
    let first = json!({"index": 2, "relevance_score": 4.0, "document": {"text": "abcd"}});
    assert_eq!(value["results"], json!([first, {"index": 0, "relevance_score": 2.0, "document": {"text": "ab"}}]));
    assert_eq!(value["usage"]["total_tokens"], 9);
    let (status, _, answer) = send(address, rerank(r#"{"query":"q","documents":["much","much"]}"#)).await;
    assert!(status == 400 && answer.contains("max_tokens_per_request"), "{answer}");
    assert_eq!(embed(address, r#"{"model":"m","input":"a"}"#).await.0, 400);
    let embeddings_only = start().await;
    let (status, _, answer) = send(embeddings_only, rerank(r#"{"query":"q","documents":["a"]}"#)).await;
    assert!(status == 400 && answer.contains("no cross-encoder"), "{answer}");
}

/// Answers with the number of its version, as long as it is the one that is current.
struct Version {
    number: usize,
    current: Arc<AtomicUsize>,
}

impl Engine for Version {
    fn answer_until(&self, queries: &[Query], _: &Stop, sink: Sink<'_>) -> Result<()> {
        for index in 0..queries.len() {
            // The last text of a request finds another version than the first.
            if self.number < self.current.load(Ordering::SeqCst) && index + 1 == queries.len() {
                return Err(NetworkError::Changed("77".repeat(32).parse().unwrap()).into());
            }
            sink(Embedding {
                index,
                tokens: 3,
                truncated: false,
                vector: vec![self.number as f32],
                integers: vec![],
                receipt: None,
            })?;
        }
        Ok(())
    }

    fn length(&self, _: usize, _: &Query) -> Result<Length> {
        Ok(Length { tokens: 3, truncated: false })
    }

    fn text_of(&self, _: &[u32]) -> Option<String> {
        None
    }

    fn dimensions(&self) -> usize {
        1
    }
}

#[tokio::test]
async fn another_version_of_the_model_is_served_without_a_new_start() {
    let current = Arc::new(AtomicUsize::new(1));
    let renewals = Arc::new(AtomicUsize::new(0));
    let version = |current: &Arc<AtomicUsize>, number| Arc::new(Version { number, current: current.clone() });
    let first = version(&current, 1);
    let renew = {
        let (current, renewals) = (current.clone(), renewals.clone());
        move || -> Result<Arc<dyn Engine>> {
            renewals.fetch_add(1, Ordering::SeqCst);
            match current.load(Ordering::SeqCst) {
                3 => Err(gone()),
                number => Ok(version(&current, number)),
            }
        }
    };
    let listening = bind(config(([127, 0, 0, 1], 0).into())).await.unwrap();
    let address = listening.address();
    tokio::spawn(listening.serve(Served::renewed_by(first, Box::new(renew)), std::future::pending()));
    let ask = || embed(address, r#"{"model":"m","input":["a","b"]}"#);
    let numbers = |value: &Value| [0, 1].map(|i| value["data"][i]["embedding"][0].as_f64().unwrap());
    assert_eq!(numbers(&ask().await.1), [1.0, 1.0]);
    current.store(2, Ordering::SeqCst);
    assert_eq!(numbers(&ask().await.1), [2.0, 2.0], "a request is answered by one version");
    assert_eq!(numbers(&ask().await.1), [2.0, 2.0]);
    assert_eq!(renewals.load(Ordering::SeqCst), 1, "once for all requests");
    current.store(3, Ordering::SeqCst);
    let (status, value) = ask().await;
    assert_eq!((status, value["error"]["code"].as_str()), (404, Some("model_not_found")), "taken back");
    current.store(4, Ordering::SeqCst);
    assert_eq!(numbers(&ask().await.1), [4.0, 4.0], "and shared again");
}
