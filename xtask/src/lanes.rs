//! Every test program, in two lanes that run side by side: the program's journeys in one, everything else in the other. Most of
//! both is waiting for processes, so two take little more than the longer one alone.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;
use std::time::Instant;

use crate::Failure;
use crate::json::Value;
use crate::process::{self, cargo, output};

/// The package that has the journeys.
const JOURNEYS: &str = "cli";

/// Test programs as they were built.
pub struct Programs {
    journeys: Vec<Program>,
    others: Vec<Program>,
}

/// One of them.
#[derive(Debug, PartialEq)]
struct Program {
    /// Of its target.
    name: String,
    path: PathBuf,
    /// Folder of its package, in which it runs.
    package: PathBuf,
}

impl Programs {
    /// Builds all of the workspace.
    pub fn build() -> Result<Self, Failure> {
        let built = output(
            cargo()
                .args(["test", "--release", "--workspace", "--no-run"])
                .arg("--message-format=json-render-diagnostics"),
        )?;
        let all = built.lines().filter_map(Program::read);
        let (journeys, others) = all.partition(|program| program.package == process::root().join(JOURNEYS));
        Ok(Self { journeys, others })
    }

    /// Runs every one, whichever of them fails, with these words in its environment, and then what the documentation shows.
    /// What each printed is shown when it ends, and given to `read` line by line. Whether all were green.
    pub fn run(&self, environment: &[(&str, PathBuf)], read: &mut (dyn FnMut(&str) + Send)) -> Result<bool, Failure> {
        let read = Mutex::new(read);
        let lane = |programs: &[Program]| -> Result<bool, Failure> {
            let mut green = true;
            for program in programs {
                green &= program.run(environment, &read)?;
            }
            Ok(green)
        };
        let (journeys, others) = std::thread::scope(|scope| {
            let beside = scope.spawn(|| lane(&self.others));
            let journeys = lane(&self.journeys);
            (journeys, beside.join().unwrap_or_else(|_| Err(Failure::fault("the second lane of tests panicked"))))
        });
        let (journeys, others) = (journeys?, others?);
        let shown = process::tee(
            cargo()
                .args(["test", "--release", "--workspace", "--doc", "--no-fail-fast"])
                .envs(environment.iter().map(|(name, value)| (name, value))),
            |line| with(&read, line),
        )?;
        Ok(journeys && others && shown)
    }
}

impl Program {
    /// Of a line that cargo printed, if it speaks of a test program.
    fn read(line: &str) -> Option<Self> {
        let message = Value::parse(line).ok()?;
        if message.text("reason") != Some("compiler-artifact") || message.get("profile")?.truth("test") != Some(true) {
            return None;
        }
        let package = Path::new(message.text("manifest_path")?).parent()?.to_owned();
        Some(Self {
            name: message.get("target")?.text("name")?.to_owned(),
            path: message.text("executable")?.into(),
            package,
        })
    }

    fn run(
        &self,
        environment: &[(&str, PathBuf)],
        read: &Mutex<&mut (dyn FnMut(&str) + Send)>,
    ) -> Result<bool, Failure> {
        let started = Instant::now();
        eprintln!("xtask: {} …", self.name);
        let ended = Command::new(&self.path)
            .current_dir(&self.package)
            .env("CARGO_MANIFEST_DIR", &self.package)
            .envs(environment.iter().map(|(name, value)| (name, value)))
            .output()
            .map_err(|error| Failure::fault(format!("could not start the tests {}: {error}", self.name)))?;
        // In one piece: the other lane prints, too.
        let said = format!("{}{}", String::from_utf8_lossy(&ended.stdout), String::from_utf8_lossy(&ended.stderr));
        let took = started.elapsed().as_secs_f64();
        // A closed terminal must not stop the tests.
        let _ = write!(std::io::stdout().lock(), "\n     Running {} ({took:.0} s)\n{said}", self.name);
        said.lines().for_each(|line| with(read, line));
        Ok(ended.status.success())
    }
}

fn with(read: &Mutex<&mut (dyn FnMut(&str) + Send)>, line: &str) {
    if let Ok(mut read) = read.lock() {
        read(line);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn test_programs_are_found_in_what_cargo_prints() {
        let line = r#"{"reason":"compiler-artifact","manifest_path":"/a/cli/Cargo.toml","target":{"name":"t","kind":["test"]},
            "profile":{"test":true},"executable":"/b/t-1"}"#;
        let found = Program { name: "t".into(), path: "/b/t-1".into(), package: "/a/cli".into() };
        assert_eq!(Program::read(line), Some(found));
        assert_eq!(Program::read(&line.replace("true", "false")), None);
        assert_eq!(Program::read(&line.replace(r#""/b/t-1""#, "null")), None);
        assert_eq!(Program::read("   Compiling"), None);
    }
}
