//! A model stored by this version is kept in `tests/data/model-v3` and read here, to the same integers. Those of
//! version 1 (`model-v1`) left out what a folder says of pooling and limits, those of version 2 (`model-v2`) what values
//! a mask may have: they are refused and compiled again, as is a version that this program does not know. What somebody
//! else shared in version 2 is read, because only its owner can compile it again.
//!
//! The folder was made by `cargo test -p sahara-circuits --test stored_models_are_read_or_refused_by_name -- --ignored`,
//! which writes it once and refuses to overwrite it.

#![cfg(feature = "compile")]
#![allow(clippy::unwrap_used)]

use sahara_circuits::graph::InputRange;
use sahara_circuits::model::CompiledModel;
use sahara_circuits::reference::ExecOptions;
use sahara_circuits::testmodel::{TestModel, catalogue};
use std::path::{Path, PathBuf};

const TEXT: &str = "The quick brown fox: hello, private network!";

fn data(folder: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data").join(folder)
}

fn stored() -> PathBuf {
    data("model-v3")
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
fn models_of_older_versions_are_refused_by_name() {
    for version in [1, 2] {
        let error = CompiledModel::load(&data(&format!("model-v{version}"))).err().expect("an old version").to_string();
        assert!(error.contains("model.json") && error.contains(&format!("format {version}, this program")), "{error}");
        assert!(error.contains("format 3"), "{error}");
    }
    assert!(CompiledModel::load_client(&data("model-v1")).is_err());
}

#[test]
fn what_somebody_else_shared_in_version_2_is_read() {
    let (old, now) = (CompiledModel::load_client(&data("model-v2")).unwrap(), CompiledModel::load(&stored()).unwrap());
    assert_eq!(old.frontend.encode(TEXT).unwrap(), now.frontend.encode(TEXT).unwrap());
    let graphs = [&old, &now].map(|model| model.graph(16).unwrap());
    assert_eq!(graphs[0].weights_root, graphs[1].weights_root);
    let masks = graphs.map(|graph| graph.inputs[1].range);
    assert_eq!(masks, [InputRange::Symmetric, InputRange::Mask]);
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
            None => bytes = String::from_utf8(bytes).unwrap().replace("\"format\": 3", "\"format\": 9").into_bytes(),
        }
        std::fs::write(&path, bytes).unwrap();
        let error = CompiledModel::load(home.path()).err().expect("an unknown version").to_string();
        assert!(error.contains(file) && error.contains('9'), "{error}");
    }
}

fn copied() -> tempfile::TempDir {
    let home = tempfile::tempdir().unwrap();
    for entry in std::fs::read_dir(stored()).unwrap() {
        let entry = entry.unwrap();
        std::fs::copy(entry.path(), home.path().join(entry.file_name())).unwrap();
    }
    home
}

/// Somebody else may have written them: nothing is read that cannot be one.
#[test]
fn files_that_are_too_large_are_refused_before_they_are_read() {
    for (file, most) in [("model.json", 64 << 10), ("graph-16.bin", 16 << 20), ("tokenizer.json", 64 << 20)] {
        let home = copied();
        let path = home.path().join(file);
        let written = std::fs::read(&path).unwrap();
        // A hole: no disk is filled.
        std::fs::OpenOptions::new().write(true).open(&path).unwrap().set_len(most + 1).unwrap();
        let error = CompiledModel::load_client(home.path()).err().expect("too large").to_string();
        assert!(error.contains(file) && error.contains("larger than"), "{error}");
        std::fs::write(&path, written).unwrap();
        CompiledModel::load_client(home.path()).unwrap();
    }
}

#[test]
fn graphs_that_give_other_answers_than_the_frontend_reads_are_refused() {
    let models = tempfile::tempdir().unwrap();
    for case in catalogue().into_iter().filter(|case| ["bert-mean", "bert-mean-dense-tanh"].contains(&case.name)) {
        let folder = tempfile::tempdir().unwrap();
        case.folder.write(folder.path(), 1).unwrap();
        let model = CompiledModel::compile(folder.path(), case.name, &mut |_| {}).unwrap();
        model.save(&models.path().join(case.name)).unwrap();
    }
    let [one, other] = ["bert-mean", "bert-mean-dense-tanh"].map(|name| models.path().join(name));
    CompiledModel::load_client(&one).unwrap();
    std::fs::copy(other.join("frontend.bin"), one.join("frontend.bin")).unwrap();
    let error = CompiledModel::load_client(&one).err().expect("another width").to_string();
    assert!(error.contains("other answers than the frontend reads"), "{error}");
}

#[test]
#[ignore = "writes the stored model of version 3, once"]
fn write_it() {
    let folder = tempfile::tempdir().unwrap();
    let shape = TestModel { layers: 1, hidden: 8, heads: 2, ffn: 16, positions: 16 };
    shape.write(folder.path(), 1).unwrap();
    let model = CompiledModel::compile(folder.path(), "stored", &mut |_| {}).unwrap();
    assert!(!stored().exists(), "the stored model is never made anew");
    model.save(&stored()).unwrap();
    std::fs::write(stored().join("answer.txt"), answer(&model)).unwrap();
}
