//! A model's folder as people hand it on, one of its files replaced: JSON, safetensors, vocabulary, modules.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sahara_circuits::{model::CompiledModel, testmodel::TestModel};

const FILES: [&str; 8] = [
    "config.json",
    "tokenizer.json",
    "model.safetensors",
    "tokenizer_config.json",
    "vocab.txt",
    "modules.json",
    "sentence_bert_config.json",
    "model.safetensors.index.json",
];

fuzz_target!(|bytes: &[u8]| {
    let Some((which, content)) = bytes.split_first() else { return };
    let folder = tempfile::tempdir().expect("a folder");
    let shape = TestModel { layers: 1, hidden: 8, heads: 2, ffn: 8, positions: 16 };
    shape.write(folder.path(), 1).expect("a model");
    let file = FILES[usize::from(*which) % FILES.len()];
    std::fs::write(folder.path().join(file), content).expect("a file");
    let _ = CompiledModel::compile(folder.path(), "fuzzed", &mut |_| ());
});
