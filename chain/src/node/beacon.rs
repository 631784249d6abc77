//! The secret behind a validator's beacon chain on disk: 32 bytes as hexadecimal, readable by its owner only.

use std::path::Path;

use alloy_primitives::hex;
use zeroize::Zeroizing;

use super::{error::NodeError, file::write_secret};
use crate::beacon::Secret;

/// The file in a node's home.
pub const BEACON_FILE: &str = "beacon-secret";

/// The secret in `home`, if there is one: who does not validate needs none.
///
/// # Errors
/// When the file cannot be read, or is none of ours.
pub fn load_beacon(home: &Path) -> Result<Option<Secret>, NodeError> {
    let path = home.join(BEACON_FILE);
    let text = match std::fs::read_to_string(&path) {
        Ok(text) => Zeroizing::new(text),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(cause) => return Err(NodeError::File { doing: "read", path: path.display().to_string(), cause }),
    };
    let mut seed = Zeroizing::new([0; 32]);
    hex::decode_to_slice(text.trim(), seed.as_mut())
        .map_err(|e| NodeError::Setup(format!("{}: not a beacon secret ({e})", path.display())))?;
    Ok(Some(Secret::new(seed)))
}

/// The secret in `home`, which is made if there is none.
///
/// # Errors
/// When the file cannot be read or written, or is none of ours.
pub fn ensure_beacon(home: &Path) -> Result<Secret, NodeError> {
    if let Some(secret) = load_beacon(home)? {
        return Ok(secret);
    }
    let made = Secret::generate();
    let (seed, secret) = made.map_err(|e| NodeError::Setup(format!("the system gives no randomness: {e}")))?;
    let text = Zeroizing::new(hex::encode(seed.as_ref()));
    write_secret(&home.join(BEACON_FILE), "write the new beacon secret", text.as_bytes())?;
    Ok(secret)
}
