//! Drawing from a table: a distribution on integers that is symmetric around zero.

use zeroize::{Zeroize, Zeroizing};

use super::Generator;
use super::fixed::Fixed;

/// Samples that are drawn together, in vector registers.
const LANES: usize = 16;
/// Random bytes of a sample.
const BYTES: usize = 16;
/// Samples whose random bytes are drawn together.
const ROOM: usize = 256;
const LOW: u128 = (1 << 63) - 1;

/// For each k from 1 on, the probability that |x| ≥ k, times 2¹²⁶, in words of 63 bits.
pub struct Table {
    high: Vec<i64>,
    low: Vec<i64>,
}

impl Table {
    /// From the weights of 0, 1, 2, …, whose whole sum (both signs) is below 2⁶⁴; what comes after them weighs less than 2⁻¹²⁷ of all.
    pub fn new(weights: &[Fixed]) -> Self {
        let parts = parts(weights, 2).into_iter();
        let (high, low) = parts.map(|part| ((part >> 63) as i64, (part & LOW) as i64)).unzip();
        Self { high, low }
    }

    /// Total variation of one sample from the distribution: each entry is less than 2⁻¹²⁶ too low.
    pub fn distance(&self) -> f64 {
        (self.high.len() + 2) as f64 * 2_f64.powi(-126)
    }

    /// The entries.
    #[cfg(test)]
    pub fn entries(&self) -> Vec<u128> {
        self.high.iter().zip(&self.low).map(|(high, low)| (*high as u128) << 63 | *low as u128).collect()
    }

    /// Adds `factor` times a fresh sample to each number.
    pub fn add(&self, generator: &mut Generator, factor: i64, numbers: &mut [i64]) {
        let mut random = Zeroizing::new([0_u8; ROOM * BYTES]);
        for some in numbers.chunks_mut(ROOM) {
            let whole = some.len().next_multiple_of(LANES);
            generator.fill(&mut random[..whole * BYTES]);
            let (random, _) = random.as_chunks::<{ LANES * BYTES }>();
            for (few, bytes) in some.chunks_mut(LANES).zip(random) {
                let mut drawn = self.draw(bytes);
                few.iter_mut()
                    .zip(&drawn)
                    .for_each(|(number, x)| *number = number.wrapping_add(factor.wrapping_mul(*x)));
                drawn.zeroize();
            }
        }
    }

    /// A sample from each pair of a word of the first half and one of the second: 126 bits say which magnitude, one the sign.
    fn draw(&self, bytes: &[u8; LANES * BYTES]) -> [i64; LANES] {
        let first: [u64; LANES] = words(bytes, 0);
        let second: [u64; LANES] = words(bytes, LANES);
        let high = first.map(|word| (word >> 1) as i64);
        let low = second.map(|word| (word >> 1) as i64);
        let sign = first.map(|word| -((word & 1) as i64));
        let mut count = [0_i64; LANES];
        for (entry_high, entry_low) in self.high.iter().zip(&self.low) {
            for lane in 0..LANES {
                // The random number is less: its high word is, once the low words' borrow is taken.
                let borrow = i64::from(low[lane] < *entry_low);
                count[lane] += i64::from(high[lane] - borrow < *entry_high);
            }
        }
        std::array::from_fn(|lane| (count[lane] ^ sign[lane]) - sign[lane])
    }
}

/// For each k from 1 on, the probability of at least k, times 2¹²⁶ and rounded down: of numbers with these weights, each but 0 as
/// often as there are `signs`.
pub fn parts(weights: &[Fixed], signs: u64) -> Vec<u128> {
    let mut above = Fixed::ZERO;
    let mut tails: Vec<Fixed> = Vec::with_capacity(weights.len());
    for weight in weights.iter().skip(1).rev() {
        above = above.plus(weight.by(signs));
        tails.push(above);
    }
    let all = weights.first().map_or(Fixed::ONE, |zero| above.plus(*zero));
    tails.iter().rev().map(|tail| tail.part_of(all)).take_while(|part| *part > 0).collect()
}

fn words(bytes: &[u8; LANES * BYTES], from: usize) -> [u64; LANES] {
    let word = |i: usize| std::array::from_fn(|k| bytes[8 * i + k]);
    std::array::from_fn(|lane| u64::from_le_bytes(word(from + lane)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sample_is_the_number_of_entries_that_are_greater() {
        // Weights 2, 1, 1 (of 6 in all): P(|x| ≥ 1) = 2/3, P(|x| ≥ 2) = 1/3.
        let table = Table::new(&[Fixed::ONE.doubled(), Fixed::ONE, Fixed::ONE]);
        let third = (1_u128 << 126) / 3;
        assert_eq!(table.entries(), [2 * third, third]);
        let cases = [(0, 0, 2), (third - 1, 1, -2), (third, 0, 1), (2 * third - 1, 1, -1), (2 * third, 1, 0)];
        let mut bytes = [0; LANES * BYTES];
        for (lane, (value, sign, _)) in cases.into_iter().enumerate() {
            bytes[8 * lane..][..8].copy_from_slice(&(((value >> 63) as u64) << 1 | sign).to_le_bytes());
            bytes[8 * (LANES + lane)..][..8].copy_from_slice(&(((value & LOW) as u64) << 1).to_le_bytes());
        }
        let drawn = table.draw(&bytes);
        assert_eq!(drawn[..5], cases.map(|(.., want)| want));
    }
}
