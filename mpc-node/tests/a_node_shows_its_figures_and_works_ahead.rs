//! Metrics and health on the private port; packs made ahead after a job.
#![allow(clippy::unwrap_used)] // a panic is the failure report

mod common;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use common::{Network, case, ports};
use sahara_mpc::client::{Rounding, Visibility};

fn get(port: u16, path: &str) -> String {
    get_as(port, path, "localhost")
}

fn get_as(port: u16, path: &str, host: &str) -> String {
    let mut tcp = TcpStream::connect(("127.0.0.1", port)).unwrap();
    write!(tcp, "GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    tcp.read_to_string(&mut answer).unwrap();
    answer
}

#[test]
fn metrics_health_and_packs_ahead() {
    let [port] = ports();
    let mut network = Network::start(|toml| toml.replacen("packs_ahead = 0", "packs_ahead = 2", 1));
    network.stop_node(1);
    let file = network.home(1).join("node.toml");
    let text = std::fs::read_to_string(&file).unwrap();
    let text = text.replacen("# metrics = \"127.0.0.1:9101\"", &format!("metrics = \"127.0.0.1:{port}\""), 1);
    std::fs::write(&file, text).unwrap();
    network.start_node(1);
    assert!(get(port, "/healthz").starts_with("HTTP/1.1 200"));

    for host in ["evil.example", "127.0.0.1.evil.example:80", ""] {
        let answer = get_as(port, "/metrics", host);
        assert!(answer.starts_with("HTTP/1.1 403") && !answer.contains("sahara_"), "{host}: {answer}");
    }
    assert!(get_as(port, "/metrics", "[::1]:9101").starts_with("HTTP/1.1 200"));

    let client = network.client();
    let case = case(41);
    case.register(&client, Visibility::Private);
    let task = case.task(0, Rounding::Exact, Visibility::Private);
    let rounds = case.run(&client, task, true).unwrap().stats.rounds;
    let made_ahead = || {
        let end = Instant::now() + Duration::from_secs(20);
        while network.status(&client)[1].packs_for(&task) < 2 {
            assert!(Instant::now() < end, "no packs are made ahead");
            std::thread::sleep(Duration::from_millis(20));
        }
    };
    made_ahead();
    assert!(!case.run(&client, task, false).unwrap().stats.prepared);
    made_ahead();

    let page = get(port, "/metrics");
    assert!(page.contains("sahara_jobs_total{outcome=\"done\"} 2\n"), "{page}");
    assert!(page.contains(&format!("sahara_rounds_total {}\n", 2 * rounds)), "{page}");
    assert!(page.contains("sahara_bytes_total{direction=\"sent\",purpose=\"online\"}"), "{page}");
    assert!(page.contains("# TYPE sahara_packs_ready gauge"), "{page}");
}
