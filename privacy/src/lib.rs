//! Differential privacy: what a release of data costs ([`accounting`]), noise that nobody can predict ([`noise`]), questions that
//! are answered ([`query`]) and models that are trained ([`train`]) within a budget ([`budget`]), one of them step by step in
//! integers that can be checked ([`provable`]), and tried by whoever would break them ([`audit`]), what each contributor's data is
//! worth to them ([`value`]), and sums of many providers' vectors ([`together`]).
#![forbid(unsafe_code)]

pub mod accounting;
#[cfg(feature = "train")]
pub mod audit;
#[cfg(feature = "budget")]
pub mod budget;
pub mod noise;
#[cfg(feature = "train")]
pub mod provable;
#[cfg(feature = "query")]
pub mod query;
#[cfg(any(feature = "query", feature = "train"))]
mod rows;
pub mod together;
#[cfg(feature = "train")]
pub mod train;
#[cfg(feature = "train")]
pub mod value;
