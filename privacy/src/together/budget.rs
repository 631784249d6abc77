//! A provider's own account of all rounds that it took part in, on its own disk: written down before anything is sent.

use std::path::Path;

use super::account::{Spent, TogetherError};
use crate::train::{Ledger, LedgerError};

/// Names a provider's ledger among others.
const NAME: &str = "sahara 2026 provider of rounds v1";

/// What a provider has spent, and what it may.
#[derive(Debug)]
pub struct Budget {
    ledger: Ledger,
    epsilon: f64,
    delta: f64,
}

/// Why nothing may be spent.
#[derive(Debug, thiserror::Error)]
pub enum BudgetError {
    /// It would be more than the provider allows.
    #[error(
        "the round would take what your rows have spent from ε = {spent:.3} to {would:.3} (δ = {delta:e}), and you allow \
         {limit}: nothing is sent"
    )]
    Exhausted {
        /// Before.
        spent: f64,
        /// After.
        would: f64,
        /// At which δ.
        delta: f64,
        /// What is allowed.
        limit: f64,
    },
    /// The ledger.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// The account.
    #[error(transparent)]
    Together(#[from] TogetherError),
}

impl Budget {
    /// The account at `path` of the provider with this key, which is begun if there is none; with what may be spent in all.
    ///
    /// # Errors
    /// When it is in use, another's, or was changed.
    pub fn open(path: &Path, provider: &[u8; 32], epsilon: f64, delta: f64) -> Result<Self, BudgetError> {
        let name = blake3::derive_key(NAME, provider);
        let ledger = match Ledger::open(path, &name) {
            Err(LedgerError::File { source, .. }) if source.kind() == std::io::ErrorKind::NotFound => {
                Ledger::create(path, &name)?
            }
            opened => opened?,
        };
        Ok(Self { ledger, epsilon, delta })
    }

    /// ε spent so far.
    ///
    /// # Errors
    /// When δ is out of range.
    pub fn spent(&self) -> Result<f64, BudgetError> {
        Ok(Spent::from_units(self.ledger.spent()).epsilon(self.delta)?)
    }

    /// Spends a round, for good: whatever becomes of it. ε after it.
    ///
    /// # Errors
    /// [`BudgetError::Exhausted`] when that is more than is allowed; or the file system refuses. Then nothing may be sent.
    pub fn spend(&mut self, round: Spent) -> Result<f64, BudgetError> {
        let after = Spent::from_units(self.ledger.spent()).and(round);
        let would = after.epsilon(self.delta)?;
        if would.is_nan() || would > self.epsilon {
            let (spent, delta, limit) = (self.spent()?, self.delta, self.epsilon);
            return Err(BudgetError::Exhausted { spent, would, delta, limit });
        }
        self.ledger.reserve(after.units())?;
        Ok(would)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_provider_spends_no_more_than_it_allows_and_forgets_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("spent");
        let round = Spent::round(5000, 1000).unwrap();
        let three = round.times(3).epsilon(1e-6).unwrap();
        let mut budget = Budget::open(&path, &[1; 32], three, 1e-6).unwrap();
        assert_eq!(budget.spent().unwrap(), 0.0);
        assert!(budget.spend(round).unwrap() < budget.spend(round).unwrap());
        drop(budget);
        let mut budget = Budget::open(&path, &[1; 32], three, 1e-6).unwrap();
        assert_eq!(budget.spend(round).unwrap(), three);
        let refused = budget.spend(round).unwrap_err();
        assert!(refused.to_string().contains("nothing is sent"), "{refused}");
        assert_eq!(budget.spent().unwrap(), three, "what is refused is not spent");
        assert!(matches!(Budget::open(&path, &[1; 32], 9.0, 1e-6), Err(BudgetError::Ledger(LedgerError::Busy(_)))));
        drop(budget);
        assert!(Budget::open(&path, &[2; 32], 9.0, 1e-6).is_err(), "another's");
        assert!(
            Budget::open(&path, &[1; 32], 9.0, 1e-6).unwrap().spend(round).is_ok(),
            "whoever allows more spends more"
        );
    }
}
