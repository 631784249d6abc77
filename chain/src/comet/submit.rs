//! Hands transactions to CometBFT's mempool over its JSON-RPC, on connections that are kept.

use std::{
    net::SocketAddr,
    sync::{Mutex, PoisonError},
};

use alloy_primitives::Bytes;
use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::TcpStream,
};

use crate::rpc::{Submit, Submitted};

/// Connections that are kept for the next transaction.
const KEPT: usize = 16;
/// An answer is a few hundred bytes.
const MAX_ANSWER: usize = 1 << 20;

/// The mempool of a CometBFT node.
pub struct CometSubmit {
    address: SocketAddr,
    kept: Mutex<Vec<BufReader<TcpStream>>>,
}

impl CometSubmit {
    /// The mempool of the node whose RPC is at `address`.
    pub fn new(address: SocketAddr) -> Self {
        Self { address, kept: Mutex::default() }
    }

    /// Asks `method` with `params` and gives the result.
    pub async fn ask(&self, method: &str, params: Value) -> Result<Value, String> {
        let body = json!({ "jsonrpc": "2.0", "id": 1, "method": method, "params": params }).to_string();
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let answer = match kept {
            // A kept connection may have been closed meanwhile: then a new one gets a chance.
            Some(connection) => match self.exchange(connection, &body).await {
                Ok(answer) => Ok(answer),
                Err(_) => self.exchange(self.connect().await?, &body).await,
            },
            None => self.exchange(self.connect().await?, &body).await,
        };
        let answer = answer.map_err(|e| format!("consensus does not answer at {}: {e}", self.address))?;
        let mut answer: Value = serde_json::from_slice(&answer).map_err(|e| format!("consensus answered {e}"))?;
        match answer.get("error") {
            Some(error) => Err(error["data"].as_str().or(error["message"].as_str()).unwrap_or("unknown").to_owned()),
            None => Ok(answer["result"].take()),
        }
    }

    async fn connect(&self) -> Result<BufReader<TcpStream>, String> {
        let stream = TcpStream::connect(self.address).await;
        let stream = stream.map_err(|e| format!("consensus is not reachable at {}: {e}", self.address))?;
        // Without this each small request waits for an acknowledgement.
        let _ = stream.set_nodelay(true);
        Ok(BufReader::new(stream))
    }

    async fn exchange(&self, mut connection: BufReader<TcpStream>, body: &str) -> std::io::Result<Vec<u8>> {
        let head = format!(
            "POST / HTTP/1.1\r\nHost: {}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n",
            self.address,
            body.len()
        );
        connection.write_all(format!("{head}{body}").as_bytes()).await?;
        let mut length = 0usize;
        loop {
            let mut line = String::new();
            if connection.read_line(&mut line).await? == 0 {
                return Err(std::io::ErrorKind::UnexpectedEof.into());
            }
            let line = line.trim().to_ascii_lowercase();
            if let Some(value) = line.strip_prefix("content-length:") {
                length = value.trim().parse().map_err(std::io::Error::other)?;
            }
            if line.is_empty() {
                break;
            }
        }
        if length > MAX_ANSWER {
            return Err(std::io::Error::other("the answer is too long"));
        }
        let mut answer = vec![0; length];
        connection.read_exact(&mut answer).await?;
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.len() < KEPT {
            kept.push(connection);
        }
        Ok(answer)
    }
}

impl Submit for CometSubmit {
    fn submit(&self, tx: Bytes) -> Submitted<'_> {
        Box::pin(async move {
            let answer = self.ask("broadcast_tx_sync", json!({ "tx": STANDARD.encode(&tx) })).await;
            let answer = answer.map_err(|e| match e.contains("already exists in cache") {
                true => "already known".to_owned(),
                false => e,
            })?;
            match answer["code"].as_u64() {
                Some(0) => Ok(()),
                _ => Err(answer["log"].as_str().unwrap_or("refused by the mempool").to_owned()),
            }
        })
    }
}
