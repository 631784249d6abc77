//! A command on a home speaks of the node of that home: never of another that answers at its address, and not of a
//! database that a running node has. A reader that goes away ends a command quietly.

use std::{
    path::Path,
    process::{Command, Output},
};

use serde_json::Value;

use crate::{
    a_node_that_dies_anywhere_goes_on_where_it_was::{Node, init},
    network::{PROGRAM, eventually},
};

fn run(arguments: &[&str], home: &Path) -> (Option<i32>, String) {
    let Output { status, stdout, stderr } =
        Command::new(PROGRAM).args(arguments).arg("--home").arg(home).output().unwrap();
    (status.code(), String::from_utf8_lossy(&stdout).into_owned() + &String::from_utf8_lossy(&stderr))
}

#[test]
fn a_command_tells_of_its_own_node_only() {
    let folder = tempfile::tempdir().unwrap();
    let [own, other] = ["own", "other"].map(|name| folder.path().join(name));
    init(&own);
    init(&other);
    let node = Node::start(&own, "").unwrap();
    let address = node.rpc.trim_start_matches("http://");
    for home in [&own, &other] {
        let path = home.join("chain.toml");
        let text = std::fs::read_to_string(&path).unwrap();
        std::fs::write(path, text.replace("127.0.0.1:0", address)).unwrap();
    }
    let (code, said) = run(&["status"], &own);
    assert!(code == Some(0) && said.contains(&node.rpc), "{said}");
    let (code, said) = run(&["status"], &other);
    assert_eq!(code, Some(2), "{said}");
    assert!(said.contains("other does not answer (another program answers at"), "{said}");
    for command in [&["rollback"][..], &["export"], &["snapshot", "make"], &["start"]] {
        let (code, said) = run(command, &own);
        assert!(code == Some(2) && said.contains("stop the node first"), "{command:?}: {code:?} {said}");
    }
    // The last block can be taken back if there was one before it.
    let height = || {
        let (_, said) = run(&["status", "--json"], &own);
        serde_json::from_str::<Value>(&said).ok().and_then(|status| status["height"].as_u64()).unwrap_or(0)
    };
    eventually("a second block", || height() > 1);
    node.end("-TERM");
    let (code, said) = run(&["status"], &own);
    assert!(code == Some(2) && said.contains("is it running?"), "{said}");

    // Programs read what each command did.
    let json = |arguments: &[&str]| -> Value {
        let (code, said) = run(&[arguments, &["--json"]].concat(), &own);
        assert_eq!(code, Some(0), "{arguments:?}: {said}");
        serde_json::from_str(&said).unwrap_or_else(|why| panic!("{arguments:?}: {why}: {said}"))
    };
    let height = json(&["rollback"])["height"].as_u64().unwrap();
    let out = folder.path().join("genesis.json");
    let exported = json(&["export", "--out", out.to_str().unwrap()]);
    assert_eq!((&exported["height"], &exported["first_block"]), (&height.into(), &(height + 1).into()));
    assert_eq!(json(&["export"]), serde_json::from_slice::<Value>(&std::fs::read(out).unwrap()).unwrap());
    let made = json(&["snapshot", "make"]);
    assert_eq!(made["height"], height);
    let restored = json(&["snapshot", "restore", "--height", &height.to_string()]);
    assert_eq!((&restored["height"], &restored["app_hash"]), (&height.into(), &made["app_hash"]));
    assert!(restored["old_database"].as_str().unwrap().contains("chain-data-old"), "{restored}");
}

#[test]
fn a_reader_that_has_gone_ends_a_command_quietly() {
    let gone = || {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        writer
    };
    let ended = Command::new(PROGRAM).arg("keys").stdout(gone()).output().unwrap();
    assert_eq!((ended.status.code(), String::from_utf8_lossy(&ended.stderr).as_ref()), (Some(0), ""));
    let full = std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let ended = Command::new(PROGRAM).arg("keys").stdout(full).output().unwrap();
    let said = String::from_utf8_lossy(&ended.stderr).into_owned();
    assert!(ended.status.code() == Some(2) && said.contains("standard output"), "{said}");
    // What is said beside the result may have no reader either.
    let folder = tempfile::tempdir().unwrap();
    let mut init = Command::new(PROGRAM);
    init.args(["init", "--rpc", "0.0.0.0:0", "--home"]).arg(folder.path().join("home")).stderr(gone());
    let ended = init.output().unwrap();
    assert!(ended.status.code() == Some(0) && ended.stdout.starts_with(b"Made "), "{ended:?}");
}
