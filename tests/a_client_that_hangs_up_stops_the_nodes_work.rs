//! Clients of the gateway that go away before their answer leave no work behind, at the gateway or on the nodes.

mod common;

use std::io::Write;
use std::net::{SocketAddr, TcpStream};
use std::thread::sleep;
use std::time::{Duration, Instant};

use common::{Devnet, MODEL, PATIENCE, Started, embeddings, wait_for_port};
use serde_json::{Value, json};

/// Posts that are given up, and texts in each.
const POSTS: usize = 12;
const TEXTS: usize = 40;

#[test]
fn queued_work_is_dropped_running_jobs_end_and_slots_are_free() {
    let devnet = Devnet::up();
    let address: SocketAddr = format!("127.0.0.1:{}", devnet.port + 9).parse().expect("an address");
    let listen = ["gateway", "--requests-per-client", "64", "--listen", &address.to_string()];
    let _gateway = Started::new(&mut devnet.home.sahara(&listen));
    wait_for_port(address, PATIENCE);

    let text = "a text of some length, ".repeat(3);
    let body = json!({"model": MODEL, "input": vec![text; TEXTS]}).to_string();
    let clients: Vec<TcpStream> = (0..POSTS).map(|_| post(address, &body)).collect();
    let busy = || (1..=3).map(|node| running(&devnet, node)).sum::<u64>();
    wait("the nodes work", || busy() > 0);
    drop(clients);
    wait("the gateway has nothing to do", || gateway_running(address) == 0);
    wait("no job runs on any node", || busy() == 0);

    let done = devnet.jobs_done();
    assert!(done < (POSTS * TEXTS) as u64, "most of the {} jobs were never done, but {done} were", 2 * POSTS * TEXTS);
    assert_eq!(embeddings(&devnet.embed_output(&["the nodes are free"], &[])).len(), 1);
    assert_eq!(devnet.jobs_done(), done + 2, "one question, two evaluators, and nothing of the past");
}

fn post(address: SocketAddr, body: &str) -> TcpStream {
    let mut stream = TcpStream::connect(address).expect("the gateway listens");
    let head = "POST /v1/embeddings HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n";
    stream.write_all(format!("{head}Content-Length: {}\r\n\r\n{body}", body.len()).as_bytes()).expect("it reads");
    stream
}

/// Jobs that run on a node, as the node says itself.
fn running(devnet: &Devnet, node: usize) -> u64 {
    let home = devnet.node_folder(node).display().to_string();
    let status: Value = devnet.home.json(&["operator", "status", "--json", "--home", &home]);
    status["nodes"][node - 1]["jobs_running"].as_u64().unwrap_or_else(|| panic!("{status}"))
}

fn gateway_running(address: SocketAddr) -> u64 {
    let metrics = common::http_get(address, "/metrics");
    let line = metrics.lines().find_map(|line| line.strip_prefix("sahara_gateway_running "));
    line.and_then(|number| number.parse().ok()).unwrap_or_else(|| panic!("{metrics}"))
}

fn wait(what: &str, is: impl Fn() -> bool) {
    let until = Instant::now() + Duration::from_secs(60);
    while !is() {
        assert!(Instant::now() < until, "not within a minute: {what}");
        sleep(Duration::from_millis(50));
    }
}
