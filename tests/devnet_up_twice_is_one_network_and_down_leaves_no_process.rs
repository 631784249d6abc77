//! `devnet up` is idempotent, `status` tells the truth, `down` leaves nothing running.

mod common;

use common::{Devnet, is_alive, one_at_a_time, processes_of};
use serde_json::Value;

#[test]
fn up_up_status_down_down() {
    let _turn = one_at_a_time();
    let devnet = Devnet::up();
    let first = devnet.pids();
    assert_eq!(first.len(), 3);
    assert!(first.iter().all(|pid| is_alive(*pid)));

    devnet.start();
    assert_eq!(devnet.pids(), first, "a network that runs is left alone");

    let chain = devnet.status()["chain"].clone();
    assert_eq!(chain["ready"], true, "{chain}");
    assert!(chain["driver"].as_str().is_some_and(|line| line.contains("embedded")), "{chain}");
    let height = |status: Value| status["chain"]["height"].as_u64();
    let before = height(devnet.status());
    assert!(before.is_some(), "the chain answers");
    while height(devnet.status()) <= before {
        std::thread::sleep(std::time::Duration::from_millis(100));
    }

    // The chain's commands find the network by themselves, also by a folder that is Sahara's and no node's.
    let found = devnet.home.json(&["chain", "status", "--json"]);
    assert_eq!((&found["rpc"], &found["chain_id"]), (&chain["rpc"], &serde_json::json!(1337)), "{found}");
    let by_folder = ["chain", "status", "--json", "--home", &devnet.home.path().display().to_string()];
    assert_eq!(devnet.home.json(&by_folder)["rpc"], chain["rpc"]);
    let keys = devnet.home.json(&["chain", "keys", "--json"]);
    assert!(keys["validator"].as_str().is_some_and(|key| key.len() == 66), "{keys}");
    for command in [&["devnet", "status"][..], &["chain", "status"], &["chain", "keys", "--secrets"], &["whoami"]] {
        let wide = devnet.home.output(command).lines().find(|line| line.chars().count() > 80).map(str::to_owned);
        assert_eq!(wide, None, "{command:?} fits a terminal");
    }

    let logs = devnet.home.output(&["devnet", "logs"]);
    assert!(!logs.trim().is_empty(), "the nodes say something in their logs");

    let chain = chain["pid"].as_u64().expect("the chain's process") as u32;
    devnet.home.output(&["devnet", "down"]);
    assert!(!is_alive(chain), "the chain outlived `devnet down`");
    assert!(first.iter().all(|pid| !is_alive(*pid)), "a node outlived `devnet down`");
    assert_eq!(processes_of(&devnet.home.path().join("devnet")), Vec::<u32>::new());
    let again = devnet.home.run(&["devnet", "down"]);
    assert_eq!(again.code, Some(0), "taking down what is down is no error: {again}");
}

#[test]
fn a_port_in_use_is_named_and_nothing_is_left_running() {
    let _turn = one_at_a_time();
    let home = common::Home::with_model();
    let port = common::free_port_block();
    let taken = std::net::TcpListener::bind(("127.0.0.1", port)).expect("a free port");
    let finished = home.run(&["devnet", "up", "--free", "--port", &port.to_string()]);
    drop(taken);
    assert_eq!(finished.code, Some(2), "{finished}");
    assert!(finished.stderr.contains(&port.to_string()), "the port is named: {finished}");
    assert_eq!(finished.stderr.lines().filter(|line| line.contains("error")).count(), 1, "{finished}");
    assert_eq!(processes_of(&home.path().join("devnet")), Vec::<u32>::new());
}

#[test]
fn what_fails_half_way_leaves_nothing_running() {
    let _turn = one_at_a_time();
    let home = common::Home::with_model();
    let port = common::free_port_block();
    // A port that is taken, the chain's too, is found before anything is started.
    let taken = std::net::TcpListener::bind(("127.0.0.1", port + 8)).expect("a free port");
    let up = ["devnet", "up", "--free", "--port", &port.to_string()];
    let finished = home.run(&up);
    assert_eq!(finished.code, Some(2), "{finished}");
    assert!(finished.stderr.contains(&(port + 8).to_string()), "the port is named: {finished}");
    assert!(!finished.stderr.contains("starting three share nodes"), "the nodes had been started: {finished}");
    drop(taken);
    // The chain comes up; then a node finds no place for its log.
    let log = home.path().join("devnet/node-2/log");
    std::fs::create_dir_all(&log).expect("a writable home");
    let finished = home.run(&up);
    assert_eq!(finished.code, Some(2), "{finished}");
    assert!(finished.stderr.contains("starting three share nodes"), "the chain had been started: {finished}");
    assert_eq!(processes_of(&home.path().join("devnet")), Vec::<u32>::new());
    std::fs::remove_dir(&log).expect("an empty folder");
    // Nodes that ran before are not what a failed start began: they stay.
    let devnet = Devnet { home, port };
    devnet.start();
    let (nodes, chain) = (devnet.pids(), devnet.status()["chain"]["pid"].as_u64().expect("a chain") as u32);
    common::kill_9(chain);
    let taken = take_port(port + 8);
    assert_eq!(devnet.home.run(&["devnet", "up", "--free"]).code, Some(2));
    drop(taken);
    assert_eq!(devnet.pids(), nodes);
}

/// Takes a port as soon as the process that was killed has let it go.
fn take_port(port: u16) -> std::net::TcpListener {
    let until = std::time::Instant::now() + common::PATIENCE;
    loop {
        match std::net::TcpListener::bind(("127.0.0.1", port)) {
            Ok(listener) => return listener,
            Err(error) => assert!(std::time::Instant::now() < until, "port {port}: {error}"),
        }
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
}

#[test]
fn an_interrupted_start_leaves_nothing_running() {
    let _turn = one_at_a_time();
    let home = common::Home::with_model();
    let port = common::free_port_block();
    let up = common::Started::new(&mut home.sahara(&["devnet", "up", "--free", "--port", &port.to_string()]));
    let folder = home.path().join("devnet");
    let until = std::time::Instant::now() + common::PATIENCE;
    while !folder.join("node-1/pid").exists() && std::time::Instant::now() < until {
        std::thread::sleep(std::time::Duration::from_millis(1));
    }
    common::interrupt(up.pid());
    let finished = up.finish(common::PATIENCE);
    // On a fast machine all may have been ready by then.
    if finished.code == Some(130) {
        assert_eq!(processes_of(&folder), Vec::<u32>::new(), "{finished}");
    } else {
        assert_eq!(finished.code, Some(0), "{finished}");
        home.output(&["devnet", "down"]);
    }
}
