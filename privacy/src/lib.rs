//! Differential privacy: what a release of data costs ([`accounting`]), noise that nobody can predict ([`noise`]), and models
//! that are trained within a budget ([`train`]), and tried by whoever would break it ([`audit`]).
#![forbid(unsafe_code)]

pub mod accounting;
#[cfg(feature = "train")]
pub mod audit;
pub mod noise;
#[cfg(feature = "train")]
pub mod train;
