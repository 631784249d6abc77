//! `cargo xtask soak fuzz`: each target of `fuzz/` for some seconds under libFuzzer, with address sanitizer and coverage.
//!
//! The corpora and what crashed stay in the target directory, so that the next run goes on from there.

use std::process::{Command, Stdio};

use crate::process::{output, root, run as run_program, succeeds, target_dir};
use crate::{Failure, prerequisites};

const TOOL: &str = "cargo install --locked cargo-fuzz";
const COMPILER: &str = "rustup toolchain install nightly --profile minimal";
/// Of one input.
const TIMEOUT_SECONDS: u32 = 20;
const MEMORY_MB: u32 = 2_048;

/// `--seconds N` for each target (60); other arguments choose targets by name.
pub fn run(arguments: &[String]) -> Result<(), Failure> {
    prerequisites::check_build()?;
    let (mut seconds, mut wanted) = (60u32, Vec::new());
    let mut rest = arguments.iter();
    while let Some(argument) = rest.next() {
        match argument.as_str() {
            "--seconds" => {
                let number = rest.next().and_then(|text| text.parse().ok());
                seconds = number.ok_or_else(|| Failure::user("--seconds wants a number of seconds"))?;
            }
            name => wanted.push(name),
        }
    }
    if !succeeds("cargo", &["+nightly", "--version"]) {
        return Err(Failure::user(format!("fuzzing needs a nightly compiler: {COMPILER}")));
    }
    if !succeeds("cargo", &["fuzz", "--version"]) {
        return Err(Failure::user(format!("fuzzing needs cargo-fuzz: {TOOL}")));
    }
    let all = output(fuzz().arg("list"))?;
    if let Some(name) = wanted.iter().find(|name| all.lines().all(|target| target != **name)) {
        return Err(Failure::user(format!("no fuzz target is called {name:?}; there are\n{all}")));
    }
    run_program(fuzz().args(["build", "--target-dir"]).arg(target_dir().join("fuzz")))?;
    let targets: Vec<&str> = all.lines().filter(|name| wanted.is_empty() || wanted.contains(name)).collect();
    let mut failed = Vec::new();
    for target in &targets {
        match fuzzed(target, seconds)? {
            Some(done) => println!("fuzz {target:<20} {done}"),
            None => failed.push(*target),
        }
    }
    match failed.is_empty() {
        true => Ok(()),
        false => Err(Failure::fault(format!(
            "{} of {} targets failed: {}; what failed lies in {}",
            failed.len(),
            targets.len(),
            failed.join(", "),
            target_dir().join("fuzz-artifacts").display()
        ))),
    }
}

/// Runs one target; libFuzzer's closing line, or nothing if an input made it fail (which it has said).
fn fuzzed(target: &str, seconds: u32) -> Result<Option<String>, Failure> {
    let (corpus, artifacts) = (target_dir().join("fuzz-corpus").join(target), target_dir().join("fuzz-artifacts"));
    for folder in [&corpus, &artifacts] {
        std::fs::create_dir_all(folder)
            .map_err(|e| Failure::fault(format!("could not make {}: {e}", folder.display())))?;
    }
    let mut command = fuzz();
    command.args(["run", "--target-dir"]).arg(target_dir().join("fuzz")).arg(target).arg(&corpus).arg("--");
    command.arg(format!("-max_total_time={seconds}")).arg(format!("-timeout={TIMEOUT_SECONDS}"));
    command.arg(format!("-rss_limit_mb={MEMORY_MB}"));
    command.arg(format!("-artifact_prefix={}/{target}-", artifacts.display()));
    let ended = command
        .stderr(Stdio::piped())
        .output()
        .map_err(|e| Failure::fault(format!("could not start the fuzz target {target}: {e}")))?;
    let said = String::from_utf8_lossy(&ended.stderr);
    if !ended.status.success() {
        eprintln!("{said}");
        return Ok(None);
    }
    let last = said.lines().rev().find(|line| line.starts_with("Done "));
    Ok(Some(last.unwrap_or("ended without a count").to_owned()))
}

fn fuzz() -> Command {
    let mut command = Command::new("cargo");
    command.args(["+nightly", "fuzz"]).current_dir(root());
    command
}
