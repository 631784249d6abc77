//! Runs Ethereum's state tests through this chain's EVM, its state and its trie.
//!
//! `cargo xtask statetest DIR`, or `cargo run --release -p sahara-chain --example statetest -- DIR`
//!
//! Prints every failure and every skipped file with its reason, then how many passed at each fork, then one line:
//! passed, failed, skipped. Tests of before Paris, and of states that no chain can have, are skipped by name. Fails if a
//! test fails, there is none, or one of a hundred is skipped for another reason.

use std::{path::Path, process::ExitCode};

mod case;
mod runner;

fn main() -> ExitCode {
    let Some(folder) = std::env::args().nth(1).filter(|folder| Path::new(folder).is_dir()) else {
        eprintln!("usage: statetest DIR (a folder with JSON files, at any depth)");
        return ExitCode::from(2);
    };
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let report = runner::run(Path::new(&folder), threads);
    for line in report.skipped.iter().map(|skip| &skip.line).chain(&report.failed) {
        println!("{line}");
    }
    for (fork, count) in &report.forks {
        println!("{count:>7} passed at {fork}");
    }
    let (passed, failed, skipped) = (report.passed(), report.failed.len(), report.skipped_tests());
    println!("{passed} passed, {failed} failed, {skipped} skipped in {} files", report.files);
    match report.holds() {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    }
}
