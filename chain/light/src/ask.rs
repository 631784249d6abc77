//! One question to one node: JSON-RPC over HTTP (with the feature `https` over TLS, too), with a deadline and a bound on what is
//! read. Nothing of an answer is believed here, and nothing that was asked is in an error.

use std::time::Duration;

use alloy_primitives::hex;
use serde::{Deserialize, Deserializer, de::DeserializeOwned};
use serde_json::{Value, json, value::RawValue};
use ureq::{Agent, Error};

use crate::url::Url;

/// Bytes of one answer. Half a megabyte of header and 256 words with their proofs need less than half of that.
pub const MAX_ANSWER: usize = 8 << 20;
/// Bytes of what a contract says against a call; longer ones are left out.
const MAX_DATA: usize = 16 << 10;
/// How long a connection may take, within what the whole answer may.
const CONNECT: Duration = Duration::from_secs(5);
/// Letters of what a node says.
const MAX_SAID: usize = 300;

/// Why a question has no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AskError {
    /// It cannot be reached.
    #[error("it is not reached: {0}")]
    Unreachable(String),
    /// It takes too long.
    #[error("it did not answer within {} s", .0.as_secs_f32())]
    Late(Duration),
    /// It says too much.
    #[error("its answer has more than {MAX_ANSWER} bytes")]
    TooLarge,
    /// What it says is no answer.
    #[error("its answer makes no sense: {0}")]
    Malformed(String),
    /// It refuses.
    #[error("it refuses: {message} ({code})")]
    Refused {
        /// Its code.
        code: i64,
        /// Its words.
        message: String,
        /// What a contract said against a call, if one did.
        data: Option<Vec<u8>>,
    },
}

/// A node that is asked.
#[derive(Clone, Debug)]
pub struct Node {
    url: Url,
    agent: Agent,
    patience: Duration,
}

#[derive(Deserialize)]
struct Envelope<'a> {
    #[serde(borrow, default, deserialize_with = "present")]
    result: Option<&'a RawValue>,
    #[serde(default)]
    error: Option<Refusal>,
}

#[derive(Deserialize)]
struct Refusal {
    #[serde(default)]
    code: i64,
    #[serde(default)]
    message: String,
    #[serde(default)]
    data: Option<Value>,
}

/// A result that is null is there.
fn present<'de: 'a, 'a, D: Deserializer<'de>>(from: D) -> Result<Option<&'a RawValue>, D::Error> {
    <&RawValue>::deserialize(from).map(Some)
}

impl Node {
    /// The node at `url`, which has `patience` for each answer, from the first byte sent to the last one read.
    pub fn new(url: Url, patience: Duration) -> Self {
        let config = Agent::config_builder()
            .timeout_global(Some(patience))
            .timeout_connect(Some(patience.min(CONNECT)))
            .max_redirects(0)
            .proxy(None)
            .http_status_as_error(false)
            .user_agent(concat!("sahara/", env!("CARGO_PKG_VERSION")));
        #[cfg(feature = "https")]
        let config = config.tls_config(tls());
        Self { url, agent: config.build().new_agent(), patience }
    }

    /// The same node, which has another `patience`.
    #[must_use]
    pub fn with_patience(&self, patience: Duration) -> Self {
        Self { patience, ..self.clone() }
    }

    /// Where it is.
    pub fn url(&self) -> &Url {
        &self.url
    }

    /// Asks `method` with `params`.
    ///
    /// # Errors
    /// When it is not reached or too late, says too much or no JSON-RPC, or refuses: in its words.
    pub fn ask<T: DeserializeOwned>(&self, method: &str, params: &Value) -> Result<T, AskError> {
        let question = json!({ "jsonrpc": "2.0", "id": 1, "method": method, "params": params }).to_string();
        let (status, answer) = self.post(&question)?;
        let nonsense = |why: serde_json::Error| AskError::Malformed(brief(&format!("{why} (status {status})")));
        let envelope: Envelope<'_> = serde_json::from_slice(&answer).map_err(nonsense)?;
        if let Some(Refusal { code, message, data }) = envelope.error {
            return Err(AskError::Refused { code, message: brief(&message), data: data.as_ref().and_then(bytes) });
        }
        let neither = || AskError::Malformed(format!("it has no result (status {status})"));
        serde_json::from_str(envelope.result.ok_or_else(neither)?.get()).map_err(nonsense)
    }

    fn post(&self, question: &str) -> Result<(u16, Vec<u8>), AskError> {
        let failed = |error: Error| match error {
            Error::Timeout(_) => AskError::Late(self.patience),
            Error::BodyExceedsLimit(_) => AskError::TooLarge,
            other => AskError::Unreachable(brief(&other.to_string())),
        };
        let request = self.agent.post(self.url.as_str()).header("content-type", "application/json");
        let request = request.config().timeout_global(Some(self.patience)).build();
        let mut response = request.send(question).map_err(failed)?;
        let answer = response.body_mut().with_config().limit(MAX_ANSWER as u64).read_to_vec().map_err(failed)?;
        Ok((response.status().as_u16(), answer))
    }
}

/// What is trusted of certificates: what this machine trusts.
#[cfg(feature = "https")]
fn tls() -> ureq::tls::TlsConfig {
    use ureq::tls::{RootCerts, TlsConfig, TlsProvider};
    TlsConfig::builder()
        .provider(TlsProvider::Rustls)
        .root_certs(RootCerts::PlatformVerifier)
        .unversioned_rustls_crypto_provider(std::sync::Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
        .build()
}

fn bytes(data: &Value) -> Option<Vec<u8>> {
    let text = data.as_str().filter(|text| text.len() <= 2 * MAX_DATA + 2)?;
    hex::decode(text).ok()
}

fn brief(words: &str) -> String {
    words.chars().map(|c| if c.is_control() { ' ' } else { c }).take(MAX_SAID).collect()
}
