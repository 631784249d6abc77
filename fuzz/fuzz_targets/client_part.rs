//! The client part of a shared model: what it unpacks to stays in its folder, and is a model or an error.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sahara::models::client_part;
use sahara_circuits::model::CompiledModel;

fuzz_target!(|bytes: &[u8]| {
    let folder = tempfile::tempdir().expect("a folder");
    if client_part::unpack(bytes, folder.path()).is_ok() {
        let _ = CompiledModel::load_client(folder.path());
    }
});
