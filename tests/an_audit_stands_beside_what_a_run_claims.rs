//! A run is trained and audited by its own command: the lower bound is not above what it claims; a report that claims less than
//! the run hides is contradicted with an exit code of its own; and contributors' rows get shares of revenue.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

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

#[test]
fn a_run_is_audited_by_its_own_command() {
    let home = tempfile::tempdir().unwrap();
    fs::write(home.path().join("d.csv"), rows(400, 0)).unwrap();
    let train = [
        "train",
        "table",
        "--label",
        "class",
        "--labels",
        "a,b",
        "--range",
        "*=0:1",
        "--hidden",
        "40",
        "--epsilon",
        "8",
        "--delta",
        "1e-5",
        "--epochs",
        "10",
        "--data",
        "d.csv",
        "--test",
        "gone.csv",
        "--out",
        "out",
    ];
    fs::write(home.path().join("gone.csv"), rows(50, 0)).unwrap();
    let output = sahara(home.path(), &train).output().unwrap();
    assert!(output.status.success(), "{}", text(&output));
    fs::remove_file(home.path().join("gone.csv")).unwrap();

    let audit = ["dp", "audit", "out", "--data", "d.csv", "--canaries", "400"];
    let output = sahara(home.path(), &audit).output().unwrap();
    assert!(output.status.success(), "{}", text(&output));
    let verdict: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let (lower, claimed) =
        (verdict["lower_bound"].as_f64().unwrap(), verdict["claimed_at_audit_delta"].as_f64().unwrap());
    assert!(lower > 0.1 && lower < claimed && verdict["contradicted"] == false, "{verdict}");
    // 202 parameters: three runs for 400 canaries.
    assert!(verdict["gradients"]["coins"] == 400 && verdict["model"]["coins"] == 400, "{verdict}");
    assert!(
        !fs::read_dir(home.path().join("home/privacy"))
            .unwrap()
            .any(|file| { file.unwrap().path().to_string_lossy().contains("run-") })
    );

    // Other data is not what the report speaks of.
    fs::write(home.path().join("e.csv"), rows(500, 0)).unwrap();
    let other = sahara(home.path(), &["dp", "audit", "out", "--data", "e.csv"]).output().unwrap();
    assert!(other.status.code() == Some(2) && text(&other).contains("trained on"), "{}", text(&other));
    fs::write(home.path().join("out/command.json"), "[\"sahara\", \"whoami\"]").unwrap();
    let changed = sahara(home.path(), &audit).output().unwrap();
    assert!(changed.status.code() == Some(2) && text(&changed).contains("changed"), "{}", text(&changed));
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
        (output.status.code(), serde_json::from_slice(&output.stdout).unwrap_or(serde_json::Value::Null), text(&output))
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
