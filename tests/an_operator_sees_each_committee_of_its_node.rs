//! Four operators in two committees that overlap: `show`, `status` and `doctor` of a node with two seats have a section for
//! each, a node that is away is missed by its own committee only, and a committee that cannot be served is refused by name.

mod common;

use std::fs;
use std::net::SocketAddr;
use std::process::Command;
use std::time::Duration;

use common::{Home, PATIENCE, Started, free_port_block, one_at_a_time, wait_for_port};
use serde_json::Value;

/// The operators (from 0) of each committee.
const MEMBERS: [[usize; 3]; 2] = [[0, 1, 2], [2, 3, 1]];

#[test]
fn journey() {
    let _turn = one_at_a_time();
    let operators = [(); 4].map(|()| Home::empty());
    let port = free_port_block();
    let address = |number: usize| -> SocketAddr { ([127, 0, 0, 1], port + number as u16).into() };
    let nodes: Vec<String> = operators
        .iter()
        .enumerate()
        .map(|(number, operator)| {
            let listen = address(number).to_string();
            let made = operator.json(&["operator", "init", "--json", "--listen", &listen]);
            let key = made["key"].as_str().expect("a key");
            format!("\n[[node]]\nname = \"operator {}\"\naddress = \"{listen}\"\nkey = \"{key}\"\n", number + 1)
        })
        .collect();
    let files = MEMBERS.map(|members| {
        let members: Vec<&str> = members.iter().map(|member| nodes[*member].as_str()).collect();
        format!("version = 1\n{}", members.concat())
    });
    for (number, operator) in operators.iter().enumerate() {
        let folder = operator.path().join("node");
        fs::write(folder.join("committee.toml"), &files[0]).expect("a writable home");
        fs::write(folder.join("second.toml"), &files[1]).expect("a writable home");
        let file = folder.join("node.toml");
        let mut text = fs::read_to_string(&file).expect("node.toml");
        if MEMBERS[1].contains(&number) {
            text = text.replacen("# committees =", "committees =", 1);
        }
        if !MEMBERS[0].contains(&number) {
            text = text.replacen("\ncommittee =", "\n# committee =", 1);
        }
        fs::write(&file, text).expect("a writable home");
    }

    // Two seats: the lines and the fingerprint of each.
    let both = &operators[1];
    let shown = both.json(&["operator", "show", "--json"]);
    let committees = shown["committees"].as_array().expect("a list");
    let fingerprints: Vec<&str> = committees.iter().filter_map(|one| one["fingerprint"].as_str()).collect();
    assert!(fingerprints.len() == 2 && fingerprints[0] != fingerprints[1], "{shown}");
    assert_eq!(shown["fingerprint"], committees[0]["fingerprint"], "the first one, as before");
    let said = both.output(&["operator", "show"]);
    assert_eq!(said.matches("[[node]]").count(), 2, "{said}");
    assert!(fingerprints.iter().all(|fingerprint| said.contains(fingerprint)), "{said}");
    let other = operators[3].json(&["operator", "show", "--json"]);
    assert_eq!(other["fingerprint"], fingerprints[1], "its only one");

    let mut running: Vec<Started> =
        operators.iter().map(|operator| Started::new(&mut operator.sahara(&["operator", "run"]))).collect();
    (0..4).for_each(|number| wait_for_port(address(number), PATIENCE));
    let status = both.json(&["operator", "status", "--json"]);
    let told = |status: &Value, fingerprint: &str| -> Vec<bool> {
        let nodes = status["nodes"].as_array().expect("a list").iter();
        let own = nodes.filter(|node| node["committee"] == fingerprint);
        own.map(|node| node["ready"] == Value::Bool(true)).collect()
    };
    assert!(fingerprints.iter().all(|fingerprint| told(&status, fingerprint) == [true; 3]), "{status}");
    let doctor = both.run(&["operator", "doctor"]);
    assert_eq!(doctor.code, Some(0), "{doctor}");
    let sections = doctor.stdout.lines().filter(|line| line.starts_with("committee "));
    let sections: Vec<bool> = sections.map(|line| line.contains("second.toml")).collect();
    assert_eq!(sections[..2], [false, true], "{doctor}");

    // One node goes: the second committee misses it, the first has never known it.
    let gone = running.remove(3);
    assert!(Command::new("kill").arg(gone.pid().to_string()).status().is_ok_and(|status| status.success()));
    assert_eq!(gone.finish(Duration::from_secs(60)).code, Some(0));
    let status = both.run(&["operator", "status", "--json"]);
    assert_eq!(status.code, Some(1), "{status}");
    assert!(status.stderr.contains("operator 4") && status.stderr.contains("second.toml"), "{status}");
    let seen: Value = serde_json::from_str(&status.stdout).expect("JSON all the same");
    assert_eq!(told(&seen, fingerprints[0]), [true; 3], "{status}");
    assert_eq!(told(&seen, fingerprints[1]).iter().filter(|ready| **ready).count(), 2, "{status}");

    // Two nodes can be a committee by name; none of this version serves it, and the line says so.
    drop(running);
    let two = format!("version = 1\nkind = \"two\"\n{}{}", nodes[1], nodes[2]);
    fs::write(both.path().join("node").join("second.toml"), two).expect("a writable home");
    let refused = both.run(&["operator", "run"]);
    assert_eq!(refused.code, Some(2), "{refused}");
    assert!(refused.stderr.contains("second.toml") && refused.stderr.contains("no helper"), "{refused}");
}
