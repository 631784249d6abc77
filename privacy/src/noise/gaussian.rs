//! The discrete Gaussian distribution: P(x) ∝ e^{-x²/2σ²} on the integers (Canonne, Kamath and Steinke, 2020).

use pulp::{Arch, Simd, WithSimd};
use zeroize::Zeroize;

use super::fixed::Fixed;
use super::table::parts;
use super::{Generator, NoiseError, in_range};

/// Deviation of the discrete Gaussian that rounds a continuous one: 4 e^{-2π²·4} is below 2⁻¹¹¹.
const SMOOTH: f64 = 2.0;
/// Candidates at a time.
const LANES: usize = 256;
/// Bits that decide whether a candidate is accepted, where so many are left.
const DECIDING: u32 = 45;
/// By how much, relatively, a chance in doubles may be off: 2⁻⁵⁰ of the exponential, and 2⁻⁵¹ times its argument, which is below 16.
const ROUNDING: f64 = 1.0 / (1_u64 << 45) as f64;

/// Discrete Gaussian noise.
///
/// A number is 2ʲ y + u with a sign: y ≥ 0 from a table of a Gaussian of deviation σ/2ʲ between 1 and 2, u even below 2ʲ, accepted
/// with probability e^{-u(u + 2ʲ⁺¹ y)/2σ²}; and half of the zeros are thrown away (Ducas, Durmus, Lepoint and Lyubashevsky, 2013).
/// What is accepted has exactly the weights e^{-x²/2σ²}. That holds but for 2⁻¹²⁶ an entry and a chance: where 64 bits, or doubles,
/// cannot tell on which side of one a candidate lies (fewer than one in 2⁴² for σ below 2¹⁹), more bits and exact arithmetic do.
///
/// Candidates are independent, so how many are refused says nothing of those that are accepted; nothing else depends on them.
pub struct DiscreteGaussian {
    sigma: f64,
    /// Bits of u.
    shift: u32,
    /// The probability of at least 1, 2, … for y, times 2¹²⁶.
    exact: Vec<u128>,
    /// Its first 64 bits.
    entries: Vec<u64>,
}

impl DiscreteGaussian {
    /// With parameter σ from 0.05 to 2⁴⁰.
    ///
    /// # Errors
    /// [`NoiseError::Range`].
    pub fn new(sigma: f64) -> Result<Self, NoiseError> {
        in_range("σ of the discrete Gaussian noise", sigma, 0.05, 2_f64.powi(40), "from 0.05 to 2^40")?;
        let shift = sigma.log2().floor().max(0.0) as u32;
        let exact = parts(&weights(sigma / (1_u64 << shift) as f64), 1);
        let entries = exact.iter().map(|part| (part >> 62) as u64).collect();
        Ok(Self { sigma, shift, exact, entries })
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

    /// Total variation of one sample from the distribution, and from the rounded continuous one: that of a candidate, twice over the
    /// part of candidates that is accepted, which is more than a half.
    pub fn distance(&self) -> f64 {
        4.0 * (self.exact.len() + 3) as f64 * 2_f64.powi(-126) + 2_f64.powi(-111)
    }

    /// Fresh noise in place of each number.
    pub fn fill(&self, generator: &mut Generator, numbers: &mut [i64]) {
        numbers.fill(0);
        self.add(generator, numbers);
    }

    /// Adds fresh noise to each number, modulo 2⁶⁴.
    pub fn add(&self, generator: &mut Generator, numbers: &mut [i64]) {
        let mut drawn = Drawn { words: [[0; LANES]; 2], accepted: [0; LANES] };
        let mut rest = numbers;
        while !rest.is_empty() {
            drawn.words.iter_mut().for_each(|words| generator.words(words));
            let count = match self.candidates(&mut drawn) {
                (count, false) => count,
                (_, true) => self.settle_all(&mut drawn, generator),
            };
            let (now, later) = rest.split_at_mut(rest.len().min(count));
            now.iter_mut().zip(&drawn.accepted).for_each(|(number, noise)| *number = number.wrapping_add(*noise));
            rest = later;
        }
    }

    /// The candidates of the words that are accepted come first; how many, and whether one of all could not be decided.
    fn candidates(&self, drawn: &mut Drawn) -> (usize, bool) {
        let scale = 1.0 / (2.0 * self.sigma * self.sigma);
        let candidates = Candidates { drawn, entries: &self.entries, shift: self.shift, bits: self.deciding(), scale };
        Arch::new().dispatch(candidates)
    }

    /// The same by [`Self::settle`].
    fn settle_all(&self, drawn: &mut Drawn, generator: &mut Generator) -> usize {
        let mut count = 0;
        for i in 0..LANES {
            if let Some(value) = self.settle([drawn.words[0][i], drawn.words[1][i]], generator) {
                drawn.accepted[count] = value;
                count += 1;
            }
        }
        count
    }

    /// A candidate of two words, decided by as many more bits as there are in an entry.
    fn settle(&self, [first, second]: [u64; 2], generator: &mut Generator) -> Option<i64> {
        let number = u128::from(first) << 62 | u128::from(generator.word() >> 2);
        let y = self.exact.iter().take_while(|part| number < **part).count() as u64;
        let (u, base) = (second & ((1 << self.shift) - 1), y << self.shift);
        let negative = second >> self.shift & 1 == 1;
        let bits = self.deciding();
        let more = u128::from(generator.word()) << 64 | u128::from(generator.word());
        let number = u128::from(second >> (64 - bits)) << (126 - bits) | more >> (2 + bits);
        // u (u + 2 base) / 2σ², of factors below 2⁴⁰ and 2⁴⁵.
        let argument = Fixed::reciprocal_of_twice_the_square(self.sigma).by(u).by(u + 2 * base);
        let accepted = u == 0 || number < argument.exp_of_minus().part_of(Fixed::ONE);
        let value = (base + u) as i64;
        (accepted && !(negative && value == 0)).then_some(if negative { -value } else { value })
    }

    /// Bits of the second word that decide.
    fn deciding(&self) -> u32 {
        DECIDING.min(63 - self.shift)
    }
}

/// Words, and what they are made to.
struct Drawn {
    words: [[u64; LANES]; 2],
    accepted: [i64; LANES],
}

/// Words that are to become candidates.
struct Candidates<'a> {
    drawn: &'a mut Drawn,
    entries: &'a [u64],
    shift: u32,
    bits: u32,
    scale: f64,
}

impl WithSimd for Candidates<'_> {
    type Output = (usize, bool);

    // (A closure would not be inlined, and compiled for the least vectors.)
    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) -> (usize, bool) {
        let Self { drawn: Drawn { words: [first, second], accepted }, entries, shift, bits, scale } = self;
        let (mask, width) = ((1_u64 << shift) - 1, 2.0_f64.powi(-(bits as i32)));
        let (mut less, mut most) = ([0_u64; LANES], [0_u64; LANES]);
        for &entry in entries {
            for ((less, most), &word) in less.iter_mut().zip(&mut most).zip(&*first) {
                *less += u64::from(word < entry);
                *most += u64::from(word <= entry);
            }
        }
        let (mut values, mut accepts) = ([0_i64; LANES], [0_u64; LANES]);
        let mut undecided = 0;
        for i in 0..LANES {
            let (u, base) = (second[i] & mask, less[i] << shift);
            let sign = -(((second[i] >> shift) & 1) as i64);
            values[i] = ((base + u) as i64 ^ sign) - sign;
            let chance = exp_minus(double(u) * double(u + 2 * base) * scale);
            // Minus nothing is thrown away.
            let chance = if base + u == 0 && sign != 0 { 0.0 } else { chance };
            let number = double(second[i] >> (64 - bits)) * width;
            let accept = u64::from(number + width <= chance * (1.0 - ROUNDING));
            let possible = u64::from(number < chance * (1.0 + ROUNDING));
            accepts[i] = accept;
            undecided |= (accept ^ possible) | (less[i] ^ most[i]);
        }
        let mut count = 0;
        for (value, accept) in values.iter().zip(&accepts) {
            accepted[count & (LANES - 1)] = *value;
            count += *accept as usize;
        }
        (count, undecided != 0)
    }
}

impl Drop for Drawn {
    fn drop(&mut self) {
        self.words.zeroize();
        self.accepted.zeroize();
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

/// Of a whole number below 2⁵².
#[inline(always)]
fn double(number: u64) -> f64 {
    const BASE: u64 = 1075 << 52;
    f64::from_bits(number | BASE) - (1_u64 << 52) as f64
}

/// e^{-t} for t from 0 to 600, to a relative 2⁻⁵⁰.
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
    use super::super::fixed::tests::big;
    use super::*;
    use num_bigint::BigUint;

    #[test]
    fn exponentials_are_exact_enough() {
        for step in 0..60_000 {
            let t = f64::from(step) / 100.0;
            assert!((exp_minus(t) / (-t).exp() - 1.0).abs() < 2.0_f64.powi(-50), "{t}");
        }
        for number in [0, 1, 77, (1 << 52) - 1] {
            assert_eq!(double(number), number as f64);
        }
    }

    /// The entries in numbers of 700 bits, by another road: each power on its own, by Taylor's series.
    #[test]
    fn tables_are_right_to_the_last_bit() {
        for sigma in [0.05_f64, 0.5, 1.0, 1.375, 1.99, 6.5, 10_000.0, 1e12] {
            let noise = DiscreteGaussian::new(sigma).unwrap();
            let small = sigma / 2_f64.powi(noise.shift as i32);
            assert!(small < 2.0 && (small >= 1.0 || noise.shift == 0));
            let power = |k: u64| big::exp_of_minus(BigUint::from(k * k), small);
            let powers: Vec<BigUint> = (0..40).map(power).collect();
            let all: BigUint = powers.iter().sum();
            for (index, entry) in noise.exact.iter().enumerate() {
                let tail: BigUint = powers[index + 1..].iter().sum();
                let exact = (tail << 126_u32) / &all;
                assert!(exact == BigUint::from(*entry) || exact == BigUint::from(*entry + 1), "{sigma} {index}");
            }
            let beyond: BigUint = powers[noise.exact.len() + 1..].iter().sum();
            assert!((beyond << 126_u32) / all <= BigUint::from(1_u32), "{sigma}");
            assert!(noise.distance() < 1e-33);
        }
    }

    /// A chance in whole numbers of 700 bits: what is accepted is decided by its first 126 bits.
    #[test]
    fn chances_are_right_to_the_last_bit() {
        for sigma in [3.7_f64, 1000.0, 123_456.789, 9e11] {
            let noise = DiscreteGaussian::new(sigma).unwrap();
            let mut generator = Generator::from_seed([1; 32]);
            for _ in 0..20 {
                let (u, y) = (generator.word() & ((1 << noise.shift) - 1), generator.below(14));
                let whole = BigUint::from(u) * BigUint::from(u + 2 * (y << noise.shift));
                let exact = big::exp_of_minus(whole, sigma) >> (700 - 126_u32);
                let argument = Fixed::reciprocal_of_twice_the_square(sigma).by(u).by(u + 2 * (y << noise.shift));
                let found = BigUint::from(argument.exp_of_minus().part_of(Fixed::ONE));
                assert!(u == 0 || found == exact || found + 1_u32 == exact, "{sigma} {u} {y}");
            }
        }
    }

    /// By more bits and exact arithmetic comes what the vectors found, as often as they could tell.
    #[test]
    fn vectors_decide_as_exact_arithmetic_does() {
        for (sigma, blocks) in [(0.3, 4), (1.5, 4), (64.5, 8), (1e5, 8), (1e12, 8)] {
            let noise = DiscreteGaussian::new(sigma).unwrap();
            let mut generator = Generator::from_seed([4; 32]);
            for _ in 0..blocks {
                let mut drawn = Drawn { words: [[0; LANES]; 2], accepted: [0; LANES] };
                drawn.words.iter_mut().for_each(|words| generator.words(words));
                let (count, undecided) = noise.candidates(&mut drawn);
                let quick = drawn.accepted;
                assert_eq!(noise.settle_all(&mut drawn, &mut generator), count, "{sigma}");
                assert!(!undecided && drawn.accepted[..count] == quick[..count], "{sigma}");
            }
        }
    }

    /// At an entry itself, and at a chance, words alone do not decide.
    #[test]
    fn what_words_cannot_tell_is_settled_by_more_of_them() {
        let noise = DiscreteGaussian::new(1000.0).unwrap();
        let mut generator = Generator::from_seed([5; 32]);
        let sure = [u64::MAX, 0];
        let undecided = |words: [u64; 2]| {
            let mut drawn = Drawn { words: [[sure[0]; LANES], [sure[1]; LANES]], accepted: [0; LANES] };
            (drawn.words[0][77], drawn.words[1][77]) = (words[0], words[1]);
            noise.candidates(&mut drawn).1
        };
        let u = 300;
        let chance = (-(u as f64).powi(2) / 2e6).exp();
        let at = |chance: f64| ((chance * 2_f64.powi(45)) as u64) << 19 | u;
        assert!(!undecided(sure));
        let cases = [[noise.entries[1], u], [u64::MAX, at(chance)]];
        for words in cases {
            assert!(undecided(words), "{words:?}");
            let seen: Vec<Option<i64>> = (0..200).map(|_| noise.settle(words, &mut generator)).collect();
            assert!(seen.iter().any(|value| *value != seen[0]), "more bits decide: {words:?}");
        }
        for near in [[noise.entries[1] - 1, u], [noise.entries[1] + 1, u], [u64::MAX, at(chance * (1.0 - 1e-12))]] {
            assert!(!undecided(near), "{near:?}");
        }
    }

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
