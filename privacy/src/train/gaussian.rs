//! Discrete Gaussian noise of large deviation, many numbers at a time.
//!
//! A number is `2ʲ·y + u` with a sign: `y ≥ 0` from a table of a Gaussian of deviation between 2 and 4, `u` uniform below `2ʲ`,
//! accepted with probability `exp(-u(u + 2ʲ⁺¹y) / 2σ²)`, and half of the zeros are thrown away (Ducas, Durmus, Lepoint and
//! Lyubashevsky, 2013). What is accepted has exactly the discrete Gaussian's weights; nothing in the loop branches on a number.
//!
//! How far off it is: a threshold of the table by 2⁻⁶⁴ and a relative 2⁻⁵⁰, an acceptance by a relative 2⁻⁴³ (it is decided with
//! 45 bits). The relative errors of n independent numbers are together no further than √n·2⁻⁴³ in total variation (Pinsker, and
//! the chain rule of the divergence, adaptively too), the absolute ones n·64·2⁻⁶⁴.

use pulp::{Arch, Simd, WithSimd};

use super::noise::Noise;
use super::random::Randomness;

/// Least and greatest parameter.
const LEAST: f64 = 64.0;
const GREATEST: f64 = ((1_u64 << 20) - 1) as f64;
/// Candidates at a time.
const LANES: usize = 256;
/// Bits that decide whether a candidate is accepted.
const DECIDING: u32 = 45;

/// A discrete Gaussian on the integers, and the stream that it is drawn from.
pub struct Gaussian {
    sigma: f64,
    /// Bits of `u`.
    shift: u32,
    /// Of 2⁶⁴, how many words give at least 1, at least 2, …
    thresholds: Vec<u64>,
    random: Randomness,
    accepted: Vec<i64>,
}

/// There is no such noise.
#[derive(Debug, thiserror::Error, Clone, Copy, PartialEq)]
#[error(
    "noise has a parameter between {LEAST} and {GREATEST} units of its grid, not {0}: ask for another ε, or fewer parameters"
)]
pub struct NoNoise(pub f64);

impl Gaussian {
    /// With parameter `sigma`, from 64 to below 2²⁰.
    ///
    /// # Errors
    /// When it is not.
    pub fn new(sigma: f64, random: Randomness) -> Result<Self, NoNoise> {
        if !Self::makes(sigma) {
            return Err(NoNoise(sigma));
        }
        let shift = sigma.log2().floor() as u32 - 1;
        let small = sigma / f64::from(1_u32 << shift);
        let weights: Vec<f64> = (0..64).map(|y| (-f64::from(y * y) / (2.0 * small * small)).exp()).collect();
        let whole: f64 = weights.iter().rev().sum();
        let mut above = 0.0;
        let mut thresholds: Vec<u64> = Vec::new();
        for weight in weights[1..].iter().rev() {
            above += weight;
            thresholds.push((above / whole * 2.0_f64.powi(64)) as u64);
        }
        thresholds.retain(|&threshold| threshold > 0);
        Ok(Self { sigma, shift, thresholds, random, accepted: Vec::with_capacity(LANES) })
    }

    /// Whether there is one with this parameter.
    pub fn makes(sigma: f64) -> bool {
        (LEAST..=GREATEST).contains(&sigma)
    }

    /// Its parameter.
    pub fn sigma(&self) -> f64 {
        self.sigma
    }

    /// Deviation of the continuous Gaussian that this is a post-processing of, up to 2⁻¹⁰⁰: rounding with a discrete Gaussian
    /// of parameter 2 around it gives this (Peikert, 2010).
    pub fn continuous(sigma: f64) -> f64 {
        (sigma * sigma - 4.0).sqrt().next_down()
    }

    /// How far so many numbers can be from the distribution that they should have, in total variation.
    pub fn distance(numbers: f64) -> f64 {
        numbers.sqrt() * 2.0_f64.powi(-43) + numbers * 2.0_f64.powi(-58)
    }

    /// Candidates, and of them those that are accepted.
    fn more(&mut self) {
        let mut words = [[0_u64; LANES]; 2];
        words.iter_mut().for_each(|words| self.random.words(words));
        self.accepted.resize(LANES, 0);
        let candidates = Candidates {
            words: &words,
            thresholds: &self.thresholds,
            shift: self.shift,
            scale: 1.0 / (2.0 * self.sigma * self.sigma),
            accepted: &mut self.accepted,
        };
        let count = Arch::new().dispatch(candidates);
        self.accepted.truncate(count);
    }
}

/// Words and what they are made to.
struct Candidates<'a> {
    words: &'a [[u64; LANES]; 2],
    thresholds: &'a [u64],
    shift: u32,
    scale: f64,
    accepted: &'a mut [i64],
}

impl WithSimd for Candidates<'_> {
    type Output = usize;

    /// How many are accepted; they come first. (A closure would not be inlined, and compiled for the least vectors.)
    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) -> usize {
        let Self { words: [first, second], thresholds, shift, scale, accepted } = self;
        let mask = (1_u64 << shift) - 1;
        let mut y = [0_u64; LANES];
        for &threshold in thresholds {
            for (y, &word) in y.iter_mut().zip(first) {
                *y += u64::from(word < threshold);
            }
        }
        let mut chance = [0.0_f64; LANES];
        let mut value = [0_i64; LANES];
        for i in 0..LANES {
            let (u, base) = (second[i] & mask, y[i] << shift);
            let sign = -(((second[i] >> (63 - DECIDING)) & 1) as i64);
            value[i] = ((base + u) as i64 ^ sign) - sign;
            let accept = exp_minus((u * (u + 2 * base)) as f64 * scale);
            // Minus nothing is thrown away.
            chance[i] = if base + u == 0 && sign != 0 { 0.0 } else { accept };
        }
        let mut count = 0;
        for i in 0..LANES {
            let drawn = (second[i] >> (64 - DECIDING)) as f64 * 2.0_f64.powi(-(DECIDING as i32));
            if let Some(place) = accepted.get_mut(count) {
                *place = value[i];
            }
            count += usize::from(drawn < chance[i]);
        }
        count
    }
}

impl Noise for Gaussian {
    fn fill(&mut self, values: &mut [i64]) {
        let mut rest = values;
        while !rest.is_empty() {
            self.more();
            let some = rest.len().min(self.accepted.len());
            let (now, later) = rest.split_at_mut(some);
            now.copy_from_slice(&self.accepted[..some]);
            rest = later;
        }
        zeroize::Zeroize::zeroize(&mut self.accepted);
    }
}

/// `exp(-t)` for `t` from 0 to 600, to a relative 2⁻⁵⁰.
#[inline(always)]
fn exp_minus(t: f64) -> f64 {
    /// Adding and taking away this rounds to an integer, and leaves it in the low bits.
    const ROUNDING: f64 = 6_755_399_441_055_744.0;
    let shifted = -t * std::f64::consts::LOG2_E + ROUNDING;
    let whole = shifted - ROUNDING;
    // ln 2 in two parts, of which the first has 32 bits.
    let rest = -t - whole * 0.693_147_180_369_123_8 - whole * 1.908_214_929_270_587_7e-10;
    let mut sum = 1.0 / 6_227_020_800.0;
    for term in [
        1.0 / 479_001_600.0,
        1.0 / 39_916_800.0,
        1.0 / 3_628_800.0,
        1.0 / 362_880.0,
        1.0 / 40_320.0,
        1.0 / 5040.0,
        1.0 / 720.0,
        1.0 / 120.0,
        1.0 / 24.0,
        1.0 / 6.0,
        0.5,
        1.0,
        1.0,
    ] {
        sum = sum * rest + term;
    }
    let power = (shifted.to_bits() << 52).wrapping_add(1023 << 52);
    sum * f64::from_bits(power)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drawn(sigma: f64, count: usize) -> Vec<i64> {
        let mut gaussian = Gaussian::new(sigma, Randomness::from_key(&[4; 32])).unwrap();
        let mut values = vec![0; count];
        gaussian.fill(&mut values);
        values
    }

    #[test]
    fn exponentials_are_exact_enough() {
        for step in 0..60_000 {
            let t = f64::from(step) / 100.0;
            assert!((exp_minus(t) / (-t).exp() - 1.0).abs() < 2.0_f64.powi(-50), "{t}");
        }
    }

    #[test]
    fn every_integer_comes_as_often_as_it_should() {
        let sigma = 64.5;
        let (count, values) = (2_000_000_u32, drawn(sigma, 2_000_000));
        let whole: f64 = (-2000..2000).map(|k| (-f64::from(k * k) / (2.0 * sigma * sigma)).exp()).sum();
        let (mut chi, mut cells) = (0.0, 0);
        let mut seen = vec![0_u32; 801];
        for value in values {
            if let Some(seen) = usize::try_from(value + 400).ok().and_then(|at| seen.get_mut(at)) {
                *seen += 1;
            }
        }
        for (&seen, k) in seen.iter().zip(-400_i32..) {
            let expected = f64::from(count) * (-f64::from(k * k) / (2.0 * sigma * sigma)).exp() / whole;
            if expected > 20.0 {
                chi += (f64::from(seen) - expected).powi(2) / expected;
                cells += 1;
            }
        }
        // Mean `cells`, deviation √(2·cells).
        let cells = f64::from(cells);
        assert!((chi - cells).abs() < 5.0 * (2.0 * cells).sqrt(), "{chi} of {cells}");
    }

    #[test]
    fn moments_are_those_of_the_parameter_over_its_whole_range() {
        for sigma in [64.0, 127.9, 128.0, 10_000.0, 131_071.0, 1_048_575.0] {
            let values = drawn(sigma, 400_000);
            let mean = |power: i32| values.iter().map(|&v| (v as f64 / sigma).powi(power)).sum::<f64>() / 400_000.0;
            assert!(mean(1).abs() < 0.008 && (mean(2) - 1.0).abs() < 0.012, "{sigma}: {} {}", mean(1), mean(2));
            assert!(mean(3).abs() < 0.03 && (mean(4) - 3.0).abs() < 0.08, "{sigma}: {} {}", mean(3), mean(4));
        }
        for sigma in [63.0, f64::NAN, 2e6, -1.0] {
            assert!(Gaussian::new(sigma, Randomness::from_key(&[1; 32])).is_err());
        }
    }
}
