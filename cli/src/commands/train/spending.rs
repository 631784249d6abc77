//! What a run costs is spent before its first step.

use sahara_privacy::accounting::{AccountingError, Composition, Mechanism, rdp};
use sahara_privacy::budget::Cost;
use sahara_privacy::train::Plan;

use super::super::Context;
use super::super::data::Reserved;
use super::args::RunArgs;
use super::folder;
use crate::error::{Error, Result};

impl RunArgs {
    /// Spends the whole run of the dataset's budgets, before its first step; a run that goes on has spent it.
    pub fn spend(&self, run: [u8; 32], plan: &Plan, context: &mut Context) -> Result<()> {
        if let Some(option) = self.draw.without_budget() {
            return Err(Error::user(format!("{option} means nothing without --dataset or --asset")));
        }
        if !self.draw.is_given() {
            return Ok(());
        }
        let accounting = |error: AccountingError| Error::fault(error.to_string());
        let step = Mechanism::sampled_gaussian(plan.noise, plan.rate.probability()).map_err(accounting)?;
        let steps = Composition::new().and(step, plan.wish.steps);
        let cost = Cost::of(|order| rdp::divergence(&steps, order), plan.distance(plan.wish.steps));
        match self.draw.reserve_for_rows(run, &cost, context)? {
            Reserved::Tried => Ok(()),
            Reserved::Draw(mut draw) => {
                let begun = draw.begin(context);
                if begun.is_err() {
                    draw.release(context);
                }
                begun
            }
        }
    }
}

pub fn spent_error(error: &sahara_privacy::train::LedgerError, run: &[u8; 32]) -> Error {
    use sahara_privacy::train::LedgerError;
    match error {
        LedgerError::File { path, source, .. } if source.kind() == std::io::ErrorKind::NotFound => {
            Error::user(format!(
                "what run {} has spent is not known here: bring the ledger {} from where it began",
                folder::hex(&run[..8]),
                path.display()
            ))
        }
        LedgerError::File { path, source, doing } => {
            Error::io(doing, path, std::io::Error::new(source.kind(), source.to_string()))
        }
        other => Error::user(other.to_string()),
    }
}
