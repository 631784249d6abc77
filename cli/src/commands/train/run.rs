//! A run of a network, from its plan to its release.

use sahara_privacy::train::Model as Trainable;
use sahara_privacy::train::{Examples, Ledger, Outcome, Plan, Progress, Run, TrainError, measure};

use super::super::Context;
use super::super::signals::stop_when_interrupted;
use super::args::RunArgs;
use super::folder::Folder;
use super::report::{Report, say};
use super::spending::{cost, spent_error};
use super::task::{Kind, Task, changed};
use super::{provable, train_error};
use crate::error::{Error, Result};

impl RunArgs {
    pub fn go(&self, task: Task, context: &mut Context) -> Result<()> {
        self.check_labels()?;
        task.try_release(&self.labels)?;
        if self.provable {
            return provable::go(self, &task, context);
        }
        let plan = self.plan(&task)?;
        let (rule, schedule, rate) = self.ways(&task, &plan);
        let name = |folder: &Folder| folder.name(&self.settings(&task, &plan), &task.examples);
        let Some((folder, run)) = self.spend(Some(&cost(&plan)?), name, context)? else { return Ok(()) };
        let mut run = if self.resume {
            let state = folder.checkpoint(&run, task.network.parameters(), rule)?;
            let ledger = Ledger::open(&folder.ledger(&run), &run).map_err(|error| spent_error(&error, &run))?;
            Run::resume(&task.network, &task.examples, plan, (schedule, rate), ledger, state)
        } else {
            let ledger = Ledger::create(&folder.ledger(&run), &run).map_err(|error| spent_error(&error, &run))?;
            Run::begin(&task.network, &task.examples, plan, (rule, schedule, rate), self.seed, ledger, run)
        }
        .map_err(train_error)?;
        let whole = trained(&mut run, &folder, context)?;
        self.finish(&run, &task, &folder, whole, context)
    }

    /// Tries the result, releases it, and says what it is.
    fn finish(&self, run: &Run<'_>, task: &Task, folder: &Folder, epsilon: f64, context: &mut Context) -> Result<()> {
        let parameters = &run.state().parameters;
        if parameters.iter().any(|value| !value.is_finite()) {
            return Err(Error::user("the weights have grown beyond all bounds: take a smaller --rate; ε is spent"));
        }
        changed(&task.network, &task.network.begin(self.seed), parameters)?;
        let plan = run.plan();
        let report = Report::of(plan, epsilon);
        task.release(folder, (&self.labels, parameters), &report, &|_| Ok(()), context)?;
        let tried = |examples: &Examples| measure(&task.network, parameters, examples).map_err(train_error);
        let accuracy = |outcome: Outcome, of: &Examples| outcome.right as f64 / of.len().max(1) as f64;
        let test = task.test.as_ref().map(|test| Ok::<_, Error>(accuracy(tried(test)?, test))).transpose()?;
        let own = accuracy(tried(&task.examples)?, &task.examples);
        say(&self.out, report, own, test, context)
    }

    /// All that makes a run what it is, but for the data.
    fn settings(&self, task: &Task, plan: &Plan) -> String {
        let Plan { wish, rate, cap, grid, sigma, .. } = plan;
        let (rule, schedule, learning) = self.ways(task, plan);
        format!(
            "{:?} {:?} {:?} {wish:?} {} {cap} {grid:?} {sigma} {rule:?} {schedule:?} {learning} {}",
            task.network.layers(),
            self.labels,
            match &task.kind {
                Kind::Rows { .. } => None,
                Kind::Texts { embedder, .. } => Some(embedder),
            },
            rate.bits(),
            self.seed
        )
    }
}

/// Goes on with a run until its end, and says what it has cost.
pub fn trained<M: Trainable>(run: &mut Run<'_, M>, folder: &Folder, context: &Context) -> Result<f64> {
    let plan = *run.plan();
    let stop = stop_when_interrupted();
    let whole = plan.epsilon(plan.wish.steps).map_err(|error| Error::fault(error.to_string()))?;
    context.progress.note(&format!(
        "{} rows, {} parameters, {} steps of about {} rows: noise {:.3}, ε = {whole:.4} at δ = {:e}",
        plan.wish.examples, plan.wish.parameters, plan.wish.steps, plan.wish.batch, plan.noise, plan.wish.delta
    ));
    let progress = context.progress.clone();
    let mut told = 0;
    let told_every = plan.wish.steps.div_ceil(20).max(1);
    run.train(
        |now: Progress| {
            let line = line(&now);
            if now.spent >= told + told_every || now.spent == now.steps {
                told = now.spent;
                progress.note(&line);
            } else {
                progress.percent("training", now.spent * 100 / now.steps);
            }
            !stop.is_set()
        },
        |state| folder.save(state).map_err(Failed::Saving),
    )
    .map_err(|failed| match failed {
        Failed::Saving(error) => error,
        Failed::Training(error) => train_error(error),
    })?;
    folder.draw(&run.state().curve)?;
    if !run.is_done() {
        let spent = run.state().spent;
        let said = format!("interrupted: {spent} of {} steps are spent; --resume goes on", plan.wish.steps);
        return Err(Error::interrupted().saying(said));
    }
    Ok(whole)
}

enum Failed {
    Training(TrainError),
    Saving(Error),
}

impl From<TrainError> for Failed {
    fn from(error: TrainError) -> Self {
        Self::Training(error)
    }
}

fn line(now: &Progress) -> String {
    let loss = now.loss.map_or("none seen".to_owned(), |loss| format!("{loss:.4}"));
    let left = now.left.as_secs();
    format!("step {} of {}: loss {loss}, ε so far {:.3}, {left} s left", now.spent, now.steps, now.epsilon)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn progress_says_loss_budget_and_time() {
        let now = Progress { spent: 5, steps: 10, loss: Some(0.5), epsilon: 1.25, left: Duration::from_millis(3999) };
        assert_eq!(line(&now), "step 5 of 10: loss 0.5000, ε so far 1.250, 3 s left");
    }
}
