//! For tests: a node over HTTP that answers from a forged chain, truly or not.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{TcpListener, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::Duration,
};

use alloy_primitives::{Address, B256, U256};
use serde_json::{Value, json};

use crate::{
    forge::{Draft, Words, state},
    headers::LightBlock,
    state::StateProof,
    url::Url,
};

/// What a node says.
pub enum Reply {
    Result(Value),
    Error(i64, &'static str),
    /// These bytes, as the whole answer.
    Bytes(Vec<u8>),
    /// To ask there instead.
    Elsewhere(Url),
    /// The head of an answer, and bytes without end.
    Endless,
    /// The head of an answer, and a byte now and then.
    Slow,
    /// Nothing, until the other side leaves.
    Silence,
}

/// A server; it lives as long as the tests.
pub struct Liar {
    pub url: Url,
    asked: Arc<AtomicUsize>,
}

impl Liar {
    /// A node that answers a method with its parameters as `answer` does.
    pub fn new(answer: impl Fn(&str, &Value) -> Reply + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap()).parse().unwrap();
        let asked = Arc::new(AtomicUsize::new(0));
        let (count, answer) = (asked.clone(), Arc::new(answer));
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let (count, answer) = (count.clone(), answer.clone());
                thread::spawn(move || drop(serve(stream, &count, answer.as_ref())));
            }
        });
        Self { url, asked }
    }

    /// Questions so far.
    pub fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }
}

fn serve(stream: TcpStream, count: &AtomicUsize, answer: &dyn Fn(&str, &Value) -> Reply) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream.try_clone()?);
    let mut stream = stream;
    loop {
        let mut length = 0;
        loop {
            let mut line = String::new();
            if reader.read_line(&mut line)? == 0 {
                return Ok(());
            }
            let line = line.trim().to_ascii_lowercase();
            if let Some(value) = line.strip_prefix("content-length:") {
                length = value.trim().parse().unwrap();
            }
            if line.is_empty() {
                break;
            }
        }
        let mut body = vec![0; length];
        reader.read_exact(&mut body)?;
        count.fetch_add(1, Ordering::SeqCst);
        let question: Value = serde_json::from_slice(&body).unwrap();
        let head = |length: usize| format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\n\r\n");
        let whole = |value: Value| {
            let body = value.to_string();
            [head(body.len()).as_bytes(), body.as_bytes()].concat()
        };
        match answer(question["method"].as_str().unwrap(), &question["params"]) {
            Reply::Result(result) => {
                stream.write_all(&whole(json!({ "jsonrpc": "2.0", "id": 1, "result": result })))?
            }
            Reply::Error(code, message) => {
                stream.write_all(&whole(json!({ "id": 1, "error": { "code": code, "message": message } })))?;
            }
            Reply::Bytes(bytes) => stream.write_all(&[head(bytes.len()).as_bytes(), &bytes].concat())?,
            Reply::Elsewhere(url) => {
                let head = format!("HTTP/1.1 302 Found\r\nlocation: {url}/\r\ncontent-length: 0\r\n\r\n");
                stream.write_all(head.as_bytes())?;
            }
            Reply::Endless => {
                stream.write_all(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n")?;
                let chunk = [b"10000\r\n".as_slice(), &[b' '; 65_536], b"\r\n"].concat();
                loop {
                    stream.write_all(&chunk)?;
                }
            }
            Reply::Slow => {
                stream.write_all(head(1_000).as_bytes())?;
                loop {
                    stream.write_all(b" ")?;
                    thread::sleep(Duration::from_millis(20));
                }
            }
            Reply::Silence => drop(reader.read_line(&mut String::new())),
        }
    }
}

/// A chain of four validators: the state after block N has N at slot 0 of the account 9, and 7 at slot 1.
pub const FOUR: [(u8, i64); 4] = [(1, 10), (2, 10), (3, 10), (4, 10)];

pub const ACCOUNT: Address = Address::repeat_byte(9);

pub fn words_after(height: u64) -> Words {
    let slots = [(slot(0), U256::from(height)), (slot(1), U256::from(7))];
    [(ACCOUNT, slots.into()), (Address::repeat_byte(3), slots.into())].into()
}

pub fn slot(number: u64) -> B256 {
    B256::from(U256::from(number))
}

pub fn draft(height: u64) -> Draft {
    Draft { app_hash: state(&words_after(height - 1), &[]).0, ..Draft::new(height, &FOUR) }
}

/// What an honest node says whose last block is `newest`.
pub fn honest(newest: u64, method: &str, params: &Value) -> Reply {
    match method {
        "sahara_header" => Reply::Result(json!(header(newest, params))),
        "sahara_proof" => Reply::Result(json!(proof(newest, params))),
        "eth_chainId" => Reply::Result(json!("0x539")),
        "eth_call" => Reply::Result(json!("0x1234")),
        _ => Reply::Error(-32601, "Method not found"),
    }
}

pub fn header(newest: u64, params: &Value) -> LightBlock {
    let height = params[0].as_str().unwrap().strip_prefix("0x");
    draft(height.map_or(newest, |height| u64::from_str_radix(height, 16).unwrap())).block()
}

pub fn proof(newest: u64, params: &Value) -> StateProof {
    let asked = params[0].as_object().unwrap().iter();
    let wanted: Vec<(Address, B256)> = asked
        .flat_map(|(address, slots)| {
            let slots: Vec<B256> = serde_json::from_value(slots.clone()).unwrap();
            let address = address.parse().unwrap();
            // An account that no word of is asked of is shown all the same.
            let slots = if slots.is_empty() { vec![slot(0)] } else { slots };
            slots.into_iter().map(move |slot| (address, slot))
        })
        .collect();
    StateProof { header: draft(newest).block(), ..state(&words_after(newest - 1), &wanted).1 }
}
