//! `--provable`: a linear model trained in integers, each step committed to, and `sahara train verify`, which makes the steps again.

use std::path::{Path, PathBuf};

use clap::Args;
use sahara::home::write_atomic;
use sahara_privacy::provable::{Definition, ProvableError, Rows, Secret, Transcript, train, verify};
use sahara_privacy::train::sample::Rate;
use sahara_privacy::train::{Ledger, Wish};
use serde::Serialize;
use zeroize::Zeroizing;

use super::args::{RuleArg, RunArgs};
use super::folder::{Folder, hex};
use super::spending::{cost_of, spent_error};
use super::task::{Task, changed};
use crate::commands::Context;
use crate::commands::signals::stop_when_interrupted;
use crate::error::{Blame, Error, Result};

/// In a run's folder, for its owner alone: the rows as integers, and what batches and noise come from.
const ROWS: &str = "rows";
const SECRET: &str = "secret";
/// In what is released.
const TRANSCRIPT: &str = "transcript";
/// Largest file of rows, and largest transcript.
const MOST_ROWS: u64 = 1 << 33;
const MOST_TRANSCRIPT: u64 = 1 << 30;
/// Learning rate of a run without noise.
const RATE: f32 = 1.0;

#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  sahara train verify trained
  sahara train verify trained --transcript somebody-showed.this --step 77

The steps are made again from the rows and the secret that lie in the run's
folder. The first that is not what the transcript says is named, and what of it:
batch, gradient, noise or weights. That the secret was drawn by chance is not
shown: whoever trained could have tried many.")]
pub struct VerifyArgs {
    /// The --out of a provable run
    #[arg(value_name = "DIR")]
    run: PathBuf,
    /// A transcript to be held against it [default: the one that it released]
    #[arg(long, value_name = "FILE")]
    transcript: Option<PathBuf>,
    /// The last step to make again, from 1 [default: all]
    #[arg(long, value_name = "N")]
    step: Option<usize>,
    /// Also say what the run cost at this δ
    #[arg(long, value_name = "D")]
    delta: Option<f64>,
}

/// The object printed at the end, and released beside the model.
#[derive(Serialize)]
struct Report {
    /// What was spent, at `delta`; none of a run without noise, which bounds nothing.
    epsilon: Option<f64>,
    delta: Option<f64>,
    neighbours: Option<&'static str>,
    sample_rate: f64,
    steps: usize,
    batch: usize,
    clip: f64,
    examples: usize,
    parameters: usize,
    /// The hash of the last step, which names the transcript.
    transcript: String,
}

/// What is printed at the end.
#[derive(Serialize)]
struct Done<'a> {
    out: &'a Path,
    #[serde(flatten)]
    report: Report,
    /// Of the rows that were trained on; not private.
    own_accuracy: f64,
    /// Of the rows of `--test`; not private.
    test_accuracy: Option<f64>,
}

/// What `verify` prints.
#[derive(Serialize)]
struct Verdict {
    transcript: String,
    /// Steps that were made again and are as they were said to be.
    same: usize,
    steps: usize,
    /// The first step that is not, from 1, and what of it.
    differs: Option<(usize, String)>,
    epsilon: Option<f64>,
}

/// Trains, checks and releases.
pub fn go(args: &RunArgs, task: &Task, context: &mut Context) -> Result<()> {
    let refused = [
        (args.resume, "--resume: a provable run is made at once"),
        (args.automatic, "--automatic: a provable run clips what is longer than --clip"),
        (args.optimizer == Some(RuleArg::Adamw), "--optimizer adamw: a provable run is stochastic gradient descent"),
        (task.network.layers().len() != 1, "--hidden: a provable run trains a linear model"),
    ];
    if let Some((_, what)) = refused.iter().find(|(there, _)| *there) {
        return Err(Error::user(format!("--provable cannot be had with {what}")));
    }
    let rows = Rows::of(&task.examples).map_err(|error| Error::user(error.to_string()))?;
    let secret = Secret::draw().map_err(|error| Error::fault(format!("drawing the secret of a run: {error}")))?;
    let (definition, batch) = define(args, task, &rows, &secret)?;
    let epsilon = args.epsilon.and(args.delta).map(|delta| definition.epsilon(delta)).transpose().map_err(undefined)?;
    let name = |folder: &Folder| folder.name(&format!("provable {}", hex(&definition.digest())), &task.examples);
    let cost = definition.account().map_err(undefined)?.map(|(steps, distance)| cost_of(&steps, distance));
    let Some((folder, run)) = args.spend(cost.as_ref(), name, context)? else { return Ok(()) };
    write_atomic(&args.out.join(ROWS), &rows.encode())?;
    write_atomic(&args.out.join(SECRET), &*Zeroizing::new(secret.to_bytes()))?;
    if definition.is_private() {
        // All of it is spent before the first noise is drawn: a run that is stopped is not gone on with.
        let mut ledger = Ledger::create(&folder.ledger(&run), &run).map_err(|error| spent_error(&error, &run))?;
        let steps = definition.steps() as u64;
        let spent = ledger.reserve(steps).and_then(|()| ledger.settle(steps));
        spent.map_err(|error| spent_error(&error, &run))?;
    }
    let cost =
        epsilon.map_or("no noise: what comes out bounds nothing".to_owned(), |epsilon| format!("ε = {epsilon:.4}"));
    let steps = definition.steps();
    context.progress.note(&format!("{} rows, {steps} steps of about {batch} rows in integers: {cost}", rows.len()));
    let (stop, progress) = (stop_when_interrupted(), context.progress.clone());
    let percent = |doing: &'static str| {
        let (stop, progress) = (stop.clone(), progress.clone());
        move |done: usize| {
            progress.percent(doing, done as u64 * 100 / steps as u64);
            !stop.is_set()
        }
    };
    let transcript = train(definition, &rows, &secret, percent("training")).map_err(failed)?;
    let own = right(&transcript, &rows);
    let test = task.test.as_ref().map(Rows::of).transpose().map_err(|error| Error::user(error.to_string()))?;
    let test = test.map(|test| right(&transcript, &test));
    let parameters = transcript.head.parameters();
    changed(&task.network, &task.network.begin(0), &parameters)?;
    let report = Report {
        epsilon,
        delta: args.delta,
        neighbours: epsilon.map(|_| "one row more or less"),
        sample_rate: transcript.definition.rate.probability(),
        steps,
        batch,
        clip: args.clip,
        examples: rows.len(),
        parameters: parameters.len(),
        transcript: hex(&transcript.name()),
    };
    let bytes = transcript.encode();
    let read = Transcript::decode(&bytes).map_err(|error| Error::fault_from("reading the transcript again", error))?;
    if let Some(at) = verify(&read, &rows, &secret, None, percent("making every step again")).map_err(failed)? {
        return Err(Error::fault(format!("step {}, made again, has another {}", at.step, at.part)));
    }
    let put = |to: &Path| Ok(write_atomic(&to.join(TRANSCRIPT), &bytes)?);
    task.release(&folder, (&args.labels, &parameters), &report, &put, context)?;
    if context.out.json() {
        return context.out.value(&Done { out: &args.out, report, own_accuracy: own, test_accuracy: test });
    }
    context.out.line(&format!("trained: {cost}, in {}", args.out.display()))?;
    context.out.line(&format!("transcript {}", report.transcript))?;
    if let Some(test) = test {
        context.out.line(&format!("right on --test: {:.2} % (not private)", 100.0 * test))?;
    }
    context.out.line(&format!("right on the rows themselves: {:.2} % (not private)", 100.0 * own))
}

/// What is agreed on, with the least noise that keeps to the wish, and the size of a batch.
fn define(args: &RunArgs, task: &Task, rows: &Rows, secret: &Secret) -> Result<(Definition, usize)> {
    let (batch, steps) = args.steps(rows.len(), Wish::EPOCHS)?;
    let plan = args.epsilon.map(|_| args.plan(task)).transpose()?;
    let rate = args.rate.unwrap_or_else(|| plan.map_or(RATE, |plan| plan.rate(rows.inputs(), 1)));
    let factor = |step| f64::from(rate) * f64::from(args.schedule().factor(step, steps));
    let rates: Vec<f64> = (0..steps).map(factor).collect();
    let (shift, multipliers) = Definition::multipliers(&rates, batch).map_err(undefined)?;
    let definition = Definition {
        inputs: rows.inputs(),
        classes: args.labels.len(),
        rows: rows.len() as u64,
        root: secret.root(rows),
        secret: secret.commitment(),
        beacon: [0; 32],
        rate: Rate::of(batch as u64, rows.len() as u64),
        cap: (2 * batch as u64 + 64).min(rows.len() as u64),
        clip: Definition::clip_of(args.clip),
        sigma: 0.0,
        sampler: [0; 32],
        shift,
        multipliers,
    };
    let definition = match (plan, args.epsilon, args.delta) {
        (Some(plan), Some(epsilon), Some(delta)) => definition.with_noise(plan.noise, epsilon, delta),
        _ => definition.without_noise(),
    };
    let definition = definition.map_err(undefined)?;
    definition.check().map_err(undefined)?;
    Ok((definition, batch))
}

/// The part of rows for which the head chooses their class.
fn right(transcript: &Transcript, rows: &Rows) -> f64 {
    let right = (0..rows.len()).filter(|&row| transcript.head.choice(rows.row(row)) == rows.class(row));
    right.count() as f64 / rows.len() as f64
}

/// `sahara train verify`.
pub fn check(args: &VerifyArgs, context: &mut Context) -> Result<()> {
    let read = |path: &Path, most: u64| {
        let bytes = super::texts::bytes(path, most)?;
        Ok::<_, Error>((path.display().to_string(), bytes))
    };
    let released = args.run.join("release").join(TRANSCRIPT);
    let (name, bytes) = read(args.transcript.as_ref().unwrap_or(&released), MOST_TRANSCRIPT)?;
    let transcript = Transcript::decode(&bytes).map_err(|error| Error::user(format!("{name}: {error}")))?;
    let (name, bytes) = read(&args.run.join(ROWS), MOST_ROWS)?;
    let rows = Rows::decode(&bytes).map_err(|error| Error::user(format!("{name}: {error}")))?;
    let (name, bytes) = read(&args.run.join(SECRET), 32)?;
    let bytes = Zeroizing::new(bytes);
    let secret = bytes.first_chunk().filter(|_| bytes.len() == 32);
    let secret = secret.ok_or_else(|| Error::user(format!("{name} is not the secret of a run")))?;
    let secret = Secret::from_bytes(*secret);
    let (stop, progress) = (stop_when_interrupted(), context.progress.clone());
    let steps = transcript.definition.steps();
    let last = args.step.unwrap_or(steps);
    let go_on = |done: usize| {
        progress.percent("making the steps again", done as u64 * 100 / last as u64);
        !stop.is_set()
    };
    let found = verify(&transcript, &rows, &secret, Some(last), go_on).map_err(failed)?;
    let epsilon = args.delta.map(|delta| transcript.definition.epsilon(delta)).transpose().map_err(undefined)?;
    let epsilon = epsilon.filter(|epsilon| epsilon.is_finite());
    let verdict = Verdict {
        transcript: hex(&transcript.name()),
        same: found.map_or(last, |at| at.step - 1),
        steps,
        differs: found.map(|at| (at.step, at.part.to_string())),
        epsilon,
    };
    if context.out.json() {
        context.out.value(&verdict)?;
    } else if found.is_none() {
        context
            .out
            .line(&format!("{last} of {steps} steps made again, all as the transcript says: {}", verdict.transcript))?;
        if args.delta.is_some() {
            let cost = epsilon.map_or("no noise: nothing is bounded".to_owned(), |epsilon| format!("ε = {epsilon:.4}"));
            context.out.line(&cost)?;
        }
    }
    match found {
        None => Ok(()),
        Some(at) => {
            Err(Error::fault(format!("step {} of {steps} is not what comes out: another {}", at.step, at.part)))
        }
    }
}

fn undefined(error: sahara_privacy::provable::DefinitionError) -> Error {
    Error::wrap("planning the run", Blame::User, error)
}

fn failed(error: ProvableError) -> Error {
    match error {
        ProvableError::Stopped => Error::interrupted(),
        other => Error::user(other.to_string()),
    }
}
