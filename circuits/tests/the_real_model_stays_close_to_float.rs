//! Quality on a real model: of the Hugging Face folder `SAHARA_TEST_MODEL`, or the one that tests of the program have pulled.

#![cfg(feature = "float")]
#![allow(clippy::unwrap_used)]

use sahara_circuits::float::FloatModel;
use sahara_circuits::model::CompiledModel;
use sahara_circuits::reference::ExecOptions;
use std::path::{Path, PathBuf};

#[test]
fn cosines_on_the_committed_sentences() {
    let cache = || Path::new(env!("CARGO_TARGET_TMPDIR")).with_file_name("test-cache");
    let cache = std::env::var_os("SAHARA_TEST_CACHE").map_or_else(cache, PathBuf::from);
    let pulled = cache.join("models/all-MiniLM-L6-v2");
    let folder = std::env::var_os("SAHARA_TEST_MODEL").map_or(pulled, PathBuf::from);
    let need =
        "this test needs a model: `cargo xtask test` pulls it, or set SAHARA_TEST_MODEL to a Hugging Face folder";
    assert!(folder.join("model.safetensors").exists(), "{need} (not here: {})", folder.display());
    let model = CompiledModel::compile(Path::new(&folder), "measured", &mut |_| {}).unwrap();
    let float = FloatModel::load(Path::new(&folder)).unwrap();
    let sentences = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/data/sentences.txt");
    let sentences = std::fs::read_to_string(sentences).unwrap();
    let mut cosines = Vec::new();
    for text in sentences.lines().filter(|line| !line.trim().is_empty()) {
        let encoded = model.frontend.encode(text).unwrap();
        let run = model.execute(encoded.bucket, &encoded.inputs, &ExecOptions::default()).unwrap();
        assert_eq!(run.out_of_range, [], "proven bounds hold: {text}");
        let pairs = model.frontend.decode(&encoded, &run.outputs).into_iter().zip(float.embed(text).unwrap());
        cosines.push(pairs.map(|(a, b)| f64::from(a) * f64::from(b)).sum::<f64>());
    }
    let mean = cosines.iter().sum::<f64>() / cosines.len() as f64;
    let worst = cosines.iter().copied().fold(1.0, f64::min);
    println!("{} sentences: mean {mean:.5}, worst {worst:.5}", cosines.len());
    assert!(cosines.len() >= 200 && mean >= 0.995 && worst >= 0.99, "mean {mean}, worst {worst}");
}
