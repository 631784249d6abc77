//! A node that is killed in its first milliseconds, or at any step of making its home and its database, starts again with
//! the same command: nothing has to be removed by hand.

use std::{
    path::Path,
    process::{Command, Stdio},
    time::Duration,
};

use sahara_chain::{node::load_key, store::Engine};

use crate::{
    a_node_that_dies_anywhere_goes_on_where_it_was::{Node, init_with},
    network::{PROGRAM, eventually},
};

fn init(home: &Path) -> Command {
    let mut command = Command::new(PROGRAM);
    command.args(["init", "--rpc", "127.0.0.1:0", "--block-time-ms", "20", "--home"]).arg(home);
    command.stdout(Stdio::null()).stderr(Stdio::null());
    command
}

fn start(home: &Path) -> Command {
    let mut command = Command::new(PROGRAM);
    command.arg("start").arg("--home").arg(home).stdout(Stdio::null()).stderr(Stdio::null());
    command
}

/// Lets `command` run for so long and kills it. Whether it had ended by itself.
fn kill_after(mut command: Command, time: Duration) -> bool {
    let mut process = command.spawn().unwrap();
    std::thread::sleep(time);
    let ended = process.try_wait().unwrap().is_some();
    let _ = process.kill();
    process.wait().unwrap();
    ended
}

/// Makes the home, if it is none yet, and sees a block of its chain.
fn is_born(home: &Path, when: &str) {
    if !home.join("chain.toml").exists() {
        assert!(init(home).status().unwrap().success(), "{when}: init");
    }
    let node = Node::start(home, "").unwrap_or_else(|(_, said)| panic!("{when}: {said}"));
    eventually("a block", || node.newest().is_some_and(|(height, _)| height > 1));
    node.end("-KILL");
}

#[test]
fn a_home_killed_at_any_step_starts_again() {
    let steps = [
        "secret-draft",
        "secret-linked",
        "secret-draft:2",
        "secret-linked:2",
        "init-key",
        "init-beacon",
        "init-genesis",
    ];
    let later =
        ["database-folder", "database-draft", "database-whole", "database-made", "keep", "kept", "commit", "committed"];
    for step in steps {
        let folder = tempfile::tempdir().unwrap();
        let home = folder.path().join("home");
        assert!(!init(&home).env("SAHARA_CHAIN_FAIL", step).status().unwrap().success(), "{step} was not reached");
        assert!(!home.join("chain.toml").exists());
        let key = load_key(&home).ok().map(|key| key.to_bytes());
        is_born(&home, step);
        assert!(key.is_none_or(|key| key == load_key(&home).unwrap().to_bytes()), "{step}: another key");
    }
    for (engine, step) in Engine::built().iter().flat_map(|engine| later.map(|step| (engine, step))) {
        let folder = tempfile::tempdir().unwrap();
        let home = folder.path().join("home");
        init_with(&home, *engine);
        assert!(Node::start(&home, step).is_err(), "{step} was not reached with {engine}");
        is_born(&home, step);
    }
}

#[test]
fn a_home_killed_in_its_first_milliseconds_starts_again() {
    let mut seed = [0; 8];
    getrandom::fill(&mut seed).unwrap();
    let mut state = u64::from_le_bytes(seed);
    println!("seed {state}");
    let mut below = |most: u64| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        Duration::from_micros((state >> 33) % (most * 1000))
    };
    for round in 0..12 {
        let folder = tempfile::tempdir().unwrap();
        let home = folder.path().join("home");
        while !home.join("chain.toml").exists() {
            kill_after(init(&home), below(30));
        }
        for _ in 0..3 {
            assert!(!kill_after(start(&home), below(300)), "round {round}: it ended by itself");
        }
        is_born(&home, &format!("round {round}"));
    }
}
