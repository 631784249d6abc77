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

    fn try_call<C: SolCall>(&self, contract: Address, question: &C) -> std::result::Result<Vec<u8>, AskError> {
        let transaction = json!({"to": contract, "input": Bytes::from(question.abi_encode())});
        let answer = self.rpc.ask("eth_call", &json!([transaction, "latest"]))?;
        let bytes = answer.as_str().and_then(|text| hex::decode(text).ok());
        bytes.ok_or_else(|| AskError::NoAnswer("a node's answer is no bytes".to_owned()))
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

/// A number as Ethereum writes them in JSON.
fn number(value: &Value) -> Option<U256> {
    U256::from_str_radix(value.as_str()?.strip_prefix("0x")?, 16).ok()
}

/// What a person can do about an answer that is none.
pub fn refusal(doing: &str, error: &AskError) -> Error {
    match error {
        AskError::NoAnswer(why) => Error::fault(format!("{doing}: {why}")),
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
    fn what_the_contract_says_is_told_and_who_can_help() {
        let data = alloy_sol_types::SolError::abi_encode(&alloy_sol_types::Revert::from("no"));
        let refused = |data| AskError::Refused { code: 3, message: "execution reverted".into(), data };
        let error = refusal("buying", &refused(Some(data)));
        assert!(error.exit_code() == 2 && error.report().ends_with("refuses: no"), "{}", error.report());
        let error = refusal("buying", &refused(None));
        assert!(error.exit_code() == 2 && error.report().contains("execution reverted"));
        assert_eq!(refusal("buying", &AskError::NoAnswer("down".into())).exit_code(), 1);
    }
}
