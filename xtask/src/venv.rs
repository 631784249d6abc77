//! Virtual environments for the Python programs that tests and benchmarks talk to.

use std::path::PathBuf;
use std::process::Command;

use crate::process::{run, succeeds, target_dir};
use crate::{Failure, prerequisites};

/// A Python with these packages, made once under the target directory; the path of its interpreter.
///
/// `import` is the statement that proves the packages work.
pub fn ensure(name: &str, packages: &[&str], import: &str) -> Result<PathBuf, Failure> {
    let home = target_dir().join("venv").join(name);
    let python = home.join("bin").join("python");
    if succeeds(&python, &["-c", import]) {
        return Ok(python);
    }
    prerequisites::check_python()?;
    eprintln!("xtask: installing {} for Python into {}", packages.join(", "), home.display());
    run(Command::new("python3").args(["-m", "venv", "--clear"]).arg(&home))?;
    run(Command::new(&python).args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check"]).args(packages))
        .map_err(|_| {
            Failure::user(format!(
                "pip could not install {}: check the network, then run the chore again",
                packages.join(", ")
            ))
        })?;
    if !succeeds(&python, &["-c", import]) {
        return Err(Failure::fault(format!("{} is installed but `{import}` fails", packages.join(", "))));
    }
    Ok(python)
}
