//! The Python package, as whoever installs its wheel has it: vectors and scores are those of the program, Ctrl-C stops the
//! nodes, errors advise in Python's words, and LangChain's adapter gets the same numbers. What is asserted is in
//! `python/tests`; here is what it needs: the wheel in an environment of its own, a network, and the program's answers.

mod common;

use std::path::{Path, PathBuf};
use std::process::Command;

use common::clients::{beside_the_build, python_with};
use common::{Devnet, Home, free_port_block, one_at_a_time, tests};
use sahara_circuits::testmodel::{PAIRS, SEED, catalogue};
use serde_json::{Value, json};

const TEXTS: [&str; 5] = [
    "The kettle boils.",
    "Our train leaves from platform nine at noon.",
    "我们明天早上八点在火车站见面。",
    "",
    "When she opened the letter that had been lying on the kitchen table since Monday, she found only a pressed flower.",
];
const CLASSIFIER: &str = "mpnet-cross-encoder";

#[test]
fn in_every_way_that_it_can_be_asked() {
    let _turn = one_at_a_time();
    let import = "import langchain_core, numpy, pytest, tqdm";
    run_tests(&python_with("sahara", "requirements-sahara.txt", import), &[]);
}

#[test]
#[ignore = "installs some 250 MB: run by `cargo xtask test --peers llama-index`"]
fn llama_index_gets_the_same_embeddings() {
    let _turn = one_at_a_time();
    let import = "import llama_index.core, numpy, pytest";
    let python = python_with("sahara-llama-index", "requirements-sahara-peers.txt", import);
    let said = run_tests(&python, &["-k", "llama_index"]);
    assert!(said.contains("2 passed"), "the adapter's test and that of its package missing: {said}");
}

/// Installs the wheel and runs the package's tests on a devnet; what pytest printed.
fn run_tests(python: &Path, select: &[&str]) -> String {
    install(python);
    let home = Home::with_model_and_room();
    let folder = tempfile::tempdir().expect("a folder");
    let case = catalogue().into_iter().find(|case| case.name == CLASSIFIER).expect("a case of the catalogue");
    case.folder.write(folder.path(), SEED).expect("a model folder");
    home.output(&["model", "pull", &folder.path().display().to_string(), "--name", CLASSIFIER]);
    let devnet = Devnet { home, port: free_port_block() };
    devnet.start();

    let embed: Vec<Value> = devnet.embed_output(&TEXTS, &[]).lines().map(|line| line.parse().expect("JSON")).collect();
    let (text, pair) = PAIRS[0];
    let classify = devnet.home.json(&["classify", "--json", "--model", CLASSIFIER, text, "--pair", pair]);
    let expected = json!({
        "texts": TEXTS, "embed": embed, "classifier": CLASSIFIER, "pair": [text, pair], "classify": classify,
        "folder": folder.path(), "committee": devnet.committee_file(),
    });
    let place = devnet.home.path().join("expected.json");
    std::fs::write(&place, expected.to_string()).expect("a writable home");

    // Elsewhere than the sources, which would be imported in place of what is installed.
    let output = Command::new(python)
        .args(["-m", "pytest", "-q", "-p", "no:cacheprovider", "--durations=5"])
        .args(select)
        .arg(root().join("python/tests"))
        .current_dir(folder.path())
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .env("SAHARA_HOME", devnet.home.path())
        .env("SAHARA_EXPECTED", &place)
        .output()
        .expect("Python starts");
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    println!("{said}");
    assert!(output.status.success(), "the package's tests failed\n{said}\n{}", String::from_utf8_lossy(&output.stderr));
    said
}

/// Builds the wheel and installs it in the place of the last one.
fn install(python: &Path) {
    let wheel = std::env::var_os("SAHARA_TEST_WHEEL").map_or_else(build, PathBuf::from);
    let pip = Command::new(python)
        .args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-index", "--no-deps"])
        .arg("--force-reinstall")
        .arg(&wheel)
        .status();
    assert!(pip.is_ok_and(|status| status.success()), "pip installs {}", wheel.display());
}

fn build() -> PathBuf {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let target = beside_the_build("");
    let mut xtask = Command::new(cargo);
    let output = xtask.args(["xtask", "python"]).current_dir(root()).env("CARGO_TARGET_DIR", target).output();
    let output = output.expect("cargo starts");
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "building the wheel\n{said}\n{}", String::from_utf8_lossy(&output.stderr));
    said.lines().last().expect("the wheel's path").into()
}

fn root() -> PathBuf {
    tests().join("..")
}
