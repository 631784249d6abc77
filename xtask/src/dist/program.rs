//! The program of the tarball: built apart from the ordinary one, without names of folders of this machine.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use super::packages::PACKAGE;
use super::{TARGET, doing};
use crate::process::{self, cargo, output, root, run};
use crate::{Failure, process::sahara_path};

/// The program of `cargo build --release`, which is built if need be.
pub fn as_built() -> Result<PathBuf, Failure> {
    process::build_sahara()?;
    Ok(sahara_path())
}

/// Builds the program in a target directory of its own.
pub fn build(target: &Path) -> Result<PathBuf, Failure> {
    eprintln!("xtask: building sahara for others (the first time takes some minutes)");
    let started = Instant::now();
    let mut command = cargo();
    command.arg("build");
    for_others(&mut command, target)?;
    run(command.args(["--locked", "--release", "--package", PACKAGE, "--bin", "sahara"]))?;
    eprintln!("xtask: built in {:.0} s", started.elapsed().as_secs_f64());
    Ok(target.join("release").join("sahara"))
}

/// Has a build of cargo, or of a program that takes its options, go to a target directory of its own and leave names of
/// folders of this machine out.
pub fn for_others(command: &mut Command, target: &Path) -> Result<(), Failure> {
    let flags: Vec<String> = folders(target)?
        .iter()
        .map(|(from, to)| format!("{:?}", format!("--remap-path-prefix={}={to}", from.display())))
        .collect();
    // As a setting of cargo, so that the flags of .cargo/config.toml stay; the variables would replace both.
    command
        .env("CARGO_TARGET_DIR", target)
        .env("CARGO_INCREMENTAL", "0")
        .env_remove("RUSTFLAGS")
        .env_remove("CARGO_ENCODED_RUSTFLAGS")
        .arg("--config")
        .arg(format!("target.{TARGET}.rustflags=[{}]", flags.join(",")));
    Ok(())
}

/// Folders of this machine that compilers write into programs, and what stands there instead.
pub fn folders(target: &Path) -> Result<Vec<(PathBuf, &'static str)>, Failure> {
    let home = |variable: &str, usual: &str| {
        let set = std::env::var_os(variable).filter(|value| !value.is_empty()).map(PathBuf::from);
        set.or_else(|| std::env::var_os("HOME").map(|home| PathBuf::from(home).join(usual)))
    };
    let mut found = Vec::new();
    if let Some(cargo) = home("CARGO_HOME", ".cargo") {
        // The last one that fits counts: what is unknown in the folder first, then the sources of packages.
        found.push((cargo.clone(), "/cargo"));
        let sources = cargo.join("registry").join("src");
        if let Ok(registries) = std::fs::read_dir(&sources) {
            let mut registries: Vec<PathBuf> = registries.filter_map(|entry| Some(entry.ok()?.path())).collect();
            registries.sort();
            found.extend(registries.into_iter().map(|registry| (registry, "/registry")));
        }
    }
    let sysroot = output(Command::new(rustc()).args(["--print", "sysroot"]))?;
    found.extend([(PathBuf::from(sysroot.trim()), "/rust"), (root(), "/sahara"), (target.to_path_buf(), "/target")]);
    Ok(found)
}

/// The compiler in words.
pub fn compiler() -> Result<String, Failure> {
    Ok(output(Command::new(rustc()).arg("--version"))?.trim().to_owned())
}

fn rustc() -> std::ffi::OsString {
    std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into())
}

/// The version that a program says it has.
pub fn version(program: &Path) -> Result<String, Failure> {
    let text = output(Command::new(program).arg("--version"))?;
    let version = text.split_whitespace().nth(1).map(str::to_owned);
    version.ok_or_else(|| Failure::fault(format!("{} --version printed {text:?}", program.display())))
}

/// Copies the program without its symbols.
pub fn strip(from: &Path, to: &Path) -> Result<(), Failure> {
    run(Command::new("strip").arg("-o").arg(to).arg(from))
        .map_err(|failure| Failure::user(format!("{}: strip is part of binutils", failure.message)))
}

/// The newest version of glibc that the program asks for.
pub fn glibc(program: &Path) -> Result<Option<String>, Failure> {
    let bytes = std::fs::read(program).map_err(|error| doing("reading", program, &error))?;
    Ok(newest_glibc(&bytes))
}

fn newest_glibc(bytes: &[u8]) -> Option<String> {
    const MARK: &[u8] = b"GLIBC_2.";
    let versions = bytes.windows(MARK.len()).enumerate().filter(|(_, window)| *window == MARK).filter_map(|(at, _)| {
        let digits: Vec<u8> = bytes[at + MARK.len()..].iter().copied().take(3).take_while(u8::is_ascii_digit).collect();
        std::str::from_utf8(&digits).ok()?.parse::<u32>().ok()
    });
    versions.max().map(|minor| format!("2.{minor}"))
}

#[cfg(test)]
mod tests {
    use super::newest_glibc;

    #[test]
    fn the_newest_version_of_the_system_library_is_found() {
        let bytes = b"\0GLIBC_2.2.5\0GLIBC_2.34\0x\xffGLIBC_2.14\0GLIBC_PRIVATE\0GLIBC_2.";
        assert_eq!(newest_glibc(bytes).as_deref(), Some("2.34"));
        assert_eq!(newest_glibc(b"a static program"), None);
    }
}
