//! Model folders and stored models that are broken: one clear line that names the file, never a panic.
#![cfg(feature = "compile")]
#![allow(clippy::unwrap_used)]

use sahara_circuits::frontend::EncodeError;
use sahara_circuits::model::CompiledModel;
use sahara_circuits::testmodel::TestModel;
use std::path::Path;

fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    TestModel::default().write(folder.path(), 1).unwrap();
    folder
}

fn refusal(folder: &Path) -> String {
    let error = match CompiledModel::compile(folder, "broken", &mut |_| {}) {
        Ok(_) => panic!("a broken model was compiled"),
        Err(error) => error.to_string(),
    };
    assert!(!error.contains('\n') && error.len() < 400, "{error}");
    error
}

fn edit_config(folder: &Path, key: &str, value: serde_json::Value) {
    let path = folder.join("config.json");
    let mut config: serde_json::Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    config[key] = value;
    std::fs::write(path, config.to_string()).unwrap();
}

#[test]
fn another_family() {
    let folder = folder();
    edit_config(folder.path(), "model_type", "llama".into());
    let said = refusal(folder.path());
    assert!(said.contains("config.json") && said.contains("\"llama\"") && said.contains("mpnet"), "{said}");
}

#[test]
fn configurations_that_cannot_be() {
    for (key, value) in [
        ("hidden_size", 0.into()),
        ("hidden_size", 33.into()),
        ("hidden_size", 48.into()),
        ("num_hidden_layers", 1_000_000.into()),
        ("hidden_act", "silu".into()),
        ("is_decoder", true.into()),
        ("rope_theta", 10_000.into()),
        ("architectures", serde_json::json!(["BertForTokenClassification"])),
        ("layer_norm_eps", 0.5.into()),
        ("vocab_size", (-1).into()),
        ("position_embedding_type", "relative_key".into()),
    ] {
        let folder = folder();
        edit_config(folder.path(), key, value);
        refusal(folder.path());
    }
    let folder = folder();
    std::fs::write(folder.path().join("config.json"), "{").unwrap();
    assert!(refusal(folder.path()).contains("config.json"));
}

#[test]
fn missing_files() {
    for file in ["config.json", "model.safetensors", "tokenizer.json"] {
        let folder = folder();
        std::fs::remove_file(folder.path().join(file)).unwrap();
        assert!(refusal(folder.path()).contains(file));
    }
}

#[test]
fn damaged_weights() {
    let whole = std::fs::read(folder().path().join("model.safetensors")).unwrap();
    for bytes in [vec![], vec![0xff; 64], whole[..100].to_vec(), whole[..whole.len() - 8].to_vec()] {
        let folder = folder();
        std::fs::write(folder.path().join("model.safetensors"), bytes).unwrap();
        assert!(refusal(folder.path()).contains("model.safetensors"));
    }
    let folder = folder();
    let mut bytes = whole;
    let end = bytes.len();
    bytes[end - 4..].copy_from_slice(&f32::NAN.to_le_bytes());
    std::fs::write(folder.path().join("model.safetensors"), bytes).unwrap();
    assert!(refusal(folder.path()).contains("not finite"));
}

#[test]
fn damaged_tokenizer() {
    let folder = folder();
    std::fs::write(folder.path().join("tokenizer.json"), "[]").unwrap();
    assert!(refusal(folder.path()).contains("tokenizer.json"));
}

#[test]
fn damaged_stored_models() {
    let source = folder();
    let home = tempfile::tempdir().unwrap();
    let dir = home.path().join("m");
    let model = CompiledModel::compile(source.path(), "m", &mut |_| {}).unwrap();
    for file in ["model.json", "weights.bin", "frontend.bin", "tokenizer.json", "graph-32.bin"] {
        model.save(&dir).unwrap();
        let path = dir.join(file);
        let whole = std::fs::read(&path).unwrap();
        for bytes in [whole[..whole.len() / 2].to_vec(), vec![], vec![0x41; 50]] {
            std::fs::write(&path, bytes).unwrap();
            let error = CompiledModel::load(&dir).err().expect("a damaged model was loaded").to_string();
            assert!(error.contains(file) && !error.contains('\n'), "{file}: {error}");
        }
    }
    let error = CompiledModel::load(&home.path().join("absent")).err().expect("nothing there").to_string();
    assert!(error.contains("model.json"), "{error}");
}

#[test]
fn texts_that_cannot_be_embedded() {
    let source = folder();
    let model = CompiledModel::compile(source.path(), "m", &mut |_| {}).unwrap();
    let blank = model.frontend.encode("  \n\t");
    assert!(matches!(blank, Err(EncodeError::Empty)) || blank.unwrap().tokens == 2);
    let long = "a ".repeat(6 << 20);
    assert!(matches!(model.frontend.encode(&long), Err(EncodeError::TooLong { .. })));
    let cut = model.frontend.encode(&"hello ".repeat(500)).unwrap();
    assert!(cut.truncated && cut.tokens == 64 && cut.bucket == 64);
    assert!(!model.frontend.encode("hello").unwrap().truncated);
}
