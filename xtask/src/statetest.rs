//! `cargo xtask statetest DIR`: a folder of Ethereum's state tests through this chain's EVM.

use std::path::Path;

use crate::Failure;
use crate::process::{cargo, run as run_program};

/// Runs every JSON file below the folder.
pub fn run(arguments: &[String]) -> Result<(), Failure> {
    let [folder] = arguments else {
        return Err(Failure::user("usage: cargo xtask statetest DIR"));
    };
    let folder = std::path::absolute(folder).unwrap_or_else(|_| Path::new(folder).into());
    if !folder.is_dir() {
        return Err(Failure::user(format!("{} is not a folder: unpack the tests first", folder.display())));
    }
    run_program(
        cargo().args(["run", "--release", "--package", "sahara-chain", "--example", "statetest", "--"]).arg(folder),
    )
}
