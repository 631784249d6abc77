//! `cargo xtask python`: the wheel of the Python package.
//!
//! maturin packs it. By itself maturin builds one package, for which cargo compiles most dependencies anew, because alone it
//! needs fewer of their features than the workspace does. Here maturin is given this program as its cargo, which builds the
//! workspace instead: what `cargo build --release --workspace` has compiled already is used.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::dist::{self, program};
use crate::process::{cargo, root, run as run_program, target_dir};
use crate::{Failure, prerequisites, venv};

const MATURIN: &str = "maturin==1.16.0";
/// Set for maturin: the cargo that this program stands in for.
const REAL_CARGO: &str = "SAHARA_XTASK_CARGO";
/// What maturin tells about the Python that it found here; the module is the same for all.
const SETTINGS: [&str; 5] = [
    "PYO3_BUILD_EXTENSION_MODULE",
    "PYO3_CONFIG_FILE",
    "PYO3_ENVIRONMENT_SIGNATURE",
    "PYO3_PYTHON",
    "PYTHON_SYS_EXECUTABLE",
];

const HELP: &str = "\
The wheel of the Python package, for CPython 3.9 and newer.

usage: cargo xtask python [--for-others]

  (nothing)       build it from what `cargo build --release --workspace` makes;
                  the wheel is in wheels/ in the target directory
  --for-others    build it apart, stripped, with folders of this machine taken
                  out of it, with an SBOM and the licences of others; the wheel
                  is in dist/wheels. The first time takes as long as a first
                  build

The last line that is printed is the wheel's path. docs/python.md goes on from
there.
";

/// Makes the wheel and prints its path.
pub fn run(arguments: &[String]) -> Result<(), Failure> {
    let wheel = match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [] => as_built()?,
        ["--for-others"] => apart()?,
        ["--help" | "-h" | "help"] => {
            print!("{HELP}");
            return Ok(());
        }
        [other, ..] => {
            return Err(Failure::user(format!("python has no option {other:?}; try `cargo xtask python --help`")));
        }
    };
    println!("{}", wheel.display());
    Ok(())
}

/// From what the workspace's build has made, or makes now.
pub fn as_built() -> Result<PathBuf, Failure> {
    let folder = target_dir().join("wheels");
    let own = std::env::current_exe().map_err(|e| Failure::fault(format!("where is xtask itself? {e}")))?;
    let mut maturin = maturin(&folder)?;
    maturin.env(REAL_CARGO, cargo().get_program()).env("CARGO", own).arg("--strip=false");
    made(maturin, &folder)
}

/// Built apart, for others.
fn apart() -> Result<PathBuf, Failure> {
    let place = target_dir().join("dist");
    let (folder, target) = (place.join("wheels"), place.join("build"));
    let mut maturin = maturin(&folder)?;
    program::for_others(&mut maturin, &target)?;
    maturin.args(["--locked", "--strip=true"]);
    for paper in dist::papers("sahara-python", "the Python package `sahara`", &place.join("wheel-papers"))? {
        maturin.arg("--sbom-include").arg(paper);
    }
    made(maturin, &folder)
}

/// maturin, about to put a wheel into a folder.
fn maturin(folder: &Path) -> Result<Command, Failure> {
    prerequisites::check_build()?;
    let python = venv::ensure("maturin", &[MATURIN], "import maturin")?;
    let mut command = Command::new(python);
    command.args(["-m", "maturin", "build", "--quiet", "--release", "--manifest-path"]);
    command.arg(root().join("python/Cargo.toml")).arg("--out").arg(folder).current_dir(root());
    Ok(command)
}

/// Runs maturin; the newest wheel in the folder then. Others may run it at the same time.
fn made(mut maturin: Command, folder: &Path) -> Result<PathBuf, Failure> {
    run_program(&mut maturin)?;
    let found = std::fs::read_dir(folder)
        .map_err(|error| Failure::fault(format!("reading {}: {error}", folder.display())))?
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.extension() == Some("whl".as_ref()))
        .max_by_key(|path| std::fs::metadata(path).and_then(|about| about.modified()).ok());
    found.ok_or_else(|| Failure::fault(format!("maturin left no wheel in {}", folder.display())))
}

/// Whether maturin runs this program in cargo's place; then does what cargo would, for the whole workspace.
pub fn as_cargo(arguments: &[String]) -> Option<Result<(), Failure>> {
    let program = std::env::var_os(REAL_CARGO)?;
    let mut cargo = Command::new(program);
    cargo.env_remove(REAL_CARGO);
    for setting in SETTINGS {
        cargo.env_remove(setting);
    }
    match arguments.first().map(String::as_str) {
        Some("rustc") => cargo
            .args(["build", "--release", "--workspace", "--lib", "--bin", "sahara"])
            .args(["--message-format", "json-render-diagnostics"]),
        _ => cargo.args(arguments),
    };
    Some(run_program(&mut cargo))
}
