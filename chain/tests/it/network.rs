//! A network of real processes for tests, by the `testnet` command: started, asked, stopped. `cluster` has validators
//! of which each can be wounded on its own.

use std::{
    io::{BufRead, BufReader},
    path::Path,
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use sahara_chain::comet::Client;
use serde_json::{Value, json};

pub const PROGRAM: &str = env!("CARGO_BIN_EXE_sahara-chain");

/// One network at a time: several would only wait for each other's processors.
static ONE: Mutex<()> = Mutex::new(());

pub fn alone() -> MutexGuard<'static, ()> {
    ONE.lock().unwrap_or_else(PoisonError::into_inner)
}

pub struct Network {
    process: Child,
    heard: Arc<Mutex<String>>,
    _alone: MutexGuard<'static, ()>,
    pub validators: Vec<Validator>,
}

#[derive(Debug)]
pub struct Validator {
    pub rpc: String,
    pub comet_rpc: String,
    /// The ledger's and CometBFT's.
    pub pids: [u64; 2],
}

impl Network {
    pub fn start(home: &Path, count: usize) -> Self {
        let alone = alone();
        let mut process = Command::new(PROGRAM)
            .args(["testnet", &count.to_string(), "--json", "--home"])
            .arg(home)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let heard: Arc<Mutex<String>> = Arc::default();
        let (ear, said) = (heard.clone(), BufReader::new(process.stderr.take().unwrap()));
        std::thread::spawn(move || {
            for line in said.lines().map_while(Result::ok) {
                ear.lock().unwrap().extend([&line, "\n"]);
            }
        });
        let lines = BufReader::new(process.stdout.take().unwrap()).lines();
        let validators: Vec<Validator> = lines
            .take(count)
            .map(|line| {
                let told: Value = serde_json::from_str(&line.unwrap()).unwrap();
                Validator {
                    rpc: told["rpc"].as_str().unwrap().to_owned(),
                    comet_rpc: told["comet_rpc"].as_str().unwrap().to_owned(),
                    pids: [told["app_pid"].as_u64().unwrap(), told["comet_pid"].as_u64().unwrap()],
                }
            })
            .collect();
        let said = || heard.lock().unwrap().clone();
        assert_eq!(validators.len(), count, "the network did not come up; it says: {}", said());
        Self { process, heard, _alone: alone, validators }
    }

    /// Ends it as the user would, and waits until its processes are gone.
    pub fn stop(mut self) {
        signal("-TERM", u64::from(self.process.id()));
        self.process.wait().unwrap();
    }

    /// Ends it without warning.
    pub fn kill(mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }

    pub fn signal(&self, name: &str, pid: u64) {
        signal(name, pid);
    }

    /// Waits until the network says this to its user.
    pub fn hears(&self, words: &str) {
        eventually(words, || self.heard.lock().unwrap().contains(words));
    }

    pub fn height(&self, validator: usize) -> u64 {
        let number = ask(&self.validators[validator].rpc, "eth_blockNumber", json!([])).unwrap();
        u64::from_str_radix(number.as_str().unwrap().trim_start_matches("0x"), 16).unwrap()
    }

    pub fn wait_for_height(&self, validator: usize, height: u64) {
        let what = format!("validator {validator} to reach block {height}");
        eventually(&what, || self.height(validator) >= height);
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        signal("-TERM", u64::from(self.process.id()));
        let _ = self.process.wait();
    }
}

fn signal(name: &str, pid: u64) {
    let _ = Command::new("kill").args([name, &pid.to_string()]).stderr(Stdio::null()).status();
}

/// One question to a JSON-RPC server.
pub fn ask(url: &str, method: &str, params: Value) -> Result<Value, String> {
    let address = url.trim_start_matches("http://").parse().unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    Ok(runtime.block_on(Client::new(address).ask(method, params))?)
}

pub fn eventually(what: &str, holds: impl FnMut() -> bool) {
    assert!(within(60, holds), "waited a minute for {what}");
}

/// Whether something came to hold within some seconds.
#[expect(clippy::disallowed_methods, reason = "a test waits for real processes")]
pub fn within(seconds: u64, mut holds: impl FnMut() -> bool) -> bool {
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_secs(seconds) {
        if holds() {
            return true;
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    false
}
