//! `cargo xtask bench privacy`: what a step of private training costs, beside one that is not private and, with `--peers`,
//! beside Opacus in its best mode, in the same session.

use std::process::Command;

use crate::json::Value;
use crate::process::{self, output};
use crate::{Failure, venv};

/// Models, examples of a batch, and steps.
const MODELS: [[&str; 3]; 5] =
    [["lr", "256", "60"], ["mlp", "256", "60"], ["cnn", "256", "60"], ["lora", "16", "10"], ["full", "16", "10"]];
/// Modes of Opacus, of which the best counts.
const MODES: [&str; 3] = ["hooks", "functorch", "ghost"];

/// Measures and prints.
pub fn bench(arguments: &[String]) -> Result<(), Failure> {
    if let Some(other) = arguments.iter().find(|argument| !["--peers", "--json"].contains(&argument.as_str())) {
        return Err(Failure::user(format!("bench privacy has no option {other:?}; it has --peers and --json")));
    }
    let has = |option: &str| arguments.iter().any(|argument| argument == option);
    process::run(process::cargo().args(["build", "--release", "-p", "sahara-privacy", "--example", "speed"]))?;
    let opacus = match has("--peers") {
        true => Some(venv::ensure("opacus", &["torch", "opacus"], "import torch, opacus")?),
        false => None,
    };
    for [model, batch, steps] in MODELS {
        let ours = |mode: &str| rate(Command::new(speed()).args([model, mode, batch, steps]));
        let (private, plain) = (ours("private")?, ours("plain")?);
        let mut best: Option<f64> = None;
        if let Some(python) = &opacus {
            let script = process::root().join("benches").join("peers").join("opacus_steps.py");
            for mode in MODES {
                let measured = rate(Command::new(python).arg(&script).args([model, mode, batch, steps]))?;
                best = Some(best.map_or(measured, |best| best.max(measured)));
            }
        }
        if has("--json") {
            let number = |value: Option<f64>| value.map_or(Value::Null, Value::Number);
            let row = vec![
                ("model".to_owned(), Value::Text(model.to_owned())),
                ("batch".to_owned(), number(batch.parse().ok())),
                ("private_samples_per_cpu_second".to_owned(), Value::Number(private)),
                ("non_private_samples_per_cpu_second".to_owned(), Value::Number(plain)),
                ("opacus_samples_per_cpu_second".to_owned(), number(best)),
            ];
            println!("{}", Value::Object(row));
        } else {
            let beside = best.map_or(String::new(), |best| format!(", Opacus {best:.0} ({:.2} times)", private / best));
            println!("{model}: {private:.0} private, {plain:.0} not ({:.2} times){beside}", plain / private);
        }
    }
    Ok(())
}

fn speed() -> std::path::PathBuf {
    process::target_dir().join("release").join("examples").join("speed")
}

fn rate(command: &mut Command) -> Result<f64, Failure> {
    let printed = output(command)?;
    let line = printed.lines().rev().find(|line| line.starts_with('{')).unwrap_or_default();
    let found = Value::parse(line).ok().and_then(|object| object.number("samples_per_cpu_second"));
    found.ok_or_else(|| Failure::fault(format!("{command:?} did not print its rate: {printed}")))
}
