//! Files that are replaced in one step and survive a loss of power: written beside their place, made durable, moved there.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::Path;

/// Writes a file, whole or not at all. `open` makes the one beside it, where none is.
///
/// # Errors
/// When the file system refuses; nothing is left beside it then.
pub(crate) fn write(path: &Path, open: impl FnOnce(&Path) -> io::Result<File>, parts: &[&[u8]]) -> io::Result<()> {
    let partial = path.with_extension("partial");
    let _ = fs::remove_file(&partial); // of an earlier attempt, if any
    let write = || -> io::Result<()> {
        let mut file = open(&partial)?;
        parts.iter().try_for_each(|part| file.write_all(part))?;
        file.sync_all()?;
        fs::rename(&partial, path)
    };
    write().inspect_err(|_| {
        let _ = fs::remove_file(&partial); // what matters is the first error
    })
}
