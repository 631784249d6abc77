//! `cargo xtask demo`: from a fresh checkout to the table.

use crate::{Failure, prerequisites, process};

/// Checks, builds, and hands over to `sahara demo` with the caller's arguments.
pub fn run(arguments: &[String]) -> Result<(), Failure> {
    prerequisites::check_build()?;
    prerequisites::note_model_package();
    process::build_sahara()?;
    process::run(process::sahara().arg("demo").args(arguments))
}
