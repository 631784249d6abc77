//! What an operator says of the market in a file beside `node.toml`, and how its node gets what it is owed: on its own, in time.

use std::collections::{BTreeMap, BTreeSet};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

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
use crate::chain_client::{Chain, Order};
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
/// Seconds before a session's end at which it is settled whatever it is worth.
const BEFORE_END: u64 = 3600;
/// Seconds until a receipt that was handed in is handed in again, if it is not proven to be paid.
const AGAIN: u64 = 45;
/// Receipts in one question: each needs two words.
const BATCH: usize = sahara_light::state::MAX_WORDS / 2;
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

/// When a session is settled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Policy {
    /// From this amount on.
    pub at: u128,
    /// Seconds after something was first owed.
    pub after: u64,
    /// Also when the gas costs more than this operator's part.
    pub at_a_loss: bool,
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

    /// Seconds that what was proven counts.
    pub fn max_age(&self) -> u64 {
        self.max_age
    }

    /// Whether what is owed is handed in also when the gas costs more than this operator's part.
    pub fn at_a_loss(&self) -> bool {
        self.policy.at_a_loss
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

/// Proves again what is in use, and has what is due paid, each in a thread of its own, for as long as the process lives.
pub fn tend(market: Arc<NodeMarket<Light>>, settings: &Settings) -> Result<()> {
    let pause = settings.pause();
    let refreshed = market.clone();
    for_ever("market", pause, move || refreshed.refresh())?;
    let Some(secret) = settings.secret()? else {
        tracing::warn!("no account settles what this node is owed: do it with `sahara operator settle`");
        return Ok(());
    };
    let mut settler = Settler::new(&settings.network, settings.policy);
    for_ever("settling", pause, move || {
        for deal in settler.round(market.words(), &market.bills(), &secret, now()) {
            let forgotten = market.forget(&deal);
            forgotten.unwrap_or_else(|error| tracing::warn!(session = %deal.id, %error, "a session's ledger stays"));
        }
    })
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

/// Has the market pay what is due.
pub struct Settler {
    chain: Chain,
    domain: Domain,
    policy: Policy,
    open: BTreeMap<(B256, B256), Open>,
}

/// What is known of a session in which something is owed.
#[derive(Clone, Copy, Debug, Default)]
struct Open {
    /// Since when.
    since: u64,
    /// Since when it is due.
    due: Option<u64>,
    /// When it was last tried, and how often it was.
    tried: u64,
    attempts: u32,
    /// Whether it was told that it is not worth its gas.
    told: bool,
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
        Self { chain: network.chain(), domain: network.domain(), policy, open: BTreeMap::new() }
    }

    /// One round over the last receipts: hands in what is due; the sessions that are over. Whether it was paid, the next round
    /// finds out by proof; what was not is tried again, by other nodes and for a higher fee.
    pub fn round(&mut self, words: &impl Words, bills: &[Arc<(Bill, Complete)>], by: &Secret, now: u64) -> Vec<Deal> {
        let mut over = Vec::new();
        let mut next = None;
        for batch in bills.chunks(BATCH) {
            let deals: Vec<&Bill> = batch.iter().map(|known| &known.0).collect();
            let standings = match self.standings(words, &deals, now) {
                Ok(standings) => standings,
                Err(why) => {
                    tracing::warn!(%why, "what is owed cannot be proven");
                    continue;
                }
            };
            for (known, standing) in batch.iter().zip(standings) {
                let (bill, complete) = &**known;
                match standing {
                    Standing::Over => over.push(bill.deal.clone()),
                    Standing::Due(owed) if self.my_turn(bill, by.address(), now) => {
                        self.hand_in(bill, complete, owed, by, now, &mut next);
                    }
                    Standing::Unknown => {
                        tracing::warn!(session = %bill.deal.id, "the chain knows no such session (any more)");
                    }
                    _ => {}
                }
            }
        }
        let known: BTreeSet<_> = bills.iter().map(|known| (known.0.deal.id, known.0.deal.lane)).collect();
        self.open.retain(|key, _| known.contains(key));
        over
    }

    /// Hands a receipt in, and does not wait for what becomes of it.
    fn hand_in(&mut self, bill: &Bill, complete: &Complete, owed: u128, by: &Secret, now: u64, next: &mut Option<u64>) {
        let (session, policy) = (bill.deal.id, self.policy);
        let Some(open) = self.open.get_mut(&(session, bill.deal.lane)) else { return };
        open.tried = now;
        let chain = self.chain.turned(open.attempts as usize);
        let order = order(bill, complete);
        let tried = chain.preview(by.address(), &order).and_then(|preview| {
            let preview = preview.dearer(open.attempts.min(10) * 12);
            // Half of the most that it may cost is about what it does cost.
            if !policy.at_a_loss && preview.fee.0 / U256::from(2) > U256::from(part(bill, owed)) {
                if !std::mem::replace(&mut open.told, true) {
                    let (owed, fee) = (Amount::from(owed), preview.fee);
                    tracing::warn!(%session, %owed, %fee, "the gas costs more than this operator's part: it is not settled");
                }
                return Ok(None);
            }
            let nonce = next.map_or_else(|| chain.nonce(by.address(), order.doing), Ok)?;
            let (transaction, said) = chain.submit(by, &order, &preview, nonce)?;
            *next = Some(nonce + 1);
            Ok(Some((transaction, said)))
        });
        let owed = Amount::from(owed);
        match tried {
            // Another node may know of cheaper gas: the next one is asked first.
            Ok(None) => {}
            Ok(Some((transaction, Ok(())))) => tracing::info!(%session, %owed, %transaction, "a receipt was handed in"),
            Ok(Some((transaction, Err(said)))) => {
                tracing::warn!(%session, %owed, %transaction, ?said, "no node takes a receipt");
                // Whatever is wrong with the number, the nodes are asked for it again.
                *next = None;
            }
            Err(error) => tracing::warn!(%session, %owed, why = error.report(), "a receipt is not handed in"),
        }
        open.attempts = open.attempts.saturating_add(1);
    }

    /// What is owed for the last receipt of a session: what the chain has paid is proven.
    ///
    /// # Errors
    /// When nothing is proven.
    pub fn standing(&mut self, words: &impl Words, bill: &Bill, now: u64) -> std::result::Result<Standing, String> {
        self.standings(words, &[bill], now)?.pop().ok_or_else(|| "nothing was asked".to_owned())
    }

    fn standings(
        &mut self,
        words: &impl Words,
        bills: &[&Bill],
        now: u64,
    ) -> std::result::Result<Vec<Standing>, String> {
        let market = self.domain.market;
        let of = |bill: &&Bill| {
            let deal = &bill.deal;
            [(market, slots::session(deal.id)), (market, slots::settled(deal.id, deal.lane))]
        };
        let wanted: Vec<_> = bills.iter().flat_map(of).collect();
        let proven = words.words(&wanted)?;
        if proven.words.len() != wanted.len() {
            return Err("the words are not those that were asked for".to_owned());
        }
        let (pairs, _) = proven.words.as_chunks::<2>();
        Ok(bills.iter().zip(pairs).map(|(bill, pair)| self.read(bill, pair, now)).collect())
    }

    fn read(&mut self, bill: &Bill, [session, settled]: &[B256; 2], now: u64) -> Standing {
        let deal = &bill.deal;
        let key = (deal.id, deal.lane);
        let settled = u128::try_from(U256::from_be_bytes(settled.0)).unwrap_or(u128::MAX);
        let owed = bill.receipt.total.saturating_sub(settled);
        let state = SessionState::read((*session).into());
        match state {
            SessionState::Finished => {
                if owed > 0 {
                    tracing::warn!(session = %deal.id, owed = %Amount::from(owed), "a session is over, and this was not paid");
                }
                return Standing::Over;
            }
            SessionState::None | SessionState::Unknown(_) => return Standing::Unknown,
            _ if owed == 0 => {
                self.open.remove(&key);
                return Standing::Nothing;
            }
            _ => {}
        }
        let open = self.open.entry(key).or_insert(Open { since: now, ..Open::default() });
        let ends = deal.session().ends.min(deal.committee().until);
        let closing = matches!(state, SessionState::Closing(_));
        let late = now.saturating_sub(open.since) >= self.policy.after || now.saturating_add(BEFORE_END) >= ends;
        if closing || late || owed >= self.policy.at {
            open.due.get_or_insert(now);
            return Standing::Due(owed);
        }
        open.due = None;
        Standing::Owed(owed)
    }

    /// Whether it is for this member to settle now: one after the other, as their accounts stand in the committee; and not again
    /// before what was tried could be proven.
    fn my_turn(&self, bill: &Bill, own: Address, now: u64) -> bool {
        let operators = &bill.deal.committee().operators;
        let place = operators.iter().position(|operator| *operator == own).unwrap_or(operators.len());
        let Some(open) = self.open.get(&(bill.deal.id, bill.deal.lane)) else { return false };
        let waited = open.attempts == 0 || now.saturating_sub(open.tried) >= AGAIN;
        waited && open.due.is_some_and(|due| now.saturating_sub(due) >= STAGGER * place as u64)
    }
}

/// About what one of three operators gets of what is owed.
fn part(bill: &Bill, owed: u128) -> u128 {
    let calls = owed / bill.deal.price.max(1);
    calls.saturating_mul(bill.deal.session().compute) / 100 * 99 / 3
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

    #[test]
    fn what_is_owed_is_due_by_amount_by_time_before_the_end_and_when_the_session_closes() {
        let dir = tempfile::tempdir().unwrap();
        anchor(dir.path());
        let network = Network::load(&dir.path().join("network.toml")).unwrap();
        let bill = bill(2, &Last { number: 1, total: PRICE, digest: B256::repeat_byte(1) });
        let standing = |at: u128, session: U256, settled: u128, now: &[u64]| {
            let mut settler = Settler::new(&network, Policy { at, after: 100, at_a_loss: false });
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
        let mut settler = Settler::new(&network, Policy { at: 1, after: 100, at_a_loss: false });
        assert!(settler.standing(&Says(Err("no".into())), &bill, NOW).is_err());
    }

    #[test]
    fn members_settle_one_after_the_other() {
        let dir = tempfile::tempdir().unwrap();
        anchor(dir.path());
        let network = Network::load(&dir.path().join("network.toml")).unwrap();
        let bill = bill(1, &Last::default());
        let mut settler = Settler::new(&network, Policy { at: 1, after: 100, at_a_loss: false });
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
    fn what_was_handed_in_has_time_to_be_proven_and_the_part_of_an_operator_is_a_third() {
        let dir = tempfile::tempdir().unwrap();
        anchor(dir.path());
        let network = Network::load(&dir.path().join("network.toml")).unwrap();
        let bill = bill(1, &Last::default());
        let mut settler = Settler::new(&network, Policy { at: 1, after: 100, at_a_loss: false });
        settler.standing(&Says(Ok([U256::ONE, U256::ZERO])), &bill, NOW).unwrap();
        let [first, ..] = committee().operators;
        let open = settler.open.get_mut(&(bill.deal.id, bill.deal.lane)).unwrap();
        (open.tried, open.attempts) = (NOW, 1);
        assert!(!settler.my_turn(&bill, first, NOW + AGAIN - 1) && settler.my_turn(&bill, first, NOW + AGAIN));
        // Of 100 calls at 7 for computing a hundredth is burnt.
        assert_eq!(part(&bill, 100 * PRICE), 700 / 100 * 99 / 3);
    }

    #[test]
    fn only_what_is_over_is_forgotten() {
        let dir = tempfile::tempdir().unwrap();
        anchor(dir.path());
        let network = Network::load(&dir.path().join("network.toml")).unwrap();
        let last = [Arc::new((bill(1, &Last::default()), complete(&bill(1, &Last::default()))))];
        let secret = Secret::new(&[3; 32]).unwrap();
        let mut settler = Settler::new(&network, Policy { at: 1, after: 100, at_a_loss: false });
        // Nobody listens at the chain's address: what is due stays, and is tried again.
        for word in [U256::ZERO, U256::ONE] {
            assert!(settler.round(&Says(Ok([word, U256::ZERO])), &last, &secret, NOW).is_empty());
        }
        assert_eq!(settler.open.len(), 1);
        let over = settler.round(&Says(Ok([U256::from(3), U256::ZERO])), &last, &secret, NOW);
        assert_eq!(over, [deal()]);
        assert!(settler.round(&Says(Ok([U256::ONE, U256::ZERO])), &[], &secret, NOW).is_empty());
        assert!(settler.open.is_empty(), "what is not known any more is forgotten");
    }
}
