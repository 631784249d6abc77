//! Stake: who validates, who stands behind them, what they earn and lose.
//!
//! Everything is integers in the storage of one native contract, so a transaction that reverts takes its stake changes
//! with it, and `eth_getProof` shows anybody's stake. The logic sees storage as [`Words`] and knows neither EVM nor
//! consensus.
//!
//! A validator has `tokens` and `shares`; a delegator owns shares. Rewards are lazy: the validator counts what one
//! share has earned since the beginning, and a delegation remembers up to where it was paid.

mod block;
mod candidates;
mod contract;
mod delegation;
mod gone;
mod governance;
mod identity;
mod params;
mod sentence;
mod stake;
#[cfg(test)]
mod tests;
mod unbonding;
mod validator;
pub(crate) mod words;

use alloy_primitives::{Address, address};

pub use block::{BlockFacts, begin_block, end_block};
pub use contract::{Answer, Env, Log, MAX_INPUT, price, run};
pub use gone::forget;
pub use identity::{FORMAT, format_slot, identify, possession};
pub use params::StakingParams;
pub use sentence::Sentence;
pub use validator::{Status, Validator, bond_genesis};
pub use words::Words;

use crate::error::StoreError;

/// Where the native contract lives.
pub const ADDRESS: Address = address!("0x0000000000000000000000000000000000000A10");

/// Why a stake operation does not happen.
#[derive(Debug, thiserror::Error)]
pub enum StakeError {
    /// The caller did something that is not allowed; this is the revert's reason.
    #[error("staking: {0}")]
    Refused(&'static str),
    /// The database failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

type Result<T> = std::result::Result<T, StakeError>;

fn need(holds: bool, why: &'static str) -> Result<()> {
    if holds { Ok(()) } else { Err(StakeError::Refused(why)) }
}
