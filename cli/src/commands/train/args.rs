//! What every run is told, and the plan that it means.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use sahara_privacy::train::{Clip, Plan, Rule, Schedule, Wish};

use super::super::data::DrawArgs;
use super::task::Task;
use crate::error::{Blame, Error, Result};

/// What every run is told.
#[derive(Args, Debug)]
pub struct RunArgs {
    /// The labels, all of them
    #[arg(long, value_name = "A,B,…", value_delimiter = ',', required = true)]
    pub labels: Vec<String>,
    /// What the run may cost
    #[arg(long, value_name = "E", required_unless_present = "without_privacy")]
    pub epsilon: Option<f64>,
    /// The δ beside it; below 1 in the number of rows
    #[arg(long, value_name = "D", required_unless_present = "without_privacy")]
    pub delta: Option<f64>,
    /// Train a linear model in integers, and commit to each step
    #[arg(long)]
    pub provable: bool,
    /// Add no noise: what comes out then bounds nothing (with --provable)
    #[arg(long, requires = "provable", conflicts_with_all = ["epsilon", "delta"])]
    pub without_privacy: bool,
    /// Times that a row is seen on average [default: 60; 10 for lora]
    #[arg(long, value_name = "N")]
    pub epochs: Option<f64>,
    /// Rows in a batch on average [default: an 8th of all, at most 1024]
    #[arg(long, value_name = "N")]
    pub batch: Option<u32>,
    /// How far a row may move the model in a step
    #[arg(long, value_name = "C", default_value_t = 1.0)]
    pub clip: f64,
    /// Scale the gradient of every row to the bound, not only the longer ones
    #[arg(long)]
    pub automatic: bool,
    /// Learning rate [default: what the plan's noise allows for sgd, 0.01 for
    /// adamw; 0.001 for lora, 0.0001 with --all]
    #[arg(long, value_name = "R")]
    pub rate: Option<f32>,
    /// How the model is changed [default: sgd; adamw for lora]
    #[arg(long, value_enum)]
    pub optimizer: Option<RuleArg>,
    /// How the learning rate changes
    #[arg(long, value_enum, default_value_t = ScheduleArg::Linear)]
    pub schedule: ScheduleArg,
    /// Seed of the first weights; batches and noise come from the system
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub seed: u64,
    /// Rows to try the result on; what that says of them is not private
    #[arg(long, value_name = "FILE")]
    pub test: Option<PathBuf>,
    /// Folder for the result
    #[arg(long, value_name = "DIR")]
    pub out: PathBuf,
    /// Go on with a run that was stopped
    #[arg(long)]
    pub resume: bool,
    #[command(flatten)]
    pub draw: DrawArgs,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum RuleArg {
    /// Stochastic gradient descent
    Sgd,
    /// Adam with decoupled weight decay
    Adamw,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ScheduleArg {
    /// Not at all
    Constant,
    /// Down to 0 on a line
    Linear,
    /// Down to 0 on half a cosine
    Cosine,
}

impl RunArgs {
    pub fn plan(&self, task: &Task) -> Result<Plan> {
        let wish = self.wish(task.examples.len(), task.network.parameters(), Wish::EPOCHS)?;
        Plan::new(wish).map_err(|error| Error::wrap("planning the run", Blame::User, error))
    }

    pub fn wish(&self, examples: usize, parameters: usize, epochs: f64) -> Result<Wish> {
        let (batch, steps) = self.steps(examples, epochs)?;
        let (Some(epsilon), Some(delta)) = (self.epsilon, self.delta) else {
            return Err(Error::user("give --epsilon and --delta: only a --provable run can do without"));
        };
        let clip = if self.automatic { Clip::Automatic(self.clip) } else { Clip::Flat(self.clip) };
        Ok(Wish { epsilon, delta, examples, batch, steps, clip, parameters })
    }

    /// Rows in a batch on average, and steps.
    pub fn steps(&self, examples: usize, epochs: f64) -> Result<(usize, u64)> {
        let batch = self.batch.map_or(Wish::usual_batch(examples), |batch| batch as usize);
        let epochs = self.epochs.unwrap_or(epochs);
        if !(epochs > 0.0 && epochs <= 1e6) {
            return Err(Error::user("--epochs is a number above 0, at most a million"));
        }
        Ok((batch, Wish::steps(epochs, examples, batch)))
    }

    pub fn check_labels(&self) -> Result<()> {
        let twice = self.labels.iter().enumerate().any(|(i, label)| self.labels[..i].contains(label));
        if twice { Err(Error::user("a label is given twice")) } else { Ok(()) }
    }

    pub fn schedule(&self) -> Schedule {
        match self.schedule {
            ScheduleArg::Constant => Schedule::Constant,
            ScheduleArg::Linear => Schedule::Linear,
            ScheduleArg::Cosine => Schedule::Cosine,
        }
    }

    pub fn ways(&self, task: &Task, plan: &Plan) -> (Rule, Schedule, f32) {
        let (rule, rate) = match self.optimizer.unwrap_or(RuleArg::Sgd) {
            RuleArg::Sgd => (
                Rule::Sgd { momentum: 0.0 },
                self.rate.unwrap_or_else(|| plan.rate(task.network.inputs(), task.network.layers().len())),
            ),
            RuleArg::Adamw => (Rule::ADAM, self.rate.unwrap_or(0.01)),
        };
        (rule, self.schedule(), rate)
    }
}
