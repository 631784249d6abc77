//! The units of systemd: do they say what systemd understands, and how much could a service do that was taken over?

use std::path::Path;
use std::process::{Command, Stdio};

use super::{doing, empty, files, parts};
use crate::Failure;
use crate::process::succeeds;

/// The most that a unit may be rated, in tenths: 0 is locked in, 100 is root with everything.
const MOST_EXPOSED: u32 = 15;

/// Verifies and rates the units of a prefix; `scratch` holds copies of them that name the program there.
pub fn check(prefix: &Path, scratch: &Path) -> Result<(), Failure> {
    if !succeeds("systemd-analyze", &["--version"]) {
        eprintln!("xtask: SKIPPED: systemd-analyze is not here (package systemd): units are not verified");
        return Ok(());
    }
    empty(scratch)?;
    let folder = prefix.join(parts::UNITS);
    let mut ratings = Vec::new();
    for file in files(&folder)? {
        let from = folder.join(&file);
        let text = std::fs::read_to_string(&from).map_err(|error| doing("reading", &from, &error))?;
        let copy = scratch.join(&file);
        let text = text.replace("/usr/local/", &format!("{}/", prefix.display()));
        std::fs::write(&copy, text).map_err(|error| doing("writing", &copy, &error))?;
        verify(&copy)?;
        ratings.push(format!("{} {}", file.display(), rate(&copy)?));
    }
    eprintln!("xtask: units are understood; exposure, 0 to 10: {}", ratings.join(", "));
    Ok(())
}

/// Whatever systemd has to say of a unit is an error.
fn verify(unit: &Path) -> Result<(), Failure> {
    let output = Command::new("systemd-analyze")
        .args(["verify", "--man=no", "--recursive-errors=no"])
        .arg(unit)
        .output()
        .map_err(|error| Failure::fault(format!("could not start systemd-analyze: {error}")))?;
    let said = String::from_utf8_lossy(&output.stderr);
    if output.status.success() && said.trim().is_empty() {
        return Ok(());
    }
    Err(Failure::fault(format!("systemd-analyze verify {}: {}", unit.display(), said.trim())))
}

fn rate(unit: &Path) -> Result<String, Failure> {
    let output = Command::new("systemd-analyze")
        .args(["security", "--offline=true", "--no-pager", &format!("--threshold={MOST_EXPOSED}")])
        .arg(unit)
        .env("LC_ALL", "C.UTF-8")
        .stdin(Stdio::null())
        .output()
        .map_err(|error| Failure::fault(format!("could not start systemd-analyze: {error}")))?;
    let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    if !output.status.success() {
        return Err(Failure::fault(format!(
            "{} is exposed to more than {MOST_EXPOSED} tenths:\n{said}",
            unit.display()
        )));
    }
    rating(&said).ok_or_else(|| Failure::fault(format!("systemd-analyze security gave no rating:\n{said}")))
}

/// Reads `→ Overall exposure level for x.service: 1.2 OK 🙂`.
fn rating(said: &str) -> Option<String> {
    let line = said.lines().find(|line| line.contains("Overall exposure level"))?;
    line.split(": ").nth(1)?.split_whitespace().next().map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rating_is_read() {
        assert_eq!(rating("x\n→ Overall exposure level for a.service: 1.2 OK 🙂\n").as_deref(), Some("1.2"));
        assert_eq!(rating("nothing"), None);
    }
}
