//! What each contributor's data is worth to a model, on a validation set: leave-one-out, the Shapley value (Ghorbani and Zou, 2019),
//! and that of nearest neighbours, which has a closed form (Jia et al., 2019).
//!
//! Nothing here is differentially private: a value can tell of a single row. And values are for sharing revenue among people who do not
//! cheat: whoever copies another's rows takes a part of their value.

mod head;
mod neighbours;
mod shapley;

pub use head::{Head, HeadError};
pub use neighbours::neighbours;
pub use shapley::{MOST_EXACT, Sampling, exact, leave_one_out, sampled};

/// Most contributors: as many as an asset has receipts for.
pub const MOST: usize = 64;
/// What shares sum up to, in hundredths of a percent.
pub const WHOLE: u16 = 10_000;

/// Some of the contributors: a bit each, the first the least.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Coalition(pub u64);

impl Coalition {
    /// Of nobody.
    pub const NOBODY: Self = Self(0);

    /// Of all of so many, at most [`MOST`].
    pub fn all(contributors: usize) -> Self {
        Self(u64::MAX.checked_shr(64_u32.saturating_sub(contributors as u32)).unwrap_or(0))
    }

    /// With one more.
    #[must_use]
    pub fn with(self, contributor: usize) -> Self {
        Self(self.0 | 1 << contributor)
    }

    /// Without one.
    #[must_use]
    pub fn without(self, contributor: usize) -> Self {
        Self(self.0 & !(1 << contributor))
    }

    /// Whether it has one.
    pub fn has(self, contributor: usize) -> bool {
        self.0 >> contributor & 1 == 1
    }

    /// How many it has.
    pub fn size(self) -> usize {
        self.0.count_ones() as usize
    }
}

/// Values, a number a contributor, and how far each may be off.
#[derive(Clone, Debug, PartialEq)]
pub struct Values {
    /// What each contributor adds to the utility.
    pub values: Vec<f64>,
    /// All are within this, but for a probability of [`Sampling::DOUBT`]; 0 of values that are exact. A sample that broke off
    /// early ([`Sampling::tolerance`]) is not counted in it.
    pub error: f64,
    /// How many coalitions were tried.
    pub tried: usize,
}

/// Shares of [`WHOLE`] that are as values, by largest remainder, of equal ones the first's; what is below 0 counts as 0. None if no
/// value is above 0, or one is no number.
pub fn shares(values: &[f64]) -> Option<Vec<u16>> {
    let sum: f64 = values.iter().map(|value| value.max(0.0)).sum();
    if !(sum > 0.0 && sum.is_finite()) || values.iter().any(|value| value.is_nan()) {
        return None;
    }
    let exact: Vec<f64> = values.iter().map(|value| value.max(0.0) / sum * f64::from(WHOLE)).collect();
    let mut shares: Vec<u16> = exact.iter().map(|share| share.floor() as u16).collect();
    let given: u32 = shares.iter().map(|share| u32::from(*share)).sum();
    let mut order: Vec<usize> = (0..values.len()).collect();
    let rest = |i: usize| exact[i] - exact[i].floor();
    order.sort_by(|a, b| rest(*b).total_cmp(&rest(*a)));
    for index in
        order.into_iter().filter(|i| exact[*i] > 0.0).cycle().take(u32::from(WHOLE).saturating_sub(given) as usize)
    {
        shares[index] += 1;
    }
    Some(shares)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_all_of_the_whole_and_losers_have_none() {
        assert_eq!(shares(&[1.0, 1.0, 1.0]).unwrap(), [3334, 3333, 3333]);
        assert_eq!(shares(&[0.5, -3.0, 0.5]).unwrap(), [5000, 0, 5000]);
        assert_eq!(shares(&[1e-300, 0.0]).unwrap(), [10_000, 0]);
        for none in [&[0.0, -1.0][..], &[], &[f64::NAN, 1.0], &[f64::INFINITY]] {
            assert_eq!(shares(none), None);
        }
        assert_eq!((Coalition::all(3).0, Coalition::all(0).0, Coalition::all(64).0), (7, 0, u64::MAX));
    }

    proptest::proptest! {
        #[test]
        fn shares_sum_up_and_keep_the_order(values in proptest::collection::vec(-1.0..1.0_f64, 1..65)) {
            let Some(shares) = shares(&values) else {
                assert!(values.iter().all(|value| *value <= 0.0));
                return Ok(());
            };
            assert_eq!(shares.iter().map(|share| u32::from(*share)).sum::<u32>(), u32::from(WHOLE));
            for (i, value) in values.iter().enumerate() {
                assert!(*value > 0.0 || shares[i] == 0);
                assert!((0..i).all(|j| values[j] >= *value || shares[j] <= shares[i]));
            }
        }
    }
}
