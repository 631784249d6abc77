//! What is to be done on a chain.

use alloy_primitives::{Address, Bytes};
use alloy_sol_types::SolCall;
use serde_json::{Value, json};

use crate::wallet::amount::Amount;

/// A call of a contract, with what is paid with it.
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

impl Order {
    /// A call of a contract.
    pub fn call<C: SolCall>(doing: &'static str, to: Address, call: &C) -> Self {
        Self { doing, to, value: Amount::default(), input: call.abi_encode().into() }
    }

    /// The same with a payment.
    pub fn paying(self, value: impl Into<Amount>) -> Self {
        Self { value: value.into(), ..self }
    }

    /// As nodes are asked about it.
    pub(super) fn question(&self, from: Address) -> Value {
        json!({"from": from, "to": self.to, "value": self.value.0, "input": self.input})
    }
}
