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

/// Asks one server.
#[derive(Clone)]
pub struct Client {
    address: SocketAddr,
    http: Http<HttpConnector, Full<Bytes>>,
    patience: Duration,
}

/// The answer to one question: a result, or the server's words.
pub type Answer = Result<Value, String>;

impl Client {
    /// A client of the server at `address`.
    pub fn new(address: SocketAddr) -> Self {
        let mut connector = HttpConnector::new();
        // Without this each small request waits for an acknowledgement.
        connector.set_nodelay(true);
        Self { address, http: Http::builder(TokioExecutor::new()).build(connector), patience: PATIENCE }
    }

    /// Asks `method` with `params`.
    pub async fn ask(&self, method: &str, params: Value) -> Answer {
        result(self.exchange(&request(0, method, &params)).await?)
    }

    /// Asks `method` once for each of `params`, in one batch; the answers are in that order.
    pub async fn ask_all(&self, method: &str, params: &[Value]) -> Result<Vec<Answer>, String> {
        let batch: Vec<Value> = params.iter().enumerate().map(|(id, params)| request(id, method, params)).collect();
        let Value::Array(answers) = self.exchange(&Value::Array(batch)).await? else {
            return Err(format!("{} did not answer a batch with a batch", self.address));
        };
        let mut sorted: Vec<Answer> = params.iter().map(|_| Err("no answer".to_owned())).collect();
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
        tokio::time::timeout(self.patience, self.exchange_patiently(body)).await.unwrap_or_else(late)
    }

    async fn exchange_patiently(&self, body: &Value) -> Answer {
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
        Some(error) => Err(error["data"].as_str().or(error["message"].as_str()).unwrap_or("unknown").to_owned()),
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
        assert!(error.contains("did not answer within 0 s"), "{error}");
    }
}
