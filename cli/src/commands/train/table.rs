//! `sahara train table`: a classifier of table rows.

use std::path::{Path, PathBuf};

use clap::Args;
use sahara_privacy::train::Network;

use super::super::Context;
use super::args::RunArgs;
use super::columns::{self, ColumnsArgs};
use super::rows;
use super::task::{Kind, Task};
use crate::error::{Error, Result};

pub const HELP: &str = "\
Examples:
  sahara train table --data patients.csv --label ill --labels no,yes \\
    --range age=0:120 --range 'rate=30:220' --values sex=F,M --ignore id \\
    --epsilon 3 --delta 1e-5 --out trained
  sahara train table --data digits.csv --label digit \\
    --labels 0,1,2,3,4,5,6,7,8,9 --range '*=0:16' --hidden 64 --epsilon 3 \\
    --delta 1e-5 --out trained

Ranges, values and labels are given because to read them from the rows would
publish something of single rows. What is outside a range is taken to its
bound, what is missing to its middle.

--out gets a folder `release`, which is what ε bounds: the model and a report.
`sahara model pull` brings it in, and `sahara classify` asks it with a row, its
cells between commas in the order of the table, without label and ignored ones.
Beside it lie the checkpoint and the learning curve, which are for the owner of
the data alone: losses are not private. Ctrl-C leaves a checkpoint, and the same
command with --resume goes on. What was spent stays spent: it is written down
in Sahara's folder before it is spent; an older checkpoint has fewer steps left.
Neighbours differ by one row more or less; how many rows there are is public.

--provable trains a linear model in integers and commits to each step, in
`release/transcript`; `sahara train verify` makes the steps again from `rows`
and `secret` in --out, which are for the owner alone.";

#[derive(Args, Debug)]
pub struct TableArgs {
    /// The rows, as comma-separated values with a line of names
    #[arg(long, value_name = "FILE")]
    data: PathBuf,
    #[command(flatten)]
    columns: ColumnsArgs,
    /// Sizes of hidden layers [default: none, a linear model]
    #[arg(long, value_name = "N,…", value_delimiter = ',', value_parser = clap::value_parser!(u16).range(1..=4096))]
    hidden: Vec<u16>,
    #[command(flatten)]
    pub run: RunArgs,
}

pub fn table(args: &TableArgs, context: &mut Context) -> Result<()> {
    let task = args.task(&args.data)?;
    args.run.go(task, context)
}

impl TableArgs {
    /// The network and its examples, from this file.
    pub fn task(&self, data: &Path) -> Result<Task> {
        let description = self.columns.description(&self.run.labels)?;
        let (examples, features) = columns::rows(data, &description)?;
        let test =
            self.run.test.as_deref().map(|test| columns::rows(test, &description)).transpose()?.map(|(test, _)| test);
        let hidden: Vec<usize> = self.hidden.iter().map(|&size| size.into()).collect();
        let network = Network::perceptron(examples.width(), &hidden, self.run.labels.len());
        let network = network.map_err(|error| Error::user(error.to_string()))?;
        let columns = rows::columns(&description, &features);
        let columns = columns.ok_or_else(|| Error::fault("the features are not those of the described columns"))?;
        Ok(Task { network, examples, test, kind: Kind::Rows { columns, features } })
    }
}
