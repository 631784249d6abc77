//! Tries a tarball as whoever installs it would: an empty prefix, an empty home, nothing of the checkout in sight.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use super::{archive, completions, doing, empty, parts, program, remove, sbom, units};
use crate::Failure;
use crate::json::Value;
use crate::process::{output, run, target_dir};

/// The model of the demo.
const MODEL: &str = "all-MiniLM-L6-v2";
/// What finds `python3`, with which the model comes where the hub is out of reach.
const PATH: &str = "/usr/local/bin:/usr/bin:/bin";

/// Checks a tarball; names of folders of this machine are looked for unless its program is `as_built`.
pub fn run_all(tarball: &Path, as_built: bool) -> Result<(), Failure> {
    let started = Instant::now();
    // Apart from the target directory, so that a path of this machine in the prefix is none of the checkout.
    let scratch = std::env::temp_dir().join(format!("sahara-dist-check-{}", std::process::id()));
    empty(&scratch)?;
    let outcome = in_scratch(tarball, as_built, &scratch);
    // After a failure it stays, to be looked at.
    match &outcome {
        Ok(()) => remove(&scratch)?,
        Err(_) => eprintln!("xtask: what was tried is in {}", scratch.display()),
    }
    outcome?;
    eprintln!("xtask: the tarball is good ({:.0} s)", started.elapsed().as_secs_f64());
    Ok(())
}

fn in_scratch(tarball: &Path, as_built: bool, scratch: &Path) -> Result<(), Failure> {
    let prefix = scratch.join("prefix");
    empty(&prefix)?;
    archive::unpack(tarball, &prefix)?;
    eprintln!("xtask: {} files have the sums that they should have", archive::verify(&prefix)?);
    let installed = prefix.join(parts::PROGRAM);
    if !as_built {
        names_no_folder(&installed)?;
    }
    completions::check(&prefix)?;
    completions::manual(&prefix)?;
    units::check(&prefix, &scratch.join("units"))?;
    let bill = read(&prefix.join(parts::SBOM))?;
    let (linked, building) = sbom::read(&bill)?;
    eprintln!("xtask: the SBOM has {linked} packages that are in the program, {building} that build it");
    for file in super::files(&prefix.join(parts::DASHBOARDS))? {
        if file.extension().is_some_and(|end| end == "json") {
            Value::parse(&read(&prefix.join(parts::DASHBOARDS).join(&file))?)
                .map_err(|why| Failure::fault(format!("{}: {why}", file.display())))?;
        }
    }
    memory(&prefix, &installed, scratch)?;
    demo(&installed, scratch)
}

/// What the share node's unit may take is what the limits of a new `node.toml` add up to, and something for the allocator.
fn memory(prefix: &Path, installed: &Path, scratch: &Path) -> Result<(), Failure> {
    let home = scratch.join("node");
    let mut init = Command::new(installed);
    output(init.args(["operator", "init", "--json"]).env_clear().env("HOME", scratch).env("SAHARA_HOME", &home))?;
    let settings = read(&home.join("node/node.toml"))?;
    let unit = read(&prefix.join(parts::UNITS).join("sahara-operator.service"))?;
    let (needed, allowed) = (number_after(&settings, "under these limits: "), number_after(&unit, "MemoryMax="));
    match (needed, allowed.map(|gigabytes| gigabytes << 10)) {
        (Some(needed), Some(allowed)) if (needed + 1_000..needed + 2_000).contains(&allowed) => Ok(()),
        (needed, allowed) => Err(Failure::fault(format!(
            "limits of {needed:?} MB in a new node.toml, MemoryMax of {allowed:?} MB in the share node's unit"
        ))),
    }
}

/// The number that stands after a word.
fn number_after(text: &str, word: &str) -> Option<u64> {
    let rest = &text[text.find(word)? + word.len()..];
    rest.split(|letter: char| !letter.is_ascii_digit()).next()?.parse().ok()
}

/// Names of this machine's folders have no place in a program that is given away.
fn names_no_folder(installed: &Path) -> Result<(), Failure> {
    let bytes = std::fs::read(installed).map_err(|error| doing("reading", installed, &error))?;
    for (folder, _) in program::folders(&target_dir())? {
        let name = format!("{}/", folder.display());
        if bytes.windows(name.len()).any(|window| window == name.as_bytes()) {
            return Err(Failure::fault(format!("the program names {name}, a folder of this machine")));
        }
    }
    Ok(())
}

/// A demo of the installed program, with an environment of its own.
fn demo(installed: &Path, scratch: &Path) -> Result<(), Failure> {
    let home = scratch.join("home");
    empty(&home)?;
    let program = || {
        let mut command = Command::new(installed);
        command.env_clear().env("PATH", PATH).env("HOME", &home).env("LC_ALL", "C.UTF-8").current_dir(&home);
        command
    };
    output(program().args(["--quiet", "model", "pull"]).arg(model_folder(installed)?))?;
    let port = free_ports()?;
    let report =
        output(program().args(["--quiet", "demo", "--json", "--sentences", "3", "--port", &port.to_string()]))?;
    let report = Value::parse(report.trim()).map_err(|why| Failure::fault(format!("sahara demo --json: {why}")))?;
    if report.truth("exact_match") != Some(true) || report.number("sentences") != Some(3.0) {
        return Err(Failure::fault(format!("the installed program's demo is wrong: {report}")));
    }
    eprintln!("xtask: the installed program's demo gave three exact answers");
    left_nothing_running(program().args(["devnet", "status", "--json"]))
}

/// The model's folder in the cache of the suite; the program pulls it there first if need be.
pub fn model_folder(program: &Path) -> Result<PathBuf, Failure> {
    let cache = target_dir().join("test-cache");
    let folder = cache.join("models").join(MODEL);
    if !folder.is_dir() {
        // With the ordinary environment: it may say where packages come from.
        run(Command::new(program).args(["model", "pull", MODEL]).env("SAHARA_HOME", &cache))?;
    }
    Ok(folder)
}

/// The exit code says only that not all nodes are ready, which is how it has to be.
fn left_nothing_running(status: &mut Command) -> Result<(), Failure> {
    let said = status.output().map_err(|error| Failure::fault(format!("devnet status: {error}")))?;
    let said = String::from_utf8_lossy(&said.stdout).into_owned();
    let status = Value::parse(said.trim()).map_err(|why| Failure::fault(format!("devnet status --json: {why}")))?;
    let nodes = status.get("nodes").and_then(Value::list).unwrap_or_default();
    if nodes.len() != 3 || nodes.iter().any(|node| node.get("pid") != Some(&Value::Null)) {
        return Err(Failure::fault(format!("the demo left nodes running: {status}")));
    }
    Ok(())
}

/// Some ports in a row that nobody has.
fn free_ports() -> Result<u16, Failure> {
    let own = u16::try_from(std::process::id() % 2_000).unwrap_or(0);
    (0..100u16)
        .map(|turn| 22_000 + 10 * ((own + 7 * turn) % 2_000))
        .find(|first| (0..10).all(|next| TcpListener::bind(("127.0.0.1", first + next)).is_ok()))
        .ok_or_else(|| Failure::user("no ten free ports in a row: what else runs on this machine?"))
}

fn read(path: &Path) -> Result<String, Failure> {
    std::fs::read_to_string(path).map_err(|error| doing("reading", path, &error))
}
