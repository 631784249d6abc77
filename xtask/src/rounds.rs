//! `cargo xtask bench rounds`: a hundred providers as processes train a model on three nodes as processes, some of them away or
//! hostile, and the model stands beside a central one of the same ε.

use crate::Failure;
use crate::process;

const JOURNEY: &str = "providers_train_together_and_only_noisy_sums_open";

/// Runs and prints.
pub fn bench(arguments: &[String]) -> Result<(), Failure> {
    if let Some(other) = arguments.first() {
        return Err(Failure::user(format!("bench rounds has no option {other:?}")));
    }
    let mut command = process::cargo();
    command.args(["test", "--release", "-p", "sahara-cli", "--test", JOURNEY, "--", "--ignored", "--nocapture"]);
    process::run(&mut command)
}
