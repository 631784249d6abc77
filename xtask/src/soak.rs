//! `cargo xtask soak`: runs that are too long for every change: mutants, load, owners, attacks, fuzzing, services, ARM.
//!
//! Each area is one function in a file of its own, prints its conditions and its figures, and fails when a bar is missed.

mod arm;
mod attack;
mod fuzz;
mod load;
mod mutants;
mod owners;
mod services;

use std::time::Instant;

use crate::{Failure, prerequisites};

type Area = (&'static str, &'static str, fn(&[String]) -> Result<(), Failure>);

const AREAS: &[Area] = &[
    ("mutants", "removes checks one by one and sees whether a test notices", mutants::run),
    ("load", "1,200 hostile connections beside an honest consumer of share nodes", load::run),
    ("owners", "three keys share, use, replace, delete and steal at random, thousands of times", owners::run),
    ("attack", "attacks four validators for 1,000 blocks beside honest transfers", attack::run),
    ("arm", "unit tests of circuits and protocol on 64-bit ARM, in an emulator (some minutes)", arm::run),
    ("fuzz", "each target of fuzz/ for a minute; --seconds N, names (needs nightly and cargo-fuzz)", fuzz::run),
    ("services", "docs/install.md under a systemd of its own, in a container (needs root)", services::run),
];

/// Runs the named area with its arguments, or all of them.
pub fn run(arguments: &[String]) -> Result<(), Failure> {
    prerequisites::check_build()?;
    let chosen: Vec<&Area> = match arguments.first().map(String::as_str) {
        None => AREAS.iter().collect(),
        Some("--help" | "help") => {
            AREAS.iter().for_each(|(name, purpose, _)| println!("  soak {name:<10} {purpose}"));
            return Ok(());
        }
        Some(name) => {
            let area = AREAS.iter().find(|(area, ..)| *area == name);
            let all: Vec<&str> = AREAS.iter().map(|(area, ..)| *area).collect();
            vec![
                area.ok_or_else(|| Failure::user(format!("no soak is called {name:?}; there are {}", all.join(", "))))?,
            ]
        }
    };
    let rest = arguments.get(1..).unwrap_or_default();
    for (name, purpose, area) in chosen {
        let started = Instant::now();
        eprintln!("xtask: soak {name}: {purpose}");
        area(rest)?;
        eprintln!("xtask: soak {name} done in {:.0} s", started.elapsed().as_secs_f64());
    }
    Ok(())
}
