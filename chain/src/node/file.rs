//! Files of a home, with errors that say which.

use std::path::Path;

use super::error::NodeError;
use crate::durable;

/// Writes a file and the folders above it, as `durable::write` does.
///
/// # Errors
/// The place cannot be written.
pub fn write(path: &Path, bytes: &[u8]) -> Result<(), NodeError> {
    durable::write(path, bytes).map_err(|cause| NodeError::File {
        doing: "write",
        path: path.display().to_string(),
        cause,
    })
}

/// Writes a file that only its owner can read, as [`durable::write_secret`] does.
///
/// # Errors
/// There is a file already, or the place cannot be written.
pub fn write_secret(path: &Path, doing: &'static str, bytes: &[u8]) -> Result<(), NodeError> {
    durable::write_secret(path, bytes).map_err(|cause| NodeError::File {
        doing,
        path: path.display().to_string(),
        cause,
    })
}
