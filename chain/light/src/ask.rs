//! One question to one node: JSON-RPC over plain HTTP, with a deadline and a bound on what is read. Nothing of an answer is
//! believed here.

use std::time::Duration;

use serde::{Deserialize, de::DeserializeOwned};
use serde_json::{Value, json, value::RawValue};
use ureq::{Agent, Error};

use crate::url::Url;

/// Bytes of one answer. Half a megabyte of header and 256 words with their proofs need less.
pub const MAX_ANSWER: usize = 4 << 20;
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
    #[serde(borrow, default)]
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
}

impl Node {
    /// The node at `url`, which has `patience` for each answer, from the first byte sent to the last one read.
    pub fn new(url: Url, patience: Duration) -> Self {
        let agent = Agent::config_builder()
            .timeout_global(Some(patience))
            .max_redirects(0)
            .proxy(None)
            .http_status_as_error(false)
            .user_agent(concat!("sahara/", env!("CARGO_PKG_VERSION")))
            .build()
            .new_agent();
        Self { url, agent, patience }
    }

    /// Where it is.
    pub fn url(&self) -> &Url {
        &self.url
    }

    /// Asks `method` with `params`.
    pub fn ask<T: DeserializeOwned>(&self, method: &str, params: &Value) -> Result<T, AskError> {
        let question = json!({ "jsonrpc": "2.0", "id": 1, "method": method, "params": params }).to_string();
        let answer = self.post(&question)?;
        let envelope: Envelope<'_> = serde_json::from_slice(&answer).map_err(malformed)?;
        if let Some(Refusal { code, message }) = envelope.error {
            return Err(AskError::Refused { code, message: brief(&message) });
        }
        // A result that is null is there, and absent to serde.
        serde_json::from_str(envelope.result.map_or("null", RawValue::get)).map_err(malformed)
    }

    fn post(&self, question: &str) -> Result<Vec<u8>, AskError> {
        let failed = |error: Error| match error {
            Error::Timeout(_) => AskError::Late(self.patience),
            Error::BodyExceedsLimit(_) => AskError::TooLarge,
            other => AskError::Unreachable(brief(&other.to_string())),
        };
        let request = self.agent.post(self.url.as_str()).header("content-type", "application/json");
        let mut response = request.send(question).map_err(failed)?;
        response.body_mut().with_config().limit(MAX_ANSWER as u64).read_to_vec().map_err(failed)
    }
}

fn malformed(why: serde_json::Error) -> AskError {
    AskError::Malformed(brief(&why.to_string()))
}

fn brief(words: &str) -> String {
    words.chars().map(|c| if c.is_control() { ' ' } else { c }).take(MAX_SAID).collect()
}
