//! The SDK's errors as exceptions of the package, in Python's words (`sahara/errors.py`).

use pyo3::prelude::*;
use sahara::error::{Error, ErrorKind};

pub use crate::advice::sentence;

/// The exception of an error of the SDK.
pub fn raised(error: Error) -> PyErr {
    let kind = match error.kind() {
        ErrorKind::Input | ErrorKind::Machine | ErrorKind::Unpaid => "InputError",
        ErrorKind::Unreachable => "UnreachableError",
        ErrorKind::Missing => "ModelNotFoundError",
        ErrorKind::Changed => "ModelChangedError",
        ErrorKind::Stopped => "StoppedError",
        _ => "FaultError",
    };
    exception(kind, &sentence(&error))
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
