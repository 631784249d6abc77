//! A node whose database is damaged says so and what to do; a snapshot brings it back. A file of another format, a
//! database of another chain and one that is in use are told apart.

use std::{path::Path, process::Command};

use sahara_chain::{
    node::open_store,
    store::{Batch, Engine, Table},
};

use crate::{
    a_node_that_dies_anywhere_goes_on_where_it_was::{Node, init},
    network::{PROGRAM, eventually},
};

fn run(arguments: &[&str], home: &Path) -> (bool, String) {
    let output = Command::new(PROGRAM).args(arguments).arg("--home").arg(home).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    (output.status.success(), said)
}

fn refusal(home: &Path) -> String {
    match Node::start(home, "") {
        Ok(_) => panic!("it starts"),
        Err((status, said)) => {
            assert!(!status.success());
            said
        }
    }
}

#[test]
fn a_damaged_database_says_so_and_is_restored() {
    let folder = tempfile::tempdir().unwrap();
    let home = folder.path();
    init(home);
    let node = Node::start(home, "").unwrap();
    eventually("snapshots", || node.newest().is_some_and(|(height, _)| height > 10));
    // In use by the node.
    assert!(run(&["rollback"], home).1.contains("another process is using it"));
    node.end("-TERM");
    let (fine, listed) = run(&["snapshot", "list"], home);
    let blocks = listed.lines().filter(|line| line.starts_with("block"));
    assert!(fine && blocks.count() == 2, "{listed}");
    let newest: u64 = listed.split_whitespace().nth(1).unwrap().parse().unwrap();
    assert!(run(&["rollback"], home).1.contains("The last block is now"));

    let file = home.join("chain-data/chain.redb");
    let sound = std::fs::read(&file).unwrap();
    let third = sound.len() / 3;
    let damages: [(&str, Vec<u8>); 4] = [
        ("cut short", sound[..third].to_vec()),
        ("not a database", b"what is this?".repeat(1000)),
        ("zeroes at its beginning", [vec![0; 4096], sound[4096..].to_vec()].concat()),
        ("noise in its pages", [&sound[..4096], &vec![0xa5; sound.len() - 4096]].concat()),
    ];
    for (what, bytes) in damages {
        std::fs::write(&file, bytes).unwrap();
        let said = refusal(home);
        assert!(said.contains("damaged") && said.contains("chain snapshot restore"), "{what}: {said}");
        assert!(!said.contains("panicked"), "{what}: {said}");
    }
    // A restore that is interrupted can be repeated.
    for place in ["restore-chunk", "restore-finish"] {
        let mut restore = Command::new(PROGRAM);
        restore.args(["snapshot", "restore", "--home"]).arg(home).env("SAHARA_CHAIN_FAIL", place);
        assert!(!restore.output().unwrap().status.success());
    }
    let (fine, said) = run(&["snapshot", "restore"], home);
    assert!(fine && said.contains(&format!("Restored block {newest}")), "{said}");
    let node = Node::start(home, "").map_err(|(_, said)| said).unwrap();
    eventually("the chain to go on", || node.newest().is_some_and(|(height, _)| height > newest + 3));
    node.end("-TERM");

    let mut batch = Batch::default();
    batch.put(Table::Meta, *b"format", [9]);
    open_store(home).unwrap().write(&batch).unwrap();
    let said = refusal(home);
    assert!(said.contains("it has format 9, this program reads format"), "{said}");

    // The same data under another name of the chain.
    std::fs::remove_dir_all(home.join("chain-data")).unwrap();
    let node = Node::start(home, "").unwrap();
    node.end("-TERM");
    let config = std::fs::read_to_string(home.join("chain.toml")).unwrap();
    std::fs::write(home.join("chain.toml"), config.replace("sahara-dev", "sahara-other")).unwrap();
    let said = refusal(home);
    assert!(said.contains("another chain"), "{said}");
}

/// The database is changed by restoring a snapshot; what this program cannot open is refused by name.
#[test]
fn another_database_begins_from_a_snapshot() {
    let folder = tempfile::tempdir().unwrap();
    let home = folder.path();
    init(home);
    let node = Node::start(home, "").unwrap();
    eventually("snapshots", || node.newest().is_some_and(|(height, _)| height > 10));
    node.end("-TERM");
    let path = home.join("chain.toml");
    let text = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, text.replace("engine = \"redb\"", "engine = \"rocksdb\"")).unwrap();
    let said = refusal(home);
    if !Engine::built().contains(&Engine::Rocksdb) {
        assert!(said.contains("built without rocksdb") && said.contains("--features rocksdb"), "{said}");
        let (fine, said) = run(&["snapshot", "restore"], home);
        assert!(!fine && said.contains("built without rocksdb"), "{said}");
        assert!(home.join("chain-data/chain.redb").exists(), "what is there stays");
        return;
    }
    assert!(said.contains("holds the files of redb") && said.contains("snapshot restore"), "{said}");
    let (fine, said) = run(&["snapshot", "restore"], home);
    assert!(fine && said.contains("Restored block"), "{said}");
    let node = Node::start(home, "").map_err(|(_, said)| said).unwrap();
    eventually("the chain to go on", || node.newest().is_some_and(|(height, _)| height > 14));
    assert!(run(&["rollback"], home).1.contains("another process is using it"));
    node.end("-TERM");
    assert!(run(&["rollback"], home).1.contains("The last block is now"));
    // Damage is told apart from everything else.
    let tables = std::fs::read_dir(home.join("chain-data/rocksdb")).unwrap();
    for entry in tables.map(|entry| entry.unwrap().path()) {
        if entry.file_name().unwrap().to_str().unwrap().starts_with("MANIFEST") {
            std::fs::write(entry, b"what is this?".repeat(1000)).unwrap();
        }
    }
    let said = refusal(home);
    assert!(said.contains("damaged") && said.contains("chain snapshot restore"), "{said}");
}
