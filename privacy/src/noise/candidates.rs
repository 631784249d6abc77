//! Candidates for discrete Gaussian numbers, sixteen at a time, and which of them are accepted.
//!
//! A candidate is two words of 32 bits. The first draws y ≥ 0 by Walker's alias method, from probabilities that are multiples of
//! 2⁻¹⁶ and about those of e^{-y²/2s²}, and has sixteen bits that accept or refuse; the second has u, even below 2ʲ, and the sign.
//! x = 2ʲ y + u is accepted with probability c e^{-x²/2σ²} / q(y), where q(y) is what y was drawn with and c makes that at most 1:
//! so what is accepted has the weights of the distribution, whatever q is, and zeros are halved because they have two signs.
//!
//! The chance is computed in single precision, to far less than one in 2¹⁶. Where the sixteen bits are within two of it, the
//! candidate is undecided; that happens to every x equally often, to one candidate in 2¹⁴, and more bits decide ([`Shape::settle`]):
//! 64, in double precision; if that is too close, which no run will ever see, 144 bits in all, in exact arithmetic.
//!
//! Where u has more than 26 bits, its last ones are no part of a candidate: they do not matter to what is decided, and are drawn
//! when they are needed. A table lies in registers, or in one or two lines of the cache. How many candidates are refused or undecided
//! says nothing of those that are accepted; nothing else depends on what is drawn.

#[cfg(all(feature = "train", target_arch = "x86_64"))]
mod vectors;

use super::Generator;
use super::fixed::Fixed;

/// Values of y, and columns of the alias table.
const COLUMNS: usize = 32;
/// Candidates in a vector, and bytes that they are made of.
pub const LANES: usize = 16;
/// Bytes that the candidates of a vector are made of.
pub const BYTES: usize = 8 * LANES;
/// Bits of what a column decides with.
const COLUMN_BITS: u32 = 11;
/// All probabilities are in units of one in so many.
const WHOLE: u32 = (COLUMNS as u32) << COLUMN_BITS;
/// Most bits of u in a candidate: with those of y and a sign they are 32.
const MOST: u32 = 26;
/// 1 as sixteen bits that accept have it.
const CERTAIN: f64 = 65_536.0;

/// A distribution, as candidates need it.
pub struct Shape {
    sigma: f64,
    /// Bits of u in a candidate.
    shift: u32,
    /// Bits of u that are drawn apart.
    fine: u32,
    /// Of each column, what is below stays: that, in the upper half, and the other y.
    columns: [u32; COLUMNS],
    /// How many of 2¹⁶ words draw y.
    counts: [u32; COLUMNS],
    /// The chance of 2ʲ y, times 2¹⁶.
    chances: [f32; COLUMNS],
    /// c, times 2¹⁶.
    top: u32,
    /// log₂(e) / 2σ², σ without the bits that are drawn apart.
    scale: f32,
}

/// What decides those candidates that their own bits do not, and the last bits of u of those that needed them: whose place
/// among the accepted comes first.
pub struct More<'a> {
    pub generator: &'a mut Generator,
    pub fine: Vec<(usize, u64)>,
}

impl Shape {
    /// For σ from 0.05 to 2⁴⁰.
    pub fn new(sigma: f64) -> Self {
        // The deviation of y is from 1.2 to 2.4, so that what is beyond the last column weighs less than 2⁻¹²⁷.
        let bits = (sigma / 1.2).log2().floor().max(0.0) as u32;
        let (shift, fine) = (bits.min(MOST), bits.saturating_sub(MOST));
        let narrow = sigma / (1_u64 << bits) as f64;
        let weights: [f64; COLUMNS] = std::array::from_fn(|y| (-((y * y) as f64) / (2.0 * narrow * narrow)).exp());
        let last = (1..COLUMNS).take_while(|&y| y as f64 <= 13.5 * narrow).last().unwrap_or(1);
        let counts_for = |top: u32| -> [u32; COLUMNS] {
            std::array::from_fn(|y| match y {
                0 => top,
                // A little more than it takes, so that no chance is above 1.
                y if y <= last => (f64::from(top) * weights[y] * (1.0 + 1e-9)).floor() as u32 + 1,
                _ => 0,
            })
        };
        // The greatest with which they are not more than all.
        let fits = |top: u32| counts_for(top).iter().sum::<u32>() <= WHOLE;
        let top = (0..16).rev().fold(1, |top, bit| if fits(top + (1 << bit)) { top + (1 << bit) } else { top });
        let mut counts = counts_for(top);
        counts[0] += WHOLE - counts.iter().sum::<u32>();
        let chances = std::array::from_fn(|y| match counts[y] {
            0 => 0.0,
            count => (CERTAIN * f64::from(top) * weights[y] / f64::from(count)) as f32,
        });
        let coarse = sigma / (1_u64 << fine) as f64;
        let scale = (std::f64::consts::LOG2_E / (2.0 * coarse * coarse)) as f32;
        Self { sigma, shift, fine, columns: columns(counts), counts, chances, top, scale }
    }

    /// Bits of u that are drawn apart.
    pub fn fine(&self) -> u32 {
        self.fine
    }

    /// Values of accepted candidates, the first so many, without the bits that are drawn apart, negative ones less 1; the rest of
    /// `values` is anything. `bytes` are random.
    pub fn accepted(&self, bytes: &[[u8; BYTES]], values: &mut [i32], more: &mut More<'_>) -> usize {
        assert!(values.len() >= (bytes.len() + 1) * LANES, "room for all candidates, and one vector more");
        more.fine.clear();
        Candidates { shape: self, bytes, values, more }.accepted()
    }

    /// The sixteen of one group: value, whether it is accepted, and whether that is undecided, in masks.
    #[inline(always)]
    fn group(&self, bytes: &[u8; BYTES]) -> ([i32; LANES], u32, u32) {
        let mut values = [0; LANES];
        let (mut accepted, mut undecided) = (0, 0);
        for (lane, value) in values.iter_mut().enumerate() {
            let (first, second) = words(bytes, lane);
            let y = self.y(first);
            let u = second & ((1 << self.shift) - 1);
            let base = y << self.shift;
            let magnitude = base | u;
            let power = -((u as f32) * ((base + magnitude) as f32)) * self.scale;
            let chance = (exp2(power) * self.chances[y as usize]).round_ties_even() as i32;
            let bits = (first >> 16) as i32;
            let twice = self.fine == 0 && magnitude == 0 && second >> 31 == 1;
            accepted |= u32::from(bits < chance && !twice) << lane;
            undecided |= u32::from((bits.wrapping_sub(chance).wrapping_add(2) & 0xffff) < 4 && !twice) << lane;
            *value = (magnitude ^ 0_u32.wrapping_sub(second >> 31)) as i32;
        }
        (values, accepted, undecided)
    }

    #[inline(always)]
    fn y(&self, first: u32) -> u32 {
        let own = first % COLUMNS as u32;
        let column = self.columns[own as usize];
        if (first >> 5) % (1 << COLUMN_BITS) < column >> 16 { own } else { column % COLUMNS as u32 }
    }

    /// Those of a group that are accepted, when some are undecided; so many of others are before them.
    #[cold]
    fn settle_all(
        &self,
        bytes: &[u8; BYTES],
        (accepted, undecided): (u32, u32),
        before: usize,
        more: &mut More<'_>,
    ) -> u32 {
        let (mut accepted, settled) = (accepted & !undecided, more.fine.len());
        for lane in (0..LANES).filter(|lane| undecided >> lane & 1 == 1) {
            let (first, second) = words(bytes, lane);
            if let Some(fine) = self.settle(first, second, more.generator) {
                accepted |= 1 << lane;
                more.fine.push((lane, fine));
            }
        }
        // Only now is it known which place each has.
        for (place, _) in &mut more.fine[settled..] {
            *place = before + (accepted & ((1 << *place) - 1)).count_ones() as usize;
        }
        accepted
    }

    /// The last bits of u, if a candidate is accepted by its sixteen bits and 64 more, in double precision; or, if that is still
    /// too close, by 64 more yet, in exact arithmetic.
    fn settle(&self, first: u32, second: u32, generator: &mut Generator) -> Option<u64> {
        let fine = if self.fine == 0 { 0 } else { generator.word() >> (64 - self.fine) };
        let y = self.y(first);
        let x = u64::from(y << self.shift | second & ((1 << self.shift) - 1)) << self.fine | fine;
        let (bits, next) = (first >> 16, generator.word());
        let count = self.counts[y as usize];
        // The argument is below 100, so the chance is right to a relative 2⁻⁴⁴.
        let argument = (x as f64 / self.sigma).powi(2) / 2.0;
        let chance = CERTAIN * f64::from(self.top) * (-argument).exp() / f64::from(count);
        let apart = chance - f64::from(bits) - next as f64 * 2_f64.powi(-64);
        let accepted = match apart.abs() > 2_f64.powi(-28) {
            true => apart > 0.0,
            false => self.settle_exactly(x, count, bits, [next, generator.word()]),
        };
        (accepted && !(x == 0 && second >> 31 == 1)).then_some(fine)
    }

    fn settle_exactly(&self, x: u64, count: u32, bits: u32, [next, last]: [u64; 2]) -> bool {
        let drawn = Fixed::below_one([u64::from(bits) << 48 | next >> 16, next << 48 | last >> 16, last << 48]);
        let chance = Fixed::reciprocal_of_twice_the_square(self.sigma).by(x).by(x).exp_of_minus();
        drawn.by(count.into()).is_less_than(chance.by(self.top.into()))
    }
}

/// The two words of a candidate: those of a group lie together, the first ones before the second.
#[inline(always)]
fn words(bytes: &[u8; BYTES], lane: usize) -> (u32, u32) {
    let word = |at: usize| u32::from_le_bytes(std::array::from_fn(|i| bytes[4 * at + i]));
    (word(lane), word(LANES + lane))
}

/// Walker's table for counts that add up to [`WHOLE`].
fn columns(counts: [u32; COLUMNS]) -> [u32; COLUMNS] {
    let each = WHOLE / COLUMNS as u32;
    let mut left = counts;
    let mut columns: [u32; COLUMNS] = std::array::from_fn(|y| y as u32);
    let mut open: Vec<usize> = (0..COLUMNS).collect();
    // The least is filled up by the greatest; what is left are columns that are their own.
    while let Some(at) = (0..open.len()).min_by_key(|&at| left[open[at]]) {
        let least = open.swap_remove(at);
        if left[least] == each {
            continue;
        }
        let Some(greatest) = open.iter().copied().max_by_key(|&y| left[y]) else { break };
        columns[least] = left[least] << 16 | greatest as u32;
        left[greatest] -= each - left[least];
    }
    columns
}

/// 2^power for powers from -100 to 0, to a relative 2⁻²⁰.
#[inline(always)]
fn exp2(power: f32) -> f32 {
    let whole = power.round_ties_even();
    let sum = SERIES.iter().fold(0.0_f32, |sum, &term| sum.mul_add(power - whole, term));
    sum * f32::from_bits(((whole as i32 + 127) as u32) << 23)
}

/// Of 2^r for r from -1/2 to 1/2, the highest power first.
const SERIES: [f32; 7] =
    [1.540_353e-4, 1.333_355_8e-3, 9.618_129e-3, 5.550_411e-2, 0.240_226_5, std::f32::consts::LN_2, 1.0];

struct Candidates<'a, 'b> {
    shape: &'a Shape,
    bytes: &'a [[u8; BYTES]],
    values: &'a mut [i32],
    more: &'a mut More<'b>,
}

#[cfg(feature = "train")]
impl pulp::WithSimd for Candidates<'_, '_> {
    type Output = usize;

    #[inline(always)]
    fn with_simd<S: pulp::Simd>(self, simd: S) -> usize {
        #[cfg(target_arch = "x86_64")]
        if let Some(simd) = vectors::wide(simd) {
            return self.in_vectors(simd);
        }
        let _ = simd;
        self.in_turn()
    }
}

impl Candidates<'_, '_> {
    /// In whatever vectors there are, where many numbers are drawn: with the feature `train`.
    fn accepted(self) -> usize {
        #[cfg(feature = "train")]
        return pulp::Arch::new().dispatch(self);
        #[cfg(not(feature = "train"))]
        self.in_turn()
    }

    /// One number after the other.
    #[inline(always)]
    fn in_turn(self) -> usize {
        let mut count = 0;
        for bytes in self.bytes {
            let (values, mut accepted, undecided) = self.shape.group(bytes);
            if undecided != 0 {
                accepted = self.shape.settle_all(bytes, (accepted, undecided), count, self.more);
            }
            for (lane, value) in values.into_iter().enumerate() {
                self.values[count] = value;
                count += (accepted >> lane & 1) as usize;
            }
        }
        count
    }
}

#[cfg(test)]
mod tests {
    use super::super::fixed::tests::big;
    use super::*;
    use num_bigint::BigUint;

    const DEVIATIONS: [f64; 12] =
        [0.05, 0.7, 1.2, 2.399_999, 2.4, 10.0, 64.5, 1000.0, 131_072.5, 1_048_575.0, 134_217_728.0, 1e12];

    /// What a word of the first half is accepted with, times 2¹⁶, and its x.
    fn chance(shape: &Shape, first: u32, u: u32) -> (f64, u64) {
        let y = shape.y(first);
        let x = u64::from(y << shape.shift | u) << shape.fine;
        let weight = (-(x as f64 / shape.sigma).powi(2) / 2.0).exp();
        (CERTAIN * f64::from(shape.top) * weight / f64::from(shape.counts[y as usize]), x)
    }

    #[test]
    fn y_is_drawn_as_often_as_the_counts_say_and_no_chance_is_above_one() {
        for sigma in DEVIATIONS {
            let shape = Shape::new(sigma);
            let mut counts = [0; COLUMNS];
            for first in 0..1 << 16 {
                counts[shape.y(first) as usize] += 1;
                assert!(chance(&shape, first, 0).0 <= CERTAIN, "{sigma} {first}");
            }
            assert_eq!(counts, shape.counts, "{sigma}");
            // e^{-13.2²/2} is 2⁻¹²⁵, of one number, and what is beyond weighs a 13th of that.
            let columns = counts.iter().take_while(|&&count| count > 0).count() as u64;
            assert!(((columns << shape.shift) << shape.fine) as f64 >= 13.33 * sigma, "{sigma} {columns}");
            assert!(counts[columns as usize..].iter().all(|&count| count == 0));
        }
    }

    #[test]
    fn what_sixteen_bits_decide_is_right_whatever_comes_after_them() {
        for sigma in DEVIATIONS {
            let shape = Shape::new(sigma);
            let most = (1_u32 << shape.shift) - 1;
            // Every column, both ways.
            for first in (0..1 << 10).map(|i| (i % 32) | (((i / 32 * 65) % 2048) << 5)) {
                for u in [0, 1, most / 3, most / 2, most].map(|u| u & most) {
                    let (chance, x) = chance(&shape, first, u);
                    // With the bits that are drawn apart it is this, at worst.
                    let step = (x as f64 * ((1_u64 << shape.fine) - 1) as f64 / shape.sigma.powi(2)).min(1.0);
                    let mut bytes = [0; BYTES];
                    let bits: [u32; LANES] = std::array::from_fn(|lane| {
                        ((chance.floor() as u32).saturating_sub(3) + lane as u32).min(65_535)
                    });
                    for (lane, bits) in bits.into_iter().enumerate() {
                        bytes[4 * lane..][..4].copy_from_slice(&(first | bits << 16).to_le_bytes());
                        bytes[64 + 4 * lane..][..4].copy_from_slice(&u.to_le_bytes());
                    }
                    let (_, accepted, undecided) = shape.group(&bytes);
                    for (lane, bits) in bits.into_iter().enumerate().filter(|(lane, _)| undecided >> lane & 1 == 0) {
                        let takes = accepted >> lane & 1 == 1;
                        let right = if takes {
                            f64::from(bits) + 1.0 <= chance * (1.0 - step)
                        } else {
                            f64::from(bits) >= chance
                        };
                        assert!(right, "{sigma} {x} {bits} {chance}");
                    }
                }
            }
        }
    }

    #[test]
    fn double_precision_settles_as_exact_arithmetic_does_and_that_as_numbers_of_700_bits() {
        for sigma in [3.7, 1000.0, 123_456.789] {
            let shape = Shape::new(sigma);
            let (mut seen, mut words) = ([0; 2], Generator::from_seed([2; 32]));
            for _ in 0..60 {
                let (first, u) = (words.word() as u32, words.word() as u32 & ((1 << shape.shift) - 1));
                let (chance, x) = chance(&shape, first, u);
                let (bits, count) = (chance as u32, shape.counts[shape.y(first) as usize]);
                if bits == 1 << 16 {
                    continue;
                }
                let near = (chance.fract() * 2_f64.powi(64)) as u64;
                let ways = [near.wrapping_sub(1 << 48), near.wrapping_add(1 << 48), 0, u64::MAX];
                for next in ways {
                    let last = words.word();
                    let exactly = shape.settle_exactly(x, count, bits, [next, last]);
                    let drawn =
                        (BigUint::from(bits) << 128_u32) + (BigUint::from(next) << 64_u32) + BigUint::from(last);
                    let weight = big::exp_of_minus(BigUint::from(x) * BigUint::from(x), sigma);
                    let known = ((drawn * BigUint::from(count)) << (700 - 144_u32)) < weight * BigUint::from(shape.top);
                    assert_eq!(exactly, known, "{sigma} {x} {next}");
                    let apart = chance - f64::from(bits) - next as f64 * 2_f64.powi(-64);
                    assert!(apart.abs() < 2_f64.powi(-28) || exactly == (apart > 0.0), "{sigma} {x} {next}");
                    seen[usize::from(exactly)] += 1;
                }
            }
            assert!(seen.iter().all(|&n| n > 50), "{seen:?}");
        }
    }

    /// Where 64 bits more are not enough, others decide.
    #[test]
    fn what_is_nearest_to_its_chance_is_settled_by_the_last_bits() {
        let shape = Shape::new(1000.0);
        let (x, count) = (300, shape.counts[0]);
        let settled = |word: u128| {
            let halves = [(word >> 64) as u64, word as u64];
            shape.settle_exactly(x, count, (chance(&shape, 0, 300).0) as u32, halves)
        };
        // The first that is refused.
        let limit = (0..128).rev().fold(0_u128, |low, bit| if settled(low | 1 << bit) { low | 1 << bit } else { low });
        assert!(settled(limit) && !settled(limit + 1) && limit as u64 != 0);
    }

    /// Columns that random bytes all but never choose, among them those far out where magnitudes are above 2³⁰.
    #[cfg(feature = "train")]
    #[test]
    fn rare_columns_are_the_same_in_vectors() {
        for sigma in [2.39, 1.199, 2.4, 3.0].map(|part| part * 2.0_f64.powi(26)).into_iter().chain(DEVIATIONS) {
            let shape = Shape::new(sigma);
            let mut bytes = vec![[0; BYTES]; 4096];
            Generator::from_seed([3; 32]).fill(bytes.as_flattened_mut());
            for (at, group) in bytes.iter_mut().enumerate() {
                for lane in 0..LANES {
                    // Its own column, and a chance that is small, or anything.
                    let first = (at % COLUMNS) as u32 | if at < 2048 { (at as u32 / 32) << 16 } else { 0x4000_0000 };
                    group[4 * lane..4 * lane + 4].copy_from_slice(&first.to_le_bytes());
                }
            }
            let drawn = |plain: bool| {
                let mut values = vec![0; bytes.len() * LANES + LANES];
                let mut generator = Generator::from_seed([4; 32]);
                let mut more = More { generator: &mut generator, fine: Vec::new() };
                let candidates = Candidates { shape: &shape, bytes: &bytes, values: &mut values, more: &mut more };
                let count = if plain { candidates.in_turn() } else { candidates.accepted() };
                values.truncate(count);
                values
            };
            assert!(drawn(true) == drawn(false), "{sigma}");
        }
    }

    #[cfg(feature = "train")]
    #[test]
    fn vectors_and_single_numbers_give_the_same() {
        for sigma in DEVIATIONS {
            let shape = Shape::new(sigma);
            let mut bytes = vec![[0; BYTES]; 8000];
            Generator::from_seed([3; 32]).fill(bytes.as_flattened_mut());
            let drawn = |plain: bool| {
                let mut values = vec![0; bytes.len() * LANES + LANES];
                let mut generator = Generator::from_seed([4; 32]);
                let mut more = More { generator: &mut generator, fine: Vec::new() };
                let candidates = Candidates { shape: &shape, bytes: &bytes, values: &mut values, more: &mut more };
                let count = if plain { candidates.in_turn() } else { candidates.accepted() };
                values.truncate(count);
                let fine = more.fine;
                (values, fine, generator.word())
            };
            let plain = drawn(true);
            assert!(plain == drawn(false), "{sigma}");
            // 128,000 candidates, of which one in 2¹⁴ is undecided, and of which most are accepted.
            assert_ne!(plain.2, Generator::from_seed([4; 32]).word(), "{sigma}: none is undecided");
            assert!(plain.1.len() < 40 && plain.0.len() > 60_000, "{sigma} {}", plain.0.len());
            assert!(plain.1.iter().all(|&(place, fine)| place < plain.0.len() && fine < 1 << shape.fine));
        }
    }
}
