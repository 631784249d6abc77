//! The files in a node's home that people read and write.

use std::{net::SocketAddr, path::Path};

use serde::{Deserialize, Deserializer, Serialize, de::Error as _};

use super::{error::NodeError, file::write};
use crate::{
    ledger::{NEEDED_HEADERS, Retention},
    rpc::Door,
    store::Engine,
};

/// Settings of the node.
pub const CONFIG_FILE: &str = "chain.toml";
/// The first state, for the embedded driver.
pub const GENESIS_FILE: &str = "genesis.json";
/// The key that signs blocks, for the embedded driver.
pub const KEY_FILE: &str = "validator-key";

/// Settings of the node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Where JSON-RPC listens. Loopback, unless the machine is meant to serve others.
    pub rpc: SocketAddr,
    /// What is kept of the past.
    #[serde(default, deserialize_with = "keep_or_word")]
    pub keep: Keep,
    /// Which pages in browsers may ask, and by which names.
    #[serde(default)]
    pub web: Door,
    /// Where all of it is kept.
    #[serde(default)]
    pub store: StoreSettings,
    /// Who makes blocks.
    pub driver: Driver,
}

/// What the file says above the numbers of [`Keep`].
const KEEP_HELP: &str = "\
# What is kept of the past. `states`: states before the newest, for questions about past blocks and for a rollback, 1 to
# 10000. `blocks`: blocks with receipts, here and in CometBFT; 0 keeps all. `snapshot_every`: make a snapshot, from which
# new nodes can start, every so many blocks; 0 makes none. `snapshots`: how many of them stay. `archive`: every state from
# now on, for indexers that ask for any height; keep = 'archive' instead of this table means the same.
[keep]
";

/// What the file says above the lists of [`Door`].
const WEB_HELP: &str = "\
# Who may ask through a browser. `origins`: pages, such as \"https://app.example.org\"; \"*\" is every page. `hosts`: names
# of this node, beside localhost and addresses, for whoever comes through this machine, as a proxy does.
[web]
";

/// What the file says above the name of [`StoreSettings`].
const STORE_HELP: &str = "\
# The database. `engine`: \"redb\", which is part of every program, or \"rocksdb\" for a state that outgrows memory, in
# programs that are built with it. It is chosen before the first start; docs/validators.md says how to change it.
[store]
";

/// Where a node keeps its tables.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct StoreSettings {
    /// The database.
    pub engine: Engine,
}

/// What is kept of the past.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Keep {
    /// States before the newest one, for questions about past blocks and for a rollback: 1 to 10000. The older a state,
    /// the longer a question to it takes.
    pub states: u64,
    /// Blocks with their transactions and receipts, here and in CometBFT. 0 keeps all.
    pub blocks: u64,
    /// Make a snapshot, from which new nodes can start, every so many blocks. 0 makes none.
    pub snapshot_every: u64,
    /// Snapshots that stay on disk.
    pub snapshots: usize,
    /// Every state from now on, so that any height can be asked. Begun at the first block it has all of them.
    pub archive: bool,
}

impl Default for Keep {
    fn default() -> Self {
        let Retention { states, blocks, archive } = Retention::default();
        Self { states, blocks, snapshot_every: 1000, snapshots: 2, archive }
    }
}

/// A table, or the word for everything.
fn keep_or_word<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Keep, D::Error> {
    #[derive(Deserialize)]
    #[serde(rename_all = "lowercase")]
    enum Word {
        Archive,
    }
    #[derive(Deserialize)]
    #[serde(untagged, expecting = "a table, or the word \"archive\"")]
    enum Either {
        Word(Word),
        Table(toml::Table),
    }
    match Either::deserialize(deserializer)? {
        Either::Word(Word::Archive) => Ok(Keep { archive: true, ..Keep::default() }),
        // As a table of its own, so that what is wrong in it is named.
        Either::Table(table) => table.try_into().map_err(D::Error::custom),
    }
}

impl Keep {
    /// For the ledger.
    pub fn retention(&self) -> Retention {
        Retention { states: self.states, blocks: self.blocks, archive: self.archive }
    }

    /// The field that makes no sense, and why.
    fn problem(&self) -> Option<(&'static str, String)> {
        if !(1..=10_000).contains(&self.states) {
            return Some(("keep.states", "must be between 1 and 10000".into()));
        }
        let needed = (self.states + NEEDED_HEADERS + 1).max(self.snapshot_every.saturating_mul(2));
        if self.blocks != 0 && self.blocks < needed {
            let why = format!("must be 0 or {needed} at least: kept states and snapshots need the blocks around them");
            return Some(("keep.blocks", why));
        }
        if self.archive && self.blocks != 0 {
            return Some(("keep.blocks", "must be 0 in an archive, which keeps all blocks".into()));
        }
        if self.snapshot_every != 0 && !(1..=100).contains(&self.snapshots) {
            return Some(("keep.snapshots", "must be between 1 and 100".into()));
        }
        None
    }
}

/// Who makes blocks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Driver {
    /// This process alone.
    Embedded {
        /// Name of the chain in its headers.
        chain_id: String,
        /// A block every so many milliseconds; 0 makes one for each transaction.
        block_time_ms: u64,
        /// Whoever reaches JSON-RPC may move time, change accounts and go back, as with anvil and Hardhat.
        #[serde(default)]
        development: bool,
    },
    /// A CometBFT process.
    Cometbft {
        /// Where it finds the ledger.
        abci: SocketAddr,
        /// Where it takes transactions.
        comet_rpc: SocketAddr,
    },
}

impl Driver {
    /// In one line, for people.
    pub fn describe(&self) -> String {
        match self {
            Self::Embedded { block_time_ms: 0, .. } => "embedded: one validator, a block for each transaction".into(),
            Self::Embedded { block_time_ms, .. } => {
                format!("embedded: one validator here, a block every {block_time_ms} ms, no consensus")
            }
            Self::Cometbft { comet_rpc, .. } => format!("CometBFT at {comet_rpc}"),
        }
    }
}

impl Config {
    /// The usual settings around these.
    pub fn new(rpc: SocketAddr, driver: Driver) -> Self {
        // A chain for development is asked from pages under development.
        let web = match driver {
            Driver::Embedded { development: true, .. } => Door::open(),
            _ => Door::default(),
        };
        Self { rpc, keep: Keep::default(), web, store: StoreSettings::default(), driver }
    }

    /// Reads the settings in `home`.
    ///
    /// # Errors
    /// When there is no `chain.toml`, or an entry of it is unknown, missing or out of range.
    pub fn load(home: &Path) -> Result<Self, NodeError> {
        let path = home.join(CONFIG_FILE);
        let text = std::fs::read_to_string(&path).map_err(|cause| match cause.kind() {
            std::io::ErrorKind::NotFound => NodeError::Setup(no_home(home)),
            _ => NodeError::File { doing: "read", path: path.display().to_string(), cause },
        })?;
        let config: Self = toml::from_str(&text).map_err(|e| NodeError::Setup(format!("{}: {e}", path.display())))?;
        match config.keep.problem() {
            Some((field, why)) => Err(NodeError::Setup(format!("{}: {field} {why}", path.display()))),
            None => Ok(config),
        }
    }

    /// Writes the settings into `home`.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn save(&self, home: &Path) -> Result<(), NodeError> {
        let text = toml::to_string(self).map_err(|e| NodeError::Setup(e.to_string()))?;
        let text = text.replace("[keep]\n", KEEP_HELP).replace("[web]\n", WEB_HELP).replace("[store]\n", STORE_HELP);
        write(&home.join(CONFIG_FILE), text.as_bytes())
    }
}

/// What is wrong with a folder that is no node's home, and what was meant perhaps.
fn no_home(home: &Path) -> String {
    let shown = home.display();
    let first = home.join("node0");
    if first.join(CONFIG_FILE).exists() {
        return format!(
            "{shown} holds a network of several nodes: give the home of one of them, such as {}",
            first.display()
        );
    }
    format!("{shown} is not the home of a node: make one with `sahara chain init --home {shown}`")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config() -> Config {
        let driver = Driver::Embedded { chain_id: "sahara-dev".into(), block_time_ms: 1000, development: true };
        Config::new(([127, 0, 0, 1], 8545).into(), driver)
    }

    #[test]
    fn settings_survive_the_file_and_older_files_have_the_usual_ones() {
        let folder = tempfile::tempdir().unwrap();
        let config = Config { keep: Keep { blocks: 5000, ..Keep::default() }, ..config() };
        config.save(folder.path()).unwrap();
        assert_eq!(Config::load(folder.path()).unwrap(), config);
        let path = folder.path().join(CONFIG_FILE);
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(text.contains("# What is kept") && text.contains("# Who may ask"), "{text}");
        assert_eq!(config.web, Door::open(), "a chain for development is open to pages");
        let real = Driver::Cometbft { abci: config.rpc, comet_rpc: config.rpc };
        assert_eq!(Config::new(config.rpc, real).web, Door::default(), "a real one is not");
        let without = "rpc = '127.0.0.1:8545'\n[driver.embedded]\nchain_id = 'sahara-dev'\nblock_time_ms = 1000\n";
        std::fs::write(&path, without).unwrap();
        let older = Config::load(folder.path()).unwrap();
        assert_eq!((older.keep, older.web), (Keep::default(), Door::default()));
    }

    #[test]
    fn what_is_wrong_is_named() {
        let wrong = |change: &dyn Fn(&mut Keep)| {
            let folder = tempfile::tempdir().unwrap();
            let mut config = config();
            change(&mut config.keep);
            config.save(folder.path()).unwrap();
            Config::load(folder.path()).unwrap_err().to_string()
        };
        assert!(wrong(&|keep| keep.states = 0).contains("keep.states must be between 1 and 10000"));
        assert!(wrong(&|keep| keep.blocks = 10).contains("keep.blocks must be 0 or 2000 at least"));
        let both = wrong(&|keep| (keep.archive, keep.blocks) = (true, 5_000));
        assert!(both.contains("keep.blocks must be 0 in an archive"), "{both}");
        let folder = tempfile::tempdir().unwrap();
        let loaded = |keep: &str| {
            let rest = "[driver.embedded]\nchain_id = 'sahara-dev'\nblock_time_ms = 1000\n";
            std::fs::write(folder.path().join(CONFIG_FILE), format!("rpc = '127.0.0.1:8545'\n{keep}\n{rest}")).unwrap();
            Config::load(folder.path())
        };
        assert_eq!(loaded("keep = 'archive'").unwrap().keep, Keep { archive: true, ..Keep::default() });
        assert!(loaded("keep = 'all'").unwrap_err().to_string().contains("archive"));
        assert!(loaded("[keep]\nstaets = 5").unwrap_err().to_string().contains("staets"));
        assert!(wrong(&|keep| keep.snapshots = 0).contains("keep.snapshots"));
    }

    #[test]
    fn a_folder_that_is_no_home_says_what_is_one() {
        let folder = tempfile::tempdir().unwrap();
        let said = || Config::load(folder.path()).unwrap_err().to_string();
        assert!(said().contains("chain init"), "{}", said());
        config().save(&folder.path().join("node0")).unwrap();
        assert!(said().contains("several nodes") && said().contains("node0"), "{}", said());
    }
}
