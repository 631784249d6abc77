//! The tarball and its sums, by the system's own tools, so that the same files give the same bytes.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::source::Source;
use super::{doing, files};
use crate::Failure;
use crate::process::{output, run, succeeds};

/// Sums of all other files, within the prefix.
pub const SUMS: &str = "share/doc/sahara/SHA256SUMS";

/// Whether everything is here that packs.
pub fn check_tools() -> Result<(), Failure> {
    for (tool, package) in [("tar", "tar"), ("gzip", "gzip"), ("sha256sum", "coreutils"), ("strip", "binutils")] {
        if !succeeds(tool, &["--version"]) {
            return Err(Failure::user(format!("{tool} is missing: install the package {package}")));
        }
    }
    Ok(())
}

/// Writes the sums of all files of a stage into it, in the form of `sha256sum`.
pub fn sums(stage: &Path) -> Result<(), Failure> {
    let text = output(Command::new("sha256sum").arg("--").args(files(stage)?).current_dir(stage))?;
    let path = stage.join(SUMS);
    std::fs::write(&path, text).map_err(|error| doing("writing", &path, &error))
}

/// Packs a stage into a tarball beside it, whose sum lies beside that.
pub fn pack(stage: &Path, source: &Source) -> Result<PathBuf, Failure> {
    let (Some(folder), Some(name)) = (stage.parent(), stage.file_name().and_then(|name| name.to_str())) else {
        return Err(Failure::fault(format!("{} is no stage", stage.display())));
    };
    let tarball = folder.join(format!("{name}.tar.gz"));
    let file = std::fs::File::create(&tarball).map_err(|error| doing("writing", &tarball, &error))?;
    let mut tar = Command::new("tar")
        .args(["--create", "--format=ustar", "--sort=name", "--owner=0", "--group=0", "--numeric-owner"])
        .args(["--mode=u=rwX,go=rX", &format!("--mtime=@{}", source.time), "--", name])
        .current_dir(folder)
        .env("LC_ALL", "C")
        .stdout(Stdio::piped())
        .spawn()
        .map_err(|error| Failure::fault(format!("could not start tar: {error}")))?;
    let piped = tar.stdout.take().ok_or_else(|| Failure::fault("tar has no output"))?;
    run(Command::new("gzip").args(["-9", "--no-name"]).env_remove("GZIP").stdin(piped).stdout(file))?;
    if !tar.wait().is_ok_and(|status| status.success()) {
        return Err(Failure::fault("tar failed; what it said is above"));
    }
    let sum = output(Command::new("sha256sum").arg(format!("{name}.tar.gz")).current_dir(folder))?;
    let beside = folder.join(format!("{name}.tar.gz.sha256"));
    std::fs::write(&beside, sum).map_err(|error| doing("writing", &beside, &error))?;
    Ok(tarball)
}

/// Unpacks a tarball into a prefix, as docs/install.md says.
pub fn unpack(tarball: &Path, prefix: &Path) -> Result<(), Failure> {
    run(Command::new("tar")
        .args(["--extract", "--gzip", "--strip-components=1", "--no-same-owner", "--no-overwrite-dir", "--file"])
        .arg(tarball)
        .arg("--directory")
        .arg(prefix))
}

/// Compares the sums in a prefix with its files; how many there are. No file may be without a sum.
pub fn verify(prefix: &Path) -> Result<usize, Failure> {
    run(Command::new("sha256sum").args(["--check", "--strict", "--quiet", SUMS]).current_dir(prefix))?;
    let path = prefix.join(SUMS);
    let text = std::fs::read_to_string(&path).map_err(|error| doing("reading", &path, &error))?;
    let summed: Vec<&str> = text.lines().filter_map(|line| line.get(66..)).collect();
    for file in files(prefix)? {
        let name = file.display().to_string();
        if name != SUMS && !summed.contains(&name.as_str()) {
            return Err(Failure::fault(format!("{name} is in the tarball and not in {SUMS}")));
        }
    }
    Ok(summed.len())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    /// The same files, whenever and by whom they were written, are the same bytes; another file or a changed one is seen.
    #[test]
    fn the_same_files_are_the_same_tarball() {
        let folder = std::env::temp_dir().join(format!("sahara-dist-{}", std::process::id()));
        let source = Source { commit: "c".into(), changed: false, time: 1_700_000_000 };
        let made = |place: &str, first: &str, second: &str| {
            let stage = folder.join(place).join("sahara-1");
            super::super::empty(&stage.join("share/doc/sahara")).unwrap();
            for name in [first, second] {
                std::fs::write(stage.join(name), name).unwrap();
            }
            sums(&stage).unwrap();
            pack(&stage, &source).unwrap()
        };
        let (one, two) = (made("1", "a", "b"), made("2", "b", "a"));
        assert_eq!(std::fs::read(&one).unwrap(), std::fs::read(&two).unwrap());
        let prefix = folder.join("prefix");
        super::super::empty(&prefix).unwrap();
        // A folder that was there before keeps its mode.
        let share = prefix.join("share");
        std::fs::create_dir(&share).unwrap();
        std::fs::set_permissions(&share, std::fs::Permissions::from_mode(0o700)).unwrap();
        unpack(&one, &prefix).unwrap();
        assert_eq!(share.metadata().unwrap().permissions().mode() & 0o7777, 0o700);
        assert_eq!(verify(&prefix).unwrap(), 2);
        std::fs::write(prefix.join("more"), "x").unwrap();
        assert!(verify(&prefix).unwrap_err().message.contains("more"));
        std::fs::remove_file(prefix.join("more")).unwrap();
        std::fs::write(prefix.join("a"), "x").unwrap();
        assert!(verify(&prefix).is_err());
        std::fs::remove_dir_all(&folder).unwrap();
    }
}
