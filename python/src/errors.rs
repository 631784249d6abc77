//! The SDK's errors as exceptions of the package, in Python's words (`sahara/errors.py`).

use pyo3::prelude::*;
use sahara::error::{Blame, Error};

/// The exception of an error of the SDK.
pub fn raised(error: Error) -> PyErr {
    let kind = match error.blame() {
        Blame::User => "InputError",
        Blame::Unreachable => "UnreachableError",
        Blame::Missing => "ModelNotFoundError",
        Blame::Changed => "ModelChangedError",
        Blame::Stopped => "StoppedError",
        Blame::Fault | Blame::Quiet => "FaultError",
    };
    exception(kind, &sentence(&error))
}

/// What it says.
pub fn sentence(error: &Error) -> String {
    error.report()
}

/// An argument is not as it has to be.
pub fn input(text: &str) -> PyErr {
    exception("InputError", text)
}

/// What should not have happened.
pub fn fault(text: &str) -> PyErr {
    exception("FaultError", text)
}

fn exception(kind: &str, text: &str) -> PyErr {
    Python::attach(|py| {
        let made = py.import("sahara.errors").and_then(|errors| errors.call_method1("exception", (kind, text)));
        made.map_or_else(|failed| failed, PyErr::from_value)
    })
}
