//! The discrete Gaussian distribution: P(x) ∝ e^{-x²/2σ²} on the integers (Canonne, Kamath and Steinke, 2020).

use zeroize::Zeroizing;

use super::candidates::{BYTES, LANES, More, Shape};
use super::{Generator, NoiseError, in_range};

/// Deviation of the discrete Gaussian that rounds a continuous one: 4 e^{-2π²·4} is below 2⁻¹¹¹.
const SMOOTH: f64 = 2.0;
/// Vectors of candidates that are drawn together, at most.
const GROUPS: usize = 64;

/// Discrete Gaussian noise, of one algorithm for every σ: candidates that are drawn by tables of whole numbers and accepted with a
/// chance (as by Ducas, Durmus, Lepoint and Lyubashevsky, 2013), which is decided exactly but for 2⁻¹⁴³.
pub struct DiscreteGaussian {
    sigma: f64,
    shape: Shape,
}

impl DiscreteGaussian {
    /// With parameter σ from 0.05 to 2⁴⁰.
    ///
    /// # Errors
    /// [`NoiseError::Range`].
    pub fn new(sigma: f64) -> Result<Self, NoiseError> {
        in_range("σ of the discrete Gaussian noise", sigma, 0.05, 2_f64.powi(40), "from 0.05 to 2^40")?;
        Ok(Self { sigma, shape: Shape::new(sigma) })
    }

    /// The parameter.
    pub fn sigma(&self) -> f64 {
        self.sigma
    }

    /// Deviation of a continuous Gaussian that spends no less: one that is rounded to integers at random by a discrete Gaussian of
    /// deviation 2 is this noise (Peikert, 2010), but for 2⁻¹¹² (a factor 1 + 4 e^{-8π²}; counted in [`Self::distance`]). It holds in
    /// every dimension, under sampling, and for a sum of several parties' noise with the sum of the variances. Nothing where σ < 4.
    pub fn continuous(&self) -> Option<f64> {
        (self.sigma >= 4.0).then(|| (self.sigma * self.sigma - SMOOTH * SMOOTH).sqrt() * (1.0 - 1e-15))
    }

    /// Total variation of one sample from the distribution, and from the rounded continuous one. What no candidate reaches weighs
    /// less than 2⁻¹²⁷, and a chance is right to 2⁻¹⁴³; more than half of the candidates are accepted.
    pub fn distance(&self) -> f64 {
        2_f64.powi(-125) + 2_f64.powi(-111)
    }

    /// Fresh noise in place of each number.
    pub fn fill(&self, generator: &mut Generator, numbers: &mut [i64]) {
        self.each(generator, numbers, |number, noise| *number = noise);
    }

    /// Adds fresh noise to each number, modulo 2⁶⁴.
    pub fn add(&self, generator: &mut Generator, numbers: &mut [i64]) {
        self.each(generator, numbers, |number, noise| *number = number.wrapping_add(noise));
    }

    fn each(&self, generator: &mut Generator, numbers: &mut [i64], change: impl Fn(&mut i64, i64)) {
        // Words, because bytes are wiped one by one.
        let mut words = Zeroizing::new([[0_u64; BYTES / 8]; GROUPS]);
        let bytes: &mut [[u8; BYTES]] = pulp::bytemuck::cast_slice_mut(&mut words[..]);
        let mut values = Zeroizing::new([0; (GROUPS + 1) * LANES]);
        let mut rest = numbers;
        while !rest.is_empty() {
            // Of three candidates more than two are accepted, where σ is not small.
            let groups = (rest.len() * 3 / 2 / LANES + 1).min(GROUPS);
            let bytes = &mut bytes[..groups];
            generator.fill(bytes.as_flattened_mut());
            let mut more = More { generator, fine: Vec::new() };
            let count = self.shape.accepted(bytes, &mut values[..], &mut more);
            let fine = more.fine;
            let drawn = &values[..count];
            if self.shape.fine() > 0 {
                rest = self.each_fine(generator, rest, (drawn, &fine), &change);
                continue;
            }
            let (now, later) = rest.split_at_mut(rest.len().min(count));
            for (number, &value) in now.iter_mut().zip(drawn) {
                change(number, i64::from(value) - i64::from(value >> 31));
            }
            rest = later;
        }
    }

    /// The same where the last bits are drawn apart: the numbers that are still without noise.
    fn each_fine<'a>(
        &self,
        generator: &mut Generator,
        numbers: &'a mut [i64],
        (drawn, settled): (&[i32], &[(usize, u64)]),
        change: &impl Fn(&mut i64, i64),
    ) -> &'a mut [i64] {
        let bits = self.shape.fine();
        let (mut settled, mut used) = (settled.iter().peekable(), 0);
        for (place, &value) in drawn.iter().enumerate() {
            let fine = match settled.next_if(|(at, _)| *at == place) {
                Some((_, fine)) => *fine,
                None => generator.word() >> (64 - bits),
            };
            let (sign, high) = (i64::from(value >> 31), i64::from(value ^ value >> 31));
            let magnitude = high << bits | fine as i64;
            // Minus nothing is thrown away.
            if magnitude == 0 && sign != 0 {
                continue;
            }
            let Some(number) = numbers.get_mut(used) else { break };
            change(number, (magnitude ^ sign) - sign);
            used += 1;
        }
        &mut numbers[used..]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_integer_comes_as_often_as_it_should() {
        for sigma in [0.7, 1.9, 5.0, 64.5] {
            let (count, mut values) = (1_000_000_u32, vec![0; 1_000_000]);
            DiscreteGaussian::new(sigma).unwrap().fill(&mut Generator::from_seed([4; 32]), &mut values);
            let weight = |k: i32| (-f64::from(k * k) / (2.0 * sigma * sigma)).exp();
            let whole: f64 = (-2000..2000).map(weight).sum();
            let (mut chi, mut cells) = (0.0, 0);
            let mut seen = vec![0_u32; 801];
            for value in values {
                if let Some(seen) = usize::try_from(value + 400).ok().and_then(|at| seen.get_mut(at)) {
                    *seen += 1;
                }
            }
            for (&seen, k) in seen.iter().zip(-400_i32..) {
                let expected = f64::from(count) * weight(k) / whole;
                if expected > 20.0 {
                    chi += (f64::from(seen) - expected).powi(2) / expected;
                    cells += 1;
                }
            }
            // Mean `cells`, deviation √(2·cells).
            let cells = f64::from(cells);
            assert!((chi - cells).abs() < 5.0 * (2.0 * cells).sqrt(), "σ = {sigma}: {chi} of {cells}");
        }
    }

    #[test]
    fn moments_are_those_of_the_parameter_over_its_whole_range() {
        for sigma in [4.0, 63.99, 64.0, 10_000.0, 131_071.0, 1_048_575.0, 3e9, 2_f64.powi(40)] {
            let mut values = vec![0; 400_000];
            DiscreteGaussian::new(sigma).unwrap().fill(&mut Generator::from_seed([6; 32]), &mut values);
            let mean = |power: i32| values.iter().map(|&v| (v as f64 / sigma).powi(power)).sum::<f64>() / 400_000.0;
            assert!(mean(1).abs() < 0.008 && (mean(2) - 1.0).abs() < 0.012, "{sigma}: {} {}", mean(1), mean(2));
            assert!(mean(3).abs() < 0.03 && (mean(4) - 3.0).abs() < 0.08, "{sigma}: {} {}", mean(3), mean(4));
        }
    }
}
