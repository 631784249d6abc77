//! Which database keeps a node's tables on disk.

use std::{
    fmt,
    path::{Path, PathBuf},
    sync::Arc,
};

use serde::{Deserialize, Serialize};

#[cfg(feature = "rocksdb")]
use super::rocksdb::RocksStore;
use super::{
    Store,
    redb::{self, RedbStore},
};
use crate::error::StoreError;

/// A database.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Engine {
    /// Part of this program.
    #[default]
    Redb,
    /// The distribution's RocksDB, in programs that are built with the feature `rocksdb`.
    Rocksdb,
}

impl fmt::Display for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Redb => "redb",
            Self::Rocksdb => "rocksdb",
        })
    }
}

/// Why a database is not opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// The program has no such database.
    #[error(
        "this program was built without {0}: build it with `--features {0}` (docs/validators.md), or use \
         engine = \"redb\" under [store] in chain.toml"
    )]
    NotBuilt(Engine),
    /// Another database made the files.
    #[error(
        "{folder} holds the files of {found}, but chain.toml asks for {wanted}: use engine = \"{found}\" under \
         [store], or restore a snapshot (`sahara chain snapshot restore --home HOME`), which begins anew with {wanted}"
    )]
    Another {
        /// Where.
        folder: PathBuf,
        /// Whose files they are.
        found: Engine,
        /// What was asked for.
        wanted: Engine,
    },
    /// The database refuses, or is damaged.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Engine {
    /// Those that this program has.
    pub fn built() -> &'static [Self] {
        if cfg!(feature = "rocksdb") { &[Self::Redb, Self::Rocksdb] } else { &[Self::Redb] }
    }

    /// Whether this program has it.
    ///
    /// # Errors
    /// It has not.
    pub fn check(self) -> Result<(), OpenError> {
        match Self::built().contains(&self) {
            true => Ok(()),
            false => Err(OpenError::NotBuilt(self)),
        }
    }

    /// The database whose files are in `folder`.
    fn of(folder: &Path) -> Option<Self> {
        if folder.join(redb::FILE).exists() {
            return Some(Self::Redb);
        }
        // The folder's name, also in programs that cannot open it.
        folder.join("rocksdb").exists().then_some(Self::Rocksdb)
    }

    /// Opens the store in `folder`, or makes an empty one there.
    ///
    /// # Errors
    /// The program has no such database, another one made the files, or this one refuses them.
    pub fn open(self, folder: &Path) -> Result<Arc<dyn Store>, OpenError> {
        self.check()?;
        if let Some(found) = Self::of(folder).filter(|found| *found != self) {
            return Err(OpenError::Another { folder: folder.to_owned(), found, wanted: self });
        }
        match self {
            Self::Redb => Ok(Arc::new(RedbStore::open(folder)?)),
            #[cfg(feature = "rocksdb")]
            Self::Rocksdb => Ok(Arc::new(RocksStore::open(folder)?)),
            #[cfg(not(feature = "rocksdb"))]
            Self::Rocksdb => Err(OpenError::NotBuilt(self)),
        }
    }
}

/// Whether a process has the store in `folder` open, as a running node does.
pub fn is_in_use(folder: &Path) -> bool {
    #[cfg(feature = "rocksdb")]
    if RocksStore::is_in_use(folder) {
        return true;
    }
    RedbStore::is_in_use(folder)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_another_database_made_is_refused_by_name() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path();
        drop(Engine::Redb.open(path).unwrap());
        let refused = Engine::Rocksdb.open(path).map(drop).unwrap_err();
        match cfg!(feature = "rocksdb") {
            true => assert!(matches!(refused, OpenError::Another { found: Engine::Redb, .. }), "{refused}"),
            false => assert!(matches!(refused, OpenError::NotBuilt(Engine::Rocksdb)), "{refused}"),
        }
        std::fs::rename(path.join(redb::FILE), path.join("rocksdb")).unwrap();
        let refused = Engine::Redb.open(path).map(drop).unwrap_err();
        assert!(matches!(refused, OpenError::Another { found: Engine::Rocksdb, .. }), "{refused}");
        assert!(refused.to_string().contains("use engine = \"rocksdb\" under [store]"), "{refused}");
    }

    #[cfg(feature = "rocksdb")]
    #[test]
    fn the_name_of_the_folder_is_that_of_the_store() {
        assert_eq!(crate::store::rocksdb::FOLDER, "rocksdb");
    }

    #[test]
    fn a_database_that_is_open_is_in_use() {
        for engine in Engine::built() {
            let folder = tempfile::tempdir().unwrap();
            assert!(!is_in_use(folder.path()), "{engine}");
            let open = engine.open(folder.path()).unwrap();
            assert!(is_in_use(folder.path()), "{engine}");
            assert!(engine.open(folder.path()).is_err(), "{engine}: twice");
            let reader = open.reader().unwrap();
            drop(open);
            drop(reader);
            assert!(!is_in_use(folder.path()), "{engine}");
        }
    }
}
