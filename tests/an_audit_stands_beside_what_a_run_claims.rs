//! A run is trained and audited by its own command: the lower bound is not above what it claims; a report that claims less than
//! the run's noise gives is contradicted with an exit code of its own; of a command that was changed nothing is followed but how it
//! trains; and contributors' rows get shares of revenue.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;
use tempfile::TempDir;

fn sahara(home: &Path, words: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sahara"));
    command.current_dir(home).arg("--home").arg(home.join("home")).arg("--json").args(words);
    command
}

fn text(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// Rows whose class is whether a number is above a half; of so many in ten it is not.
fn rows(count: u32, wrong: u32) -> String {
    let row = |i: u32| {
        let class = u32::from(i % 10 >= 5) ^ u32::from(i * 7 % 10 < wrong);
        format!("{},{},{}\n", f64::from(i % 7) / 7.0, f64::from(i % 10) / 10.0, ["a", "b"][class as usize])
    };
    format!("noise,signal,class\n{}", (0..count).map(row).collect::<String>())
}

/// A folder with rows and a run on them in `out`.
#[expect(clippy::unwrap_used, reason = "a test's helper")]
fn trained() -> TempDir {
    let home = tempfile::tempdir().unwrap();
    fs::write(home.path().join("d.csv"), rows(400, 0)).unwrap();
    fs::write(home.path().join("gone.csv"), rows(50, 0)).unwrap();
    let mut train = sahara(home.path(), &["train", "table", "--label", "class", "--labels", "a,b", "--range", "*=0:1"]);
    train.args(["--hidden", "40", "--epsilon", "8", "--delta", "1e-5", "--epochs", "10", "--data", "d.csv"]);
    let output = train.args(["--test", "gone.csv", "--out", "out"]).output().unwrap();
    assert!(output.status.success(), "{}", text(&output));
    fs::remove_file(home.path().join("gone.csv")).unwrap();
    home
}

const AUDIT: [&str; 7] = ["dp", "audit", "out", "--data", "d.csv", "--canaries", "400"];

/// Every file below a folder with what is in it.
#[expect(clippy::unwrap_used, reason = "a test's helper")]
fn files(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries
        .flat_map(|path| if path.is_dir() { files(&path) } else { [(path.clone(), fs::read(path).unwrap())].into() })
        .collect()
}

#[test]
fn a_run_is_audited_by_its_own_command() {
    let home = trained();
    let before = files(home.path());
    let output = sahara(home.path(), &AUDIT).output().unwrap();
    assert!(output.status.success(), "{}", text(&output));
    let verdict: Value = serde_json::from_slice(&output.stdout).unwrap();
    let (lower, claimed) =
        (verdict["lower_bound"].as_f64().unwrap(), verdict["claimed_at_audit_delta"].as_f64().unwrap());
    assert!(lower > 0.1 && lower < claimed && verdict["contradicted"] == false, "{verdict}");
    // 202 parameters: three runs for 400 canaries.
    assert!(verdict["gradients"]["coins"] == 400 && verdict["model"]["coins"] == 400, "{verdict}");
    assert!(files(home.path()) == before, "an audit leaves everything as it was");

    // Other data is not what the report speaks of.
    fs::write(home.path().join("e.csv"), rows(500, 0)).unwrap();
    let other = sahara(home.path(), &["dp", "audit", "out", "--data", "e.csv"]).output().unwrap();
    assert!(other.status.code() == Some(2) && text(&other).contains("trained on"), "{}", text(&other));
}

#[test]
fn a_report_that_was_changed_is_contradicted_or_refused() {
    let home = trained();
    let path = home.path().join("out/release/report.json");
    let report: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    let with = |field: &str, value: Value| {
        let mut changed = report.clone();
        changed[field] = value;
        fs::write(&path, changed.to_string()).unwrap();
        let output = sahara(home.path(), &AUDIT).output().unwrap();
        (output.status.code(), text(&output))
    };
    for (field, value, claim) in [("epsilon", 0.5, "ε = 0.5000 at δ = 1e-5"), ("delta", 1e-9, "at δ = 1e-9")] {
        let (code, said) = with(field, value.into());
        assert!(code == Some(4) && said.contains(claim) && said.contains("do not release it"), "{field}: {said}");
    }
    // All but ε and δ have to be as the command and the data make them.
    let twice = |field: &str| Value::from(2.0 * report[field].as_f64().unwrap());
    for field in ["noise_multiplier", "sample_rate", "clip"] {
        let (code, said) = with(field, twice(field));
        assert!(code == Some(2) && said.contains(field) && said.contains("the report was changed"), "{field}: {said}");
    }
    for (field, value) in [("epsilon", Value::Null), ("delta", 2.0.into()), ("steps", (-1).into())] {
        let (code, said) = with(field, value);
        assert!(code == Some(2), "{field}: {said}");
    }
}

#[test]
fn of_a_command_that_was_changed_nothing_is_followed_but_how_it_trains() {
    let home = trained();
    let path = home.path().join("out/command.json");
    let own: Vec<String> = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    let write = |command: &[String]| fs::write(&path, serde_json::to_vec(command).unwrap()).unwrap();
    // Files, folders, budgets and networks that would be missed, or would be there afterwards.
    let others = [("out", "elsewhere"), ("d.csv", "none.csv"), ("gone.csv", "none.csv"), ("home", "other-home")];
    let other = |word: &String| {
        let path = Path::new(word).file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let other = others.iter().find(|(own, _)| *own == path).map(|(_, other)| home.path().join(other));
        other.map_or(word.clone(), |other| other.display().to_string())
    };
    let asset = format!("0x{}", "11".repeat(32));
    let more = ["--resume", "--dataset", "none", "--asset", &asset, "--network", "none", "--wallet", "none"];
    let hostile: Vec<String> = own.iter().map(other).chain(more.map(str::to_owned)).collect();
    assert_ne!(hostile[..own.len()], own, "{own:?}");
    write(&hostile);
    let before = files(home.path());
    let output = sahara(home.path(), &AUDIT).output().unwrap();
    assert!(output.status.success(), "{}", text(&output));
    assert!(files(home.path()) == before, "an audit leaves everything as it was");

    // More noise than the report speaks of; a command that trains nothing.
    write(&own.iter().map(|word| if word == "8" { "4".to_owned() } else { word.clone() }).collect::<Vec<_>>());
    let output = sahara(home.path(), &AUDIT).output().unwrap();
    assert!(output.status.code() == Some(2) && text(&output).contains("noise_multiplier"), "{}", text(&output));
    for command in [&["sahara", "whoami"][..], &["sahara", "train", "verify", "out"], &["sahara", "--help"]] {
        write(&command.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>());
        let output = sahara(home.path(), &AUDIT).output().unwrap();
        assert!(output.status.code() == Some(2) && text(&output).contains("changed"), "{}", text(&output));
    }
}

#[test]
fn contributors_rows_are_worth_shares_of_revenue() {
    let home = tempfile::tempdir().unwrap();
    let (good, half, bad) =
        ("0x00000000000000000000000000000000000000a1", "0x00000000000000000000000000000000000000a2", "bad");
    for (name, wrong, count) in [("good", 0, 60), ("half", 3, 60), ("bad", 10, 60), ("test", 0, 200)] {
        fs::write(home.path().join(format!("{name}.csv")), rows(count, wrong)).unwrap();
    }
    let value = |data: &[String], more: &[&str]| {
        let mut command = sahara(home.path(), &["train", "value", "--test", "test.csv", "--label", "class"]);
        command.args(["--labels", "a,b", "--range", "*=0:1"]).args(more);
        for data in data {
            command.arg("--data").arg(data);
        }
        let output = command.output().unwrap();
        (output.status.code(), serde_json::from_slice(&output.stdout).unwrap_or(Value::Null), text(&output))
    };
    let two = [format!("{good}=good.csv"), format!("{half}=half.csv")];
    let three = [two[0].clone(), two[1].clone(), format!("{bad}=bad.csv")];
    for method in ["shapley", "leave-one-out", "neighbours"] {
        let (code, found, said) = value(&three, &["--method", method]);
        assert_eq!(code, Some(0), "{said}");
        let of = |i: usize, what: &str| found["contributors"][i][what].as_f64().unwrap();
        assert!(of(2, "value") < of(0, "value") && found["issue"].is_null() && found["private"] == false, "{found}");
        let sum: f64 = (0..3).map(|i| of(i, "share")).sum();
        assert!(
            (sum == 10_000.0 || (0..3).all(|i| of(i, "value") <= 0.0))
                && (of(2, "value") > 0.0 || of(2, "share") == 0.0)
        );
    }
    let (_, found, said) = value(&two, &["--orders", "200"]);
    let shares: Vec<u64> =
        found["issue"]["shares"].as_array().unwrap().iter().map(|share| share.as_u64().unwrap()).collect();
    assert!(shares.iter().sum::<u64>() == 10_000 && found["error"].as_f64().unwrap() > 0.0, "{said}");
    assert!(found["issue"]["contributors"][0] == good, "{found}");
    let (code, _, said) = value(&[two[0].clone(), two[0].clone()], &[]);
    assert!(code == Some(2) && said.contains("twice"), "{said}");
    let (code, _, said) = value(&two[..1], &[]);
    assert!(code == Some(2) && said.contains("2 to 64"), "{said}");
}
