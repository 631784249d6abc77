//! A compiled model's folder, one of its files replaced: what is read fits together or is refused.
#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use sahara_circuits::{model::CompiledModel, testmodel::TestModel};

static FILES: LazyLock<Vec<(String, Vec<u8>)>> = LazyLock::new(|| {
    let folder = tempfile::tempdir().expect("a folder");
    TestModel::default().write(folder.path(), 1).expect("a model");
    let model = CompiledModel::compile(folder.path(), "small", &mut |_| ()).expect("it compiles");
    model.client_files()
});

fuzz_target!(|bytes: &[u8]| {
    let Some((which, content)) = bytes.split_first() else { return };
    let folder = tempfile::tempdir().expect("a folder");
    for (at, (name, good)) in FILES.iter().enumerate() {
        let replaced = at == usize::from(*which) % FILES.len();
        std::fs::write(folder.path().join(name), if replaced { content } else { good }).expect("a file");
    }
    if let Ok(model) = CompiledModel::load_client(folder.path()) {
        let _ = model.frontend.encode("good morning");
    }
});
