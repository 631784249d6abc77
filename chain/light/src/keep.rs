//! The newest verified header, kept in a file of the caller's: whoever starts again begins there and not at the anchor,
//! which may be too old by then. The file is believed as the anchor is; it belongs where the anchor is.

use std::{
    fs, io,
    io::Write,
    path::{Path, PathBuf},
    sync::atomic::{AtomicU32, Ordering},
};

use alloy_primitives::B256;
use serde::{Deserialize, Serialize};

use crate::{
    anchor::Anchor,
    headers::{LightBlock, MAX_BLOCK_BYTES, Rules, Untrusted, Verified},
};

/// Version of the file.
const VERSION: u32 = 1;
/// Bytes of a file: hexadecimal has two letters a byte.
const MAX_FILE: u64 = 2 * MAX_BLOCK_BYTES as u64 + 4_096;

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct Kept {
    sahara_header: u32,
    /// The anchor that it follows from.
    anchor: B256,
    height: u64,
    hash: B256,
    block: LightBlock,
}

/// The header in the file at `path`; nothing if there is no file, or it is of another anchor, another version or damaged:
/// then the way begins at the anchor.
pub fn load(path: &Path, anchor: &Anchor, rules: &Rules) -> Option<Verified> {
    if fs::metadata(path).ok()?.len() > MAX_FILE {
        return None;
    }
    let kept: Kept = serde_json::from_slice(&fs::read(path).ok()?).ok()?;
    if kept.sahara_header != VERSION || kept.anchor != anchor.hash {
        return None;
    }
    Verified::trusting(rules, Untrusted::read(kept.block).ok()?, kept.height, kept.hash).ok()
}

/// Puts `header` into the file at `path`, whole or not at all, unless a newer one is there. Several processes may do so at once.
pub fn store(path: &Path, anchor: &Anchor, rules: &Rules, header: &Verified) -> io::Result<()> {
    if load(path, anchor, rules).is_some_and(|known| known.height() >= header.height()) {
        return Ok(());
    }
    let kept = Kept {
        sahara_header: VERSION,
        anchor: anchor.hash,
        height: header.height(),
        hash: header.hash(),
        block: header.block().clone(),
    };
    let draft = draft(path);
    let written = write(&draft, &serde_json::to_vec(&kept)?).and_then(|()| fs::rename(&draft, path));
    if written.is_err() {
        // What is left of it is of no use; that it cannot be removed changes nothing.
        let _ = fs::remove_file(&draft);
    }
    written
}

/// A name that no other thread and no other process writes to: a draft that two share is neither's header.
fn draft(path: &Path) -> PathBuf {
    static DRAFTS: AtomicU32 = AtomicU32::new(0);
    let number = DRAFTS.fetch_add(1, Ordering::Relaxed);
    path.with_extension(format!("{}-{number}.draft", std::process::id()))
}

fn write(draft: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = fs::File::create(draft)?;
    file.write_all(bytes)?;
    file.sync_all()
}
