//! A table is trained on within a budget; the run is interrupted and goes on; an old checkpoint that is put back has fewer
//! steps left, and a ledger that is put back, or is gone, stops the run.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::thread;
use std::time::Duration;

const STEPS: &str = "100000";

fn sahara(home: &Path, more: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sahara"));
    command.arg("--home").arg(home).args(["--json", "train", "table", "--label", "class", "--labels", "a,b"]);
    command
        .args(["--range", "*=0:1", "--epsilon", "2", "--delta", "1e-5", "--batch", "2000", "--data"])
        .arg(home.join("d.csv"));
    command.args(more);
    command
}

fn text(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

#[expect(clippy::unwrap_used, reason = "a test's helper")]
fn prepared() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let rows: String = (0..4000)
        .map(|i| format!("{},{},{}\n", i % 7, f64::from(i % 10) / 10.0, ["a", "b"][i as usize % 10 / 5]))
        .collect();
    fs::write(folder.path().join("d.csv"), format!("noise,signal,class\n{rows}")).unwrap();
    folder
}

#[test]
fn a_run_is_released_with_its_report_and_no_more_than_was_wished() {
    let home = prepared();
    let out = home.path().join("out");
    let output = sahara(home.path(), &["--epochs", "10", "--out"]).arg(&out).output().unwrap();
    assert!(output.status.success(), "{}", text(&output));
    let done: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert!(done["epsilon"].as_f64().unwrap() <= 2.0 && done["epsilon"].as_f64().unwrap() > 1.9, "{done}");
    assert!(done["own_accuracy"].as_f64().unwrap() > 0.9, "{done}");
    for file in ["release/weights.safetensors", "release/model.json", "release/report.json", "curve.svg", "checkpoint"]
    {
        assert!(out.join(file).is_file(), "{file}");
    }
    let again = sahara(home.path(), &["--epochs", "10", "--out"]).arg(&out).output().unwrap();
    assert!(again.status.code() == Some(2) && text(&again).contains("--resume"), "{}", text(&again));
    let other = sahara(home.path(), &["--epochs", "11", "--resume", "--out"]).arg(&out).output().unwrap();
    assert!(other.status.code() == Some(2) && text(&other).contains("another run"), "{}", text(&other));
}

#[test]
fn what_could_not_be_read_is_refused_before_anything_is_spent() {
    let home = prepared();
    let (data, out) = (home.path().join("d.csv"), home.path().join("out"));
    let long = "b".repeat(201);
    let text = fs::read_to_string(&data).unwrap();
    fs::write(&data, text.replace(",b\n", &format!(",{long}\n"))).unwrap();
    let mut train = Command::new(env!("CARGO_BIN_EXE_sahara"));
    train.arg("--home").arg(home.path()).args(["train", "table", "--label", "class", "--range", "*=0:7"]);
    train.args(["--epsilon", "2", "--delta", "1e-5", "--epochs", "2", "--labels", &format!("a,{long}")]);
    let output = train.arg("--data").arg(&data).arg("--out").arg(&out).output().unwrap();
    assert!(
        output.status.code() == Some(2) && self::text(&output).contains("trying what will be released"),
        "{}",
        self::text(&output)
    );
    assert!(!out.exists() && !home.path().join("privacy").exists(), "nothing was begun");
}

#[test]
fn what_was_spent_stays_spent() {
    let home = prepared();
    let out = home.path().join("out");
    let ledger = || fs::read_dir(home.path().join("privacy")).unwrap().next().unwrap().unwrap().path();
    let words = ["--epochs", "50000", "--out"];
    let steps: u64 = STEPS.parse().unwrap();
    let part = |resume: &[&str]| {
        let mut command = sahara(home.path(), &words);
        let mut child = command.arg(&out).args(resume).stderr(Stdio::piped()).spawn().unwrap();
        let mut said = BufReader::new(child.stderr.take().unwrap()).lines().map_while(Result::ok);
        assert!(said.any(|line| line.contains("parameters")), "the plan is told before the first step");
        thread::sleep(Duration::from_millis(300));
        let interrupted = Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap();
        assert!(interrupted.success());
        said.for_each(drop);
        assert_eq!(child.wait().unwrap().code(), Some(130));
        assert!(!out.join("release").exists(), "nothing is released before the end");
    };
    part(&[]);
    let (old, old_ledger) = (fs::read(out.join("checkpoint")).unwrap(), fs::read(ledger()).unwrap());
    part(&["--resume"]);
    let newer = fs::read(out.join("checkpoint")).unwrap();
    let (first, second) = (spent(&old), spent(&newer));
    assert!(0 < first && first < second && second < steps, "{first} {second}");
    // An older ledger beside a newer checkpoint.
    let kept = fs::read(ledger()).unwrap();
    fs::write(ledger(), old_ledger).unwrap();
    let refused = sahara(home.path(), &words).arg(&out).arg("--resume").output().unwrap();
    assert!(refused.status.code() == Some(2) && text(&refused).contains("older"), "{}", text(&refused));
    // No ledger at all.
    fs::remove_file(ledger()).unwrap_or_default();
    let refused = sahara(home.path(), &words).arg(&out).arg("--resume").output().unwrap();
    assert!(refused.status.code() == Some(2) && text(&refused).contains("bring the ledger"), "{}", text(&refused));
    // An older checkpoint beside the ledger: what the ledger says stays spent.
    let name = text(&refused);
    let path = name.split("the ledger ").nth(1).and_then(|rest| rest.split(" from where").next()).unwrap();
    fs::write(path, kept).unwrap();
    fs::write(out.join("checkpoint"), &old).unwrap();
    part(&["--resume"]);
    let after = fs::read(out.join("checkpoint")).unwrap();
    assert!(spent(&after) > second, "{} is not below {second}", spent(&after));
    assert!(done(&after) < spent(&after), "the steps that were put back are not made again");
}

/// Of a checkpoint: steps that are spent.
fn spent(checkpoint: &[u8]) -> u64 {
    checkpoint[52..].first_chunk().copied().map_or(0, u64::from_le_bytes)
}

/// Of a checkpoint: steps that its parameters have made.
fn done(checkpoint: &[u8]) -> u64 {
    checkpoint[44..].first_chunk().copied().map_or(0, u64::from_le_bytes)
}
