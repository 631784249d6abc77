//! The symmetric Skellam distribution: the difference of two Poisson numbers of one mean (Agarwal, Kairouz and Liu, 2021). Sums of
//! such noise are such noise, exactly.

use super::fixed::Fixed;
use super::table::Table;
use super::{Generator, NoiseError, in_range};

/// The greatest variance of a table; wider noise is a sum.
const WIDEST: f64 = 65_536.0;

/// Skellam noise.
pub struct Skellam {
    table: Table,
    samples: u64,
    variance: f64,
}

impl Skellam {
    /// With variance (twice the mean of either Poisson number) from 0.01 to 2²⁶. The cost grows with the variance beyond 2¹⁶.
    ///
    /// # Errors
    /// [`NoiseError::Range`].
    pub fn new(variance: f64) -> Result<Self, NoiseError> {
        in_range("the variance of the Skellam noise", variance, 0.01, 2_f64.powi(26), "from 0.01 to 2^26")?;
        let samples = (variance / WIDEST).ceil().max(1.0);
        Ok(Self { table: Table::new(&weights(variance / samples)), samples: samples as u64, variance })
    }

    /// The variance.
    pub fn variance(&self) -> f64 {
        self.variance
    }

    /// Total variation of one sample from the distribution.
    pub fn distance(&self) -> f64 {
        self.samples as f64 * self.table.distance()
    }

    /// Fresh noise in place of each number.
    pub fn fill(&self, generator: &mut Generator, numbers: &mut [i64]) {
        numbers.fill(0);
        self.add(generator, numbers);
    }

    /// Adds fresh noise to each number, modulo 2⁶⁴.
    pub fn add(&self, generator: &mut Generator, numbers: &mut [i64]) {
        (0..self.samples).for_each(|_| self.table.add(generator, 1, numbers));
    }
}

/// The modified Bessel functions Iₖ(variance), all times one factor, by Miller's backward recurrence Iₖ₋₁ = Iₖ₊₁ + (2k / variance) Iₖ.
fn weights(variance: f64) -> Vec<Fixed> {
    // So far out, less than 2⁻³⁰⁰ of all is left.
    let start = (22.0 * variance.sqrt() + 220.0).ceil() as usize;
    let factor = Fixed::reciprocal(variance).doubled();
    let mut weights = vec![Fixed::ZERO; start + 1];
    let (mut above, mut here) = (Fixed::ZERO, Fixed::TINY);
    weights[start] = here;
    for k in (1..=start).rev() {
        (above, here) = (here, above.plus(here.by(k as u64).times(factor)));
        if here.whole() > 0 {
            (above, here) = (above.lowered(), here.lowered());
            weights[k..].iter_mut().for_each(|weight| *weight = weight.lowered());
        }
        weights[k - 1] = here;
    }
    weights
}

#[cfg(test)]
mod tests {
    use super::*;
    use num_bigint::BigUint;

    /// Iₖ by its series, Σⱼ (variance/2)^{2j+k} / (j! (j+k)!), in whole numbers times 2⁷⁰⁰.
    #[test]
    fn tables_are_right_to_the_last_bit() {
        for half in [1_u32, 4, 50] {
            let entries = Table::new(&weights(2.0 * f64::from(half))).entries();
            let bessel = |k: u32| {
                let mut term = BigUint::from(1_u32) << 700_u32;
                (1..=k).for_each(|i| term = &term * half / i);
                let mut sum = term.clone();
                for j in 1..1000_u32 {
                    term = term * half * half / j / (j + k);
                    sum += &term;
                }
                sum
            };
            let values: Vec<BigUint> = (0..entries.len() as u32 + 60).map(bessel).collect();
            let all = &values[0] + values[1..].iter().sum::<BigUint>() * 2_u32;
            for (index, entry) in entries.iter().enumerate() {
                let tail: BigUint = values[index + 1..].iter().sum::<BigUint>() * 2_u32;
                let exact = (tail << 126_u32) / &all;
                let (low, high) = (BigUint::from(entry.saturating_sub(1)), BigUint::from(*entry + 1));
                assert!(exact >= low && exact <= high, "{half} {index}: {exact} {entry}");
            }
        }
    }
}
