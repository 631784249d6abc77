//! `cargo xtask dist`: something to install. A tarball with the program and all that belongs to it, the same bytes for
//! the same commit, and the check of one as whoever installs it would see it.

mod archive;
mod check;
mod completions;
#[cfg(test)]
mod dashboards;
mod licences;
mod packages;
mod parts;
pub mod program;
mod sbom;
mod source;
mod units;

use std::path::{Path, PathBuf};

use crate::process::target_dir;
use crate::{Failure, prerequisites};

pub use check::model_folder;
use source::Source;

/// What the tarball is for, as compilers name it.
pub const TARGET: &str = "x86_64-unknown-linux-gnu";

const HELP: &str = "\
Something to install: a tarball with all of Sahara.

usage: cargo xtask dist [options]

  (nothing)       build the program, pack it, print the tarball's name
  --check         and then try the tarball as whoever installs it would
  --check FILE    only that, with a tarball that is there
  --as-built      pack the program of `cargo build --release` as it is, into
                  dist/as-built: quick, for tests. Names of folders of this
                  machine are in that program: give it to nobody

The tarball is dist/sahara-VERSION-x86_64-unknown-linux-gnu.tar.gz in the
target directory, with its SHA-256 beside it. Inside, as they lie below
/usr/local:

  bin/sahara                  the program, stripped
  lib/systemd/system/         units: share node, chain node, gateway
  lib/sysusers.d, tmpfiles.d  the users that they run as, and their homes
  share/bash-completion, zsh, fish, man
  share/doc/sahara/           guides, licences (THIRD-PARTY.txt has those of
                              all dependencies), an SBOM (CycloneDX 1.5),
                              BUILD.txt, SHA256SUMS
  share/sahara/container/     a Containerfile and an example for compose
  share/sahara/grafana/       dashboards

The same commit gives the same bytes, on a machine with the same compilers,
tar and gzip. The program is built apart from the ordinary one, in dist/build,
with folders of this machine taken out of it: the first time takes as long as
a first build. Times of files are the commit's (SOURCE_DATE_EPOCH has
precedence); a checkout with changes says so in BUILD.txt.

The check unpacks into an empty prefix, compares sums, loads the completions,
renders the manual pages, verifies and rates the units, reads the SBOM, and
runs the program's demo there with an environment that has nothing of the
checkout. A tool that is not here is named as SKIPPED.

docs/install.md goes on from there.
";

/// Makes the tarball, checks one, or both.
pub fn run(arguments: &[String]) -> Result<(), Failure> {
    let Some(options) = Options::parse(arguments)? else {
        print!("{HELP}");
        return Ok(());
    };
    let made = match options.tarball {
        Some(tarball) => tarball,
        None => make(options.as_built)?,
    };
    if options.check {
        check::run_all(&made, options.as_built)?;
    }
    println!("{}", made.display());
    Ok(())
}

/// A tarball of the program that tests use.
pub fn pack() -> Result<PathBuf, Failure> {
    make(true)
}

/// As a step of the suite: quick, from what its tests have built.
pub fn test() -> Result<(), Failure> {
    run(&["--as-built".to_owned(), "--check".to_owned()])
}

#[derive(Debug, Default, PartialEq)]
struct Options {
    as_built: bool,
    check: bool,
    tarball: Option<PathBuf>,
}

impl Options {
    /// `None` asks for help.
    fn parse(arguments: &[String]) -> Result<Option<Self>, Failure> {
        let mut options = Self::default();
        for argument in arguments {
            match argument.as_str() {
                "--help" | "-h" | "help" => return Ok(None),
                "--as-built" => options.as_built = true,
                "--check" => options.check = true,
                file if options.check && options.tarball.is_none() && !file.starts_with('-') => {
                    let file = std::path::absolute(file).unwrap_or_else(|_| file.into());
                    if !file.is_file() {
                        return Err(Failure::user(format!("there is no tarball {}", file.display())));
                    }
                    options.tarball = Some(file);
                }
                other => {
                    return Err(Failure::user(format!("dist has no option {other:?}; try `cargo xtask dist --help`")));
                }
            }
        }
        Ok(Some(options))
    }
}

/// Where everything of this chore is.
fn folder(as_built: bool) -> PathBuf {
    let dist = target_dir().join("dist");
    if as_built { dist.join("as-built") } else { dist }
}

fn make(as_built: bool) -> Result<PathBuf, Failure> {
    prerequisites::check_build()?;
    archive::check_tools()?;
    let source = Source::read()?;
    let folder = folder(as_built);
    let built = if as_built { program::as_built()? } else { program::build(&folder.join("build"))? };
    let name = format!("sahara-{}-{TARGET}", program::version(&built)?);
    let stage = folder.join(&name);
    empty(&stage)?;
    parts::lay(&stage, &built, &source)?;
    archive::sums(&stage)?;
    let tarball = archive::pack(&stage, &source)?;
    remove(&stage)?;
    let bytes = std::fs::metadata(&tarball).map_or(0, |about| about.len());
    eprintln!("xtask: {} is {:.1} MB", tarball.display(), bytes as f64 / 1e6);
    Ok(tarball)
}

/// Puts the bill of a package of the workspace and the licences of others into an empty folder; the two files.
pub fn papers(package: &str, what: &str, folder: &Path) -> Result<Vec<PathBuf>, Failure> {
    empty(folder)?;
    let packages = packages::of(package)?;
    let texts = [
        ("sahara.cdx.json", sbom::write(package, &packages, &Source::read()?, &program::compiler()?)?),
        ("THIRD-PARTY.txt", licences::write(what, &packages)?),
    ];
    let written = texts.into_iter().map(|(name, text)| {
        let path = folder.join(name);
        std::fs::write(&path, text).map_err(|error| doing("writing", &path, &error)).map(|()| path)
    });
    written.collect()
}

/// Makes a folder, empty whatever was there.
pub fn empty(folder: &Path) -> Result<(), Failure> {
    remove(folder)?;
    std::fs::create_dir_all(folder).map_err(|error| doing("creating", folder, &error))
}

/// Removes a folder if there is one.
pub fn remove(folder: &Path) -> Result<(), Failure> {
    match std::fs::remove_dir_all(folder) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(doing("removing", folder, &error)),
        _ => Ok(()),
    }
}

fn doing(what: &str, path: &Path, error: &std::io::Error) -> Failure {
    Failure::fault(format!("{what} {}: {error}", path.display()))
}

/// All files below a folder, as paths within it, sorted.
fn files(folder: &Path) -> Result<Vec<PathBuf>, Failure> {
    let mut found = Vec::new();
    let mut waiting = vec![folder.to_path_buf()];
    while let Some(next) = waiting.pop() {
        for entry in std::fs::read_dir(&next).map_err(|error| doing("reading", &next, &error))? {
            let path = entry.map_err(|error| doing("reading", &next, &error))?.path();
            if path.is_dir() {
                waiting.push(path);
            } else if let Ok(within) = path.strip_prefix(folder) {
                found.push(within.to_path_buf());
            }
        }
    }
    found.sort();
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Option<Options>, Failure> {
        Options::parse(&line.split_whitespace().map(str::to_owned).collect::<Vec<_>>())
    }

    #[test]
    fn options_are_read_or_refused() {
        assert_eq!(parse("").unwrap(), Some(Options::default()));
        let both = Options { as_built: true, check: true, tarball: None };
        assert_eq!(parse("--as-built --check").unwrap(), Some(both));
        assert_eq!(parse("--check --help").unwrap(), None);
        for line in ["--chekc", "some.tar.gz", "--check no-such.tar.gz"] {
            assert_eq!(parse(line).unwrap_err().code, 2, "{line}");
        }
        assert!(HELP.lines().all(|line| line.chars().count() <= 80));
    }
}
