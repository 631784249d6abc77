//! `cargo xtask bench chain`: how many transfers a second the ledger takes, beside an application that does nothing.

use std::time::Instant;

use crate::Failure;
use crate::prerequisites;
use crate::process::{self, cargo, run as run_program};

/// Builds what is measured and measures it; the arguments are those of the example `throughput`.
pub fn bench(arguments: &[String]) -> Result<(), Failure> {
    prerequisites::check_build()?;
    prerequisites::ensure_cometbft()?;
    eprintln!("xtask: building the ledger");
    let started = Instant::now();
    run_program(cargo().args([
        "build",
        "--release",
        "--package",
        "sahara-chain",
        "--bins",
        "--example",
        "throughput",
    ]))?;
    eprintln!("xtask: built in {:.0} s", started.elapsed().as_secs_f64());
    let program = process::target_dir().join("release/examples/throughput");
    run_program(std::process::Command::new(program).args(arguments).current_dir(process::root()))
}
