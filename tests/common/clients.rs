//! Other people's clients against `sahara gateway`: the gateway of a devnet, requests by hand, and Python environments that
//! are made once beside the build.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::Value;

use super::{Devnet, PATIENCE, Started, tests, wait_for_port};

/// A gateway of this devnet, and where it listens.
pub fn gateway_with(devnet: &Devnet, options: &[&str]) -> (Started, SocketAddr) {
    let address: SocketAddr = format!("127.0.0.1:{}", devnet.port + 9).parse().expect("an address");
    let listen = address.to_string();
    let arguments: Vec<&str> = ["gateway", "--listen", &listen].iter().chain(options).copied().collect();
    let started = Started::new(&mut devnet.home.sahara(&arguments));
    wait_for_port(address, PATIENCE);
    (started, address)
}

/// Runs a script of `tests/python` on the gateway and a model, with the texts as its input; the JSON that it prints.
pub fn python_client(python: &Path, script: &str, address: SocketAddr, model: &str, texts: &[&str]) -> Value {
    let mut command = Command::new(python);
    command.arg(tests().join("python").join(script));
    client(command, address, model, texts)
}

/// As [`python_client`], of any program.
pub fn client(mut command: Command, address: SocketAddr, model: &str, texts: &[&str]) -> Value {
    let mut child = command
        .args([&format!("http://{address}/v1"), model])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("the client starts");
    let input = serde_json::to_vec(texts).expect("JSON");
    child.stdin.take().expect("a pipe").write_all(&input).expect("the client reads");
    let output = child.wait_with_output().expect("the client ends");
    assert!(output.status.success(), "the client failed; see above");
    serde_json::from_slice(&output.stdout).expect("the client prints JSON")
}

/// GET: status and body.
pub fn get(address: SocketAddr, path: &str) -> (u16, String) {
    http(address, &format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"))
}

/// POST of JSON: status and body.
pub fn post(address: SocketAddr, path: &str, body: &str) -> (u16, String) {
    let length = body.len();
    http(
        address,
        &format!(
            "POST {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Type: application/json\r\n\
             Content-Length: {length}\r\n\r\n{body}"
        ),
    )
}

/// One request as it is written: status and body.
pub fn http(address: SocketAddr, request: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(address).expect("the gateway listens");
    stream.set_read_timeout(Some(Duration::from_secs(120))).expect("a socket");
    stream.write_all(request.as_bytes()).expect("the gateway reads");
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).expect("the gateway answers");
    let answer = String::from_utf8_lossy(&answer).into_owned();
    let status = answer.split_whitespace().nth(1).and_then(|code| code.parse().ok()).unwrap_or(0);
    (status, answer.split_once("\r\n\r\n").map(|(_, body)| body.to_owned()).unwrap_or_default())
}

/// A Python with what `requirements` (a file of `tests/python`) lists; `import` is the statement that proves it works.
pub fn python_with(name: &str, requirements: &str, import: &str) -> PathBuf {
    let home = beside_the_build("venv").join(name);
    let python = home.join("bin").join("python");
    let works = |python: &Path| {
        Command::new(python).args(["-c", import]).stderr(Stdio::null()).status().is_ok_and(|s| s.success())
    };
    if !works(&python) {
        let venv = Command::new("python3").args(["-m", "venv", "--clear"]).arg(&home).status();
        let requirements = tests().join("python").join(requirements);
        let pip = Command::new(&python).args(["-m", "pip", "install", "--quiet", "-r"]).arg(requirements).status();
        let done = venv.is_ok_and(|status| status.success()) && pip.is_ok_and(|status| status.success());
        assert!(
            done && works(&python),
            "this test needs Python's clients: sudo apt-get install -y python3-pip python3-venv, and a network"
        );
    }
    python
}

/// A folder that survives the run.
pub fn beside_the_build(name: &str) -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).parent().expect("target").join(name)
}
