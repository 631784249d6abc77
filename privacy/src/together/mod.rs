//! Adding up vectors of many providers with noise of three nodes (distributed differential privacy): what a provider does with
//! its own vector, and what a sum spends of it.
//!
//! What neighbours are: whether one provider's vector is in the sum or a vector of zeros in its place. That a provider took part,
//! and whether its vector was accepted, is public. No sampling of providers is claimed: every round spends of everybody who takes
//! part in it.

mod account;
#[cfg(feature = "train")]
mod budget;
mod update;
mod whole;

pub use account::{Spent, TogetherError, multiplier, variance_for};
#[cfg(feature = "train")]
pub use budget::{Budget, BudgetError};
pub use update::{Local, local_update};
pub use whole::{Quantiser, QuantiserError};
