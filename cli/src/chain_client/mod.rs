//! What the program asks of a chain and sends to it. Everything blocks.

mod logs;
mod look;
mod order;
mod receipt;
mod revert;
mod rpc;
mod send;

use std::sync::Arc;

use alloy_primitives::{Address, Bytes, U256, hex};
use alloy_sol_types::SolCall;
use sahara_light::{Light, Url};
use serde_json::{Value, json};

use crate::error::{Error, Result};
use crate::wallet::amount::Amount;
#[cfg(test)]
pub use logs::read_log;
#[cfg(test)]
pub use logs::tests::entries;
pub use logs::{Key, Log, WINDOW};
pub use look::{Fee, Look};
pub use order::Order;
pub use receipt::Done;
#[cfg(test)]
pub use rpc::tests as nodes;
pub use rpc::{Answer, AskError, One, Rpc, taken};
pub use send::Preview;

/// JSON-RPC's code for a call that the contract refused.
const REVERTED: i64 = 3;

/// One chain, by its nodes.
#[derive(Clone)]
pub struct Chain {
    rpc: Rpc,
    id: u64,
    /// What proves how many transactions an account has sent; without it the nodes' word is all there is.
    light: Option<Arc<Light>>,
}

impl Chain {
    /// The chain with this id at these nodes. Nothing is asked yet.
    pub fn new(id: u64, urls: impl IntoIterator<Item = Url>) -> Self {
        Self { rpc: Rpc::new(urls), id, light: None }
    }

    /// The same chain, of which something can be proven.
    #[must_use]
    pub fn proven_by(self, light: Light) -> Self {
        Self { light: Some(Arc::new(light)), ..self }
    }

    /// The same chain by its nodes, each of which has so long for an answer.
    #[must_use]
    pub fn hurried(&self, patience: std::time::Duration) -> Self {
        Self { rpc: self.rpc.hurried(patience), ..self.clone() }
    }

    /// The same chain by each of its nodes alone, in their order: what one keeps to itself another one may tell.
    pub fn alone(&self) -> Vec<Self> {
        self.rpc.alone().into_iter().map(|rpc| Self { rpc, ..self.clone() }).collect()
    }

    /// How many transactions an account has sent, if that is proven.
    fn proven_nonce(&self, account: Address) -> Option<u64> {
        self.light.as_ref()?.account(account).ok().map(|account| account.nonce)
    }

    /// Its EIP-155 id.
    pub fn id(&self) -> u64 {
        self.id
    }

    /// What an account has.
    ///
    /// # Errors
    /// When no node answers.
    pub fn balance(&self, account: Address) -> Result<Amount> {
        self.number("reading the balance", "eth_getBalance", &json!([account, "latest"])).map(Amount)
    }

    /// The last block.
    ///
    /// # Errors
    /// When no node answers.
    pub fn height(&self) -> Result<u64> {
        let height = self.number("reading the height of the chain", "eth_blockNumber", &json!([]))?;
        u64::try_from(height).map_err(|_| nonsense("reading the height of the chain"))
    }

    /// The time of the last block, in seconds since 1970.
    ///
    /// # Errors
    /// When no node answers.
    pub fn time(&self) -> Result<u64> {
        let doing = "asking for the chain's time";
        let block = self.rpc.ask("eth_getBlockByNumber", &json!(["latest", false])).map_err(|e| refusal(doing, &e))?;
        number(&block["timestamp"]).and_then(|time| u64::try_from(time).ok()).ok_or_else(|| nonsense(doing))
    }

    /// Waits until the chain is at a height; not for ever, as a chain may make blocks only when there is something for them.
    ///
    /// # Errors
    /// When no node answers.
    pub fn wait_for(&self, height: u64) -> Result<()> {
        for _ in 0..20 {
            if self.height()? >= height {
                break;
            }
            std::thread::sleep(std::time::Duration::from_millis(250));
        }
        Ok(())
    }

    /// What a contract answers to a question that changes nothing.
    ///
    /// # Errors
    /// When no node answers, or the contract refuses: in its words.
    pub fn call<C: SolCall>(&self, doing: &str, contract: Address, question: &C) -> Result<C::Return> {
        let answer = self.try_call(contract, question).map_err(|e| refusal(doing, &e))?;
        C::abi_decode_returns_validate(&answer).map_err(|_| match answer.is_empty() {
            true => Error::user(format!("{doing}: there is no such contract on chain {}", self.id)),
            false => nonsense(doing),
        })
    }

    /// What all of the chain's nodes that answer say alike to a question; of so many of them `least`, unless the network names fewer. A
    /// node that is a block behind may say something else for a moment, so they are asked again.
    ///
    /// # Errors
    /// When too few answer, when they contradict each other, or the contract refuses.
    pub fn call_alike<C: SolCall>(
        &self,
        doing: &str,
        contract: Address,
        question: &C,
        least: usize,
    ) -> Result<C::Return> {
        let said = self.asked_alike(doing, contract, question, least, said)?;
        let answer = said.map_err(|why| refusal(doing, &why))?;
        C::abi_decode_returns_validate(&answer).map_err(|_| nonsense(doing))
    }

    /// The same of two nodes for what a contract need not have: nothing if it has no answer.
    ///
    /// # Errors
    /// When too few answer, or they contradict each other.
    pub fn known_alike<C: SolCall>(&self, doing: &str, contract: Address, question: &C) -> Result<Option<C::Return>>
    where
        C::Return: PartialEq,
    {
        self.asked_alike(doing, contract, question, 2, |answer| match answer {
            // The contract's own refusal: it was asked, and does not know.
            Err(AskError::Refused { code: REVERTED, .. } | AskError::Refused { data: Some(_), .. }) => Ok(None),
            other => Ok(C::abi_decode_returns_validate(&bytes(other?).unwrap_or_default()).ok()),
        })
    }

    /// Asks all nodes, some times while they contradict each other; `read` says what an answer means, or why it is none.
    fn asked_alike<C: SolCall, T: PartialEq>(
        &self,
        doing: &str,
        contract: Address,
        question: &C,
        least: usize,
        read: impl Fn(Answer) -> std::result::Result<T, AskError>,
    ) -> Result<T> {
        let transaction = json!({"to": contract, "input": Bytes::from(question.abi_encode())});
        let least = least.min(self.rpc.count()).max(1);
        for pause in [0, 1, 2] {
            std::thread::sleep(std::time::Duration::from_secs(pause));
            let answers = self.rpc.ask_all("eth_call", &json!([transaction, "latest"]));
            let said = alike(answers.into_iter().map(&read), least).map_err(|why| refusal(doing, &why))?;
            if let Some(said) = said {
                return Ok(said);
            }
        }
        Err(Error::fault(format!(
            "{doing}: the chain's nodes contradict each other, so one of them is wrong or behind: try again, or name others (`sahara \
             network`)"
        )))
    }

    /// What proves words of the chain.
    ///
    /// # Errors
    /// When nothing does: the chain is known by its nodes alone.
    pub fn light(&self) -> Result<&Light> {
        self.light.as_deref().ok_or_else(|| Error::fault("nothing proves what the chain's nodes say"))
    }

    fn try_call<C: SolCall>(&self, contract: Address, question: &C) -> std::result::Result<Vec<u8>, AskError> {
        let transaction = json!({"to": contract, "input": Bytes::from(question.abi_encode())});
        bytes(self.rpc.ask("eth_call", &json!([transaction, "latest"]))?)
    }

    /// Makes sure that the nodes are of this chain.
    ///
    /// # Errors
    /// When they do not answer or are of another.
    pub fn check(&self) -> Result<()> {
        let found = self.number("asking for the chain's id", "eth_chainId", &json!([]))?;
        if found == U256::from(self.id) {
            return Ok(());
        }
        Err(self.foreign(found))
    }

    fn foreign(&self, found: U256) -> Error {
        Error::user(format!("the node is of chain {found}, not of chain {}: see `sahara network show`", self.id))
    }

    fn number(&self, doing: &str, method: &str, params: &Value) -> Result<U256> {
        let answer = self.rpc.ask(method, params).map_err(|e| refusal(doing, &e))?;
        number(&answer).ok_or_else(|| nonsense(doing))
    }
}

/// What so many nodes say alike at least; nothing if they contradict each other. A node that only has no time says nothing.
fn alike<T: PartialEq>(
    answers: impl IntoIterator<Item = std::result::Result<T, AskError>>,
    least: usize,
) -> std::result::Result<Option<T>, AskError> {
    let mut said: Vec<T> = Vec::new();
    let mut silent = AskError::NoAnswer("no node of the chain answers".to_owned());
    for answer in answers {
        match answer {
            Ok(one) => said.push(one),
            Err(why) => silent = why,
        }
    }
    if said.len() < least {
        return match (said.len(), silent) {
            (0, why) => Err(why),
            (heard, AskError::NoAnswer(why) | AskError::Refused { message: why, .. }) => Err(AskError::NoAnswer(
                format!("{heard} of the chain's nodes answers and is not believed alone ({why})"),
            )),
        };
    }
    let Some(first) = said.pop() else { return Err(silent) };
    Ok(said.iter().all(|other| *other == first).then_some(first))
}

/// What a contract answered, or that it refuses.
fn said(answer: Answer) -> std::result::Result<std::result::Result<Vec<u8>, AskError>, AskError> {
    match answer {
        Err(refused @ AskError::Refused { data: Some(_), .. }) => Ok(Err(refused)),
        other => bytes(other?).map(Ok),
    }
}

/// What a contract answered.
fn bytes(answer: Value) -> std::result::Result<Vec<u8>, AskError> {
    let bytes = answer.as_str().and_then(|text| hex::decode(text).ok());
    bytes.ok_or_else(|| AskError::NoAnswer("a node's answer is no bytes".to_owned()))
}

/// A number as Ethereum writes them in JSON.
fn number(value: &Value) -> Option<U256> {
    U256::from_str_radix(value.as_str()?.strip_prefix("0x")?, 16).ok()
}

/// What a person can do about an answer that is none.
pub fn refusal(doing: &str, error: &AskError) -> Error {
    match error {
        AskError::NoAnswer(why) => Error::fault(format!(
            "{doing}: {why}; is the network up? See `sahara devnet status` for your own, `sahara network show` for others"
        )),
        AskError::Refused { data: Some(data), .. } if !data.is_empty() => {
            Error::user(format!("{doing}: the contract refuses: {}", revert::words(data)))
        }
        AskError::Refused { message, .. } => Error::user(format!("{doing}: the chain's node refuses: {message}")),
    }
}

fn nonsense(doing: &str) -> Error {
    Error::fault(format!("{doing}: the chain's node gives an answer that is none: ask another one (`sahara network`)"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_read_as_ethereum_writes_them() {
        assert_eq!(number(&"0x10".into()), Some(U256::from(16)));
        for wrong in
            [json!("10"), json!("0x"), json!("0xzz"), json!(1), json!(null), json!(format!("0x1{}", "0".repeat(64)))]
        {
            assert!(number(&wrong).is_none_or(|n| n.is_zero()), "{wrong}");
        }
    }

    #[test]
    fn nodes_are_believed_that_say_the_same_and_one_of_several_is_not() {
        let said = |text: &str| Ok(json!(text));
        let away = || Err(AskError::NoAnswer("down".into()));
        let busy = || Err(AskError::Refused { code: -32005, message: "rate limited".into(), data: None });
        let reverts = || Err(AskError::Refused { code: 3, message: "reverted".into(), data: Some(vec![1]) });
        let alike = |answers: &[Answer], least| match alike(answers.iter().cloned().map(super::said), least)? {
            Some(said) => said.map(Some),
            None => Ok(None),
        };
        assert_eq!(alike(&[said("0x01"), away(), said("0x01")], 2), Ok(Some(vec![1])));
        assert_eq!(alike(&[said("0x01"), said("0x02")], 2), Ok(None));
        assert_eq!(alike(&[said("0x01"), reverts()], 2), Ok(None), "a contract's refusal is an answer");
        assert_eq!(alike(&[reverts(), reverts(), busy()], 2), Err(reverts().unwrap_err()));
        assert_eq!(alike(&[said("0x01"), busy()], 1), Ok(Some(vec![1])));
        for silent in [[said("0x01"), busy()], [said("0x01"), away()], [said("?"), said("0x01")], [away(), away()]] {
            assert!(matches!(alike(&silent, 2), Err(AskError::NoAnswer(_))), "{silent:?}");
        }
    }

    #[test]
    fn what_two_nodes_say_alike_counts_and_a_node_that_does_not_want_to_answer_says_nothing() {
        use nodes::node;
        use sahara_market::abi::Token::decimalsCall;
        let six = || node(|_, _| Ok(json!(format!("0x{:064x}", 6))));
        let refuses =
            |code: i64| node(move |_, _| Err(json!({"id": 1, "error": {"code": code, "message": "no"}}).to_string()));
        let ask =
            |nodes: Vec<sahara_light::Url>| Chain::new(7, nodes).known_alike("asking", Address::ZERO, &decimalsCall {});
        assert_eq!(ask(vec![six()]).unwrap(), Some(6));
        assert_eq!(ask(vec![six(), refuses(-32005), six()]).unwrap(), Some(6));
        assert_eq!(ask(vec![refuses(3)]).unwrap(), None, "the contract has no answer");
        assert!(ask(vec![refuses(-32005)]).is_err(), "a node that is busy has not asked the contract");
        assert!(ask(vec![six(), refuses(-32005)]).is_err(), "one of two is one node's word");
        assert!(ask(vec![six(), refuses(3)]).is_err() && ask(Vec::new()).is_err());
    }

    #[test]
    fn what_the_contract_says_is_told_and_who_can_help() {
        let data = alloy_sol_types::SolError::abi_encode(&alloy_sol_types::Revert::from("no"));
        let refused = |data| AskError::Refused { code: 3, message: "execution reverted".into(), data };
        let error = refusal("buying", &refused(Some(data)));
        assert!(error.exit_code() == 2 && error.report().ends_with("refuses: no"), "{}", error.report());
        let error = refusal("buying", &refused(None));
        assert!(error.exit_code() == 2 && error.report().contains("execution reverted"));
        let away = refusal("buying", &AskError::NoAnswer("down".into()));
        assert!(away.exit_code() == 1 && away.report().contains("`sahara devnet status`"), "{}", away.report());
    }
}
