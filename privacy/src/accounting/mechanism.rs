//! The mechanisms that can be accounted, with parameters that make sense.

use super::AccountingError;

/// The least and the greatest noise that is accounted: beyond, squares and exponents leave what a double can say.
pub(super) const NOISE: (f64, f64) = (1e-5, 1e9);
const NOISE_RANGE: &str = "from 1e-5 to 1e9";

/// What is done to the data in one step.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Mechanism(pub(super) Kind);

#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Kind {
    /// Rate 0 spends nothing, rate 1 is the plain Gaussian.
    Gaussian {
        noise: f64,
        rate: f64,
    },
    Laplace {
        noise: f64,
    },
    Skellam {
        variance: f64,
        l1: f64,
        l2: f64,
    },
}

impl Mechanism {
    /// A sum of L2 sensitivity 1 with Gaussian noise of standard deviation `noise` (1e-5 to 1e9) in each coordinate.
    ///
    /// # Errors
    /// [`AccountingError::Range`].
    pub fn gaussian(noise: f64) -> Result<Self, AccountingError> {
        Self::sampled_gaussian(noise, 1.0)
    }

    /// The same, where each record takes part with probability `rate` (0 to 1), independently (Poisson sampling).
    ///
    /// # Errors
    /// [`AccountingError::Range`].
    pub fn sampled_gaussian(noise: f64, rate: f64) -> Result<Self, AccountingError> {
        in_range("the noise multiplier", noise, NOISE, NOISE_RANGE)?;
        in_range("the sample rate", rate, (0.0, 1.0), "from 0 to 1")?;
        if rate > 0.0 && rate < 1e-12 {
            return Err(AccountingError::Range {
                what: "the sample rate",
                value: rate,
                range: "0, or from 1e-12 to 1",
            });
        }
        Ok(Self(Kind::Gaussian { noise, rate }))
    }

    /// A sum of L1 sensitivity 1 with Laplace noise of scale `noise` (1e-5 to 1e9), so that one release is 1/`noise`-private.
    /// It is no account of *discrete* Laplace noise, which is as private alone but diverges more in between (a shift by one is
    /// randomised response): the module `query` has that one's divergence.
    ///
    /// # Errors
    /// [`AccountingError::Range`].
    pub fn laplace(noise: f64) -> Result<Self, AccountingError> {
        in_range("the noise scale", noise, NOISE, NOISE_RANGE)?;
        Ok(Self(Kind::Laplace { noise }))
    }

    /// An integer vector of sensitivities `l1` and `l2` with symmetric Skellam noise of `variance` (1e-2 to 1e18) in each
    /// coordinate (Agarwal, Kairouz and Liu, 2021). In one dimension both sensitivities are the same integer, and the
    /// accountant of privacy losses knows it, too.
    ///
    /// # Errors
    /// [`AccountingError::Range`].
    pub fn skellam(variance: f64, l1: f64, l2: f64) -> Result<Self, AccountingError> {
        in_range("the variance of the Skellam noise", variance, (1e-2, 1e18), "from 1e-2 to 1e18")?;
        in_range("the L2 sensitivity", l2, (1e-6, 1e9), "from 1e-6 to 1e9")?;
        // Integers: |x|₂ ≤ |x|₁ ≤ |x|₂².
        in_range("the L1 sensitivity", l1, (l2, (l2 * l2).max(l2)), "from the L2 sensitivity to its square")?;
        Ok(Self(Kind::Skellam { variance, l1, l2 }))
    }

    /// What it is called in messages.
    pub fn name(&self) -> &'static str {
        match self.0 {
            Kind::Gaussian { rate: 1.0, .. } => "Gaussian noise",
            Kind::Gaussian { .. } => "sampled Gaussian noise",
            Kind::Laplace { .. } => "Laplace noise",
            Kind::Skellam { .. } => "Skellam noise",
        }
    }
}

/// A number between two others, and a number at all.
pub(super) fn in_range(
    what: &'static str,
    value: f64,
    (least, most): (f64, f64),
    range: &'static str,
) -> Result<(), AccountingError> {
    if value >= least && value <= most { Ok(()) } else { Err(AccountingError::Range { what, value, range }) }
}
