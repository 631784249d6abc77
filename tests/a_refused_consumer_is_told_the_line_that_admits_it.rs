//! `sahara whoami` shows the keys that nodes know; a consumer whom a node does not admit exits with 2 and is told what the
//! operator must add; with that line it is served.

mod common;

use std::fs;

use common::{Devnet, Home, embeddings};

#[test]
fn refused_told_and_admitted() {
    let devnet = Devnet::up();
    let committee = devnet.committee_file().display().to_string();
    let stranger = Home::with_model();
    let who = stranger.json(&["whoami", "--json"]);
    let [key, owner] = ["key", "owner"].map(|name| who[name].as_str().expect("a key").to_owned());
    assert_eq!(who["line"], format!("consumers = [\"{key}\"]"));
    let said = stranger.output(&["whoami"]);
    assert!(said.contains(&key) && said.contains(&owner), "{said}");

    // The nodes of a local network serve its own user, and nobody else.
    let ask = || stranger.run(&["embed", "-q", "--json", "--committee", &committee, "hello"]);
    let refused = ask();
    assert_eq!(refused.code, Some(2), "{refused}");
    let lines: Vec<&str> = refused.stderr.lines().collect();
    assert!(lines.len() == 1 && lines[0].contains("node ") && lines[0].contains("`consumers`"), "{refused}");
    assert!(lines[0].contains(&key), "the key to add is in the line: {refused}");
    assert_eq!(embeddings(&devnet.embed_output(&["hello"], &[])).len(), 1, "its own user is served");

    let admit = |node: u8| {
        let file = devnet.node_folder(usize::from(node)).join("node.toml");
        let text = fs::read_to_string(&file).expect("node.toml");
        let wider = text.replacen("\nconsumers = [", &format!("\nconsumers = [\"{key}\", "), 1).replacen(
            "\nowners = [",
            &format!("\nowners = [\"{owner}\", "),
            1,
        );
        assert!(wider.len() > text.len() + 128, "both lists are there: {text}");
        fs::write(file, wider).expect("a writable home");
    };
    let restarted_with = |nodes: &[u8]| {
        devnet.home.output(&["devnet", "down"]);
        nodes.iter().for_each(|node| admit(*node));
        devnet.start();
    };
    // Two of three: what they list is nothing, but that nothing is there the third does not say.
    restarted_with(&[1, 2]);
    let list = || stranger.run(&["model", "shared", "-q", "--committee", &committee]);
    let listed = list();
    assert_eq!(listed.code, Some(2), "{listed}");
    assert!(listed.stderr.contains("node 3") && listed.stderr.contains(&key) && listed.stdout.is_empty(), "{listed}");
    restarted_with(&[3]);
    let listed = list();
    assert_eq!(listed.code, Some(0), "{listed}");
    assert!(listed.stdout.contains("no model on these nodes is yours or for you"), "{listed}");
    // Whoever asks with a model of its own hands it over first.
    let served = ask();
    assert_eq!(served.code, Some(0), "{served}");
    let listed = list();
    assert!(listed.code == Some(0) && listed.stdout.contains("yours"), "{listed}");
}
