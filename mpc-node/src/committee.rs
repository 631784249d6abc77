//! The committee file: the three share nodes, where they listen and the keys they are pinned by.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::identity::PublicKey;

/// Version of the file format.
const VERSION: u32 = 1;

/// A committee file that cannot be used.
#[derive(Debug, Error)]
pub enum CommitteeError {
    /// The file system refuses.
    #[error("cannot {action} committee file {}: {source}", path.display())]
    Io {
        /// `read` or `write`.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The content is wrong.
    #[error("committee file {}: {reason}", path.display())]
    Content {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
}

/// One share node as the others see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// Short name for people.
    pub name: String,
    /// `host:port` of its lane listener.
    pub address: String,
    /// Its public key.
    pub key: PublicKey,
}

/// Three share nodes; the position in the list is the index used by assignments.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Committee {
    /// The nodes, by index.
    pub members: [Member; 3],
}

impl Committee {
    /// A committee of three nodes with different keys and addresses.
    pub fn new(members: [Member; 3]) -> Result<Self, String> {
        for (i, a) in members.iter().enumerate() {
            let name = &a.name;
            if name.is_empty() || name.len() > 64 || name.chars().any(|c| c.is_control()) {
                return Err(format!("node {} needs a name of 1 to 64 printable characters", i + 1));
            }
            if !is_place(&a.address) {
                return Err(format!("the address `{}` of node `{name}` is not of the form host:port", a.address));
            }
            for b in &members[..i] {
                if a.key == b.key {
                    return Err(format!(
                        "nodes `{}` and `{name}` have the same key: one operator must not be two nodes",
                        b.name
                    ));
                }
                if a.address == b.address {
                    return Err(format!("nodes `{}` and `{name}` have the same address", b.name));
                }
            }
        }
        Ok(Self { members })
    }

    /// Reads a committee file.
    pub fn load(path: &Path) -> Result<Self, CommitteeError> {
        let text = std::fs::read_to_string(path).map_err(|source| CommitteeError::Io {
            action: "read",
            path: path.into(),
            source,
        })?;
        Self::parse(&text).map_err(|reason| CommitteeError::Content { path: path.into(), reason })
    }

    /// Writes a committee file (replacing it in one step).
    pub fn save(&self, path: &Path) -> Result<(), CommitteeError> {
        let temporary = path.with_extension("partial");
        std::fs::write(&temporary, self.to_toml())
            .and_then(|()| std::fs::rename(&temporary, path))
            .map_err(|source| CommitteeError::Io { action: "write", path: path.into(), source })
    }

    /// Reads the text of a committee file.
    pub fn parse(text: &str) -> Result<Self, String> {
        let file: File = toml::from_str(text).map_err(|e| e.to_string().trim_end().to_owned())?;
        if file.version != VERSION {
            return Err(format!("version {} is not known (this program knows {VERSION})", file.version));
        }
        let count = file.node.len();
        let members: Vec<Member> = file
            .node
            .into_iter()
            .map(|node| Ok(Member { key: node.key.parse()?, name: node.name, address: node.address }))
            .collect::<Result<_, String>>()?;
        let members = members.try_into().map_err(|_| format!("{count} nodes are listed, a committee has three"))?;
        Self::new(members)
    }

    /// The text of a committee file.
    pub fn to_toml(&self) -> String {
        let file = File {
            version: VERSION,
            node: self
                .members
                .iter()
                .map(|m| Node { name: m.name.clone(), address: m.address.clone(), key: m.key.to_string() })
                .collect(),
        };
        let body = toml::to_string(&file).unwrap_or_default(); // plain strings and an integer always serialise
        format!("# The committee: three share nodes, in the order that assignments count them.\n{body}")
    }

    /// Position of the node with this key.
    pub fn index_of(&self, key: &PublicKey) -> Option<u8> {
        self.members.iter().position(|m| m.key == *key).map(|i| i as u8)
    }

    /// Hash of the three keys in order: both ends of a lane must mean the same committee.
    pub fn digest(&self) -> [u8; 32] {
        let mut hasher = blake3::Hasher::new_derive_key("sahara committee v1");
        for member in &self.members {
            hasher.update(&member.key.0);
        }
        *hasher.finalize().as_bytes()
    }

    /// The digest as people compare it by telephone: its first half, in groups of four digits. It is of the keys and
    /// their order; names and addresses do not count.
    pub fn fingerprint(&self) -> String {
        let half = crate::codec::hex(&self.digest()[..16]);
        half.as_bytes().chunks(4).map(String::from_utf8_lossy).collect::<Vec<_>>().join(" ")
    }

    /// How errors and logs call a node: `node 2 (127.0.0.1:7002)`.
    pub fn label(&self, index: u8) -> String {
        match self.members.get(usize::from(index)) {
            Some(m) if m.name == format!("node {}", index + 1) => format!("{} ({})", m.name, m.address),
            Some(m) => format!("node {} `{}` ({})", index + 1, m.name, m.address),
            None => format!("node {}", u32::from(index) + 1),
        }
    }
}

/// Whether an address has the form host:port.
pub(crate) fn is_place(address: &str) -> bool {
    address.rsplit_once(':').is_some_and(|(host, port)| !host.is_empty() && port.parse::<u16>().is_ok())
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    version: u32,
    node: Vec<Node>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Node {
    name: String,
    address: String,
    key: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn committee() -> Committee {
        let member =
            |i: u8| Member { name: format!("node {i}"), address: format!("127.0.0.1:700{i}"), key: PublicKey([i; 32]) };
        Committee::new([member(1), member(2), member(3)]).unwrap()
    }

    #[test]
    fn file_round_trip() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("committee.toml");
        committee().save(&path).unwrap();
        assert_eq!(Committee::load(&path).unwrap(), committee());
        assert_eq!(committee().index_of(&PublicKey([2; 32])), Some(1));
        assert_eq!(committee().label(1), "node 2 (127.0.0.1:7002)");
    }

    #[test]
    fn a_fingerprint_is_of_the_keys_and_their_order() {
        let fingerprint = committee().fingerprint();
        assert!(fingerprint.len() == 39 && fingerprint.split(' ').all(|group| group.len() == 4), "{fingerprint}");
        let mut other = committee();
        other.members[0].address = "node.example:1".into();
        other.members[1].name = "bert".into();
        assert_eq!(other.fingerprint(), fingerprint, "what people call the nodes does not count");
        other.members.swap(0, 1);
        assert_ne!(other.fingerprint(), fingerprint);
    }

    #[test]
    fn wrong_files_are_named() {
        let text = committee().to_toml();
        for (from, to, say) in [
            ("version = 1", "version = 9", "version 9"),
            ("127.0.0.1:7001", "127.0.0.1", "host:port"),
            ("127.0.0.1:7001", "127.0.0.1:7002", "same address"),
            ("0101", "0z01", "64 hexadecimal"),
            ("name = \"node 1\"", "name = \"\"", "needs a name"),
        ] {
            let error = Committee::parse(&text.replacen(from, to, 1)).unwrap_err();
            assert!(error.contains(say), "{error}");
        }
        let mut two = committee();
        two.members[2].key = two.members[0].key;
        assert!(Committee::parse(&two.to_toml()).unwrap_err().contains("same key"));
        assert!(Committee::parse("version = 1\nnode = []").unwrap_err().contains("three"));
    }
}
