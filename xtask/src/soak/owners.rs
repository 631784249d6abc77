//! Ownership: the random test of `mpc-node/tests` for longer, and with several seeds.

use crate::Failure;
use crate::process::{cargo, run as run_program};

/// Steps of each run.
const STEPS: &str = "1000";
/// Seeds, besides the one that the process gives.
const SEEDS: [&str; 4] = ["1", "2", "3", "4"];

/// Runs the test with each seed; an argument is one further seed.
pub fn run(arguments: &[String]) -> Result<(), Failure> {
    let further = arguments.iter().map(String::as_str);
    for seed in SEEDS.into_iter().chain(further) {
        let mut command = cargo();
        command.args([
            "test",
            "--release",
            "-p",
            "sahara-mpc",
            "--test",
            "random_owners_never_reach_each_others_sharings",
        ]);
        command.env("SAHARA_TEST_SEED", seed).env("SAHARA_TEST_STEPS", STEPS);
        run_program(&mut command)?;
    }
    Ok(())
}
