//! One step in whole numbers: forward, softmax by table, error, clip, gradient, update. See the module's first lines.

use std::sync::OnceLock;

use super::rows::ROW_ONE;
use super::{ROW_FRACTION, Rows, WEIGHT_FRACTION, commit};

/// Entries of the table of the exponential, [`INDEX_FRACTION`] fractional bits apart.
pub const TABLE: usize = 1 << 10;
/// Fractional bits of its index.
const INDEX_FRACTION: u32 = 6;
/// Fractional bits of a probability, of the exponential and of a clip's factor.
pub const UNIT_FRACTION: u32 = 16;
/// Fractional bits of a gradient.
pub const GRADIENT_FRACTION: u32 = ROW_FRACTION + UNIT_FRACTION;
/// What a noisy gradient is taken to.
pub const MOST_NOISY: i64 = 1 << 50;
/// What is dropped of a noisy gradient before it is multiplied.
pub const DROPPED: u32 = 12;
/// Largest weight, 256; every smaller one is a number of single precision, too.
pub const MOST_WEIGHT: i64 = 1 << 24;

/// `⌊(v + 2^(shift-1)) / 2^shift⌋`: the one rounding rule. `shift` is from 1 to 62, and `v` at most 2^62 in absolute value.
pub fn rescale(v: i64, shift: u32) -> i64 {
    (v + (1 << (shift - 1))) >> shift
}

/// `e^(-i/64)` with 16 fractional bits; the last entry stands for everything beyond, and is 0.
pub fn table() -> &'static [i64; TABLE] {
    static EXP: OnceLock<[i64; TABLE]> = OnceLock::new();
    EXP.get_or_init(|| {
        std::array::from_fn(|index| match index + 1 < TABLE {
            true => (libm::exp(-(index as f64) / 64.0) * 65536.0 + 0.5).floor() as i64,
            false => 0,
        })
    })
}

/// A linear head: `(inputs + 1) × classes` weights, row-major, the biases in the last row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Head {
    inputs: usize,
    classes: usize,
    weights: Vec<i64>,
}

impl Head {
    /// Before the first step: nothing but zeros.
    pub fn begin(inputs: usize, classes: usize) -> Self {
        Self { inputs, classes, weights: vec![0; (inputs + 1) * classes] }
    }

    pub(super) fn from_weights(inputs: usize, classes: usize, weights: Vec<i64>) -> Option<Self> {
        let fits = weights.len() == (inputs + 1) * classes && weights.iter().all(|w| w.abs() <= MOST_WEIGHT);
        fits.then_some(Self { inputs, classes, weights })
    }

    /// The weights, `inputs + 1` rows of one number a class, the biases last.
    pub fn weights(&self) -> &[i64] {
        &self.weights
    }

    /// The same in single precision, exactly: weights `inputs × classes`, then the biases.
    pub fn parameters(&self) -> Vec<f32> {
        let one = f64::from(1_u32 << WEIGHT_FRACTION);
        self.weights.iter().map(|&weight| (weight as f64 / one) as f32).collect()
    }

    /// A commitment to the weights, a leaf a class.
    pub fn root(&self) -> [u8; 32] {
        let column = |class: usize| commit::open(self.weights.iter().skip(class).step_by(self.classes).copied());
        commit::tree(&(0..self.classes).map(column).collect::<Vec<_>>())
    }

    /// The logits of a row, with 28 fractional bits.
    pub fn logits(&self, row: &[i16], logits: &mut [i64]) {
        let (weights, biases) = self.weights.split_at(self.inputs * self.classes);
        logits.iter_mut().zip(biases).for_each(|(logit, bias)| *logit = bias * i64::from(ROW_ONE));
        for (&value, weights) in row.iter().zip(weights.chunks_exact(self.classes)) {
            let value = i64::from(value);
            logits.iter_mut().zip(weights).for_each(|(logit, weight)| *logit += value * weight);
        }
    }

    /// The class of the greatest logit; of equal ones the first.
    pub fn choice(&self, row: &[i16]) -> usize {
        let mut logits = vec![0; self.classes];
        self.logits(row, &mut logits);
        (0..self.classes).rev().max_by_key(|&class| logits[class]).unwrap_or(0)
    }

    /// The sum of the clipped gradients of a batch, in the weights' order, with 28 fractional bits.
    pub fn gradient(&self, rows: &Rows, batch: &[usize], clip: i64) -> Vec<i64> {
        let mut sum = vec![0; self.weights.len()];
        let (mut values, mut errors) = (vec![0; self.classes], vec![0; self.classes]);
        for &index in batch {
            let row = rows.row(index);
            self.logits(row, &mut values);
            error(&mut values, rows.class(index));
            clipped(row, &values, clip, &mut errors);
            let ones = row.iter().map(|&value| i64::from(value)).chain([i64::from(ROW_ONE)]);
            for (value, sums) in ones.zip(sum.chunks_exact_mut(self.classes)) {
                sums.iter_mut().zip(&errors).for_each(|(sum, error)| *sum += value * error);
            }
        }
        sum
    }

    /// Takes a noisy gradient, by a multiplier with `shift` fractional bits.
    pub fn update(&mut self, gradient: &[i64], noise: &[i64], multiplier: u32, shift: u32) {
        for ((weight, &gradient), &noise) in self.weights.iter_mut().zip(gradient).zip(noise) {
            let noisy = gradient.saturating_add(noise).clamp(-MOST_NOISY, MOST_NOISY);
            let change = rescale(rescale(noisy, DROPPED) * i64::from(multiplier), shift);
            *weight = (*weight - change).clamp(-MOST_WEIGHT, MOST_WEIGHT);
        }
    }
}

/// From logits to probabilities less one at the class, with 16 fractional bits.
fn error(values: &mut [i64], class: usize) {
    let most = values.iter().copied().max().unwrap_or(0);
    let shift = ROW_FRACTION + WEIGHT_FRACTION - INDEX_FRACTION;
    let last = TABLE as i64 - 1;
    for value in values.iter_mut() {
        let index = rescale(most - *value, shift).min(last);
        *value = table()[usize::try_from(index).unwrap_or(0)];
    }
    // At least 2^16: the greatest logit's.
    let sum: i64 = values.iter().sum();
    for value in values.iter_mut() {
        *value = ((*value << (UNIT_FRACTION + 1)) + sum) / (2 * sum);
    }
    values[class] -= 1 << UNIT_FRACTION;
}

/// The error of a row whose gradient is no longer than `clip`, but for the rounding of each number of the error.
fn clipped(row: &[i16], error: &[i64], clip: i64, clipped: &mut [i64]) {
    let squares = row.iter().map(|&value| u64::from(value.unsigned_abs()).pow(2)).sum::<u64>();
    let length = root(squares + u64::from(ROW_ONE.unsigned_abs()).pow(2));
    let norm = length * root(error.iter().map(|value| value.unsigned_abs().pow(2)).sum());
    let clip = clip.unsigned_abs();
    let factor = match norm <= clip {
        true => 1 << UNIT_FRACTION,
        false => ((clip << UNIT_FRACTION) / norm).cast_signed(),
    };
    clipped.iter_mut().zip(error).for_each(|(to, value)| *to = rescale(factor * value, UNIT_FRACTION));
}

/// The root of a square, rounded up.
fn root(square: u64) -> u64 {
    let floor = square.isqrt();
    floor + u64::from(floor * floor < square)
}

#[cfg(test)]
mod tests {
    use super::super::rows::tests_rows;
    use super::*;

    #[test]
    fn the_rounding_rule_is_half_up() {
        for (value, rounded) in [(0, 0), (7, 0), (8, 1), (-8, 0), (-9, -1), (24, 2), (-24, -1), (-25, -2)] {
            assert_eq!(rescale(value, 4), rounded, "{value}");
        }
        assert_eq!((table()[0], table()[64], table()[TABLE - 2] < 2, table()[TABLE - 1]), (65536, 24109, true, 0));
        assert_eq!((root(0), root(1), root(2), root(4), root(5)), (0, 1, 2, 2, 3));
    }

    #[test]
    fn an_error_is_near_the_softmax_less_one_at_the_class() {
        let unit = f64::from(1_u32 << 28);
        for logits in [[0.0, 0.0, 0.0], [1.5, -2.0, 0.3], [200.0, -200.0, 0.0], [0.01, 0.02, 7.0]] {
            let mut values: Vec<i64> = logits.iter().map(|z: &f64| (z * unit) as i64).collect();
            error(&mut values, 1);
            let most = logits.iter().copied().fold(f64::MIN, f64::max);
            let sum: f64 = logits.iter().map(|z| (z - most).exp()).sum();
            for (class, z) in logits.iter().enumerate() {
                let expected = (z - most).exp() / sum - if class == 1 { 1.0 } else { 0.0 };
                assert!((values[class] as f64 / 65536.0 - expected).abs() < 0.005, "{logits:?} {values:?}");
            }
            assert!(values.iter().sum::<i64>().abs() <= 3, "{values:?}");
        }
    }

    #[test]
    fn no_row_adds_more_than_the_bound() {
        let (inputs, classes) = (9, 4);
        for seed in 0..200_u32 {
            let rows = tests_rows(inputs, classes, 1, seed);
            let mut head = Head::begin(inputs, classes);
            let weight = |at: usize| (i64::from(seed) * 7919 + at as i64 * 104_729) % (1 << (8 + seed % 16));
            head.weights.iter_mut().enumerate().for_each(|(at, to)| *to = weight(at) - weight(at + 7));
            for clip in [1_i64 << 20, 1 << 26, 1 << 28, 1 << 31] {
                let gradient = head.gradient(&rows, &[0], clip);
                let norm = gradient.iter().map(|&g| (g as f64).powi(2)).sum::<f64>().sqrt();
                let rounding = (4096.0 * (inputs as f64 + 1.0).sqrt()).ceil() * (classes as f64).sqrt() / 2.0;
                assert!(norm <= clip as f64 + rounding, "{seed}: {norm} for {clip}");
                let free = head.gradient(&rows, &[0], i64::MAX >> 17);
                let longest = free.iter().map(|&g| (g as f64).powi(2)).sum::<f64>().sqrt();
                assert!(norm >= 0.99 * longest.min(clip as f64) - rounding, "{seed}: {norm} {longest} {clip}");
            }
        }
    }

    #[test]
    fn extreme_rows_and_weights_do_not_wrap() {
        let rows = super::super::Rows::of(&crate::train::Examples::new(4, vec![1.0; 8], vec![0, 1]).unwrap()).unwrap();
        let mut head = Head::from_weights(4, 2, vec![MOST_WEIGHT; 10]).unwrap();
        head.weights.iter_mut().skip(1).step_by(2).for_each(|weight| *weight = -MOST_WEIGHT);
        let gradient = head.gradient(&rows, &[0, 1], 1 << 28);
        assert!(gradient.iter().all(|g| g.abs() <= 2 << 28), "{gradient:?}");
        head.update(&[i64::MAX; 10], &[i64::MAX; 10], u32::from(u16::MAX), 1);
        assert!(head.weights.iter().all(|&weight| weight == -MOST_WEIGHT));
        head.update(&[i64::MIN; 10], &[i64::MIN; 10], u32::from(u16::MAX), 1);
        assert!(head.weights.iter().all(|&weight| weight == MOST_WEIGHT));
        assert_eq!(head.parameters(), [256.0; 10]);
        assert!(Head::from_weights(4, 2, vec![MOST_WEIGHT + 1; 10]).is_none());
    }
}
