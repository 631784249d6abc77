//! What a run costs is spent before its first step.

use sahara_privacy::accounting::{AccountingError, Composition, Mechanism, rdp};
use sahara_privacy::budget::Cost;
use sahara_privacy::train::{LedgerError, Plan};

use super::super::Context;
use super::super::data::Reserved;
use super::args::RunArgs;
use super::folder::{Folder, hex};
use crate::error::{Error, Result};

impl RunArgs {
    /// The folder of a run and its name, once all that the run may cost is spent of the dataset's budgets: before its first step. A
    /// run that goes on has spent it. Of what has no noise nothing bounds the cost (`cost` is none), and no budget lets it in. None if
    /// nothing is to be spent.
    pub fn spend(
        &self,
        cost: Option<&Cost>,
        name: impl FnOnce(&Folder) -> Result<[u8; 32]>,
        context: &mut Context,
    ) -> Result<Option<(Folder, [u8; 32])>> {
        if let Some(option) = self.draw.without_budget() {
            return Err(Error::user(format!("{option} means nothing without --dataset or --asset")));
        }
        let cost = match (self.draw.is_given(), cost) {
            (false, _) => None,
            (true, Some(cost)) => Some(cost),
            (true, None) => {
                let said = "without noise a run costs more than any budget has: leave out --dataset and --asset";
                return Err(Error::user(said));
            }
        };
        if let Some(cost) = cost.filter(|_| self.draw.only_tries()) {
            self.draw.reserve_for_rows([0; 32], cost, context)?;
            return Ok(None);
        }
        let folder = Folder::new(&self.out, &context.home, self.resume)?;
        let run = name(&folder)
            .and_then(|run| cost.map_or(Ok(()), |cost| self.draw_on_budgets(run, cost, context)).map(|()| run));
        match run {
            Ok(run) => Ok(Some((folder, run))),
            Err(refused) => {
                if !self.resume {
                    folder.forget();
                }
                Err(refused)
            }
        }
    }

    fn draw_on_budgets(&self, run: [u8; 32], cost: &Cost, context: &mut Context) -> Result<()> {
        match self.draw.reserve_for_rows(run, cost, context)? {
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

/// What all steps of a plan cost.
pub fn cost(plan: &Plan) -> Result<Cost> {
    let accounting = |error: AccountingError| Error::fault(error.to_string());
    let step = Mechanism::sampled_gaussian(plan.noise, plan.rate.probability()).map_err(accounting)?;
    let steps = Composition::new().and(step, plan.wish.steps);
    Ok(cost_of(&steps, plan.distance(plan.wish.steps)))
}

/// What these steps cost, which may be so far from what is accounted for.
pub fn cost_of(steps: &Composition, distance: f64) -> Cost {
    Cost::of(|order| rdp::divergence(steps, order), distance)
}

pub fn spent_error(error: &LedgerError, run: &[u8; 32]) -> Error {
    match error {
        LedgerError::File { path, source, .. } if source.kind() == std::io::ErrorKind::NotFound => {
            Error::user(format!(
                "what run {} has spent is not known here: bring the ledger {} from where it began",
                hex(&run[..8]),
                path.display()
            ))
        }
        LedgerError::File { path, source, doing } => {
            Error::io(doing, path, std::io::Error::new(source.kind(), source.to_string()))
        }
        other => Error::user(other.to_string()),
    }
}
