//! `sahara whoami` shows the key that nodes know; a consumer whom a node does not admit exits with 2 and is told what the
//! operator must add; with that line it is served.

mod common;

use std::fs;

use common::{Devnet, Home, embeddings};
use sahara_mpc::identity;

#[test]
fn refused_told_and_admitted() {
    let devnet = Devnet::up();
    let committee = devnet.committee_file().display().to_string();
    let stranger = Home::with_model();
    let who = stranger.json(&["whoami", "--json"]);
    let key = who["key"].as_str().expect("a key").to_owned();
    assert_eq!(who["line"], format!("consumers = [\"{key}\"]"));
    assert!(stranger.output(&["whoami"]).contains(&key));
    let own = devnet.home.json(&["whoami", "--json"])["key"].as_str().expect("a key").to_owned();

    // The node of the second operator admits its own user, and the key by which `devnet` asks for its status.
    let file = devnet.node_folder(2).join("node.toml");
    let text = fs::read_to_string(&file).expect("node.toml");
    let line = text.lines().find(|line| line.starts_with("consumers = ")).expect("a line of consumers").to_owned();
    let status = identity::load(&devnet.home.path().join("devnet/operator.key")).expect("a key").public().to_string();
    let admit = |keys: &[&str]| {
        let list = keys.iter().map(|key| format!("\"{key}\"")).collect::<Vec<_>>().join(", ");
        fs::write(&file, text.replacen(&line, &format!("consumers = [{list}]"), 1)).expect("a writable home");
        devnet.home.output(&["devnet", "down"]);
        devnet.start();
    };
    let ask = || stranger.run(&["embed", "-q", "--json", "--committee", &committee, "hello"]);
    admit(&[&own, &status]);
    let refused = ask();
    assert_eq!(refused.code, Some(2), "{refused}");
    let lines: Vec<&str> = refused.stderr.lines().collect();
    assert!(lines.len() == 1 && lines[0].contains("node 2") && lines[0].contains("`consumers`"), "{refused}");
    assert!(lines[0].contains(&key), "the key to add is in the line: {refused}");
    assert_eq!(embeddings(&devnet.embed_output(&["hello"], &[])).len(), 1, "its own user is served");
    admit(&[&own, &status, &key]);
    assert_eq!(ask().code, Some(0), "{}", ask());
}
