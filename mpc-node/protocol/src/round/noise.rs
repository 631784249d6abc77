//! The noise of one node. What of all three nodes' is left to whoever knows one of them is accounted in
//! `sahara_privacy::together`.

use sahara_privacy::noise::{DiscreteGaussian, Generator};

use super::vectors::{RoundError, Vectors};
use crate::ring::prg::{Label, Prg, Seed};
use crate::ring::secret::Secret;

/// Least and greatest variance of a node's noise: below, it is no rounded Gaussian; beyond, it leaves 32 bits.
const VARIANCE: (u64, u64) = (16, 1 << 52);
/// No node's noise is that many deviations from zero, but with a probability below 2⁻¹⁸⁰.
const TAIL: f64 = 16.0;

/// Discrete Gaussian noise that each of the three nodes adds in each coordinate.
pub struct NodeNoise {
    noise: DiscreteGaussian,
    variance: u64,
}

impl NodeNoise {
    /// Of this variance (16 to 2⁵²), which is half of what is claimed.
    ///
    /// # Errors
    /// [`RoundError::Range`].
    pub fn new(variance: u64) -> Result<Self, RoundError> {
        let refused = RoundError::Range {
            what: "the variance of a node's noise",
            value: variance as f64,
            range: "from 16 to 2^52",
        };
        if variance < VARIANCE.0 || variance > VARIANCE.1 {
            return Err(refused);
        }
        let noise = DiscreteGaussian::new((variance as f64).sqrt()).map_err(|_| refused)?;
        Ok(Self { noise, variance })
    }

    /// Fresh noise from a secret seed that serves once, modulo 2³².
    pub fn draw(&self, seed: &Seed, coordinates: usize) -> Secret<u32> {
        let mut generator = Generator::from_seed(*seed.as_bytes());
        let mut numbers = Secret::from(vec![0_i64; coordinates]);
        self.noise.fill(&mut generator, &mut numbers);
        Secret::from(numbers.iter().map(|x| *x as u32).collect::<Vec<_>>())
    }

    /// Whether the sum of so many vectors and all noise stays within 32 bits.
    ///
    /// # Errors
    /// [`RoundError::Wraps`].
    pub fn fits(&self, vectors: &Vectors, count: usize) -> Result<(), RoundError> {
        let sum = count as f64 * vectors.greatest() as f64 + 3.0 * TAIL * (self.variance as f64).sqrt();
        if sum < f64::from(i32::MAX) {
            return Ok(());
        }
        Err(RoundError::Wraps { vectors: count, greatest: vectors.greatest(), variance: self.variance as f64 })
    }
}

/// The first evaluator's share of the helper's noise: that of a seed which the helper draws afresh.
pub fn noise_share_from_seed(seed: &Seed, coordinates: usize) -> Secret<u32> {
    let mut words = Secret::from(vec![0; coordinates]);
    Prg::new(seed, Label::Input(1)).fill_words(4, &mut words);
    words
}

/// The second evaluator's share of the helper's noise, of which the first has the seed.
pub fn share_noise(noise: &[u32], seed: &Seed) -> Secret<u32> {
    let mut words = noise_share_from_seed(seed, noise.len());
    words.iter_mut().zip(noise).for_each(|(word, x)| *word = x.wrapping_sub(*word));
    words
}
