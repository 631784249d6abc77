//! The models that this machine can use: its own, kept whole in `models/<name>/` (`store`), and those of others, of
//! which only the client part is here (`shared`). This file says what a model is and what its name may mean.

mod changed;
pub mod client_part;
mod error;
mod fetch;
#[cfg(feature = "hub")]
mod hub;
mod incoming;
mod origin;
#[cfg(feature = "hub")]
mod package;
mod pinned;
mod shared;
mod store;

use std::fs;
use std::path::{Path, PathBuf};

use sahara_circuits::model::CompiledModel;
use sahara_mpc::client::{SharingRef, Visibility};
use serde::{Deserialize, Serialize};

pub use changed::changed;
#[cfg(feature = "float")]
pub(crate) use changed::check as check_unchanged;
pub use error::{DownloadError, StoreError};
pub use fetch::FetchedFile;
pub use origin::Origin;
pub use pinned::{DEFAULT_MODEL, PINNED, PinnedFile, PinnedModel, pinned};
pub use shared::{SharedInfo, SharedStore};
pub use store::Store;

use crate::error::{Error, Result};
use crate::home::Home;
use crate::progress::Progress;

/// Version of `source.json`.
const SOURCE_FORMAT: u32 = 1;

/// What is known of a model on this machine (`source.json`).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ModelInfo {
    /// Version of this file's format.
    pub format: u32,
    /// Name of the model.
    pub name: String,
    /// Where the files came from.
    pub source: String,
    /// The files and their digests.
    pub files: Vec<FetchedFile>,
}

impl ModelInfo {
    /// Refuses a model that was made here of others, and has no files of its own.
    pub(crate) fn check_files(&self) -> Result<(), StoreError> {
        match self.files.is_empty() {
            true => Err(StoreError::NoFiles { name: self.name.clone(), origin: self.source.clone() }),
            false => Ok(()),
        }
    }
}

/// A compiled model, ready for use.
pub struct Model {
    /// What is known of it.
    pub info: ModelInfo,
    /// Its folder.
    pub folder: PathBuf,
    /// Integer graphs, weights and the client's part.
    pub compiled: CompiledModel,
    /// Whose sharing it is used through, when it is not the local user's own; then the weights are not here.
    pub shared: Option<SharedModel>,
}

/// Somebody else's model on share nodes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SharedModel {
    /// Which sharing.
    pub which: SharingRef,
    /// Whether its owner lets the nodes know the weights.
    pub visibility: Visibility,
}

/// Opens a model for use on the share nodes: one of this machine by its name, or somebody else's as `OWNER/NAME` (its
/// client part is fetched when it is not here).
///
/// # Errors
/// When there is no such model for this machine's user.
pub fn open(home: &Home, name: &str, committee: Option<&Path>, progress: &Progress) -> Result<Model> {
    let which = match shared_name(home, name)? {
        Some(which) => which,
        None => {
            let store = Store::new(home);
            if let (Some(committee), false) = (committee, store.has(name)) {
                return Err(not_here(name, committee));
            }
            return store.open(name, progress);
        }
    };
    let committee = crate::network::committee(home, committee)?;
    SharedStore::new(home).open(&which, &committee, progress).map(|(model, _)| model)
}

/// Whoever asks a committee means one of its models, more often than one that is still to be pulled.
fn not_here(name: &str, committee: &Path) -> Error {
    StoreError::NotHere { name: name.to_owned(), committee: Some(committee.to_owned()) }.into()
}

/// Opens a model to compute here in the clear.
///
/// # Errors
/// When it is not here with its weights.
pub fn open_whole(home: &Home, name: &str, progress: &Progress) -> Result<Model> {
    match shared_name(home, name)? {
        Some(which) => Err(StoreError::NoWeights(which).into()),
        None => Store::new(home).open(name, progress),
    }
}

/// What a name means if it is somebody else's model: an owner and a name, a manifest, or a name that only one of the
/// models of others has.
fn shared_name(home: &Home, name: &str) -> Result<Option<SharingRef>> {
    if let Some(which) = owned_name(name)? {
        return Ok(Some(which));
    }
    if let Ok(id) = name.parse() {
        return Ok(Some(SharingRef::Manifest(id)));
    }
    // People take a known name for the model whose digests the program knows: nobody else's answers to it.
    if Store::new(home).has(name) || pinned(name).is_some() {
        return Ok(None);
    }
    SharedStore::new(home).named(name)
}

/// OWNER/NAME of somebody else's model, if a name is of that form; a known model may have its hub's name.
///
/// # Errors
/// When it has a slash and is none.
pub fn owned_name(name: &str) -> Result<Option<SharingRef>> {
    if !name.contains('/') || pinned::pinned(name).is_some() {
        return Ok(None);
    }
    name.parse().map(Some).map_err(|why| StoreError::NotOwned { name: name.to_owned(), why }.into())
}

fn bytes_below(folder: &Path) -> u64 {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries
        .filter_map(|entry| Some((entry.path(), entry.metadata().ok()?)))
        .map(|(path, about)| if about.is_dir() { bytes_below(&path) } else { about.len() })
        .sum()
}

fn check_name(name: &str) -> Result<()> {
    let good = !name.is_empty()
        && name.len() <= 64
        && !name.starts_with(['.', '-'])
        && name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-'));
    if good { Ok(()) } else { Err(StoreError::Name(name.to_owned()).into()) }
}

fn known_models() -> Vec<&'static str> {
    PINNED.iter().map(|model| model.name).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_cannot_leave_the_folder() {
        for name in ["", "..", "../x", "a/b", ".hidden", "-x", "ä"] {
            assert!(check_name(name).is_err(), "{name}");
        }
        assert!(check_name("all-MiniLM-L6-v2").is_ok());
    }

    #[test]
    fn whoever_asks_a_committee_for_a_model_that_is_not_here_hears_of_its_models() {
        let folder = tempfile::tempdir().unwrap();
        let home = Home::locate(Some(folder.path().to_owned())).unwrap();
        let open = |committee| open(&home, pinned::PINNED[0].name, committee, &Progress::silent()).err().unwrap();
        let error = open(Some(Path::new("c.toml")));
        let committee_of = |error| match error {
            Error::Store(StoreError::NotHere { committee, .. }) => committee,
            other => panic!("{other}"),
        };
        assert_eq!(committee_of(error), Some("c.toml".into()));
        assert_eq!(committee_of(open(None)), None);
    }

    #[test]
    fn a_name_with_a_slash_is_an_owners_or_a_known_models_of_the_hub() {
        let key = "11".repeat(32);
        assert!(matches!(owned_name(&format!("{key}/mine")), Ok(Some(SharingRef::Named(..)))));
        for name in ["mine", "sentence-transformers/all-MiniLM-L6-v2", "Sentence-Transformers/all-minilm-l6-v2"] {
            assert_eq!(owned_name(name).unwrap(), None, "{name}");
        }
        let error = owned_name("cross-encoder/other").unwrap_err();
        assert!(
            matches!(&error, Error::Store(StoreError::NotOwned { name, .. }) if name == "cross-encoder/other"),
            "{error}"
        );
    }
}
