//! Differential privacy: what a release of data costs ([`accounting`]), noise that nobody can predict ([`noise`]), and models
//! that are trained within a budget ([`train`]), one of them step by step in integers that can be checked ([`provable`]).
#![forbid(unsafe_code)]

pub mod accounting;
pub mod noise;
#[cfg(feature = "train")]
pub mod provable;
#[cfg(feature = "train")]
pub mod train;
