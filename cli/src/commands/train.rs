//! `sahara train`: models of private data, trained on this machine within a privacy budget.

mod args;
mod audit;
pub(super) mod classifier;
mod classify;
pub(super) mod columns;
pub(super) mod folder;
mod lora;
mod provable;
mod release;
mod report;
pub(super) mod rows;
mod run;
mod spending;
mod table;
mod task;
pub(super) mod texts;
mod value;

use clap::Subcommand;
use sahara_privacy::train::TrainError;

use super::Context;
use crate::error::{Blame, Error, Result};
pub use audit::{AuditArgs, audit};

#[derive(Subcommand, Debug)]
pub enum TrainCommand {
    /// Train a classifier of table rows, with differential privacy
    #[command(after_help = table::HELP, override_usage = "\
sahara train table --data <FILE> --label <COLUMN> --labels <A,B,…>
                          --epsilon <E> --delta <D> --out <DIR> [OPTIONS]")]
    Table(table::TableArgs),
    /// Train a classifier of texts over frozen embeddings, with differential privacy
    #[command(after_help = classify::HELP, override_usage = "\
sahara train classify --data <FILE> --labels <A,B,…> --epsilon <E>
                             --delta <D> --out <DIR> [OPTIONS]")]
    Classify(classify::ClassifyArgs),
    /// Train adapters of an encoder, or all of it, with differential privacy
    #[command(after_help = lora::HELP, override_usage = "\
sahara train lora --data <FILE> --labels <A,B,…> --epsilon <E>
                         --delta <D> --out <DIR> [OPTIONS]")]
    Lora(lora::LoraArgs),
    /// What each contributor's rows are worth, as shares of revenue
    #[command(override_usage = "\
sahara train value --data <NAME=FILE>… --test <FILE> --label <COLUMN>
                          --labels <A,B,…> [OPTIONS]")]
    Value(value::ValueArgs),
    /// Make the steps of a --provable run again, and name the first that differs
    Verify(provable::VerifyArgs),
}

impl TrainCommand {
    /// What a run is told, if one is asked for.
    fn run(&self) -> Option<&args::RunArgs> {
        match self {
            Self::Table(args) => Some(&args.run),
            Self::Classify(args) => Some(&args.run),
            Self::Lora(args) => Some(&args.run),
            Self::Value(_) | Self::Verify(_) => None,
        }
    }
}

pub fn run(command: TrainCommand, context: &mut Context) -> Result<()> {
    match command {
        TrainCommand::Table(args) => table::table(&args, context),
        TrainCommand::Classify(args) => classify::classify(&args, context),
        TrainCommand::Lora(args) => lora::lora(&args, context),
        TrainCommand::Value(args) => value::value(&args, context),
        TrainCommand::Verify(args) => provable::check(&args, context),
    }
}

fn train_error(error: TrainError) -> Error {
    match &error {
        TrainError::Checkpoint(_) | TrainError::Misfit(_) => Error::user(error.to_string()),
        _ => Error::wrap("training", Blame::Fault, error),
    }
}
