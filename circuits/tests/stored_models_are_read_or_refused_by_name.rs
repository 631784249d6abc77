//! A model stored by an older program is kept in `tests/data/model-v2` and read here, to the same integers. Those of
//! version 1 (`model-v1`) left out what a folder says of pooling and limits, so they are refused and compiled again, as
//! is a version that this program does not know.
//!
//! The folder was made by `cargo test -p sahara-circuits --test stored_models_are_read_or_refused_by_name -- --ignored`,
//! which writes it once and refuses to overwrite it.

#![allow(clippy::unwrap_used)]

use sahara_circuits::model::CompiledModel;
use sahara_circuits::reference::ExecOptions;
use sahara_circuits::testmodel::TestModel;
use std::path::{Path, PathBuf};

const TEXT: &str = "The quick brown fox: hello, private network!";

fn stored() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/model-v2")
}

fn answer(model: &CompiledModel) -> String {
    let encoded = model.frontend.encode(TEXT).unwrap();
    let run = model.execute(encoded.bucket, &encoded.inputs, &ExecOptions::default()).unwrap();
    format!("{} {} {:?}", encoded.tokens, encoded.bucket, run.outputs)
}

#[test]
fn it_gives_the_same_integers() {
    let model = CompiledModel::load(&stored()).unwrap();
    assert_eq!(answer(&model), std::fs::read_to_string(stored().join("answer.txt")).unwrap());
}

#[test]
fn a_model_of_version_1_is_refused_by_name() {
    let old = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/model-v1");
    let error = CompiledModel::load(&old).err().expect("an old version").to_string();
    assert!(error.contains("model.json") && error.contains("format 1") && error.contains("format 2"), "{error}");
}

#[test]
fn unknown_versions_are_refused_by_name() {
    let home = tempfile::tempdir().unwrap();
    for (file, version_at) in [("weights.bin", Some(8)), ("frontend.bin", Some(8)), ("model.json", None)] {
        for entry in std::fs::read_dir(stored()).unwrap() {
            let entry = entry.unwrap();
            std::fs::copy(entry.path(), home.path().join(entry.file_name())).unwrap();
        }
        let path = home.path().join(file);
        let mut bytes = std::fs::read(&path).unwrap();
        match version_at {
            Some(at) => {
                assert_eq!(bytes[at..at + 2], [if file == "frontend.bin" { 2 } else { 1 }, 0]);
                bytes[at] = 9;
            }
            None => bytes = String::from_utf8(bytes).unwrap().replace("\"format\": 2", "\"format\": 9").into_bytes(),
        }
        std::fs::write(&path, bytes).unwrap();
        let error = CompiledModel::load(home.path()).err().expect("an unknown version").to_string();
        assert!(error.contains(file) && error.contains('9'), "{error}");
    }
}

#[test]
#[ignore = "writes the stored model of version 2, once"]
fn write_it() {
    let folder = tempfile::tempdir().unwrap();
    let shape = TestModel { layers: 1, hidden: 8, heads: 2, ffn: 16, positions: 16 };
    shape.write(folder.path(), 1).unwrap();
    let model = CompiledModel::compile(folder.path(), "stored", &mut |_| {}).unwrap();
    assert!(!stored().exists(), "the stored model is never made anew");
    model.save(&stored()).unwrap();
    std::fs::write(stored().join("answer.txt"), answer(&model)).unwrap();
}
