//! Mutants: code with one check changed or removed. A mutant that no test notices is a check that no test guards.

use crate::Failure;
use crate::process::{cargo, run as run_program, succeeds};

const INSTALL: &str = "cargo install --locked cargo-mutants@27.0.0";

/// Where the checks live that keep strangers out: crate, and files under it.
const GUARDED: [(&str, &[&str]); 2] = [
    (
        "sahara-mpc",
        &[
            "mpc-node/src/models.rs",
            "mpc-node/src/models/*.rs",
            "mpc-node/src/manifest.rs",
            "mpc-node/src/manifest/*.rs",
        ],
    ),
    ("sahara-chain", &["chain/src/pool/*.rs", "chain/src/ledger/proposal.rs", "chain/src/staking/penalty.rs"]),
];

/// Runs `cargo mutants` over the files with checks; arguments are passed on (`--list` shows the mutants).
pub fn run(arguments: &[String]) -> Result<(), Failure> {
    if !succeeds("cargo", &["mutants", "--version"]) {
        return Err(Failure::user(format!("cargo-mutants is missing: {INSTALL}")));
    }
    for (package, files) in GUARDED {
        let mut command = cargo();
        command.args(["mutants", "--package", package, "--no-shuffle", "--cargo-arg=--release"]);
        files.iter().for_each(|file| {
            command.args(["--file", file]);
        });
        run_program(command.args(arguments))?;
    }
    Ok(())
}
