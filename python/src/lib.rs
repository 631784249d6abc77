//! The native part of the Python package `sahara`: the SDK as a module that Python loads.
//!
//! Whatever takes long is a `job::Job` with a thread of its own, which holds no lock of Python's; the Python side
//! (`sahara/`) waits for it, shows how far it is and stops it. Here are only the parts that need the SDK:
//!
//! * `job`: work that goes on beside Python;
//! * `session`: a model and the engine that answers for it;
//! * `models`: the models on this machine and on the share nodes;
//! * `errors`: the SDK's errors as Python's exceptions, with `advice` in Python's words.

#![forbid(unsafe_code)]
#![allow(unnameable_types)] // Python names them; no other crate is built on this one

mod advice;
mod errors;
mod job;
mod models;
mod session;

use std::path::PathBuf;

use pyo3::prelude::*;
use sahara::error::Result;
use sahara::home::Home;
use sahara::keys::{self, Role};

/// What `sahara/` imports.
#[pymodule(name = "_native")]
mod native {
    #[pymodule_export]
    use super::job::Job;
    #[pymodule_export]
    use super::models::{list_models, pull_model, remove_model, shared_models};
    #[pymodule_export]
    use super::session::Session;
    #[pymodule_export]
    use super::whoami;

    /// Version of the SDK.
    #[pymodule_export]
    const VERSION: &str = env!("CARGO_PKG_VERSION");
    /// The model that is meant when none is named.
    #[pymodule_export]
    const DEFAULT_MODEL: &str = sahara::models::DEFAULT_MODEL;
}

/// The key that questions are asked with, and the key that models are shared with; made if there are none.
#[pyfunction]
fn whoami(home: Option<PathBuf>) -> PyResult<(String, String)> {
    let keys = || -> Result<(String, String)> {
        let home = Home::locate(home)?;
        let key = |role| -> Result<String> { Ok(keys::load(&home, role)?.public().to_string()) };
        Ok((key(Role::Consumer)?, key(Role::Owner)?))
    };
    keys().map_err(errors::raised)
}
