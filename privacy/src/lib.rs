//! Differential privacy: what a release of data costs ([`accounting`]), noise that nobody can predict ([`noise`]), and models
//! that are trained within a budget ([`train`]), tried by whoever would break it ([`audit`]), and what each
//! contributor's data is worth to them ([`value`]).
#![forbid(unsafe_code)]

pub mod accounting;
#[cfg(feature = "train")]
pub mod audit;
pub mod noise;
#[cfg(feature = "train")]
pub mod train;
#[cfg(feature = "train")]
pub mod value;
