//! Four validators under attack beside honest transfers.

use crate::Failure;
use crate::prerequisites;
use crate::process::{self, cargo, run as run_program};

/// Builds the example `attack` and runs it; the arguments are its own (`--help` tells them).
pub fn run(arguments: &[String]) -> Result<(), Failure> {
    prerequisites::ensure_cometbft()?;
    run_program(cargo().args(["build", "--release", "--package", "sahara-chain", "--bins", "--example", "attack"]))?;
    let program = process::target_dir().join("release/examples/attack");
    run_program(std::process::Command::new(program).args(arguments).current_dir(process::root()))
}
