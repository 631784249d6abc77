//! The models on this machine, and those that share nodes have for whoever uses it.

use std::path::PathBuf;

use pyo3::prelude::*;
use sahara::error::Result;
use sahara::home::Home;
use sahara::keys::Role;
use sahara::models::{ModelInfo, Origin, SharedStore, Store, owned_name};
use sahara::network::{self, Visibility};

use crate::errors::{input, raised, sentence};
use crate::job::Job;

/// A model on this machine.
#[derive(IntoPyObject)]
pub struct Here {
    /// What it is called by `connect`.
    name: String,
    source: String,
    bytes: u64,
    /// Whether the weights are here.
    whole: bool,
}

/// A model on the share nodes.
#[derive(IntoPyObject)]
struct Shared {
    name: String,
    version: u64,
    weights: &'static str,
}

impl From<ModelInfo> for Here {
    fn from(info: ModelInfo) -> Self {
        let bytes = info.files.iter().map(|file| file.bytes).sum();
        Self { name: info.name, source: info.source, bytes, whole: true }
    }
}

/// Brings a model in; the result is the model and whether it was here before.
#[pyfunction]
pub fn pull_model(
    model: String,
    name: Option<String>,
    source: Option<&str>,
    force: bool,
    home: Option<PathBuf>,
) -> PyResult<Job> {
    let origin = origin(source)?;
    Job::start("pulling the model", 0, move |work| {
        let store = Store::new(&Home::locate(home)?);
        let (info, was_here) = store.pull(&model, name.as_deref(), origin, force, &work.progress())?;
        Ok(Box::new(move |py: Python<'_>| (Here::from(info), was_here).into_pyobject(py).map(Bound::into_any)))
    })
}

/// The models on this machine: the user's own, and those of others.
#[pyfunction]
pub fn list_models(home: Option<PathBuf>) -> PyResult<Vec<Here>> {
    let list = || -> Result<Vec<Here>> {
        let home = Home::locate(home)?;
        let mut all: Vec<Here> = Store::new(&home).list()?.into_iter().map(Here::from).collect();
        all.extend(SharedStore::new(&home).list()?.into_iter().map(|info| Here {
            name: format!("{}/{}", info.owner, info.name),
            source: format!("shared by {}", info.owner),
            bytes: 0,
            whole: false,
        }));
        Ok(all)
    };
    list().map_err(raised)
}

/// Removes a model from this machine; the result is how many bytes that freed.
#[pyfunction]
pub fn remove_model(model: String, home: Option<PathBuf>) -> PyResult<Job> {
    Job::start("removing the model", 0, move |work| {
        let home = Home::locate(home)?;
        let (store, shared) = (Store::new(&home), SharedStore::new(&home));
        let another = match owned_name(&model)? {
            None if !store.has(&model) => shared.named(&model)?,
            owned => owned,
        };
        let (_, bytes) = match another {
            Some(which) => shared.remove(&which)?,
            None => store.remove(&model, &work.progress())?,
        };
        Ok(Box::new(move |py: Python<'_>| Ok(bytes.into_pyobject(py)?.into_any())))
    })
}

/// The models on the share nodes that this machine's user may ask; the result is a list.
#[pyfunction]
pub fn shared_models(committee: Option<PathBuf>, home: Option<PathBuf>) -> PyResult<Job> {
    Job::start("asking the nodes for models", 0, move |work| {
        let home = Home::locate(home)?;
        let listing = network::sharings(&home, committee.as_deref(), &[Role::Consumer])?;
        for error in &listing.silent {
            work.progress().note(&sentence(error));
        }
        let found = listing.sharings;
        Ok(Box::new(move |py: Python<'_>| {
            let entry = found.into_iter().map(|entry| Shared {
                name: format!("{}/{}", entry.owner, entry.name),
                version: entry.version,
                weights: if entry.visibility == Visibility::Open { "open" } else { "private" },
            });
            entry.collect::<Vec<_>>().into_pyobject(py)
        }))
    })
}

fn origin(source: Option<&str>) -> PyResult<Origin> {
    match source {
        None => Ok(Origin::Any),
        Some("hub") => Ok(Origin::Hub),
        Some("package") => Ok(Origin::Package),
        Some(other) => Err(input(&format!("source={other:?} is unknown: give \"hub\", \"package\" or nothing"))),
    }
}
