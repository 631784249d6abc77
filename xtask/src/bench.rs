//! `cargo xtask bench`: the tables of the README, measured on this machine.
//!
//! Our side is `sahara demo --json`, the same program that a user runs; the peer is SecretFlow SPU
//! on the same shape, in the same session, so that both see the same machine.

use std::process::Command;

use crate::json::Value;
use crate::process::{self, output};
use crate::{Failure, venv};

/// The model reads 256 tokens.
const LENGTHS: [u32; 5] = [16, 32, 64, 128, 256];
const QUICK_LENGTHS: [u32; 2] = [16, 128];
const COMPARED_LENGTH: u32 = 128;
const BATCHES: [u32; 3] = [1, 8, 32];
/// Answers that a figure is the mean of.
const REPETITIONS: u32 = 4;
const VARIANTS: [(&str, &str); 4] =
    [("exact", "private"), ("faithful", "private"), ("exact", "open"), ("faithful", "open")];
const SPU: &str = "spu==0.9.5";

struct Options {
    peers: bool,
    quick: bool,
    json: bool,
}

/// Measures everything and prints it.
pub fn run(arguments: &[String]) -> Result<(), Failure> {
    let options = Options::parse(arguments)?;
    process::build_sahara()?;
    let mut report: Vec<(String, Value)> = vec![("load_at_start".into(), load())];

    let repetitions = if options.quick { 1 } else { REPETITIONS };
    let lengths: &[u32] = if options.quick { &QUICK_LENGTHS } else { &LENGTHS };
    let mut curve = Vec::new();
    for &tokens in lengths {
        curve.push(demo(tokens, "exact", "private", 1, repetitions)?);
    }
    let mut variants = Vec::new();
    for (mode, weights) in VARIANTS {
        variants.push(demo(COMPARED_LENGTH, mode, weights, 1, repetitions)?);
    }
    let mut batches = Vec::new();
    for batch in BATCHES {
        if options.quick && batch != 1 {
            continue;
        }
        batches.push(demo(COMPARED_LENGTH, "exact", "private", batch, batch.max(repetitions))?);
    }
    let peer = if options.peers { Some(spu(COMPARED_LENGTH)?) } else { None };

    if !options.json {
        println!(
            "\nAll-MiniLM-L6-v2 on three nodes; CPU-seconds and bytes are those of all processes, for one answer."
        );
        table("By length (exact, private weights)", &curve);
        table(&format!("By mode and weights ({COMPARED_LENGTH} tokens)"), &variants);
        table(&format!("By batch ({COMPARED_LENGTH} tokens, exact, private weights)"), &batches);
        if let Some(peer) = &peer {
            compare(&variants, peer);
        }
    }
    report.push(("by_length".into(), Value::List(curve)));
    report.push(("by_variant".into(), Value::List(variants)));
    report.push(("by_batch".into(), Value::List(batches)));
    report.extend(peer.map(|peer| ("spu".to_owned(), peer)));
    report.push(("load_at_end".into(), load()));
    if options.json {
        println!("{}", Value::Object(report));
    }
    Ok(())
}

impl Options {
    fn parse(arguments: &[String]) -> Result<Self, Failure> {
        let mut options = Self { peers: false, quick: false, json: false };
        for argument in arguments {
            match argument.as_str() {
                "--peers" => options.peers = true,
                "--quick" => options.quick = true,
                "--json" => options.json = true,
                other => {
                    return Err(Failure::user(format!(
                        "bench has no option {other:?}; it has --peers, --quick and --json"
                    )));
                }
            }
        }
        Ok(options)
    }
}

/// One run of the demo: `answers` texts of the same length, `batch` of them at once. Costs are divided by the number
/// of answers; the time on the clock is that of one batch.
fn demo(tokens: u32, mode: &str, weights: &str, batch: u32, answers: u32) -> Result<Value, Failure> {
    eprintln!("xtask: {tokens} tokens, {mode}, {weights} weights, {answers} answers, {batch} at once");
    let mut command = process::sahara();
    command
        .args(["demo", "--quiet", "--json", "--tokens", &tokens.to_string(), "--mode", mode, "--weights", weights])
        .args(["--batch", &batch.to_string(), "--sentences", &answers.to_string()]);
    let report = object(&output(&mut command)?, "sahara demo --json")?;
    let mut row: Vec<(String, Value)> = ["mode", "weights", "exact_match", "cosine_min", "rounds", "rounds_per_layer"]
        .iter()
        .chain(&["sentences_per_second", "batch", "sentences"])
        .filter_map(|key| Some(((*key).to_owned(), report.get(key)?.clone())))
        .collect();
    row.push(("tokens".into(), Value::Number(tokens.into())));
    for key in EACH {
        let each = report.number(key).map(|sum| sum / f64::from(answers));
        row.push((key.into(), each.map_or(Value::Null, Value::Number)));
    }
    let batches = f64::from(answers) / f64::from(batch);
    let wall = report.number("wall_seconds_online").map(|sum| sum / batches);
    row.push(("wall_seconds_online".into(), wall.map_or(Value::Null, Value::Number)));
    Ok(Value::Object(row))
}

/// Figures that the demo reports for all texts together.
const EACH: [&str; 8] = [
    "cpu_seconds_total",
    "cpu_seconds_offline",
    "cpu_seconds_online",
    "plaintext_cpu_seconds",
    "reference_cpu_seconds",
    "bytes_total",
    "bytes_offline",
    "bytes_online",
];

/// The peer in a virtual environment of its own.
fn spu(tokens: u32) -> Result<Value, Failure> {
    let python = venv::ensure("spu", &[SPU], "import spu, jax")?;
    eprintln!("xtask: SPU, three processes, {tokens} tokens (some minutes)");
    let script = process::root().join("benches").join("peers").join("spu_minilm.py");
    let mut command = Command::new(python);
    command.arg(script).args(["--tokens", &tokens.to_string()]);
    object(&output(&mut command)?, "spu_minilm.py")
}

fn object(text: &str, from: &str) -> Result<Value, Failure> {
    let line = text.lines().rev().find(|line| line.starts_with('{')).unwrap_or(text);
    Value::parse(line.trim())
        .or_else(|_| Value::parse(text.trim()))
        .map_err(|error| Failure::fault(format!("{from} did not print an object: {error}")))
}

fn table(title: &str, rows: &[Value]) {
    println!("\n{title}\n");
    println!(
        "| tokens | mode | weights | at once | CPU-s in all | CPU-s online | × plaintext | s on the clock, online | MB in all | MB online | rounds a layer | answers/s | exact | worst cosine |"
    );
    println!("|---|---|---|---|---|---|---|---|---|---|---|---|---|---|");
    for row in rows {
        let total = row.number("cpu_seconds_total");
        let ratio = total.zip(row.number("plaintext_cpu_seconds")).map(|(ours, plain)| ours / plain);
        println!(
            "| {} | {} | {} | {} | {} | {} | {} | {} | {} | {} | {} | {} | {} | {} |",
            cell(row.number("tokens"), 0),
            word(row, "mode"),
            word(row, "weights"),
            cell(row.number("batch"), 0),
            cell(total, 2),
            cell(row.number("cpu_seconds_online"), 2),
            cell(ratio, 1),
            cell(row.number("wall_seconds_online"), 2),
            cell(row.number("bytes_total").map(|bytes| bytes / 1e6), 1),
            cell(row.number("bytes_online").map(|bytes| bytes / 1e6), 1),
            cell(row.number("rounds_per_layer"), 1),
            cell(row.number("sentences_per_second"), 2),
            row.truth("exact_match").map_or("-", |exact| if exact { "yes" } else { "no" }),
            cell(row.number("cosine_min"), 5),
        );
    }
}

/// Ours against the peer, with the ratios.
fn compare(variants: &[Value], peer: &Value) {
    let (cpu, bytes) = (peer.number("cpu_seconds_total"), peer.number("bytes_total"));
    println!("\nBeside SPU (ABY3, 64-bit ring, three processes), {COMPARED_LENGTH} tokens, same session\n");
    println!("| system | CPU-s in all | SPU takes × | MB in all | SPU sends × |");
    println!("|---|---|---|---|---|");
    println!("| SPU 0.9.5 | {} | 1 | {} | 1 |", cell(cpu, 1), cell(bytes.map(|bytes| bytes / 1e6), 0));
    for row in variants {
        let (ours, sent) = (row.number("cpu_seconds_total"), row.number("bytes_total"));
        println!(
            "| Sahara, {}, {} weights | {} | {} | {} | {} |",
            word(row, "mode"),
            word(row, "weights"),
            cell(ours, 2),
            cell(cpu.zip(ours).map(|(theirs, ours)| theirs / ours), 0),
            cell(sent.map(|bytes| bytes / 1e6), 0),
            cell(bytes.zip(sent).map(|(theirs, ours)| theirs / ours), 1),
        );
    }
}

fn cell(number: Option<f64>, digits: usize) -> String {
    number.map_or_else(|| "-".to_owned(), |number| format!("{number:.digits$}"))
}

fn word(row: &Value, key: &str) -> String {
    match row.get(key) {
        Some(Value::Text(text)) => text.clone(),
        _ => "-".to_owned(),
    }
}

/// The one-minute load of the machine, to judge wall times by.
fn load() -> Value {
    std::fs::read_to_string("/proc/loadavg")
        .ok()
        .and_then(|text| text.split_whitespace().next().and_then(|number| number.parse().ok()))
        .map_or(Value::Null, Value::Number)
}
