//! `sahara data randomise`: rows, or the vectors of texts, that are randomised here, before they leave.

use std::path::{Path, PathBuf};

use clap::Args;
use sahara::embedding::Engine as _;
use sahara::home::write_atomic;
use sahara_privacy::query::{Kind, LocalPlan, QueryError, Schema, Unit, VectorPlan};
use sahara_privacy::train::table::Description;
use serde_json::{Value, json};

use super::super::Context;
use super::super::train::texts;
use super::describe;
use super::query::generator;
use crate::error::{Error, Result};

#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  sahara data randomise visits.csv --epsilon 4 --out visits-private.csv
  sahara data randomise reviews.tsv --labels bad,good --epsilon 8 --delta 1e-6 \\
      --out reviews-private.csv

Each row is told with noise: a word stays itself with a probability, or becomes
another one; a number gets Laplace noise as wide as its range, and stays within
it. What is missing becomes something drawn at random; columns that are not
described or are ignored do not leave. With --labels the rows are texts with
labels (.tsv, .jsonl): half of ε is for the label, half for the text's vector,
which gets Gaussian noise.

ε is what a row costs whoever it speaks of, whoever has the table and whatever
is done with it: a person in N rows pays N times. Any program may be trained on
it: with `sahara train table` a large --epsilon adds little noise, and the row's
ε holds whatever the run's report says. No budget is needed or drawn on;
randomising the same rows again costs again. This needs many more rows than a
question or a private training does for the same accuracy.")]
pub struct RandomiseArgs {
    /// The table, which is described; or texts with labels
    #[arg(value_name = "FILE")]
    table: PathBuf,
    /// What a row may cost
    #[arg(long, value_name = "E", allow_negative_numbers = true)]
    epsilon: f64,
    /// The δ beside it, of texts
    #[arg(long, value_name = "D", requires = "labels", allow_negative_numbers = true)]
    delta: Option<f64>,
    /// The labels of texts, all of them
    #[arg(long, value_name = "A,B,…", value_delimiter = ',', requires = "delta")]
    labels: Vec<String>,
    /// Model that embeds the texts
    #[arg(long, value_name = "NAME", default_value = sahara::models::DEFAULT_MODEL, requires = "labels")]
    model: String,
    /// Where the randomised table is written
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
}

/// A table that may leave, and what it costs a row.
struct Told {
    table: String,
    rows: u64,
    delta: f64,
    /// Deviation of the noise on each number of a vector.
    deviation: Option<f64>,
}

pub fn run(args: &RandomiseArgs, context: &mut Context) -> Result<()> {
    if args.out.exists() {
        return Err(Error::user(format!("{} is there already: name another file with --out", args.out.display())));
    }
    let told = match args.delta {
        None => rows(args)?,
        Some(delta) => vectors(args, delta, context)?,
    };
    write_atomic(&args.out, told.table.as_bytes())?;
    context.progress.clear();
    if context.out.json() {
        let mut value = json!({
            "out": args.out, "rows": told.rows, "epsilon": args.epsilon, "delta": told.delta,
            "neighbours": "any two rows (local)",
        });
        value["deviation"] = told.deviation.map_or(Value::Null, Value::from);
        return context.out.value(&value);
    }
    let delta = if told.delta > 0.0 { format!(" at δ = {:e}", told.delta) } else { String::new() };
    context.out.line(&format!("{} rows in {}: ε = {}{delta} for each", told.rows, args.out.display(), args.epsilon))?;
    match told.deviation {
        Some(deviation) => context.out.line(&format!("noise of deviation {deviation:.3} on each number of a vector")),
        None => Ok(()),
    }
}

fn rows(args: &RandomiseArgs) -> Result<Told> {
    let (schema, _) = describe::read(&args.table)?;
    let plan = LocalPlan::new(&schema, args.epsilon).map_err(|error| said(&error))?;
    let text = texts::file(&args.table)?;
    let told = plan.randomise(&text, &mut generator()?).map_err(|error| of_table(&args.table, &error))?;
    Ok(Told { table: told.table, rows: told.rows, delta: 0.0, deviation: None })
}

fn vectors(args: &RandomiseArgs, delta: f64, context: &Context) -> Result<Told> {
    let half = args.epsilon / 2.0;
    let labels = Kind::Values(args.labels.clone());
    let schema = Schema::new(vec![("label".to_owned(), labels)], Unit::Row).map_err(|error| said(&error))?;
    let of_labels = LocalPlan::new(&schema, half).map_err(|error| said(&error))?;
    if args.labels.len() < 2 || args.labels.iter().any(|label| label.contains(['"', '\n', '\r'])) {
        return Err(Error::user("--labels are two or more words without quotes"));
    }
    let (_, engine) = texts::engine(&args.model, context)?;
    let of_vectors = VectorPlan::new(engine.dimensions(), 1.0, (half, delta)).map_err(|error| said(&error))?;
    let description = Description { columns: Vec::new(), labels: args.labels.clone() };
    let (_, examples) = texts::embedded(&args.table, &description, &engine, context)?;
    let words: String = examples.classes().iter().map(|class| format!("{}\n", args.labels[*class as usize])).collect();
    let mut generator = generator()?;
    let labels = of_labels.randomise(&format!("label\n{words}"), &mut generator);
    let labels = labels.map_err(|error| of_table(&args.table, &error))?;
    let mut lines = labels.table.lines();
    let mut table = lines.next().unwrap_or("label").to_owned();
    (0..engine.dimensions()).for_each(|at| table.push_str(&format!(",e{at}")));
    for (label, row) in lines.zip(0..examples.len()) {
        let vector = of_vectors.randomise(examples.row(row), &mut generator).map_err(|error| said(&error))?;
        table.push('\n');
        table.push_str(label);
        vector.iter().for_each(|number| table.push_str(&format!(",{number}")));
    }
    table.push('\n');
    Ok(Told { table, rows: labels.rows, delta, deviation: Some(of_vectors.deviation()) })
}

fn said(error: &QueryError) -> Error {
    Error::user(error.to_string())
}

fn of_table(table: &Path, error: &QueryError) -> Error {
    Error::user(format!("{}: {error}", table.display()))
}
