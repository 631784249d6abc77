//! `sahara train value`: what contributors' rows are worth, as shares of revenue.

use std::path::PathBuf;

use alloy_primitives::Address;
use clap::{Args, ValueEnum};
use sahara_privacy::noise::Generator;
use sahara_privacy::train::{Examples, TrainError};
use sahara_privacy::value::{
    Coalition, Head, MOST_EXACT, Sampling, Values, exact, leave_one_out, neighbours, sampled, shares,
};
use serde_json::json;

use super::super::Context;
use super::super::signals::stop_when_interrupted;
use super::columns::{ColumnsArgs, rows};
use super::train_error;
use crate::error::{Error, Result};

#[derive(Args, Debug)]
#[command(
    after_help = "\
A contributor's name is an account that is to be paid, or any other word. Shares
are in hundredths of a percent and sum to 10000, as the contract of ownership
receipts wants them; a value of 0 or below has no share. When all names are
accounts, --json has `issue`: what the owner of the asset issues.

Values are made from the rows as they are and are NOT differentially private: to
publish one may tell of a single row. They reward good rows, not honest people:
who copies another's rows takes a part of their value.

Example:
  sahara train value --data north=a.csv --data south=b.csv --test t.csv \\
    --label ill --labels no,yes --range '*=0:100'",
    override_usage = "sahara train value --data <NAME=FILE>... --test <FILE> --label <COLUMN>
                          --labels <A,B,…> [OPTIONS]"
)]
pub struct ValueArgs {
    /// A contributor, and the rows that are its own [2 to 64 times]
    #[arg(long, value_name = "NAME=FILE", value_parser = contributor, required = true)]
    data: Vec<(String, PathBuf)>,
    /// Rows that all are measured by
    #[arg(long, value_name = "FILE")]
    test: PathBuf,
    #[command(flatten)]
    columns: ColumnsArgs,
    /// The labels, all of them
    #[arg(long, value_name = "A,B,…", value_delimiter = ',', required = true)]
    labels: Vec<String>,
    /// How values are made
    #[arg(long, value_enum, default_value_t = MethodArg::Shapley)]
    method: MethodArg,
    /// Orders that are drawn where contributors are too many for all coalitions, or where this is given
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(2..=10_000_000))]
    orders: Option<u32>,
    /// An order breaks off when less accuracy than this is missing to that of all
    #[arg(long, value_name = "A", default_value_t = 0.0)]
    tolerance: f64,
    /// Rows that decide together, of --method neighbours
    #[arg(long, value_name = "K", default_value_t = 5, value_parser = clap::value_parser!(u16).range(1..))]
    nearest: u16,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum MethodArg {
    /// Shapley value of a linear classifier's accuracy: fair, slow
    Shapley,
    /// What accuracy a linear classifier loses without each
    LeaveOneOut,
    /// Shapley value of a classifier of nearest neighbours: fair, quick
    Neighbours,
}

impl MethodArg {
    fn name(self) -> &'static str {
        match self {
            Self::Shapley => "shapley",
            Self::LeaveOneOut => "leave-one-out",
            Self::Neighbours => "neighbours",
        }
    }
}

pub fn value(args: &ValueArgs, context: &mut Context) -> Result<()> {
    if args.data.len() < 2 || args.data.len() > sahara_privacy::value::MOST {
        return Err(Error::user("values are of 2 to 64 contributors: give --data so often"));
    }
    if let Some((twice, _)) = (1..args.data.len()).map(|i| &args.data[i]).find(|(name, _)| count(args, name) > 1) {
        return Err(Error::user(format!("contributor {twice} is named twice")));
    }
    if !(0.0..=1.0).contains(&args.tolerance) {
        return Err(Error::user("--tolerance is a part of all, from 0 to 1"));
    }
    let description = args.columns.description(&args.labels)?;
    let own: Vec<Examples> =
        args.data.iter().map(|(_, path)| Ok(rows(path, &description)?.0)).collect::<Result<_>>()?;
    let (test, _) = rows(&args.test, &description)?;
    let head = Head::new(&own, &test, args.labels.len()).map_err(|error| Error::user(error.to_string()))?;
    let values = args.values(&own, &test, &head, context)?;
    args.say(&values, head.utility(Coalition::all(own.len())), &own, context)
}

fn count(args: &ValueArgs, name: &str) -> usize {
    args.data.iter().filter(|(other, _)| same(other, name)).count()
}

/// Whether two names are one contributor's: an account may be written with and without 0x, in capitals and not.
fn same(one: &str, other: &str) -> bool {
    match (one.parse::<Address>(), other.parse::<Address>()) {
        (Ok(one), Ok(other)) => one == other,
        _ => one.eq_ignore_ascii_case(other),
    }
}

impl ValueArgs {
    fn values(&self, own: &[Examples], test: &Examples, head: &Head<'_>, context: &Context) -> Result<Values> {
        let (stop, progress) = (stop_when_interrupted(), context.progress.clone());
        let utility = |coalition: Coalition| {
            progress.tick();
            if stop.is_set() { Err(Error::interrupted()) } else { Ok(head.utility(coalition)) }
        };
        let contributors = own.len();
        match self.method {
            MethodArg::Neighbours => Ok(neighbours(own, test, self.nearest.into())),
            MethodArg::LeaveOneOut => {
                context.progress.count("training without each", contributors as u64 + 1);
                leave_one_out(contributors, utility)
            }
            MethodArg::Shapley if self.orders.is_none() && contributors <= MOST_EXACT.min(10) => {
                context.progress.count("training coalitions", 1 << contributors);
                exact(contributors, utility)
            }
            MethodArg::Shapley => {
                let orders = self.orders.unwrap_or(1000) as usize;
                context.progress.count("training coalitions", (orders * contributors) as u64);
                let sampling = Sampling { orders, tolerance: self.tolerance };
                let mut random = Generator::from_system().map_err(|error| train_error(TrainError::from(error)))?;
                sampled(contributors, sampling, &mut random, utility)
            }
        }
    }

    fn say(&self, values: &Values, accuracy: f64, own: &[Examples], context: &mut Context) -> Result<()> {
        let names: Vec<&str> = self.data.iter().map(|(name, _)| name.as_str()).collect();
        let shared = shares(&values.values);
        let of = |index: usize| shared.as_ref().map_or(0, |shares| shares[index]);
        if context.out.json() {
            let contributors: Vec<_> = (0..names.len())
                .map(|i| json!({ "name": names[i], "rows": own[i].len(), "value": values.values[i], "share": of(i) }))
                .collect();
            let paid: Vec<usize> = (0..names.len()).filter(|i| of(*i) > 0).collect();
            let accounts = names.iter().all(|name| name.parse::<Address>().is_ok());
            let issue = (accounts && !paid.is_empty()).then(|| {
                json!({
                    "contributors": paid.iter().map(|i| names[*i]).collect::<Vec<_>>(),
                    "shares": paid.iter().map(|i| of(*i)).collect::<Vec<_>>(),
                })
            });
            return context.out.value(&json!({
                "method": self.method.name(), "private": false, "contributors": contributors, "error": values.error,
                "coalitions": values.tried, "accuracy": accuracy, "issue": issue,
            }));
        }
        let widest = names.iter().map(|name| name.chars().count()).max().unwrap_or(0).max(11);
        context.out.line(&format!("{:<widest$}  {:>9}  {:>9}  {:>7}", "contributor", "rows", "value", "share"))?;
        for (index, name) in names.iter().enumerate() {
            let (rows, value) = (own[index].len(), values.values[index]);
            let share = f64::from(of(index)) / 100.0;
            context.out.line(&format!("{name:<widest$}  {rows:>9}  {value:>+9.4}  {share:>6.2}%"))?;
        }
        if values.error > 0.0 {
            let error = values.error;
            context.out.line(&format!("each within ±{error:.4}, but for one time in a hundred"))?;
        }
        let worse: Vec<&str> = (0..names.len()).filter(|i| values.values[*i] < 0.0).map(|i| names[i]).collect();
        if !worse.is_empty() {
            context.out.line(&format!("the rows of {} make it worse: below 0, no share", worse.join(", ")))?;
        }
        context.out.line(&format!("accuracy with all rows: {:.2} %; none of this is private", 100.0 * accuracy))
    }
}

fn contributor(text: &str) -> std::result::Result<(String, PathBuf), String> {
    match text.split_once('=') {
        Some((name, file)) if !name.is_empty() && !file.is_empty() => Ok((name.to_owned(), file.into())),
        _ => Err("a contributor is NAME=FILE".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_account_is_one_contributor_however_it_is_written() {
        let account = "abcdefabcdefabcdefabcdefabcdefabcdefabcd";
        assert!(same(account, &format!("0x{}", account.to_uppercase())) && same("North", "north"));
        assert!(!same("north", "south") && !same(account, &account.replace('a', "0")));
    }
}
