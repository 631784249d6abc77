//! Differential privacy: what a release of data costs ([`accounting`]), and models that are trained within a budget ([`train`]).
#![forbid(unsafe_code)]

pub mod accounting;
#[cfg(feature = "train")]
pub mod train;
