//! The peer `models`: sentence-transformers and transformers themselves on the folders that our tests make.

use std::process::Command;

use crate::process::{cargo, output, root, run, target_dir};
use crate::{Failure, venv};

/// What made the committed vectors; torch brings about 4 GB of packages.
const PACKAGES: [&str; 3] = ["torch==2.7.1", "transformers==4.57.1", "sentence-transformers==5.1.2"];

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
