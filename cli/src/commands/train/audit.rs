//! `sahara dp audit`: whether a run hides what it claims, tried by training it again with canaries.

use std::path::{Path, PathBuf};

use clap::Args;
use sahara_privacy::audit::{AuditError, Finding, Strangers, Subject, Verdict};
use sahara_privacy::noise::Generator;
use sahara_privacy::train::{Model, TrainError};
use serde_json::{Value, json};

use super::super::Context;
use super::super::signals::stop_when_interrupted;
use super::args::RunArgs;
use super::task::Task;
use super::{TrainCommand, train_error};
use crate::error::{Blame, Error, Result};

/// Largest of the files that are read.
const MOST_BYTES: u64 = 1 << 20;

#[derive(Args, Debug)]
#[command(after_help = "\
The run is made again by its own command, with canaries among its data, each put
in by a fair coin. Two attackers then guess how the coins fell: one sees every
noisy gradient, one the last model alone (of `table` and `classify`). More right
guesses than the claimed ε allows prove that it does not hold; then the exit
code is 4. A lower bound catches mistakes: that it is low proves nothing.
What is printed looks at the data beyond any budget, and is for its owner alone.
With fewer parameters than canaries the run is made several times.

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
    let lines = small(&args.run.join("command.json"))?;
    let command: Vec<String> = serde_json::from_str(&lines).map_err(|error| changed(&args.run, &error.to_string()))?;
    let command = super::super::training(&command).map_err(|error| changed(&args.run, &error))?;
    let report = small(&args.run.join("release").join("report.json"))?;
    let report: Value = serde_json::from_str(&report).map_err(|error| changed(&args.run, &error.to_string()))?;
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
            Err(changed(&args.run, "its command trains nothing that is released"))
        }
    }?;
    args.say(&verdict, &report, context)
}

impl AuditArgs {
    fn network(&self, run: &RunArgs, task: &Task, report: &Value, context: &Context) -> Result<Verdict> {
        if run.provable {
            let why = "it was a --provable run, and canaries are not committed to: `sahara train verify` makes its steps again";
            return Err(Error::user(why));
        }
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
        report: &Value,
        context: &Context,
    ) -> Result<Verdict> {
        let plan = subject.plan;
        let same = [
            ("noise_multiplier", plan.noise),
            ("sample_rate", plan.rate.probability()),
            ("steps", plan.wish.steps as f64),
            ("examples", plan.wish.examples as f64),
            ("parameters", plan.wish.parameters as f64),
        ];
        for (name, planned) in same {
            let reported = report[name].as_f64().unwrap_or(f64::NAN);
            let apart = (reported - planned).abs();
            if apart.is_nan() || apart > 1e-9 * planned.abs() {
                return Err(Error::user(format!(
                    "the run in {} says {name} {reported}, and with {} it would be {planned}: name the data that it was trained on",
                    self.run.display(),
                    self.data.display()
                )));
            }
        }
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

    fn say(&self, verdict: &Verdict, report: &Value, context: &mut Context) -> Result<()> {
        let claim = report["epsilon"].as_f64().unwrap_or(f64::NAN);
        let delta = report["delta"].as_f64().unwrap_or(f64::NAN);
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

fn small(path: &Path) -> Result<String> {
    let size = std::fs::metadata(path).map_err(|error| Error::io("reading", path, error))?.len();
    if size > MOST_BYTES {
        return Err(Error::user(format!("{} is no file of a run", path.display())));
    }
    std::fs::read_to_string(path).map_err(|error| Error::io("reading", path, error))
}

fn changed(run: &Path, why: &str) -> Error {
    Error::user(format!("{} is no folder of a run, or was changed: {why}", run.display()))
}
