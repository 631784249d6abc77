//! `sahara dp epsilon | noise | plan | audit`: what private steps spend, which noise they need, and whether a run keeps to it.

mod curve;

use std::collections::BTreeSet;
use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};
use sahara_privacy::accounting::calibrate::{self, Goal};
use sahara_privacy::accounting::{Accountant, AccountingError, Composition, Mechanism};
use serde_json::json;

use super::Context;
use super::chart::Chart;
use super::output::{WIDTH, grouped};
use super::train::{AuditArgs, audit};
use crate::error::{Error, Result};
use curve::Curve;

/// How often the plan says what was spent so far.
const ROWS: u64 = 12;
/// How often a picture does, for each of those.
const FINER: u64 = 3;

#[derive(Subcommand, Debug)]
pub enum DpCommand {
    /// What steps with noise spend of privacy
    Epsilon(EpsilonArgs),
    /// The least noise that keeps within ε
    Noise(NoiseArgs),
    /// The noise for ε, and how ε grows over the steps
    Plan(PlanArgs),
    /// Try whether a trained run hides what it claims
    Audit(AuditArgs),
}

/// By which account.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum AccountantArg {
    /// Rényi divergences: quick, looser
    Rdp,
    /// Privacy-loss distributions: tighter
    Pld,
}

/// What is done to the data.
#[derive(Args, Debug)]
struct Steps {
    /// Probability that a record takes part in a step (Poisson sampling)
    #[arg(long, value_name = "Q", allow_negative_numbers = true, required_unless_present_all = ["records", "batch"], conflicts_with_all = ["records", "batch"])]
    sample_rate: Option<f64>,
    /// Number of records; with --batch, instead of --sample-rate
    #[arg(long, value_name = "N", requires = "batch")]
    records: Option<u64>,
    /// Expected number of records in a step
    #[arg(long, value_name = "B", requires = "records")]
    batch: Option<u64>,
    /// Number of steps
    #[arg(long, value_name = "T", required_unless_present = "epochs", conflicts_with = "epochs")]
    steps: Option<u64>,
    /// Number of times that each record takes part, on average; instead of --steps
    #[arg(long, value_name = "E", allow_negative_numbers = true)]
    epochs: Option<f64>,
    /// Probability with which ε may not hold; well below one by the number of records
    #[arg(long, value_name = "D", allow_negative_numbers = true)]
    delta: f64,
    /// One account alone [default: both, and the lower bound]
    #[arg(long, value_enum)]
    accountant: Option<AccountantArg>,
}

#[derive(Args, Debug)]
#[command(after_help = "\
What is answered is an upper bound of ε, for neighbours that differ by one
record added or removed. ε says how much more likely anything can become by one
record's presence: a factor of at most e^ε, but for a probability of δ. Below 1
is strong, above 10 says little.

Examples:
  sahara dp epsilon --noise 1.1 --sample-rate 0.00427 --steps 14062 --delta 1e-5
  sahara dp epsilon --noise 4 --records 60000 --batch 2048 --epochs 20 \\
      --delta 1e-6 --json")]
pub struct EpsilonArgs {
    /// Standard deviation of the Gaussian noise, over the most that a record can add (the clipping norm)
    #[arg(long, value_name = "S", allow_negative_numbers = true)]
    noise: f64,
    #[command(flatten)]
    steps: Steps,
}

#[derive(Args, Debug)]
#[command(after_help = "\
The answer is rounded up: it was accounted itself, and spends no more than ε.
The noise is in units of the clipping norm, and added once a step to the sum
over a batch; dividing by the expected batch, not by the true one, keeps the
account right.

Examples:
  sahara dp noise --epsilon 3 --delta 1e-5 --records 60000 --batch 256 \\
    --epochs 10
  sahara dp noise --epsilon 1 --delta 1e-6 --sample-rate 0.01 --steps 2000")]
pub struct NoiseArgs {
    /// What may be spent in all
    #[arg(long, value_name = "E", allow_negative_numbers = true)]
    epsilon: f64,
    #[command(flatten)]
    steps: Steps,
}

#[derive(Args, Debug)]
#[command(after_help = "\
Each row says what is spent if training stops after so many steps. The picture
is never below what is spent: between two steps that were accounted it has what
the later one spends.

Examples:
  sahara dp plan --epsilon 3 --delta 1e-5 --records 60000 --batch 256 \\
    --epochs 10
  sahara dp plan --noise 1.1 --delta 1e-5 --sample-rate 0.01 --steps 5000 \\
      --picture plan.svg")]
pub struct PlanArgs {
    /// What may be spent in all; the least noise for it is found
    #[arg(
        long,
        value_name = "E",
        allow_negative_numbers = true,
        required_unless_present = "noise",
        conflicts_with = "noise"
    )]
    epsilon: Option<f64>,
    /// Plan with this noise instead
    #[arg(long, value_name = "S", allow_negative_numbers = true)]
    noise: Option<f64>,
    #[command(flatten)]
    steps: Steps,
    /// Draw the curve into an SVG file, too
    #[arg(long, value_name = "FILE")]
    picture: Option<PathBuf>,
}

pub fn run(command: DpCommand, context: &mut Context) -> Result<()> {
    match command {
        DpCommand::Epsilon(args) => epsilon(&args, context),
        DpCommand::Noise(args) => noise(&args, context),
        DpCommand::Plan(args) => plan(&args, context),
        DpCommand::Audit(args) => audit(&args, context),
    }
}

impl Steps {
    fn rate(&self) -> Result<f64> {
        let rate = match (self.sample_rate, self.records, self.batch) {
            (Some(rate), ..) => return Ok(rate),
            (None, Some(records), Some(batch)) => batch as f64 / records as f64,
            _ => return Err(Error::user("give --sample-rate, or --records and --batch")),
        };
        if rate <= 1.0 {
            Ok(rate)
        } else {
            Err(Error::user("a batch has no more than all records: give a smaller --batch, or more --records"))
        }
    }

    fn count(&self, rate: f64) -> Result<u64> {
        match (self.steps, self.epochs) {
            (Some(steps), _) => Ok(steps),
            (None, Some(epochs)) if epochs >= 0.0 && rate > 0.0 && epochs / rate < 1e12 => {
                // Rounded up, but for what division leaves.
                Ok((epochs / rate * (1.0 - 1e-12)).ceil() as u64)
            }
            _ => Err(Error::user("give --steps, or --epochs from 0 on with a sample rate above 0")),
        }
    }

    fn accountant(&self) -> Accountant {
        match self.accountant {
            Some(AccountantArg::Rdp) => Accountant::Rdp,
            Some(AccountantArg::Pld) => Accountant::Pld,
            None => Accountant::Tightest,
        }
    }

    /// ε after so many steps of this noise.
    fn spent(&self, noise: f64, rate: f64, steps: u64) -> Result<f64> {
        let mechanism = Mechanism::sampled_gaussian(noise, rate).map_err(refused)?;
        Composition::new().and(mechanism, steps).epsilon(self.delta, self.accountant()).map_err(refused)
    }

    fn goal(&self, epsilon: f64, rate: f64, steps: u64) -> Goal {
        Goal { epsilon, delta: self.delta, rate, steps }
    }

    fn account(&self) -> &'static str {
        match self.accountant {
            Some(AccountantArg::Rdp) => "rdp",
            Some(AccountantArg::Pld) => "pld",
            None => "tightest",
        }
    }
}

/// What cannot be accounted is the person's to change.
fn refused(error: AccountingError) -> Error {
    Error::user(error.to_string())
}

/// A number that is rounded up to so many digits after the point.
fn upwards(value: f64, digits: i32) -> f64 {
    let unit = 10_f64.powi(digits);
    if value < 1e9 { (value * unit).ceil() / unit } else { value }
}

fn epsilon(args: &EpsilonArgs, context: &mut Context) -> Result<()> {
    let steps = &args.steps;
    let rate = steps.rate()?;
    let count = steps.count(rate)?;
    let epsilon = steps.spent(args.noise, rate, count)?;
    if context.out.json() {
        return context.out.value(&json!({
            "epsilon": epsilon, "delta": steps.delta, "noise": args.noise, "sample_rate": rate, "steps": count,
            "accountant": steps.account(),
        }));
    }
    let shown = format!("ε = {} at δ = {:e}", upwards(epsilon, 4), steps.delta);
    context.out.line(&format!("{shown}, after {} steps", grouped(count)))
}

fn noise(args: &NoiseArgs, context: &mut Context) -> Result<()> {
    let steps = &args.steps;
    let rate = steps.rate()?;
    let count = steps.count(rate)?;
    let noise = calibrate::noise(&steps.goal(args.epsilon, rate, count), steps.accountant()).map_err(refused)?;
    let epsilon = steps.spent(noise, rate, count)?;
    if context.out.json() {
        return context.out.value(&json!({
            "noise": noise, "epsilon": epsilon, "delta": steps.delta, "sample_rate": rate, "steps": count,
            "accountant": steps.account(),
        }));
    }
    context.out.line(&format!(
        "noise {} keeps within ε = {} at δ = {:e} over {} steps",
        upwards(noise, 4),
        args.epsilon,
        steps.delta,
        grouped(count)
    ))
}

/// Numbers of steps up to `count`, so many of them.
fn evenly(count: u64, times: u64) -> BTreeSet<u64> {
    let times = times.min(count.max(1));
    let at = |row: u64| u64::try_from(u128::from(count) * u128::from(row) / u128::from(times)).unwrap_or(count);
    (1..=times).map(at).collect()
}

fn plan(args: &PlanArgs, context: &mut Context) -> Result<()> {
    let steps = &args.steps;
    if let Some(path) = args.picture.as_ref().filter(|path| path.extension().is_none_or(|end| end != "svg")) {
        return Err(Error::user(format!("{}: pictures are SVG: give a file that ends in .svg", path.display())));
    }
    let rate = steps.rate()?;
    let count = steps.count(rate)?;
    let noise = match (args.noise, args.epsilon) {
        (Some(noise), _) => noise,
        (None, Some(epsilon)) => {
            calibrate::noise(&steps.goal(epsilon, rate, count), steps.accountant()).map_err(refused)?
        }
        (None, None) => return Err(Error::user("give --epsilon, or --noise")),
    };
    let rows = evenly(count, ROWS);
    let mut places = rows.clone();
    if args.picture.is_some() {
        places.extend(evenly(count, ROWS * FINER));
        // Most is spent by the first steps.
        places.extend((0..64).map(|power| 1 << power).take_while(|at| *at < count / (ROWS * FINER)));
    }
    context.progress.count("accounting", places.len() as u64);
    let mut all = Curve { points: Vec::new() };
    for at in places {
        all.points.push((at, steps.spent(noise, rate, at)?));
        context.progress.tick();
    }
    let curve = Curve { points: all.points.iter().copied().filter(|(at, _)| rows.contains(at)).collect() };
    if let Some(path) = &args.picture {
        let title = format!("noise {}, sample rate {rate:.3e}, δ = {:e}", upwards(noise, 4), steps.delta);
        let picture = Chart { title: &title, name: "ε", points: &all.never_below() }.svg();
        std::fs::write(path, picture).map_err(|error| Error::io("writing", path, error))?;
    }
    let epsilon = curve.points.last().map_or(0.0, |(_, epsilon)| *epsilon);
    if context.out.json() {
        let points: Vec<_> = all.points.iter().map(|(at, spent)| json!({ "steps": at, "epsilon": spent })).collect();
        return context.out.value(&json!({
            "noise": noise, "epsilon": epsilon, "delta": steps.delta, "sample_rate": rate, "steps": count,
            "accountant": steps.account(), "curve": points, "picture": args.picture,
        }));
    }
    context.out.line(&format!("noise        {}", upwards(noise, 4)))?;
    context.out.line(&format!("sample rate  {rate:.6}"))?;
    context.out.line(&format!("steps        {}", grouped(count)))?;
    context.out.line(&format!("ε            {} at δ = {:e}", upwards(epsilon, 4), steps.delta))?;
    context.out.line("")?;
    curve.chart(WIDTH).iter().try_for_each(|line| context.out.line(line))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_shown_is_never_less_than_what_was_found() {
        assert_eq!(upwards(1.000_01, 4), 1.0001);
        assert_eq!(upwards(2.5, 4), 2.5);
        assert_eq!(upwards(1e300, 4), 1e300);
    }

    fn steps(records: u64, batch: u64, epochs: f64) -> Steps {
        Steps {
            sample_rate: None,
            records: Some(records),
            batch: Some(batch),
            steps: None,
            epochs: Some(epochs),
            delta: 1e-5,
            accountant: None,
        }
    }

    #[test]
    fn epochs_are_steps_and_a_batch_is_a_part() {
        let ten = steps(60_000, 240, 10.0);
        assert_eq!((ten.rate().unwrap(), ten.count(0.004).unwrap()), (0.004, 2500));
        assert!(steps(10, 11, 1.0).rate().is_err() && steps(0, 0, 1.0).rate().is_err());
        assert!(steps(10, 1, f64::NAN).count(0.1).is_err() && steps(10, 1, -1.0).count(0.1).is_err());
        assert!(steps(10, 0, 1.0).count(0.0).is_err() && steps(10, 1, 1e15).count(0.1).is_err());
    }
}
