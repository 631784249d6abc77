//! Questions to a chain's nodes, in JSON-RPC over HTTP. Of several nodes the first that answers is believed no more than the
//! others: what must be true is proven (`sahara-light`), what is only shown may be anybody's word.

use std::io::Read;
use std::time::Duration;

use serde_json::{Value, json};
use ureq::Agent;

/// Longer answers are refused.
const MAX_ANSWER: u64 = 8 << 20;
/// A node that has not answered in full by then is given up.
const PATIENCE: Duration = Duration::from_secs(20);
/// A node that is not reached by then, too.
const CONNECT: Duration = Duration::from_secs(5);
/// Most characters of a node's own words that are shown.
const MAX_WORDS: usize = 300;

/// Why there is no answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AskError {
    /// No node was reached, or what they said is no answer.
    NoAnswer(String),
    /// A node refuses.
    Refused {
        /// JSON-RPC's code.
        code: i64,
        /// In its words.
        message: String,
        /// What a contract said.
        data: Option<Vec<u8>>,
    },
}

/// The nodes of one chain.
#[derive(Clone)]
pub struct Rpc {
    agent: Agent,
    urls: Vec<String>,
}

impl Rpc {
    /// Asks the nodes at these addresses, in this order.
    pub fn new(urls: impl IntoIterator<Item = String>) -> Self {
        let agent = Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .max_redirects_will_error(false)
            .user_agent(concat!("sahara/", env!("CARGO_PKG_VERSION")))
            .timeout_connect(Some(CONNECT))
            .timeout_global(Some(PATIENCE))
            .build()
            .into();
        Self { agent, urls: urls.into_iter().collect() }
    }

    /// Asks one node after the other until one answers.
    ///
    /// # Errors
    /// What the first that answers says against it; when none answers, why the last one does not.
    pub fn ask(&self, method: &str, params: &Value) -> Result<Value, AskError> {
        let mut why = AskError::NoAnswer("the network names no node of its chain".to_owned());
        for url in &self.urls {
            match self.ask_at(url, method, params) {
                Err(AskError::NoAnswer(words)) => why = AskError::NoAnswer(words),
                answer => return answer,
            }
        }
        Err(why)
    }

    /// The same nodes, of which another one is asked first.
    #[must_use]
    pub fn turned(&self, by: usize) -> Self {
        let mut urls = self.urls.clone();
        if !urls.is_empty() {
            let by = by % urls.len();
            urls.rotate_left(by);
        }
        Self { agent: self.agent.clone(), urls }
    }

    /// The first answer that `counts`, from one node after the other; a node's word that there is nothing may be a lie.
    pub fn seek(&self, method: &str, params: &Value, counts: fn(&Value) -> bool) -> Option<Value> {
        let answers = self.urls.iter().map(|url| self.ask_at(url, method, params));
        answers.filter_map(Result::ok).find(counts)
    }

    /// Tells all nodes the same: one that keeps it to itself keeps it from nobody. What the first that refused said, if all
    /// did.
    ///
    /// # Errors
    /// When no node takes it.
    pub fn tell_all(&self, method: &str, params: &Value) -> Result<(), AskError> {
        let mut refused = None;
        let mut taken = false;
        for url in &self.urls {
            match self.ask_at(url, method, params) {
                Ok(_) => taken = true,
                Err(error @ AskError::Refused { .. }) => {
                    refused.get_or_insert(error);
                }
                Err(error) => {
                    refused = refused.or(Some(error));
                }
            }
        }
        match (taken, refused) {
            (false, Some(error)) => Err(error),
            (false, None) => Err(AskError::NoAnswer("the network names no node of its chain".to_owned())),
            (true, _) => Ok(()),
        }
    }

    fn ask_at(&self, url: &str, method: &str, params: &Value) -> Result<Value, AskError> {
        let silent = |why: &dyn std::fmt::Display| {
            AskError::NoAnswer(format!("{url} does not answer: {}", cut(&why.to_string())))
        };
        let body = json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": params}).to_string();
        let request = self.agent.post(url).header("Content-Type", "application/json");
        let mut response = request.send(body.as_str()).map_err(|e| silent(&e))?;
        let mut answer = Vec::new();
        response.body_mut().as_reader().take(MAX_ANSWER + 1).read_to_end(&mut answer).map_err(|e| silent(&e))?;
        if answer.len() as u64 > MAX_ANSWER {
            return Err(silent(&"its answer is longer than any that is read"));
        }
        let status = response.status();
        let answer = serde_json::from_slice(&answer)
            .map_err(|_| silent(&format_args!("what it says with status {status} is no JSON-RPC")))?;
        read(answer).ok_or_else(|| silent(&"what it says is no JSON-RPC"))?
    }
}

/// The result or the refusal of an answer.
fn read(mut answer: Value) -> Option<Result<Value, AskError>> {
    let object = answer.as_object_mut()?;
    match (object.remove("error").filter(|error| !error.is_null()), object.remove("result")) {
        (Some(error), _) => {
            let data = error["data"].as_str().and_then(|data| alloy_primitives::hex::decode(data).ok());
            Some(Err(AskError::Refused {
                code: error["code"].as_i64()?,
                message: cut(error["message"].as_str().unwrap_or("it does not say why")),
                data,
            }))
        }
        (None, result) => result.map(Ok),
    }
}

/// The beginning of what a stranger says.
fn cut(words: &str) -> String {
    words.chars().take(MAX_WORDS).collect()
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::net::TcpListener;

    use super::*;

    /// A node that says one thing to whoever asks once.
    fn node(says: &'static str) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let _ = stream.read(&mut [0; 4096]).unwrap();
            let length = says.len();
            write!(stream, "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n{says}").unwrap();
        });
        format!("http://{address}")
    }

    #[test]
    fn the_next_node_is_asked_when_one_says_nothing() {
        let nobody = "http://127.0.0.1:1".to_owned();
        let rpc = Rpc::new([nobody.clone(), node("<html>"), node(r#"{"id":1,"result":"0x1"}"#)]);
        assert_eq!(rpc.ask("eth_chainId", &json!([])), Ok("0x1".into()));
        let silent = Rpc::new([nobody.clone()]).ask("eth_chainId", &json!([]));
        assert!(matches!(silent, Err(AskError::NoAnswer(why)) if why.contains(&nobody)));
        assert!(matches!(Rpc::new([]).ask("eth_chainId", &json!([])), Err(AskError::NoAnswer(_))));
    }

    #[test]
    fn all_nodes_are_told_and_a_word_that_there_is_nothing_is_not_the_last() {
        let (yes, no) = (r#"{"id":1,"result":"0x1"}"#, r#"{"id":1,"error":{"code":1,"message":"no"}}"#);
        let nobody = "http://127.0.0.1:1".to_owned();
        let told = |urls: Vec<String>| Rpc::new(urls).tell_all("eth_sendRawTransaction", &json!([]));
        told(vec![node(no), nobody.clone(), node(yes)]).unwrap();
        let refused = told(vec![nobody.clone(), node(no)]).unwrap_err();
        assert!(matches!(refused, AskError::NoAnswer(_) | AskError::Refused { .. }));
        assert!(told(vec![]).is_err());
        let nothing = r#"{"id":1,"result":null}"#;
        let rpc = Rpc::new([nobody, node(nothing), node(yes)]);
        assert_eq!(rpc.seek("eth_getTransactionReceipt", &json!([]), |answer| !answer.is_null()), Some("0x1".into()));
        let [a, b, c] = ["a", "b", "c"].map(str::to_owned);
        assert_eq!(Rpc::new([a.clone(), b.clone(), c.clone()]).turned(4).urls, [b, c, a]);
        assert!(Rpc::new([]).turned(1).urls.is_empty());
    }

    #[test]
    fn a_refusal_is_an_answer_and_carries_what_the_contract_said() {
        let rpc = Rpc::new([
            node(r#"{"id":1,"error":{"code":3,"message":"execution reverted","data":"0x08c379a0"}}"#),
            node(r#"{"id":1,"result":"0x1"}"#),
        ]);
        let refused = rpc.ask("eth_call", &json!([])).unwrap_err();
        let data = Some(vec![0x08, 0xc3, 0x79, 0xa0]);
        assert_eq!(refused, AskError::Refused { code: 3, message: "execution reverted".into(), data });
    }

    #[test]
    fn whatever_a_node_says_is_read_or_refused() {
        for text in ["[]", "1", "null", "{}", r#"{"error":1}"#, r#"{"error":{"code":"x"}}"#] {
            assert!(!matches!(read(serde_json::from_str(text).unwrap()), Some(Ok(_))), "{text}");
        }
        assert_eq!(read(json!({"error": null, "result": null})), Some(Ok(Value::Null)));
        let long = read(json!({"error": {"code": 1, "message": "x".repeat(9999)}}));
        assert!(matches!(long, Some(Err(AskError::Refused { message, .. })) if message.len() == MAX_WORDS));
    }
}
