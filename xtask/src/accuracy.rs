//! `cargo xtask bench accuracy`: what the defaults of private training reach on five data sets at ε = 0.5, 1, 3 and 8, δ = 10⁻⁵,
//! with three seeds; with `--peers`, beside Opacus on the same numbers, at the same ε, δ, steps, batch, rate and clip.
//!
//! The data comes out of packages of the registries (`benches/peers/privacy_data.py`), and is kept in the target directory, as are
//! the vectors of texts.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::json::Value;
use crate::privacy::BenchOptions;
use crate::process::{self, output};
use crate::{Failure, venv};

const TABLES: [&str; 3] = ["digits", "mnist", "thyroid"];
/// And how many characters of a text are read: of mails the first, so that it takes minutes.
const TEXTS: [(&str, usize); 2] = [("movies", 2000), ("spam", 160)];

/// Measures and prints. `--only NAME` measures one data set.
pub fn bench(arguments: &[String]) -> Result<(), Failure> {
    let BenchOptions { peers, json, only } = BenchOptions::read("accuracy", arguments)?;
    let all = TABLES.into_iter().chain(TEXTS.map(|(name, _)| name));
    let names: Vec<&str> = all.filter(|name| only.is_none_or(|only| only == *name)).collect();
    if names.is_empty() {
        return Err(Failure::user("--only names one of digits, mnist, thyroid, movies, spam"));
    }
    let folder = process::target_dir().join("peers").join("privacy-data");
    gather(&folder, &names)?;
    process::run(process::cargo().args(["build", "--release", "-p", "sahara-privacy", "--example", "accuracy"]))?;
    let opacus = match peers {
        true => Some(venv::ensure("opacus", &["torch", "opacus"], "import torch, opacus")?),
        false => None,
    };
    if !json {
        println!("right on rows held back, in percent: mean of three seeds ± their deviation; δ = 1e-5");
    }
    for name in names {
        let program = process::target_dir().join("release").join("examples").join("accuracy");
        let lines = output(Command::new(program).arg(name).arg(&folder).arg(&folder))?;
        let theirs = opacus.as_deref().map(|python| beside(python, name, &folder, &lines)).transpose()?;
        let theirs: Vec<Value> = theirs.iter().flat_map(|lines| lines.lines()).map(parsed).collect::<Result<_, _>>()?;
        for (index, line) in lines.lines().enumerate() {
            let ours = parsed(line)?;
            let peer = theirs.get(index);
            if json {
                let mut fields = match ours {
                    Value::Object(fields) => fields,
                    other => return Err(Failure::fault(format!("no object but {other}"))),
                };
                fields
                    .extend(peer.and_then(|peer| Some(("opacus_accuracy".to_owned(), peer.get("accuracy")?.clone()))));
                println!("{}", Value::Object(fields));
            } else {
                let epsilon = ours.number("epsilon").unwrap_or_default();
                let beside = peer.map_or(Ok(String::new()), |peer| Ok(format!(", Opacus {}", spread(peer)?)))?;
                println!("{name}, ε = {epsilon}: {}{beside}", spread(&ours)?);
            }
        }
    }
    Ok(())
}

/// Mean and deviation.
fn spread(line: &Value) -> Result<String, Failure> {
    let seeds = line.get("accuracy").and_then(Value::list).unwrap_or_default();
    let right: Vec<f64> =
        seeds.iter().filter_map(|seed| if let Value::Number(right) = seed { Some(*right) } else { None }).collect();
    if right.len() < 2 {
        return Err(Failure::fault(format!("no accuracies in {line}")));
    }
    let mean = right.iter().sum::<f64>() / right.len() as f64;
    let variance = right.iter().map(|right| (right - mean).powi(2)).sum::<f64>() / (right.len() - 1) as f64;
    Ok(format!("{mean:.1} ± {:.1}", variance.sqrt()))
}

fn parsed(line: &str) -> Result<Value, Failure> {
    Value::parse(line).map_err(|error| Failure::fault(format!("{line}: {error}")))
}

/// Opacus on the numbers that our side wrote, wished what our side printed.
fn beside(python: &Path, name: &str, folder: &Path, wishes: &str) -> Result<String, Failure> {
    let script = process::root().join("benches").join("peers").join("opacus_accuracy.py");
    let failed = |error: std::io::Error| Failure::fault(format!("running {}: {error}", script.display()));
    let mut peer = Command::new(python);
    peer.arg(&script).arg(name).arg(folder).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut peer = peer.spawn().map_err(failed)?;
    if let Some(mut input) = peer.stdin.take() {
        input.write_all(wishes.as_bytes()).map_err(failed)?;
    }
    let done = peer.wait_with_output().map_err(failed)?;
    match (done.status.success(), String::from_utf8(done.stdout)) {
        (true, Ok(lines)) => Ok(lines),
        _ => Err(Failure::fault(format!("{} failed", script.display()))),
    }
}

/// Makes the tables that are not there.
fn gather(folder: &Path, names: &[&str]) -> Result<(), Failure> {
    std::fs::create_dir_all(folder).map_err(|error| Failure::fault(format!("making {}: {error}", folder.display())))?;
    let made = |name: &str, ending: &str| folder.join(format!("{name}.test.{ending}")).exists();
    let texts = |name: &str| TEXTS.iter().any(|(text, _)| *text == name);
    if names.iter().any(|name| !made(name, if texts(name) { "jsonl" } else { "csv" })) {
        let script = process::root().join("benches").join("peers").join("privacy_data.py");
        process::run(Command::new("python3").arg(script).arg(folder))?;
    }
    for (name, characters) in TEXTS {
        if names.contains(&name) && !made(name, "csv") {
            process::build_sahara()?;
            // The one that tells that all is there comes last.
            for part in ["", ".test"] {
                embed(&folder.join(format!("{name}{part}")), characters)?;
            }
        }
    }
    Ok(())
}

/// The vectors of the texts of a .jsonl file as a table, by the float model.
fn embed(stem: &Path, characters: usize) -> Result<(), Failure> {
    let place = |ending: &str| PathBuf::from(format!("{}.{ending}", stem.display()));
    let failed = |error: std::io::Error| Failure::fault(format!("embedding {}: {error}", stem.display()));
    let rows = std::fs::read_to_string(place("jsonl")).map_err(failed)?;
    let rows = rows.lines().map(parsed).collect::<Result<Vec<Value>, Failure>>()?;
    let text = |row: &Value| {
        let words: Vec<&str> = row.text("text").unwrap_or_default().split_whitespace().collect();
        let text: String = words.join(" ").chars().take(characters).collect();
        if text.is_empty() { "-".to_owned() } else { text }
    };
    std::fs::write(place("txt"), rows.iter().map(|row| text(row) + "\n").collect::<String>()).map_err(failed)?;
    let vectors = output(process::sahara().args(["embed", "--float", "--json", "--file"]).arg(place("txt")))?;
    let vectors = vectors.lines().map(parsed).collect::<Result<Vec<Value>, Failure>>()?;
    if vectors.len() != rows.len() {
        return Err(Failure::fault(format!("{} vectors of {} texts", vectors.len(), rows.len())));
    }
    let mut table = String::new();
    for (row, vector) in rows.iter().zip(&vectors) {
        let numbers = vector.get("embedding").and_then(Value::list).unwrap_or_default();
        if table.is_empty() {
            table.extend((0..numbers.len()).map(|index| format!("v{index},")));
            table.push_str("label\n");
        }
        table.extend(numbers.iter().map(|number| format!("{number},")));
        table.push_str(row.text("label").unwrap_or_default());
        table.push('\n');
    }
    std::fs::write(place("csv"), table).map_err(failed)
}
