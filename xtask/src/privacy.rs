//! `cargo xtask bench privacy`: what a step of private training costs in time and memory, beside one that is not private and, with
//! `--peers`, beside Opacus in its best mode, in the same session. `--only NAME` measures one model.

use std::process::Command;

use crate::json::Value;
use crate::process::{self, output};
use crate::{Failure, venv};

/// A row of the table: a model, how many examples a batch has, and of how many steps the middle one counts.
struct Row {
    model: &'static str,
    batch: u32,
    steps: u32,
}

const ROWS: [Row; 5] = [
    Row { model: "lr", batch: 256, steps: 200 },
    Row { model: "mlp", batch: 256, steps: 60 },
    Row { model: "cnn", batch: 256, steps: 60 },
    Row { model: "lora", batch: 16, steps: 10 },
    Row { model: "full", batch: 16, steps: 10 },
];
/// Modes of Opacus, of which the best counts.
const MODES: [&str; 3] = ["hooks", "functorch", "ghost"];

/// What one program measured.
#[derive(Clone, Copy)]
struct Measured {
    /// Samples in a CPU-second.
    rate: f64,
    /// How much memory grew while it trained, in MB.
    memory: f64,
}

/// What both benches of private training are told.
pub struct BenchOptions<'a> {
    /// Opacus beside it.
    pub peers: bool,
    pub json: bool,
    /// The one row that is measured.
    pub only: Option<&'a str>,
}

impl<'a> BenchOptions<'a> {
    /// Of `bench NAME`.
    pub fn read(bench: &str, arguments: &'a [String]) -> Result<Self, Failure> {
        let (mut peers, mut json, mut only) = (false, false, None);
        let mut rest = arguments.iter().map(String::as_str);
        while let Some(argument) = rest.next() {
            match argument {
                "--peers" => peers = true,
                "--json" => json = true,
                "--only" => only = rest.next(),
                other => {
                    return Err(Failure::user(format!(
                        "bench {bench} has no option {other:?}; it has --peers, --json and --only NAME"
                    )));
                }
            }
        }
        Ok(Self { peers, json, only })
    }
}

/// Measures and prints.
pub fn bench(arguments: &[String]) -> Result<(), Failure> {
    let BenchOptions { peers, json, only } = BenchOptions::read("privacy", arguments)?;
    process::run(process::cargo().args(["build", "--release", "-p", "sahara-privacy", "--example", "speed"]))?;
    let opacus = match peers {
        true => Some(venv::ensure("opacus", &["torch", "opacus"], "import torch, opacus")?),
        false => None,
    };
    let rows: Vec<&Row> = ROWS.iter().filter(|row| only.is_none_or(|only| only == row.model)).collect();
    if rows.is_empty() {
        return Err(Failure::user("--only names one of lr, mlp, cnn, lora, full"));
    }
    for row in rows {
        let words = |mode: &str| [row.model.to_owned(), mode.to_owned(), row.batch.to_string(), row.steps.to_string()];
        let ours = |mode: &str| measured(Command::new(speed()).args(words(mode)));
        let (private, plain) = (ours("private")?, ours("plain")?);
        let mut best: Option<Measured> = None;
        let mut hooks = None;
        for mode in MODES {
            let Some(python) = opacus.as_ref() else { break };
            let script = process::root().join("benches").join("peers").join("opacus_steps.py");
            let theirs = measured(Command::new(python).arg(&script).args(words(mode)))?;
            if mode == "hooks" {
                hooks = Some(theirs.memory);
            }
            best = Some(best.filter(|best| best.rate > theirs.rate).unwrap_or(theirs));
        }
        if json {
            let number = |value: Option<f64>| value.map_or(Value::Null, Value::Number);
            let fields = [
                ("batch", number(Some(row.batch.into()))),
                ("private_samples_per_cpu_second", Value::Number(private.rate)),
                ("non_private_samples_per_cpu_second", Value::Number(plain.rate)),
                ("opacus_samples_per_cpu_second", number(best.map(|best| best.rate))),
                ("private_memory_growth_mb", Value::Number(private.memory)),
                ("non_private_memory_growth_mb", Value::Number(plain.memory)),
                ("opacus_hooks_memory_growth_mb", number(hooks)),
            ];
            let fields = fields.map(|(name, value)| (name.to_owned(), value));
            let model = ("model".to_owned(), Value::Text(row.model.to_owned()));
            println!("{}", Value::Object([vec![model], fields.into()].concat()));
        } else {
            let beside = match (best, hooks) {
                (Some(best), Some(hooks)) => format!(
                    "; Opacus {:.0} ({:.2} times), {hooks:.1} MB with hooks",
                    best.rate,
                    private.rate / best.rate
                ),
                _ => String::new(),
            };
            println!(
                "{}: {:.0} samples a CPU-second private, {:.0} not ({:.2} times), {:.1} MB{beside}",
                row.model,
                private.rate,
                plain.rate,
                plain.rate / private.rate,
                private.memory
            );
        }
    }
    Ok(())
}

fn speed() -> std::path::PathBuf {
    process::target_dir().join("release").join("examples").join("speed")
}

fn measured(command: &mut Command) -> Result<Measured, Failure> {
    let printed = output(command)?;
    let line = printed.lines().rev().find(|line| line.starts_with('{')).unwrap_or_default();
    let found = Value::parse(line).ok().and_then(|object| {
        Some(Measured { rate: object.number("samples_per_cpu_second")?, memory: object.number("memory_growth_mb")? })
    });
    found.ok_or_else(|| Failure::fault(format!("{command:?} did not print what it measured: {printed}")))
}
