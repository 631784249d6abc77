//! A classifier is trained in integers, each step committed to: another process makes the same steps again, names one of them that
//! was altered, and the released model gives the integers' answers. Without noise it has to be asked for.

mod common;

use std::fs;

use common::Home;

/// Bytes of a step's record, of which there are as many as steps; weights of eight bytes each stand behind them.
const RECORD: usize = 192;

fn table(home: &Home) -> String {
    let rows: String = (0..600)
        .map(|i| format!("{},{},{}\n", i % 7, f64::from(i % 10) / 10.0, ["a", "b"][i as usize % 10 / 5]))
        .collect();
    let path = home.path().join("d.csv");
    fs::write(&path, format!("noise,signal,class\n{rows}")).expect("a table");
    path.display().to_string()
}

#[test]
fn train_verify_and_alter() {
    let home = Home::empty();
    let (data, out) = (table(&home), home.path().join("out").display().to_string());
    let train = |more: &[&str]| {
        let own = ["--json", "train", "table", "--label", "class", "--labels", "a,b", "--range", "noise=0:6"];
        let rest = ["--range", "signal=0:1", "--data", &data, "--epochs", "20"];
        home.run(&[&own[..], &rest[..], more].concat())
    };
    let done = train(&["--provable", "--epsilon", "3", "--delta", "1e-4", "--out", &out]);
    assert_eq!(done.code, Some(0), "{done}");
    let done: serde_json::Value = serde_json::from_str(&done.stdout).expect("an object");
    assert!(done["epsilon"].as_f64().is_some_and(|epsilon| epsilon <= 3.0 && epsilon > 2.9), "{done}");
    assert!(done["own_accuracy"].as_f64().is_some_and(|right| right > 0.9), "{done}");
    let steps = done["steps"].as_u64().expect("steps") as usize;
    assert_eq!(steps, 160);

    let verdict = home.json(&["--json", "train", "verify", &out, "--delta", "1e-4"]);
    assert_eq!((verdict["same"].as_u64(), verdict["differs"].is_null()), (Some(160), true), "{verdict}");
    assert_eq!((&verdict["transcript"], &verdict["epsilon"]), (&done["transcript"], &done["epsilon"]));

    // The gradient of the 78th step.
    let released = home.path().join("out/release/transcript");
    let mut bytes = fs::read(&released).expect("a transcript");
    let weights = 8 * 3 * 2;
    let at = bytes.len() - weights - RECORD * (steps - 77) + 2 * 32;
    bytes[at] ^= 1;
    let other = home.path().join("other");
    fs::write(&other, &bytes).expect("a file");
    let with = |more: &[&str]| {
        let other = other.display().to_string();
        home.run(&[&["train", "verify", &out, "--transcript", &other][..], more].concat())
    };
    let altered = with(&[]);
    assert!(altered.code == Some(1) && altered.stderr.contains("step 78 of 160"), "{altered}");
    assert!(altered.stderr.contains("another gradient"), "{altered}");
    let before = with(&["--step", "77"]);
    assert!(before.code == Some(0) && before.stdout.contains("77 of 160"), "{before}");

    // What a run has spent is written down before its first noise.
    assert_eq!(fs::read_dir(home.path().join("privacy")).expect("ledgers").count(), 1);
    let refused = train(&["--provable", "--out", &out]);
    assert!(refused.code == Some(2) && refused.stderr.contains("--epsilon"), "{refused}");
    let refused = train(&["--without-privacy", "--out", &out]);
    assert!(refused.code == Some(2) && refused.stderr.contains("--provable"), "{refused}");
    let plain = home.path().join("plain").display().to_string();
    let open = train(&["--provable", "--without-privacy", "--out", &plain]);
    assert_eq!(open.code, Some(0), "{open}");
    let open: serde_json::Value = serde_json::from_str(&open.stdout).expect("an object");
    assert!(open["epsilon"].is_null() && open["neighbours"].is_null(), "{open}");
    assert_eq!(fs::read_dir(home.path().join("privacy")).expect("ledgers").count(), 1, "nothing was spent");
    for (words, said) in [(["--hidden", "4"], "linear"), (["--optimizer", "adamw"], "stochastic gradient descent")] {
        let both = [&words[..], &["--provable", "--epsilon", "3", "--delta", "1e-4", "--out", &plain]].concat();
        let refused = train(&both);
        assert!(refused.code == Some(2) && refused.stderr.contains(said), "{refused}");
    }
}
