//! A whole run: steps, what they have spent, and going on after a stop.

use std::time::{Duration, Instant};

use super::checkpoint::{Checkpoint, CheckpointError};
use super::ledger::{Ledger, LedgerError};
use super::model::{Data, Gradients, Misfit, Model, Outcome};
use super::network::Network;
use super::optimizer::{Optimizer, Rule, Schedule};
use super::plan::{Plan, PlanError};
use super::sample;
use super::step::Step;
use crate::accounting::AccountingError;
use crate::noise::{DiscreteGaussian, Generator};

/// Points of a curve, at most.
const POINTS: u64 = 400;
/// Times that a run is accounted for on its way.
const ACCOUNTED: u64 = 20;

/// A run, between two steps.
pub struct Run<'a, M: Model = Network> {
    model: &'a M,
    examples: &'a M::Data,
    plan: Plan,
    schedule: Schedule,
    rate: f32,
    state: Checkpoint,
    ledger: Ledger,
}

/// How far a run is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Progress {
    /// Steps that are spent.
    pub spent: u64,
    /// Of so many.
    pub steps: u64,
    /// Mean loss of the examples in the batches since the last time, in nats; none if there was none. It is not private.
    pub loss: Option<f64>,
    /// What the run has cost so far: an upper bound of ε at the plan's δ, that of the next twentieth of the run, by a
    /// quick account, and never above what was wished.
    pub epsilon: f64,
    /// How long the rest will take, if all goes on like this.
    pub left: Duration,
}

/// Why a run stopped.
#[derive(Debug, thiserror::Error)]
pub enum TrainError {
    /// There is no plan.
    #[error(transparent)]
    Plan(#[from] PlanError),
    /// The accountant refuses.
    #[error("accounting for the steps so far")]
    Accounting(#[from] AccountingError),
    /// What is spent cannot be written down.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// The checkpoint is none.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// Data and model do not fit.
    #[error(transparent)]
    Misfit(#[from] Misfit),
    /// The plan is for other data or another model.
    #[error("the plan is for {planned}, and there are {given}")]
    Planned {
        /// What was planned.
        planned: String,
        /// What is there.
        given: String,
    },
    /// The operating system gives no randomness.
    #[error("drawing randomness from the operating system")]
    Random(#[from] getrandom::Error),
}

impl<'a, M: Model> Run<'a, M> {
    /// At its beginning. `run` names data, model, plan and settings by a hash: whoever goes on must have the same.
    ///
    /// # Errors
    /// When data, model and plan do not fit.
    pub fn begin(
        model: &'a M,
        examples: &'a M::Data,
        plan: Plan,
        (rule, schedule, rate): (Rule, Schedule, f32),
        seed: u64,
        ledger: Ledger,
        run: [u8; 32],
    ) -> Result<Self, TrainError> {
        let state = Checkpoint {
            run,
            done: 0,
            spent: 0,
            parameters: model.begin(seed),
            optimizer: Optimizer::new(rule, model.parameters()),
            curve: Vec::new(),
        };
        Self::resume(model, examples, plan, (schedule, rate), ledger, state)
    }

    /// From a checkpoint on. What the ledger says is spent stays spent: an older checkpoint has as many steps fewer to go.
    ///
    /// # Errors
    /// When data, model and plan do not fit, or the ledger is older than the checkpoint.
    pub fn resume(
        model: &'a M,
        examples: &'a M::Data,
        plan: Plan,
        (schedule, rate): (Schedule, f32),
        ledger: Ledger,
        state: Checkpoint,
    ) -> Result<Self, TrainError> {
        model.fits(examples)?;
        if (plan.wish.examples, plan.wish.parameters) != (examples.classes().len(), model.parameters()) {
            let said = |examples: usize, parameters: usize| format!("{examples} examples and {parameters} parameters");
            return Err(TrainError::Planned {
                planned: said(plan.wish.examples, plan.wish.parameters),
                given: said(examples.classes().len(), model.parameters()),
            });
        }
        if plan.rounding < model.rounding() {
            return Err(TrainError::Planned {
                planned: format!("a model that rounds by {}", plan.rounding),
                given: format!("one that rounds by {}", model.rounding()),
            });
        }
        if state.spent > ledger.spent() {
            return Err(CheckpointError::Ahead { spent: state.spent, ledger: ledger.spent() }.into());
        }
        Ok(Self { model, examples, plan, schedule, rate, state, ledger })
    }

    /// Its state, to be kept.
    pub fn state(&self) -> &Checkpoint {
        &self.state
    }

    /// What it will have done.
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// Whether nothing is left to spend.
    pub fn is_done(&self) -> bool {
        self.ledger.spent() >= self.plan.wish.steps
    }

    /// Goes on until all steps are spent, or `go_on` says no after some of them. After each part of the run `save` has a state
    /// that is settled; what was done since the last one is lost in a crash, but stays spent.
    ///
    /// # Errors
    /// When something cannot be written down: nothing is spent that is not. Or the error of `save`.
    pub fn train<E: From<TrainError>>(
        &mut self,
        go_on: impl FnMut(Progress) -> bool,
        save: impl FnMut(&Checkpoint) -> Result<(), E>,
    ) -> Result<(), E> {
        self.train_seen(go_on, save, &mut |_| ())
    }

    /// The same, and each gradient is shown when its noise is in it.
    pub(crate) fn train_seen<E: From<TrainError>>(
        &mut self,
        mut go_on: impl FnMut(Progress) -> bool,
        mut save: impl FnMut(&Checkpoint) -> Result<(), E>,
        see: &mut dyn FnMut(&[f32]),
    ) -> Result<(), E> {
        let steps = self.plan.wish.steps;
        let part = steps.div_ceil(POINTS).max(1);
        let mut random = Generator::from_system().map_err(TrainError::from)?;
        let gaussian = DiscreteGaussian::new(self.plan.sigma).map_err(PlanError::from).map_err(TrainError::from)?;
        let mut noise = (gaussian, Generator::from_system().map_err(TrainError::from)?);
        let mut step = Step::private(self.model, self.plan.wish.clip, self.plan.grid);
        let mut gradient = vec![0.0; self.model.parameters()];
        let (began, first) = (Instant::now(), self.ledger.spent());
        let mut saved = Instant::now();
        // What an earlier process reserved and did not settle is spent.
        let mut spent = first;
        let (mut accounted, mut epsilon) = (0, 0.0);
        while spent < steps {
            let end = steps.min(spent + part);
            self.ledger.reserve(end).map_err(TrainError::from)?;
            let (mut loss, mut seen) = (0.0, 0);
            while spent < end {
                let batch = sample::batch(self.examples.classes().len(), self.plan.rate, self.plan.cap, &mut random);
                let expected = self.plan.wish.batch as f64;
                let parameters = &mut self.state.parameters;
                let outcome = step.gradient(parameters, self.examples, &batch, &mut noise, expected, &mut gradient);
                see(&gradient);
                let rate = self.rate * self.schedule.factor(self.state.done, steps);
                self.state.optimizer.change(parameters, &gradient, rate);
                loss += outcome.loss;
                seen += batch.len();
                spent += 1;
                self.state.done += 1;
            }
            self.state.spent = spent;
            let loss = (seen > 0).then(|| loss / seen as f64);
            self.state.curve.extend(loss.map(|loss| (spent, loss)));
            let each = began.elapsed().as_secs_f64() / (spent - first) as f64;
            let left = Duration::try_from_secs_f64(each * (steps - spent) as f64).unwrap_or_default();
            if spent > accounted {
                accounted = steps.min(spent.next_multiple_of(steps.div_ceil(ACCOUNTED)));
                epsilon = self.plan.quick_epsilon(accounted).map_err(TrainError::from)?.min(self.plan.wish.epsilon);
            }
            let goes_on = go_on(Progress { spent, steps, loss, epsilon, left });
            if spent == steps || !goes_on || saved.elapsed() > Duration::from_secs(10) {
                self.ledger.settle(spent).map_err(TrainError::from)?;
                save(&self.state)?;
                saved = Instant::now();
            }
            if !goes_on {
                break;
            }
        }
        Ok(())
    }
}

/// How a model does on examples. What it says of them is not private.
///
/// # Errors
/// When they do not fit the model.
pub fn measure<M: Model>(model: &M, parameters: &[f32], examples: &M::Data) -> Result<Outcome, TrainError> {
    model.fits(examples)?;
    let mut gradients = model.gradients(false);
    gradients.load(parameters);
    let all: Vec<usize> = (0..examples.classes().len()).collect();
    let (mut rest, mut sum) = (all.as_slice(), Outcome::default());
    while !rest.is_empty() {
        let (some, later) = rest.split_at(model.at_once(examples, rest).clamp(1, rest.len()));
        rest = later;
        sum.and(gradients.outcome(parameters, examples, some));
    }
    Ok(sum)
}
