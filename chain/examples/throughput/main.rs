//! How many transfers a second: four real validators, one embedded validator, and beside them the same CometBFT with an
//! application that does nothing, all processes and the load generator on this machine.
//!
//! `cargo run --release -p sahara-chain --example throughput -- --seconds 60` (needs `cometbft`, and the program
//! `sahara-chain` built in the same profile: `cargo build --release -p sahara-chain`).
#![allow(clippy::disallowed_methods, reason = "a benchmark measures time")]
#![allow(
    clippy::float_arithmetic,
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss
)]

mod load;
mod network;
mod noop;
mod report;

use std::{error::Error, net::SocketAddr, process::ExitCode, time::Duration};

use clap::{Parser, Subcommand, ValueEnum};

use self::{load::Outcome, network::Network};

type Result<T> = std::result::Result<T, Box<dyn Error + Send + Sync>>;

/// Measures transfers a second on this machine.
#[derive(Parser)]
struct Options {
    #[command(subcommand)]
    role: Option<Role>,
    /// Seconds of load for each measurement
    #[arg(long, default_value_t = 60)]
    seconds: u64,
    /// Transfers offered each second to the validators
    #[arg(long, default_value_t = 2_500)]
    rate: u64,
    /// Transactions offered each second to the application that does nothing
    #[arg(long, default_value_t = 6_600)]
    noop_rate: u64,
    /// Transfers offered each second to the embedded validator
    #[arg(long, default_value_t = 10_000)]
    embedded_rate: u64,
    /// Validators
    #[arg(long, default_value_t = 4)]
    validators: usize,
    /// What to measure
    #[arg(long, value_enum, default_values_t = [Subject::Validators, Subject::Noop, Subject::Embedded])]
    only: Vec<Subject>,
    /// One JSON object instead of a table
    #[arg(long)]
    json: bool,
}

#[derive(Subcommand)]
enum Role {
    /// The application that does nothing, for CometBFT
    #[command(hide = true)]
    Noop {
        /// Where CometBFT finds it
        address: SocketAddr,
    },
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Subject {
    /// Real CometBFT validators with the ledger
    Validators,
    /// Real CometBFT validators with an application that does nothing
    Noop,
    /// One embedded validator
    Embedded,
}

fn main() -> ExitCode {
    let options = Options::parse();
    let done = match options.role {
        Some(Role::Noop { address }) => noop::serve(address),
        None => measure(&options),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            eprintln!("error: {e}");
            ExitCode::FAILURE
        }
    }
}

fn measure(options: &Options) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let mut report = report::Report::default();
    let seconds = options.seconds;
    if options.only.contains(&Subject::Validators) {
        eprintln!("{} validators, {} transfers/s for {seconds} s", options.validators, options.rate);
        let network = Network::validators(options.validators)?;
        report.validators = Some(runtime.block_on(load::transfers(&network, options.rate, seconds))?);
    }
    if options.only.contains(&Subject::Noop) {
        eprintln!("{} validators that do nothing, {} transactions/s", options.validators, options.noop_rate);
        let network = Network::noop(options.validators)?;
        report.noop = Some(runtime.block_on(load::bytes(&network, options.noop_rate, seconds))?);
    }
    if options.only.contains(&Subject::Embedded) {
        eprintln!("one embedded validator, {} transfers/s for {seconds} s", options.embedded_rate);
        let network = Network::embedded()?;
        report.embedded = Some(runtime.block_on(load::transfers(&network, options.embedded_rate, seconds))?);
    }
    report.print(options.json)
}

/// Waits until `ready` answers, for a minute at most.
async fn eventually<T, F: Future<Output = Option<T>>>(what: &str, mut ready: impl FnMut() -> F) -> Result<T> {
    let begun = std::time::Instant::now();
    while begun.elapsed() < Duration::from_secs(60) {
        if let Some(found) = ready().await {
            return Ok(found);
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    Err(format!("waited a minute for {what}").into())
}
