//! The gateway over real sockets, with an engine that needs no network.

use super::*;
use crate::embedding::{Sink, check_texts};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// Answers with the text's length as its only number; "down" fails, "long" is truncated.
struct Lengths;

impl Engine for Lengths {
    fn embed(&self, texts: &[String], sink: Sink<'_>) -> Result<()> {
        check_texts(texts)?;
        for (index, text) in texts.iter().enumerate() {
            if text == "away" {
                return Err(Error::unreachable("cannot connect to node 1"));
            }
            if text == "down" {
                return Err(Error::fault("node 2 did not answer in round 7"));
            }
            let vector = vec![text.len() as f32];
            sink(Embedding { index, tokens: 3, truncated: text == "long", vector, integers: vec![] })?;
        }
        Ok(())
    }
}

async fn start() -> SocketAddr {
    let config = GatewayConfig { listen: ([127, 0, 0, 1], 0).into(), allow_remote: false, model: "m".into() };
    let listening = bind(config).await.unwrap();
    let address = listening.address();
    tokio::spawn(listening.serve(Arc::new(Lengths), std::future::pending()));
    address
}

async fn send(address: SocketAddr, request: String) -> (u16, String) {
    let mut socket = tokio::net::TcpStream::connect(address).await.unwrap();
    socket.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    // A refused body may reset the connection after the answer.
    let _ = socket.read_to_end(&mut answer).await;
    let text = String::from_utf8_lossy(&answer).into_owned();
    let status = text.split(' ').nth(1).unwrap().parse().unwrap();
    (status, text.split_once("\r\n\r\n").unwrap().1.to_owned())
}

async fn fetch(address: SocketAddr, path: &str, host: &str) -> (u16, String) {
    send(address, format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n")).await
}

async fn embed(address: SocketAddr, body: &str) -> (u16, serde_json::Value) {
    let head = format!(
        "POST /v1/embeddings HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    let (status, body) = send(address, head + body).await;
    (status, serde_json::from_str(&body).unwrap())
}

#[tokio::test]
async fn texts_are_answered_in_order_with_usage() {
    let address = start().await;
    let (status, value) = embed(address, r#"{"model":"m","input":["four","a"]}"#).await;
    assert_eq!(status, 200);
    assert_eq!(value["data"][0]["embedding"][0], 4.0);
    assert_eq!(value["data"][1]["embedding"][0], 1.0);
    assert_eq!(value["usage"]["total_tokens"], 6);
    let (_, metrics) = fetch(address, "/metrics", "localhost").await;
    assert!(metrics.contains("sahara_gateway_texts_total 2"));
}

#[tokio::test]
async fn refusals_have_openais_shape() {
    let address = start().await;
    let (status, value) = embed(address, r#"{"model":"m","input":"a","dimensions":8}"#).await;
    assert_eq!((status, value["error"]["param"].as_str()), (400, Some("dimensions")));
    let (status, value) = embed(address, r#"{"model":"other","input":"a"}"#).await;
    assert_eq!((status, value["error"]["code"].as_str()), (404, Some("model_not_found")));
    let (status, value) = embed(address, r#"{"model":"m","input":"long"}"#).await;
    assert_eq!((status, value["error"]["param"].as_str()), (400, Some("input")));
    let (status, value) = embed(address, r#"{"model":"m","input":"down"}"#).await;
    assert_eq!(status, 502);
    assert_eq!(embed(address, r#"{"model":"m","input":"away"}"#).await.0, 503);
    assert!(value["error"]["message"].as_str().unwrap().contains("node 2"));
}

#[tokio::test]
async fn an_oversized_body_is_refused_before_it_is_read() {
    let address = start().await;
    let head = format!(
        "POST /v1/embeddings HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: {}\r\n\r\n",
        MAX_BODY + 1
    );
    let (status, body) = send(address, head).await;
    assert_eq!(status, 413);
    assert!(body.contains("request_too_large"));
}

#[tokio::test]
async fn models_health_and_unknown_pages() {
    let address = start().await;
    let (status, body) = fetch(address, "/v1/models", "127.0.0.1:9").await;
    assert!(status == 200 && body.contains("\"id\":\"m\""));
    assert_eq!(fetch(address, "/v1/models/m", "localhost").await.0, 200);
    assert_eq!(fetch(address, "/v1/models/x", "localhost").await.0, 404);
    assert_eq!(fetch(address, "/healthz", "[::1]:80").await.0, 200);
    assert_eq!(fetch(address, "/nothing", "localhost").await.0, 404);
    assert_eq!(fetch(address, "/v1/embeddings", "localhost").await.0, 405);
}

#[tokio::test]
async fn a_foreign_name_in_the_host_header_is_refused() {
    let address = start().await;
    assert_eq!(fetch(address, "/v1/models", "evil.example").await.0, 403);
    assert_eq!(fetch(address, "/v1/models", "127.0.0.1.evil.example:80").await.0, 403);
}

#[tokio::test]
async fn a_port_in_use_and_a_public_address_are_the_users_to_fix() {
    let address = start().await;
    let config = GatewayConfig { listen: address, allow_remote: false, model: "m".into() };
    let error = bind(config).await.err().unwrap();
    assert_eq!(error.exit_code(), 2);
    assert!(error.report().contains("in use"));
    let public = GatewayConfig { listen: ([0, 0, 0, 0], 0).into(), allow_remote: false, model: "m".into() };
    let error = bind(public).await.err().unwrap();
    assert!(error.exit_code() == 2 && error.report().contains("--allow-remote"));
}
