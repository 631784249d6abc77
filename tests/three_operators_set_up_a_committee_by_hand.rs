//! Without the devnet: each of three operators makes a node, they exchange the lines that `operator init` prints, and
//! a consumer who has their committee file asks a question.

mod common;

use std::fmt::Write as _;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use common::{Home, PATIENCE, Started, free_port_block, one_at_a_time, wait_for_port};
use sahara_mpc::identity;
use serde_json::Value;

const QUESTION: [&str; 1] = ["Could you tell me whether the museum is open on public holidays?"];

#[test]
fn journey() {
    let _turn = one_at_a_time();
    let consumer = Home::with_model();
    let operators = [Home::empty(), Home::empty(), Home::empty()];
    let port = free_port_block();
    let mut committee = "version = 1\n".to_owned();
    // The consumer tells the operators its two keys; nobody else may share or ask.
    let [owner, asker] = ["owner.key", "consumer.key"].map(|file| {
        let key = identity::load_or_generate(&consumer.path().join(file)).expect("a key");
        key.public().to_string()
    });
    for (index, operator) in operators.iter().enumerate() {
        let listen = format!("127.0.0.1:{}", port as usize + index);
        let metrics = format!("127.0.0.1:{}", port as usize + 5 + index);
        // The first one listens at a name, and says by which address the others reach it.
        let name = if index == 0 { listen.replace("127.0.0.1", "localhost") } else { listen.clone() };
        let mut init = vec!["operator", "init", "--json", "--listen", &name, "--metrics", &metrics];
        init.extend(["--owner", &owner, "--consumer", &asker]);
        init.extend(if index == 0 { vec!["--advertise", &listen] } else { vec![] });
        let nowhere = operator.run(&["operator", "init", "--listen", "0.0.0.0:7700"]);
        assert!(nowhere.code == Some(2) && nowhere.stderr.contains("--advertise"), "{nowhere}");
        let made = operator.json(&init);
        let listed = |list: &str| made[list].as_array().map(Vec::len);
        assert_eq!((listed("owners"), listed("consumers")), (Some(2), Some(2)), "the operator's own and the named");
        assert_eq!(made["listen"], Value::String(name.clone()));
        assert_eq!(made["address"], Value::String(listen.clone()));
        assert_eq!(made["fingerprint"], Value::Null, "there is no committee yet");
        let shown = operator.json(&["operator", "show", "--json"]);
        assert_eq!((&shown["address"], &shown["key"]), (&made["address"], &made["key"]), "as `init` has said it");
        let key = made["key"].as_str().expect("a key");
        write!(committee, "\n[[node]]\nname = \"operator {}\"\naddress = \"{listen}\"\nkey = \"{key}\"\n", index + 1)
            .expect("writing to memory");
        let again = operator.run(&["operator", "init"]);
        assert_eq!(again.code, Some(2), "a node's folder is never overwritten: {again}");
    }

    // A node in a folder of its own admits the keys by which its operator asks and shares everywhere else.
    let elsewhere = operators[0].path().join("elsewhere").display().to_string();
    let made = operators[0].json(&["operator", "init", "--json", "--home", &elsewhere]);
    let who = operators[0].json(&["whoami", "--json"]);
    assert_eq!((&made["consumers"][0], &made["owners"][0]), (&who["key"], &who["owner"]));
    assert_eq!(made["keys"], Value::String(operators[0].path().display().to_string()));
    assert!(!Path::new(&elsewhere).join("consumer.key").exists(), "keys of a person are in one place");

    let early = operators[0].run(&["operator", "run"]);
    assert_eq!(early.code, Some(2), "without a committee: {early}");
    assert!(early.stderr.contains("committee"), "{early}");

    let doctor = operators[0].run(&["operator", "doctor", "--json"]);
    assert_eq!(doctor.code, Some(2), "{doctor}");
    let missing = finding(&doctor.stdout, "committee");
    assert!(missing["level"] == "problem" && missing["fix"].is_string(), "the finding comes with its fix: {missing}");

    for operator in &operators {
        let folder = operator.path().join("node");
        assert!(folder.join("node.toml").is_file(), "init makes {}", folder.display());
        std::fs::write(folder.join("committee.toml"), &committee).expect("a writable home");
    }
    let file = consumer.path().join("committee.toml");
    std::fs::write(&file, &committee).expect("a writable home");
    let file = file.to_str().expect("a plain path");

    let nodes: Vec<Started> =
        operators.iter().map(|operator| Started::new(&mut operator.sahara(&["operator", "run"]))).collect();
    let address = |number: usize| -> SocketAddr { ([127, 0, 0, 1], port + number as u16).into() };
    (0..3).for_each(|number| wait_for_port(address(number), PATIENCE));

    let second = operators[0].run(&["operator", "run"]);
    assert_eq!(second.code, Some(2), "one process a folder: {second}");

    let stranger = Home::with_model();
    let refused = stranger.run(&["embed", "--committee", file, QUESTION[0]]);
    assert_ne!(refused.code, Some(0), "a key that no operator listed: {refused}");
    assert!(refused.stderr.contains("does not admit this key"), "{refused}");
    let expected = consumer.output(&["embed", "--json", "--plain", QUESTION[0]]);
    for first in [true, false, false] {
        let answer = consumer.run(&["embed", "--json", "--committee", file, QUESTION[0]]);
        assert!(answer.code == Some(0) && answer.stdout == expected, "{answer}");
        let told = answer.stderr.contains("the nodes hold") && answer.stderr.contains(&owner);
        assert_eq!(told, first, "a hand-over is said, with the name that it got: {answer}");
    }
    let status = operators[1].json(&["operator", "status", "--json"]);
    let fingerprints = operators.each_ref().map(|o| o.json(&["operator", "show", "--json"])["fingerprint"].clone());
    assert!(fingerprints.iter().all(|f| f.is_string() && *f == status["fingerprint"]), "{fingerprints:?}");
    let fingerprint = status["fingerprint"].as_str().expect("a fingerprint");
    let seen = status["nodes"].as_array().expect("three nodes");
    assert!(seen.len() == 3 && seen.iter().all(|node| node["ready"] == Value::Bool(true)), "{status}");

    let doctor = operators[0].run(&["operator", "doctor", "--json"]);
    assert_eq!(doctor.code, Some(0), "a node that serves is well: {doctor}");
    assert!(!doctor.stdout.contains("\"problem\"") && doctor.stdout.contains(fingerprint), "{doctor}");
    // The others do not have this operator's own keys in their lists.
    assert!(doctor.stdout.contains("is not admitted by node 2"), "{doctor}");

    // What a consumer can put right is no fault: nodes in another order, and two that have changed their addresses.
    let parts: Vec<&str> = committee.split("[[node]]").collect();
    let swapped = [parts[0], parts[2], parts[1], parts[3]].join("[[node]]");
    let [first, second] = [0, 1].map(|n| format!("127.0.0.1:{}", port + n));
    let moved = committee.replace(&first, "first").replace(&second, &first).replace("first", &second);
    for other in [swapped, moved] {
        let file = consumer.path().join("other.toml");
        std::fs::write(&file, &other).expect("a writable home");
        let refused = consumer.run(&["embed", "-q", "--committee", file.to_str().expect("a plain path"), QUESTION[0]]);
        assert!(refused.code == Some(2) && refused.stderr.contains("operator show"), "{refused}");
    }

    for number in 0..3 {
        let health = get(address(5 + number), "/healthz");
        assert!(health.starts_with("HTTP/1.1 200"), "{health}");
        let metrics = get(address(5 + number), "/metrics");
        assert!(metrics.lines().any(|line| line.starts_with("# TYPE ")), "{metrics}");
    }

    for (number, node) in nodes.into_iter().enumerate() {
        assert!(Command::new("kill").arg(node.pid().to_string()).status().is_ok_and(|status| status.success()));
        let finished = node.finish(Duration::from_secs(60));
        assert_eq!(finished.code, Some(0), "SIGTERM is a graceful end: {finished}");
        if number == 0 {
            let status = operators[1].run(&["operator", "status", "--json"]);
            assert_eq!(status.code, Some(1), "one of three has stopped: {status}");
            let seen: Value = serde_json::from_str(&status.stdout).expect("JSON all the same");
            assert_eq!(
                (&seen["nodes"][0]["ready"], &seen["nodes"][2]["ready"]),
                (&Value::Bool(false), &Value::Bool(true))
            );
            let label = seen["nodes"][0]["label"].as_str().expect("a label");
            assert!(status.stderr.contains(&format!("not ready: {label};")), "which one: {status}");
            let away = consumer.run(&["embed", "-q", "--committee", file, QUESTION[0]]);
            assert!(away.code == Some(2) && away.stderr.contains(label), "{away}");
            assert!(away.stderr.contains("ask its operator") && !away.stderr.contains("devnet"), "{away}");
        }
        for line in finished.stdout.lines() {
            let parsed: Result<Value, _> = serde_json::from_str(line);
            assert!(parsed.is_ok_and(|line| line.is_object()), "a log line is a JSON object: {line}");
            assert!(!line.contains("museum"), "the question is in a log: {line}");
        }
    }
}

/// What the doctor found about one thing.
fn finding(report: &str, what: &str) -> Value {
    let report: Value = serde_json::from_str(report).unwrap_or_else(|error| panic!("{error}: {report}"));
    let findings = report["findings"].as_array().unwrap_or_else(|| panic!("findings in {report}"));
    findings.iter().find(|finding| finding["what"] == what).unwrap_or_else(|| panic!("{what} in {report}")).clone()
}

fn get(address: SocketAddr, path: &str) -> String {
    let mut stream = TcpStream::connect(address).expect("the node shows its metrics");
    stream.set_read_timeout(Some(Duration::from_secs(30))).expect("a socket");
    let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).expect("the node reads");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("the node answers");
    answer
}
