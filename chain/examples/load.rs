//! Sends transfers from many accounts to running nodes and counts what the blocks contain.
//!
//! `cargo run --release -p sahara-chain --example load -- RATE SECONDS URL...`
//!
//! Everything is signed before the clock starts. Prints one JSON object: offered and committed transactions a second,
//! blocks a second.
#![allow(clippy::disallowed_methods, reason = "a load generator measures time")]
#![allow(clippy::float_arithmetic, clippy::cast_precision_loss, reason = "figures for people")]

use std::{
    error::Error,
    io::{BufRead, BufReader, Read, Write},
    net::TcpStream,
    time::{Duration, Instant},
};

use alloy_primitives::{Address, B256, Bytes, U256, keccak256};
use sahara_chain::{
    genesis::{DEV_ACCOUNTS, DEV_CHAIN_ID, TOKEN},
    wallet::{Payment, Wallet},
};
use serde_json::{Value, json};

const SENDERS: u64 = 500;
const BATCH: usize = 100;
const FEE: u128 = 20_000_000_000;

type Result<T> = std::result::Result<T, Box<dyn Error>>;

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [rate, seconds, urls @ ..] = arguments.as_slice() else { return Err("usage: load RATE SECONDS URL...".into()) };
    let (rate, seconds): (u64, u64) = (rate.parse()?, seconds.parse()?);
    let mut nodes: Vec<Node> = urls.iter().map(|url| Node::connect(url)).collect::<Result<_>>()?;
    let senders = fund(&mut nodes[0])?;
    let txs = sign(&senders, rate * seconds, &mut nodes[0])?;
    let first = nodes[0].height()?;
    let begun = Instant::now();
    let (mut sent, mut refused) = (0usize, 0usize);
    let count = nodes.len();
    for (i, batch) in txs.chunks(BATCH).enumerate() {
        let requests: Vec<Value> = batch.iter().map(|tx| request("eth_sendRawTransaction", json!([tx]))).collect();
        // A sender stays with its node, or its nonces arrive out of order.
        let answers = nodes[i % count].exchange(&Value::Array(requests))?;
        let answers = answers.as_array().map(Vec::as_slice).unwrap_or_default();
        if let Some(error) = answers.iter().find_map(|answer| answer.get("error")) {
            if refused == 0 {
                eprintln!("refused: {error}");
            }
            refused += answers.iter().filter(|answer| answer.get("error").is_some()).count();
        }
        sent += batch.len();
        let due = Duration::from_secs_f64(sent as f64 / rate as f64);
        std::thread::sleep(due.saturating_sub(begun.elapsed()));
    }
    let offered = sent as f64 / begun.elapsed().as_secs_f64();
    // Until what was accepted is in blocks, or nothing comes any more.
    let wanted = sent - refused;
    let (mut committed, mut height, mut last) = (0usize, first, Instant::now());
    let mut ended = begun.elapsed();
    while committed < wanted && last.elapsed() < Duration::from_secs(10) {
        let now = nodes[0].height()?;
        while height < now {
            height += 1;
            let tag = format!("{height:#x}");
            let n = nodes[0].ask("eth_getBlockTransactionCountByNumber", json!([tag]))?;
            let n = usize::from_str_radix(n.as_str().unwrap_or("0x0").trim_start_matches("0x"), 16)?;
            committed += n;
            if n > 0 {
                (last, ended) = (Instant::now(), begun.elapsed());
            }
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    let elapsed = ended.as_secs_f64();
    let out = json!({
        "offered_per_second": offered,
        "tx_per_second": committed as f64 / elapsed,
        "blocks_per_second": (height - first) as f64 / elapsed,
        "sent": sent,
        "refused": refused,
        "committed": committed,
        "seconds": elapsed,
    });
    println!("{out}");
    Ok(())
}

struct Sender {
    wallet: Wallet,
    address: Address,
}

fn sender(i: u64) -> Result<Sender> {
    let secret = keccak256(i.to_be_bytes());
    let wallet = Wallet::new(secret, DEV_CHAIN_ID)?;
    let signature = wallet.sign_hash(B256::ZERO)?;
    let address = signature.recover_address_from_prehash(&B256::ZERO)?;
    Ok(Sender { wallet, address })
}

fn fund(node: &mut Node) -> Result<Vec<Sender>> {
    let senders: Vec<Sender> = (0..SENDERS).map(sender).collect::<Result<_>>()?;
    let rich = Wallet::new(DEV_ACCOUNTS[0].1, DEV_CHAIN_ID)?;
    let nonce = node.nonce(DEV_ACCOUNTS[0].0)?;
    for (i, sender) in senders.iter().enumerate() {
        let payment = Payment {
            nonce: nonce + i as u64,
            to: Some(sender.address),
            value: TOKEN * U256::from(10),
            gas_limit: 21_000,
            max_fee: FEE,
            tip: 1,
            ..Payment::default()
        };
        node.ask("eth_sendRawTransaction", json!([rich.pay(&payment)?]))?;
    }
    while node.nonce(DEV_ACCOUNTS[0].0)? < nonce + SENDERS {
        std::thread::sleep(Duration::from_millis(200));
    }
    Ok(senders)
}

fn sign(senders: &[Sender], count: u64, node: &mut Node) -> Result<Vec<Bytes>> {
    let each = count.div_ceil(SENDERS);
    let mut by_sender = Vec::new();
    for sender in senders {
        let first = node.nonce(sender.address)?;
        let txs: Result<Vec<Bytes>> = (first..first + each)
            .map(|nonce| {
                let to = Address::from_word(keccak256(nonce.to_be_bytes()));
                let value = U256::from(1);
                let payment = Payment {
                    nonce,
                    to: Some(to),
                    value,
                    gas_limit: 21_000,
                    max_fee: FEE,
                    tip: 1,
                    ..Payment::default()
                };
                Ok(sender.wallet.pay(&payment)?)
            })
            .collect();
        by_sender.push(txs?);
    }
    Ok((0..usize::try_from(each)?).flat_map(|round| by_sender.iter().map(move |txs| txs[round].clone())).collect())
}

fn request(method: &str, params: Value) -> Value {
    json!({ "jsonrpc": "2.0", "id": 1, "method": method, "params": params })
}

struct Node {
    stream: BufReader<TcpStream>,
    host: String,
}

impl Node {
    fn connect(url: &str) -> Result<Self> {
        let host = url.trim_start_matches("http://").to_owned();
        let stream = TcpStream::connect(&host)?;
        stream.set_nodelay(true)?;
        Ok(Self { stream: BufReader::new(stream), host })
    }

    fn height(&mut self) -> Result<u64> {
        self.number("eth_blockNumber", json!([]))
    }

    fn nonce(&mut self, address: Address) -> Result<u64> {
        self.number("eth_getTransactionCount", json!([address, "latest"]))
    }

    fn number(&mut self, method: &str, params: Value) -> Result<u64> {
        let answer = self.ask(method, params)?;
        Ok(u64::from_str_radix(answer.as_str().unwrap_or_default().trim_start_matches("0x"), 16)?)
    }

    fn ask(&mut self, method: &str, params: Value) -> Result<Value> {
        let mut answer = self.exchange(&request(method, params))?;
        match answer.get("error") {
            Some(error) => Err(error.to_string().into()),
            None => Ok(answer["result"].take()),
        }
    }

    fn exchange(&mut self, body: &Value) -> Result<Value> {
        let body = body.to_string();
        let head = format!(
            "POST / HTTP/1.1\r\nHost: {}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n",
            self.host,
            body.len()
        );
        self.stream.get_mut().write_all(format!("{head}{body}").as_bytes())?;
        let mut length = 0;
        loop {
            let mut line = String::new();
            self.stream.read_line(&mut line)?;
            let line = line.trim().to_ascii_lowercase();
            if let Some(value) = line.strip_prefix("content-length:") {
                length = value.trim().parse()?;
            }
            if line.is_empty() {
                break;
            }
        }
        let mut answer = vec![0; length];
        self.stream.read_exact(&mut answer)?;
        Ok(serde_json::from_slice(&answer)?)
    }
}
