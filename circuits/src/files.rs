//! Reading files of others: never more of them than there is room for.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::Path;

/// A whole file; nothing if it is larger than `most` bytes.
///
/// # Errors
/// When it cannot be read.
pub(crate) fn read_at_most(path: &Path, most: u64) -> io::Result<Option<Vec<u8>>> {
    let file = File::open(path)?;
    let len = file.metadata()?.len();
    let mut bytes = Vec::new();
    if len > most {
        return Ok(None);
    }
    bytes.reserve_exact(len as usize);
    file.take(most.saturating_add(1)).read_to_end(&mut bytes)?;
    Ok((bytes.len() as u64 <= most).then_some(bytes))
}
