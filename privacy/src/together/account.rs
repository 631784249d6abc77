//! What rounds spend of one provider.

use crate::accounting::calibrate::{Goal, noise};
use crate::accounting::{Accountant, AccountingError, Composition, Mechanism};
use crate::noise::{DiscreteGaussian, NoiseError};

/// Total variation of the noise of all rounds that are ever counted together from a continuous Gaussian's: 2²⁴ rounds of 2²⁰
/// coordinates, two nodes' noise in each, each off by less than 2⁻¹⁰⁶.
const DISTANCE: f64 = 1.0 / (1_u64 << 60) as f64;
/// Units in which the square of sensitivity over deviation is counted.
const UNIT: f64 = (1_u64 << 40) as f64;

/// Why there is no such account.
#[derive(Debug, thiserror::Error)]
pub enum TogetherError {
    /// The noise.
    #[error(transparent)]
    Noise(#[from] NoiseError),
    /// The account.
    #[error(transparent)]
    Accounting(#[from] AccountingError),
    /// Too little noise, or too much, for any account.
    #[error(
        "a noise of variance {variance} from each node does not hide vectors with a squared norm up to {bound}: more noise"
    )]
    TooLittle {
        /// Of each node.
        variance: u64,
        /// Of the vectors.
        bound: u64,
    },
}

/// Deviation of the noise that is left, over the greatest norm of a vector: of three nodes, each of which adds discrete Gaussian
/// noise of this `variance` (from 16 on), whoever reads the sum may know one's. `bound` is the greatest sum of squares of a vector.
///
/// Each node's noise is a continuous Gaussian of a little less variance, rounded at random, and so is the sum of two
/// ([`DiscreteGaussian::continuous`]); what is rounded afterwards spends no more.
///
/// # Errors
/// When there is no such noise.
pub fn multiplier(variance: u64, bound: u64) -> Result<f64, TogetherError> {
    let each = DiscreteGaussian::new((variance as f64).sqrt())?.continuous();
    let each = each.ok_or(TogetherError::TooLittle { variance, bound })?;
    Ok(each * (2.0 / bound.max(1) as f64).sqrt() * (1.0 - 1e-14))
}

/// What rounds have spent of one provider. Gaussians compose exactly: rounds of multipliers z₁, z₂, … are together one of z with
/// 1/z² = 1/z₁² + 1/z₂² + …; that sum is counted, in whole units of 2⁻⁴⁰, each rounded up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Spent(u64);

impl Spent {
    /// What one round of this [`multiplier`] spends.
    ///
    /// # Errors
    /// When the multiplier is below a thousandth: no account is kept of so little noise.
    pub fn round(variance: u64, bound: u64) -> Result<Self, TogetherError> {
        let multiplier = multiplier(variance, bound)?;
        if multiplier < 1e-3 {
            return Err(TogetherError::TooLittle { variance, bound });
        }
        let units = UNIT / (multiplier * multiplier) * (1.0 + 1e-12);
        Ok(Self((units.ceil() as u64).max(1)))
    }

    /// As it was written down.
    pub fn from_units(units: u64) -> Self {
        Self(units)
    }

    /// To be written down.
    pub fn units(self) -> u64 {
        self.0
    }

    /// And another.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }

    /// So many times.
    #[must_use]
    pub fn times(self, rounds: u32) -> Self {
        Self(self.0.saturating_mul(rounds.into()))
    }

    /// Upper bound of ε at `delta`, of which the noise's own error takes a part.
    ///
    /// # Errors
    /// When δ is out of range, or so small that the noise's error is all of it.
    pub fn epsilon(self, delta: f64) -> Result<f64, TogetherError> {
        if self.0 == 0 {
            return Ok(0.0);
        }
        let multiplier = (UNIT / self.0 as f64).sqrt() * (1.0 - 1e-12);
        let one = Composition::new().and(Mechanism::gaussian(multiplier)?, 1).with_distance(DISTANCE)?;
        Ok(one.epsilon(delta, Accountant::Tightest)?)
    }
}

/// The least variance of each node's noise, to a ten-thousandth, with which so many rounds spend no more than (ε, δ).
///
/// # Errors
/// When no noise reaches that.
pub fn variance_for(epsilon: f64, delta: f64, rounds: u32, bound: u64) -> Result<u64, TogetherError> {
    let goal = Goal { epsilon, delta, rate: 1.0, steps: rounds.into() };
    let multiplier = noise(&goal, Accountant::Tightest)?;
    let mut variance = ((multiplier * multiplier * bound as f64 / 2.0).ceil() as u64).saturating_add(4).max(16);
    while Spent::round(variance, bound)?.times(rounds).epsilon(delta)? > epsilon {
        variance = variance.saturating_add(variance / 10_000 + 1);
    }
    Ok(variance)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_of_three_is_the_noise_of_two() {
        let found = multiplier(5000, 100).unwrap();
        assert!(found < 10.0 && found > 9.99, "two variances of 5000 over a norm of 10: {found}");
        assert!(multiplier(15, 1).is_err() && Spent::round(16, 1 << 50).is_err());
        let noise = DiscreteGaussian::new(1e6).unwrap();
        let all = 2.0 * 2_f64.powi(44) * noise.distance();
        assert!(all < DISTANCE, "{all:e}");
        assert_eq!(DISTANCE, 2_f64.powi(-60));
    }

    #[test]
    fn rounds_compose_as_gaussians_do_whatever_their_noise() {
        let (first, second) = (Spent::round(5000, 100).unwrap(), Spent::round(800, 100).unwrap());
        let both = first.times(3).and(second).epsilon(1e-6).unwrap();
        let (a, b) = (multiplier(5000, 100).unwrap(), multiplier(800, 100).unwrap());
        let apart = Composition::new().and(Mechanism::gaussian(a).unwrap(), 3).and(Mechanism::gaussian(b).unwrap(), 1);
        let apart = apart.epsilon(1e-6, Accountant::Tightest).unwrap();
        assert!((both / apart - 1.0).abs() < 2e-3, "{both} {apart}");
        assert_eq!(Spent::default().epsilon(1e-6).unwrap(), 0.0);
        assert!(Spent::from_units(7).epsilon(1e-19).is_err(), "the noise's error is more than that");
    }

    #[test]
    fn the_noise_for_a_goal_reaches_it_and_little_less_does_not() {
        for (epsilon, rounds) in [(0.5, 1), (3.0, 20), (8.0, 50)] {
            let bound = 1 << 20;
            let variance = variance_for(epsilon, 1e-5, rounds, bound).unwrap();
            let spends = |variance| Spent::round(variance, bound).unwrap().times(rounds).epsilon(1e-5).unwrap();
            assert!(spends(variance) <= epsilon, "{epsilon} {rounds}: {}", spends(variance));
            assert!(spends(variance - variance / 100) > epsilon, "{epsilon} {rounds} {variance}");
        }
    }
}
