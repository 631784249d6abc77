//! kill -9 in the middle of jobs, for each of the three nodes: the client is told which node and at which step, no
//! randomness is used again, and the network answers once the node is back.

mod common;

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::thread;
use std::time::{Duration, Instant};

use common::{Devnet, PATIENCE, Started, files_under, is_alive, kill_9, one_at_a_time};
use sahara_mpc::transcript::JobRecord;

#[test]
fn first_node() {
    journey(1);
}

#[test]
fn second_node() {
    journey(2);
}

#[test]
fn third_node() {
    journey(3);
}

fn journey(number: usize) {
    let _turn = one_at_a_time();
    let devnet = Devnet::up();
    let question = ["Is anyone home?"];
    let expected = devnet.embed_output(&question, &["--plain"]);
    assert_eq!(devnet.embed_output(&question, &[]), expected);
    let before = devnet.jobs_done();

    let long = devnet.home.path().join("long.txt");
    std::fs::write(&long, long_texts(48)).expect("a writable home");
    let long = long.to_str().expect("a plain path");
    let mut client = Started::new(&mut devnet.home.sahara(&["embed", "--json", "--file", long]));
    let until = Instant::now() + PATIENCE;
    while devnet.jobs_done() < before + 2 {
        assert!(client.is_running(), "the jobs ended too soon: {}", client.finish(PATIENCE));
        assert!(Instant::now() < until, "no job was done within {PATIENCE:?}");
        thread::sleep(Duration::from_millis(20));
    }
    let victim = devnet.pids()[number - 1];
    kill_9(victim);
    assert!(!is_alive(victim));
    let killed = Instant::now();
    let finished = client.finish(PATIENCE);
    let waited = killed.elapsed();

    assert_eq!(finished.code, Some(1), "a fault, not the user's mistake: {finished}");
    assert!(waited < Duration::from_secs(60), "the client waited {waited:?}");
    let said = &finished.stderr;
    assert!(!said.contains("panicked"), "{finished}");
    // Whoever noticed first says it: the consumer, or another node that was talking to the one that is gone.
    let steps = [
        ", in the handshake",
        ", in the greeting",
        ", between requests",
        ", while packs were prepared",
        ", when asked for room for a pack",
        ", while a pack was dealt",
        ", while it prepared a pack",
        ", while the job was opened",
        ", before the first round",
        ", in round ",
        ", while it ran the job",
        ") was not asked for the job, or did not open it",
        ") was not asked for the job, or has given it up",
        ") does not arrive",
    ];
    let node = format!("node {number} (");
    let at_a_step = |of: &str| steps.iter().any(|step| of.contains(step));
    let named = said.split(&node).skip(1).any(at_a_step) || said.contains(&format!("cannot connect to {node}"));
    assert!(named, "which node, and at which step: {finished}");

    let without = devnet.home.run(&["embed", "-q", "--json", question[0]]);
    assert!(matches!(without.code, Some(1 | 2)), "two nodes do not answer: {without}");
    assert!(without.stderr.contains(&format!("node {number}")), "{without}");
    let status = devnet.home.run(&["devnet", "status"]);
    assert_eq!(status.code, Some(1), "scripts see that it is down: {status}");
    let line = status.stderr.lines().last().unwrap_or_default();
    assert!(line.starts_with(&format!("error: not ready: node {number};")), "which one: {status}");
    assert!(status.stdout.contains("not ready"), "the table is there all the same: {status}");
    devnet.start();
    assert_ne!(devnet.pids()[number - 1], victim);
    // Three in one command, because the helper changes from job to job there.
    let thrice = [question[0]; 3];
    assert_eq!(devnet.embed_output(&thrice, &[]), devnet.embed_output(&thrice, &["--plain"]), "after the restart");
    no_pack_served_twice(&devnet);
}

/// Each node's own transcripts, from before and after the restart, name a pack once.
fn no_pack_served_twice(devnet: &Devnet) {
    for number in 1..=3 {
        let mut packs = BTreeSet::new();
        for (path, bytes) in files_under(&devnet.node_folder(number)) {
            let Ok(transcript) = JobRecord::decode(&bytes) else { continue };
            let session = transcript.end.record.opening.session;
            assert!(packs.insert(session.pack), "pack {} served a second job: {}", session.pack, path.display());
        }
        assert!(packs.len() > 1, "node {number} keeps transcripts");
    }
}

/// Texts of about a hundred tokens.
fn long_texts(count: usize) -> String {
    let mut text = String::new();
    for number in 0..count {
        let line = "the river rose two metres in a single night and carried away the footbridge ".repeat(6);
        writeln!(text, "Report {number}: {}", line.trim()).expect("writing to memory");
    }
    text
}
