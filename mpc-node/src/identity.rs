//! Who a node or a consumer is: one Ed25519 key, used for mutual TLS and for signing transcripts.
//!
//! The public key is the name: peers are pinned by it, there are no certificate authorities.

use std::fmt;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use ed25519_dalek::{Signature, Signer, SigningKey, VerifyingKey};
use sahara_circuits::bytes::{hex, unhex};
use thiserror::Error;
use zeroize::Zeroizing;

use crate::durable;

const FILE_PREFIX: &str = "sahara-ed25519-v1:";

/// A key file that cannot be used.
#[derive(Debug, Error)]
pub enum IdentityError {
    /// The file system refuses.
    #[error("cannot {action} key file {}: {source}", path.display())]
    Io {
        /// `read` or `write`.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// Not a key of this format.
    #[error("{} is not a Sahara key file (one line, `sahara-ed25519-v1:` and 64 hexadecimal digits)", .0.display())]
    Format(PathBuf),
    /// Other users may read the key.
    #[error("key file {path} can be read by other users: run `chmod 600 {path}`", path = .0.display())]
    Permissions(PathBuf),
    /// No randomness from the operating system.
    #[error("the operating system gives no random bytes: {0}")]
    Random(getrandom::Error),
}

/// The public half: names a node or a consumer.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PublicKey(pub [u8; 32]);

impl PublicKey {
    /// Whether `signature` on `message` was made by the holder of this key.
    pub fn verifies(&self, message: &[u8], signature: &[u8; 64]) -> bool {
        VerifyingKey::from_bytes(&self.0)
            .and_then(|key| key.verify_strict(message, &Signature::from_bytes(signature)))
            .is_ok()
    }
}

impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex(&self.0))
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PublicKey({self})")
    }
}

impl FromStr for PublicKey {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        unhex(text.trim()).map(Self).ok_or_else(|| format!("`{text}` is not a public key (64 hexadecimal digits)"))
    }
}

/// The secret half. Wiped from memory when dropped, never printed.
pub struct Identity(SigningKey);

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Identity({})", self.public())
    }
}

impl Identity {
    /// The public half.
    pub fn public(&self) -> PublicKey {
        PublicKey(self.0.verifying_key().to_bytes())
    }

    /// Signs a message.
    pub fn sign(&self, message: &[u8]) -> [u8; 64] {
        self.0.sign(message).to_bytes()
    }

    /// Writes a new key file, readable by its owner only; refuses to overwrite.
    ///
    /// # Errors
    /// When the file exists or cannot be written.
    pub fn save(&self, path: &Path) -> Result<(), IdentityError> {
        let line = Zeroizing::new(format!("{FILE_PREFIX}{}\n", *Zeroizing::new(hex(self.0.as_bytes()))));
        durable::create(path, |file| file.write_all(line.as_bytes())).map_err(|source| IdentityError::Io {
            action: "write",
            path: path.into(),
            source,
        })
    }

    /// The key as PKCS#8, for TLS.
    pub(crate) fn pkcs8(&self) -> Zeroizing<Vec<u8>> {
        // OneAsymmetricKey version 0, algorithm 1.3.101.112, an octet string in an octet string (RFC 8410).
        let mut der = Zeroizing::new(vec![0x30, 0x2e, 2, 1, 0, 0x30, 5, 6, 3, 0x2b, 0x65, 0x70, 4, 0x22, 4, 0x20]);
        der.extend_from_slice(self.0.as_bytes());
        der
    }
}

/// The identity with this secret: for keys that are passed on inside something that is sealed.
pub fn from_secret(secret: &[u8; 32]) -> Identity {
    Identity(SigningKey::from_bytes(secret))
}

/// A new identity from the operating system's randomness.
///
/// # Errors
/// When the operating system gives no randomness.
pub fn generate() -> Result<Identity, IdentityError> {
    let mut secret = Zeroizing::new([0; 32]);
    getrandom::fill(secret.as_mut()).map_err(IdentityError::Random)?;
    Ok(Identity(SigningKey::from_bytes(&secret)))
}

/// Reads a key file.
///
/// # Errors
/// When the file cannot be read, is not a key file, or others than its owner may read it.
pub fn load(path: &Path) -> Result<Identity, IdentityError> {
    let io = |source| IdentityError::Io { action: "read", path: path.into(), source };
    let metadata = std::fs::metadata(path).map_err(io)?;
    if metadata.len() > 256 {
        return Err(IdentityError::Format(path.into()));
    }
    #[cfg(unix)]
    if std::os::unix::fs::PermissionsExt::mode(&metadata.permissions()) & 0o077 != 0 {
        return Err(IdentityError::Permissions(path.into()));
    }
    let text = Zeroizing::new(std::fs::read(path).map_err(io)?);
    let secret = std::str::from_utf8(&text)
        .ok()
        .and_then(|text| text.trim_end().strip_prefix(FILE_PREFIX))
        .and_then(unhex::<32>)
        .map(Zeroizing::new)
        .ok_or_else(|| IdentityError::Format(path.into()))?;
    Ok(Identity(SigningKey::from_bytes(&secret)))
}

/// Reads a key file, or makes one when there is none.
///
/// # Errors
/// As [`load`] where there is one, as [`Identity::save`] where one is made.
pub fn load_or_generate(path: &Path) -> Result<Identity, IdentityError> {
    match load(path) {
        Err(IdentityError::Io { source, .. }) if source.kind() == std::io::ErrorKind::NotFound => {
            let identity = generate()?;
            identity.save(path)?;
            Ok(identity)
        }
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn key_file_round_trip() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("key");
        let identity = load_or_generate(&path).unwrap();
        let again = load_or_generate(&path).unwrap();
        assert_eq!(identity.public(), again.public());
        assert!(identity.save(&path).is_err(), "a key is never overwritten");
        assert!(identity.public().verifies(b"hello", &again.sign(b"hello")));
        assert!(!identity.public().verifies(b"hallo", &again.sign(b"hello")));
        assert_eq!(identity.public().to_string().parse(), Ok(identity.public()));
        assert!(!format!("{identity:?}").contains(&hex(identity.0.as_bytes())));
    }

    #[cfg(unix)]
    #[test]
    fn a_key_others_can_read_is_refused() {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("key");
        generate().unwrap().save(&path).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
        assert!(load(&path).unwrap_err().to_string().contains("chmod 600"));
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
        std::fs::write(&path, "sahara-ed25519-v1:zz").unwrap();
        assert!(matches!(load(&path), Err(IdentityError::Format(_))));
    }
}
