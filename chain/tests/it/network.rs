//! A network of real processes for tests: started, asked, wounded, stopped.

use std::{
    io::{BufRead, BufReader},
    path::Path,
    process::{Child, Command, Stdio},
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use sahara_chain::comet::Client;
use serde_json::{Value, json};

pub const PROGRAM: &str = env!("CARGO_BIN_EXE_sahara-chain");

/// One network at a time: the next one looks for free ports while this one may not have bound its own yet.
static ONE: Mutex<()> = Mutex::new(());

pub struct Network {
    process: Child,
    _alone: MutexGuard<'static, ()>,
    pub validators: Vec<Validator>,
}

#[derive(Debug)]
pub struct Validator {
    pub rpc: String,
    pub comet_rpc: String,
    pub pids: [u64; 2],
}

impl Network {
    pub fn start(home: &Path, count: usize) -> Self {
        let alone = ONE.lock().unwrap_or_else(PoisonError::into_inner);
        let mut process = Command::new(PROGRAM)
            .args(["testnet", &count.to_string(), "--json", "--home"])
            .arg(home)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
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
        assert_eq!(validators.len(), count, "the network did not come up");
        Self { process, _alone: alone, validators }
    }

    /// Ends it as the user would, and waits until its processes are gone.
    pub fn stop(mut self) {
        signal("-TERM", u64::from(self.process.id()));
        self.process.wait().unwrap();
    }

    pub fn height(&self, validator: usize) -> u64 {
        let number = ask(&self.validators[validator].rpc, "eth_blockNumber", json!([])).unwrap();
        u64::from_str_radix(number.as_str().unwrap().trim_start_matches("0x"), 16).unwrap()
    }

    pub fn wait_for_height(&self, validator: usize, height: u64) {
        let what = format!("validator {validator} to reach block {height}");
        eventually(&what, || self.height(validator) >= height);
    }

    /// Ends both processes of a validator without warning.
    pub fn kill(&self, validator: usize) {
        self.validators[validator].pids.iter().for_each(|pid| signal("-KILL", *pid));
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
    runtime.block_on(Client::new(address).ask(method, params))
}

#[expect(clippy::disallowed_methods, reason = "a test waits for real processes")]
pub fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !holds() {
        assert!(begun.elapsed() < Duration::from_secs(60), "waited a minute for {what}");
        std::thread::sleep(Duration::from_millis(100));
    }
}
