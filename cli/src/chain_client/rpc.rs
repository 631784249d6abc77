//! Questions to a chain's nodes, in JSON-RPC over HTTP. Of several nodes the first that answers is believed no more than the
//! others: what must be true is proven (`sahara-light`), what is only shown may be anybody's word, and what costs money is asked of
//! all of them.

use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use sahara_light::{AskError as Why, Node, Url};
use serde_json::Value;

/// A node that has not answered in full by then is given up.
const PATIENCE: Duration = Duration::from_secs(20);
/// What is said when a network names no node.
const NOBODY: &str = "the network names no node of its chain";

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

/// What one node says.
pub type Answer = Result<Value, AskError>;

/// The nodes of one chain. Whoever did not answer is asked after the others from then on, by all copies of this.
#[derive(Clone)]
pub struct Rpc {
    nodes: Vec<Node>,
    /// The places of all nodes, in their turn.
    turns: Arc<Mutex<Vec<usize>>>,
}

impl Rpc {
    /// Asks the nodes at these addresses, in this order.
    pub fn new(urls: impl IntoIterator<Item = Url>) -> Self {
        let nodes: Vec<_> = urls.into_iter().map(|url| Node::new(url, PATIENCE)).collect();
        let turns = Arc::new(Mutex::new((0..nodes.len()).collect()));
        Self { nodes, turns }
    }

    /// The same nodes, each of which has so long for an answer.
    #[must_use]
    pub fn hurried(&self, patience: Duration) -> Self {
        Self { nodes: self.nodes.iter().map(|node| node.with_patience(patience)).collect(), turns: self.turns.clone() }
    }

    /// Each of the nodes alone.
    pub fn alone(&self) -> Vec<Self> {
        let one = |node: &Node| Self { nodes: vec![node.clone()], turns: Arc::new(Mutex::new(vec![0])) };
        self.nodes.iter().map(one).collect()
    }

    /// How many nodes there are.
    pub fn count(&self) -> usize {
        self.nodes.len()
    }

    /// Asks one node after the other until one answers.
    ///
    /// # Errors
    /// What the first that answers says against it; when none answers, why the last one does not.
    pub fn ask(&self, method: &str, params: &Value) -> Answer {
        let mut why = AskError::NoAnswer(NOBODY.to_owned());
        for place in self.turns() {
            match self.ask_at(place, method, params) {
                Err(AskError::NoAnswer(words)) => why = AskError::NoAnswer(words),
                answer => return answer,
            }
        }
        Err(why)
    }

    /// Asks one node after the other until one does not refuse: a node's word that something cannot be done may be a lie.
    ///
    /// # Errors
    /// What the first that refused said, if none did better; when none answers, why.
    pub fn ask_on(&self, method: &str, params: &Value) -> Answer {
        let mut worst = None;
        for place in self.turns() {
            match self.ask_at(place, method, params) {
                Ok(answer) => return Ok(answer),
                Err(refused @ AskError::Refused { .. }) => worst = Some(worse(worst, refused)),
                Err(silent) => worst = Some(worse(worst, silent)),
            }
        }
        Err(worst.unwrap_or_else(|| AskError::NoAnswer(NOBODY.to_owned())))
    }

    /// Does something with all nodes at the same time: what comes of it, in the order of the nodes.
    pub fn each<T: Send>(&self, ask: impl Fn(&One<'_>) -> T + Sync) -> Vec<T> {
        if let [node] = self.nodes.as_slice() {
            return vec![ask(&One { node })];
        }
        let ask = &ask;
        thread::scope(|scope| {
            let threads: Vec<_> = self.nodes.iter().map(|node| scope.spawn(move || ask(&One { node }))).collect();
            threads.into_iter().filter_map(|thread| thread.join().ok()).collect()
        })
    }

    /// Asks all nodes the same at the same time.
    pub fn ask_all(&self, method: &str, params: &Value) -> Vec<Answer> {
        self.each(|one| one.ask(method, params))
    }

    /// Tells all nodes the same: one that keeps it to itself keeps it from nobody. What the first that refused said, if all
    /// did.
    ///
    /// # Errors
    /// When no node takes it.
    pub fn tell_all(&self, method: &str, params: &Value) -> Result<(), AskError> {
        taken(self.ask_all(method, params))
    }

    fn turns(&self) -> Vec<usize> {
        self.turns.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn ask_at(&self, place: usize, method: &str, params: &Value) -> Answer {
        let Some(node) = self.nodes.get(place) else { return Err(AskError::NoAnswer(NOBODY.to_owned())) };
        let answer = One { node }.ask(method, params);
        if matches!(answer, Err(AskError::NoAnswer(_))) {
            let mut turns = self.turns.lock().unwrap_or_else(PoisonError::into_inner);
            turns.retain(|other| *other != place);
            turns.push(place);
        }
        answer
    }
}

/// One of the nodes.
pub struct One<'a> {
    node: &'a Node,
}

impl One<'_> {
    /// Where it is.
    pub fn url(&self) -> &Url {
        self.node.url()
    }

    /// Asks it.
    ///
    /// # Errors
    /// When it does not answer, or refuses.
    pub fn ask(&self, method: &str, params: &Value) -> Answer {
        self.node.ask(method, params).map_err(|why| match why {
            Why::Refused { code, message, data } => AskError::Refused { code, message, data },
            other => AskError::NoAnswer(format!("{} does not answer: {other}", self.url())),
        })
    }

    /// Tells it one thing after the other, until `until`: what it says to each; less if it is slow.
    pub fn tell(&self, method: &str, all: &[Value], until: Instant) -> Vec<Answer> {
        all.iter().take_while(|_| Instant::now() < until).map(|params| self.ask(method, params)).collect()
    }
}

/// What becomes of something that all nodes were told.
///
/// # Errors
/// When no node took it: what the first that refused said, else why none answers.
pub fn taken(answers: impl IntoIterator<Item = Answer>) -> Result<(), AskError> {
    let mut worst = None;
    for answer in answers {
        match answer {
            Ok(_) => return Ok(()),
            Err(error) => worst = Some(worse(worst, error)),
        }
    }
    Err(worst.unwrap_or_else(|| AskError::NoAnswer(NOBODY.to_owned())))
}

/// The first refusal says more than silence.
fn worse(known: Option<AskError>, new: AskError) -> AskError {
    match known {
        Some(known @ AskError::Refused { .. }) => known,
        _ => new,
    }
}

#[cfg(test)]
pub mod tests {
    use std::io::{BufRead, BufReader, Read, Write};
    use std::net::{TcpListener, TcpStream};

    use serde_json::json;

    use super::*;

    /// A node that says what a test wants to a method and its parameters: a result, or (as an error) the whole answer.
    pub fn node(says: impl Fn(&str, &Value) -> Result<Value, String> + Send + Sync + 'static) -> Url {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap()).parse().unwrap();
        let says = Arc::new(says);
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let says = says.clone();
                thread::spawn(move || drop(serve(&stream, says.as_ref())));
            }
        });
        url
    }

    fn serve(mut stream: &TcpStream, says: &dyn Fn(&str, &Value) -> Result<Value, String>) -> std::io::Result<()> {
        let mut reader = BufReader::new(stream);
        loop {
            let mut length = 0;
            loop {
                let mut line = String::new();
                if reader.read_line(&mut line)? == 0 {
                    return Ok(());
                }
                if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
                    length = value.trim().parse().unwrap_or(0);
                }
                if line.trim().is_empty() {
                    break;
                }
            }
            let mut body = vec![0; length];
            reader.read_exact(&mut body)?;
            let question: Value = serde_json::from_slice(&body)?;
            let answer = says(question["method"].as_str().unwrap_or_default(), &question["params"]);
            let text = answer.map_or_else(|whole| whole, |result| json!({"id": 1, "result": result}).to_string());
            write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{text}", text.len())?;
        }
    }

    /// A node that says the same to everything.
    fn always(text: &'static str) -> Url {
        node(move |_, _| Err(text.to_owned()))
    }

    /// Where nobody listens.
    pub fn nobody() -> Url {
        "http://127.0.0.1:1".parse().unwrap()
    }

    const YES: &str = r#"{"id":1,"result":"0x1"}"#;
    const NO: &str = r#"{"id":1,"error":{"code":1,"message":"no"}}"#;

    #[test]
    fn the_next_node_is_asked_when_one_says_nothing_and_that_one_is_the_last_from_then_on() {
        let rpc = Rpc::new([nobody(), always("<html>"), always(YES), always("{}")]);
        assert_eq!(rpc.turns(), [0, 1, 2, 3]);
        assert_eq!(rpc.ask("eth_chainId", &json!([])), Ok("0x1".into()));
        assert_eq!(rpc.hurried(Duration::from_secs(1)).turns(), [2, 3, 0, 1]);
        let silent = Rpc::new([nobody()]).ask("eth_chainId", &json!([]));
        assert!(matches!(silent, Err(AskError::NoAnswer(why)) if why.contains("127.0.0.1:1")));
        assert!(matches!(Rpc::new([]).ask("eth_chainId", &json!([])), Err(AskError::NoAnswer(_))));
    }

    #[test]
    fn all_nodes_are_told_and_a_word_that_it_cannot_be_done_is_not_the_last() {
        let told = |urls: Vec<Url>| Rpc::new(urls).tell_all("eth_sendRawTransaction", &json!([]));
        told(vec![always(NO), nobody(), always(YES)]).unwrap();
        let refused = told(vec![nobody(), always(NO), nobody()]).unwrap_err();
        assert!(matches!(refused, AskError::Refused { .. }), "{refused:?}");
        assert!(told(vec![]).is_err());
        let on = |urls: Vec<Url>| Rpc::new(urls).ask_on("eth_estimateGas", &json!([]));
        assert_eq!(on(vec![always(NO), nobody(), always(YES)]), Ok("0x1".into()));
        assert!(matches!(on(vec![always(NO), nobody()]), Err(AskError::Refused { .. })));
        let all = Rpc::new([nobody(), always(r#"{"id":1,"result":null}"#), always(YES)]).ask_all("x", &json!([]));
        assert!(all[0].is_err() && all[1] == Ok(Value::Null) && all[2] == Ok("0x1".into()));
    }

    #[test]
    fn a_refusal_is_an_answer_and_carries_what_the_contract_said() {
        let reverted = r#"{"id":1,"error":{"code":3,"message":"execution reverted","data":"0x08c379a0"}}"#;
        let refused = Rpc::new([always(reverted), always(YES)]).ask("eth_call", &json!([])).unwrap_err();
        let data = Some(vec![0x08, 0xc3, 0x79, 0xa0]);
        assert_eq!(refused, AskError::Refused { code: 3, message: "execution reverted".into(), data });
    }

    #[test]
    fn a_node_that_speaks_no_tls_where_it_should_says_nothing() {
        let plain = always(YES).to_string().replace("http:", "https:").parse().unwrap();
        let silent = Rpc::new([plain]).ask("eth_chainId", &json!([])).unwrap_err();
        assert!(matches!(&silent, AskError::NoAnswer(why) if why.contains("https://127.0.0.1")), "{silent:?}");
    }

    #[test]
    fn a_slow_node_has_as_long_as_it_is_given() {
        let slow = node(|_, _| {
            thread::sleep(Duration::from_secs(30));
            Ok(Value::Null)
        });
        let rpc = Rpc::new([slow, always(YES)]).hurried(Duration::from_secs(3));
        let begun = Instant::now();
        assert_eq!(rpc.ask("eth_chainId", &json!([])), Ok("0x1".into()));
        let told = rpc.each(|one| one.tell("x", &[json!([]), json!([])], Instant::now() + Duration::from_secs(2)));
        assert_eq!(told.iter().map(Vec::len).collect::<Vec<_>>(), [1, 2]);
        assert!(begun.elapsed() < Duration::from_secs(25), "not as long as the node takes");
        assert_eq!(rpc.turns(), [1, 0]);
    }
}
