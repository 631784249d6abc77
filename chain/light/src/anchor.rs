//! The trust anchor: what somebody has to know of a chain before anything of it can be proven. It comes from a person or a
//! place that is trusted, as a file; everything else comes from anybody.

use alloy_primitives::B256;
use serde::{Deserialize, Serialize};

use crate::url::Url;

/// Bytes of a file.
pub const MAX_FILE: usize = 64 << 10;
/// Version of the file.
const VERSION: u32 = 1;
/// Nodes that are asked.
const MAX_URLS: usize = 16;
/// Letters of a chain's name, as CometBFT has it.
const MAX_NAME: usize = 50;

/// What is trusted of a network. As a file (TOML, or JSON with the same names):
///
/// ```toml
/// sahara-network = 1
/// chain = "sahara-1"
/// evm-chain = 71212
/// height = 1
/// hash = "0x8b1a…"
/// rpc = ["http://10.0.0.1:8545", "http://10.0.0.2:8545"]
/// ```
///
/// The addresses of contracts are the same on every chain, so the file has none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Anchor {
    /// The chain's name in its headers.
    pub chain: String,
    /// The number that transactions are signed for (EIP-155).
    pub evm_chain: u64,
    /// A height.
    pub height: u64,
    /// The hash of the header at that height.
    pub hash: B256,
    /// Nodes that are asked, the first first. None of them is trusted.
    pub rpc: Vec<Url>,
}

/// The file.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct File {
    sahara_network: u32,
    chain: String,
    evm_chain: u64,
    height: u64,
    hash: B256,
    rpc: Vec<Url>,
}

/// Why a file is no trust anchor.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AnchorError {
    /// Longer than any.
    #[error("read the network's file: it has {0} bytes, at most {MAX_FILE} are read")]
    TooLarge(usize),
    /// Neither TOML nor JSON with these fields.
    #[error("read the network's file: {0}")]
    Malformed(String),
    /// A version of later.
    #[error("read the network's file: it has version {0}, this program reads version {VERSION}: use a newer one")]
    Version(u32),
    /// A field makes no sense.
    #[error("read the network's file: {field} {why}")]
    Field {
        /// Its name.
        field: &'static str,
        /// What is wrong.
        why: String,
    },
}

impl Anchor {
    /// An anchor of these.
    ///
    /// # Errors
    /// When a field makes no sense.
    pub fn new(chain: &str, evm_chain: u64, height: u64, hash: B256, rpc: Vec<Url>) -> Result<Self, AnchorError> {
        Self { chain: chain.to_owned(), evm_chain, height, hash, rpc }.checked()
    }

    /// Reads a file.
    ///
    /// # Errors
    /// When it is too long, has an unknown field or version, or a field makes no sense.
    pub fn read(file: &[u8]) -> Result<Self, AnchorError> {
        if file.len() > MAX_FILE {
            return Err(AnchorError::TooLarge(file.len()));
        }
        let text = std::str::from_utf8(file).map_err(|e| AnchorError::Malformed(e.to_string()))?;
        let json = text.trim_start().starts_with('{');
        let version = match json {
            true => serde_json::from_str::<Versioned>(text).map_err(|e| e.to_string()),
            false => toml::from_str::<Versioned>(text).map_err(|e| e.message().to_owned()),
        };
        // A later version may have fields that this one does not know.
        match version.map_err(AnchorError::Malformed)?.sahara_network {
            VERSION => {}
            other => return Err(AnchorError::Version(other)),
        }
        let read: Result<File, String> = match json {
            true => serde_json::from_str(text).map_err(|e| e.to_string()),
            false => toml::from_str(text).map_err(|e| e.to_string().trim().to_owned()),
        };
        let File { chain, evm_chain, height, hash, rpc, .. } = read.map_err(AnchorError::Malformed)?;
        Self { chain, evm_chain, height, hash, rpc }.checked()
    }

    /// The file of it, as TOML.
    pub fn to_toml(&self) -> String {
        let urls: Vec<String> = self.rpc.iter().map(|url| format!("{:?}", url.as_str())).collect();
        format!(
            "# What is trusted of a network: everything else is proven from this header.\n\
             sahara-network = {VERSION}\nchain = {:?}\nevm-chain = {}\nheight = {}\nhash = \"{}\"\nrpc = [{}]\n",
            self.chain,
            self.evm_chain,
            self.height,
            self.hash,
            urls.join(", ")
        )
    }

    /// The file of it, as JSON.
    pub fn to_json(&self) -> String {
        let Self { chain, evm_chain, height, hash, rpc } = self.clone();
        serde_json::to_string(&File { sahara_network: VERSION, chain, evm_chain, height, hash, rpc })
            .unwrap_or_default()
    }

    fn checked(self) -> Result<Self, AnchorError> {
        let wrong = |field, why: &str| Err(AnchorError::Field { field, why: why.to_owned() });
        let letter = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
        if self.chain.is_empty() || self.chain.len() > MAX_NAME || !self.chain.chars().all(letter) {
            return wrong("chain", "must be 1 to 50 letters, digits, dots, dashes and underscores");
        }
        if self.evm_chain == 0 {
            return wrong("evm-chain", "must be 1 at least");
        }
        if self.height == 0 || i64::try_from(self.height).is_err() {
            return wrong("height", "must be 1 at least, and below 2^63");
        }
        if self.rpc.is_empty() || self.rpc.len() > MAX_URLS {
            return wrong("rpc", "must name 1 to 16 nodes");
        }
        Ok(self)
    }
}

/// The version alone, whatever else is there.
#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Versioned {
    sahara_network: u32,
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn anchor() -> Anchor {
        let rpc = vec!["http://127.0.0.1:8545".parse().unwrap(), "http://node.example:1".parse().unwrap()];
        Anchor::new("sahara-1", 71_212, 7, B256::repeat_byte(0xab), rpc).unwrap()
    }

    #[test]
    fn a_file_is_read_as_it_was_written() {
        let toml = anchor().to_toml();
        assert_eq!(Anchor::read(toml.as_bytes()).unwrap(), anchor(), "{toml}");
        let json = anchor().to_json();
        assert_eq!(Anchor::read(json.as_bytes()).unwrap(), anchor());
    }

    #[test]
    fn what_is_wrong_is_named() {
        let said = |from: &str, to: &str| {
            let text = anchor().to_toml();
            assert!(text.contains(from), "{text}");
            Anchor::read(text.replace(from, to).as_bytes()).unwrap_err().to_string()
        };
        assert!(said("height = 7", "height = 7\ntrusted = true").contains("trusted"));
        assert!(said("height = 7", "").contains("height"));
        assert!(said("height = 7", "height = 0").contains("height must be 1"));
        assert!(said("height = 7", "height = 9223372036854775808").contains("height"));
        assert!(said("evm-chain = 71212", "evm-chain = 0").contains("evm-chain"));
        assert!(said("network = 1", "network = 2\nnovelty = 1").contains("version 2"));
        assert!(said("\"sahara-1\"", "\"a b\"").contains("chain must be"));
        assert!(said("\"sahara-1\"", &format!("{:?}", "x".repeat(51))).contains("chain must be"));
        #[cfg(not(feature = "https"))]
        assert!(said("http://node.example:1", "https://node.example:1").contains("https"));
        let many = vec!["\"http://a:1\""; 17].join(",");
        assert!(said("rpc = [", &format!("rpc = [{many}, ")).contains("1 to 16 nodes"));
        assert!(Anchor::read(&vec![b' '; MAX_FILE + 1]).unwrap_err().to_string().contains("at most"));
        let json = anchor().to_json().replace("\"height\"", "\"heigth\"");
        assert!(Anchor::read(json.as_bytes()).unwrap_err().to_string().contains("heigth"));
    }

    proptest! {
        #[test]
        fn random_bytes_are_refused(bytes in any::<Vec<u8>>(), cut in 0usize..200) {
            prop_assert!(Anchor::read(&bytes).is_err());
            let whole = anchor().to_toml();
            let _ = Anchor::read(&whole.as_bytes()[..cut.min(whole.len())]);
        }
    }
}
