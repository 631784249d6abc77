//! An honest consumer beside a crowd of hostile connections.

use crate::Failure;
use crate::process::{self, cargo, run as run_program};

/// Builds the example `load` and runs it; the arguments are its own.
pub fn run(arguments: &[String]) -> Result<(), Failure> {
    run_program(cargo().args(["build", "--release", "--package", "sahara-mpc", "--example", "load"]))?;
    let program = process::target_dir().join("release/examples/load");
    run_program(std::process::Command::new(program).args(arguments).current_dir(process::root()))
}
