//! `cargo xtask test --peers`: our results beside those of other people's programs, run live, each in an environment of
//! its own. They install much, so they are not part of the ordinary suite, which has committed vectors instead.

use std::process::Command;
use std::time::Instant;

use crate::{Failure, process, venv};

type Peer = (&'static str, &'static str, fn() -> Result<(), Failure>);

const PEERS: [Peer; 6] = [
    (
        "llama-index",
        "its embedding class against the gateway, and over the Python package (installs ~500 MB)",
        llama_index,
    ),
    ("rerank", "the rerankers of Cohere's client and of LlamaIndex for Jina (installs ~320 MB)", rerank),
    ("dashboard", "Chromium draws the dashboard (apt-get install chromium)", dashboard),
    (
        "models",
        "sentence-transformers and transformers on our model folders (installs ~5 GB)",
        crate::peers_models::compare,
    ),
    (
        "dp-accounting",
        "ε beside Google's accountant, at points that the commit draws (installs ~200 MB)",
        dp_accounting,
    ),
    (
        "opendp",
        "the noise of questions beside OpenDP's maps, at points that the commit draws (installs ~300 MB)",
        opendp,
    ),
];

fn llama_index() -> Result<(), Failure> {
    ignored_test("the_openai_client_gets_the_embeddings_of_sahara_embed", "llama_index")?;
    ignored_test("the_python_package_gives_the_vectors_of_sahara_embed", "llama_index")
}

fn rerank() -> Result<(), Failure> {
    ignored_test("models_of_other_families_answer_on_the_network_as_in_the_clear", "rerankers")
}

fn dashboard() -> Result<(), Failure> {
    ignored_test("a_dashboard_shows_what_the_nodes_say", "a_browser_draws_it")
}

/// The committed points are asked of the library again, and others that depend on the commit.
fn dp_accounting() -> Result<(), Failure> {
    let python = venv::ensure("dp-accounting", &["dp-accounting==0.6.0"], "import dp_accounting.pld")?;
    let script = process::root().join("privacy/tests/data/make_dp_accounting.py");
    let seed = drawn()?.to_string();
    for (name, arguments) in [("committed", vec![]), ("drawn", vec!["--random", "60", &seed])] {
        let points = process::output(Command::new(&python).arg(&script).args(arguments))?;
        let path = process::target_dir().join(format!("dp-accounting-{name}.csv"));
        std::fs::write(&path, points).map_err(|e| Failure::fault(format!("writing {}: {e}", path.display())))?;
        let test = ["test", "--release", "--workspace", "--test", "accounts_stand_beside_dp_accounting"];
        process::run(process::cargo().args(test).env("SAHARA_DP_POINTS", path))?;
    }
    Ok(())
}

/// The committed points are asked of the library again, and others that depend on the commit.
fn opendp() -> Result<(), Failure> {
    let python = venv::ensure("opendp", &["opendp==0.16.0"], "import opendp.prelude")?;
    let script = process::root().join("privacy/tests/data/make_opendp.py");
    let seed = drawn()?.to_string();
    for (name, arguments) in [("committed", vec![]), ("drawn", vec!["--random", "140", &seed])] {
        let points = process::output(Command::new(&python).arg(&script).args(arguments))?;
        let path = process::target_dir().join(format!("opendp-{name}.csv"));
        std::fs::write(&path, points).map_err(|e| Failure::fault(format!("writing {}: {e}", path.display())))?;
        let test = ["test", "--release", "--workspace", "--test", "queries_stand_beside_opendp"];
        process::run(process::cargo().args(test).env("SAHARA_OPENDP_POINTS", path))?;
    }
    Ok(())
}

/// The name of the commit chooses, so that each has its turn and a run can be repeated.
fn at_turn() -> Result<&'static str, Failure> {
    Ok(PEERS[drawn()? % PEERS.len()].0)
}

/// A number that the name of the commit draws.
fn drawn() -> Result<usize, Failure> {
    let commit = process::output(Command::new("git").args(["rev-parse", "HEAD"]).current_dir(process::root()))?;
    let drawn = commit.get(..8).and_then(|hex| usize::from_str_radix(hex, 16).ok());
    drawn.ok_or_else(|| Failure::fault(format!("git gives no commit but {commit:?}")))
}

/// Runs a test that the ordinary suite leaves out.
fn ignored_test(program: &str, test: &str) -> Result<(), Failure> {
    let own = ["test", "--release", "--workspace", "--test", program, "--", "--ignored", test];
    process::run(process::cargo().args(own))
}

/// Runs the named peers, or all of them; `--one` runs the one whose turn it is at this commit.
pub fn run(names: &[String]) -> Result<(), Failure> {
    if names == ["--one"] {
        return run(&[at_turn()?.to_owned()]);
    }
    for name in names {
        if !PEERS.iter().any(|(peer, ..)| peer == name) {
            let all: Vec<&str> = PEERS.iter().map(|(peer, ..)| *peer).collect();
            return Err(Failure::user(format!("no peer is called {name:?}; there are {}", all.join(", "))));
        }
    }
    for (name, purpose, peer) in PEERS {
        if names.is_empty() || names.iter().any(|wanted| wanted == name) {
            let started = Instant::now();
            eprintln!("xtask: peer {name}: {purpose}");
            peer()?;
            eprintln!("xtask: peer {name} done in {:.0} s", started.elapsed().as_secs_f64());
        }
    }
    Ok(())
}
