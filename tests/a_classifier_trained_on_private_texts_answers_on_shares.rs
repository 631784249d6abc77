//! A classifier is trained on a file of texts within a budget, pulled from where it was released, shared, and asked: the network
//! prints the very bytes of a run in the clear, and chooses the labels of the float model.

mod common;

use std::path::Path;

use common::{Devnet, Home, free_port_block, one_at_a_time};
use sahara_circuits::testmodel::{SEED, catalogue};
use serde_json::Value;

/// A film is good or not; what stands around that says nothing.
fn reviews(from: usize, count: usize) -> Vec<(String, &'static str)> {
    let things = ["film", "dog", "doctor", "bank", "river", "network", "query"];
    let places = ["in the world", "by the river", "of the doctor", "in a private network", ""];
    let review = |i: usize| {
        let (thing, place, label) = (things[i % 7], places[i / 7 % 5], ["good", "bad"][i % 2]);
        (format!("the {thing} {place} was very {label}"), label)
    };
    (from..from + count).map(review).collect()
}

#[expect(clippy::expect_used, reason = "a test's helper")]
fn write(path: &Path, reviews: &[(String, &str)]) {
    let lines: String = reviews.iter().map(|(text, label)| format!("{text}\t{label}\n")).collect();
    std::fs::write(path, lines).expect("a file of texts");
}

#[test]
fn train_pull_share_and_ask() {
    let _turn = one_at_a_time();
    let home = Home::empty();
    let place = |name: &str| home.path().join(name).display().to_string();
    let base = catalogue().into_iter().find(|case| case.name == "bert-mean-normalize").expect("a case");
    base.folder.write(&home.path().join("base"), SEED).expect("a model folder");
    home.output(&["model", "pull", &place("base"), "--name", "base"]);
    write(&home.path().join("reviews.tsv"), &reviews(0, 350));
    let (data, out) = (place("reviews.tsv"), place("out"));
    let train = ["--json", "train", "classify", "--model", "base", "--labels", "bad,good", "--epsilon", "8"];
    let rest = ["--delta", "1e-4", "--data", &data, "--out", &out];
    let done = home.json(&[&train[..], &rest[..]].concat());
    assert!(done["epsilon"].as_f64().is_some_and(|epsilon| epsilon <= 8.0), "{done}");
    assert!(done["own_accuracy"].as_f64().is_some_and(|right| right > 0.9), "{done}");

    home.output(&["model", "pull", &place("out/release"), "--name", "mine"]);
    // In integers, too: the same pipeline, from weights that are the integers themselves.
    let (out, provable) = (place("provable"), ["--provable", "--delta", "1e-4", "--data", &data]);
    let done = home.json(&[&train[..], &provable[..], &["--out", &out]].concat());
    assert!(done["own_accuracy"].as_f64().is_some_and(|right| right > 0.9), "{done}");
    let verdict = home.json(&["--json", "train", "verify", &out]);
    assert_eq!((&verdict["transcript"], verdict["differs"].is_null()), (&done["transcript"], true), "{verdict}");
    home.output(&["model", "pull", &place("provable/release"), "--name", "provable"]);

    train_rows(&home);
    let devnet = Devnet { home, port: free_port_block() };
    devnet.start();
    for model in ["mine", "provable"] {
        asked_on_shares(&devnet, model, &reviews(350, 8));
    }
    let rows =
        [("3,0.9", "b"), ("0,0.1", "a"), ("6,0.2", "a"), (",0.8", "b")].map(|(row, label)| (row.to_owned(), label));
    asked_on_shares(&devnet, "rows", &rows);
    let wrong = devnet.home.run(&["classify", "--plain", "--model", "rows", "1,2,3"]);
    assert!(wrong.code == Some(2) && wrong.stderr.contains("noise,signal"), "{wrong}");
}

/// Rows of a table, by a model with a hidden layer.
fn train_rows(home: &Home) {
    let rows: String = (0..1000)
        .map(|i| format!("{},{},{}\n", i % 7, f64::from(i % 10) / 10.0, ["a", "b"][i as usize % 10 / 5]))
        .collect();
    let (data, out) = (home.path().join("d.csv"), home.path().join("table"));
    std::fs::write(&data, format!("noise,signal,class\n{rows}")).expect("a table");
    let paths = ["--data", &data.display().to_string(), "--out", &out.display().to_string()].map(str::to_owned);
    let words = "--json train table --label class --labels a,b --range noise=0:6 --range signal=0:1 --hidden 8 --epsilon 8 \
                 --delta 1e-4 --epochs 20";
    let arguments: Vec<&str> = words.split_whitespace().chain(paths.iter().map(String::as_str)).collect();
    let done = home.json(&arguments);
    assert!(done["own_accuracy"].as_f64().is_some_and(|right| right > 0.9), "{done}");
    let release = out.join("release").display().to_string();
    home.output(&["model", "pull", &release, "--name", "rows"]);
}

fn asked_on_shares(devnet: &Devnet, model: &str, asked: &[(String, &str)]) {
    let classify = |more: &[&str]| {
        let mut arguments = vec!["classify", "--json", "--model", model];
        arguments.extend(more);
        arguments.extend(asked.iter().map(|(text, _)| text.as_str()));
        devnet.home.output(&arguments)
    };
    let network = classify(&[]);
    assert_eq!(network, classify(&["--plain"]));
    let lines = |text: &str| -> Vec<Value> {
        text.lines().map(|line| serde_json::from_str(line).expect("an object a line")).collect()
    };
    let float = lines(&classify(&["--float"]));
    for ((answer, float), (text, label)) in lines(&network).iter().zip(&float).zip(asked) {
        assert_eq!(answer["label"], float["label"], "{text}");
        assert_eq!(answer["label"], *label, "{text}");
        assert_eq!(answer["outputs"].as_array().map(Vec::len), Some(2), "the vector of the text stays on shares");
    }
}
