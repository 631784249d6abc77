//! What mechanisms spend: upper bounds of ε for a δ, and of δ for an ε, by composition.
//!
//! Neighbours differ by one record that is added or removed. Two accountants: Rényi divergences ([`rdp`]) and privacy-loss
//! distributions ([`pld`]). Both answer with upper bounds: wherever a number is rounded, it is rounded to where more is spent.

pub mod calibrate;
mod composition;
mod gaussian;
mod mechanism;
pub mod pld;
pub mod rdp;
mod special;

pub use composition::{Accountant, Composition};
pub use mechanism::Mechanism;

/// Why there is no answer.
#[derive(Debug, thiserror::Error, Clone, PartialEq)]
pub enum AccountingError {
    /// A parameter of a mechanism or of a question is not in its range.
    #[error("{what} is {value}, and must be {range}")]
    Range {
        /// Which parameter.
        what: &'static str,
        /// What it is.
        value: f64,
        /// What it may be.
        range: &'static str,
    },
    /// An accountant knows nothing of a mechanism.
    #[error("the accountant {accountant} cannot account {mechanism}: {reason}")]
    Unsupported {
        /// `rdp` or `pld`.
        accountant: &'static str,
        /// The mechanism.
        mechanism: &'static str,
        /// Why, and what to do instead.
        reason: &'static str,
    },
    /// A distribution is too wide for the grid that is allowed.
    #[error(
        "the privacy losses span {width:.3e} and need steps of {step:.3e}, which is more than {most} points: ask the accountant rdp"
    )]
    Grid {
        /// Width of the window.
        width: f64,
        /// Distance of points that the answer needs.
        step: f64,
        /// The most points.
        most: usize,
    },
    /// What the samplers' error alone costs is more than δ.
    #[error(
        "the error of the noise alone is {distance:.3e}, which leaves nothing of δ = {delta:.3e}: take a greater δ"
    )]
    Exhausted {
        /// Total variation of all samples.
        distance: f64,
        /// What was asked for.
        delta: f64,
    },
    /// No noise in the range reaches the goal.
    #[error("no noise multiplier up to {most:.0e} reaches ε = {epsilon} at δ = {delta:e}: ask for more ε, or do less")]
    Unreachable {
        /// The goal's ε.
        epsilon: f64,
        /// The goal's δ.
        delta: f64,
        /// The greatest multiplier that was tried.
        most: f64,
    },
}
