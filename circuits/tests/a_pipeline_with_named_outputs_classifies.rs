//! A pipeline that ends with a linear layer and says what its outputs are called is a classifier: its integers are those of the
//! same pipeline without the names, and a layer over rows of unit length gives what the float model gives.
#![cfg(feature = "float")]
#![allow(clippy::unwrap_used)]

use sahara_circuits::float::FloatModel;
use sahara_circuits::model::CompiledModel;
use sahara_circuits::reference::ExecOptions;
use sahara_circuits::testmodel::{SEED, TEXTS, TestFolder, catalogue};
use serde_json::json;
use std::path::Path;

fn folder(name: &str) -> TestFolder {
    catalogue().into_iter().find(|case| case.name == name).unwrap().folder
}

/// The outputs for each text: of the float model, and of the integers, which keep to their bounds.
fn outputs(path: &Path) -> Vec<(Vec<f32>, Vec<f32>)> {
    let (float, model) = (FloatModel::load(path).unwrap(), compiled(path));
    let answer = |text: &&str| {
        let encoded = model.frontend.encode(text).unwrap();
        let run = model.execute(encoded.bucket, &encoded.inputs, &ExecOptions::default()).unwrap();
        assert!(run.out_of_range.is_empty(), "{:?}", run.out_of_range);
        (float.embed(text).unwrap(), model.frontend.decode(&encoded, &run.outputs))
    };
    TEXTS.iter().map(answer).collect()
}

fn compiled(path: &Path) -> CompiledModel {
    CompiledModel::compile(path, "named", &mut |_| {}).unwrap()
}

#[test]
fn names_make_a_classifier_of_a_pipeline_and_change_no_number() {
    let dir = tempfile::tempdir().unwrap();
    folder("bert-weighted-mean-dense").write(dir.path(), SEED).unwrap();
    let before = outputs(dir.path());
    assert!(compiled(dir.path()).frontend.classes().is_none());
    let labels: Vec<String> = (0..48).map(|label| format!("label {label}")).collect();
    let names = json!({"format": 1, "labels": labels, "function": "softmax"});
    std::fs::write(dir.path().join("classifier.json"), names.to_string()).unwrap();
    assert_eq!(outputs(dir.path()), before);
    let model = compiled(dir.path());
    let classes = model.frontend.classes().unwrap();
    assert_eq!(classes.labels[47].0, "label 47");
    let scores = classes.scores(&before[0].1);
    assert!((scores.iter().sum::<f32>() - 1.0).abs() < 1e-5, "{scores:?}");
    let files = sahara_circuits::hf::folder::files(dir.path()).unwrap();
    assert!(files.iter().any(|(name, _)| name == Path::new("classifier.json")), "it comes along with the model");
}

#[test]
fn a_layer_over_rows_of_unit_length_is_near_the_float_models() {
    for (name, dense) in [("bert-mean-normalize", 64), ("bert-max-dense-normalize", 64), ("bert-cls-max-mean", 192)] {
        let dir = tempfile::tempdir().unwrap();
        let mut case = folder(name);
        let function = "torch.nn.modules.linear.Identity";
        let layer = json!({"in_features": dense, "out_features": 3, "bias": true, "activation_function": function});
        case.modules.truncate(1);
        case.modules.push(("Normalize", serde_json::Value::Null));
        case.modules.push(("Dense", layer));
        case.write(dir.path(), SEED).unwrap();
        for (text, (float, integer)) in TEXTS.iter().zip(outputs(dir.path())) {
            let far = float.iter().zip(&integer).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
            let spread = float.iter().map(|x| x.abs()).fold(0.0, f32::max);
            assert!(far < 0.03 * spread.max(0.5), "{name} {text:?}: {float:?} {integer:?}");
        }
    }
}
