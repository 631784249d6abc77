//! `sahara dp audit`: whether a run hides what it claims, tried by training it again with canaries.

use std::path::{Path, PathBuf};

use clap::Args;
use sahara_privacy::accounting::{Accountant, AccountingError, Composition, Mechanism};
use sahara_privacy::audit::{AuditError, Finding, Strangers, Subject, Verdict};
use sahara_privacy::noise::Generator;
use sahara_privacy::train::{Model, Plan, TrainError};
use serde::Deserialize;
use serde_json::json;

use super::super::Context;
use super::super::signals::stop_when_interrupted;
use super::args::RunArgs;
use super::task::Task;
use super::{TrainCommand, texts, train_error};
use crate::error::{Blame, Error, Result};

/// Largest of the files that are read.
const MOST_BYTES: u64 = 1 << 20;
/// How far numbers that are the same may lie apart, in proportion: they were written down and read again.
const SAME: f64 = 1e-9;

#[derive(Args, Debug)]
#[command(after_help = "\
The run is made again by its own command, with canaries among its data, each put
in by a fair coin. Two attackers then guess how the coins fell: one sees every
noisy gradient, one the last model alone (of `table` and `classify`). More right
guesses than the claimed ε allows prove that it does not hold; then the exit
code is 4. A lower bound catches mistakes: that it is low proves nothing.
What is printed looks at the data beyond any budget, and is for its owner alone.
With fewer parameters than canaries the run is made several times.

A report that claims less than its own noise, rate and steps give is
contradicted before anything is trained. What is tried is how the command in the
run's folder trains: that the model in `release` came from it is not shown. Of
the command, only what it says of model and training is followed: nothing is
written to its --out, no budget is drawn on, no other file of rows is read than
--data.

Example:
  sahara dp audit trained --data patients.csv --canaries 2000")]
pub struct AuditArgs {
    /// Folder of a run that is done: the --out of `sahara train`
    #[arg(value_name = "DIR")]
    run: PathBuf,
    /// The data that it was trained on
    #[arg(long, value_name = "FILE")]
    data: PathBuf,
    /// How many canaries: with more of them, more can be proven
    #[arg(long, value_name = "N", default_value_t = 1000, value_parser = clap::value_parser!(u32).range(64..=1 << 20))]
    canaries: u32,
}

/// The run again, from the command in its folder.
pub fn audit(args: &AuditArgs, context: &mut Context) -> Result<()> {
    let command = texts::bytes(&args.run.join("command.json"), MOST_BYTES)?;
    let command: Vec<String> = serde_json::from_slice(&command).map_err(|error| changed(&args.run, &error))?;
    let command = super::super::training(&command).map_err(|error| changed(&args.run, &error))?;
    if command.run().is_some_and(|run| run.provable) {
        let todo = "`sahara train verify` makes its steps again";
        return Err(Error::user(format!("it was a --provable run, and canaries are not committed to: {todo}")));
    }
    let report = texts::bytes(&args.run.join("release").join("report.json"), MOST_BYTES)?;
    let report: Report = serde_json::from_slice(&report).map_err(|error| changed(&args.run, &error))?;
    let verdict = match command {
        TrainCommand::Table(mut table) => {
            table.run.test = None;
            args.network(&table.run, &table.task(&args.data)?, &report, context)
        }
        TrainCommand::Classify(mut texts) => {
            texts.run.test = None;
            let task = texts.task(&args.data, context)?;
            args.network(&texts.run, &task, &report, context)
        }
        TrainCommand::Lora(lora) => {
            let (classifier, texts, plan, ways) = lora.subject(&args.data, context)?;
            let subject = Subject { model: &classifier, examples: &texts, plan: &plan, ways, seed: lora.run.seed };
            args.run(&subject, None, &report, context)
        }
        TrainCommand::Value(_) | TrainCommand::Verify(_) => {
            Err(changed(&args.run, &"its command trains nothing that is released"))
        }
    }?;
    args.say(&verdict, &report, context)
}

impl AuditArgs {
    fn network(&self, run: &RunArgs, task: &Task, report: &Report, context: &Context) -> Result<Verdict> {
        let plan = run.plan(task)?;
        let ways = run.ways(task, &plan);
        let subject = Subject { model: &task.network, examples: &task.examples, plan: &plan, ways, seed: run.seed };
        let count = (self.canaries as usize).min(task.examples.len());
        let classes = u32::try_from(task.network.classes()).unwrap_or(u32::MAX);
        let mut coins = Generator::from_system().map_err(|error| train_error(TrainError::from(error)))?;
        let strangers = Strangers::among(&task.examples, classes, count, &mut coins)
            .map_err(|error| Error::fault_from("making examples that no data has", error))?;
        self.run(&subject, Some(&strangers), report, context)
    }

    fn run<M: Model>(
        &self,
        subject: &Subject<'_, M>,
        strangers: Option<&Strangers<M::Data>>,
        report: &Report,
        context: &Context,
    ) -> Result<Verdict> {
        let plan = subject.plan;
        report.check_plan(plan).map_err(|(name, said, planned)| {
            Error::user(format!(
                "the run in {} says {name} {said}, and with {} it would be {planned}: name the data that it was trained on, or \
                 the report was changed",
                self.run.display(),
                self.data.display()
            ))
        })?;
        report.check_claim(plan)?;
        let folder = tempfile::tempdir().map_err(|error| Error::io("making", &std::env::temp_dir(), error))?;
        let (stop, progress) = (stop_when_interrupted(), context.progress.clone());
        let told = |done: u64, all: u64| {
            progress.percent("training with canaries", done.saturating_mul(100) / all.max(1));
            !stop.is_set()
        };
        sahara_privacy::audit::audit(subject, strangers, self.canaries as usize, folder.path(), told).map_err(|error| {
            match error {
                AuditError::Stopped => Error::interrupted(),
                AuditError::Count => Error::user(format!("{error}: give other --canaries")),
                AuditError::Train(error) => train_error(error),
                error @ AuditError::Accounting(_) => Error::wrap("auditing", Blame::Fault, error),
            }
        })
    }

    fn say(&self, verdict: &Verdict, report: &Report, context: &mut Context) -> Result<()> {
        let Report { epsilon: claim, delta, .. } = *report;
        let found = [("every gradient", Some(verdict.gradients)), ("the last model", verdict.parameters)];
        if context.out.json() {
            let finding = |finding: Finding| {
                let guesses = finding.guesses;
                json!({ "epsilon": finding.epsilon, "guesses": guesses.made, "right": guesses.right, "coins": guesses.coins })
            };
            context.out.value(&json!({
                "epsilon": claim,
                "delta": delta,
                "lower_bound": verdict.epsilon(),
                "audit_delta": verdict.delta,
                "claimed_at_audit_delta": verdict.claimed,
                "confidence": 1.0 - sahara_privacy::audit::DOUBT,
                "canaries": self.canaries,
                "gradients": finding(verdict.gradients),
                "model": verdict.parameters.map(finding),
                "contradicted": verdict.contradicts(),
            }))?;
        } else {
            let (at, claimed) = (verdict.delta, verdict.claimed);
            context
                .out
                .line(&format!("claimed      ε ≤ {claim:.4} at δ = {delta:e}, and {claimed:.4} at δ = {at:.1e}"))?;
            for (who, finding) in found.into_iter().filter_map(|(who, finding)| finding.map(|finding| (who, finding))) {
                let (epsilon, right, made) = (finding.epsilon, finding.guesses.right, finding.guesses.made);
                context.out.line(&format!(
                    "lower bound  ε ≥ {epsilon:.4} by who sees {who}: {right} of {made} guesses right"
                ))?;
            }
            context.out.line(&format!(
                "             at δ = {at:.1e}, wrong in one of {:.0} audits",
                1.0 / sahara_privacy::audit::DOUBT
            ))?;
        }
        if verdict.contradicts() {
            return Err(Error::contradicted(format!(
                "the run hides less than it claims: ε is at least {:.4} at δ = {:.1e}, and not below {:.4}: do not release it",
                verdict.epsilon(),
                verdict.delta,
                verdict.claimed
            )));
        }
        Ok(())
    }
}

/// What a run's report claims of it.
#[derive(Deserialize)]
struct Report {
    epsilon: f64,
    delta: f64,
    noise_multiplier: f64,
    sample_rate: f64,
    steps: u64,
    clip: f64,
    examples: usize,
    parameters: usize,
}

impl Report {
    /// Whether it is of a run with this plan; else what is not, as it is reported and as it is planned.
    fn check_plan(&self, plan: &Plan) -> std::result::Result<(), (&'static str, f64, f64)> {
        let wish = &plan.wish;
        let same = [
            ("noise_multiplier", self.noise_multiplier, plan.noise),
            ("sample_rate", self.sample_rate, plan.rate.probability()),
            ("steps", self.steps as f64, wish.steps as f64),
            ("clip", self.clip, wish.clip.bound()),
            ("examples", self.examples as f64, wish.examples as f64),
            ("parameters", self.parameters as f64, wish.parameters as f64),
        ];
        match same.into_iter().find(|(_, said, planned)| (said - planned).abs() > SAME * planned.abs()) {
            Some(apart) => Err(apart),
            None => Ok(()),
        }
    }

    /// Refuses a claim below what a run of this plan costs at the claimed δ.
    fn check_claim(&self, plan: &Plan) -> Result<()> {
        let steps = plan.wish.steps;
        let cost = Mechanism::sampled_gaussian(plan.noise, plan.rate.probability())
            .and_then(|step| Composition::new().and(step, steps).with_distance(plan.distance(steps).min(1.0)))
            .and_then(|run| run.epsilon(self.delta, Accountant::Tightest));
        let cost = match cost {
            Err(AccountingError::Exhausted { .. }) => f64::INFINITY,
            cost => cost.map_err(|error| Error::user(format!("accounting for what the report claims: {error}")))?,
        };
        if self.epsilon >= cost * (1.0 - SAME) {
            return Ok(());
        }
        Err(Error::contradicted(format!(
            "the report claims ε = {:.4} at δ = {:e}, and its own noise, rate and steps give {cost:.4}: do not release it",
            self.epsilon, self.delta
        )))
    }
}

fn changed(run: &Path, why: &dyn std::fmt::Display) -> Error {
    Error::user(format!("{} is no folder of a run, or was changed: {why}", run.display()))
}
