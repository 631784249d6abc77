//! Differential privacy: what a release of data costs ([`accounting`]), noise that nobody can predict ([`noise`]), and models
//! that are trained within a budget ([`train`]).
#![forbid(unsafe_code)]

pub mod accounting;
pub mod noise;
#[cfg(feature = "train")]
pub mod train;
