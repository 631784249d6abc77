//! `sahara data randomise`: rows that are randomised here, before they leave.

use std::path::PathBuf;

use clap::Args;
use sahara::home::write_atomic;
use sahara_privacy::query::LocalPlan;
use serde_json::json;

use super::super::Context;
use super::super::train::texts;
use super::describe;
use super::query::generator;
use crate::error::{Error, Result};

#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  sahara data randomise visits.csv --epsilon 4 --out visits-private.csv

Each row is told with noise: a word stays itself with a probability, or becomes
another one; a number gets Laplace noise as wide as its range, and stays within
it. What is missing becomes something drawn at random; columns that are not
described or are ignored do not leave. ε is what a row costs whoever it speaks
of, whoever has the table and whatever is done with it: a person in N rows pays
N times. No budget is needed or drawn on; randomising the same rows again costs
again. This needs many more rows than a question does for the same accuracy.")]
pub struct RandomiseArgs {
    /// The table, which is described
    #[arg(value_name = "FILE")]
    table: PathBuf,
    /// What a row may cost
    #[arg(long, value_name = "E")]
    epsilon: f64,
    /// Where the randomised table is written
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
}

pub fn run(args: &RandomiseArgs, context: &mut Context) -> Result<()> {
    if args.out.exists() {
        return Err(Error::user(format!("{} is there already: name another file with --out", args.out.display())));
    }
    let said = |error: sahara_privacy::query::QueryError| Error::user(error.to_string());
    let (schema, _) = describe::read(&args.table)?;
    let plan = LocalPlan::new(&schema, args.epsilon).map_err(said)?;
    let text = texts::file(&args.table)?;
    let told = plan.randomise(&text, &mut generator()?);
    let told = told.map_err(|error| Error::user(format!("{}: {error}", args.table.display())))?;
    write_atomic(&args.out, told.table.as_bytes())?;
    if context.out.json() {
        let value = json!({
            "out": args.out, "rows": told.rows, "epsilon": plan.epsilon(), "delta": 0.0, "neighbours": "any two rows (local)",
        });
        return context.out.value(&value);
    }
    context.out.line(&format!("{} rows in {}: ε = {} for each row", told.rows, args.out.display(), plan.epsilon()))
}
