//! Values from a utility of coalitions, whatever that is.

use std::collections::HashMap;

use super::{Coalition, Values};
use crate::noise::Generator;

/// Most contributors whose values are computed from all coalitions.
pub const MOST_EXACT: usize = 16;

/// How orders of contributors are drawn.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sampling {
    /// How many orders.
    pub orders: usize,
    /// An order breaks off when what is missing to the utility of all is less, and who comes later adds nothing in it; 0 for never.
    pub tolerance: f64,
}

impl Sampling {
    /// How seldom [`Values::error`] may not hold.
    pub const DOUBT: f64 = 0.01;
}

/// What is lost without each.
///
/// # Errors
/// Those of the utility.
pub fn leave_one_out<E>(
    contributors: usize,
    mut utility: impl FnMut(Coalition) -> Result<f64, E>,
) -> Result<Values, E> {
    let all = Coalition::all(contributors);
    let whole = utility(all)?;
    let values = (0..contributors).map(|i| Ok(whole - utility(all.without(i))?)).collect::<Result<_, E>>()?;
    Ok(Values { values, error: 0.0, tried: contributors + 1 })
}

/// Shapley values from all coalitions of at most [`MOST_EXACT`] contributors: what one adds, averaged over all orders.
///
/// # Errors
/// Those of the utility.
pub fn exact<E>(contributors: usize, utility: impl FnMut(Coalition) -> Result<f64, E>) -> Result<Values, E> {
    let contributors = contributors.min(MOST_EXACT);
    let known = (0..1 << contributors).map(Coalition).map(utility).collect::<Result<Vec<f64>, E>>()?;
    // One over: contributors × how many coalitions of that size the others form.
    let mut weights = vec![1.0 / contributors.max(1) as f64];
    for size in 1..contributors {
        let last = weights[size - 1];
        weights.push(last * size as f64 / (contributors - size) as f64);
    }
    let value = |i: usize| {
        let others = (0..1_u64 << contributors).map(Coalition).filter(|coalition| !coalition.has(i));
        others.map(|c| weights[c.size()] * (known[c.with(i).0 as usize] - known[c.0 as usize])).sum()
    };
    Ok(Values { values: (0..contributors).map(value).collect(), error: 0.0, tried: known.len() })
}

/// Shapley values of at most 64 contributors from orders that are drawn (truncated Monte Carlo). For utilities from 0 to 1 all values are
/// within [`Values::error`] together (the empirical Bernstein bound of Maurer and Pontil, 2009).
///
/// # Errors
/// Those of the utility.
pub fn sampled<E>(
    contributors: usize,
    sampling: Sampling,
    random: &mut Generator,
    mut utility: impl FnMut(Coalition) -> Result<f64, E>,
) -> Result<Values, E> {
    let contributors = contributors.min(super::MOST);
    let mut known: HashMap<Coalition, f64> = HashMap::new();
    let mut of = |coalition: Coalition| match known.get(&coalition) {
        Some(utility) => Ok((*utility, known.len())),
        None => {
            let found = utility(coalition)?;
            known.insert(coalition, found);
            Ok((found, known.len()))
        }
    };
    let (whole, mut tried) = of(Coalition::all(contributors))?;
    let (mut sums, mut squares) = (vec![0.0; contributors], vec![0.0; contributors]);
    let orders = sampling.orders.max(2);
    let mut order: Vec<usize> = (0..contributors).collect();
    for _ in 0..orders {
        for place in 0..contributors {
            let other = place + random.below((contributors - place) as u64) as usize;
            order.swap(place, other);
        }
        let (mut coalition, mut before) = (Coalition::NOBODY, of(Coalition::NOBODY)?.0);
        for &next in &order {
            if (whole - before).abs() < sampling.tolerance {
                break;
            }
            coalition = coalition.with(next);
            let (after, all) = of(coalition)?;
            tried = all;
            sums[next] += after - before;
            squares[next] += (after - before).powi(2);
            before = after;
        }
    }
    let count = orders as f64;
    let doubt = (4.0 * contributors.max(1) as f64 / Sampling::DOUBT).ln();
    let error = |(sum, square): (&f64, &f64)| {
        let variance = (square - sum * sum / count).max(0.0) / (count - 1.0);
        // What an order gives lies between -1 and 1.
        (2.0 * variance * doubt / count).sqrt() + 2.0 * 7.0 * doubt / (3.0 * (count - 1.0))
    };
    let error = sums.iter().zip(&squares).map(error).fold(0.0, f64::max);
    Ok(Values { values: sums.iter().map(|sum| sum / count).collect(), error, tried })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Gloves: the first two have a left one, the others a right one; a pair is worth 1, at most 3 pairs.
    fn gloves(coalition: Coalition) -> Result<f64, ()> {
        let left = (0..2).filter(|i| coalition.has(*i)).count();
        Ok(left.min(coalition.size() - left) as f64 / 3.0)
    }

    #[test]
    fn the_shapley_value_of_gloves_is_that_of_the_books() {
        let found = exact(3, gloves).unwrap();
        // Two left, one right: 1/6, 1/6, 4/6 of a pair.
        for (value, want) in found.values.iter().zip([1.0 / 18.0, 1.0 / 18.0, 4.0 / 18.0]) {
            assert!((value - want).abs() < 1e-12, "{found:?}");
        }
        assert_eq!((found.tried, found.error), (8, 0.0));
        let lost = leave_one_out(3, gloves).unwrap();
        assert_eq!(lost.values, [0.0, 0.0, 1.0 / 3.0]);
    }

    #[test]
    fn orders_that_are_drawn_come_within_their_error() {
        let exact = exact(6, gloves).unwrap();
        for (orders, tolerance, most) in [(400, 0.0, 0.15), (4000, 0.0, 0.03), (4000, 0.01, 0.03)] {
            let sampling = Sampling { orders, tolerance };
            let found = sampled(6, sampling, &mut Generator::from_seed([1; 32]), gloves).unwrap();
            let off = found.values.iter().zip(&exact.values).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
            assert!(off <= found.error && found.tried <= 64, "{off} {found:?}");
            assert!(found.error < most, "{found:?}");
            let sum: f64 = found.values.iter().sum();
            assert!((sum - gloves(Coalition::all(6)).unwrap()).abs() < 0.02, "{sum}");
        }
    }

    proptest::proptest! {
        /// Of any game: values sum up to what all have over nobody, who adds nothing has none, who is alike has alike.
        #[test]
        fn values_are_fair(utilities in proptest::collection::vec(0.0..1.0_f64, 16)) {
            // The fourth adds nothing; the second and the third are alike.
            let game = |coalition: Coalition| -> Result<f64, ()> {
                let (first, alike) = (coalition.0 & 1, (coalition.0 >> 1 & 1) + (coalition.0 >> 2 & 1));
                Ok(utilities[(first * 4 + alike) as usize])
            };
            let Values { values, .. } = exact(4, game).unwrap();
            let gained = game(Coalition::all(4)).unwrap() - game(Coalition::NOBODY).unwrap();
            assert!((values.iter().sum::<f64>() - gained).abs() < 1e-12);
            assert!(values[3].abs() < 1e-12 && (values[1] - values[2]).abs() < 1e-12);
        }
    }

    #[test]
    fn a_utility_that_fails_ends_it() {
        assert_eq!(exact(2, |_| Err(7)), Err(7));
        assert_eq!(leave_one_out(2, |_| Err(7)), Err(7));
        let sampling = Sampling { orders: 3, tolerance: 0.0 };
        assert_eq!(sampled(2, sampling, &mut Generator::from_seed([1; 32]), |_| Err(7)), Err(7));
        assert!(exact(0, gloves).unwrap().values.is_empty());
    }
}
