//! Stake: who validates, who stands behind them, what they earn and lose.
//!
//! Everything is integers in the storage of one native contract, so a transaction that reverts takes its stake changes
//! with it, and `eth_getProof` shows anybody's stake. The logic sees storage as [`Storage`] and knows neither EVM nor
//! consensus.
//!
//! A validator has `tokens` and `shares`; a delegator owns shares. Rewards are lazy: the validator counts what one
//! share has earned since the beginning, and a delegation remembers up to where it was paid.

mod block;
mod call;
mod candidates;
mod contract;
mod delegation;
mod error;
mod facts;
mod genesis;
mod gone;
mod governance;
mod identity;
mod interface;
mod origin;
mod params;
mod penalty;
mod stake;
pub(crate) mod storage;
#[cfg(test)]
mod tests;
mod timelock;
mod unbonding;
mod validator;

pub use block::{begin_block, end_block};
pub use call::{Answer, Env, Log};
pub use contract::{MAX_INPUT, price, run};
pub use error::StakeError;
pub use facts::BlockFacts;
pub use genesis::bond_genesis;
pub use gone::forget;
pub use identity::{FORMAT, format_slot, identify, possession};
pub use origin::Origin;
pub use params::StakingParams;
pub use penalty::Penalty;
pub use storage::{ADDRESS, Storage};
pub use timelock::{NOTICE_BLOCKS, NOTICE_SECONDS};
pub use validator::{Status, Validator};
