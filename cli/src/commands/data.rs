//! `sahara data`: questions about a table of one's own, answered within a budget of privacy that is kept here or on the chain.

mod budget;
mod dataset;
mod describe;
mod draw;
mod query;
mod randomise;
mod receipts;
mod standing;

use clap::Subcommand;

use super::Context;
use crate::error::Result;
pub use budget::{GRANTING_GAS, grant};
pub use draw::{DrawArgs, Reserved};

#[derive(Subcommand, Debug)]
#[command(after_help = "\
An owner's way, for a table visits.csv:
  sahara data describe visits.csv --range age=0:120 --values city=Oasis,Dune \\
      --ignore id
  sahara data budget set visits --epsilon 3 --delta 1e-6
  sahara data query visits.csv \\
      \"SELECT city, AVG(age) FROM visits GROUP BY city\" --epsilon 0.5")]
pub enum DataCommand {
    /// Say what a table's columns are, in a file beside it
    Describe(describe::DescribeArgs),
    /// Ask a question about a table; the answer has noise
    Query(query::QueryArgs),
    /// How much may be learned from a dataset
    #[command(subcommand)]
    Budget(budget::BudgetCommand),
    /// What was asked and answered
    Receipts(receipts::ReceiptsArgs),
    /// Add noise to each row, so that the table may leave
    Randomise(randomise::RandomiseArgs),
}

pub fn run(command: DataCommand, context: &mut Context) -> Result<()> {
    match command {
        DataCommand::Describe(args) => describe::run(&args, context),
        DataCommand::Query(args) => query::run(&args, context),
        DataCommand::Budget(command) => budget::run(command, context),
        DataCommand::Receipts(args) => receipts::run(&args, context),
        DataCommand::Randomise(args) => randomise::run(&args, context),
    }
}
