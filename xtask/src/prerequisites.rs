//! What a machine needs before anything is built, and the line that installs what is missing.

use std::path::PathBuf;
use std::process::Command;

use crate::Failure;
use crate::process::{run, succeeds};

/// The oldest compiler the workspace builds with (`rust-version` in `Cargo.toml`).
const OLDEST_RUSTC: (u32, u32) = (1, 95);

/// The version that the ledger is written for.
pub const COMETBFT: &str = "go install github.com/cometbft/cometbft/cmd/cometbft@v0.38.25";
/// Where Go comes from.
const GO: &str = "https://go.dev/dl, or `sudo apt-get install -y golang` where that is new enough";

/// Fails with one line for each missing thing that a build cannot do without.
pub fn check_build() -> Result<(), Failure> {
    let mut missing = Vec::new();
    if let Some(line) = rustc_problem() {
        missing.push(line);
    }
    if !["cc", "gcc", "clang"].iter().any(|compiler| succeeds(compiler, &["--version"])) {
        missing.push(format!("a C compiler (for the TLS library): {}", install("build-essential", "gcc")));
    }
    // The TLS library brings prepared sources for these; elsewhere it generates them.
    let prepared = cfg!(any(target_arch = "x86_64", target_arch = "aarch64"));
    if !prepared && !succeeds("cmake", &["--version"]) {
        missing.push(format!("cmake (for the TLS library): {}", install("cmake", "cmake")));
    }
    report(missing)
}

/// Says what the model download may need, without stopping: a model that is already there, or a
/// reachable model hub, needs neither.
pub fn note_model_package() {
    if let Err(problem) = check_python() {
        eprintln!("xtask: note: {}\n       (only needed where the model hub cannot be reached)", problem.message);
    }
}

/// Fails when there is no Python with `pip` and `venv`.
pub fn check_python() -> Result<(), Failure> {
    let mut missing = Vec::new();
    if !succeeds("python3", &["--version"]) {
        missing.push(format!("python3: {}", install("python3 python3-pip python3-venv", "python3")));
    } else {
        if !succeeds("python3", &["-m", "pip", "--version"]) {
            missing.push(format!("pip for python3: {}", install("python3-pip", "python3-pip")));
        }
        if !succeeds("python3", &["-c", "import venv, ensurepip"]) {
            missing.push(format!("venv for python3: {}", install("python3-venv", "python3")));
        }
    }
    report(missing)
}

/// Installs CometBFT with Go, unless it is on the path or where Go puts programs.
pub fn ensure_cometbft() -> Result<(), Failure> {
    if cometbft_is_here() {
        return Ok(());
    }
    if !succeeds("go", &["version"]) {
        return Err(Failure::user(format!(
            "this machine lacks cometbft, and Go to build it: install Go 1.23 or newer ({GO}), then run \
             `{COMETBFT}` or this command again"
        )));
    }
    eprintln!("xtask: installing CometBFT: {COMETBFT}");
    run(Command::new("go").args(COMETBFT.split_whitespace().skip(1)))
}

/// Where the program is: on the path, or where Go puts programs.
pub fn cometbft() -> Result<PathBuf, Failure> {
    cometbft_places()
        .find(|place| place.is_file())
        .ok_or_else(|| Failure::user(format!("cometbft is missing: {COMETBFT}")))
}

/// Where the ledger's programs look for it too.
fn cometbft_is_here() -> bool {
    cometbft_places().any(|place| place.is_file())
}

fn cometbft_places() -> impl Iterator<Item = PathBuf> {
    let folder = |name: &str, below: &str| std::env::var_os(name).map(|value| PathBuf::from(value).join(below));
    let go = [folder("GOBIN", ""), folder("GOPATH", "bin"), folder("HOME", "go/bin")];
    let path = std::env::var_os("PATH").unwrap_or_default();
    let path: Vec<PathBuf> = std::env::split_paths(&path).collect();
    path.into_iter().chain(go.into_iter().flatten()).map(|folder| folder.join("cometbft"))
}

/// Fails when there is no Node.js with npm, which the tests of Ethereum's tools run on.
pub fn check_node() -> Result<(), Failure> {
    let old = "18 or newer; Debian: sudo apt-get update && sudo apt-get install -y nodejs npm";
    let mut missing = Vec::new();
    for program in ["node", "npm"] {
        if !succeeds(program, &["--version"]) {
            missing.push(format!("{program} (for the tests of Ethereum's tools): {old}"));
        }
    }
    report(missing)
}

fn report(missing: Vec<String>) -> Result<(), Failure> {
    if missing.is_empty() {
        return Ok(());
    }
    Err(Failure::user(format!("this machine lacks:\n  - {}", missing.join("\n  - "))))
}

fn install(apt: &str, other: &str) -> String {
    if succeeds("apt-get", &["--version"]) {
        format!("sudo apt-get update && sudo apt-get install -y {apt}")
    } else if succeeds("brew", &["--version"]) {
        format!("brew install {other}")
    } else {
        format!("install the package {other} of your system")
    }
}

fn rustc_problem() -> Option<String> {
    let rustup = "curl --proto '=https' --tlsv1.2 -sSf https://sh.rustup.rs | sh   (or: rustup update stable)";
    let needed = format!("rustc {}.{} or newer: {rustup}", OLDEST_RUSTC.0, OLDEST_RUSTC.1);
    let program = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let Ok(output) = Command::new(program).arg("--version").output() else {
        return Some(needed);
    };
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    match version(&text) {
        Some(found) if found >= OLDEST_RUSTC => None,
        Some((major, minor)) => Some(format!("{needed} (this one is {major}.{minor})")),
        None => Some(needed),
    }
}

/// Reads `1.95` out of `rustc 1.95.0 (59807616e 2026-04-14)`.
fn version(text: &str) -> Option<(u32, u32)> {
    let mut numbers = text.split_whitespace().nth(1)?.split('.');
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::version;

    #[test]
    fn reads_the_compilers_version() {
        assert_eq!(version("rustc 1.95.0 (59807616e 2026-04-14)"), Some((1, 95)));
        assert_eq!(version("rustc 1.97.0-nightly (abc 2026-06-01)"), Some((1, 97)));
        assert_eq!(version("command not found"), None);
        assert_eq!(version(""), None);
    }
}
