//! `sahara data query`: a question, its cost, its answer.

use std::path::PathBuf;

use clap::Args;
use sahara_privacy::budget::Cost;
use sahara_privacy::noise::Generator;
use sahara_privacy::query::{Answer, AnswerRow, Cell, Plan, Query, QueryError, Wish};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::super::Context;
use super::super::output::{WIDTH, fold};
use super::super::train::texts;
use super::draw::{Draw, DrawArgs, Reserved};
use super::{dataset, describe, receipts};
use crate::error::{Error, Result};

#[derive(Args, Debug)]
#[command(
    after_help = "\
Examples:
  sahara data query visits.csv \"SELECT COUNT(*) FROM visits WHERE age >= 65\" \\
      --epsilon 0.1
  sahara data query visits.csv --epsilon 0.5 --json \\
      \"SELECT city, AVG(age), MEDIAN(price) FROM visits GROUP BY city\"
  sahara data query visits.csv --epsilon 0.5 --delta 1e-9 \\
      \"SELECT diagnosis, COUNT(*) FROM visits GROUP BY diagnosis\"

What is asked: COUNT(*), COUNT(c), SUM(c), AVG(c), MEDIAN(c), QUANTILE(c, 0.9),
HISTOGRAM(c, 12), TOP(c, 3); WHERE with comparisons, IN, BETWEEN, IS NULL, AND,
OR, NOT; GROUP BY columns of words. All else is refused by name.

ε is for all that one question asks, each thing has an equal part. Groups that
are not declared are told when enough rows make them, which needs a δ. The same
question asked again costs again: `sahara data receipts` has the old answer.
The first job of a budget takes more of it than its ε, once: its δ has a price
(`sahara data budget set --help`); --dry-run says what a question takes.

Beside each number is where it lies without the noise, 19 times of 20; beside a
quantile and the most frequent values, by how many rows they may be off.
Whoever may ask sees the answer, not this terminal: how long it took and what
was wrong with a row is not bounded by ε.",
    override_usage = "sahara data query <FILE> <QUESTION> --epsilon <E> [OPTIONS]"
)]
pub struct QueryArgs {
    /// The table, which is described
    #[arg(value_name = "FILE")]
    table: PathBuf,
    /// What is asked, in a part of SQL
    #[arg(value_name = "QUESTION")]
    question: String,
    /// What the answer may cost
    #[arg(long, value_name = "E", allow_negative_numbers = true)]
    epsilon: f64,
    /// The chance that a group is told which one row makes; only where groups are not declared
    #[arg(long, value_name = "D", allow_negative_numbers = true)]
    delta: Option<f64>,
    #[command(flatten)]
    draw: DrawArgs,
}

pub fn run(args: &QueryArgs, context: &mut Context) -> Result<()> {
    let said = |error: QueryError| {
        let todo = format!("describe it in {}.toml, or with `sahara data describe --replace`", args.table.display());
        let is_described = !matches!(error, QueryError::NoColumn { .. });
        Error::user(if is_described { error.to_string() } else { format!("{error}; {todo}") })
    };
    let (schema, described) = describe::read(&args.table)?;
    let query = Query::parse(&args.question).map_err(said)?;
    let name = dataset::named(args.draw.dataset.as_deref(), &args.table)?.to_owned();
    if query.table != name && Some(query.table.as_str()) != args.table.file_stem().and_then(|stem| stem.to_str()) {
        return Err(Error::user(format!("FROM {}: the table is {name}", query.table)));
    }
    let plan = Plan::new(&query, &schema, Wish { epsilon: args.epsilon, delta: args.delta }).map_err(said)?;
    let cost = Cost::of(|order| plan.divergence(order), plan.failure());
    if args.draw.only_tries() && !context.out.json() {
        tell_noise(&plan, context)?;
    }
    let mut job = [0; 32];
    getrandom::fill(&mut job).map_err(|error| Error::fault(format!("drawing the name of a job: {error}")))?;
    let unit = describe::unit(&schema);
    let draw = match args.draw.reserve(&name, &unit, job, &cost, context)? {
        Reserved::Tried => return Ok(()),
        Reserved::Draw(draw) => *draw,
    };
    context.progress.step("reading the table");
    let sums = texts::file(&args.table)
        .and_then(|text| plan.sums(&text).map_err(|error| Error::user(format!("{}: {error}", args.table.display()))));
    let (sums, next) = match sums.and_then(|sums| Ok((sums, receipts::next(draw.dataset(), context)?))) {
        Ok(ready) => ready,
        Err(error) => {
            draw.release(context);
            return Err(error);
        }
    };
    let mut draw = draw;
    if let Err(error) = draw.begin(context) {
        draw.release(context);
        return Err(error);
    }
    let answer = plan.tell(sums, &mut generator()?);
    let asked = receipts::Asked {
        question: &args.question,
        description: hex(&Sha256::digest(&described)),
        neighbours: &unit,
        job: hex(&job),
        epsilon: plan.epsilon(),
        delta: plan.delta(),
        noise: noise(&plan),
        answer: rows(&answer),
        budget: draw.standing()?,
    };
    let receipt = receipts::write(next, &asked, &draw)?;
    draw.settle(&receipt.hash)?;
    tell(&answer, &plan, &asked, &receipt, &draw, context)
}

/// Noise that nobody can predict: from a seed of the system, used once.
pub fn generator() -> Result<Generator> {
    Generator::from_system().map_err(|error| Error::fault(format!("drawing the seed of noise: {error}")))
}

fn tell(
    answer: &Answer,
    plan: &Plan,
    asked: &receipts::Asked<'_>,
    receipt: &receipts::Receipt,
    draw: &Draw,
    context: &mut Context,
) -> Result<()> {
    context.progress.clear();
    if context.out.json() {
        let mut value = json!(asked);
        value["dataset"] = json!(draw.dataset().name);
        value["receipt"] = json!({"number": receipt.number, "sha256": hex(&receipt.hash)});
        return context.out.value(&value);
    }
    for line in table(answer) {
        context.out.line(&line)?;
    }
    context.out.line("")?;
    context.out.folded("", "without the noise, each is within what stands beside it, 19 times of 20")?;
    tell_noise(plan, context)?;
    let here = &asked.budget["here"];
    if let (Some(spent), Some(granted)) = (here["spent"].as_f64(), here["epsilon"].as_f64()) {
        let delta = here["delta"].as_f64().unwrap_or_default();
        let taken = draw.taken();
        let this = taken.map_or(0.0, |taken| taken.epsilon());
        let name = &draw.dataset().name;
        let granted = plain(granted);
        let said =
            format!("budget of {name}: ε = {spent:.4} of {granted} spent at δ = {delta:e}, {this:.4} of it by this");
        context.out.folded("", &said)?;
        taken.and_then(|taken| taken.why()).map_or(Ok(()), |why| context.out.folded("", &why))?;
    }
    context.out.line(&format!("receipt {} {}", receipt.number, hex(&receipt.hash)))
}

fn tell_noise(plan: &Plan, context: &mut Context) -> Result<()> {
    for noise in plan.noise() {
        let scale = plain(noise.scale);
        context.out.folded(
            "",
            &format!("{}: {} noise of scale {scale}, ε = {:.4}", noise.of, noise.mechanism, noise.epsilon),
        )?;
    }
    match plan.threshold() {
        Some(threshold) => {
            context.out.line(&format!("groups are told from {threshold} rows on, at δ = {:e}", plan.delta()))
        }
        None => Ok(()),
    }
}

/// The noise, as JSON.
fn noise(plan: &Plan) -> Value {
    let one = |noise: &sahara_privacy::query::Noise| json!({"of": noise.of, "mechanism": noise.mechanism, "scale": noise.scale, "epsilon": noise.epsilon});
    json!({"parts": plan.noise().iter().map(one).collect::<Vec<_>>(), "threshold": plan.threshold(), "confidence": 0.95})
}

/// The rows, as JSON.
fn rows(answer: &Answer) -> Value {
    let cell = |cell: &Cell| match cell {
        Cell::Number { value, low, high } => json!({"value": value, "low": low, "high": high}),
        Cell::Quantile { value, rank_error } => json!({"value": value, "rank_error": rank_error}),
        Cell::Bins { bins, error } => {
            let bins: Vec<Value> =
                bins.iter().map(|bin| json!({"from": bin.from, "to": bin.to, "count": bin.count})).collect();
            json!({"bins": bins, "error": error})
        }
        Cell::Top { values, count_error } => json!({"values": values, "count_error": count_error}),
    };
    let rows = answer.rows.iter().map(|row| {
        let keys = answer.keys.iter().cloned().zip(row.keys.iter().map(|key| json!(key)));
        let cells = answer.names.iter().cloned().zip(row.cells.iter().map(cell));
        Value::Object(keys.chain(cells).collect())
    });
    rows.collect()
}

/// Lines with columns under each other; where they are too wide, a line for each cell.
fn table(answer: &Answer) -> Vec<String> {
    let lines = wide(answer);
    if lines.iter().all(|line| line.chars().count() <= WIDTH) {
        return lines;
    }
    let names: Vec<&String> = answer.keys.iter().chain(&answer.names).collect();
    let width = names.iter().map(|name| name.chars().count()).max().unwrap_or(0);
    let cells = |row: &AnswerRow| row.keys.iter().cloned().chain(row.cells.iter().map(words)).collect::<Vec<_>>();
    let block = |row: &AnswerRow| {
        let lines = names.iter().zip(cells(row)).flat_map(|(name, cell)| fold(&format!("{name:width$}  "), &cell));
        lines.collect::<Vec<_>>()
    };
    answer.rows.iter().map(block).collect::<Vec<_>>().join(&String::new())
}

fn wide(answer: &Answer) -> Vec<String> {
    let mut lines = vec![answer.keys.iter().chain(&answer.names).cloned().collect::<Vec<_>>()];
    lines.extend(answer.rows.iter().map(|row| row.keys.iter().cloned().chain(row.cells.iter().map(words)).collect()));
    let columns = lines.first().map_or(0, Vec::len);
    let width = |at: usize| lines.iter().map(|line: &Vec<String>| line[at].chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let line = |line: &Vec<String>| {
        let cells = line.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}"));
        cells.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    };
    lines.iter().map(line).collect()
}

fn words(cell: &Cell) -> String {
    match cell {
        Cell::Number { value, low, high } => format!("{} ({} to {})", plain(*value), plain(*low), plain(*high)),
        Cell::Quantile { value, rank_error } => format!("{} (within {} rows)", plain(*value), plain(rank_error.ceil())),
        Cell::Bins { bins, error } => {
            let one =
                |bin: &sahara_privacy::query::Bin| format!("{}..{}: {}", plain(bin.from), plain(bin.to), bin.count);
            format!("{} (each ± {})", bins.iter().map(one).collect::<Vec<_>>().join(", "), plain(*error))
        }
        Cell::Top { values, count_error } => {
            format!("{} (within {} rows)", values.join(", "), plain(count_error.ceil()))
        }
    }
}

/// A number with at most four digits after the point.
pub fn plain(value: f64) -> String {
    let text = format!("{value:.4}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// Bytes as digits.
pub fn hex(bytes: &[u8]) -> String {
    sahara_circuits::bytes::hex(bytes)
}
