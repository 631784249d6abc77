//! The unmodified `openai` package for Python against `sahara gateway`, on the three nodes.

mod common;

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use common::{Devnet, MODEL, PATIENCE, Started, embeddings, kill_9, one_at_a_time, wait_for_port};
use serde_json::Value;

const TEXTS: [&str; 3] =
    ["The kettle boils.", "Our train leaves from platform nine at noon.", "我们明天早上八点在火车站见面。"];

#[test]
fn floats_base64_batches_usage_and_refusals() {
    let _turn = one_at_a_time();
    let python = python();
    let devnet = Devnet::up();
    let (_gateway, address) = gateway(&devnet);
    let answer = client(&python, address, &TEXTS);

    let lines = devnet.embed_output(&TEXTS, &[]);
    let expected = embeddings(&lines);
    assert_eq!(vectors(&answer["floats"]), expected, "floats");
    assert_eq!(vectors(&answer["one"]), expected[..1], "one text");
    assert_eq!(answer["indices"], serde_json::json!([0, 1, 2]));
    for (name, got) in
        [("base64", vectors(&serde_json::json!([answer["base64"]]))), ("default", vectors(&answer["default"]))]
    {
        for (got, expected) in got.iter().zip(&expected) {
            // Base64 carries 32-bit floats; JSON carries their shortest decimal form.
            assert!(
                got.len() == expected.len() && got.iter().zip(expected).all(|(a, b)| *a as f32 == *b as f32),
                "{name}"
            );
        }
    }

    let tokens: u64 = lines
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).expect("JSON")["tokens"].as_u64().expect("tokens"))
        .sum();
    assert_eq!(answer["usage"]["prompt_tokens"].as_u64(), Some(tokens));
    assert_eq!(answer["usage"]["total_tokens"].as_u64(), Some(tokens));
    assert_eq!(answer["model"], MODEL);
    assert_eq!(answer["models"], serde_json::json!([MODEL]));
    assert_eq!(answer["retrieved"], MODEL);

    let refusals = &answer["refusals"];
    for (case, status, param) in [
        ("dimensions", 400, Some("dimensions")),
        ("empty", 400, Some("input")),
        ("empty_list", 400, Some("input")),
        ("tokens", 400, Some("input")),
        ("model", 404, Some("model")),
        ("format", 400, Some("encoding_format")),
        ("unknown", 400, Some("temperature")),
        ("chat", 404, None),
    ] {
        assert_eq!(refusals[case]["status"].as_u64(), Some(status), "{case}: {}", refusals[case]);
        assert_eq!(refusals[case]["param"].as_str(), param, "{case}: {}", refusals[case]);
    }
}

#[test]
fn health_metrics_and_a_network_that_goes_away() {
    let _turn = one_at_a_time();
    let devnet = Devnet::up();
    let (mut gateway, address) = gateway(&devnet);

    let (status, body) = get(address, "/healthz");
    assert_eq!(status, 200, "{body}");
    let (status, body) = get(address, "/metrics");
    assert!(status == 200 && body.lines().any(|line| line.starts_with("# TYPE ")), "{body}");
    assert_eq!(get(address, "/v1/nothing").0, 404);

    let port_in_use = devnet.home.run(&["gateway", "-q", "--listen", &address.to_string()]);
    assert_eq!(port_in_use.code, Some(2), "{port_in_use}");
    assert!(port_in_use.stderr.contains(&address.to_string()), "{port_in_use}");
    let open_to_all = devnet.home.run(&["gateway", "-q", "--listen", "0.0.0.0:0"]);
    assert_eq!(open_to_all.code, Some(2), "{open_to_all}");
    assert!(open_to_all.stderr.contains("allow-remote"), "{open_to_all}");

    kill_9(devnet.pids()[1]);
    let (status, body) = get(address, "/healthz");
    assert_eq!(status, 503, "{body}");
    let (status, body) = post(address, "/v1/embeddings", &format!(r#"{{"model":"{MODEL}","input":"hello"}}"#));
    assert!((500..600).contains(&status) && body.contains("node"), "{status} {body}");
    assert!(gateway.is_running(), "the gateway outlives its network");
    devnet.start();
    let (status, body) = post(address, "/v1/embeddings", &format!(r#"{{"model":"{MODEL}","input":"hello"}}"#));
    assert_eq!(status, 200, "the gateway serves again once the network is back: {body}");
}

fn gateway(devnet: &Devnet) -> (Started, SocketAddr) {
    let address: SocketAddr = format!("127.0.0.1:{}", devnet.port + 9).parse().expect("an address");
    let started = Started::new(&mut devnet.home.sahara(&["gateway", "--listen", &address.to_string()]));
    wait_for_port(address, PATIENCE);
    (started, address)
}

fn client(python: &Path, address: SocketAddr, texts: &[&str]) -> Value {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/python/openai_client.py");
    let mut child = Command::new(python)
        .arg(script)
        .args([&format!("http://{address}/v1"), MODEL])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("python starts");
    let input = serde_json::to_vec(texts).expect("JSON");
    child.stdin.take().expect("a pipe").write_all(&input).expect("python reads");
    let output = child.wait_with_output().expect("python ends");
    assert!(output.status.success(), "the client failed; see above");
    serde_json::from_slice(&output.stdout).expect("the client prints JSON")
}

fn vectors(value: &Value) -> Vec<Vec<f64>> {
    serde_json::from_value(value.clone()).unwrap_or_else(|error| panic!("{error}: {value}"))
}

fn get(address: SocketAddr, path: &str) -> (u16, String) {
    http(address, &format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"))
}

fn post(address: SocketAddr, path: &str, body: &str) -> (u16, String) {
    let length = body.len();
    http(
        address,
        &format!(
            "POST {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Type: application/json\r\n\
             Content-Length: {length}\r\n\r\n{body}"
        ),
    )
}

fn http(address: SocketAddr, request: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(address).expect("the gateway listens");
    stream.set_read_timeout(Some(Duration::from_secs(120))).expect("a socket");
    stream.write_all(request.as_bytes()).expect("the gateway reads");
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).expect("the gateway answers");
    let answer = String::from_utf8_lossy(&answer).into_owned();
    let status = answer.split_whitespace().nth(1).and_then(|code| code.parse().ok()).unwrap_or(0);
    (status, answer.split_once("\r\n\r\n").map(|(_, body)| body.to_owned()).unwrap_or_default())
}

/// A Python with the client: named by the environment, or made beside the build.
fn python() -> PathBuf {
    if let Some(python) = std::env::var_os("SAHARA_TEST_PYTHON") {
        return python.into();
    }
    let home = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().expect("target").join("venv").join("openai");
    let python = home.join("bin").join("python");
    let works = |python: &Path| {
        Command::new(python).args(["-c", "import openai"]).stderr(Stdio::null()).status().is_ok_and(|s| s.success())
    };
    if !works(&python) {
        let venv = Command::new("python3").args(["-m", "venv", "--clear"]).arg(&home).status();
        let requirements = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/python/requirements.txt");
        let pip = Command::new(&python).args(["-m", "pip", "install", "--quiet", "-r"]).arg(requirements).status();
        let done = venv.is_ok_and(|status| status.success()) && pip.is_ok_and(|status| status.success());
        assert!(
            done && works(&python),
            "this test needs Python's `openai` package: sudo apt-get install -y python3-pip python3-venv, and a network"
        );
    }
    python
}
