//! Ethereum's tools, as npm has them, in a folder that is kept between runs; and a node for them to work on.

use std::{
    ffi::OsStr,
    fs::{self, File},
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{Mutex, MutexGuard, OnceLock, PoisonError},
};

use alloy_primitives::B256;
use sahara_chain::genesis::DEV_ACCOUNTS;
use serde_json::{Value, json};

use crate::network::PROGRAM;

/// The oldest Node.js that all of the tools run on.
const OLDEST_NODE: u32 = 18;
const NPM_SETTINGS: &str = ".npmrc";

/// A folder with the contracts, the scripts, and every tool installed and compiled.
pub struct Workshop {
    folder: PathBuf,
    /// forge keeps what it compiled and sent in one place.
    forge: Mutex<()>,
}

/// What a tool said.
pub struct Said {
    what: String,
    succeeded: bool,
    pub out: String,
    pub err: String,
}

/// The workshop, made ready once.
pub fn workshop() -> &'static Workshop {
    static WORKSHOP: OnceLock<Workshop> = OnceLock::new();
    WORKSHOP.get_or_init(Workshop::prepare)
}

/// The secret key of a development account.
pub fn secret(account: usize) -> B256 {
    DEV_ACCOUNTS[account].1
}

impl Workshop {
    fn prepare() -> Self {
        check_node();
        // As cargo says while it runs the tests: another checkout may have compiled them into the same folder.
        let compiled = || PathBuf::from(env!("CARGO_MANIFEST_DIR"));
        let chain = std::env::var_os("CARGO_MANIFEST_DIR").map_or_else(compiled, PathBuf::from);
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("workshop");
        fs::create_dir_all(&folder).unwrap();
        // Another run of the tests may be here at the same time.
        let lock = File::create(folder.join("lock")).unwrap();
        lock.lock().unwrap();
        let contracts = chain.join("contracts");
        let tools = chain.join("tests/tools");
        for part in ["src", "test", "script", "snapshots"] {
            copy(&contracts.join(part), &folder.join(part));
        }
        for part in ["foundry.toml", "solc.cjs", "genesis.sh", "genesis.cjs", "genesis.json", NPM_SETTINGS] {
            copy(&contracts.join(part), &folder.join(part));
        }
        copy(&tools, &folder);
        let shop = Self { folder, forge: Mutex::default() };
        shop.install(&[&contracts.join("package.json"), &tools.join("package.json")]);
        shop.forge(["build"], &[]).succeeded();
        shop
    }

    /// Installs what both files want, if the last run did not.
    fn install(&self, wishes: &[&Path]) {
        let mut wanted = serde_json::Map::new();
        for path in wishes {
            let wish: Value = serde_json::from_slice(&fs::read(path).unwrap()).unwrap();
            wanted.extend(wish["devDependencies"].as_object().unwrap().clone());
        }
        let package = json!({ "private": true, "devDependencies": wanted }).to_string();
        let installed = self.folder.join("installed.json");
        if fs::read_to_string(&installed).is_ok_and(|last| last == package) {
            return;
        }
        fs::write(self.folder.join("package.json"), &package).unwrap();
        self.run("npm", ["install"], &[]).succeeded();
        fs::write(installed, package).unwrap();
    }

    /// Runs a script of `tests/tools` on the node at `url`; gives the one line of JSON that it prints.
    pub fn script(&self, name: &str, url: &str) -> Value {
        let said = self.run("node", [name], &[("RPC_URL", url), ("KEYS", &keys())]).succeeded();
        serde_json::from_str(&said.out).unwrap_or_else(|e| panic!("{name} printed no JSON ({e}): {}", said.out))
    }

    /// Runs Hardhat on the node at `url`.
    pub fn hardhat(&self, words: &[&str], url: &str) -> Said {
        let own = ["hardhat", "--config", "hardhat/hardhat.config.cjs", "--network", "sahara"];
        let env = [("RPC_URL", url), ("KEYS", &keys()), ("HARDHAT_DISABLE_TELEMETRY_PROMPT", "true")];
        self.run("npx", own.iter().chain(words), &env)
    }

    /// Runs forge, one at a time.
    pub fn forge(&self, words: impl IntoIterator<Item = impl AsRef<OsStr>>, env: &[(&str, &str)]) -> Said {
        let _alone: MutexGuard<'_, ()> = self.forge.lock().unwrap_or_else(PoisonError::into_inner);
        self.run(&self.native("forge"), words, env)
    }

    /// Runs a script of the contracts, which uses forge.
    pub fn shell(&self, script: &str, words: &[&str]) -> Said {
        let _alone: MutexGuard<'_, ()> = self.forge.lock().unwrap_or_else(PoisonError::into_inner);
        self.run(script, words, &[])
    }

    /// Runs cast on the node at `url`; what it prints, without the end of the line.
    pub fn cast(&self, words: &[&str], url: &str) -> String {
        self.try_cast(words, url).succeeded().out.trim_end().to_owned()
    }

    /// Runs cast, which may fail.
    pub fn try_cast(&self, words: &[&str], url: &str) -> Said {
        self.run(&self.native("cast"), words, &[("ETH_RPC_URL", url)])
    }

    /// The program itself: the one that npm puts before it ends with success whatever happens.
    fn native(&self, tool: &str) -> String {
        let packages = fs::read_dir(self.folder.join("node_modules/@foundry-rs")).unwrap();
        let mut names = packages.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let platform = names.find(|name| name.starts_with(&format!("{tool}-"))).unwrap();
        format!("node_modules/@foundry-rs/{platform}/bin/{tool}")
    }

    /// What a tool left in a file.
    pub fn read(&self, path: &str) -> Value {
        let path = self.folder.join(path);
        serde_json::from_slice(&fs::read(&path).unwrap_or_else(|e| panic!("read {}: {e}", path.display()))).unwrap()
    }

    fn run(&self, program: &str, words: impl IntoIterator<Item = impl AsRef<OsStr>>, env: &[(&str, &str)]) -> Said {
        let found = self.folder.join(program);
        let mut command = Command::new(if found.exists() { found.as_os_str() } else { OsStr::new(program) });
        command.args(words).current_dir(&self.folder).envs(env.iter().copied()).env("NO_COLOR", "1");
        let what = format!("{command:?}");
        let output = command.stdin(Stdio::null()).output().unwrap_or_else(|e| panic!("{what}: {e}"));
        let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
        Said { what, succeeded: output.status.success(), out: text(&output.stdout), err: text(&output.stderr) }
    }
}

impl Said {
    /// It must have succeeded.
    pub fn succeeded(self) -> Self {
        assert!(self.succeeded, "{} failed:\n{}{}", self.what, self.out, self.err);
        self
    }

    /// It must have failed, saying this.
    pub fn failed_with(&self, words: &str) {
        let said = format!("{}{}", self.out, self.err);
        assert!(!self.succeeded && said.contains(words), "{} should have said {words:?}:\n{said}", self.what);
    }
}

/// The keys of three accounts that can pay.
fn keys() -> String {
    [0, 1, 2].map(|i| secret(i).to_string()).join(",")
}

fn check_node() {
    let version = |program| {
        let output = Command::new(program).arg("--version").output().ok()?;
        let text = String::from_utf8(output.stdout).ok()?;
        text.trim().trim_start_matches('v').split('.').next()?.parse::<u32>().ok()
    };
    let (node, npm) = (version("node"), version("npm"));
    assert!(
        node.is_some_and(|major| major >= OLDEST_NODE) && npm.is_some(),
        "this test needs Node.js {OLDEST_NODE} or newer with npm (found: node {node:?}, npm {npm:?}): \
         sudo apt-get install -y nodejs npm   (or https://nodejs.org)"
    );
}

/// Copies a file, or a folder without what tools make in it. What is the same stays untouched.
fn copy(from: &Path, to: &Path) {
    if from.is_dir() {
        fs::create_dir_all(to).unwrap();
        for entry in fs::read_dir(from).unwrap() {
            let name = entry.unwrap().file_name();
            if !["node_modules", "package.json", "cache", "artifacts"].map(OsStr::new).contains(&name.as_os_str()) {
                copy(&from.join(&name), &to.join(&name));
            }
        }
    } else if fs::read(from).unwrap() != fs::read(to).unwrap_or_default() {
        fs::copy(from, to).unwrap();
    }
}

/// A node of one validator with a block each fifth of a second.
pub struct DevNode {
    process: Child,
    pub url: String,
    _folder: tempfile::TempDir,
}

impl DevNode {
    pub fn start() -> Self {
        Self::start_with(&["--block-time-ms", "200"])
    }

    /// A node with other settings.
    pub fn start_with(settings: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let home = folder.path().join("node");
        let mut init = Command::new(PROGRAM);
        init.args(["init", "--rpc", "127.0.0.1:0"]).args(settings).arg("--home").arg(&home);
        assert!(init.stdout(Stdio::null()).status().unwrap().success());
        let mut start = Command::new(PROGRAM);
        let mut process = start.args(["start", "--home"]).arg(&home).stdout(Stdio::piped()).spawn().unwrap();
        let lines = BufReader::new(process.stdout.take().unwrap()).lines().map_while(Result::ok);
        let url = lines.into_iter().find_map(|line| line.strip_prefix("JSON-RPC: ").map(str::to_owned)).unwrap();
        Self { process, url, _folder: folder }
    }
}

impl Drop for DevNode {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
