//! A transaction from its order to its place in a block.

use std::thread;
use std::time::{Duration, Instant};

use alloy_primitives::{Address, B256, Bytes, U256, keccak256};
use alloy_sol_types::SolCall;
use sahara_chain::wallet::Payment;
use serde_json::{Value, json};

use super::{AskError, Chain, Log, nonsense, number, read_log, refusal, revert};
use crate::error::{Error, Result};
use crate::progress::Indicator;
use crate::wallet::Secret;
use crate::wallet::amount::Amount;

/// How long a transaction may wait for its block until that is told.
const PATIENCE: Duration = Duration::from_secs(120);
/// How long one that all nodes refused is looked for.
const REFUSED_PATIENCE: Duration = Duration::from_secs(6);
/// Pause before it is looked for again.
const PAUSE: Duration = Duration::from_millis(200);
/// Most gas that a node's estimate may say: an EVM of ours has no larger transactions.
const MAX_GAS: u64 = 60_000_000;
/// Most that a proposer gets for a unit of gas, whatever a node suggests: it may be the proposer's own.
const MAX_TIP: u128 = 2_000_000_000;
/// Most that is paid for a unit of gas unless the network asks for less: a node that says more is not believed.
const MAX_FEE: u128 = 1_000_000_000_000;

/// What is to be done on the chain.
#[derive(Clone, Debug)]
pub struct Order {
    /// In words, for people: "buying the licence".
    pub doing: &'static str,
    /// The contract.
    pub to: Address,
    /// What is paid with it.
    pub value: Amount,
    /// The call.
    pub input: Bytes,
}

/// What an order would cost.
#[derive(Clone, Copy, Debug)]
pub struct Preview {
    /// What is paid with it.
    pub value: Amount,
    /// Gas, as the node estimates.
    pub gas: u64,
    /// The most that the gas may cost.
    pub fee: Amount,
    /// The most that a unit of it may cost.
    max_fee: u128,
    tip: u128,
}

/// An order that was carried out.
#[derive(Clone, Debug)]
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
}

impl Order {
    /// A call of a contract.
    pub fn call<C: SolCall>(doing: &'static str, to: Address, call: &C) -> Self {
        Self { doing, to, value: Amount::default(), input: call.abi_encode().into() }
    }

    /// The same with a payment.
    pub fn paying(self, value: impl Into<Amount>) -> Self {
        Self { value: value.into(), ..self }
    }
}

impl Done {
    /// What of it other programs want to know.
    pub fn json(&self) -> Value {
        json!({
            "transaction": self.transaction,
            "block": self.block,
            "gas": self.gas,
            "fee": self.fee.0.to_string(),
        })
    }

    /// The first event of a kind that `contract` logged.
    pub fn event<E: alloy_sol_types::SolEvent>(&self, contract: Address) -> Option<E> {
        let logs = self.logs.iter().filter(|(by, _)| *by == contract);
        logs.filter_map(|(_, log)| E::decode_raw_log_validate(log.topics.iter().copied(), &log.data).ok()).next()
    }
}

impl Preview {
    /// The same for a share more of the fee, in percent: for a transaction that takes the place of one that nobody takes.
    #[must_use]
    pub fn dearer(self, percent: u32) -> Self {
        let more = |fee: u128| fee.saturating_add(fee / 100 * u128::from(percent)).min(2 * MAX_FEE);
        let (max_fee, tip) = (more(self.max_fee), more(self.tip).min(2 * MAX_TIP));
        Self { max_fee, tip, fee: Amount(U256::from(self.gas) * U256::from(max_fee)), ..self }
    }

    /// What of it other programs want to know.
    pub fn json(&self) -> Value {
        json!({
            "dry_run": true,
            "value": self.value.0.to_string(),
            "gas": self.gas,
            "most_fee": self.fee.0.to_string(),
        })
    }
}

impl Chain {
    /// What an order of `from` would cost; that it would be carried out as things are.
    ///
    /// # Errors
    /// When the contract would refuse, the account has too little, or no node answers.
    pub fn preview(&self, from: Address, order: &Order) -> Result<Preview> {
        self.preview_with(from, order, Amount::default(), 0)
    }

    /// The same for an order and what comes after it: `more` that is paid, and `more_gas`. The preview is of both.
    ///
    /// # Errors
    /// As [`Self::preview`].
    pub fn preview_with(&self, from: Address, order: &Order, more: Amount, more_gas: u64) -> Result<Preview> {
        self.check()?;
        let (max_fee, tip) = self.fees(order.doing)?;
        let value = order.value.0;
        let transaction = json!({"from": from, "to": order.to, "value": value, "input": order.input});
        let balance = self.balance(from)?;
        let all = Amount(value.saturating_add(more.0));
        if balance < all {
            return Err(short(order.doing, from, balance, all));
        }
        let estimate = self.rpc.ask("eth_estimateGas", &json!([transaction])).map_err(|e| refusal(order.doing, &e))?;
        let estimate = number(&estimate).and_then(|gas| u64::try_from(gas).ok()).filter(|gas| *gas <= MAX_GAS);
        let estimate = estimate.ok_or_else(|| nonsense(order.doing))?;
        // What it takes may grow until it is in a block.
        let gas = estimate + estimate / 4 + more_gas;
        let fee = Amount(U256::from(gas) * U256::from(max_fee));
        let needed = all.0.saturating_add(fee.0);
        if balance.0 < needed {
            return Err(short(order.doing, from, balance, Amount(needed)));
        }
        Ok(Preview { value: all, gas, fee, max_fee, tip })
    }

    /// Carries out an order, and waits until it is in a block.
    ///
    /// # Errors
    /// As [`Self::preview`]; when the contract refuses after all. Once it is signed, only a receipt says what became of it:
    /// without one the error says that nobody knows ([`Error::unsettled`]).
    pub fn send(&self, by: &Secret, order: &Order, progress: &Indicator) -> Result<Done> {
        let preview = self.preview(by.address(), order)?;
        let nonce = self.nonce(by.address(), order.doing)?;
        let (hash, told) = self.submit(by, order, &preview, nonce)?;
        progress.step(&format!("{} (transaction {hash})", order.doing));
        match told {
            Ok(()) | Err(AskError::NoAnswer(_)) => {}
            Err(AskError::Refused { message, .. }) if message.contains("already known") => {}
            Err(AskError::Refused { message, .. }) => return self.wait(hash, order, by.address(), Some(&message)),
        }
        self.wait(hash, order, by.address(), None)
    }

    /// How many transactions an account has sent, those that wait included.
    ///
    /// # Errors
    /// When no node answers.
    pub fn nonce(&self, account: Address, doing: &str) -> Result<u64> {
        let nonce = self.number(doing, "eth_getTransactionCount", &json!([account, "pending"]))?;
        nonce.try_into().map_err(|_| nonsense(doing))
    }

    /// Signs an order and tells all nodes; does not wait. The transaction, and what the nodes said if none took it.
    ///
    /// # Errors
    /// When it cannot be signed: then nobody has heard of it.
    pub fn submit(
        &self,
        by: &Secret,
        order: &Order,
        preview: &Preview,
        nonce: u64,
    ) -> Result<(B256, std::result::Result<(), AskError>)> {
        let payment = Payment {
            nonce,
            to: Some(order.to),
            value: order.value.0,
            input: order.input.clone(),
            gas_limit: preview.gas,
            max_fee: preview.max_fee,
            tip: preview.tip,
        };
        let signed = by.wallet(self.id)?.pay(&payment).map_err(|e| Error::fault(format!("{}: {e}", order.doing)))?;
        Ok((keccak256(&signed), self.rpc.tell_all("eth_sendRawTransaction", &json!([signed]))))
    }

    /// Waits for the receipt of a transaction, not for long if all nodes refused it: one may have it all the same.
    fn wait(&self, hash: B256, order: &Order, from: Address, refused: Option<&str>) -> Result<Done> {
        let patience = if refused.is_some() { REFUSED_PATIENCE } else { PATIENCE };
        let until = Instant::now() + patience;
        loop {
            if let Some(receipt) =
                self.rpc.seek("eth_getTransactionReceipt", &json!([hash]), |answer| !answer.is_null())
            {
                return self.outcome(hash, &receipt, order, from);
            }
            if Instant::now() >= until {
                let said = refused.map_or_else(String::new, |words| format!(" (the nodes say: {words})"));
                return Err(Error::unsettled(format!(
                    "{}: transaction {hash} was sent and is in no block after {} s{said}: look for it before you try again",
                    order.doing,
                    patience.as_secs()
                )));
            }
            thread::sleep(PAUSE);
        }
    }

    fn outcome(&self, hash: B256, receipt: &Value, order: &Order, from: Address) -> Result<Done> {
        let known = |field: &str| number(&receipt[field]).and_then(|n| u64::try_from(n).ok());
        let read = || {
            let gas = known("gasUsed")?;
            let fee = Amount(number(&receipt["effectiveGasPrice"])?.checked_mul(U256::from(gas))?);
            let logs = receipt["logs"].as_array()?.iter();
            let logs = logs.map(|log| Some((log["address"].as_str()?.parse().ok()?, read_log(log)?)));
            let logs = logs.collect::<Option<_>>()?;
            Some((known("status")?, Done { transaction: hash, block: known("blockNumber")?, gas, fee, logs }))
        };
        let unknown =
            || Error::unsettled(format!("{}: what the node says of transaction {hash} is no receipt", order.doing));
        let (status, done) = read().ok_or_else(unknown)?;
        if status == 1 {
            return Ok(done);
        }
        let why = self.why(order, from, done.block);
        Err(Error::fault(format!(
            "{}: refused in block {} after {} of gas were paid (transaction {hash}): {why}",
            order.doing, done.block, done.fee
        )))
    }

    /// What the contract says if it is asked again.
    fn why(&self, order: &Order, from: Address, block: u64) -> String {
        let again = json!({"from": from, "to": order.to, "value": order.value.0, "input": order.input});
        match self.rpc.ask("eth_call", &json!([again, format!("{block:#x}")])) {
            Err(AskError::Refused { data: Some(data), .. }) if !data.is_empty() => revert::words(&data),
            Err(AskError::Refused { message, .. }) => message,
            _ => "why cannot be found out".to_owned(),
        }
    }

    /// The most that a unit of gas may cost, and the tip in it: twice what the next block asks, so that some full blocks
    /// before it do no harm.
    fn fees(&self, doing: &str) -> Result<(u128, u128)> {
        let history = self.rpc.ask("eth_feeHistory", &json!(["0x1", "latest", []])).map_err(|e| refusal(doing, &e))?;
        let next = history["baseFeePerGas"].as_array().and_then(|fees| number(fees.last()?));
        let tip = self.number(doing, "eth_maxPriorityFeePerGas", &json!([]))?;
        let tip = tip.min(U256::from(MAX_TIP));
        let read = |n: U256| u128::try_from(n).ok().filter(|n| *n <= MAX_FEE);
        let (Some(base), Some(tip)) = (next.and_then(read), read(tip)) else {
            return Err(Error::user(format!(
                "{doing}: the chain's node asks for more than {MAX_FEE} of the smallest unit for gas: it is not believed"
            )));
        };
        Ok((2 * base + tip, tip))
    }
}

fn short(doing: &str, who: Address, has: Amount, needs: Amount) -> Error {
    Error::user(format!("{doing}: {who} has {has}, and this takes up to {needs}: send it the rest first"))
}
