//! Clients of the JSON-RPC server as strangers are: raw HTTP, and a WebSocket.

use std::{
    collections::{BTreeMap, VecDeque},
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    time::Duration,
};

use serde_json::{Value, json};
use soketto::handshake::{Client, ServerResponse};
use tokio_util::compat::{Compat, TokioAsyncReadCompatExt};

use crate::rpc::Rpc;

/// What the server said.
#[derive(Debug)]
pub struct Said {
    pub status: u16,
    head: String,
    pub body: String,
}

impl Said {
    /// The value of a header.
    pub fn header(&self, name: &str) -> Option<&str> {
        let lines = self.head.lines().filter_map(|line| line.split_once(": "));
        lines.filter(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value).next()
    }

    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|e| panic!("{e}: {self:?}"))
    }
}

/// One request on a connection of its own; the length of the body is added.
pub fn request(at: SocketAddr, first: &str, headers: &[(&str, &str)], body: &str) -> Said {
    let mut stream = TcpStream::connect(at).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    let mut text = format!("{first} HTTP/1.1\r\nConnection: close\r\nContent-Length: {}\r\n", body.len());
    if !headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("host")) {
        text += &format!("Host: {at}\r\n");
    }
    for (name, value) in headers {
        text += &format!("{name}: {value}\r\n");
    }
    // A server that refuses by the head alone may close before the body has gone out.
    let _ = stream.write_all(format!("{text}\r\n{body}").as_bytes());
    let mut said = Vec::new();
    let _ = stream.read_to_end(&mut said);
    let said = String::from_utf8_lossy(&said).into_owned();
    let (head, body) = said.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no answer to {first}: {said:?}"));
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap();
    Said { status, head: head.to_owned(), body: body.to_owned() }
}

/// A JSON-RPC request as programs send it.
pub fn post(at: SocketAddr, body: &str) -> Said {
    request(at, "POST /", &[("Content-Type", "application/json")], body)
}

type Socket = Compat<tokio::net::TcpStream>;

/// A client that follows.
pub struct Ws {
    sender: soketto::Sender<Socket>,
    receiver: soketto::Receiver<Socket>,
    news: BTreeMap<String, VecDeque<Value>>,
    last: u64,
}

impl Ws {
    /// A client of the server at `at`.
    pub fn connect(rpc: &Rpc, at: SocketAddr) -> Self {
        rpc.runtime.block_on(async {
            let stream = tokio::net::TcpStream::connect(at).await.unwrap();
            let host = at.to_string();
            let mut client = Client::new(stream.compat(), &host, "/");
            match client.handshake().await.unwrap() {
                ServerResponse::Accepted { .. } => {}
                other => panic!("{other:?}"),
            }
            let (sender, receiver) = client.into_builder().finish();
            Self { sender, receiver, news: BTreeMap::new(), last: 0 }
        })
    }

    /// Asks, and waits for the answer; what is told meanwhile is kept.
    pub fn ask(&mut self, rpc: &Rpc, method: &str, params: Value) -> Result<Value, Value> {
        self.last += 1;
        let body = json!({ "jsonrpc": "2.0", "id": self.last, "method": method, "params": params });
        let mut told = self.raw(rpc, &body.to_string(), self.last.into());
        match told.get("error") {
            Some(error) => Err(error.clone()),
            None => Ok(told["result"].take()),
        }
    }

    /// Sends `text` and waits for the answer with this id.
    pub fn raw(&mut self, rpc: &Rpc, text: &str, id: Value) -> Value {
        rpc.runtime.block_on(async {
            self.sender.send_text(text).await.unwrap();
            self.sender.flush().await.unwrap();
            loop {
                let told = self.hear().await.expect("the server closed the connection");
                if told.get("method").is_none() && told["id"] == id {
                    return told;
                }
            }
        })
    }

    /// Follows `params`; gives the name.
    pub fn subscribe(&mut self, rpc: &Rpc, params: Value) -> String {
        self.ask(rpc, "eth_subscribe", params).unwrap().as_str().unwrap().to_owned()
    }

    /// The next news of what is called `name`.
    pub fn next(&mut self, rpc: &Rpc, name: &str) -> Value {
        rpc.runtime.block_on(async {
            loop {
                if let Some(news) = self.news.get_mut(name).and_then(VecDeque::pop_front) {
                    return news;
                }
                self.hear().await.expect("the server closed the connection");
            }
        })
    }

    /// Sends `text`; whether the server closes the connection then.
    pub fn sends_and_is_left(&mut self, rpc: &Rpc, text: &str) -> bool {
        rpc.runtime.block_on(async {
            let _ = self.sender.send_text(text).await;
            let _ = self.sender.flush().await;
            self.hear().await.is_none()
        })
    }

    async fn hear(&mut self) -> Option<Value> {
        let mut text = Vec::new();
        let heard = tokio::time::timeout(Duration::from_secs(60), self.receiver.receive_data(&mut text));
        heard.await.expect("the server says nothing for a minute").ok()?;
        let mut told: Value = serde_json::from_slice(&text).unwrap();
        if told.get("method").is_some() {
            let name = told["params"]["subscription"].as_str().unwrap().to_owned();
            self.news.entry(name).or_default().push_back(told["params"]["result"].take());
        }
        Some(told)
    }
}
