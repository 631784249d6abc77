//! From a vector of numbers to one of integers that is no longer than allowed: rounded at random, and clipped *after* that.

use zeroize::Zeroizing;

use crate::noise::Generator;

/// How often numbers are rounded anew before they are rounded towards zero, which makes no vector longer.
const TRIES: usize = 8;
/// Least and greatest norm that counts: with it no scale is infinite, and no number that is scaled.
const CLIPS: (f64, f64) = (1e-6, 1e6);
/// Fewest and most bits of a coordinate.
const BITS: (u8, u8) = (2, 16);
/// Greatest bound of a sum of squares.
const MOST_BOUND: u64 = 1 << 50;

/// Why there are no such integers. It says nothing of any vector.
#[derive(Clone, Copy, Debug, PartialEq, thiserror::Error)]
pub enum QuantiserError {
    /// The norm up to which vectors count.
    #[error("vectors count up to a norm of {0:e}, which must be from 1e-6 to 1e6")]
    Clip(f64),
    /// The bits of a coordinate.
    #[error(
        "coordinates of {bits} bits for a squared norm up to {bound} (from 1 to 2^50): {needed} bits are enough, and what \
         is more helps only a node that departs from the protocol"
    )]
    Bits {
        /// What they are.
        bits: u8,
        /// Of the squared norm.
        bound: u64,
        /// What they may be.
        needed: u8,
    },
}

/// Makes integers of numbers.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Quantiser {
    dimension: usize,
    bits: u8,
    bound: u64,
    clip: f64,
}

impl Quantiser {
    /// For vectors of so many numbers whose norm counts up to `clip`. The integers that stand for them have 11 bits of norm at
    /// least, and enough more that rounding adds little to it.
    ///
    /// # Errors
    /// When `clip` is not from 10⁻⁶ to 10⁶.
    pub fn new(dimension: usize, clip: f64) -> Result<Self, QuantiserError> {
        let mut bits = 12;
        // Rounding adds a quarter to each square on average: a 256th of all at most.
        while bits < 16 && (1_u64 << (2 * (bits - 1))) < 64 * dimension as u64 {
            bits += 1;
        }
        Self::of(dimension, bits, 1 << (2 * (bits - 1)), clip)
    }

    /// As a round says, of 2 to 16 bits, of which no more than a coordinate as long as the whole vector needs.
    ///
    /// # Errors
    /// When clip or bound are out of range, or there are more bits than that.
    pub fn of(dimension: usize, bits: u8, bound: u64, clip: f64) -> Result<Self, QuantiserError> {
        if !(CLIPS.0..=CLIPS.1).contains(&clip) {
            return Err(QuantiserError::Clip(clip));
        }
        let enough = |bits: &u8| 1_u64 << (2 * (bits - 1)) >= bound;
        let needed = (BITS.0..BITS.1).find(enough).unwrap_or(BITS.1);
        if !(BITS.0..=needed).contains(&bits) || !(1..=MOST_BOUND).contains(&bound) {
            return Err(QuantiserError::Bits { bits, bound, needed });
        }
        Ok(Self { dimension, bits, bound, clip })
    }

    /// Bits of a coordinate, in two's complement.
    pub fn bits(&self) -> u8 {
        self.bits
    }

    /// The greatest sum of squares.
    pub fn bound(&self) -> u64 {
        self.bound
    }

    /// What one of a vector's numbers is in integers.
    pub fn scale(&self) -> f64 {
        (self.bound as f64).sqrt() / self.clip
    }

    /// Integers for a vector: scaled down if it is longer than `clip`, rounded at random so that each is right on average, and
    /// within the bound whatever the vector is. Numbers that are none count as 0.
    pub fn integers(&self, vector: &[f32], generator: &mut Generator) -> Zeroizing<Vec<i32>> {
        let number = |x: &f32| if x.is_finite() { f64::from(*x) } else { 0.0 };
        let norm = vector.iter().map(|x| number(x).powi(2)).sum::<f64>().sqrt();
        let bound = self.bound as f64;
        // Room for what rounding adds: on average, and three deviations of it.
        let room = (bound - self.dimension as f64 / 4.0 - 3.0 * bound.sqrt()).max(bound / 4.0).sqrt();
        let scale = self.scale() * (room / bound.sqrt()) * (self.clip / norm.max(f64::MIN_POSITIVE)).min(1.0);
        let scaled: Zeroizing<Vec<f64>> = Zeroizing::new(vector.iter().map(|x| number(x) * scale).collect());
        let mut coins = Zeroizing::new(vec![0_u8; 4 * scaled.len()]);
        for _ in 0..TRIES {
            generator.fill(&mut coins);
            let (coins, _) = coins.as_chunks::<4>();
            let rounded: Vec<i32> = scaled.iter().zip(coins).map(|(x, coin)| self.rounded(*x, *coin)).collect();
            let rounded = Zeroizing::new(rounded);
            if squares(&rounded) <= self.bound {
                return rounded;
            }
        }
        let half = 1 << (self.bits - 1);
        let cut = Zeroizing::new(scaled.iter().map(|x| (x.trunc() as i32).clamp(-half, half - 1)).collect::<Vec<_>>());
        // Whatever arithmetic does: what is sent is never refused for what it is.
        if squares(&cut) <= self.bound { cut } else { Zeroizing::new(vec![0; scaled.len()]) }
    }

    fn rounded(&self, x: f64, coin: [u8; 4]) -> i32 {
        let below = x.floor();
        let up = f64::from(u32::from_le_bytes(coin)) < (x - below) * 4_294_967_296.0;
        let half = 1 << (self.bits - 1);
        (below as i32 + i32::from(up)).clamp(-half, half - 1)
    }
}

fn squares(vector: &[i32]) -> u64 {
    vector.iter().map(|x| u64::from(x.unsigned_abs()).pow(2)).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers_are_within_the_bound_whatever_the_numbers_are() {
        let mut generator = Generator::from_seed([1; 32]);
        let strange = [f32::NAN, f32::INFINITY, f32::MAX, f32::MIN_POSITIVE, -0.0, 1e-30];
        for dimension in [1, 3, 100, 5000, 70_000] {
            let quantiser = Quantiser::new(dimension, 0.5).unwrap();
            let half = 1_i32 << (quantiser.bits() - 1);
            for factor in [0.0, 1e-6, 0.001, 1.0, 1e10] {
                for shift in [0.0, 0.5_f32] {
                    let mut vector: Vec<f32> =
                        (0..dimension).map(|i| factor * (((i * 37) % 101) as f32 / 50.0 - shift)).collect();
                    vector
                        .iter_mut()
                        .zip(strange)
                        .for_each(|(x, strange)| *x = if factor > 1.0 { strange } else { *x });
                    let integers = quantiser.integers(&vector, &mut generator);
                    assert!(squares(&integers) <= quantiser.bound(), "{dimension} {factor}");
                    assert!(integers.iter().all(|x| (-half..half).contains(x)));
                }
            }
        }
        // As small a bound as there is, where rounding alone would go beyond it.
        let least = Quantiser::of(1000, 2, 1, 1.0).unwrap();
        assert!((0..50).all(|_| squares(&least.integers(&[1.0; 1000], &mut generator)) <= 1));
    }

    /// Otherwise what is sent, or whether, tells of the vector itself, without noise.
    #[test]
    fn a_clip_or_bits_that_make_no_sense_are_refused_and_the_least_ones_are_not_exceeded() {
        for clip in [0.0, 1e-320, 9e-7, 1.1e6, f64::INFINITY, f64::NAN, -1.0] {
            assert!(matches!(Quantiser::of(2, 2, 1, clip), Err(QuantiserError::Clip(_))), "{clip:e}");
            assert!(Quantiser::new(2, clip).is_err());
        }
        assert_eq!(Quantiser::of(2, 3, 1, 1.0), Err(QuantiserError::Bits { bits: 3, bound: 1, needed: 2 }));
        assert_eq!(
            Quantiser::of(2, 16, 1 << 22, 1.0).unwrap_err().to_string().matches("12 bits are enough").count(),
            1
        );
        for (bits, bound) in [(1, 1), (17, 1 << 40), (16, 1 << 51), (2, 0), (16, (1 << 26) - 1)] {
            assert!(Quantiser::of(2, bits, bound, 1.0).is_err(), "{bits} {bound}");
        }
        assert!(Quantiser::of(2, 16, 1 << 50, 1.0).is_ok() && Quantiser::of(2, 12, (1 << 20) + 1, 1.0).is_ok());
        let mut generator = Generator::from_seed([3; 32]);
        for vector in [[1.0, 1.0], [0.0, 1.0], [f32::MAX, f32::MIN_POSITIVE]] {
            let least = Quantiser::of(2, 2, 1, 1e-6).unwrap();
            assert!((0..100).all(|_| squares(&least.integers(&vector, &mut generator)) <= 1));
        }
        // Arithmetic that no clip in range leads to.
        let impossible = Quantiser { dimension: 2, bits: 2, bound: 1, clip: 1e-320 };
        assert_eq!(*impossible.integers(&[1.0, 1.0], &mut generator), [0, 0]);
    }

    #[test]
    fn short_vectors_are_right_on_average_and_long_ones_keep_their_direction() {
        let mut generator = Generator::from_seed([2; 32]);
        let quantiser = Quantiser::new(4, 2.0).unwrap();
        let mean = |vector: &[f32; 4], generator: &mut Generator| {
            let mut sums = [0_i64; 4];
            for _ in 0..4000 {
                let integers = quantiser.integers(vector, generator);
                sums.iter_mut().zip(integers.iter()).for_each(|(sum, x)| *sum += i64::from(*x));
            }
            sums.map(|sum| sum as f64 / 4000.0 / quantiser.scale())
        };
        let short = mean(&[0.3, -0.2, 0.000_2, 0.0], &mut generator);
        assert!((short[0] - 0.3).abs() < 1e-3 && (short[1] + 0.2).abs() < 1e-3, "{short:?}");
        assert!((short[2] - 0.000_2).abs() < 1e-4 && short[3] == 0.0, "{short:?}");
        let long = mean(&[30.0, -40.0, 0.0, 0.0], &mut generator);
        assert!((long[0] - 1.2).abs() < 0.01 && (long[1] + 1.6).abs() < 0.01, "{long:?}");
    }
}
