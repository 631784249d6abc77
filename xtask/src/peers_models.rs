//! The peers `models` and `peft`: sentence-transformers, transformers and peft themselves on the folders that our tests make,
//! and on an adapter that is trained there.

use std::process::Command;

use crate::process::{cargo, output, root, run, target_dir};
use crate::{Failure, venv};

/// What made the committed vectors; torch brings about 4 GB of packages.
const PACKAGES: [&str; 3] = ["torch==2.7.1", "transformers==4.57.1", "sentence-transformers==5.1.2"];

/// What loads adapters, beside those.
const PEFT: [&str; 4] = ["torch==2.7.1", "transformers==4.57.1", "accelerate==1.10.1", "peft==0.17.1"];

/// Compares what is trained with what peft makes of its adapter.
pub fn adapter() -> Result<(), Failure> {
    let python = venv::ensure("peft", &PEFT, "import peft, transformers, torch")?;
    let test = "a_tuned_encoder_is_released_as_an_adapter_and_as_a_whole_model";
    let own = ["test", "--release", "--workspace", "--test", test, "--", "--ignored"];
    run(cargo().args(own).env("SAHARA_PEFT_PYTHON", python))
}

/// Compares the float model and the integers with what the libraries answer now.
pub fn compare() -> Result<(), Failure> {
    let python = venv::ensure("models", &PACKAGES, "import sentence_transformers, transformers, torch")?;
    let folder = target_dir().join("peers").join("models");
    let written = |what: &str, error: std::io::Error| Failure::fault(format!("{what} {}: {error}", folder.display()));
    if folder.exists() {
        std::fs::remove_dir_all(&folder).map_err(|e| written("removing", e))?;
    }
    std::fs::create_dir_all(&folder).map_err(|e| written("creating", e))?;
    // Built with all else, as the suite builds it: alone it would have the dependencies with other features.
    run(cargo().args(["build", "--release", "--workspace", "--example", "test_models"]))?;
    run(Command::new(target_dir().join("release/examples/test_models")).arg(&folder))?;
    let mut ask = Command::new(python);
    ask.arg(root().join("tests/python/model_vectors.py")).arg(&folder).env("HF_HUB_OFFLINE", "1");
    let vectors = folder.join("vectors.json");
    std::fs::write(&vectors, output(&mut ask)?).map_err(|e| written("writing to", e))?;
    run(cargo()
        .args(["test", "--release", "--workspace", "--test", "models_answer_as_their_authors_libraries_do"])
        .args(["--", "--nocapture"])
        .env("SAHARA_MODEL_VECTORS", vectors))
}
