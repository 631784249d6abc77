//! What lies where in the tarball, as below /usr/local.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::source::Source;
use super::{doing, files, licences, packages, program, sbom};
use crate::Failure;
use crate::process::{output, root};

/// The program.
pub const PROGRAM: &str = "bin/sahara";
/// Manual pages.
pub const MANUAL: &str = "share/man/man1";
/// Documents, licences, sums.
pub const DOCUMENTS: &str = "share/doc/sahara";
/// The bill of materials.
pub const SBOM: &str = "share/doc/sahara/sbom.cdx.json";
/// Units of systemd.
pub const UNITS: &str = "lib/systemd/system";
/// Dashboards of Grafana.
pub const DASHBOARDS: &str = "share/sahara/grafana";
/// Completions: shell and file.
pub const COMPLETIONS: [(&str, &str); 3] = [
    ("bash", "share/bash-completion/completions/sahara"),
    ("zsh", "share/zsh/site-functions/_sahara"),
    ("fish", "share/fish/vendor_completions.d/sahara.fish"),
];

/// Files of the checkout that are taken as they are. A folder brings all its files.
const TAKEN: [(&str, &str); 12] = [
    ("packaging/systemd/sahara-operator.service", "lib/systemd/system/sahara-operator.service"),
    ("packaging/systemd/sahara-validator.service", "lib/systemd/system/sahara-validator.service"),
    ("packaging/systemd/sahara-gateway.service", "lib/systemd/system/sahara-gateway.service"),
    ("packaging/systemd/sahara.sysusers", "lib/sysusers.d/sahara.conf"),
    ("packaging/systemd/sahara.tmpfiles", "lib/tmpfiles.d/sahara.conf"),
    ("packaging/container", "share/sahara/container"),
    ("packaging/grafana", "share/sahara/grafana"),
    ("LICENSE-APACHE", "share/doc/sahara/LICENSE-APACHE"),
    ("LICENSE-MIT", "share/doc/sahara/LICENSE-MIT"),
    ("README.md", "share/doc/sahara/README.md"),
    ("SECURITY.md", "share/doc/sahara/SECURITY.md"),
    ("CHANGELOG.md", "share/doc/sahara/CHANGELOG.md"),
];

/// Lays everything but the sums into an empty stage.
pub fn lay(stage: &Path, built: &Path, source: &Source) -> Result<(), Failure> {
    let place = stage.join(PROGRAM);
    make_room(&place)?;
    program::strip(built, &place)?;
    for (shell, file) in COMPLETIONS {
        write(&stage.join(file), &output(Command::new(built).args(["completions", shell]))?)?;
    }
    output(Command::new(built).arg("man").arg(stage.join(MANUAL)))?;
    for (from, to) in TAKEN {
        take(&root().join(from), &stage.join(to))?;
    }
    guides(stage)?;
    let compiler = program::compiler()?;
    let packages = packages::of(packages::PACKAGE)?;
    write(&stage.join(SBOM), &sbom::write(packages::PACKAGE, &packages, source, &compiler)?)?;
    write(&stage.join(DOCUMENTS).join("THIRD-PARTY.txt"), &licences::write("the program `sahara`", &packages)?)?;
    write(&stage.join(DOCUMENTS).join("BUILD.txt"), &about(&place, source, &compiler)?)
}

/// The guides of `docs/`, without the decisions behind them.
fn guides(stage: &Path) -> Result<(), Failure> {
    let docs = root().join("docs");
    for file in files(&docs)?.into_iter().filter(|file| file.components().count() == 1) {
        take(&docs.join(&file), &stage.join(DOCUMENTS).join("docs").join(&file))?;
    }
    Ok(())
}

/// What was built from what, and where it runs.
fn about(program: &Path, source: &Source, compiler: &str) -> Result<String, Failure> {
    let version = program::version(program)?;
    let system =
        program::glibc(program)?.map_or_else(|| "Linux".into(), |glibc| format!("Linux with glibc {glibc} or newer"));
    Ok(format!(
        "Sahara {version}\n\
         commit:   {}\n\
         of:       {}\n\
         compiler: {compiler}\n\
         runs on:  {system}, x86-64-v3 (AVX2, BMI2 and FMA: made since 2013)\n\
         install:  docs/install.md\n",
        source.describe(),
        source.timestamp()
    ))
}

fn take(from: &Path, to: &Path) -> Result<(), Failure> {
    if from.is_dir() {
        return files(from)?.iter().try_for_each(|file| take(&from.join(file), &to.join(file)));
    }
    make_room(to)?;
    let bytes = std::fs::read(from).map_err(|error| doing("reading", from, &error))?;
    std::fs::write(to, bytes).map_err(|error| doing("writing", to, &error))
}

fn write(path: &Path, text: &str) -> Result<(), Failure> {
    make_room(path)?;
    std::fs::write(path, text).map_err(|error| doing("writing", path, &error))
}

fn make_room(path: &Path) -> Result<(), Failure> {
    let folder = path.parent().map_or_else(PathBuf::new, PathBuf::from);
    std::fs::create_dir_all(&folder).map_err(|error| doing("creating", &folder, &error))
}
