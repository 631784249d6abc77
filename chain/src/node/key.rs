//! The embedded driver's validator key on disk: 32 bytes as hexadecimal, readable by its owner only.

use std::{fs::OpenOptions, io::Write, os::unix::fs::OpenOptionsExt, path::Path};

use alloy_primitives::hex;
use base64::{Engine, engine::general_purpose::STANDARD};
use ed25519_dalek::SigningKey;

use super::{KEY_FILE, NodeError};

/// A fresh key.
pub fn generate_key() -> Result<SigningKey, NodeError> {
    let mut seed = [0; 32];
    getrandom::fill(&mut seed).map_err(|e| NodeError::Setup(format!("the system gives no randomness: {e}")))?;
    Ok(SigningKey::from_bytes(&seed))
}

/// Writes `key` into `home`, where none is yet.
pub fn store_key(home: &Path, key: &SigningKey) -> Result<(), NodeError> {
    let path = home.join(KEY_FILE);
    let file = |cause| NodeError::File { doing: "write the new key", path: path.display().to_string(), cause };
    std::fs::create_dir_all(home).map_err(file)?;
    let mut open = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path).map_err(file)?;
    open.write_all(hex::encode(key.to_bytes()).as_bytes()).map_err(file)
}

/// The public key that signs the blocks of the validator in `home`, if there is one: the embedded driver's, or
/// CometBFT's.
pub fn validator_key(home: &Path) -> Result<Option<[u8; 32]>, NodeError> {
    if home.join(KEY_FILE).exists() {
        return load_key(home).map(|key| Some(key.verifying_key().to_bytes()));
    }
    let path = home.join("config/priv_validator_key.json");
    let name = path.display().to_string();
    let bytes = match std::fs::read(&path) {
        Ok(bytes) => bytes,
        Err(cause) if cause.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(cause) => return Err(NodeError::File { doing: "read", path: name, cause }),
    };
    /// Only what everybody may know is read.
    #[derive(serde::Deserialize)]
    struct File {
        pub_key: PublicKey,
    }
    #[derive(serde::Deserialize)]
    struct PublicKey {
        value: String,
    }
    let file: Option<File> = serde_json::from_slice(&bytes).ok();
    let key = file.and_then(|file| STANDARD.decode(file.pub_key.value).ok());
    let key = key.and_then(|key| <[u8; 32]>::try_from(key).ok());
    key.map(Some).ok_or_else(|| NodeError::Setup(format!("{name}: there is no ed25519 key in it")))
}

/// The key in `home`.
pub fn load_key(home: &Path) -> Result<SigningKey, NodeError> {
    let path = home.join(KEY_FILE);
    let text = std::fs::read_to_string(&path).map_err(|cause| NodeError::File {
        doing: "read",
        path: path.display().to_string(),
        cause,
    })?;
    let bytes: [u8; 32] = hex::decode_to_array(text.trim())
        .map_err(|e| NodeError::Setup(format!("{}: not a key ({e})", path.display())))?;
    Ok(SigningKey::from_bytes(&bytes))
}
