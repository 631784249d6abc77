//! The embedded driver's validator key on disk: 32 bytes as hexadecimal, readable by its owner only.

use std::path::Path;

use alloy_primitives::hex;
use base64::{Engine, engine::general_purpose::STANDARD};
use ed25519_dalek::SigningKey;
use zeroize::Zeroizing;

use super::{config::KEY_FILE, error::NodeError, file::write_secret};

/// The key in `home`, which is made if there is none.
///
/// # Errors
/// When the file cannot be read or written, or is no key.
pub fn ensure_key(home: &Path) -> Result<SigningKey, NodeError> {
    if home.join(KEY_FILE).exists() {
        return load_key(home);
    }
    let mut seed = Zeroizing::new([0; 32]);
    getrandom::fill(seed.as_mut()).map_err(|e| NodeError::Setup(format!("the system gives no randomness: {e}")))?;
    let text = Zeroizing::new(hex::encode(seed.as_ref()));
    write_secret(&home.join(KEY_FILE), "write the new key", text.as_bytes())?;
    Ok(SigningKey::from_bytes(&seed))
}

/// The public key that signs the blocks of the validator in `home`, if there is one: the embedded driver's, or
/// CometBFT's.
///
/// # Errors
/// When the file cannot be read, or is no key.
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
    struct KeyFile {
        pub_key: PublicKey,
    }
    #[derive(serde::Deserialize)]
    struct PublicKey {
        value: String,
    }
    let file: Option<KeyFile> = serde_json::from_slice(&bytes).ok();
    let key = file.and_then(|file| STANDARD.decode(file.pub_key.value).ok());
    let key = key.and_then(|key| <[u8; 32]>::try_from(key).ok());
    key.map(Some).ok_or_else(|| NodeError::Setup(format!("{name}: there is no ed25519 key in it")))
}

/// The key in `home`.
///
/// # Errors
/// When there is none, the file cannot be read, or is no key.
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
