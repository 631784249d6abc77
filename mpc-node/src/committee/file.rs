//! The committee file: where the share nodes listen and the keys they are pinned by, in the order that assignments count.

use std::io::Write;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::durable::{self, Readers};

use super::{Committee, CommitteeError, CommitteeKind, Member};

/// Version of the file format.
const VERSION: u32 = 1;

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    version: u32,
    /// Three where nothing is said.
    #[serde(skip_serializing_if = "Option::is_none")]
    kind: Option<String>,
    /// 0 where nothing is said.
    #[serde(skip_serializing_if = "Option::is_none")]
    epoch: Option<u32>,
    node: Vec<Node>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Node {
    name: String,
    address: String,
    key: String,
}

impl Committee {
    /// Reads a committee file.
    ///
    /// # Errors
    /// When it cannot be read, or is none.
    pub fn load(path: &Path) -> Result<Self, CommitteeError> {
        let text = std::fs::read_to_string(path).map_err(|source| CommitteeError::Io {
            action: "read",
            path: path.into(),
            source,
        })?;
        Self::parse(&text).map_err(|reason| CommitteeError::Content { path: path.into(), reason })
    }

    /// Writes a committee file (replacing it in one step).
    ///
    /// # Errors
    /// When the file system refuses.
    pub fn save(&self, path: &Path) -> Result<(), CommitteeError> {
        durable::replace(path, Readers::Everybody, |file| file.write_all(self.to_toml().as_bytes()))
            .map(drop)
            .map_err(|source| CommitteeError::Io { action: "write", path: path.into(), source })
    }

    /// Reads the text of a committee file.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(text: &str) -> Result<Self, String> {
        let file: File = toml::from_str(text).map_err(|e| e.to_string().trim_end().to_owned())?;
        if file.version != VERSION {
            return Err(format!("version {} is not known (this program knows {VERSION})", file.version));
        }
        let kind = match file.kind.as_deref() {
            None | Some("three") => CommitteeKind::Three,
            Some("two") => CommitteeKind::Two,
            Some(other) => {
                return Err(format!(
                    "kind = \"{}\" is not known (this program knows \"three\", with a helper, and \"two\", without)",
                    other.escape_debug()
                ));
            }
        };
        let members: Vec<Member> = file
            .node
            .into_iter()
            .map(|node| Ok(Member { key: node.key.parse()?, name: node.name, address: node.address }))
            .collect::<Result<_, String>>()?;
        Ok(Self::of(kind, members)?.in_epoch(file.epoch.unwrap_or(0)))
    }

    /// The text of a committee file.
    pub fn to_toml(&self) -> String {
        let file = File {
            version: VERSION,
            kind: (self.kind != CommitteeKind::Three).then(|| self.kind.to_string()),
            epoch: Some(self.epoch).filter(|epoch| *epoch != 0),
            node: self
                .members
                .iter()
                .map(|m| Node { name: m.name.clone(), address: m.address.clone(), key: m.key.to_string() })
                .collect(),
        };
        let body = toml::to_string(&file).unwrap_or_default(); // plain strings and integers always serialise
        format!("# The committee: {} share nodes, in the order that assignments count them.\n{body}", self.kind)
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{committee, member};
    use super::*;
    use crate::identity::PublicKey;

    #[test]
    fn file_round_trip() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("committee.toml");
        let two = Committee::two([member(1), member(2)]).unwrap();
        for written in [committee(), committee().in_epoch(7), two.clone(), two.in_epoch(u32::MAX)] {
            written.save(&path).unwrap();
            assert_eq!(Committee::load(&path).unwrap(), written);
        }
        assert_eq!(committee().index_of(&PublicKey([2; 32])), Some(1));
        assert_eq!(committee().label(1), "node 2 (127.0.0.1:7002)");
        let text = committee().to_toml();
        assert!(!text.contains("epoch") && !text.contains("kind"), "as older programs read it: {text}");
        let said = text.replacen("version = 1", "version = 1\nkind = \"three\"\nepoch = 0", 1);
        assert_eq!(Committee::parse(&said).unwrap(), committee());
    }

    #[test]
    fn wrong_files_are_named() {
        let text = committee().to_toml();
        for (from, to, say) in [
            ("version = 1", "version = 9", "version 9"),
            ("127.0.0.1:7001", "127.0.0.1", "host:port"),
            ("127.0.0.1:7001", "127.0.0.1:7002", "same address"),
            ("127.0.0.1:7001", "tls://127.0.0.1:7002", "same address"),
            ("127.0.0.1:7001", "ftp://127.0.0.1:7001", "`ftp://`, which is not known"),
            ("0101", "0z01", "64 hexadecimal"),
            ("name = \"node 1\"", "name = \"\"", "needs a name"),
            ("version = 1", "version = 1\nkind = \"four\"", "kind = \"four\" is not known"),
            ("version = 1", "version = 1\nkind = \"two\"", "3 nodes are listed, a committee of kind \"two\" has two"),
            ("version = 1", "version = 1\nepoch = -1", "epoch"),
            ("version = 1", "version = 1\nage = 1", "age"),
        ] {
            let error = Committee::parse(&text.replacen(from, to, 1)).unwrap_err();
            assert!(error.contains(say), "{error}");
        }
        let same = text.replace(&member(3).key.to_string(), &member(1).key.to_string());
        assert!(Committee::parse(&same).unwrap_err().contains("same key"));
        assert!(Committee::parse("version = 1\nnode = []").unwrap_err().contains("three"));
    }
}
