//! The discrete Gaussian distribution: P(x) ∝ e^{-x²/2σ²} on the integers (Canonne, Kamath and Steinke, 2020).

use super::fixed::Fixed;
use super::table::Table;
use super::{Generator, NoiseError, in_range};

/// The least deviation that a coset's must have for a sum of two samples to be one again: e^{-2π²·4} is 2⁻¹¹³.
const SMOOTH: f64 = 2.0;
/// The greatest deviation of a table.
const WIDEST: f64 = 64.0;
/// What a sample costs beside its table, in entries.
const DRAWING: f64 = 30.0;

/// Discrete Gaussian noise.
///
/// Up to a deviation of some ten it comes from one table. Wider ones are sums x + k x′ of two narrower ones, again and again
/// (Micciancio and Walter, 2017): with deviation s of both, the sum has s √(1+k²), and given the sum, x′ is a discrete Gaussian of
/// deviation s / √(1+k²) on a coset, whose mass is that of every other coset but for 2 Σⱼ e^{-2π² j² s² / (1+k²)}.
pub struct DiscreteGaussian {
    table: Table,
    /// One a sample of the table.
    factors: Vec<i64>,
    sigma: f64,
    distance: f64,
}

impl DiscreteGaussian {
    /// With parameter σ from 0.05 to 2⁴⁰.
    ///
    /// # Errors
    /// [`NoiseError::Range`].
    pub fn new(sigma: f64) -> Result<Self, NoiseError> {
        in_range("σ of the discrete Gaussian noise", sigma, 0.05, 2_f64.powi(40), "from 0.05 to 2^40")?;
        let plan = Plan::cheapest(sigma);
        let table = Table::new(&weights(plan.base));
        let factors = plan.factors();
        // Each sum of two is off by a factor of at most 1 + 2ε on either side; there are fewer sums than samples of the table.
        let smoothing =
            if factors.len() > 1 { 8.0 * (-2.0 * (std::f64::consts::PI * SMOOTH).powi(2)).exp() } else { 0.0 };
        let distance = factors.len() as f64 * (table.distance() + smoothing);
        Ok(Self { table, factors, sigma: plan.sigma(), distance })
    }

    /// The parameter, to the last place of what was asked for.
    pub fn sigma(&self) -> f64 {
        self.sigma
    }

    /// Deviation of a continuous Gaussian that spends no less: one that is rounded to integers at random by a discrete Gaussian of
    /// deviation 2 is this noise, but for 2⁻¹¹² (a factor 1 + 4 e^{-8π²}; counted in [`Self::distance`]). It holds in every
    /// dimension, under sampling, and for a sum of several parties' noise with the sum of the variances. Nothing where σ < 4.
    pub fn continuous(&self) -> Option<f64> {
        (self.sigma >= 4.0).then(|| (self.sigma * self.sigma - SMOOTH * SMOOTH).sqrt() * (1.0 - 1e-15))
    }

    /// Total variation of one sample from the distribution, and from the rounded continuous one.
    pub fn distance(&self) -> f64 {
        self.distance + 2_f64.powi(-111)
    }

    /// Fresh noise in place of each number.
    pub fn fill(&self, generator: &mut Generator, numbers: &mut [i64]) {
        numbers.fill(0);
        self.add(generator, numbers);
    }

    /// Adds fresh noise to each number, modulo 2⁶⁴.
    pub fn add(&self, generator: &mut Generator, numbers: &mut [i64]) {
        for factor in &self.factors {
            self.table.add(generator, *factor, numbers);
        }
    }
}

/// e^{-k²/2σ²} for k = 0, 1, … until 2⁻¹³⁰ of all is left.
fn weights(sigma: f64) -> Vec<Fixed> {
    let step = Fixed::reciprocal_of_twice_the_square(sigma).exp_of_minus();
    let twice = step.times(step);
    let (mut weight, mut ratio) = (Fixed::ONE, step);
    let most = (sigma * 14.5).ceil() as usize + 2;
    let mut weights = Vec::with_capacity(most);
    while weights.len() < most && !weight.is_zero() {
        weights.push(weight);
        weight = weight.times(ratio);
        ratio = ratio.times(twice);
    }
    weights
}

/// How a deviation is made: from a table's, by multipliers.
#[derive(Clone, Debug)]
struct Plan {
    base: f64,
    multipliers: Vec<i64>,
}

impl Plan {
    fn cheapest(sigma: f64) -> Self {
        let direct = Self { base: sigma, multipliers: Vec::new() };
        let direct = (sigma <= WIDEST).then_some(direct);
        let sums = (1..=6).flat_map(|levels| {
            (0..)
                .map(|k| 2.8 + 0.1 * f64::from(k))
                .take_while(|base| *base < WIDEST)
                .filter_map(move |base| Self::sums(sigma, levels, base))
        });
        let all = direct.into_iter().chain(sums);
        // There is always one: six levels reach beyond 2⁴⁰ from a base of three.
        all.min_by(|a, b| a.cost().total_cmp(&b.cost())).unwrap_or(Self { base: sigma, multipliers: Vec::new() })
    }

    /// From about this base on, the greatest multipliers that are smooth, and a last one that fits.
    fn sums(sigma: f64, levels: usize, base: f64) -> Option<Self> {
        let mut reached = base;
        let mut multipliers = Vec::with_capacity(levels);
        for level in 0..levels {
            let most = greatest(reached);
            let fits = ((sigma / reached).powi(2) - 1.0).max(0.0).sqrt().floor();
            let multiplier = if level + 1 < levels { most.min(fits) } else { fits };
            if multiplier < 1.0 || multiplier > most {
                return None;
            }
            multipliers.push(multiplier as i64);
            reached *= grown(multiplier as i64);
        }
        // What is missing widens the base, which only makes the cosets smoother.
        Some(Self { base: base * (sigma / reached), multipliers })
    }

    fn sigma(&self) -> f64 {
        self.multipliers.iter().fold(self.base, |reached, multiplier| reached * grown(*multiplier))
    }

    fn cost(&self) -> f64 {
        2_f64.powi(self.multipliers.len() as i32) * (13.2 * self.base + DRAWING)
    }

    /// All products of the multipliers of some of the levels.
    fn factors(&self) -> Vec<i64> {
        self.multipliers.iter().fold(vec![1], |factors, multiplier| {
            let more: Vec<i64> = factors.iter().map(|factor| factor * multiplier).collect();
            [factors, more].concat()
        })
    }
}

fn grown(multiplier: i64) -> f64 {
    1_f64.hypot(multiplier as f64)
}

/// The greatest multiplier for which cosets are smooth.
fn greatest(deviation: f64) -> f64 {
    ((deviation / SMOOTH).powi(2) - 1.0).max(0.0).sqrt().floor()
}

#[cfg(test)]
mod tests {
    use super::super::fixed::tests::big;
    use super::*;
    use num_bigint::BigUint;

    #[test]
    fn plans_reach_their_deviation_over_smooth_cosets() {
        let mut sigma = 0.05;
        while sigma < 2_f64.powi(40) {
            let plan = Plan::cheapest(sigma);
            assert!((plan.sigma() / sigma - 1.0).abs() < 1e-14, "{sigma} {plan:?}");
            let mut reached = plan.base;
            assert!(reached < WIDEST + 1.0);
            for multiplier in &plan.multipliers {
                assert!(reached / grown(*multiplier) >= SMOOTH * (1.0 - 1e-12), "{sigma} {plan:?}");
                reached *= grown(*multiplier);
            }
            sigma *= 1.7;
        }
    }

    /// The entries in numbers of 700 bits, by another road: each power on its own, by Taylor's series.
    #[test]
    fn tables_are_right_to_the_last_bit() {
        for sigma in [0.5_f64, 1.0, 2.83, 6.375, 10.0, 33.3] {
            let entries = Table::new(&weights(sigma)).entries();
            let power = |k: u64| big::exp_of_minus(BigUint::from(k * k), sigma);
            let powers: Vec<BigUint> = (0..=(16.0 * sigma) as u64 + 3).map(power).collect();
            let all = &powers[0] + powers[1..].iter().sum::<BigUint>() * 2_u32;
            for (index, entry) in entries.iter().enumerate() {
                let tail: BigUint = powers[index + 1..].iter().sum::<BigUint>() * 2_u32;
                let exact = (tail << 126_u32) / &all;
                assert!(exact == BigUint::from(*entry) || exact == BigUint::from(*entry + 1), "{sigma} {index}");
            }
            let beyond: BigUint = powers[entries.len() + 1..].iter().sum::<BigUint>() * 2_u32;
            assert!((beyond << 126_u32) / all <= BigUint::from(1_u32), "{sigma}");
        }
    }
}
