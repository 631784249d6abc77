//! Ctrl-C while a model is handed to the nodes: exit code 130, and all three have what they had before.

mod common;

use std::path::PathBuf;
use std::time::{Duration, Instant};

use common::{Devnet, MODEL, PATIENCE, Started, interrupt, one_at_a_time};
use serde_json::Value;

#[test]
fn journey() {
    let _turn = one_at_a_time();
    let devnet = Devnet::up();
    let versions = || -> Vec<u64> {
        let list = devnet.home.json(&["model", "shared", "--json"]);
        let versions = list.as_array().expect("a list").iter().map(|entry| entry["version"].as_u64());
        versions.map(|version| version.expect("a number")).collect()
    };
    for before in [vec![], vec![1]] {
        let sharing = Started::new(&mut devnet.home.sahara(&["model", "share", "--force"]));
        wait("all three nodes are being given the model", || uploads(&devnet).len() == 3);
        interrupt(sharing.pid());
        let ended = sharing.finish(PATIENCE);
        assert_eq!(ended.code, Some(130), "{ended}");
        assert!(ended.stderr.contains("interrupted") && ended.stdout.is_empty(), "{ended}");
        wait("nothing is left of it", || uploads(&devnet).is_empty());
        assert_eq!(versions(), before);
        let shared = devnet.home.json(&["model", "share", MODEL, "--json"]);
        assert_eq!((&shared["version"], &shared["uploaded"]), (&Value::from(1), &Value::from(before.is_empty())));
    }
}

#[test]
fn two_processes_that_ask_first_share_once() {
    let _turn = one_at_a_time();
    let devnet = Devnet::up();
    let asked = [(); 2].map(|()| Started::new(&mut devnet.home.sahara(&["embed", "the first question"])));
    let answers = asked.map(|one| one.finish(PATIENCE));
    for answer in &answers {
        assert_eq!(answer.code, Some(0), "{answer}");
        assert_eq!(answer.stdout, answers[0].stdout);
    }
    let list = devnet.home.json(&["model", "shared", "--json"]);
    let versions: Vec<_> = list.as_array().expect("a list").iter().map(|entry| &entry["version"]).collect();
    assert_eq!(versions, [1], "{list}");
}

/// Folders of uploads that nodes have begun.
fn uploads(devnet: &Devnet) -> Vec<PathBuf> {
    let folders = (1..=3).map(|node| devnet.node_folder(node).join("sharings"));
    let entries = folders.flat_map(|folder| std::fs::read_dir(folder).into_iter().flatten().flatten());
    let begun = entries.filter(|entry| entry.file_name().to_string_lossy().starts_with("upload-"));
    begun.map(|entry| entry.path()).collect()
}

fn wait(what: &str, is: impl Fn() -> bool) {
    let until = Instant::now() + Duration::from_secs(60);
    while !is() {
        assert!(Instant::now() < until, "not in time: {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}
