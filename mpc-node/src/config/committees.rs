//! Which committees a node serves, and where it keeps what belongs to each.

use std::path::{Path, PathBuf};

use sahara_circuits::bytes::hex;

use super::{Config, ConfigError, FILE};
use crate::committee::Committee;

/// Folders of what belongs to a committee.
pub(crate) const FOLDERS: [&str; 3] = ["sharings", "packs", "transcripts"];
/// Folder in a node's home with one folder for each further committee.
const COMMITTEES: &str = "committees";

/// A committee that a node serves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServedCommittee {
    /// Its file.
    pub file: PathBuf,
    /// The committee.
    pub committee: Committee,
    /// Where the node keeps what belongs to it: sharings, packs, transcripts.
    pub folder: PathBuf,
}

impl Config {
    /// The committee files: that of the home itself first.
    pub fn committee_files(&self) -> impl Iterator<Item = &Path> {
        self.committee.iter().chain(&self.committees).map(PathBuf::as_path)
    }

    /// The committees that the node serves, in the order of [`Config::committee_files`].
    ///
    /// # Errors
    /// When a file cannot be used, or two are of one committee.
    pub fn load_committees(&self) -> Result<Vec<ServedCommittee>, ConfigError> {
        let mut served: Vec<ServedCommittee> = Vec::new();
        for (at, file) in self.committee_files().enumerate() {
            let committee = Committee::load(file)?;
            if let Some(same) = served.iter().find(|other| other.committee.digest() == committee.digest()) {
                let reason = format!(
                    "{} and {} are files of one committee, fingerprint {}: name one of them",
                    same.file.display(),
                    file.display(),
                    committee.fingerprint()
                );
                return Err(ConfigError::Content { path: self.home.join(FILE), reason });
            }
            let folder = match at == 0 && self.committee.is_some() {
                true => self.home.clone(),
                false => self.home.join(COMMITTEES).join(hex(&committee.digest())),
            };
            served.push(ServedCommittee { file: file.into(), committee, folder });
        }
        Ok(served)
    }

    /// Folders below the home of committees that are none of these: what is left of one that the node served before.
    pub fn left_folders(&self, served: &[ServedCommittee]) -> Vec<PathBuf> {
        let is_free = |folder: &Path| served.iter().all(|committee| committee.folder != *folder);
        let entries = std::fs::read_dir(self.home.join(COMMITTEES)).into_iter().flatten().flatten();
        let mut left: Vec<PathBuf> = entries.map(|entry| entry.path()).filter(|path| is_free(path)).collect();
        if is_free(&self.home) {
            left.extend(FOLDERS.map(|name| self.home.join(name)));
        }
        left.retain(|path| path.is_dir());
        left.sort();
        left
    }
}

#[cfg(test)]
mod tests {
    use super::super::{COMMITTEE_MEMORY, LANE_MEMORY};
    use super::*;
    use crate::identity::PublicKey;

    #[test]
    fn a_further_committee_has_a_folder_of_its_own_and_the_first_one_those_of_the_home() {
        let dir = tempfile::tempdir().unwrap();
        let home = dir.path();
        let write = |name: &str, keys: [u8; 3]| {
            let member = |n: u8| crate::committee::Member {
                name: format!("node {n}"),
                address: format!("127.0.0.1:{}", 7000 + u16::from(n)),
                key: PublicKey([n; 32]),
            };
            let committee = Committee::new(keys.map(member)).unwrap();
            committee.save(&home.join(name)).unwrap();
            committee
        };
        let (one, two) = (write("committee.toml", [1, 2, 3]), write("second.toml", [3, 1, 4]));
        let config =
            |lines: &str| Config::parse(&format!("version = 1\nlisten = \"127.0.0.1:7001\"\n{lines}"), home).unwrap();
        let folder = |committee: &Committee| home.join("committees").join(hex(&committee.digest()));
        let served = |config: &Config| -> Vec<_> {
            let served = config.load_committees().unwrap();
            served.into_iter().map(|served| (served.committee, served.folder)).collect()
        };
        let alone = config("");
        assert_eq!(served(&alone), [(one.clone(), home.to_path_buf())]);
        let both = config("committees = [\"second.toml\"]\ncommittee = \"committee.toml\"");
        assert_eq!(served(&both), [(one.clone(), home.to_path_buf()), (two.clone(), folder(&two))]);
        let apart = config("committees = [\"second.toml\", \"committee.toml\"]");
        assert_eq!(served(&apart), [(two.clone(), folder(&two)), (one.clone(), folder(&one))]);
        assert_eq!(served(&config("committees = [\"second.toml\"]")), [(two.clone(), folder(&two))]);

        // Limits are for all together; each committee has lanes of its other members.
        let lanes = 2 * crate::config::MEMBER_LANES as u64 * (crate::channel::CHANNEL_MEMORY + LANE_MEMORY);
        assert_eq!(both.memory() - alone.memory(), lanes + COMMITTEE_MEMORY);

        let twice =
            config("committees = [\"second.toml\", \"second.toml\"]").load_committees().unwrap_err().to_string();
        assert!(twice.contains("of one committee") && twice.contains(&two.fingerprint()), "{twice}");
        let missing = config("committees = [\"third.toml\"]").load_committees().unwrap_err().to_string();
        assert!(missing.contains("third.toml"), "{missing}");
        let many = format!("version = 1\nlisten = \"127.0.0.1:7001\"\ncommittees = {:?}", vec!["a"; 65]);
        assert!(Config::parse(&many, home).unwrap_err().contains("64 at most"));

        std::fs::create_dir_all(folder(&two)).unwrap();
        assert!(both.left_folders(&both.load_committees().unwrap()).is_empty());
        std::fs::create_dir_all(home.join("packs")).unwrap();
        assert_eq!(alone.left_folders(&alone.load_committees().unwrap()), [folder(&two)]);
        let second = config("committees = [\"second.toml\"]");
        assert_eq!(second.left_folders(&second.load_committees().unwrap()), [home.join("packs")]);
    }
}
