//! Differential privacy: what a release of data costs ([`accounting`]), noise that nobody can predict ([`noise`]), models
//! that are trained within a budget ([`train`]) and tried by whoever would break it ([`audit`]), and sums of many providers'
//! vectors ([`together`]).
#![forbid(unsafe_code)]

pub mod accounting;
#[cfg(feature = "train")]
pub mod audit;
pub mod noise;
pub mod together;
#[cfg(feature = "train")]
pub mod train;
