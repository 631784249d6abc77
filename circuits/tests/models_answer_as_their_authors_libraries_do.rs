//! Random models of every family, pooling and file form: the float model and the integer run give what
//! sentence-transformers and transformers themselves give on the same folder.
//!
//! The answers in `data/model-vectors.json` were made with sentence-transformers 5.1.2, transformers 4.57.1 and torch
//! 2.7.1:
//!
//! ```sh
//! cargo run --release -p sahara-circuits --example test_models -- FOLDER
//! python3 tests/python/model_vectors.py FOLDER > circuits/tests/data/model-vectors.json
//! ```
//!
//! `SAHARA_MODEL_VECTORS` names another file of answers; `cargo xtask test --peers models` makes one and compares with it.
#![cfg(feature = "float")]
#![allow(clippy::unwrap_used)]

use sahara_circuits::float::FloatModel;
use sahara_circuits::frontend::Encoded;
use sahara_circuits::model::CompiledModel;
use sahara_circuits::reference::ExecOptions;
use sahara_circuits::testmodel::{PAIRS, SEED, TEXTS, TestCase, catalogue};
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

fn vectors() -> &'static Value {
    static VECTORS: OnceLock<Value> = OnceLock::new();
    VECTORS.get_or_init(|| {
        let committed = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/model-vectors.json");
        let path = std::env::var_os("SAHARA_MODEL_VECTORS").map_or(committed, PathBuf::from);
        serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
    })
}

fn numbers(value: &Value) -> Vec<f64> {
    value.as_array().unwrap().iter().map(|x| x.as_f64().unwrap()).collect()
}

fn wide(values: &[f32]) -> Vec<f64> {
    values.iter().map(|&x| x.into()).collect()
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    assert_eq!(a.len(), b.len());
    a.iter().zip(b).map(|(x, y)| x * y).sum()
}

fn cosine(a: &[f64], b: &[f64]) -> f64 {
    dot(a, b) / (dot(a, a) * dot(b, b)).sqrt()
}

struct Case {
    case: TestCase,
    float: FloatModel,
    model: CompiledModel,
    _folder: tempfile::TempDir,
}

impl Case {
    fn new(case: TestCase) -> Self {
        let folder = tempfile::tempdir().unwrap();
        case.folder.write(folder.path(), SEED).unwrap();
        let float = FloatModel::load(folder.path()).unwrap_or_else(|e| panic!("{}: {e}", case.name));
        let model = CompiledModel::compile(folder.path(), case.name, &mut |_| {}).unwrap();
        Self { case, float, model, _folder: folder }
    }

    fn expected(&self) -> &'static Value {
        &vectors()[self.case.same_as.unwrap_or(self.case.name)]
    }

    fn integers(&self, encoded: &Encoded) -> Vec<f64> {
        let run = self.model.execute(encoded.bucket, &encoded.inputs, &ExecOptions::default()).unwrap();
        let graph = self.model.graph(encoded.bucket).unwrap();
        let beyond: Vec<&str> = run.out_of_range.iter().map(|(n, _)| graph.nodes[n.0 as usize].name.as_str()).collect();
        assert_eq!(beyond, [""; 0], "{}: tensors beyond their bounds", self.case.name);
        wide(&self.model.frontend.decode(encoded, &run.outputs))
    }
}

#[test]
fn embeddings_have_the_direction_and_the_length_that_sentence_transformers_gives_them() {
    for case in catalogue().into_iter().filter(|case| !case.classifies()) {
        let case = Case::new(case);
        let (mut worst_float, mut worst) = (1.0f64, 1.0f64);
        for (text, expected) in TEXTS.iter().zip(case.expected()["texts"].as_array().unwrap()) {
            let (expected, name) = (numbers(expected), case.case.name);
            let length = |v: &[f64]| dot(v, v).sqrt();
            let float = wide(&case.float.embed_prompted(text, case.case.prompt).unwrap());
            worst_float = worst_float.min(cosine(&float, &expected));
            assert!(cosine(&float, &expected) > 0.99999, "{name}, {text:?}: float {}", cosine(&float, &expected));
            assert!(
                (length(&float) / length(&expected) - 1.0).abs() < 1e-4,
                "{name}, {text:?}: length of the float model"
            );
            let encoded = case.model.frontend.encode_prompted(text, case.case.prompt).unwrap();
            let integers = case.integers(&encoded);
            worst = worst.min(cosine(&integers, &expected));
            assert!(cosine(&integers, &expected) > 0.99, "{name}, {text:?}: integers {}", cosine(&integers, &expected));
            let ratio = length(&integers) / length(&expected);
            assert!((ratio - 1.0).abs() < 0.03, "{name}, {text:?}: length {ratio} of the expected one");
        }
        println!("| {} | {worst_float:.7} | {worst:.5} |", case.case.name);
    }
}

#[test]
fn classifiers_have_the_outputs_and_the_scores_that_transformers_gives_them() {
    for case in catalogue().into_iter().filter(TestCase::classifies) {
        let case = Case::new(case);
        let name = case.case.name;
        let classes = case.model.frontend.classes().unwrap();
        let mut worst = 0.0f64;
        let mut compare = |what: &str, encoded: &Encoded, float: &[f32], expected: &[f64]| {
            let integers = case.integers(encoded);
            for ((x, y), z) in wide(float).iter().zip(&integers).zip(expected) {
                assert!((x - z).abs() < 2e-4, "{name}, {what}: float {x}, expected {z}");
                worst = worst.max((y - z).abs());
                assert!((y - z).abs() < 0.05, "{name}, {what}: integers {y}, expected {z}");
            }
        };
        let all = case.expected();
        for (at, text) in TEXTS.iter().enumerate() {
            let float = case.float.embed(text).unwrap();
            compare(text, &case.model.frontend.encode(text).unwrap(), &float, &numbers(&all["texts"][at]));
            let scores = classes.scores(&float);
            for (label, score) in classes.labels.iter().zip(scores) {
                let expected = all["scores"][at][&label.0].as_f64().unwrap();
                assert!((f64::from(score) - expected).abs() < 1e-4, "{name}, {text:?}: {score} {expected}");
            }
        }
        for (at, (text, pair)) in PAIRS.iter().enumerate() {
            let float = case.float.embed_pair(text, pair).unwrap();
            compare(pair, &case.model.frontend.encode_pair(text, pair).unwrap(), &float, &numbers(&all["pairs"][at]));
            let relevance = classes.relevance(&float);
            assert_eq!(relevance.is_some(), classes.labels.len() == 1);
            if let Some(relevance) = relevance {
                let expected = all["relevance"][at].as_f64().unwrap();
                assert!((f64::from(relevance) - expected).abs() < 1e-4, "{name}, {pair:?}: {relevance} {expected}");
            }
        }
        println!("| {name} | outputs within {worst:.4} |");
    }
}

#[test]
fn what_is_cut_off_is_said() {
    for (name, limit) in [("bert-short", 12), ("bert-truncates-at-the-left", 20), ("roberta-mean", 64)] {
        let case = Case::new(catalogue().into_iter().find(|case| case.name == name).unwrap());
        let long = case.model.frontend.encode(&format!("{0} {0}", TEXTS[4])).unwrap();
        assert_eq!((long.truncated, long.tokens), (true, limit), "{name}");
        assert!(!case.model.frontend.encode("hello world").unwrap().truncated);
        assert_eq!(case.model.frontend.max_tokens(), limit);
    }
}
