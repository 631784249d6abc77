//! Differential privacy: what a release of data costs ([`accounting`]), noise that nobody can predict ([`noise`]), questions that
//! are answered ([`query`]) and models that are trained ([`train`]) within a budget ([`budget`]) and tried by whoever would break
//! them ([`audit`]), and sums of many providers' vectors ([`together`]).
#![forbid(unsafe_code)]

pub mod accounting;
#[cfg(feature = "train")]
pub mod audit;
#[cfg(feature = "budget")]
pub mod budget;
pub mod noise;
#[cfg(feature = "query")]
pub mod query;
#[cfg(any(feature = "query", feature = "train"))]
mod rows;
pub mod together;
#[cfg(feature = "train")]
pub mod train;
