//! Four real validators under attack beside honest transfers: do the honest ones become final in time, and who pays?
//!
//! `cargo run --release -p sahara-chain --example attack -- --blocks 1000` (needs `cometbft`, and the program
//! `sahara-chain` built in the same profile: `cargo build --release -p sahara-chain`). Ends with exit code 1 if fewer
//! than 99 % of the honest transfers are final within 5 seconds, or if attackers get into blocks for less than that costs.
#![allow(clippy::disallowed_methods, reason = "a benchmark measures time")]
#![allow(clippy::float_arithmetic, clippy::cast_precision_loss)]
#![allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]

mod attacks;
mod field;
#[path = "../throughput/network.rs"]
#[allow(dead_code, reason = "the other example measures more")]
mod network;
mod report;

use std::{error::Error, process::ExitCode};

use clap::Parser;

use self::{field::Field, network::Network, report::Report};

type Result<T> = std::result::Result<T, Box<dyn Error + Send + Sync>>;

/// Attacks four validators on this machine and watches honest transfers.
#[derive(Parser)]
struct Options {
    /// Blocks under attack
    #[arg(long, default_value_t = 1_000)]
    blocks: u64,
    /// What the attacks are drawn from; the time if it is not given
    #[arg(long)]
    seed: Option<u64>,
    /// Honest transfers each second
    #[arg(long, default_value_t = 20)]
    rate: u64,
    /// Attacks each second, of up to 60 transactions each
    #[arg(long, default_value_t = 5)]
    attacks: u64,
    /// Validators
    #[arg(long, default_value_t = 4)]
    validators: usize,
    /// One JSON object instead of a table
    #[arg(long)]
    json: bool,
}

fn main() -> ExitCode {
    let options = Options::parse();
    match run(&options) {
        Ok(report) if report.missed().is_empty() => ExitCode::SUCCESS,
        Ok(report) => {
            report.missed().iter().for_each(|missed| eprintln!("error: {missed}"));
            ExitCode::FAILURE
        }
        Err(e) => {
            eprintln!("error: {e}");
            ExitCode::FAILURE
        }
    }
}

fn run(options: &Options) -> Result<Report> {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH)?;
    let seed = options.seed.unwrap_or(now.as_nanos() as u64 % 1_000_000);
    eprintln!(
        "seed {seed}: {} blocks, {} honest transfers/s, {} attacks/s",
        options.blocks, options.rate, options.attacks
    );
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let network = Network::validators(options.validators)?;
    let report = runtime.block_on(Field::new(&network.targets, seed).battle(options))?;
    report.print(options.json);
    Ok(report)
}
