//! What an operator says of the market in a file beside `node.toml`, and how its node gets what it is owed: on its own, in time.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use alloy_primitives::Address;
use sahara_light::{Light, Options};
use serde::Deserialize;

use super::network::Network;
use super::node::NodeMarket;
use super::settler::{Policy, Settler};
use crate::error::{Error, Result};
use crate::moment::{DAY, now};
use crate::wallet::amount::Amount;
use crate::wallet::password::PasswordArgs;
use crate::wallet::{self, Secret};

/// Version of the file.
const VERSION: u32 = 1;
/// Where a node keeps what is complete, below its home.
const FOLDER: &str = "market";
/// Bytes of the file that are read.
const MAX_FILE: u64 = 64 << 10;

/// The file:
///
/// ```toml
/// sahara-node-market = 1
/// network = "network.toml"            # what has to be trusted of the network
/// account = "account.json"            # the wallet that settles (none: `sahara operator settle` does, by hand)
/// password-file = "account.password"
/// settle-at = "1"                     # what is owed in one session until it is settled, in coins
/// settle-after = 86400                # seconds that anything is owed until it is settled
/// settle-at-a-loss = false            # also when the gas costs more than this operator's part
/// max-header-age = 300                # seconds that what was proven of the chain counts
/// ```
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct File {
    sahara_node_market: u32,
    network: PathBuf,
    account: Option<PathBuf>,
    password_file: Option<PathBuf>,
    #[serde(default = "settle_at")]
    settle_at: String,
    #[serde(default = "settle_after")]
    settle_after: u64,
    #[serde(default)]
    settle_at_a_loss: bool,
    #[serde(default = "max_header_age")]
    max_header_age: u64,
}

fn settle_at() -> String {
    "1".to_owned()
}

fn settle_after() -> u64 {
    DAY
}

fn max_header_age() -> u64 {
    300
}

/// What an operator says of the market.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The network.
    pub network: Network,
    account: Option<PathBuf>,
    password: PasswordArgs,
    policy: Policy,
    /// Seconds that what was proven counts.
    max_age: u64,
}

impl Settings {
    /// Reads the file; what it names is relative to its folder.
    ///
    /// # Errors
    /// When it, or the network's file that it names, cannot be read or is none.
    pub fn load(file: &Path) -> Result<Self> {
        use std::io::Read;
        let mut text = String::new();
        let opened = std::fs::File::open(file).map_err(|e| Error::io("reading", file, e))?;
        opened.take(MAX_FILE).read_to_string(&mut text).map_err(|e| Error::io("reading", file, e))?;
        let folder = file.parent().unwrap_or(Path::new("."));
        Self::parse(&text, folder).map_err(|why| match why {
            Wrong::Field(why) => Error::user(format!("{}: {why}", file.display())),
            Wrong::Network(error) => error,
        })
    }

    fn parse(text: &str, folder: &Path) -> std::result::Result<Self, Wrong> {
        let file: File = toml::from_str(text).map_err(|e| Wrong::Field(e.to_string().trim_end().to_owned()))?;
        let wrong = |why: String| Err(Wrong::Field(why));
        if file.sahara_node_market != VERSION {
            return wrong(format!("version {} is not known (this program knows {VERSION})", file.sahara_node_market));
        }
        if !(10..=3600).contains(&file.max_header_age) {
            return wrong("max-header-age must be from 10 to 3600 seconds".to_owned());
        }
        // Half a closing session's window is left for whatever goes wrong.
        if !(60..=43_200 * 7).contains(&file.settle_after) {
            return wrong("settle-after must be from 60 to 302400 seconds".to_owned());
        }
        let at: Amount = file.settle_at.parse().map_err(|why| Wrong::Field(format!("settle-at: {why}")))?;
        if file.account.is_some() != file.password_file.is_some() {
            return wrong("account and password-file belong together: give both or neither".to_owned());
        }
        Ok(Self {
            network: Network::load(&folder.join(file.network)).map_err(Wrong::Network)?,
            account: file.account.map(|path| folder.join(path)),
            password: file
                .password_file
                .map_or_else(PasswordArgs::default, |path| PasswordArgs::file(folder.join(path))),
            policy: Policy {
                at: at.small().map_err(Wrong::Field)?,
                after: file.settle_after,
                at_a_loss: file.settle_at_a_loss,
            },
            max_age: file.max_header_age,
        })
    }

    /// Whose account settles, if one is named: its password is not needed.
    ///
    /// # Errors
    /// When the wallet cannot be read.
    pub fn address(&self) -> Result<Option<Address>> {
        self.account.as_deref().map(wallet::address).transpose()
    }

    /// How long what was proven counts.
    pub fn max_header_age(&self) -> Duration {
        Duration::from_secs(self.max_age)
    }

    /// The account that settles, if one is named.
    ///
    /// # Errors
    /// When the wallet cannot be opened, or others can read its password.
    pub fn secret(&self) -> Result<Option<Secret>> {
        self.password.is_private()?;
        self.account.as_deref().map(|account| wallet::open(account, &self.password)).transpose()
    }

    /// The market for a node whose home this is.
    ///
    /// # Errors
    /// When its folder cannot be used.
    pub fn market(&self, home: &Path) -> Result<NodeMarket<Light>> {
        let options = Options { max_header_age: self.max_header_age(), ..Options::default() };
        NodeMarket::open(self.network.domain(), self.network.light(options), folder(home), self.max_age, now)
    }

    /// Seconds that what was proven counts.
    pub fn max_age(&self) -> u64 {
        self.max_age
    }

    /// How often what is in use is proven again.
    pub fn pause(&self) -> Duration {
        Duration::from_secs((self.max_age / 4).clamp(2, 60))
    }
}

enum Wrong {
    Field(String),
    Network(Error),
}

/// Where a node keeps what is complete.
pub fn folder(home: &Path) -> PathBuf {
    home.join(FOLDER)
}

/// Proves again what is in use, and has what is due paid, each in a thread of its own, for as long as the process lives. What hands in
/// for this node's account.
pub fn tend(market: Arc<NodeMarket<Light>>, settings: &Settings) -> Result<Arc<Mutex<Settler>>> {
    let pause = settings.pause();
    let refreshed = market.clone();
    for_ever("market", pause, move || refreshed.refresh())?;
    let secret = settings.secret()?;
    if secret.is_none() {
        tracing::warn!("no account settles what this node is owed: do it with `sahara operator settle`");
    }
    let settler = Arc::new(Mutex::new(Settler::new(&settings.network, settings.policy)));
    let used = settler.clone();
    for_ever("settling", pause, move || {
        let round = used.lock().unwrap_or_else(PoisonError::into_inner).round(
            market.words(),
            &market.bills(),
            secret.as_ref(),
            now(),
        );
        round.settled.into_iter().for_each(|(session, lane, settled)| market.paid(session, lane, settled));
        for deal in round.over {
            let forgotten = market.forget(&deal);
            forgotten.unwrap_or_else(|error| tracing::warn!(session = %deal.id, %error, "a session's ledger stays"));
        }
    })?;
    Ok(settler)
}

/// Does something again and again. A panic is told, and is no end.
pub(super) fn for_ever(name: &str, pause: Duration, mut work: impl FnMut() + Send + 'static) -> Result<()> {
    let named = name.to_owned();
    let repeat = move || {
        loop {
            std::thread::sleep(pause);
            if catch_unwind(AssertUnwindSafe(&mut work)).is_err() {
                tracing::error!(thread = named, "a round ended in a panic");
            }
        }
    };
    let started = std::thread::Builder::new().name(name.to_owned()).spawn(repeat);
    started.map(drop).map_err(|e| Error::fault(format!("starting the thread {name}: {e}")))
}

#[cfg(test)]
mod tests {
    use alloy_primitives::B256;
    use sahara_light::Anchor;

    use super::super::bill::tests::HERE;
    use super::*;

    fn text(account: &str, at: &str, after: u64) -> String {
        format!(
            "sahara-node-market = {VERSION}\nnetwork = \"network.toml\"\n{account}settle-at = {at:?}\nsettle-after = {after}\n"
        )
    }

    fn anchor(folder: &Path) {
        let rpc = vec!["http://127.0.0.1:1".parse().unwrap()];
        let anchor = Anchor::new("here", 1337, 7, B256::repeat_byte(9), rpc).unwrap();
        std::fs::write(folder.join("network.toml"), anchor.to_toml()).unwrap();
    }

    #[test]
    fn the_file_is_read_with_what_it_names_and_what_is_wrong_is_told() {
        let dir = tempfile::tempdir().unwrap();
        anchor(dir.path());
        let good = text("account = \"account.json\"\npassword-file = \"word\"\n", "0.5", 3600);
        let file = dir.path().join("market.toml");
        std::fs::write(&file, &good).unwrap();
        let settings = Settings::load(&file).unwrap();
        assert_eq!(settings.network.domain(), HERE);
        assert_eq!(settings.policy, Policy { at: 500_000_000_000_000_000, after: 3600, at_a_loss: false });
        assert_eq!((settings.max_age, settings.account), (300, Some(dir.path().join("account.json"))));
        for (from, to, said) in [
            ("market = 1", "market = 2", "version 2"),
            ("settle-after = 3600", "settle-after = 1", "settle-after"),
            ("\"0.5\"", "\"much\"", "settle-at"),
            ("password-file = \"word\"\n", "", "belong together"),
            ("settle-after = 3600", "max-header-age = 5", "max-header-age"),
            ("settle-after = 3600", "settle_after = 5", "settle_after"),
            ("network.toml", "none.toml", "none.toml"),
        ] {
            assert!(good.contains(from), "{from}");
            std::fs::write(&file, good.replace(from, to)).unwrap();
            let error = Settings::load(&file).unwrap_err();
            assert!(error.exit_code() == 2 && error.report().contains(said), "{}", error.report());
        }
        let none = text("", "1", 60);
        std::fs::write(&file, none).unwrap();
        assert!(Settings::load(&file).unwrap().secret().unwrap().is_none());
    }
}
