//! A classifier of table rows, linear or with hidden layers: what is compiled stays within its bounds and near the float model, is
//! stored and read again, and refuses what is no row of its table.
#![cfg(feature = "float")]
#![allow(clippy::unwrap_used)]

use safetensors::tensor::{Dtype, TensorView};
use sahara_circuits::float::FloatModel;
use sahara_circuits::model::CompiledModel;
use sahara_circuits::reference::ExecOptions;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::Path;

const ROWS: [&str; 5] = ["50,F,1", "0,M,-1", "100,x,0.25", ",F,?", "1e9,M,-1e9"];

fn card(layers: &[&str]) -> Value {
    json!({
        "format": "sahara-table-1",
        "columns": [
            {"name": "age", "low": 0, "high": 100}, {"name": "sex", "words": ["F", "M"]}, {"name": "rate", "low": -1, "high": 1},
        ],
        "features": ["age", "sex=F", "sex=M", "rate"],
        "labels": ["no", "perhaps", "yes"],
        "layers": layers,
    })
}

fn write(folder: &Path, layers: &[&str]) {
    std::fs::write(folder.join("model.json"), card(layers).to_string()).unwrap();
    let mut tensors = BTreeMap::new();
    let mut state = 9_u32;
    for (index, layer) in layers.iter().enumerate().filter(|(_, layer)| layer.starts_with("dense")) {
        let sizes: Vec<usize> = layer.split(' ').skip(1).map(|size| size.parse().unwrap()).collect();
        for (name, shape) in [("weight", vec![sizes[1], sizes[0]]), ("bias", vec![sizes[1]])] {
            let mut value = || {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                (state >> 8) as f32 / (1 << 23) as f32 - 1.0
            };
            let bytes: Vec<u8> = (0..shape.iter().product()).flat_map(|_| value().to_le_bytes()).collect();
            tensors.insert(format!("{index}.{name}"), (shape, bytes));
        }
    }
    let mut views = Vec::new();
    for (name, (shape, bytes)) in &tensors {
        let view = TensorView::new(Dtype::F32, shape.clone(), bytes).unwrap();
        views.push((name.clone(), view));
    }
    std::fs::write(folder.join("weights.safetensors"), safetensors::serialize(views, None).unwrap()).unwrap();
}

#[test]
fn integers_are_near_the_float_model_and_survive_their_files() {
    for layers in [&["dense 4 3"][..], &["dense 4 16", "relu", "dense 16 8", "relu", "dense 8 3"]] {
        let folder = tempfile::tempdir().unwrap();
        write(folder.path(), layers);
        let float = FloatModel::load(folder.path()).unwrap();
        let model = CompiledModel::compile(folder.path(), "rows", &mut |_| {}).unwrap();
        model.save(&folder.path().join("compiled")).unwrap();
        let stored = CompiledModel::load(&folder.path().join("compiled")).unwrap();
        assert_eq!(stored.buckets(), [1]);
        assert_eq!(stored.frontend.classes().unwrap().labels[1].0, "perhaps");
        for row in ROWS {
            let encoded = stored.frontend.encode(row).unwrap();
            let run = stored.execute(1, &encoded.inputs, &ExecOptions::default()).unwrap();
            assert!(run.out_of_range.is_empty(), "{:?}", run.out_of_range);
            stored.graph(1).unwrap().inputs[0].check(&encoded.inputs[0]).unwrap();
            let (integers, floats) = (stored.frontend.decode(&encoded, &run.outputs), float.embed(row).unwrap());
            let far = integers.iter().zip(&floats).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
            assert!(integers.len() == 3 && far < 0.05, "{layers:?} {row}: {integers:?} {floats:?}");
        }
        let error = stored.frontend.encode("1,2").unwrap_err().to_string();
        assert!(error.contains("age,sex,rate"), "{error}");
        assert!(stored.frontend.encode_pair("1,F,2", "3").is_err() && float.embed("1").is_err());
        assert!(stored.frontend.encode_prompted("1,F,2", Some("query")).is_err());
        let names = sahara_circuits::hf::folder::files(folder.path()).unwrap();
        assert_eq!(names.len(), 2, "{names:?}");
    }
}

#[test]
fn a_folder_that_is_no_classifier_of_rows_is_refused_by_name() {
    type Change = fn(&mut Value);
    let changes: [(Change, &str); 10] = [
        (|card| card["format"] = json!("sahara-table-2"), "sahara-table-2"),
        (|card| card["more"] = json!(1), "\"more\": 1"),
        (|card| card["columns"][0]["low"] = json!(100), "no range from low to high"),
        (|card| card["columns"][1]["words"] = json!([]), "no range from low to high"),
        (|card| card["columns"][0]["of"] = json!(3), "columns"),
        (|card| card["columns"] = json!([]), "no columns"),
        (|card| card["labels"] = json!(["no", "yes"]), "an output for each label"),
        (|card| card["layers"] = json!(["dense 5 3"]), "takes 5 numbers"),
        (|card| card["layers"] = json!(["dense 4 3", "relu"]), "the last layer"),
        (|card| card["layers"] = json!(["dense 4 3", "tanh"]), "the layer \"tanh\""),
    ];
    for (change, said) in changes {
        let folder = tempfile::tempdir().unwrap();
        write(folder.path(), &["dense 4 3"]);
        let mut other = card(&["dense 4 3"]);
        change(&mut other);
        std::fs::write(folder.path().join("model.json"), other.to_string()).unwrap();
        let error = CompiledModel::compile(folder.path(), "rows", &mut |_| {}).err().unwrap().to_string();
        assert!(error.contains(said), "{error} does not say {said}");
    }
}

#[test]
fn a_damaged_frontend_of_rows_is_refused_or_sound() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), &["dense 4 3"]);
    let model = CompiledModel::compile(folder.path(), "rows", &mut |_| {}).unwrap();
    let place = folder.path().join("compiled");
    model.save(&place).unwrap();
    let whole = std::fs::read(place.join("frontend.bin")).unwrap();
    let body = whole.len() - 32;
    for at in 8..body {
        for flip in [1, 128] {
            let mut bytes = whole[..body].to_vec();
            bytes[at] ^= flip;
            let digest = *blake3::hash(&bytes).as_bytes();
            bytes.extend_from_slice(&digest);
            std::fs::write(place.join("frontend.bin"), &bytes).unwrap();
            if let Ok(model) = CompiledModel::load_client(&place)
                && let Ok(row) = model.frontend.encode("1,F,0.5")
            {
                let bound = 4096 * row.inputs[0].len() as i32;
                assert!(row.inputs[0].iter().all(|value| value.abs() <= bound), "{at}");
            }
        }
    }
}
