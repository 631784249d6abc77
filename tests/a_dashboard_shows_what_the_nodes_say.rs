//! `devnet up --dashboard`: one page of this machine, whose figures are the nodes' own; a real browser draws it.

mod common;

use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use common::clients::{get, http};
use common::{Devnet, Home, Started, free_port_block, one_at_a_time, wait_for_port};
use serde_json::Value;

/// A devnet whose dashboard is served by the program that is returned.
fn with_dashboard() -> (Devnet, Started, SocketAddr) {
    let devnet = Devnet { home: Home::with_model(), port: free_port_block() };
    let address: SocketAddr = format!("127.0.0.1:{}", devnet.port + 9).parse().expect("an address");
    let (port, page) = (devnet.port.to_string(), address.to_string());
    let arguments = ["devnet", "up", "--free", "--port", &port, "--dashboard", &page];
    let started = Started::new(&mut devnet.home.sahara(&arguments));
    wait_for_port(address, common::PATIENCE);
    (devnet, started, address)
}

fn data(address: SocketAddr, after: f64) -> Value {
    let (status, body) = get(address, &format!("/data?after={after}"));
    assert_eq!(status, 200, "{body}");
    serde_json::from_str(&body).expect("JSON")
}

/// The latest sample, once it is as `fits` says.
fn sample(address: SocketAddr, fits: impl Fn(&Value) -> bool) -> Value {
    let until = Instant::now() + Duration::from_secs(60);
    loop {
        let data = data(address, 0.0);
        match data["samples"].as_array().and_then(|samples| samples.last()) {
            Some(last) if fits(last) => return last.clone(),
            _ if Instant::now() > until => panic!("no such sample: {data}"),
            _ => thread::sleep(Duration::from_millis(200)),
        }
    }
}

fn jobs(sample: &Value) -> u64 {
    sample["nodes"].as_array().expect("nodes").iter().filter_map(|node| node["jobs_done"].as_u64()).sum()
}

fn down(sample: &Value) -> Vec<bool> {
    sample["nodes"].as_array().expect("nodes").iter().map(|node| node["error"].is_string()).collect()
}

#[test]
fn its_figures_are_the_nodes_own_and_other_pages_get_none() {
    let _turn = one_at_a_time();
    let (devnet, dashboard, address) = with_dashboard();
    let head = "GET / HTTP/1.1\r\nConnection: close\r\n";
    let (status, page) = http(address, &format!("{head}Host: {address}\r\n\r\n"));
    assert!(status == 200 && page.contains("<title>Sahara</title>"), "{status}");
    for wrong in ["Host: evil.example\r\n", &format!("Host: {address}\r\nOrigin: http://evil.example\r\n")] {
        let (status, body) = http(address, &format!("{head}{wrong}\r\n"));
        assert!(status == 403 && !body.contains("<title>"), "{status} {body}");
    }
    let (status, _) = http(address, &format!("POST /data HTTP/1.1\r\nHost: {address}\r\nContent-Length: 0\r\n\r\n"));
    assert_eq!(status, 405, "it only shows");

    let first = sample(address, |sample| sample["chain"]["height"].as_u64().is_some());
    assert_eq!((first["nodes"].as_array().map(Vec::len), jobs(&first)), (Some(3), 0), "{first}");
    devnet.embed(&["a private sentence"], &[]);
    let after = sample(address, |sample| jobs(sample) == 2);
    assert_eq!(devnet.jobs_done(), 2, "both evaluators of one job");
    assert!(after["chain"]["height"].as_u64() >= first["chain"]["height"].as_u64(), "{after}");
    let later = data(address, after["time"].as_f64().expect("a time"));
    let times = later["samples"].as_array().expect("samples").iter().filter_map(|s| s["time"].as_f64());
    assert!(times.clone().all(|time| Some(time) > after["time"].as_f64()), "only what is later: {later}");
    let age = later["now"].as_f64().zip(after["time"].as_f64()).map(|(now, time)| now - time);
    assert!(age.is_some_and(|age| (0.0..60.0).contains(&age)), "the page knows how old its figures are: {later}");

    common::kill_9(devnet.pids()[1]);
    let gone = sample(address, |sample| down(sample) == [false, true, false]);
    assert!(gone["nodes"][1]["error"].as_str().is_some_and(|why| why.contains("node 2")), "{gone}");

    assert!(Command::new("kill").args(["-INT", &dashboard.pid().to_string()]).status().expect("kill").success());
    let finished = dashboard.finish(common::PATIENCE);
    assert_eq!(finished.code, Some(0), "{finished}");
    assert!(finished.stdout.contains(&format!("dashboard at http://{address}/")), "{finished}");
    assert_eq!(devnet.status()["nodes"][0]["ready"], true, "the network goes on");
}

#[test]
fn other_machines_cannot_read_it() {
    let home = Home::empty();
    let port = free_port_block().to_string();
    let finished = home.run(&["devnet", "up", "--free", "--port", &port, "--dashboard", "0.0.0.0:8322"]);
    assert!(finished.code == Some(2) && finished.stderr.contains("could be read from other machines"), "{finished}");
    assert!(!home.path().join("devnet").exists(), "nothing was started");
}

/// The page as a browser draws it, script and style as its policy allows them. `SAHARA_SCREENSHOT` names a PNG file
/// that is written then.
#[test]
#[ignore = "needs Chromium: cargo xtask test --peers dashboard"]
fn a_browser_draws_it() {
    let _turn = one_at_a_time();
    let (devnet, _dashboard, address) = with_dashboard();
    for _ in 0..6 {
        devnet.embed(&["a private sentence", "another one", "and a third"], &[]);
        thread::sleep(Duration::from_secs(3));
    }
    sample(address, |sample| jobs(sample) == 36);
    let folder = tempfile::tempdir().expect("a folder");
    let picture = folder.path().join("page.png");
    let browser = |what: &[&str]| {
        let mut command = Command::new("chromium");
        command.args(["--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--window-size=1120,820"]);
        command.arg(format!("--user-data-dir={}", folder.path().display()));
        command.args(["--virtual-time-budget=9000", "--enable-logging=stderr"]).args(what);
        let output = command.arg(format!("http://{address}/")).output().expect("Chromium: apt-get install chromium");
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success() && !said.contains("CONSOLE"), "the page complains: {said}");
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    let page = browser(&["--dump-dom"]);
    assert!(page.contains("data-shown=\"yes\""), "{page}");
    assert!(page.contains("<strong id=\"answers\">18</strong>") && page.contains("node 3"), "{page}");
    let lines = page.split("<path d=\"M").skip(1).filter(|path| path.matches('L').count() > 4).count();
    assert!(lines >= 10, "three lines for each of three figures, one of blocks: {page}");
    browser(&[&format!("--screenshot={}", picture.display())]);
    assert!(picture.metadata().is_ok_and(|file| file.len() > 10_000), "a picture");
    if let Some(place) = std::env::var_os("SAHARA_SCREENSHOT") {
        std::fs::copy(&picture, Path::new(&place)).expect("the picture is kept");
    }
}
