//! What an operator says of the market in a file beside `node.toml`, and how its node gets what it is owed: on its own, in time.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use alloy_primitives::{Address, B256, U256};
use sahara_light::{Light, Options};
use sahara_market::abi::InferenceMarket;
use sahara_market::slots::{self, SessionState};
use sahara_market::{Domain, INFERENCE_MARKET};
use sahara_mpc::market::Complete;
use serde::Deserialize;

use super::bill::{Bill, Deal};
use super::network::Network;
use super::node::{NodeMarket, Words};
use crate::chain_client::{Chain, Done, Order};
use crate::error::{Error, Result};
use crate::progress::Indicator;
use crate::wallet::amount::Amount;
use crate::wallet::password::PasswordArgs;
use crate::wallet::{self, Secret};

/// Version of the file.
const VERSION: u32 = 1;
/// Where a node keeps what is complete, below its home.
const FOLDER: &str = "market";
/// Bytes of the file that are read.
const MAX_FILE: u64 = 64 << 10;
/// Seconds before a session's end at which it is settled whatever it is worth.
const BEFORE_END: u64 = 3600;
/// Seconds by which the members of a committee settle after one another, so that usually one pays the gas.
const STAGGER: u64 = 60;

/// The file:
///
/// ```toml
/// sahara-node-market = 1
/// network = "network.toml"            # what has to be trusted of the network
/// account = "account.json"            # the wallet that settles (none: `sahara operator settle` does, by hand)
/// password-file = "account.password"
/// settle-at = "1"                     # what is owed in one session until it is settled, in coins
/// settle-after = 86400                # seconds that anything is owed until it is settled
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
    #[serde(default = "max_header_age")]
    max_header_age: u64,
}

fn settle_at() -> String {
    "1".to_owned()
}

fn settle_after() -> u64 {
    86_400
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

/// When a session is settled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Policy {
    /// From this amount on.
    pub at: u128,
    /// Seconds after something was first owed.
    pub after: u64,
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
            policy: Policy { at: at.small().map_err(Wrong::Field)?, after: file.settle_after },
            max_age: file.max_header_age,
        })
    }

    /// What the file says, for `sahara operator init` and devnets to write.
    pub fn text(network: &str, account: Option<(&str, &str)>, at: &str, after: u64) -> String {
        let account = account.map_or_else(String::new, |(account, password)| {
            format!("account = {account:?}\npassword-file = {password:?}\n")
        });
        format!(
            "# What this node believes of the chain on which models are sold, and who is paid.\n\
             sahara-node-market = {VERSION}\nnetwork = {network:?}\n{account}settle-at = {at:?}\nsettle-after = {after}\n"
        )
    }

    /// The account that settles, if one is named.
    ///
    /// # Errors
    /// When the wallet cannot be opened.
    pub fn secret(&self) -> Result<Option<Secret>> {
        self.account.as_deref().map(|account| wallet::open(account, &self.password)).transpose()
    }

    /// The market for a node whose home this is.
    ///
    /// # Errors
    /// When its folder cannot be used.
    pub fn market(&self, home: &Path) -> Result<NodeMarket<Light>> {
        let options = Options { max_header_age: Duration::from_secs(self.max_age), ..Options::default() };
        NodeMarket::open(self.network.domain(), self.network.light(options), folder(home), self.max_age, now)
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

/// Proves again what is in use, and settles what is due, for as long as the process lives.
pub fn tend(market: Arc<NodeMarket<Light>>, settings: Settings) -> Result<()> {
    let secret = settings.secret()?;
    let mut settler = Settler::new(&settings.network, settings.policy);
    let pause = settings.pause();
    let work = move || {
        loop {
            std::thread::sleep(pause);
            market.refresh();
            let Some(secret) = &secret else { continue };
            let bills = market.bills();
            let over = settler.round(market.words(), &bills, secret, now());
            for deal in over {
                let forgotten = market.forget(&deal);
                forgotten
                    .unwrap_or_else(|error| tracing::warn!(session = %deal.id, %error, "a session's ledger stays"));
            }
        }
    };
    let started = std::thread::Builder::new().name("market".to_owned()).spawn(work);
    started.map(drop).map_err(|e| Error::fault(format!("starting the thread of the market: {e}")))
}

/// Has the market pay what is due.
pub struct Settler {
    chain: Chain,
    domain: Domain,
    policy: Policy,
    /// Since when something is owed, and since when it is due.
    since: BTreeMap<(B256, B256), (u64, Option<u64>)>,
}

/// What is owed in one session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// Nothing, and the session is over.
    Over,
    /// Nothing now.
    Nothing,
    /// So much, which has time.
    Owed(u128),
    /// So much, now.
    Due(u128),
    /// The chain knows no such session.
    Unknown,
}

impl Settler {
    /// For a network.
    pub fn new(network: &Network, policy: Policy) -> Self {
        Self { chain: network.chain(), domain: network.domain(), policy, since: BTreeMap::new() }
    }

    /// One round over the last receipts: settles what is due; the sessions that are over. What goes wrong is logged, and tried
    /// again in the next round.
    pub fn round(&mut self, words: &impl Words, bills: &[(Bill, Complete)], by: &Secret, now: u64) -> Vec<Deal> {
        let mut over = Vec::new();
        for (bill, complete) in bills {
            let standing = match self.standing(words, bill, now) {
                Ok(standing) => standing,
                Err(why) => {
                    tracing::warn!(session = %bill.deal.id, %why, "what is owed cannot be proven");
                    continue;
                }
            };
            match standing {
                Standing::Over => over.push(bill.deal.clone()),
                Standing::Due(owed) if self.my_turn(bill, by.address(), now) => {
                    let (session, owed) = (bill.deal.id, Amount::from(owed));
                    match settle(&self.chain, bill, complete, by, &Indicator::silent()) {
                        Ok(done) => {
                            tracing::info!(%session, %owed, transaction = %done.transaction, "a session was settled");
                        }
                        Err(error) => {
                            tracing::warn!(%session, %owed, why = error.report(), "a session is not settled yet")
                        }
                    }
                }
                Standing::Unknown => {
                    tracing::warn!(session = %bill.deal.id, "the chain knows no such session (any more)")
                }
                _ => {}
            }
        }
        let known: Vec<_> = bills.iter().map(|(bill, _)| (bill.deal.id, bill.deal.lane)).collect();
        self.since.retain(|key, _| known.contains(key));
        over
    }

    /// What is owed for the last receipt of a session: what the chain has paid is proven.
    ///
    /// # Errors
    /// When nothing is proven.
    pub fn standing(&mut self, words: &impl Words, bill: &Bill, now: u64) -> std::result::Result<Standing, String> {
        let (market, deal) = (self.domain.market, &bill.deal);
        let proven = words.words(&[(market, slots::session(deal.id)), (market, slots::settled(deal.id, deal.lane))])?;
        let [session, settled] = *proven.words.as_slice() else { return Err("two words were asked for".to_owned()) };
        let key = (deal.id, deal.lane);
        let settled = u128::try_from(U256::from_be_bytes(settled.0)).map_err(|_| "more was paid than there is")?;
        let owed = bill.receipt.total.saturating_sub(settled);
        let state = SessionState::read(session.into());
        match state {
            SessionState::Finished => return Ok(Standing::Over),
            SessionState::None | SessionState::Unknown(_) => return Ok(Standing::Unknown),
            _ if owed == 0 => {
                self.since.remove(&key);
                return Ok(Standing::Nothing);
            }
            _ => {}
        }
        let (first, due) = self.since.entry(key).or_insert((now, None));
        let ends = deal.session().ends.min(deal.committee().until);
        let closing = matches!(state, SessionState::Closing(_));
        let late = now.saturating_sub(*first) >= self.policy.after || now.saturating_add(BEFORE_END) >= ends;
        if closing || late || owed >= self.policy.at {
            due.get_or_insert(now);
            return Ok(Standing::Due(owed));
        }
        *due = None;
        Ok(Standing::Owed(owed))
    }

    /// Whether it is for this member to settle now: one after the other, as their accounts stand in the committee.
    fn my_turn(&self, bill: &Bill, own: Address, now: u64) -> bool {
        let operators = &bill.deal.committee().operators;
        let place = operators.iter().position(|operator| *operator == own).unwrap_or(operators.len());
        let due = self.since.get(&(bill.deal.id, bill.deal.lane)).and_then(|(_, due)| *due);
        due.is_some_and(|due| now.saturating_sub(due) >= STAGGER * place as u64)
    }
}

/// The order that has a receipt paid.
pub fn order(bill: &Bill, complete: &Complete) -> Order {
    let call = InferenceMarket::settleCall {
        s: bill.deal.session().clone(),
        c: bill.deal.committee().clone(),
        r: bill.receipt.into(),
        voucher: bill.voucher.to_vec().into(),
        signatures: complete.signatures.as_flattened().to_vec().into(),
    };
    Order::call("settling a session", INFERENCE_MARKET, &call)
}

fn settle(chain: &Chain, bill: &Bill, complete: &Complete, by: &Secret, progress: &Indicator) -> Result<Done> {
    chain.send(by, &order(bill, complete), progress)
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_secs())
}

#[cfg(test)]
mod tests {
    use sahara_light::{Anchor, Proven};

    use super::super::bill::{Last, tests::*};
    use super::*;

    struct Says(std::result::Result<[U256; 2], String>);

    impl Words for Says {
        fn words(&self, _: &[(Address, B256)]) -> std::result::Result<Proven, String> {
            self.0.clone().map(|words| Proven { height: 5, time: NOW, words: words.map(B256::from).to_vec() })
        }
    }

    #[expect(clippy::unwrap_used, reason = "for tests")]
    fn anchor(folder: &Path) {
        let rpc = vec!["http://127.0.0.1:1".parse().unwrap()];
        let anchor = Anchor::new("here", 1337, 7, B256::repeat_byte(9), rpc).unwrap();
        std::fs::write(folder.join("network.toml"), anchor.to_toml()).unwrap();
    }

    #[test]
    fn the_file_is_read_with_what_it_names_and_what_is_wrong_is_told() {
        let dir = tempfile::tempdir().unwrap();
        anchor(dir.path());
        let good = Settings::text("network.toml", Some(("account.json", "word")), "0.5", 3600);
        let file = dir.path().join("market.toml");
        std::fs::write(&file, &good).unwrap();
        let settings = Settings::load(&file).unwrap();
        assert_eq!(settings.network.domain(), HERE);
        assert_eq!(settings.policy, Policy { at: 500_000_000_000_000_000, after: 3600 });
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
        let none = Settings::text("network.toml", None, "1", 60);
        std::fs::write(&file, none).unwrap();
        assert!(Settings::load(&file).unwrap().secret().unwrap().is_none());
    }

    #[test]
    fn what_is_owed_is_due_by_amount_by_time_before_the_end_and_when_the_session_closes() {
        let dir = tempfile::tempdir().unwrap();
        anchor(dir.path());
        let network = Network::load(&dir.path().join("network.toml")).unwrap();
        let bill = bill(2, &Last { number: 1, total: PRICE, digest: B256::repeat_byte(1) });
        let standing = |at: u128, session: U256, settled: u128, now: &[u64]| {
            let mut settler = Settler::new(&network, Policy { at, after: 100 });
            let says = Says(Ok([session, U256::from(settled)]));
            now.iter().fold(Standing::Unknown, |_, now| settler.standing(&says, &bill, *now).unwrap())
        };
        let (open, closing) = (U256::ONE, U256::from(2) | U256::from(NOW) << 8);
        let (owed, due) = (Standing::Owed(2 * PRICE), Standing::Due(2 * PRICE));
        assert_eq!(standing(1000, open, 0, &[NOW]), owed);
        assert_eq!(standing(2 * PRICE, open, 0, &[NOW]), due);
        assert_eq!(standing(2 * PRICE, open, PRICE, &[NOW]), Standing::Owed(PRICE));
        assert_eq!(standing(1000, open, 0, &[NOW, NOW + 99]), owed);
        assert_eq!(standing(1000, open, 0, &[NOW, NOW + 100]), due);
        assert_eq!(standing(1000, open, 0, &[NOW + 50_000 - BEFORE_END - 1]), owed);
        assert_eq!(standing(1000, open, 0, &[NOW + 50_000 - BEFORE_END]), due);
        assert_eq!(standing(1000, closing, 0, &[NOW]), due);
        assert_eq!(standing(1, open, 2 * PRICE, &[NOW]), Standing::Nothing);
        assert_eq!(standing(1, U256::from(3), 0, &[NOW]), Standing::Over);
        assert_eq!(standing(1, U256::ZERO, 0, &[NOW]), Standing::Unknown);
        let mut settler = Settler::new(&network, Policy { at: 1, after: 100 });
        assert!(settler.standing(&Says(Err("no".into())), &bill, NOW).is_err());
    }

    #[test]
    fn members_settle_one_after_the_other() {
        let dir = tempfile::tempdir().unwrap();
        anchor(dir.path());
        let network = Network::load(&dir.path().join("network.toml")).unwrap();
        let bill = bill(1, &Last::default());
        let mut settler = Settler::new(&network, Policy { at: 1, after: 100 });
        let [first, second, third] = committee().operators;
        assert!(!settler.my_turn(&bill, first, NOW), "nothing is due");
        settler.standing(&Says(Ok([U256::ONE, U256::ZERO])), &bill, NOW).unwrap();
        let turns = |settler: &Settler, now| [first, second, third].map(|own| settler.my_turn(&bill, own, now));
        assert_eq!(turns(&settler, NOW), [true, false, false]);
        assert_eq!(turns(&settler, NOW + STAGGER), [true, true, false]);
        assert_eq!(turns(&settler, NOW + 2 * STAGGER), [true, true, true]);
        settler.standing(&Says(Ok([U256::ONE, U256::from(PRICE)])), &bill, NOW).unwrap();
        assert_eq!(turns(&settler, NOW + 9 * STAGGER), [false, false, false], "it is paid");
    }

    #[test]
    fn only_what_is_over_is_forgotten() {
        let dir = tempfile::tempdir().unwrap();
        anchor(dir.path());
        let network = Network::load(&dir.path().join("network.toml")).unwrap();
        let last = (bill(1, &Last::default()), complete(&bill(1, &Last::default())));
        let secret = Secret::new(&[3; 32]).unwrap();
        let mut settler = Settler::new(&network, Policy { at: 1, after: 100 });
        // Nobody listens at the chain's address: what is due stays, and is tried again.
        for word in [U256::ZERO, U256::ONE] {
            assert!(settler.round(&Says(Ok([word, U256::ZERO])), std::slice::from_ref(&last), &secret, NOW).is_empty());
        }
        let over = settler.round(&Says(Ok([U256::from(3), U256::ZERO])), std::slice::from_ref(&last), &secret, NOW);
        assert_eq!(over, [deal()]);
    }
}
