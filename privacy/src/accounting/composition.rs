//! What is done to the same data one after the other, and what all of it spends.

use super::mechanism::{Kind, Mechanism, in_range};
use super::{AccountingError, pld, rdp};

/// The most steps of a composition: beyond, no double counts them.
const MOST_STEPS: u64 = 1 << 40;
/// What δ may be.
const DELTA: (f64, f64) = (1e-100, 1.0 - 1e-9);

/// By which account.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Accountant {
    /// Rényi divergences.
    Rdp,
    /// Privacy-loss distributions.
    Pld,
    /// Both, and the lower of their bounds: each holds.
    #[default]
    Tightest,
}

/// Mechanisms that are applied to the same data, each so many times, adaptively and in any order.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Composition {
    steps: Vec<(Mechanism, u64)>,
    distance: f64,
}

impl Composition {
    /// Nothing yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// And this mechanism `times` times (at most 2⁴⁰; more are refused by [`Composition::epsilon`]).
    #[must_use]
    pub fn and(mut self, mechanism: Mechanism, times: u64) -> Self {
        match self.steps.iter_mut().find(|(known, _)| *known == mechanism) {
            Some((_, so_far)) => *so_far = so_far.saturating_add(times),
            None => self.steps.push((mechanism, times)),
        }
        self
    }

    /// And noise whose distribution is off by a total variation of `distance` (0 to 1) over everything: that of a sample, times
    /// samples in a step, times steps. It costs (1 + e^ε) × `distance` of δ.
    ///
    /// # Errors
    /// [`AccountingError::Range`].
    pub fn with_distance(mut self, distance: f64) -> Result<Self, AccountingError> {
        in_range("the distance of the noise", distance, (0.0, 1.0), "from 0 to 1")?;
        self.distance = (self.distance + distance).min(1.0);
        Ok(self)
    }

    /// Each mechanism with its number of steps.
    pub fn steps(&self) -> impl Iterator<Item = (Mechanism, u64)> {
        self.steps.iter().copied()
    }

    /// Upper bound of ε at `delta` (1e-100 to below 1).
    ///
    /// # Errors
    /// [`AccountingError::Range`] for a δ or a number of steps beyond, [`AccountingError::Exhausted`] where the noise's error is
    /// all of δ; [`AccountingError::Grid`] and [`AccountingError::Unsupported`] of [`Accountant::Pld`] alone.
    pub fn epsilon(&self, delta: f64, accountant: Accountant) -> Result<f64, AccountingError> {
        self.check()?;
        in_range("δ", delta, DELTA, "from 1e-100 to below 1")?;
        let plain = self.plain_epsilon(delta, accountant)?;
        if self.distance == 0.0 {
            return Ok(plain);
        }
        // δ shrinks by what the error costs at ε, which the lesser δ makes greater: from below, until both agree.
        let exhausted = AccountingError::Exhausted { distance: self.distance, delta };
        let mut epsilon = plain;
        for _ in 0..60 {
            let left = delta - (1.0 + epsilon.exp()) * self.distance;
            if left < DELTA.0 {
                return Err(exhausted);
            }
            let next = self.plain_epsilon(left, accountant)?;
            if next <= epsilon {
                return Ok(epsilon);
            }
            // A little above, so that this ends.
            epsilon = next * (1.0 + 1e-9) + 1e-12;
        }
        Err(exhausted)
    }

    /// Upper bound of δ at `epsilon` (0 to 1e30).
    ///
    /// # Errors
    /// As [`Composition::epsilon`].
    pub fn delta(&self, epsilon: f64, accountant: Accountant) -> Result<f64, AccountingError> {
        self.check()?;
        in_range("ε", epsilon, (0.0, 1e30), "from 0 to 1e30")?;
        let plain = choose(accountant, || rdp::delta(self, epsilon), || pld::delta(self, epsilon))?;
        let off = if self.distance == 0.0 { 0.0 } else { (1.0 + epsilon.exp()) * self.distance };
        Ok((plain + off).min(1.0))
    }

    /// Whether nothing is spent at all.
    pub(super) fn is_free(&self) -> bool {
        self.spending().next().is_none()
    }

    /// The mechanisms that spend something.
    pub(super) fn spending(&self) -> impl Iterator<Item = (Mechanism, u64)> {
        self.steps().filter(|(mechanism, times)| {
            *times > 0 && !matches!(mechanism.0, Kind::Gaussian { rate, .. } if rate == 0.0)
        })
    }

    fn plain_epsilon(&self, delta: f64, accountant: Accountant) -> Result<f64, AccountingError> {
        choose(accountant, || rdp::epsilon(self, delta), || pld::epsilon(self, delta))
    }

    fn check(&self) -> Result<(), AccountingError> {
        let all = self.steps.iter().fold(0_u64, |sum, (_, times)| sum.saturating_add(*times));
        in_range("the number of steps", all as f64, (0.0, MOST_STEPS as f64), "at most 2^40")
    }
}

fn choose(
    accountant: Accountant,
    rdp: impl FnOnce() -> Result<f64, AccountingError>,
    pld: impl FnOnce() -> Result<f64, AccountingError>,
) -> Result<f64, AccountingError> {
    match accountant {
        Accountant::Rdp => rdp(),
        Accountant::Pld => pld(),
        // Where there are no privacy losses, the other bound holds still.
        Accountant::Tightest => rdp().map(|bound| pld().map_or(bound, |tighter| tighter.min(bound))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sampled(noise: f64, rate: f64, steps: u64) -> Composition {
        Composition::new().and(Mechanism::sampled_gaussian(noise, rate).unwrap(), steps)
    }

    #[test]
    fn extremes_have_an_answer() {
        for noise in [1e-5, 0.01, 0.3, 1e3, 1e9] {
            for rate in [0.0, 1e-12, 0.5, 1.0] {
                for steps in [0, 1, 1_000_000, MOST_STEPS] {
                    for delta in [0.5, 1e-15] {
                        let epsilon = sampled(noise, rate, steps).epsilon(delta, Accountant::Rdp).unwrap();
                        assert!((0.0..1e300).contains(&epsilon), "{noise} {rate} {steps} {delta}: {epsilon}");
                        assert!(rate > 0.0 && steps > 0 || epsilon == 0.0);
                    }
                }
            }
        }
        for (noise, rate, steps) in
            [(1e-5, 0.5, 1), (0.03, 0.9, 5), (1e9, 0.5, 1_000_000), (1e-5, 1.0, 1_000_000), (5.0, 1e-12, 10)]
        {
            let all = sampled(noise, rate, steps);
            let epsilon = all.epsilon(1e-15, Accountant::Tightest).unwrap();
            let delta = all.delta(epsilon, Accountant::Tightest).unwrap();
            assert!(
                epsilon.is_finite() && (0.0..=1.1e-15).contains(&delta),
                "{noise} {rate} {steps}: {epsilon} {delta:e}"
            );
        }
    }

    #[test]
    fn what_is_no_number_or_beyond_is_refused_by_name() {
        for noise in [0.0, -1.0, f64::NAN, f64::INFINITY, 1e-300] {
            assert!(Mechanism::gaussian(noise).is_err() && Mechanism::laplace(noise).is_err());
        }
        for rate in [-0.1, 1.1, f64::NAN, 1e-300] {
            let refused = Mechanism::sampled_gaussian(1.0, rate).unwrap_err();
            assert!(refused.to_string().contains("sample rate"), "{refused}");
        }
        assert!(Mechanism::skellam(100.0, 1.0, 2.0).is_err() && Mechanism::skellam(f64::NAN, 1.0, 1.0).is_err());
        let all = sampled(1.0, 0.5, 3);
        for delta in [0.0, 1.0, -1.0, f64::NAN] {
            assert!(all.epsilon(delta, Accountant::Tightest).is_err());
        }
        assert!(all.delta(-1.0, Accountant::Rdp).is_err() && all.delta(f64::NAN, Accountant::Pld).is_err());
        assert!(sampled(1.0, 0.5, MOST_STEPS + 1).epsilon(1e-5, Accountant::Rdp).is_err());
        assert!(all.clone().with_distance(f64::NAN).is_err() && all.with_distance(-1e-9).is_err());
        let many = Composition::new().and(Mechanism::skellam(1e6, 40.0, 10.0).unwrap(), 5);
        assert!(matches!(many.epsilon(1e-5, Accountant::Pld), Err(AccountingError::Unsupported { .. })));
        assert!(many.epsilon(1e-5, Accountant::Tightest).unwrap() > 0.0);
    }

    #[test]
    fn the_error_of_the_noise_is_spent_from_delta() {
        let plain = sampled(1.0, 0.01, 100);
        let off = plain.clone().with_distance(1e-7).unwrap();
        let (less, more) = (plain.epsilon(1e-5, Accountant::Rdp).unwrap(), off.epsilon(1e-5, Accountant::Rdp).unwrap());
        assert!(more > less && more < 1.05 * less, "{less} {more}");
        let spent = off.delta(more, Accountant::Rdp).unwrap();
        assert!(spent <= 1e-5 * 1.001, "{spent:e}");
        let all = plain.with_distance(1e-5).unwrap().epsilon(1e-5, Accountant::Rdp);
        assert!(matches!(all, Err(AccountingError::Exhausted { .. })), "{all:?}");
    }

    /// Different mechanisms together spend more than each, and no more than their sum.
    #[test]
    fn mechanisms_of_different_kinds_compose() {
        let laplace = Composition::new().and(Mechanism::laplace(10.0).unwrap(), 3);
        let skellam = Composition::new().and(Mechanism::skellam(400.0, 1.0, 1.0).unwrap(), 2);
        let gaussian = sampled(1.0, 0.01, 100);
        let parts = [&laplace, &skellam, &gaussian];
        let together = parts.iter().flat_map(|part| part.steps()).fold(Composition::new(), |all, (m, n)| all.and(m, n));
        for accountant in [Accountant::Rdp, Accountant::Pld] {
            let each = parts.map(|part| part.epsilon(1e-6, accountant).unwrap());
            let all = together.epsilon(3e-6, accountant).unwrap();
            assert!(all <= each.iter().sum::<f64>() && each.iter().all(|one| all > 0.9 * one), "{all} {each:?}");
        }
    }
}
