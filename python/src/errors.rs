//! The SDK's errors as exceptions of the package, in Python's words (`sahara/errors.py`).

use pyo3::prelude::*;
use sahara::error::{Blame, Error};

/// The exception of an error.
pub fn raised(error: Error) -> PyErr {
    let kind = match error.blame() {
        Blame::User => "InputError",
        Blame::Unreachable => "UnreachableError",
        Blame::Missing => "ModelNotFoundError",
        Blame::Changed => "ModelChangedError",
        Blame::Stopped => "StoppedError",
        Blame::Fault | Blame::Quiet => "FaultError",
    };
    let text = error.report();
    Python::attach(|py| {
        let made = py.import("sahara.errors").and_then(|errors| errors.call_method1("exception", (kind, text)));
        made.map_or_else(|failed| failed, PyErr::from_value)
    })
}
