//! The chain as a program of its own; `sahara chain …` has the same commands.
#![forbid(unsafe_code)]

use std::process::ExitCode;

use clap::Parser;
use sahara_chain::{
    cli::Command,
    node::{NodeError, tell},
};

#[derive(Parser)]
#[command(version, about = "Run a chain: one validator for development, or real CometBFT validators")]
struct Program {
    #[command(subcommand)]
    command: Command,
}

fn main() -> ExitCode {
    let program = Program::parse();
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(e) => {
            tell(format_args!("error: start the runtime: {e}"));
            return ExitCode::FAILURE;
        }
    };
    let ended = runtime.block_on(program.command.run(&[]));
    // A thread may be blocked in a read for ever; the process ends all the same.
    runtime.shutdown_background();
    match ended {
        Ok(()) | Err(NodeError::ReaderGone) => ExitCode::SUCCESS,
        Err(error) => {
            tell(format_args!("error: {error}"));
            ExitCode::from(if matches!(error, NodeError::Fault(_)) { 1 } else { 2 })
        }
    }
}
