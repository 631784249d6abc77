//! A JSON-RPC client over HTTP, as CometBFT and our own nodes speak it, on connections that are kept.

use std::{net::SocketAddr, time::Duration};

use http_body_util::{BodyExt, Full, Limited};
use hyper::{Method, Request, body::Bytes, header::CONTENT_TYPE};
use hyper_util::{
    client::legacy::{Client as Http, connect::HttpConnector},
    rt::TokioExecutor,
};
use serde_json::{Value, json};

/// Longer answers are refused.
const MAX_ANSWER: usize = 64 << 20;
/// A server that has not answered in full by then is given up.
const PATIENCE: Duration = Duration::from_secs(60);

/// A number as Ethereum writes them in JSON: `0x` and hexadecimal digits.
pub fn quantity(value: &Value) -> Option<u64> {
    u64::from_str_radix(value.as_str()?.trim_start_matches("0x"), 16).ok()
}

/// Asks one server.
#[derive(Clone)]
pub struct Client {
    address: SocketAddr,
    http: Http<HttpConnector, Full<Bytes>>,
    patience: Duration,
}

/// The answer to one question.
pub type Answer = Result<Value, AskError>;

/// Why there is no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AskError {
    /// The server was not reached, or what it said is no answer.
    #[error("{0}")]
    NoAnswer(String),
    /// CometBFT's mempool has no room for a transaction now.
    #[error("{0}")]
    MempoolFull(String),
    /// The server refuses, in these words.
    #[error("{0}")]
    Refused(String),
}

/// For whoever only tells it.
impl From<AskError> for String {
    fn from(error: AskError) -> Self {
        error.to_string()
    }
}

/// How CometBFT's words begin if its mempool is full: it has one code for everything.
const MEMPOOL_FULL: &str = "mempool is full";

impl Client {
    /// A client of the server at `address`.
    pub fn new(address: SocketAddr) -> Self {
        let mut connector = HttpConnector::new();
        // Without this each small request waits for an acknowledgement.
        connector.set_nodelay(true);
        Self { address, http: Http::builder(TokioExecutor::new()).build(connector), patience: PATIENCE }
    }

    /// Asks `method` with `params`.
    ///
    /// # Errors
    /// When CometBFT is not reached in time, answers no JSON-RPC, or refuses the question.
    pub async fn ask(&self, method: &str, params: Value) -> Answer {
        result(self.exchange(&request(0, method, &params)).await?)
    }

    /// The number that `method` answers, as [`quantity`] reads it. None for any other answer.
    pub async fn quantity(&self, method: &str, params: Value) -> Option<u64> {
        quantity(&self.ask(method, params).await.ok()?)
    }

    /// Asks `method` once for each of `params`, in one batch; the answers are in that order.
    ///
    /// # Errors
    /// When CometBFT is not reached in time, or does not answer each question once; what it refuses is in the
    /// answers.
    pub async fn ask_all(&self, method: &str, params: &[Value]) -> Result<Vec<Answer>, AskError> {
        let batch: Vec<Value> = params.iter().enumerate().map(|(id, params)| request(id, method, params)).collect();
        let Value::Array(answers) = self.exchange(&Value::Array(batch)).await? else {
            let why = format!("{} did not answer a batch with a batch", self.address);
            return Err(AskError::NoAnswer(why));
        };
        let mut sorted: Vec<Answer> = params.iter().map(|_| Err(AskError::NoAnswer("no answer".to_owned()))).collect();
        for answer in answers {
            let place = answer["id"].as_u64().and_then(|id| sorted.get_mut(usize::try_from(id).ok()?));
            if let Some(place) = place {
                *place = result(answer);
            }
        }
        Ok(sorted)
    }

    async fn exchange(&self, body: &Value) -> Answer {
        let late = |_| Err(format!("{} did not answer within {} s", self.address, self.patience.as_secs()));
        let answer = tokio::time::timeout(self.patience, self.exchange_patiently(body)).await;
        answer.unwrap_or_else(late).map_err(AskError::NoAnswer)
    }

    async fn exchange_patiently(&self, body: &Value) -> Result<Value, String> {
        let failed = |doing: &str, cause: &dyn std::error::Error| {
            let cause = cause.source().map_or_else(|| cause.to_string(), ToString::to_string);
            format!("{doing} {}: {cause}", self.address)
        };
        let request = Request::builder()
            .method(Method::POST)
            .uri(format!("http://{}/", self.address))
            .header(CONTENT_TYPE, "application/json")
            .body(Full::new(Bytes::from(body.to_string())))
            .map_err(|e| failed("write a request to", &e))?;
        let response = self.http.request(request).await.map_err(|e| failed("reach", &e))?;
        let answer = Limited::new(response.into_body(), MAX_ANSWER).collect().await;
        let answer = answer.map_err(|e| failed("read the answer of", e.as_ref()))?.to_bytes();
        serde_json::from_slice(&answer).map_err(|e| failed("understand the answer of", &e))
    }
}

fn request(id: usize, method: &str, params: &Value) -> Value {
    json!({ "jsonrpc": "2.0", "id": id, "method": method, "params": params })
}

fn result(mut answer: Value) -> Answer {
    match answer.get("error") {
        Some(error) => {
            let words = error["data"].as_str().or(error["message"].as_str()).unwrap_or("unknown");
            Err(match words.starts_with(MEMPOOL_FULL) {
                true => AskError::MempoolFull(words.to_owned()),
                false => AskError::Refused(words.to_owned()),
            })
        }
        None => Ok(answer["result"].take()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_server_that_says_nothing_is_given_up() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let client = Client { patience: Duration::from_millis(50), ..Client::new(address) };
        let error = client.ask("status", json!({})).await.unwrap_err();
        assert!(error.to_string().contains("did not answer within 0 s"), "{error}");
    }

    #[test]
    fn a_full_mempool_is_told_from_other_refusals() {
        let refused = |data: &str| {
            let error = json!({ "code": -32603, "message": "Internal error", "data": data });
            result(json!({ "jsonrpc": "2.0", "id": 1, "error": error })).unwrap_err()
        };
        let full = "mempool is full: number of txs 2 (max: 2), total txs bytes 228 (max: 1073741824)";
        assert_eq!(refused(full), AskError::MempoolFull(full.into()));
        assert_eq!(refused("tx already exists in cache"), AskError::Refused("tx already exists in cache".into()));
    }
}
