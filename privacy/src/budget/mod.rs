//! How much may still be learned from a dataset, on its owner's disk: counted as the chain's contract does
//! ([`sahara_market::budget`]), kept so that no crash, and no second process, forgets what was spent.
//!
//! A job is *reserved* at its worst case, *begun* (which spends it for good, before any noise is drawn), and *settled* with a hash of
//! what came of it; what did not begin is released. [`Book`] writes each of these to disk before it is true. Whatever history its
//! file tells is played again by the contract's own rules when it is opened, so that a file which tells of more spending than was
//! granted is none.
//!
//! What is granted is ε and δ in the owner's words: the divergences become ε at half of δ, and the chances of failure of all
//! jobs, times 1 + e^ε, are at most the other half ([`Words`]).

mod book;
mod words;

pub use book::{Book, BudgetError, Job, JobState, Standing};
pub use words::Words;

use sahara_market::budget::{MAX_COST, ORDERS, QUARTERS};

/// What a job costs at worst: divergences at the contract's orders in nano (10⁻⁹ nats), and a chance of failure in 10⁻¹⁸.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cost {
    /// At each of [`QUARTERS`].
    pub costs: [u64; ORDERS],
    /// The chance that it is more.
    pub failure: u64,
}

impl Cost {
    /// From an upper bound of the divergence at an order above 1, in nats, and a chance of failure. Both are rounded up; what is no
    /// number, or too much, is the most that the contract knows; what falls with the order is raised to what came before.
    pub fn of(divergence: impl Fn(f64) -> f64, failure: f64) -> Self {
        let mut least = 0;
        let costs = QUARTERS.map(|quarters| {
            let nano = (divergence(f64::from(quarters) / 4.0) * 1e9).ceil();
            let cost = if nano <= MAX_COST as f64 { (nano as u64).max(1) } else { MAX_COST };
            least = cost.max(least);
            least
        });
        let parts = (failure * 1e18).ceil();
        Self { costs, failure: if parts <= 9e18 { (parts as u64).max(1) } else { u64::MAX } }
    }

    /// What it costs alone, in nano of ε, at ln(1/δ) in nano.
    pub fn epsilon(&self, log_inverse_delta: u64, orders: u32) -> u128 {
        sahara_market::budget::epsilon(&self.costs, log_inverse_delta, orders)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn costs_are_rounded_up_and_never_fall() {
        let cost = Cost::of(|order| if order < 3.0 { order * 1e-9 } else { f64::NAN }, 1.5e-18);
        assert_eq!(cost.costs[..3], [2, 2, 2]);
        assert_eq!((cost.costs[ORDERS - 1], cost.failure), (MAX_COST, 2));
        let falls = Cost::of(|order| 1.0 / order, 0.0);
        assert!(falls.costs.iter().all(|cost| *cost == 800_000_000) && falls.failure == 1);
        assert_eq!(Cost::of(|_| -1.0, f64::NAN), Cost { costs: [1; ORDERS], failure: u64::MAX });
    }
}
