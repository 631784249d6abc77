//! Differential privacy: what a release of data costs ([`accounting`]), noise that nobody can predict ([`noise`]), questions that
//! are answered ([`query`]) and models that are trained ([`train`]) within a budget ([`budget`]).
#![forbid(unsafe_code)]

pub mod accounting;
#[cfg(feature = "budget")]
pub mod budget;
pub mod noise;
#[cfg(feature = "query")]
pub mod query;
#[cfg(any(feature = "query", feature = "train"))]
mod rows;
#[cfg(feature = "train")]
pub mod train;
