//! What a run really hides: a lower bound of ε from one training (Steinke, Nasr and Jagielski, 2023), to stand beside the upper
//! bound that is claimed.
//!
//! Canaries are put into the data, each by a fair coin, and the run is made as ever. From what leaves it one guesses how the coins
//! fell; more right guesses than (ε, δ)-privacy allows prove that it does not hold. Two attackers are tried:
//!
//! * One who sees every noisy gradient and knows all other examples. Canaries are gradients of one number ([`Canary`]), the hardest to hide.
//! * One who sees the last parameters alone: membership inference by the loss of examples with random numbers and a random class,
//!   which were put in the same way ([`Strangers`]).
//!
//! An audit finds mistakes. That it finds none proves nothing: the next attacker may be better. What it says was made from the data
//! beyond any budget, and is for the data's owner alone.

mod bound;
mod canary;
mod score;
mod stranger;

use std::path::Path;

pub use bound::Guesses;
pub use canary::Canary;
use canary::{Marked, Mixed};
use score::Scores;
pub use stranger::Strangers;

use crate::accounting::{Accountant, AccountingError, Composition, Mechanism};
use crate::noise::Generator;
use crate::train::{Data, Gradients, Grid, Ledger, Model, Plan, Progress, Rule, Run, Schedule, TrainError};

/// How seldom a bound may be wrong: each that an audit gives holds with all others but for this probability.
pub const DOUBT: f64 = 1e-4;
/// Fewest canaries.
pub const LEAST: usize = 64;
/// Most canaries.
pub const MOST: usize = 1 << 20;
/// Most runs.
pub const RUNS: usize = 64;

/// What is audited: a run that was planned, and how it learned.
pub struct Subject<'a, M: Model> {
    /// The model.
    pub model: &'a M,
    /// Its examples.
    pub examples: &'a M::Data,
    /// What was planned for them.
    pub plan: &'a Plan,
    /// Rule, schedule and learning rate.
    pub ways: (Rule, Schedule, f32),
    /// Of the first parameters.
    pub seed: u64,
}

/// What an attacker achieved.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Finding {
    /// ε is at least this at the audit's δ, but for [`DOUBT`].
    pub epsilon: f64,
    /// The guesses that show it.
    pub guesses: Guesses,
}

/// What an audit found.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Verdict {
    /// δ at which both bounds hold: that of the plan, or less, because a greater one leaves room for too many right guesses.
    pub delta: f64,
    /// ε that the plan claims at this δ.
    pub claimed: f64,
    /// Of who sees every gradient.
    pub gradients: Finding,
    /// Of who sees the last parameters.
    pub parameters: Option<Finding>,
}

impl Verdict {
    /// The greatest lower bound.
    pub fn epsilon(&self) -> f64 {
        self.gradients.epsilon.max(self.parameters.map_or(0.0, |finding| finding.epsilon))
    }

    /// Whether the run hides less than it claims.
    pub fn contradicts(&self) -> bool {
        self.epsilon() > self.claimed
    }
}

/// Why an audit failed.
#[derive(Debug, thiserror::Error)]
pub enum AuditError {
    /// The run.
    #[error("training with canaries")]
    Train(#[from] TrainError),
    /// The accountant refuses.
    #[error("accounting for the audit's δ")]
    Accounting(#[from] AccountingError),
    /// It was stopped.
    #[error("the audit was stopped")]
    Stopped,
    /// There are too few canaries, or too many.
    #[error("an audit has between {LEAST} and {MOST} canaries, and at most {RUNS} for each parameter")]
    Count,
}

/// Trains once more with canaries ([`LEAST`] to [`MOST`], and at most [`RUNS`] a parameter), and attacks. The run's own code trains,
/// with the noise over the bound, the rate, the steps and the ways that are claimed. A number of a gradient has but one canary: where
/// there are fewer numbers than canaries it trains again, with other coins, and the guesses of all runs are counted together. What is
/// spent is written into `folder`, an empty one. `go_on` is told how many steps of how many are done.
///
/// # Errors
/// When training fails or is stopped, or the number of canaries is refused.
pub fn audit<M: Model>(
    subject: &Subject<'_, M>,
    strangers: Option<&Strangers<M::Data>>,
    count: usize,
    folder: &Path,
    mut go_on: impl FnMut(u64, u64) -> bool,
) -> Result<Verdict, AuditError> {
    let coins = Generator::from_system().map_err(TrainError::from)?;
    attack(subject, strangers, count, coins, &mut Real { subject, folder, go_on: &mut go_on })
}

/// Who trains, and shows each gradient that leaves: the run, or what a test has instead.
trait Trainer {
    /// One run of so many; gives the last parameters.
    fn train<M: Model>(
        &mut self,
        run: (u64, u64),
        model: &M,
        data: &M::Data,
        plan: &Plan,
        see: &mut dyn FnMut(&[f32]),
    ) -> Result<Vec<f32>, AuditError>;
}

struct Real<'a, S: Model> {
    subject: &'a Subject<'a, S>,
    folder: &'a Path,
    go_on: &'a mut dyn FnMut(u64, u64) -> bool,
}

impl<S: Model> Trainer for Real<'_, S> {
    fn train<M: Model>(
        &mut self,
        (index, runs): (u64, u64),
        model: &M,
        data: &M::Data,
        plan: &Plan,
        see: &mut dyn FnMut(&[f32]),
    ) -> Result<Vec<f32>, AuditError> {
        let ledger = Ledger::create(&self.folder.join(format!("run-{index}")), &[0; 32]).map_err(TrainError::from)?;
        let mut run = Run::begin(model, data, *plan, self.subject.ways, self.subject.seed, ledger, [0; 32])?;
        let steps = plan.wish.steps;
        let go_on = |now: Progress| (self.go_on)(index * steps + now.spent, runs * steps);
        run.train_seen::<TrainError>(go_on, |_| Ok(()), see)?;
        if run.is_done() { Ok(run.state().parameters.clone()) } else { Err(AuditError::Stopped) }
    }
}

fn attack<M: Model>(
    subject: &Subject<'_, M>,
    strangers: Option<&Strangers<M::Data>>,
    count: usize,
    mut coins: Generator,
    trainer: &mut impl Trainer,
) -> Result<Verdict, AuditError> {
    let Subject { model, plan, .. } = *subject;
    let examples = strangers.map_or(subject.examples, |strangers| &strangers.trained);
    let runs = count.div_ceil(model.parameters());
    if !(LEAST..=MOST).contains(&count) || runs > RUNS {
        return Err(AuditError::Count);
    }
    // What a run makes room for does not depend on coins.
    let most = plan.wish.examples + strangers.map_or(0, |strangers| strangers.included.len());
    let bound = plan.wish.clip.bound();
    let (mut found, mut left, mut parameters) = (score::Found::default(), count, Vec::new());
    for index in 0..runs {
        let canaries = canary::canaries(left.div_ceil(runs - index), model.parameters(), &mut coins);
        left -= canaries.len();
        let marked = Marked::new(model, &canaries, bound);
        let mixed = Mixed::new(examples, &canaries);
        let plan = widened(plan, mixed.classes().len(), most + canaries.len());
        let noise = plan.sigma * plan.grid.unit / bound;
        let mut scores = Scores::new(canaries.len(), noise, plan.rate.probability());
        let last = trainer.train((index as u64, runs as u64), &marked, &mixed, &plan, &mut |gradient| {
            let others = marked.others();
            let seen = canaries
                .iter()
                .zip(others.iter())
                .map(|(canary, other)| (f64::from(gradient[canary.place]) * plan.wish.batch as f64 - other) / bound);
            scores.see(seen);
        })?;
        found.add(&scores, &canaries);
        if index == 0 {
            parameters = last;
        }
    }
    let guessed = found.guesses();
    let members = strangers.map(|strangers| {
        let scores: Vec<f64> = losses(model, &parameters, &strangers.all).iter().map(|loss| -loss).collect();
        score::guesses(&scores, &strangers.included)
    });
    // Half of the doubt for each attacker, if there are two.
    let doubt = if members.is_some() { DOUBT / 2.0 } else { DOUBT };
    let delta = plan.wish.delta.min(doubt / (10.0 * (guessed.len() * count) as f64));
    let finding = |guesses: &[Guesses]| {
        let (epsilon, guesses) = score::best(guesses, delta, doubt)?;
        Some(Finding { epsilon, guesses })
    };
    Ok(Verdict {
        delta,
        claimed: claimed(plan, delta)?,
        gradients: finding(&guessed).ok_or(AuditError::Count)?,
        parameters: members.and_then(|guesses| finding(&guesses)),
    })
}

/// The same run over other examples, of which there may be as many as `most`: rate, steps and noise over what a neighbour changes
/// are those of the plan, and batches have room for what is put in.
fn widened(plan: &Plan, examples: usize, most: usize) -> Plan {
    let mut plan = *plan;
    let bound = plan.wish.clip.bound();
    let expected = (plan.rate.probability() * most as f64).ceil() as usize;
    let cap = if expected >= most { most } else { (2 * expected + 64).min(most) }.max(plan.cap);
    let grid = Grid::of(bound, plan.wish.parameters, cap).and_rounding(bound, cap, plan.rounding);
    plan.sigma *= grid.sensitivity / plan.grid.sensitivity;
    (plan.cap, plan.grid, plan.wish.examples) = (cap, grid, examples);
    plan
}

/// ε of the whole run at another δ.
fn claimed(plan: &Plan, delta: f64) -> Result<f64, AccountingError> {
    Composition::new()
        .and(Mechanism::sampled_gaussian(plan.noise, plan.rate.probability())?, plan.wish.steps)
        .with_distance(plan.distance(plan.wish.steps).min(1.0))?
        .epsilon(delta, Accountant::Tightest)
}

/// The loss of each example on its own.
fn losses<M: Model>(model: &M, parameters: &[f32], examples: &M::Data) -> Vec<f64> {
    let mut gradients = model.gradients(false);
    gradients.load(parameters);
    (0..examples.classes().len()).map(|index| gradients.outcome(parameters, examples, &[index]).loss).collect()
}

#[cfg(test)]
mod tests;
