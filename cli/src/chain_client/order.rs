//! What is to be done on a chain.

use alloy_primitives::{Address, Bytes};
use alloy_sol_types::SolCall;
use serde_json::{Value, json};

use crate::wallet::amount::Amount;

/// A call of a contract with what is paid with it, or a payment alone.
#[derive(Clone, Debug)]
pub struct Order {
    /// In words, for people: "buying the licence".
    pub doing: &'static str,
    /// The contract, or the account.
    pub to: Address,
    /// What is paid with it.
    pub value: Amount,
    /// The call.
    pub input: Bytes,
    /// The most gas that it takes, where no node is asked: of a call that nobody may see before it is sent.
    pub gas: Option<u64>,
}

impl Order {
    /// A call of a contract.
    pub fn call<C: SolCall>(doing: &'static str, to: Address, call: &C) -> Self {
        Self { doing, to, value: Amount::default(), input: call.abi_encode().into(), gas: None }
    }

    /// A payment to an account, and nothing else.
    pub fn payment(doing: &'static str, to: Address, value: impl Into<Amount>) -> Self {
        Self { doing, to, value: value.into(), input: Bytes::new(), gas: None }
    }

    /// The same with a payment.
    pub fn paying(self, value: impl Into<Amount>) -> Self {
        Self { value: value.into(), ..self }
    }

    /// The same with so much gas at most: no node is asked about it, so that nobody sees the call before it is sent.
    pub fn unseen(self, gas: u64) -> Self {
        Self { gas: Some(gas), ..self }
    }

    /// As nodes are asked about it.
    pub(super) fn question(&self, from: Address) -> Value {
        json!({"from": from, "to": self.to, "value": self.value.0, "input": self.input})
    }
}
