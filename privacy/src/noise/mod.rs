//! Noise on integers that nobody can predict, drawn by steps that do not depend on it.
//!
//! Samplers compare random bits with all entries of a table, and add: no branch and no address depends on what is drawn. The
//! discrete Gaussian's refuses candidates, and looks again at one in 2¹⁴: neither says anything of what it gives. What comes out
//! differs from the distribution by a total variation that each sampler states (`distance`, of one sample); times the samples of a
//! release it belongs into [`Composition::with_distance`].
//!
//! [`Composition::with_distance`]: crate::accounting::Composition::with_distance

mod candidates;
mod fixed;
mod gaussian;
mod generator;
mod laplace;
mod skellam;
mod table;

pub use gaussian::DiscreteGaussian;
pub use generator::Generator;
pub use laplace::DiscreteLaplace;
pub use skellam::Skellam;

/// Why there is no such noise.
#[derive(Debug, thiserror::Error, Clone, Copy, PartialEq)]
pub enum NoiseError {
    /// The parameter is not in its range.
    #[error("{what} is {value}, and must be {range}")]
    Range {
        /// Which parameter.
        what: &'static str,
        /// What it is.
        value: f64,
        /// What it may be.
        range: &'static str,
    },
}

fn in_range(what: &'static str, value: f64, least: f64, most: f64, range: &'static str) -> Result<(), NoiseError> {
    if value >= least && value <= most { Ok(()) } else { Err(NoiseError::Range { what, value, range }) }
}
