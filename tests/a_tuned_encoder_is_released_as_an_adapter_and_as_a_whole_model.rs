//! Adapters of an encoder, and all of it, are trained within a budget; what is released is compiled and asked, and, with peft
//! itself beside it, gives the same outputs.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use sahara_circuits::float::FloatModel;
use sahara_circuits::testmodel::{SEED, TestFolder, catalogue};
use serde_json::Value;

const TEXTS: [&str; 4] = ["a good film", "not the bank", "hello there, hello", "the film was not good at all"];

fn sahara(home: &Path, words: &[&str]) -> Output {
    let output = Command::new(env!("CARGO_BIN_EXE_sahara")).arg("--home").arg(home).args(words).output();
    output.unwrap_or_else(|error| panic!("running sahara: {error}"))
}

fn done(home: &Path, words: &[&str]) -> Value {
    let output = sahara(home, words);
    assert!(output.status.success(), "{words:?}: {}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap_or_default()
}

/// A home with the model `base`, and texts with labels.
#[expect(clippy::unwrap_used, reason = "a test's helper")]
fn prepared() -> tempfile::TempDir {
    let home = tempfile::tempdir().unwrap();
    let case = catalogue().into_iter().find(|case| case.name == "bert-classifier").unwrap();
    TestFolder { ..case.folder }.write(&home.path().join("from"), SEED).unwrap();
    done(home.path(), &["--json", "model", "pull", &path(home.path(), "from"), "--name", "base"]);
    let line = |i: usize| format!("{}\t{}\n", TEXTS[i % 4], ["bad", "good"][i % 2]);
    fs::write(home.path().join("d.tsv"), (0..60).map(line).collect::<String>()).unwrap();
    home
}

fn path(home: &Path, name: &str) -> String {
    home.join(name).display().to_string()
}

fn train(home: &Path, out: &str, more: &[&str]) -> (Value, PathBuf) {
    let (data, to) = (path(home, "d.tsv"), path(home, out));
    let mut words = vec!["--json", "train", "lora", "--model", "base", "--data", &data, "--out", &to];
    words.extend(["--labels", "bad,good", "--epsilon", "20", "--delta", "1e-3", "--epochs", "4", "--batch", "20"]);
    words.extend(more);
    (done(home, &words), home.join(out).join("release"))
}

#[test]
fn an_adapter_and_a_whole_model_are_released_and_the_latter_is_asked() {
    let home = prepared();
    let home = home.path();
    let (said, release) = train(home, "adapted", &["--rank", "2", "--targets", "v,q"]);
    assert!(said["epsilon"].as_f64().unwrap() <= 20.0 && said["parameters"].as_u64().unwrap() > 500, "{said}");
    let config: Value =
        serde_json::from_slice(&fs::read(release.join("adapter/adapter_config.json")).unwrap()).unwrap();
    assert_eq!((&config["r"], &config["lora_alpha"]), (&2.into(), &4.0.into()));
    assert_eq!(config["target_modules"], serde_json::json!(["query", "value"]));
    assert_eq!(config["base_model_name_or_path"], "base", "not the folder that it came from");
    let weights = fs::read(release.join("adapter/adapter_model.safetensors")).unwrap();
    let name = b"base_model.model.bert.encoder.layer.0.attention.self.query.lora_A.weight";
    assert!(weights.windows(name.len()).any(|bytes| bytes == name));
    let merged = path(&release, "merged");
    done(home, &["--json", "model", "pull", &merged, "--name", "tuned"]);
    let answers = sahara(home, &["classify", "--model", "tuned", "--plain", "--json", TEXTS[0]]);
    let answer = String::from_utf8_lossy(&answers.stdout).into_owned();
    assert!(answers.status.success() && answer.contains("bad") && answer.contains("good"), "{answer}");

    let (said, release) = train(home, "whole", &["--all"]);
    assert!(said["parameters"].as_u64().unwrap() > 10_000, "{said}");
    assert!(release.join("merged/model.safetensors").is_file() && !release.join("adapter").exists());
    let again = sahara(home, &["train", "lora", "--model", "base", "--data", "x.tsv", "--all", "--rank", "2"]);
    assert_eq!(again.status.code(), Some(2), "a rank means nothing where all is trained");
}

#[test]
fn what_cannot_be_had_is_refused_before_anything_is_spent() {
    let home = prepared();
    let home = home.path();
    let (data, out, long) = (path(home, "d.tsv"), path(home, "out"), format!("bad,{}", "g".repeat(201)));
    let refused = |labels: &str, more: &[&str], why: &str| {
        let mut words = vec!["train", "lora", "--model", "base", "--data", &data, "--out", &out, "--labels", labels];
        words.extend(more);
        let output = sahara(home, &words);
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.code() == Some(2) && said.contains(why), "{why}: {said}");
        assert!(!home.join("out").exists() && !home.join("privacy").exists(), "{why}");
    };
    let private = ["--epsilon", "3", "--delta", "1e-3"];
    refused("bad,good", &[&private[..], &["--provable"]].concat(), "--provable is for linear models");
    refused("bad,good", &["--provable", "--without-privacy"], "--without-privacy is for linear models");
    refused("bad,good", &["--without-privacy"], "--provable");
    let text = fs::read_to_string(&data).unwrap();
    fs::write(&data, text.replace("\tgood", &format!("\t{}", "g".repeat(201)))).unwrap();
    refused(&long, &private, "trying what will be released");
}

/// With `SAHARA_PEFT_PYTHON`, a Python that has peft and transformers.
#[test]
#[ignore = "needs peft: cargo xtask test --peers peft"]
fn peft_gives_the_outputs_of_what_was_trained() {
    let python = std::env::var("SAHARA_PEFT_PYTHON").unwrap();
    let home = prepared();
    let home = home.path();
    let (_, release) = train(home, "adapted", &["--rank", "3", "--targets", "query,key,value"]);
    fs::write(home.join("texts.json"), serde_json::to_vec(&TEXTS).unwrap()).unwrap();
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/python/peft_logits.py");
    let mut command = Command::new(python);
    command.arg(script).args([home.join("from"), release.clone(), home.join("texts.json")]).env("HF_HUB_OFFLINE", "1");
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let answers: Value = serde_json::from_slice(&output.stdout).unwrap();
    let own = FloatModel::load(&release.join("merged")).unwrap();
    for (at, text) in TEXTS.iter().enumerate() {
        let own = own.embed(text).unwrap();
        for which in ["adapter", "merged"] {
            let theirs: Vec<f32> = serde_json::from_value(answers[which][at].clone()).unwrap();
            assert_eq!(theirs.len(), own.len());
            assert!(theirs.iter().zip(&own).all(|(a, b)| (a - b).abs() < 1e-4), "{which} {text}: {theirs:?} {own:?}");
        }
    }
}
