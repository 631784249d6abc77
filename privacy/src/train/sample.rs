//! Batches: each example is in one with the same probability, whatever happens to the others.

use crate::noise::Generator;

/// The probability with which an example is in a batch, in units of 2⁻⁶⁴; the greatest stands for certainty.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate(u64);

impl Rate {
    /// The nearest to `expected` of `examples`; certainty if it is as many or more.
    pub fn of(expected: u64, examples: u64) -> Self {
        if expected >= examples {
            return Self(u64::MAX);
        }
        let rate = (u128::from(expected) << 64) / u128::from(examples.max(1));
        Self(u64::try_from(rate).unwrap_or(u64::MAX))
    }

    /// As it was written.
    pub fn from_bits(bits: u64) -> Self {
        Self(bits)
    }

    /// In units of 2⁻⁶⁴.
    pub fn bits(self) -> u64 {
        self.0
    }

    /// As a number for the accountant, never below what is drawn with.
    pub fn probability(self) -> f64 {
        if self.0 == u64::MAX {
            return 1.0;
        }
        (self.0 as f64 / 2.0_f64.powi(64)).next_up().min(1.0)
    }
}

/// The positions of the examples of a batch, in order; none at all is a batch too. If more than `cap` were drawn, `cap` of
/// them, chosen evenly.
pub fn batch(examples: usize, rate: Rate, cap: usize, random: &mut Generator) -> Vec<usize> {
    if rate.0 == u64::MAX {
        return (0..examples).collect();
    }
    let mut batch: Vec<usize> = (0..examples).filter(|_| random.word() < rate.0).collect();
    if batch.len() > cap {
        for place in 0..cap {
            let other = place as u64 + random.below((batch.len() - place) as u64);
            batch.swap(place, usize::try_from(other).unwrap_or(place));
        }
        batch.truncate(cap);
        batch.sort_unstable();
    }
    batch
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_and_members_are_those_of_independent_coins() {
        let mut random = Generator::from_seed([5; 32]);
        let (examples, rounds) = (60, 20_000);
        let rate = Rate::of(3, 60);
        let (mut sizes, mut each, mut both) = (vec![0_u32; examples + 1], vec![0_u32; examples], 0_u32);
        for _ in 0..rounds {
            let batch = batch(examples, rate, examples, &mut random);
            sizes[batch.len()] += 1;
            batch.iter().for_each(|&member| each[member] += 1);
            both += u32::from(batch.contains(&7) && batch.contains(&8));
        }
        // The binomial distribution of 60 coins at 1/20: mean 3, none with 0.0461, variance 2.85.
        let mean = sizes.iter().zip(0..).map(|(&n, size)| f64::from(n * size)).sum::<f64>() / f64::from(rounds);
        let second = sizes.iter().zip(0_u32..).map(|(&n, size)| f64::from(n) * f64::from(size).powi(2)).sum::<f64>();
        let variance = second / f64::from(rounds) - mean * mean;
        assert!((mean - 3.0).abs() < 0.06 && (variance - 2.85).abs() < 0.15, "{mean} {variance}");
        assert!((f64::from(sizes[0]) / f64::from(rounds) - 0.046_07).abs() < 0.008, "{}", sizes[0]);
        assert!(each.iter().all(|&n| (f64::from(n) - 1000.0).abs() < 160.0), "{each:?}");
        assert!((f64::from(both) - 50.0).abs() < 36.0, "pairs are independent: {both}");
    }

    #[test]
    fn certainty_takes_all_and_a_cap_cuts_evenly() {
        let mut random = Generator::from_seed([6; 32]);
        assert_eq!(batch(5, Rate::of(5, 5), 5, &mut random), [0, 1, 2, 3, 4]);
        assert_eq!(Rate::of(5, 5).probability(), 1.0);
        assert!(Rate::of(1, 3).probability() >= 1.0 / 3.0);
        let mut counts = [0; 10];
        for _ in 0..2000 {
            let cut = batch(10, Rate::of(9, 10), 4, &mut random);
            assert!(cut.len() <= 4 && cut.is_sorted());
            cut.iter().for_each(|&member| counts[member] += 1);
        }
        assert!(counts.iter().all(|&n| (650..950).contains(&n)), "{counts:?}");
    }
}
