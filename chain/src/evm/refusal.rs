//! Why a transaction was not executed at all, in the words of geth: tools look for them.

use alloy_primitives::Address;
use revm::context_interface::result::InvalidTransaction;

/// Why a transaction was not executed at all: it leaves no trace and pays nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{words}")]
pub struct Refusal {
    /// Which rule refuses it.
    pub rule: Rule,
    /// In the words of geth.
    words: String,
}

/// The rules that clients tell apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Rule {
    /// The nonce was used before.
    NonceTooLow,
    /// Earlier nonces are missing.
    NonceTooHigh,
    /// The fee is below that of the block.
    BaseFee,
    /// The gas does not suffice for what every transaction costs.
    IntrinsicGas,
    /// The sender cannot pay.
    Funds,
    /// The sender runs code.
    SenderIsContract,
    /// The code that makes a contract is too long.
    InitCodeSize,
    /// Any other.
    Other,
}

impl Refusal {
    /// That of a transaction of `sender` in a block at `base_fee`.
    pub(super) fn new(why: &InvalidTransaction, sender: Address, base_fee: u64) -> Self {
        Self { rule: Rule::of(why), words: words(why, sender, base_fee) }
    }
}

impl Rule {
    fn of(why: &InvalidTransaction) -> Self {
        match why {
            InvalidTransaction::NonceTooLow { .. } => Self::NonceTooLow,
            InvalidTransaction::NonceTooHigh { .. } => Self::NonceTooHigh,
            InvalidTransaction::GasPriceLessThanBasefee => Self::BaseFee,
            InvalidTransaction::CallGasCostMoreThanGasLimit { .. }
            | InvalidTransaction::GasFloorMoreThanGasLimit { .. } => Self::IntrinsicGas,
            InvalidTransaction::LackOfFundForMaxFee { .. } | InvalidTransaction::OverflowPaymentInTransaction => {
                Self::Funds
            }
            InvalidTransaction::RejectCallerWithCode => Self::SenderIsContract,
            InvalidTransaction::CreateInitCodeSizeLimit => Self::InitCodeSize,
            _ => Self::Other,
        }
    }
}

/// What `why` says of a transaction of `sender` in a block at `base_fee`.
fn words(why: &InvalidTransaction, sender: Address, base_fee: u64) -> String {
    match why {
        InvalidTransaction::LackOfFundForMaxFee { fee, balance } => {
            format!("insufficient funds for gas * price + value: address {sender} have {balance} want {fee}")
        }
        InvalidTransaction::OverflowPaymentInTransaction => {
            format!("insufficient funds for gas * price + value: address {sender} required balance exceeds 256 bits")
        }
        InvalidTransaction::NonceTooLow { tx, state } => {
            format!("nonce too low: address {sender}, tx: {tx} state: {state}")
        }
        InvalidTransaction::NonceTooHigh { tx, state } => {
            format!("nonce too high: address {sender}, tx: {tx} state: {state}")
        }
        InvalidTransaction::NonceOverflowInTransaction => format!("nonce has max value: address {sender}"),
        InvalidTransaction::RejectCallerWithCode => format!("sender not an eoa: address {sender}"),
        InvalidTransaction::GasPriceLessThanBasefee => {
            format!("max fee per gas less than block base fee: address {sender}, baseFee: {base_fee}")
        }
        InvalidTransaction::PriorityFeeGreaterThanMaxFee => {
            "max priority fee per gas higher than max fee per gas".into()
        }
        InvalidTransaction::CallerGasLimitMoreThanBlock => "exceeds block gas limit".into(),
        InvalidTransaction::TxGasLimitGreaterThanCap { gas_limit, cap } => {
            format!("transaction gas limit too high (cap: {cap}, tx: {gas_limit})")
        }
        InvalidTransaction::CallGasCostMoreThanGasLimit { initial_gas, gas_limit } => {
            format!("intrinsic gas too low: have {gas_limit}, want {initial_gas}")
        }
        InvalidTransaction::GasFloorMoreThanGasLimit { gas_floor, gas_limit } => {
            format!("insufficient gas for floor data gas cost: have {gas_limit}, want {gas_floor}")
        }
        InvalidTransaction::CreateInitCodeSizeLimit => "max initcode size exceeded".into(),
        InvalidTransaction::EmptyAuthorizationList => "set code tx must have at least one authorization tuple".into(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests;
