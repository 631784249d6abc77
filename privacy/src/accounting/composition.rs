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

    /// Upper bound of δ at `epsilon` (0 to 1e12).
    ///
    /// # Errors
    /// As [`Composition::epsilon`].
    pub fn delta(&self, epsilon: f64, accountant: Accountant) -> Result<f64, AccountingError> {
        self.check()?;
        in_range("ε", epsilon, (0.0, 1e12), "from 0 to 1e12")?;
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
