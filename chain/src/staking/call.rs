//! A call of the staking contract: who asks, and what the answer is made of.

use alloy_primitives::{Address, B256, Bytes, U256};

use super::error::{Result, StakeError};
use crate::evm::abi::{AbiError, words_out};

/// Who calls, when.
#[derive(Clone, Copy, Debug)]
pub struct Env {
    /// The caller.
    pub caller: Address,
    /// Value that came with the call, already credited.
    pub value: U256,
    /// Whether nothing may change.
    pub read_only: bool,
    /// Height of the block.
    pub height: u64,
    /// Seconds since the epoch.
    pub time: u64,
}

/// An event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Log {
    /// Hash of its signature, and indexed arguments.
    pub topics: Vec<B256>,
    /// Other arguments.
    pub data: Bytes,
}

/// How a call ends.
#[derive(Clone, Debug, Default)]
pub struct Answer {
    /// What it returns.
    pub output: Bytes,
    /// What the contract pays the caller.
    pub payout: U256,
    /// What it logs.
    pub logs: Vec<Log>,
}

/// An argument, or the refusal of the call.
pub fn ok<T>(argument: std::result::Result<T, AbiError>) -> Result<T> {
    argument.map_err(|e| StakeError::Refused(e.reason()))
}

/// An answer in these words.
pub fn said(storage: &[U256]) -> Answer {
    Answer { output: words_out(storage), ..Answer::default() }
}

/// The answer to a call that is paid `payout`.
pub fn paid(payout: U256) -> Answer {
    Answer { payout, output: words_out(&[payout]), ..Answer::default() }
}

/// The answer to a call that moved `tokens`, and tells it by `event`.
pub fn logged(event: B256, validator: Address, delegator: Address, tokens: U256) -> Answer {
    let topics = vec![event, validator.into_word(), delegator.into_word()];
    Answer { logs: vec![Log { topics, data: words_out(&[tokens]) }], ..Answer::default() }
}
