//! Files of models: read no further than there is room for, and made to last.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::Path;

/// Most bytes of a tokenizer, of somebody else's and in a folder of Hugging Face's.
pub(crate) const MAX_TOKENIZER: u64 = 64 << 20;

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

/// Makes the names in a folder last through a loss of power; that of a bare name is the current one.
///
/// # Errors
/// When the file system refuses.
pub(crate) fn sync_dir(dir: &Path) -> io::Result<()> {
    let dir = if dir == Path::new("") { Path::new(".") } else { dir };
    File::open(dir)?.sync_all()
}
