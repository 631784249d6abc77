//! The discrete Laplace distribution: P(x) ∝ e^{-|x|/t} on the integers.

use zeroize::Zeroizing;

use super::fixed::Fixed;
use super::{Generator, NoiseError, in_range};

/// Discrete Laplace noise: the difference of two geometric numbers, whose binary digits are independent.
pub struct DiscreteLaplace {
    /// The probability that digit i is one, times 2¹²⁶.
    digits: Vec<u128>,
    scale: f64,
}

impl DiscreteLaplace {
    /// With scale t from 0.01 to 2⁴⁰. For a sum of integers of L1 sensitivity s one release is s/t-private.
    ///
    /// # Errors
    /// [`NoiseError::Range`].
    pub fn new(scale: f64) -> Result<Self, NoiseError> {
        in_range("the scale of the discrete Laplace noise", scale, 0.01, 2_f64.powi(40), "from 0.01 to 2^40")?;
        let mut power = Fixed::reciprocal(scale).exp_of_minus();
        let mut digits = Vec::new();
        // e^{-2ⁱ/t} / (1 + e^{-2ⁱ/t})
        loop {
            let digit = power.part_of(Fixed::ONE.plus(power));
            if digit == 0 {
                break;
            }
            digits.push(digit);
            power = power.times(power);
        }
        Ok(Self { digits, scale })
    }

    /// The scale.
    pub fn scale(&self) -> f64 {
        self.scale
    }

    /// Total variation of one sample from the distribution: each digit of either number is less than 2⁻¹²⁶ off.
    pub fn distance(&self) -> f64 {
        2.0 * (self.digits.len() + 2) as f64 * 2_f64.powi(-126)
    }

    /// Fresh noise in place of each number.
    pub fn fill(&self, generator: &mut Generator, numbers: &mut [i64]) {
        numbers.fill(0);
        self.add(generator, numbers);
    }

    /// Adds fresh noise to each number, modulo 2⁶⁴.
    pub fn add(&self, generator: &mut Generator, numbers: &mut [i64]) {
        let mut random = Zeroizing::new(vec![0_u8; 32 * self.digits.len()]);
        for number in numbers {
            generator.fill(&mut random);
            for (bytes, (index, digit)) in random.chunks_exact(32).zip(self.digits.iter().enumerate()) {
                let (plus, minus) = bytes.split_at(16);
                let one = |bytes: &[u8]| {
                    let bits = bytes.iter().rev().fold(0_u128, |word, byte| word << 8 | u128::from(*byte)) >> 2;
                    i64::from(bits < *digit)
                };
                *number = number.wrapping_add((one(plus) - one(minus)) << index);
            }
        }
    }
}
