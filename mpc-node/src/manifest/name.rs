//! What sharings are called: by their owner, and by people and programs that mean one.

use std::fmt;
use std::str::FromStr;

use super::{ManifestId, OwnerKey};

/// The name that an owner gives a sharing: 1 to 64 letters, digits, `.`, `_` and `-`, not beginning with `.` or `-`.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SharingName(String);

impl SharingName {
    /// Longest name in bytes.
    pub const LIMIT: usize = 64;

    /// The name itself.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for SharingName {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let good = (1..=Self::LIMIT).contains(&text.len())
            && !text.starts_with(['.', '-'])
            && text.bytes().all(|c| c.is_ascii_alphanumeric() || matches!(c, b'.' | b'_' | b'-'));
        if good {
            return Ok(Self(text.to_owned()));
        }
        let shown: String = text.chars().take(80).collect::<String>().escape_debug().collect();
        Err(format!("'{shown}' cannot name a sharing: letters, digits, '.', '_' and '-', at most {}", Self::LIMIT))
    }
}

impl fmt::Display for SharingName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for SharingName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SharingName({self})")
    }
}

/// How a person or a program names a sharing: `OWNER/NAME` for whatever version is current, or a manifest's id for
/// exactly that version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SharingRef {
    /// The current version of what `owner` calls `name`.
    Named(OwnerKey, SharingName),
    /// One version.
    Manifest(ManifestId),
}

impl FromStr for SharingRef {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once('/') {
            Some((owner, name)) => {
                let named = owner.parse().and_then(|owner| Ok(Self::Named(OwnerKey::Ed25519(owner), name.parse()?)));
                named.map_err(|error: String| format!("`{text}` names no sharing (OWNER/NAME): {error}"))
            }
            None => text
                .parse()
                .map(Self::Manifest)
                .map_err(|_| format!("`{text}` names no sharing: OWNER/NAME, or a manifest's 64 digits")),
        }
    }
}

impl fmt::Display for SharingRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Named(owner, name) => write!(f, "{owner}/{name}"),
            Self::Manifest(id) => id.fmt(f),
        }
    }
}
