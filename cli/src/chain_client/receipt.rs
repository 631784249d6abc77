//! What became of a transaction. One node's word for it may be a lie: whoever is told that a payment failed types it again, and
//! pays twice. So it counts when a second node says the same.

use std::thread;
use std::time::{Duration, Instant};

use alloy_primitives::{Address, B256, U256};
use serde_json::{Value, json};

use super::logs::read_log;
use super::{Answer, AskError, Chain, Log, Order, number, revert};
use crate::error::{Error, Result};
use crate::wallet::amount::Amount;

/// How long a transaction may wait for its block until that is told.
const PATIENCE: Duration = Duration::from_secs(120);
/// How long one that all nodes refused is looked for.
const REFUSED_PATIENCE: Duration = Duration::from_secs(if cfg!(test) { 1 } else { 6 });
/// How long a second node is waited for that says what one says.
const WITNESS: Duration = Duration::from_secs(10);
/// Pause before it is looked for again.
const PAUSE: Duration = Duration::from_millis(200);

/// An order that was carried out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Done {
    /// The transaction.
    pub transaction: B256,
    /// Its block.
    pub block: u64,
    /// Gas it took.
    pub gas: u64,
    /// What that cost.
    pub fee: Amount,
    /// What the contracts logged, with the contract.
    pub logs: Vec<(Address, Log)>,
    /// How many nodes say so: one alone only if the network names no other, or if it is proven that the account's transaction of
    /// this number was carried out.
    pub witnesses: usize,
}

impl Done {
    /// What of it other programs want to know.
    pub fn json(&self) -> Value {
        json!({
            "transaction": self.transaction,
            "block": self.block,
            "gas": self.gas,
            "fee": self.fee.0.to_string(),
            "witnesses": self.witnesses,
        })
    }

    /// What it rests on, if that is one node's word.
    pub fn rests_on(&self) -> &'static str {
        if self.witnesses > 1 { "" } else { " (as one node says, and no other)" }
    }

    /// The first event of a kind that `contract` logged.
    pub fn event<E: alloy_sol_types::SolEvent>(&self, contract: Address) -> Option<E> {
        let logs = self.logs.iter().filter(|(by, _)| *by == contract);
        logs.filter_map(|(_, log)| E::decode_raw_log_validate(log.topics.iter().copied(), &log.data).ok()).next()
    }
}

/// What a node says of a transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Outcome {
    carried_out: bool,
    done: Done,
}

/// A transaction that was sent.
pub(super) struct Sent<'a> {
    pub(super) hash: B256,
    pub(super) order: &'a Order,
    pub(super) from: Address,
    pub(super) nonce: u64,
}

impl Chain {
    /// Waits until it is known what became of a transaction; not for long if all nodes `refused` it: one may have it all the same.
    ///
    /// # Errors
    /// When the contract refused, as two nodes say (or the only one); else [`Error::unsettled`]: nobody knows.
    pub(super) fn wait(&self, sent: &Sent<'_>, refused: Option<&str>) -> Result<Done> {
        let Sent { hash, order, from, nonce } = *sent;
        let patience = if refused.is_some() { REFUSED_PATIENCE } else { PATIENCE };
        let needed = self.rpc.count().min(2);
        let until = Instant::now() + patience;
        let mut alone: Option<Instant> = None;
        loop {
            let answers = self.rpc.ask_all("eth_getTransactionReceipt", &json!([hash]));
            let found = agreed(hash, &answers);
            if let Some(outcome) = found.as_ref().filter(|outcome| outcome.done.witnesses >= needed) {
                return self.end(outcome, order, from);
            }
            let waited = found.is_some().then(|| alone.get_or_insert_with(Instant::now).elapsed());
            let silent = answers.iter().filter(|answer| answer.is_err()).count();
            let nobody_else = silent + 1 >= answers.len() || waited.is_some_and(|waited| waited >= WITNESS);
            if let Some(outcome) = found.as_ref().filter(|outcome| outcome.carried_out && nobody_else) {
                // That the account's transaction of this number is in a block is proven; that one was refused never is.
                if self.proven_nonce(from).is_some_and(|next| next > nonce) {
                    return Ok(outcome.done.clone());
                }
            }
            if Instant::now() >= until || waited.is_some_and(|waited| waited >= 2 * WITNESS) {
                let said = refused.map_or_else(String::new, |words| format!(" (the nodes say: {words})"));
                let why = match found {
                    Some(Outcome { carried_out: true, .. }) => {
                        "one node says that it is in a block, and no other does".to_owned()
                    }
                    Some(_) => "one node says that it was refused in a block, and no other does".to_owned(),
                    None => {
                        format!("it is in no block after {} s, as far as the nodes agree{said}", patience.as_secs())
                    }
                };
                return Err(Error::unsettled(format!(
                    "{}: transaction {hash} was sent, and {why}: look for it before you try again",
                    order.doing
                )));
            }
            thread::sleep(PAUSE);
        }
    }

    fn end(&self, outcome: &Outcome, order: &Order, from: Address) -> Result<Done> {
        let Outcome { carried_out, done } = outcome;
        if *carried_out {
            return Ok(done.clone());
        }
        let why = self.why(order, from, done.block);
        let (block, fee, hash, alone) = (done.block, done.fee, done.transaction, done.rests_on());
        Err(Error::fault(format!(
            "{}: refused in block {block} after {fee} of gas were paid (transaction {hash}){alone}: {why}",
            order.doing
        )))
    }

    /// What the contract says if it is asked again.
    fn why(&self, order: &Order, from: Address, block: u64) -> String {
        match self.rpc.ask("eth_call", &json!([order.question(from), format!("{block:#x}")])) {
            Err(AskError::Refused { data: Some(data), .. }) if !data.is_empty() => revert::words(&data),
            Err(AskError::Refused { message, .. }) => message,
            _ => "why cannot be found out".to_owned(),
        }
    }
}

/// What most nodes say became of a transaction; nothing while none says anything, or as many say one thing as another.
fn agreed(hash: B256, answers: &[Answer]) -> Option<Outcome> {
    let mut all: Vec<Outcome> = Vec::new();
    for said in answers.iter().filter_map(|answer| read(hash, answer.as_ref().ok()?)) {
        let same = |known: &&mut Outcome| {
            let witnesses = said.done.witnesses;
            known.carried_out == said.carried_out && Done { witnesses, ..known.done.clone() } == said.done
        };
        match all.iter_mut().find(same) {
            Some(known) => known.done.witnesses += 1,
            None => all.push(said),
        }
    }
    all.sort_by_key(|outcome| std::cmp::Reverse(outcome.done.witnesses));
    match all.as_slice() {
        [first, second, ..] if first.done.witnesses == second.done.witnesses => None,
        _ => all.into_iter().next(),
    }
}

/// A receipt of this transaction.
fn read(hash: B256, receipt: &Value) -> Option<Outcome> {
    let known = |field: &str| number(&receipt[field]).and_then(|n| u64::try_from(n).ok());
    if receipt["transactionHash"].as_str()?.parse::<B256>().ok()? != hash {
        return None;
    }
    let gas = known("gasUsed")?;
    let fee = Amount(number(&receipt["effectiveGasPrice"])?.checked_mul(U256::from(gas))?);
    let logs = receipt["logs"].as_array()?.iter();
    let logs = logs.map(|log| Some((log["address"].as_str()?.parse().ok()?, read_log(log)?)));
    let logs = logs.collect::<Option<_>>()?;
    let done = Done { transaction: hash, block: known("blockNumber")?, gas, fee, logs, witnesses: 1 };
    Some(Outcome { carried_out: known("status")? == 1, done })
}

#[cfg(test)]
mod tests {
    use super::super::nodes;
    use super::*;
    use crate::error::Blame;

    const HASH: B256 = B256::repeat_byte(7);

    fn receipt(status: u8) -> Value {
        json!({
            "transactionHash": HASH, "status": format!("{status:#x}"), "gasUsed": "0x5", "effectiveGasPrice": "0x2",
            "blockNumber": "0x9", "logs": [],
        })
    }

    /// What becomes of a transaction of which the nodes say so.
    fn ended(said: &[Option<Value>]) -> Result<Done> {
        let nodes = said.iter().map(|said| match said.clone() {
            Some(said) => nodes::node(move |method, _| match method {
                "eth_getTransactionReceipt" => Ok(said.clone()),
                _ => Err(r#"{"id":1,"error":{"code":3,"message":"no licence"}}"#.to_owned()),
            }),
            None => nodes::nobody(),
        });
        let order = Order {
            doing: "buying",
            to: Address::ZERO,
            value: Amount::default(),
            input: Default::default(),
            gas: None,
        };
        let sent = Sent { hash: HASH, order: &order, from: Address::ZERO, nonce: 3 };
        Chain::new(7, nodes).wait(&sent, Some("already known"))
    }

    #[test]
    fn what_two_nodes_say_counts_and_what_one_says_only_where_there_is_no_other() {
        let done = ended(&[Some(receipt(1)), Some(Value::Null), Some(receipt(1))]).unwrap();
        assert_eq!((done.witnesses, done.block, done.fee, done.rests_on()), (2, 9, Amount::from(10u128), ""));
        let done = ended(&[Some(receipt(1))]).unwrap();
        assert!(done.witnesses == 1 && done.rests_on().contains("one node says"));
        let refused = ended(&[Some(receipt(0)), Some(receipt(0)), Some(receipt(1))]).unwrap_err();
        assert!(refused.blame() == Blame::Fault && refused.report().contains("no licence"), "{}", refused.report());
        let refused = ended(&[Some(receipt(0))]).unwrap_err();
        assert!(refused.blame() == Blame::Fault && refused.report().contains("as one node says"));
    }

    #[test]
    fn a_lone_word_that_a_payment_failed_or_was_made_lets_nobody_pay_again() {
        for said in [
            vec![Some(receipt(0)), Some(Value::Null)],
            vec![Some(receipt(1)), None],
            vec![Some(receipt(0)), Some(receipt(1))],
            vec![Some(json!({"status": "0x0"})), Some(receipt(0))],
        ] {
            let error = ended(&said).unwrap_err();
            assert!(
                error.blame() == Blame::Unsettled && error.report().contains("before you try again"),
                "{said:?}: {}",
                error.report()
            );
        }
    }

    #[test]
    fn a_receipt_of_another_transaction_is_none() {
        assert!(read(HASH, &receipt(1)).is_some() && read(B256::ZERO, &receipt(1)).is_none());
        for wrong in [json!(null), json!({}), json!({"transactionHash": HASH, "status": "0x1"})] {
            assert!(read(HASH, &wrong).is_none());
        }
    }
}
