//! Mutants: code with one check changed or removed. A mutant that no test notices is a check that no test guards.
//!
//! `cargo-mutants` makes and tries them, one room after the other, in a copy of the tree with a target folder of its
//! own; what survives must be on the list `accepted.txt` beside this file, each with its reason.

mod accepted;
mod rooms;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use self::accepted::Accepted;
use self::rooms::{ROOMS, Room};
use crate::Failure;
use crate::process::{self, cargo, output, succeeds};

const VERSION: &str = "27.1.0";

/// What one mutant took on two cores: it is compiled, linked and tried. The first build comes before, some 10 minutes.
const SECONDS: usize = 40;

const HELP: &str = "\
Tries mutants of the code that keeps strangers out, and fails when one survives
that is not on the list of accepted ones.

usage: cargo xtask soak mutants [ROOM…] [--shard K/N] [--list] [OPTION…]

  ROOM          some of the rooms only:";

/// Tries the mutants of the rooms that are named, or of all; what begins with a dash goes to `cargo mutants`.
pub fn run(arguments: &[String]) -> Result<(), Failure> {
    if arguments.iter().any(|argument| argument == "--help") {
        println!("{HELP}");
        ROOMS.iter().for_each(|room| println!("      {:<10} {}", room.name, room.what));
        println!(
            "  --shard K/N   every N-th mutant from the K-th on, K from 0\n  --list        shows them and tries none"
        );
        println!("  OPTION        whatever `cargo mutants --help` has, such as --re PATTERN");
        return Ok(());
    }
    let named = arguments.iter().position(|argument| argument.starts_with('-')).unwrap_or(arguments.len());
    let (names, options) = arguments.split_at(named);
    if let Some(other) = names.iter().find(|name| !ROOMS.iter().any(|room| room.name == **name)) {
        let all: Vec<&str> = ROOMS.iter().map(|room| room.name).collect();
        return Err(Failure::user(format!("no room is called {other:?}; there are {}", all.join(", "))));
    }
    let accepted = Accepted::read(include_str!("mutants/accepted.txt"))?;
    let program = ensure_program()?;
    let rooms: Vec<&Room> = ROOMS.iter().filter(|room| names.is_empty() || names.contains(&room.name.into())).collect();
    let mut failed = Vec::new();
    for room in rooms {
        if options.iter().any(|option| option == "--list") {
            print!("{}", output(mutants(&program, room).args(options))?);
            continue;
        }
        let count = output(mutants(&program, room).args(options).arg("--list"))?.lines().count();
        let share = match count.div_ceil(60) {
            0 | 1 => String::new(),
            parts => format!("; --shard 0/{parts} tries about 60 of them"),
        };
        eprintln!(
            "xtask: mutants of {}: {count}, some {} min on two cores{share}",
            room.name,
            count * SECONDS / 60 + 1
        );
        let tally = try_room(&program, room, options, &accepted)?;
        if !tally.survivors.is_empty() {
            failed.push(format!("{} in {}", tally.survivors.len(), room.name));
        }
    }
    match failed.is_empty() {
        true => Ok(()),
        false => Err(Failure::fault(format!(
            "mutants survived that are not on the list xtask/src/soak/mutants/accepted.txt: {}. Each needs a test that \
             fails with it, or a line on that list with the reason",
            failed.join(", ")
        ))),
    }
}

/// What became of the mutants of a room.
struct Tally {
    survivors: Vec<String>,
}

fn try_room(program: &Path, room: &Room, options: &[String], accepted: &Accepted) -> Result<Tally, Failure> {
    let started = Instant::now();
    let folder = process::target_dir().join("mutants");
    let out = folder.join(room.name);
    std::fs::create_dir_all(&out).map_err(|e| Failure::fault(format!("make the folder {}: {e}", out.display())))?;
    let mut command = mutants(program, room);
    command.arg("--output").arg(&out).args(["--timeout", room.timeout, "--no-shuffle"]).args(options);
    command.arg("--").args(room.targets).arg("--").args(room.tests);
    command.env("CARGO_TARGET_DIR", folder.join("target"));
    let status = command.status().map_err(|e| Failure::fault(format!("could not start cargo mutants: {e}")))?;
    // 2: some were missed; 3: some took too long. Both are in the lists.
    if !matches!(status.code(), Some(0 | 2 | 3)) {
        return Err(Failure::fault(format!("cargo mutants ended with {status} for {}", room.name)));
    }
    let list = |name: &str| lines(&out.join("mutants.out").join(name));
    let (caught, missed, late, unviable) =
        (list("caught.txt")?, list("missed.txt")?, list("timeout.txt")?, list("unviable.txt")?);
    let survivors = accepted.others(&missed);
    println!(
        "mutants of {}: {} in {:.0} min: {} caught, {} missed ({} of them accepted), {} timeouts, {} unviable",
        room.name,
        caught.len() + missed.len() + late.len() + unviable.len(),
        started.elapsed().as_secs_f64() / 60.0,
        caught.len(),
        missed.len(),
        missed.len() - survivors.len(),
        late.len(),
        unviable.len()
    );
    survivors.iter().for_each(|survivor| println!("  survived: {survivor}"));
    Ok(Tally { survivors })
}

/// `cargo mutants` for the code of `room`.
fn mutants(program: &Path, room: &Room) -> Command {
    let mut command = cargo();
    let inherited = std::env::var_os("PATH").unwrap_or_default();
    let folders = program.parent().map(PathBuf::from).into_iter().chain(std::env::split_paths(&inherited));
    if let Ok(path) = std::env::join_paths(folders) {
        command.env("PATH", path);
    }
    command.args(["mutants", "--package", room.package, "--cargo-arg=--release"]);
    // Only the crate that changes is compiled again: fast, and in parts.
    for setting in ["opt-level=1", "codegen-units=256"] {
        command.arg(format!("--cargo-arg=--config=profile.release.package.{}.{setting}", room.package));
    }
    command.arg("--cargo-arg=--config=profile.release.incremental=true");
    for pattern in rooms::NO_CHECKS {
        command.args(["--exclude-re", pattern]);
    }
    for file in room.files {
        command.args(["--file", file]);
    }
    command
}

/// The program, installed beside what is built unless it is on the path.
fn ensure_program() -> Result<PathBuf, Failure> {
    if succeeds("cargo-mutants", &["mutants", "--version"]) {
        return Ok("cargo-mutants".into());
    }
    let root = process::target_dir().join("tools");
    let program = root.join("bin/cargo-mutants");
    if !program.is_file() {
        eprintln!("xtask: installing cargo-mutants {VERSION} into {}", root.display());
        let mut command = cargo();
        command.args(["install", "--locked", &format!("cargo-mutants@{VERSION}"), "--root"]).arg(&root);
        process::run(&mut command)?;
    }
    Ok(program)
}

fn lines(path: &Path) -> Result<Vec<String>, Failure> {
    match std::fs::read_to_string(path) {
        Ok(text) => Ok(text.lines().map(str::to_owned).collect()),
        // Nothing of this kind was written.
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(vec![]),
        Err(e) => Err(Failure::fault(format!("read {}: {e}", path.display()))),
    }
}
