//! A model by its name, and where it is asked: the shortest way to an engine.

use std::path::PathBuf;
use std::sync::Arc;

use crate::embedding::PlainEngine;
use crate::error::Result;
use crate::home::Home;
use crate::models;
use crate::network::{NetworkEngine, NetworkOptions};
use crate::progress::Progress;

/// A model that is not open yet, as [`model`] names it. Nothing is read or sent before one of the last four functions.
#[derive(Clone, Debug)]
pub struct NamedModel {
    name: String,
    home: Option<PathBuf>,
    committee: Option<PathBuf>,
    options: NetworkOptions,
    progress: Progress,
}

/// Names a model: one of this machine by its name there, somebody else's as `OWNER/NAME`, or one version of it by the id
/// of its manifest.
pub fn model(name: impl Into<String>) -> NamedModel {
    NamedModel {
        name: name.into(),
        home: None,
        committee: None,
        options: NetworkOptions::default(),
        progress: Progress::silent(),
    }
}

impl NamedModel {
    /// The folder of models and keys; left out, it is `$SAHARA_HOME`, or `~/.sahara`.
    #[must_use]
    pub fn home(mut self, folder: impl Into<PathBuf>) -> Self {
        self.home = Some(folder.into());
        self
    }

    /// The committee's file, which its operators give away; left out, it is that of the local network of `devnet up`.
    #[must_use]
    pub fn committee(mut self, file: impl Into<PathBuf>) -> Self {
        self.committee = Some(file.into());
        self
    }

    /// How the share nodes compute; left out: exactly, on private weights, as many texts at once as this machine has use for.
    #[must_use]
    pub fn options(mut self, options: NetworkOptions) -> Self {
        self.options = options;
        self
    }

    /// Who hears of what takes long (compiling, handing a model over); left out, nobody.
    #[must_use]
    pub fn progress(mut self, progress: Progress) -> Self {
        self.progress = progress;
        self
    }

    /// Opens it on three share nodes, of which none learns a text. Somebody else's is asked without its weights ever being
    /// here; one of this machine's is handed to the nodes, under this home's key, with the first question.
    ///
    /// # Errors
    /// When there is no such model or committee, a key cannot be read, or a node is not reached or does not admit the key.
    pub fn connect(&self) -> Result<NetworkEngine> {
        let (home, committee) = (self.place()?, self.committee.as_deref());
        let model = models::open(&home, &self.name, committee, &self.progress)?;
        NetworkEngine::connect(&home, committee, Arc::new(model), self.options.clone(), &self.progress)
    }

    /// Opens it to compute on this machine in the clear, on all its cores: the same integers, bit for bit, as of the share
    /// nodes in exact mode.
    ///
    /// # Errors
    /// When it is not here with its weights.
    pub fn local(&self) -> Result<PlainEngine> {
        let model = models::open_whole(&self.place()?, &self.name, &self.progress)?;
        Ok(PlainEngine::new(Arc::new(model), 0))
    }

    /// As [`NamedModel::connect`], for async code.
    ///
    /// # Errors
    /// As there.
    #[cfg(feature = "async")]
    pub async fn connect_async(&self) -> Result<crate::asynchronous::AsyncEngine> {
        let named = self.clone();
        crate::asynchronous::run(move |_| named.connect()).await.map(crate::asynchronous::AsyncEngine::new)
    }

    /// As [`NamedModel::local`], for async code.
    ///
    /// # Errors
    /// As there.
    #[cfg(feature = "async")]
    pub async fn local_async(&self) -> Result<crate::asynchronous::AsyncEngine> {
        let named = self.clone();
        crate::asynchronous::run(move |_| named.local()).await.map(crate::asynchronous::AsyncEngine::new)
    }

    fn place(&self) -> Result<Home> {
        Home::locate(self.home.clone())
    }
}

#[cfg(test)]
mod tests {
    use sahara_circuits::testmodel::TestModel;

    use super::*;
    use crate::embedding::embed_all;
    use crate::error::{Error, NetworkError, StoreError};
    use crate::models::{Origin, Store};

    #[test]
    fn a_model_is_opened_by_its_name_here_and_what_is_missing_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let (folder, home) = (dir.path().join("folder"), dir.path().join("home"));
        let mine = model("mine").home(&home);
        assert!(matches!(mine.local(), Err(Error::Store(StoreError::NotHere { name, .. })) if name == "mine"));
        TestModel::default().write(&folder, 1).unwrap();
        let store = Store::new(&Home::locate(Some(home)).unwrap());
        let folder = folder.display().to_string();
        store.pull(&folder, Some("mine"), Origin::Any, false, &Progress::silent()).unwrap();
        let answers = embed_all(&mine.local().unwrap(), &["hello", "world"]).unwrap();
        assert!(answers.len() == 2 && answers[0].vector.len() == 32 && answers[0].vector != answers[1].vector);
        let alone = mine.connect().err().unwrap();
        let Error::Network(alone) = alone else { panic!("{alone}") };
        assert!(matches!(*alone, NetworkError::NoCommittee { .. }), "{alone}");
        let elsewhere = mine.committee(dir.path().join("none.toml")).connect().err().unwrap();
        let Error::Network(elsewhere) = elsewhere else { panic!("{elsewhere}") };
        assert!(matches!(*elsewhere, NetworkError::Committee(_)), "{elsewhere}");
    }
}
