//! A transaction from its order to its place in a block.

use std::time::Instant;

use alloy_primitives::{Address, B256, Bytes, U256, keccak256};
use sahara_chain::wallet::Payment;
use serde_json::{Value, json};

use super::look::{Fee, MAX_FEE, middle};
use super::receipt::{Done, Sent};
use super::{AskError, Chain, Order, nonsense, number, refusal};
use crate::error::{Error, Result};
use crate::progress::Indicator;
use crate::wallet::Secret;
use crate::wallet::amount::Amount;

/// Most gas that a node's estimate may say: an EVM of ours has no larger transactions.
const MAX_GAS: u64 = 60_000_000;

/// What an order would cost.
#[derive(Clone, Copy, Debug)]
pub struct Preview {
    /// What is paid with it.
    pub value: Amount,
    /// Gas, as the node estimates, unless the order says it.
    pub gas: u64,
    /// The most that the gas may cost.
    pub fee: Amount,
    /// What a unit of it may cost.
    unit: Fee,
    /// The number of the account's next transaction, as the nodes say.
    nonce: u64,
}

impl Preview {
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

impl Fee {
    /// The least that takes the place of this: pools ask for a tenth more, of both.
    #[must_use]
    pub fn bumped(self) -> Self {
        let more = |old: u128| old.saturating_add(old / 8).saturating_add(1);
        Self { most: more(self.most), tip: more(self.tip) }
    }

    /// The dearer of both, in each part.
    #[must_use]
    pub fn or(self, other: Self) -> Self {
        Self { most: self.most.max(other.most), tip: self.tip.max(other.tip) }
    }

    /// Whether it is more than is ever paid.
    pub fn is_beyond_belief(self) -> bool {
        self.most > 4 * MAX_FEE
    }

    /// What so much gas costs at most.
    pub fn of(self, gas: u64) -> U256 {
        U256::from(gas) * U256::from(self.most)
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
        let look = self.look(from, order.doing)?;
        let balance = self.balance(from)?;
        let all = Amount(order.value.0.saturating_add(more.0));
        if balance < all {
            return Err(short(order.doing, from, balance, all));
        }
        let gas = match order.gas {
            Some(gas) => gas,
            // What it takes may grow until it is in a block.
            None => self.estimate(from, order).map(|estimate| estimate + estimate / 4)?,
        };
        let gas = gas + more_gas;
        let (mut least, mut unit) = (all.0, None);
        for fee in look.fees() {
            least = all.0.saturating_add(fee.of(gas));
            if balance.0 >= least {
                unit = Some(fee);
                break;
            }
        }
        let unit = unit.ok_or_else(|| short(order.doing, from, balance, Amount(least)))?;
        // What is proven is at most some blocks old: a node that says less is wrong.
        let nonce = look.nonce().max(self.proven_nonce(from).unwrap_or(0));
        Ok(Preview { value: all, gas, fee: Amount(unit.of(gas)), unit, nonce })
    }

    /// Gas that an order of `from` takes as things are, as the first node says by which it can be carried out.
    ///
    /// # Errors
    /// When the contract would refuse, as all nodes say that answer; when none answers.
    pub fn estimate(&self, from: Address, order: &Order) -> Result<u64> {
        let said =
            self.rpc.ask_on("eth_estimateGas", &json!([order.question(from)])).map_err(|e| refusal(order.doing, &e))?;
        let gas = number(&said).and_then(|gas| u64::try_from(gas).ok()).filter(|gas| *gas <= MAX_GAS);
        gas.ok_or_else(|| nonsense(order.doing))
    }

    /// Gas that each of these orders of `from` takes as things are: the middle of what the nodes say that have the time for it until
    /// `until`; an error where more of them say that the contract would refuse.
    pub fn estimates(&self, from: Address, orders: &[Order], until: Instant) -> Vec<Result<u64>> {
        let questions = orders.iter().map(|order| json!([order.question(from)]));
        let questions: Vec<Value> = questions.collect();
        let said = self.rpc.each(|one| one.tell("eth_estimateGas", &questions, until));
        let of = |index: usize, order: &Order| {
            let (mut gas, mut refused, mut silent) = (Vec::new(), Vec::new(), None);
            for answer in said.iter().filter_map(|answers| answers.get(index)) {
                match answer {
                    Ok(said) => gas.extend(number(said).and_then(|gas| u64::try_from(gas).ok())),
                    Err(error @ AskError::Refused { .. }) => refused.push(error),
                    Err(error) => silent = Some(error),
                }
            }
            let most = gas.len() >= refused.len();
            match (middle(gas).filter(|_| most), refused.first().copied().or(silent)) {
                (Some(gas), _) => Ok(gas),
                (None, Some(error)) => Err(refusal(order.doing, error)),
                (None, None) => Err(Error::fault(format!("{}: no node says in time what gas it takes", order.doing))),
            }
        };
        orders.iter().enumerate().map(|(index, order)| of(index, order)).collect()
    }

    /// Carries out an order, and waits until it is in a block.
    ///
    /// # Errors
    /// As [`Self::preview`]; when the contract refuses after all. Once it is signed, only a receipt says what became of it:
    /// without one the error says that nobody knows ([`Error::unsettled`]).
    pub fn send(&self, by: &Secret, order: &Order, progress: &Indicator) -> Result<Done> {
        let preview = self.preview(by.address(), order)?;
        let (hash, bytes) = self.signed(by, order, preview.gas, preview.unit, preview.nonce)?;
        let told = self.rpc.tell_all("eth_sendRawTransaction", &json!([bytes]));
        progress.step(&format!("{} (transaction {hash})", order.doing));
        let sent = Sent { hash, order, from: by.address(), nonce: preview.nonce };
        match told {
            Ok(()) | Err(AskError::NoAnswer(_)) => {}
            Err(AskError::Refused { message, .. }) if message.contains("already known") => {}
            Err(AskError::Refused { message, .. }) => return self.wait(&sent, Some(&message)),
        }
        self.wait(&sent, None)
    }

    /// Signs an order: the transaction's hash and its bytes, of which nobody has heard yet.
    ///
    /// # Errors
    /// When it cannot be signed.
    pub fn signed(&self, by: &Secret, order: &Order, gas: u64, unit: Fee, nonce: u64) -> Result<(B256, Bytes)> {
        let payment = Payment {
            nonce,
            to: Some(order.to),
            value: order.value.0,
            input: order.input.clone(),
            gas_limit: gas,
            max_fee: unit.most,
            tip: unit.tip,
        };
        let signed = by.wallet(self.id)?.pay(&payment).map_err(|e| Error::fault(format!("{}: {e}", order.doing)))?;
        Ok((keccak256(&signed), signed))
    }

    /// Tells all nodes these transactions, one after the other at each, until `until`: for each transaction whether a node took
    /// it, and what was said if none did.
    pub fn tell(&self, all: &[Bytes], until: Instant) -> Vec<std::result::Result<(), AskError>> {
        let all: Vec<Value> = all.iter().map(|bytes| json!([bytes])).collect();
        let said = self.rpc.each(|one| one.tell("eth_sendRawTransaction", &all, until));
        let of = |index: usize| said.iter().filter_map(move |answers| answers.get(index).cloned());
        (0..all.len()).map(|index| super::taken(of(index))).collect()
    }
}

fn short(doing: &str, who: Address, has: Amount, needs: Amount) -> Error {
    Error::user(format!(
        "{doing}: {who} has {has}, and this takes up to {needs}: send it the rest first (`sahara wallet send`)"
    ))
}
