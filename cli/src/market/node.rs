//! What a share node asks of the market: who is licensed, what a voucher pays for, what it signs.
//!
//! A consumer shows its session; here three words of storage and the time are proven for it (`sahara-light`), and proven again
//! while it is used. From then on everything is answered from memory, until what is proven is older than the operator allows.
//! What this node signs and what is complete lies in a [`Ledger`] for each session and lane.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::ops::Bound;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use alloy_primitives::{Address, B256, U256};
use sahara_light::{Light, Proven, ProvenAccount};
use sahara_market::slots::{self, CommitteeState, SessionState};
use sahara_market::{Domain, LICENCES, Voucher};
use sahara_mpc::durable;
use sahara_mpc::identity::PublicKey;
use sahara_mpc::market::{Complete, JobEnd, Market, Order, Place, Unlicensed, Waste};

use super::bill::{self, Bill, Deal, Last, Outcome, Promise};
use super::ledger::{self, Found, Ledger, Signed};
use crate::error::{Error, Result};
use crate::wallet::amount::Amount;
use sahara::home::create_private_dir;

/// Most sessions that a node has in memory.
const MAX_LANES: usize = if cfg!(test) { 256 } else { 16 << 10 };
/// Most sessions of which it has but the file: each was opened for money, and has some kilobytes.
const MAX_PARKED: usize = 256 << 10;
/// Of these, read at a time to see what is owed.
const PARKED_AT_A_TIME: usize = 256;
/// Of these, of one key.
const MAX_LANES_OF_ONE: usize = 64;
/// Seconds that a job's name may be older or newer than this node's clock when it is asked; when its receipt is signed, twice as
/// many. What was signed for a job is kept for longer than both.
const FRESH: u64 = 900;
/// Seconds after which a session that nobody used is not proven again until it is shown again.
const IDLE: u64 = 900;
/// Seconds after which it leaves memory if there is no room otherwise: it may be shown again.
const HARDLY_USED: u64 = 60;
/// Blocks by which what another member believes may be behind what is known here: what was proven of a chain may be as old as the
/// longest `max-header-age` is, an hour of blocks of a second.
const BEHIND: u64 = 3_720;
/// Blocks by which it may be ahead: what is in use is proven again each minute, so two minutes of blocks. A receipt that names a
/// height of times to come could not be verified until then.
pub const AHEAD: u64 = 120;
/// Seconds of a closing session's window that have to be left for a receipt to be signed.
const WINDOW: u64 = 3600;
/// Complete receipts of one number that are remembered.
const MAX_TWINS: usize = 8;
/// Names of jobs that are remembered whatever their age.
const LEAST_NAMES: usize = 64;
/// Names of jobs that are signed for until some are old enough to be forgotten.
const MAX_NAMES: usize = 4096;
/// Jobs of a session that may come to nothing in an hour, besides as many as were receipted: each may have cost a pack.
const MAX_GIVEN_UP: u32 = 8;
/// Sessions in one question: each needs four words.
const BATCH: usize = sahara_light::state::MAX_WORDS / 4;

/// Words of the chain's storage, proven.
pub trait Words: Send + Sync {
    /// The words in the state after one block that is new enough.
    ///
    /// # Errors
    /// Why nothing is proven.
    fn words(&self, wanted: &[(Address, B256)]) -> std::result::Result<Proven, String>;

    /// An account after one block that is new enough.
    ///
    /// # Errors
    /// Why nothing is proven.
    fn account(&self, address: Address) -> std::result::Result<ProvenAccount, String> {
        Err(format!("nothing is proven of accounts here, {address} among them"))
    }
}

impl Words for Light {
    fn words(&self, wanted: &[(Address, B256)]) -> std::result::Result<Proven, String> {
        Light::words(self, wanted).map_err(|e| e.to_string())
    }

    fn account(&self, address: Address) -> std::result::Result<ProvenAccount, String> {
        Light::account(self, address).map_err(|e| e.to_string())
    }
}

/// A share node's view of the market.
pub struct NodeMarket<W> {
    domain: Domain,
    words: W,
    folder: PathBuf,
    /// Seconds that what was proven counts.
    max_age: u64,
    clock: fn() -> u64,
    table: Mutex<Table>,
    /// The last receipts in files that are damaged: they are paid all the same.
    salvaged: Vec<Arc<(Bill, Complete)>>,
}

type Key = (B256, B256);

#[derive(Default)]
struct Table {
    lanes: BTreeMap<Key, Arc<Mutex<Entry>>>,
    of: BTreeMap<PublicKey, Vec<Key>>,
    /// Sessions of which there is but the file.
    parked: BTreeSet<Key>,
    /// The one of them that was looked at last.
    looked: Option<Key>,
}

/// One session at one committee.
struct Entry {
    deal: Arc<Deal>,
    ledger: Ledger,
    proof: Option<Proof>,
    /// The newest height at which something was proven of it.
    height: u64,
    /// What the chain is proven to have paid to the lane, whenever that was.
    settled: u128,
    last: Last,
    complete: Option<Arc<(Bill, Complete)>>,
    /// This hour's jobs.
    hour: Hour,
    /// Digests of other complete receipts of the last number: a member that collected signatures and told nobody may have made
    /// one, and the others another. The next receipt may follow any of them.
    twins: Vec<B256>,
    signed: Vec<Signed>,
    held: Option<Held>,
    /// When somebody asked for it last.
    used: u64,
}

/// How many jobs of a session there were in an hour.
#[derive(Clone, Copy, Debug, Default)]
struct Hour {
    /// Which, since 1970.
    number: u64,
    receipts: u32,
    given_up: u32,
}

impl Hour {
    fn at(&mut self, now: u64) -> &mut Self {
        if self.number != now / 3600 {
            *self = Self { number: now / 3600, ..Self::default() };
        }
        self
    }
}

/// What was proven of a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Proof {
    /// Until when that counts.
    until: u64,
    /// The same by a clock that nobody sets back.
    expires: Instant,
    height: u64,
    /// What the chain has paid to the lane.
    settled: u128,
    /// Until when totals of a session that closes are taken: nothing new is begun in it.
    closing: Option<u64>,
}

impl Proof {
    /// Whether it counts for something new.
    fn serves(&self, now: u64) -> bool {
        self.is_fresh(now) && self.closing.is_none()
    }

    fn is_fresh(&self, now: u64) -> bool {
        self.until >= now && Instant::now() <= self.expires
    }
}

/// An order that has the next total.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Held {
    job: [u8; 16],
    request: B256,
}

impl Held {
    fn by(order: &Order) -> Self {
        Self { job: order.job.0, request: bill::request(order) }
    }
}

impl<W: Words> NodeMarket<W> {
    /// The market of `domain` with what this node has kept in `folder`.
    ///
    /// # Errors
    /// When the folder cannot be made or read. A ledger that is damaged is told and left as it is: its session is not served, and
    /// its last receipt that can be read is paid.
    pub fn open(domain: Domain, words: W, folder: PathBuf, max_age: u64, clock: fn() -> u64) -> Result<Self> {
        create_private_dir(&folder)?;
        let table = Mutex::default();
        let mut market = Self { domain, words, folder, max_age, clock, table, salvaged: Vec::new() };
        let files = ledger::files(&market.folder).map_err(|e| Error::io("reading", &market.folder, e))?;
        for path in files {
            match Ledger::open(&domain, path.clone()) {
                // Nothing was earned there, and nothing signed that could be signed again.
                Ok((ledger, found)) if found.last.is_none() && stale(&found.signed, clock()) => {
                    ledger.delete().map_err(|e| Error::io("removing", &path, e))?;
                }
                Ok((ledger, found)) => {
                    market.table().insert_or_park(Entry::new(&domain, ledger, found));
                }
                Err(error) => {
                    tracing::error!(file = %path.display(), %error, "a ledger is damaged: its session is not served");
                    market.salvaged.extend(ledger::salvage(&domain, &path).map(Arc::new));
                }
            }
        }
        Ok(market)
    }

    /// The last complete receipt of each session and lane in memory, and of some of those of which there is but the file: others
    /// the next time.
    pub fn bills(&self) -> Vec<Arc<(Bill, Complete)>> {
        let (lanes, parked) = {
            let mut table = self.table();
            let lanes: Vec<_> = table.lanes.values().cloned().collect();
            (lanes, table.some_parked())
        };
        let mut bills: Vec<_> = lanes.iter().filter_map(|entry| lock(entry).complete.clone()).collect();
        bills.extend(self.salvaged.iter().cloned());
        let read = |key: &Key| ledger::last(&self.domain, &Ledger::file(&self.folder, *key));
        bills.extend(parked.iter().filter_map(read).map(Arc::new));
        bills
    }

    /// What the chain is proven to have paid to a session's lane: what is paid gives way first when there is no room.
    pub fn paid(&self, session: B256, lane: B256, settled: u128) {
        let entry = self.table().lanes.get(&(session, lane)).cloned();
        if let Some(entry) = entry {
            let mut entry = lock(&entry);
            entry.settled = entry.settled.max(settled);
        }
    }

    /// Forgets a session that is over, and all that was paid.
    ///
    /// # Errors
    /// When its file stays.
    pub fn forget(&self, deal: &Deal) -> io::Result<()> {
        let key = (deal.id, deal.lane);
        let mut table = self.table();
        if table.parked.remove(&key) {
            return durable::remove(&Ledger::file(&self.folder, key));
        }
        let Some(entry) = table.lanes.remove(&key) else { return Ok(()) };
        table.of.entry(deal.asker()).or_default().retain(|known| *known != key);
        table.of.retain(|_, keys| !keys.is_empty());
        drop(table);
        lock(&entry).ledger.delete()
    }

    /// What is proven here, to be asked for more.
    pub fn words(&self) -> &W {
        &self.words
    }

    /// Proves again what is in use. For a thread that does so several times within the time that what is proven counts.
    pub fn refresh(&self) {
        let now = (self.clock)();
        let entries: Vec<_> = self.table().lanes.values().cloned().collect();
        let in_use = |entry: &&Arc<Mutex<Entry>>| {
            let entry = lock(entry);
            entry.proof.is_some() && now.saturating_sub(entry.used) < IDLE
        };
        let entries: Vec<_> = entries.iter().filter(in_use).collect();
        for batch in entries.chunks(BATCH) {
            let deals: Vec<_> = batch.iter().map(|entry| lock(entry).deal.clone()).collect();
            match self.prove(&deals) {
                Ok(proofs) => {
                    for (entry, proof) in batch.iter().zip(proofs) {
                        let mut entry = lock(entry);
                        match proof {
                            Ok(proof) => entry.prove(proof),
                            Err(why) => {
                                tracing::info!(session = %entry.deal.id, %why, "a session is not served any more");
                                entry.proof = None;
                            }
                        }
                    }
                }
                // What was proven counts for some time.
                Err(why) => tracing::warn!(%why, "nothing new is proven of the chain"),
            }
        }
    }

    /// What the chain says of these deals now; an error if nothing is proven.
    fn prove(
        &self,
        deals: &[Arc<Deal>],
    ) -> std::result::Result<Vec<std::result::Result<Proof, Unlicensed>>, Unlicensed> {
        let wanted: Vec<_> = deals.iter().flat_map(|deal| wanted(&self.domain, deal)).collect();
        let proven = self.words.words(&wanted).map_err(Unlicensed::Unable)?;
        if proven.words.len() != wanted.len() {
            return Err(Unlicensed::Unable("the chain's words are not those that were asked for".to_owned()));
        }
        let (words, _) = proven.words.as_chunks::<4>();
        Ok(deals.iter().zip(words).map(|(deal, words)| self.read(deal, &proven, words)).collect())
    }

    fn read(&self, deal: &Deal, proven: &Proven, words: &[B256; 4]) -> std::result::Result<Proof, Unlicensed> {
        let refused = |why: &str| Err(Unlicensed::Refused(format!("{why} (session {})", deal.id)));
        let [session, committee, settled, withdrawn] = words.map(|word| U256::from_be_bytes(word.0));
        let closing = match SessionState::read(session) {
            SessionState::Open => None,
            SessionState::Closing(until) => Some(until),
            SessionState::None => return refused("the chain knows no such session"),
            SessionState::Finished => return refused("the session is over: open another"),
            SessionState::Unknown(_) => return refused("the session is in a state that this program does not know"),
        };
        match CommitteeState::read(committee) {
            Some(CommitteeState { from: 0, .. }) => return refused("the chain knows no such committee"),
            Some(CommitteeState { from, ended: 0 }) if from <= proven.time => {}
            Some(CommitteeState { ended: 0, .. }) => return refused("the committee does not serve yet"),
            Some(_) => return refused("the committee was unseated"),
            None => return refused("the committee is in a state that this program does not know"),
        }
        if !withdrawn.is_zero() {
            return refused("the licence was withdrawn");
        }
        let Ok(settled) = u128::try_from(settled) else { return refused("more was paid than there is") };
        let until = proven.time.saturating_add(self.max_age);
        let expires = Instant::now() + Duration::from_secs(self.max_age);
        Ok(Proof { until, expires, height: proven.height, settled, closing })
    }

    fn prove_one(&self, deal: &Deal) -> std::result::Result<Proof, Unlicensed> {
        let proofs = self.prove(&[Arc::new(deal.clone())])?;
        proofs.into_iter().next().unwrap_or_else(|| Err(unknown()))
    }

    /// The entry of a deal; made if there is none. A session that its own committee has signed for does not count among those
    /// that its consumer shows.
    fn entry(&self, deal: Deal, shown: bool) -> std::result::Result<Arc<Mutex<Entry>>, Unlicensed> {
        let key = (deal.id, deal.lane);
        let mut table = self.table();
        if let Some(entry) = table.lanes.get(&key) {
            return Ok(entry.clone());
        }
        table.make_room(&deal.asker(), (self.clock)(), shown)?;
        let path = Ledger::path(&self.folder, &deal);
        let unable = |error: &dyn std::fmt::Display| {
            tracing::error!(file = %path.display(), %error, "a session's ledger cannot be used");
            Unlicensed::Unable("this node cannot keep its record of the session: ask its operator".to_owned())
        };
        let (ledger, found) = if path.exists() {
            // It was forgotten to make room, or is damaged.
            Ledger::open(&self.domain, path.clone()).map_err(|e| unable(&e))?
        } else {
            let ledger = Ledger::begin(path.clone(), &deal).map_err(|e| unable(&e))?;
            (ledger, Found { deal, last: None, signed: Vec::new(), twins: Vec::new() })
        };
        Ok(table.insert(Entry::new(&self.domain, ledger, found)))
    }

    /// The session that a voucher names, if it is the asker's and for this place.
    fn named(&self, place: &Place, asker: &PublicKey, promise: &Promise) -> Option<Arc<Mutex<Entry>>> {
        let entry = self.table().lanes.get(&(promise.session, promise.lane)).cloned()?;
        let fits = {
            let entry = lock(&entry);
            entry.deal.asker() == *asker && entry.deal.fits(&self.domain, place)
        };
        fits.then_some(entry)
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether something may be begun in a session now; it is in use, then.
    fn serves(&self, entry: &mut Entry, place: &Place, now: u64) -> std::result::Result<(), Unlicensed> {
        let ended = now > entry.deal.session().ends || now > entry.deal.committee().until;
        if ended || !entry.deal.fits(&self.domain, place) || !entry.proof.is_some_and(|proof| proof.serves(now)) {
            return Err(unknown());
        }
        if entry.last.total.saturating_add(entry.deal.price) > entry.deal.cap {
            return Err(Unlicensed::Refused("the session's deposit is used up: open another".to_owned()));
        }
        entry.used = now;
        Ok(())
    }

    /// Whether an order is paid: see [`Market::accept`]. Nothing here asks the chain.
    /// The job's name may be `fresh` seconds old.
    fn check(
        &self,
        entry: &Entry,
        order: &Order,
        promise: &Promise,
        fresh: u64,
    ) -> std::result::Result<(), Unlicensed> {
        let refused = |why: String| Err(Unlicensed::Refused(why));
        let (deal, now, asked) = (&entry.deal, (self.clock)(), u64::from(order.job.seconds()));
        if now.abs_diff(asked) > fresh {
            return refused(format!(
                "the job's name is of another time, {} s away: set the clock",
                now.abs_diff(asked)
            ));
        }
        let session = deal.session();
        if asked > session.ends || asked > deal.committee().until {
            return refused("the session has ended: open another".to_owned());
        }
        let voucher: Voucher = deal.voucher(order, promise.total);
        match voucher.signer(&self.domain, &promise.signature) {
            Ok(signer) if signer == session.signer => {}
            _ => return refused("the voucher is not signed by the session's key for this job".to_owned()),
        }
        if promise.total > deal.cap {
            return refused(format!(
                "the voucher's total of {} is above the session's cap of {}",
                Amount::from(promise.total),
                Amount::from(deal.cap)
            ));
        }
        if promise.total == 0 || !promise.total.is_multiple_of(deal.price) {
            return refused(format!("the voucher's total is no multiple of the price of {}", Amount::from(deal.price)));
        }
        let due = entry.last.total.saturating_add(deal.price);
        let paid = entry.proof.map_or(0, |proof| proof.settled);
        if paid > entry.last.total || promise.total > due {
            return Err(Unlicensed::Behind(format!(
                "the last receipt here is of {}, the voucher of {}",
                Amount::from(entry.last.total),
                Amount::from(promise.total)
            )));
        }
        if promise.total < due {
            return Err(Unlicensed::Spent(format!(
                "a receipt of {} was given already: ask again, and if that does not help, close the session with `sahara \
                 session close` and open another",
                Amount::from(entry.last.total)
            )));
        }
        Ok(())
    }
}

impl<W: Words> Market for NodeMarket<W> {
    fn licensed(&self, place: &Place, asker: &PublicKey) -> std::result::Result<(), Unlicensed> {
        let now = (self.clock)();
        let entries: Vec<_> = {
            let table = self.table();
            let keys = table.of.get(asker).into_iter().flatten();
            keys.filter_map(|key| table.lanes.get(key).cloned()).collect()
        };
        let mut why = unknown();
        for entry in entries {
            match self.serves(&mut lock(&entry), place, now) {
                Ok(()) => return Ok(()),
                Err(refused @ Unlicensed::Refused(_)) => why = refused,
                Err(_) => {}
            }
        }
        Err(why)
    }

    fn knows(&self, place: &Place, asker: &PublicKey, voucher: &[u8]) -> std::result::Result<(), Unlicensed> {
        let promise = Promise::decode(voucher).map_err(|e| Unlicensed::Refused(e.to_string()))?;
        let entry = self.named(place, asker, &promise).ok_or_else(unknown)?;
        self.serves(&mut lock(&entry), place, (self.clock)())
    }

    fn calls_left(&self, asker: &PublicKey) -> u64 {
        let now = (self.clock)();
        let entries: Vec<_> = {
            let table = self.table();
            table.of.get(asker).into_iter().flatten().filter_map(|key| table.lanes.get(key).cloned()).collect()
        };
        let left = entries.iter().map(|entry| {
            let entry = lock(entry);
            let ended = now > entry.deal.session().ends || now > entry.deal.committee().until;
            match entry.proof {
                Some(proof) if !ended && proof.serves(now) => {
                    entry.deal.cap.saturating_sub(entry.last.total) / entry.deal.price
                }
                _ => 0,
            }
        });
        u64::try_from(left.fold(0, u128::saturating_add)).unwrap_or(u64::MAX)
    }

    fn is_customer(&self, asker: &PublicKey) -> bool {
        self.table().of.contains_key(asker)
    }

    fn present(&self, place: &Place, asker: &PublicKey, session: &[u8]) -> std::result::Result<(), Unlicensed> {
        let deal = Deal::decode(&self.domain, session).map_err(|e| Unlicensed::Refused(e.to_string()))?;
        if deal.asker() != *asker {
            return Err(Unlicensed::Refused("the session is another key's".to_owned()));
        }
        if !deal.fits(&self.domain, place) {
            return Err(Unlicensed::Refused(
                "the session is for another committee, or for another model or version of it".to_owned(),
            ));
        }
        let now = (self.clock)();
        if now > deal.session().ends || now > deal.committee().until {
            return Err(Unlicensed::Refused("the session has ended: open another".to_owned()));
        }
        // Nothing is kept of what the chain does not know.
        let proof = self.prove_one(&deal)?;
        if proof.closing.is_some() {
            return Err(closing(&deal));
        }
        let entry = self.entry(deal, true)?;
        let mut entry = lock(&entry);
        entry.prove(proof);
        entry.used = now;
        Ok(())
    }

    fn accept(&self, order: &Order) -> std::result::Result<(), Unlicensed> {
        let promise = promise(order)?;
        let entry = self.named(&order.place, &order.asker, &promise).ok_or_else(unknown)?;
        let (mut entry, now) = (lock(&entry), (self.clock)());
        match entry.proof {
            Some(proof) if proof.serves(now) => {}
            Some(Proof { closing: Some(_), .. }) => return Err(closing(&entry.deal)),
            _ => return Err(unknown()),
        }
        if now > entry.deal.session().ends || now > entry.deal.committee().until {
            return Err(Unlicensed::Refused("the session has ended: open another".to_owned()));
        }
        let checked = self.check(&entry, order, &promise, FRESH);
        if !matches!(checked, Ok(()) | Err(Unlicensed::Behind(_))) {
            return checked;
        }
        let hour = entry.hour.at(now);
        if hour.given_up > hour.receipts.saturating_add(MAX_GIVEN_UP) {
            return Err(Unlicensed::Refused(
                "too many jobs of this session came to nothing: wait for an hour".to_owned(),
            ));
        }
        checked?;
        entry.hold(order)?;
        entry.used = now;
        Ok(())
    }

    fn draw_up(&self, order: &Order, end: &JobEnd) -> std::result::Result<Vec<u8>, Unlicensed> {
        let promise = promise(order)?;
        let entry = self.named(&order.place, &order.asker, &promise).ok_or_else(unknown)?;
        let entry = lock(&entry);
        if entry.held != Some(Held::by(order)) {
            return Err(Unlicensed::Refused("the job has no voucher here".to_owned()));
        }
        self.check(&entry, order, &promise, 2 * FRESH)?;
        let receipt = entry.deal.receipt(order, &Outcome::from(end), &entry.last, entry.height);
        let receipt = receipt.ok_or_else(|| Unlicensed::Refused("the session has no more numbers".to_owned()))?;
        Ok(Bill { receipt, voucher: promise.signature, deal: (*entry.deal).clone() }.encode())
    }

    fn judge(&self, order: &Order, end: Option<&JobEnd>, receipt: &[u8]) -> std::result::Result<[u8; 32], Unlicensed> {
        let refused = |why: &str| Err(Unlicensed::Refused(why.to_owned()));
        let promise = promise(order)?;
        let bill = Bill::decode(&self.domain, receipt).map_err(|e| Unlicensed::Refused(e.to_string()))?;
        if end.is_none() {
            // Whoever did not see the job begin knows the session by the receipt, and asks the chain.
            self.know(order, &bill)?;
        }
        let entry = self.named(&order.place, &order.asker, &promise).ok_or_else(unknown)?;
        self.catch_up(&entry, bill.receipt.height)?;
        let mut entry = lock(&entry);
        let digest = bill.digest(&self.domain);
        if entry.last.number > 0 && digest == entry.last.digest && bill.receipt.job == bill::job(order) {
            // It is complete, and whoever asks has not heard of that.
            return Ok(digest.0);
        }
        self.check(&entry, order, &promise, 2 * FRESH)?;
        if end.is_some() && entry.held != Some(Held::by(order)) {
            return refused("the job has no voucher here");
        }
        // Of one voucher there may be several signatures, which all count: `decode` has checked this one.
        if bill.deal != *entry.deal || bill.receipt.total != promise.total {
            return refused("the receipt is not what the voucher pays for");
        }
        let outcome = match end {
            Some(end) => Outcome::from(end),
            None => Outcome { output: bill.receipt.output, transcript: bill.receipt.transcript },
        };
        if outcome.output.is_zero() || outcome.transcript.is_zero() {
            return refused("the receipt commits to no answer");
        }
        let height = bill.receipt.height;
        if height < entry.height.saturating_sub(BEHIND) || height > entry.height.saturating_add(AHEAD) {
            return refused("the receipt names a height that is far from what is known here");
        }
        let previous = bill.receipt.previous;
        if previous != entry.last.digest && !entry.twins.contains(&previous) {
            return Err(Unlicensed::Behind("the receipt follows one that is not known here".to_owned()));
        }
        let last = Last { digest: previous, ..entry.last };
        if entry.deal.receipt(order, &outcome, &last, bill.receipt.height) != Some(bill.receipt) {
            return refused("the receipt says something else than is known here");
        }
        entry.hold(order)?;
        entry.sign(Signed { job: order.job.0, digest }, (self.clock)())?;
        Ok(digest.0)
    }

    fn complete(&self, order: &Order, complete: &Complete) -> std::result::Result<(), Unlicensed> {
        let bill = Bill::of(&self.domain, complete).map_err(|e| Unlicensed::Refused(e.to_string()))?;
        let promise = promise(order)?;
        let entry = self.named(&order.place, &order.asker, &promise).ok_or_else(unknown)?;
        let mut entry = lock(&entry);
        let digest = bill.digest(&self.domain);
        if !entry.signed.contains(&Signed { job: order.job.0, digest }) {
            return Err(Unlicensed::Refused("the receipt is not the one that was signed here".to_owned()));
        }
        // One price, one answer: whoever has two receipts of one number gets what the first is for.
        if bill.receipt.number <= entry.last.number && digest != entry.last.digest {
            entry.remember(&bill, digest);
            return Err(Unlicensed::Spent("another receipt of this total was given already".to_owned()));
        }
        entry.keep(&self.domain, &bill, complete, (self.clock)())
    }

    fn give_up(&self, order: &Order, waste: Waste) {
        let Ok(promise) = promise(order) else { return };
        let Some(entry) = self.named(&order.place, &order.asker, &promise) else { return };
        let mut entry = lock(&entry);
        if waste == Waste::Questions {
            // The session's own key said it: nobody else is counted for it.
            let hour = entry.hour.at((self.clock)());
            hour.given_up = hour.given_up.saturating_add(1);
        }
        if entry.held == Some(Held::by(order)) {
            entry.held = None;
            // What was refused, or not helped with, before a pack was taken is nobody's guilt.
            if waste == Waste::Pack {
                let hour = entry.hour.at((self.clock)());
                hour.given_up = hour.given_up.saturating_add(1);
            }
        }
    }

    fn last(&self, place: &Place, asker: &PublicKey, voucher: &[u8]) -> Option<Complete> {
        let promise = Promise::decode(voucher).ok()?;
        let entry = self.named(place, asker, &promise)?;
        let entry = lock(&entry);
        Some(entry.complete.as_deref()?.1.clone())
    }

    fn learn(&self, place: &Place, asker: &PublicKey, complete: &Complete) -> std::result::Result<(), Unlicensed> {
        let refused = |why: String| Err(Unlicensed::Refused(why));
        let bill = match Bill::of(&self.domain, complete) {
            Ok(bill) => bill,
            Err(error) => return refused(error.to_string()),
        };
        if bill.deal.asker() != *asker || !bill.deal.fits(&self.domain, place) {
            return refused("the receipt is another session's".to_owned());
        }
        let entry = self.entry(bill.deal.clone(), false)?;
        let mut entry = lock(&entry);
        if bill.receipt.number <= entry.last.number {
            entry.remember(&bill, bill.digest(&self.domain));
            return Ok(());
        }
        entry.keep(&self.domain, &bill, complete, (self.clock)())
    }
}

impl<W: Words> NodeMarket<W> {
    /// Proves a session again if another member knows the chain at a height far ahead: perhaps this node's view is the old one.
    fn catch_up(&self, entry: &Mutex<Entry>, height: u64) -> std::result::Result<(), Unlicensed> {
        let deal = {
            let entry = lock(entry);
            if height <= entry.height.saturating_add(AHEAD) {
                return Ok(());
            }
            entry.deal.clone()
        };
        let proof = self.prove_one(&deal)?;
        lock(entry).prove(proof);
        Ok(())
    }

    /// Makes sure that the session of a receipt is known and was proven: for a member that did not see the job begin. A session
    /// that closes meanwhile still pays, as long as enough of its window is left.
    fn know(&self, order: &Order, bill: &Bill) -> std::result::Result<(), Unlicensed> {
        let now = (self.clock)();
        if bill.deal.asker() != order.asker || !bill.deal.fits(&self.domain, &order.place) {
            return Err(Unlicensed::Refused("the receipt is another session's".to_owned()));
        }
        let known = self.table().lanes.get(&(bill.deal.id, bill.deal.lane)).cloned();
        let proof = match known.and_then(|entry| lock(&entry).proof).filter(|proof| proof.is_fresh(now)) {
            Some(proof) => proof,
            None => self.prove_one(&bill.deal)?,
        };
        if proof.closing.is_some_and(|until| until < now.saturating_add(WINDOW)) {
            return Err(closing(&bill.deal));
        }
        let entry = self.entry(bill.deal.clone(), false)?;
        let mut entry = lock(&entry);
        entry.prove(proof);
        entry.used = now;
        Ok(())
    }
}

impl Table {
    fn insert(&mut self, entry: Entry) -> Arc<Mutex<Entry>> {
        let (key, asker) = ((entry.deal.id, entry.deal.lane), entry.deal.asker());
        let entry = Arc::new(Mutex::new(entry));
        self.lanes.insert(key, entry.clone());
        self.parked.remove(&key);
        let keys = self.of.entry(asker).or_default();
        if !keys.contains(&key) {
            keys.push(key);
        }
        entry
    }

    fn insert_or_park(&mut self, entry: Entry) {
        if self.lanes.len() < MAX_LANES {
            self.insert(entry);
        } else {
            self.parked.insert((entry.deal.id, entry.deal.lane));
        }
    }

    /// Some of the sessions of which there is but the file: the next ones in turn.
    fn some_parked(&mut self) -> Vec<Key> {
        let after = self.looked.map_or(Bound::Unbounded, Bound::Excluded);
        let some: Vec<Key> = self.parked.range((after, Bound::Unbounded)).take(PARKED_AT_A_TIME).copied().collect();
        self.looked = (some.len() == PARKED_AT_A_TIME).then(|| some.last().copied()).flatten();
        some
    }

    /// Room for one more session of `asker`, one that counts among those that it shows or not: those that are not in use give way,
    /// first those in which nothing is owed. Of what may still be owed, or asked for again, the file stays: whoever shows such a
    /// session again finds it, and the settler looks at it from time to time. So nobody keeps newcomers out by sessions that are
    /// neither used nor ended.
    fn make_room(&mut self, asker: &PublicKey, now: u64, counted: bool) -> std::result::Result<(), Unlicensed> {
        let crowded = |table: &Self| counted && table.of.get(asker).map_or(0, Vec::len) >= MAX_LANES_OF_ONE;
        let full = |table: &Self| table.lanes.len() >= MAX_LANES || crowded(table);
        for (idle, owed) in [(IDLE, false), (IDLE, true), (HARDLY_USED, true)] {
            if !full(self) {
                return Ok(());
            }
            // One key alone makes room for itself.
            let of = (self.lanes.len() < MAX_LANES).then_some(asker);
            self.evict(of, now, idle, owed);
        }
        match full(self) {
            false => Ok(()),
            true => Err(Unlicensed::Unable("this node knows too many sessions: close some".to_owned())),
        }
    }

    /// Has sessions leave memory that nobody used for `idle` seconds: of one key, or of all; also such in which something is `owed`.
    fn evict(&mut self, of: Option<&PublicKey>, now: u64, idle: u64, owed: bool) {
        let parked = &mut self.parked;
        self.lanes.retain(|key, shared| {
            // Whoever holds it would write to a file that another entry writes to, too.
            let alone = Arc::strong_count(shared) == 1;
            let entry = lock(shared);
            let its = of.is_none_or(|asker| entry.deal.asker() == *asker);
            let unused = entry.held.is_none() && now.saturating_sub(entry.used) > idle;
            if !alone || !its || !unused || (entry.is_owed() && !owed) {
                return true;
            }
            if entry.complete.is_none() && stale(&entry.signed, now) {
                let removed = entry.ledger.delete();
                removed.unwrap_or_else(|error| tracing::warn!(%error, "a ledger in which nothing is stays"));
                return false;
            }
            if parked.len() >= MAX_PARKED {
                return true;
            }
            parked.insert(*key);
            false
        });
        let lanes = &self.lanes;
        self.of.values_mut().for_each(|keys| keys.retain(|key| lanes.contains_key(key)));
        self.of.retain(|_, keys| !keys.is_empty());
    }
}

impl Entry {
    fn new(domain: &Domain, ledger: Ledger, found: Found) -> Self {
        let Found { deal, last, signed, twins } = found;
        let complete = last.and_then(|last| Some(Arc::new((Bill::of(domain, &last).ok()?, last))));
        let last = complete.as_ref().map_or_else(Last::default, |complete| complete.0.last(domain));
        let (deal, hour) = (Arc::new(deal), Hour::default());
        let (proof, held) = (None, None);
        Self { deal, ledger, proof, height: 0, settled: 0, last, complete, hour, twins, signed, held, used: 0 }
    }

    /// Whether the chain has not paid all that was receipted, as far as is proven.
    fn is_owed(&self) -> bool {
        self.last.total > self.settled
    }

    fn prove(&mut self, proof: Proof) {
        self.settled = self.settled.max(proof.settled);
        self.height = self.height.max(proof.height);
        self.proof = Some(proof);
    }

    /// Gives the next total to an order, unless another one has it.
    fn hold(&mut self, order: &Order) -> std::result::Result<(), Unlicensed> {
        let held = Held::by(order);
        match self.held {
            Some(other) if other != held => {
                Err(Unlicensed::Held("another job of this session is under way".to_owned()))
            }
            _ => {
                self.held = Some(held);
                Ok(())
            }
        }
    }

    /// Keeps what is to be signed, unless something else was signed for the same job: who signs two receipts for one job loses
    /// its bond.
    fn sign(&mut self, signed: Signed, now: u64) -> std::result::Result<(), Unlicensed> {
        if self.signed.contains(&signed) {
            return Ok(());
        }
        if self.signed.iter().any(|other| other.job == signed.job) {
            return Err(Unlicensed::Refused("another receipt was signed here for this job".to_owned()));
        }
        self.prune(now);
        if self.signed.len() >= MAX_NAMES {
            return Err(Unlicensed::Unable(
                "too many receipts of this session were signed and never complete".to_owned(),
            ));
        }
        if self.ledger.is_long() {
            self.compact();
        }
        self.ledger.sign(&signed).map_err(|e| unkept(&e))?;
        self.signed.push(signed);
        Ok(())
    }

    fn keep(
        &mut self,
        domain: &Domain,
        bill: &Bill,
        complete: &Complete,
        now: u64,
    ) -> std::result::Result<(), Unlicensed> {
        if bill.receipt.number <= self.last.number {
            let digest = bill.digest(domain);
            self.remember(bill, digest);
            return match digest == self.last.digest || self.twins.contains(&digest) {
                true => Ok(()),
                false => Err(Unlicensed::Spent("a later receipt was given already".to_owned())),
            };
        }
        self.ledger.complete(complete).map_err(|e| unkept(&e))?;
        self.last = bill.last(domain);
        self.twins.clear();
        self.complete = Some(Arc::new((bill.clone(), complete.clone())));
        let hour = self.hour.at(now);
        hour.receipts = hour.receipts.saturating_add(1);
        // Whoever held that total has it, or comes too late.
        self.held = None;
        if self.ledger.is_long() {
            self.prune(now);
            self.compact();
        }
        Ok(())
    }

    fn compact(&mut self) {
        let last = self.complete.as_ref().map(|complete| &complete.1);
        let compacted = self.ledger.compact(&self.deal, last, &self.signed, &self.twins);
        // The long file is as good, for some time.
        compacted.unwrap_or_else(|error| tracing::warn!(%error, "a ledger stays long"));
    }

    /// Remembers another complete receipt of the last number.
    fn remember(&mut self, bill: &Bill, digest: B256) {
        let twin = bill.receipt.number == self.last.number && digest != self.last.digest;
        if twin && !self.twins.contains(&digest) && self.twins.len() < MAX_TWINS {
            self.twins.push(digest);
            // It is asked for again where it is missing.
            let kept = self.ledger.twin(digest);
            kept.unwrap_or_else(|error| tracing::warn!(%error, "another receipt of the last number is not kept"));
        }
    }

    /// Forgets what was signed for jobs whose names are too old for anything; not the last ones, as clocks are set.
    fn prune(&mut self, now: u64) {
        let old = self.signed.len().saturating_sub(LEAST_NAMES);
        let mut index = 0;
        self.signed.retain(|signed| {
            index += 1;
            index > old || is_fresh(signed, now)
        });
    }
}

fn is_fresh(signed: &Signed, now: u64) -> bool {
    let [a, b, c, d, ..] = signed.job;
    now.abs_diff(u32::from_be_bytes([a, b, c, d]).into()) <= 4 * FRESH
}

/// Whether nothing was signed that could be asked for again.
fn stale(signed: &[Signed], now: u64) -> bool {
    !signed.iter().any(|signed| is_fresh(signed, now))
}

/// The words that a deal depends on: session, committee, what was paid, whether the licence was withdrawn.
fn wanted(domain: &Domain, deal: &Deal) -> [(Address, B256); 4] {
    let market = domain.market;
    [
        (market, slots::session(deal.id)),
        (market, slots::committee(deal.lane)),
        (market, slots::settled(deal.id, deal.lane)),
        (LICENCES, slots::withdrawn(deal.session().licence)),
    ]
}

fn promise(order: &Order) -> std::result::Result<Promise, Unlicensed> {
    Promise::decode(&order.voucher).map_err(|e| Unlicensed::Refused(e.to_string()))
}

fn unknown() -> Unlicensed {
    Unlicensed::Unknown("no open session of this key is known here: show it (again)".to_owned())
}

fn closing(deal: &Deal) -> Unlicensed {
    Unlicensed::Refused(format!("the session is closing: open another (session {})", deal.id))
}

fn unkept(error: &io::Error) -> Unlicensed {
    tracing::error!(%error, "a ledger cannot be written");
    Unlicensed::Unable("this node cannot keep its record of the session: ask its operator".to_owned())
}

fn lock(entry: &Mutex<Entry>) -> MutexGuard<'_, Entry> {
    entry.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::super::bill::tests::*;
    use super::*;
    use sahara_market::INFERENCE_MARKET;

    /// A chain whose words are what a test says.
    struct Said(Mutex<Result<(u64, Storage), String>>);

    type Storage = BTreeMap<(Address, B256), U256>;

    impl Words for &'static Said {
        fn words(&self, wanted: &[(Address, B256)]) -> std::result::Result<Proven, String> {
            let (time, words) = self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()?;
            let words = wanted.iter().map(|at| words.get(at).copied().unwrap_or_default().into()).collect();
            // A block a second.
            Ok(Proven { height: 50 + time.saturating_sub(NOW), time, words })
        }
    }

    type Result<T, E> = std::result::Result<T, E>;

    impl Said {
        /// An open session with a seated committee.
        fn open() -> &'static Self {
            let [session, committee, ..] = wanted(&HERE, &deal());
            let words = [(session, U256::ONE), (committee, U256::from(NOW - 1000))].into();
            Box::leak(Box::new(Self(Mutex::new(Ok((NOW, words))))))
        }
        fn say(&self, place: usize, word: U256) {
            let at = wanted(&HERE, &deal())[place];
            self.0.lock().unwrap().as_mut().unwrap().1.insert(at, word);
        }
    }

    struct Bench {
        dir: tempfile::TempDir,
        said: &'static Said,
    }

    impl Bench {
        fn new() -> Self {
            Self { dir: tempfile::tempdir().unwrap(), said: Said::open() }
        }

        fn node(&self) -> NodeMarket<&'static Said> {
            self.node_at(|| NOW)
        }
        fn node_at(&self, clock: fn() -> u64) -> NodeMarket<&'static Said> {
            NodeMarket::open(HERE, self.said, self.dir.path().join("market"), 300, clock).unwrap()
        }

        /// A node that was shown the session.
        fn shown(&self) -> NodeMarket<&'static Said> {
            let node = self.node();
            node.present(&place(), &asker(), &deal().encode()).unwrap();
            node
        }
    }

    /// A whole job at one node.
    fn run(node: &NodeMarket<&'static Said>, n: u8, total: u128) -> Complete {
        let order = order(n, total);
        node.accept(&order).unwrap();
        let receipt = node.draw_up(&order, &end(n)).unwrap();
        let digest = node.judge(&order, Some(&end(n)), &receipt).unwrap();
        let complete = Complete { receipt, signatures: members().map(|member| member.sign(&digest)) };
        node.complete(&order, &complete).unwrap();
        complete
    }

    #[test]
    fn an_open_session_is_served_once_it_was_shown_and_money_grows_by_one_price() {
        let bench = Bench::new();
        let node = bench.node();
        assert!(matches!(node.licensed(&place(), &asker()), Err(Unlicensed::Unknown(_))));
        assert!(matches!(node.accept(&order(1, PRICE)), Err(Unlicensed::Unknown(_))));
        node.present(&place(), &asker(), &deal().encode()).unwrap();
        node.licensed(&place(), &asker()).unwrap();
        assert!(node.licensed(&place(), &PublicKey([8; 32])).is_err());
        let other = Place { manifest: sahara_mpc::market::ManifestId([1; 32]), ..place() };
        assert!(node.licensed(&other, &asker()).is_err());
        run(&node, 1, PRICE);
        let second = run(&node, 2, 2 * PRICE);
        let bill = Bill::of(&HERE, &second).unwrap();
        let first = node.bills()[0].0.clone();
        assert_eq!((bill.receipt.number, bill.receipt.total, first), (2, 24, bill.clone()));
        assert_eq!(node.last(&place(), &asker(), &order(3, PRICE).voucher), Some(second));
        assert_eq!(node.last(&place(), &PublicKey([8; 32]), &order(3, PRICE).voucher), None);
    }

    #[test]
    fn what_the_chain_does_not_say_is_not_served() {
        let refused = |place: usize, word: U256| {
            let bench = Bench::new();
            bench.said.say(place, word);
            let node = bench.node();
            let shown = node.present(&super::tests::place(), &asker(), &deal().encode());
            assert!(bench.node().table().lanes.is_empty() && node.table().lanes.is_empty(), "nothing is kept");
            matches!(shown, Err(Unlicensed::Refused(_)))
        };
        for session in [0u64, 2, 3, 4, 0x101, (NOW + 90_000) << 8 | 2] {
            assert!(refused(0, U256::from(session)), "session {session}");
        }
        assert!(refused(1, U256::ZERO) && refused(1, U256::from(5) | U256::from(6) << 64));
        assert!(refused(1, U256::from(5) | U256::ONE << 200) && refused(1, U256::from(NOW + 1)));
        assert!(refused(2, U256::MAX) && refused(3, U256::from(NOW)));
        let bench = Bench::new();
        *bench.said.0.lock().unwrap() = Err("the chain stands still".to_owned());
        let shown = bench.node().present(&place(), &asker(), &deal().encode());
        assert!(matches!(shown, Err(Unlicensed::Unable(why)) if why.contains("stands still")));
    }

    #[test]
    fn only_its_own_session_for_this_place_is_taken_from_anybody() {
        let node = Bench::new().shown_by_nobody();
        let bytes = deal().encode();
        let refused = |place: &Place, asker: &PublicKey, bytes: &[u8]| {
            matches!(node.0.present(place, asker, bytes), Err(Unlicensed::Refused(_)))
        };
        assert!(refused(&place(), &PublicKey([8; 32]), &bytes), "another's");
        assert!(refused(&Place { committee: [0; 32], ..place() }, &asker(), &bytes));
        assert!(refused(&place(), &asker(), &bytes[1..]) && refused(&place(), &asker(), b""));
        let early = sahara_market::Session { ends: NOW - 1, ..session(1) };
        let early = Deal::new(&HERE, early, committee()).unwrap();
        assert!(refused(&place(), &asker(), &early.encode()), "it has ended");
        // Hashes name it: another session of the same consumer is not the one that the chain knows.
        let other = Deal::new(&HERE, session(2), committee()).unwrap();
        assert!(refused(&place(), &asker(), &other.encode()));
        assert_ne!(Domain { chain_id: 1, market: INFERENCE_MARKET }, HERE);
    }

    impl Bench {
        fn shown_by_nobody(self) -> (NodeMarket<&'static Said>, Self) {
            (self.node(), self)
        }
    }

    /// The market would not pay for it.
    #[test]
    fn a_job_that_is_named_after_its_sessions_end_is_not_taken() {
        let (node, bench) = Bench::new().shown_by_nobody();
        let session = sahara_market::Session { ends: NOW + 5, ..session(1) };
        let deal = Deal::new(&HERE, session, committee()).unwrap();
        bench.said.0.lock().unwrap().as_mut().unwrap().1.insert(wanted(&HERE, &deal)[0], U256::ONE);
        node.present(&place(), &asker(), &deal.encode()).unwrap();
        let accepted = |seconds: u64| {
            let job = order_of(&deal, 1, PRICE).job.of(seconds as u32);
            let bare = Order { job, voucher: vec![], ..order_of(&deal, 1, PRICE) };
            let signature = deal.voucher(&bare, PRICE).sign(&HERE, &SIGNER).unwrap();
            let promise = Promise { session: deal.id, lane: deal.lane, total: PRICE, signature };
            node.accept(&Order { voucher: promise.encode(), ..bare })
        };
        assert!(matches!(accepted(NOW + 6), Err(Unlicensed::Refused(why)) if why.contains("ended")));
        accepted(NOW + 5).unwrap();
    }

    #[test]
    fn a_voucher_counts_for_one_job_one_step_above_the_last_receipt() {
        let bench = Bench::new();
        let node = bench.shown();
        run(&node, 1, PRICE);
        let good = order(2, 2 * PRICE);
        let refused = |order: &Order| matches!(node.accept(order), Err(Unlicensed::Refused(_)));
        assert!(matches!(node.accept(&order(2, 3 * PRICE)), Err(Unlicensed::Behind(_))));
        assert!(matches!(node.accept(&order(2, PRICE)), Err(Unlicensed::Spent(_))));
        assert!(refused(&order(2, 11 * PRICE)), "above the cap");
        assert!(refused(&order(2, 2 * PRICE + 1)) && refused(&order(2, 0)));
        let stolen = Order { voucher: good.voucher.clone(), ..order(3, 2 * PRICE) };
        assert!(refused(&stolen), "another job's voucher");
        let changed = Order { inputs: [[1; 32], [2; 32]], ..good.clone() };
        assert!(refused(&changed), "another input");
        assert!(refused(&Order { voucher: vec![1, 2, 3], ..good.clone() }));
        let mut forged = good.clone();
        forged.voucher[100] ^= 1;
        assert!(node.accept(&forged).is_err());
        let far = |seconds: u64| {
            let job = good.job.of(seconds as u32);
            let order = Order { job, ..good.clone() };
            let signature = deal().voucher(&order, 2 * PRICE).sign(&HERE, &SIGNER).unwrap();
            let promise = Promise { session: deal().id, lane: deal().lane, total: 2 * PRICE, signature };
            Order { voucher: promise.encode(), ..order }
        };
        assert!(refused(&far(NOW - 901)) && refused(&far(NOW + 901)), "of another time");
        // Another order of the same total waits until the first is given up.
        node.accept(&good).unwrap();
        node.accept(&good).unwrap();
        let held = |order: &Order| matches!(node.accept(order), Err(Unlicensed::Held(_)));
        assert!(held(&order(3, 2 * PRICE)));
        node.give_up(&order(3, 2 * PRICE), Waste::Nothing);
        assert!(held(&order(3, 2 * PRICE)), "only whoever holds it gives it up");
        node.give_up(&good, Waste::Nothing);
        node.accept(&order(3, 2 * PRICE)).unwrap();
    }

    #[test]
    fn what_is_proven_counts_for_its_time_and_is_proven_again() {
        let bench = Bench::new();
        let mut later = bench.shown();
        later.clock = || NOW + 301;
        later.table().lanes.values().for_each(|entry| {
            let mut entry = lock(entry);
            entry.proof = Some(Proof {
                until: NOW + 300,
                expires: Instant::now() + Duration::from_secs(9),
                height: 50,
                settled: 0,
                closing: None,
            });
            entry.used = NOW;
        });
        assert!(matches!(later.licensed(&place(), &asker()), Err(Unlicensed::Unknown(_))));
        bench.said.0.lock().unwrap().as_mut().unwrap().0 = NOW + 290;
        later.refresh();
        later.licensed(&place(), &asker()).unwrap();
        *bench.said.0.lock().unwrap() = Err("nobody answers".to_owned());
        later.refresh();
        later.licensed(&place(), &asker()).unwrap();
        let closing = Said::open();
        closing.say(0, U256::from(2) | U256::from(NOW + 9000) << 8);
        *bench.said.0.lock().unwrap() = closing.0.lock().unwrap().clone();
        later.refresh();
        assert!(later.licensed(&place(), &asker()).is_err());
    }

    #[test]
    fn a_member_signs_what_it_knows_only_and_one_receipt_for_a_job() {
        let bench = Bench::new();
        let node = bench.shown();
        let order = order(1, PRICE);
        node.accept(&order).unwrap();
        let good = node.draw_up(&order, &end(1)).unwrap();
        let bill = Bill::decode(&HERE, &good).unwrap();
        let judged = |receipt: sahara_market::Receipt, end: Option<&JobEnd>| {
            node.judge(&order, end, &Bill { receipt, ..bill.clone() }.encode()).is_ok()
        };
        let word = B256::repeat_byte(1);
        for receipt in [
            sahara_market::Receipt { graph: word, ..bill.receipt },
            sahara_market::Receipt { parameters: word, ..bill.receipt },
            sahara_market::Receipt { output: word, ..bill.receipt },
            sahara_market::Receipt { transcript: word, ..bill.receipt },
            sahara_market::Receipt { helper: 0, ..bill.receipt },
            sahara_market::Receipt { time: NOW - 1, ..bill.receipt },
            sahara_market::Receipt { height: 50 + AHEAD + 1, ..bill.receipt },
        ] {
            assert!(!judged(receipt, Some(&end(1))), "{receipt:?}");
        }
        assert!(!judged(bill.receipt, Some(&end(2))), "the evaluators know another answer");
        let zero = sahara_market::Receipt { output: B256::ZERO, ..bill.receipt };
        assert!(!judged(zero, None));
        assert!(judged(bill.receipt, Some(&end(1))) && judged(bill.receipt, Some(&end(1))));
        // The same job with another answer: never signed, also after a restart.
        let other = sahara_market::Receipt { output: word, ..bill.receipt };
        assert!(!judged(other, None));
        let again = bench.node();
        again.present(&place(), &asker(), &deal().encode()).unwrap();
        assert!(again.judge(&order, None, &Bill { receipt: other, ..bill.clone() }.encode()).is_err());
        again.judge(&order, None, &good).unwrap();
    }

    #[test]
    fn a_helper_signs_for_an_order_that_it_sees_for_the_first_time_and_no_second_one() {
        let bench = Bench::new();
        let (first, (helper, _bench)) = (bench.shown(), Bench::new().shown_by_nobody());
        helper.present(&place(), &asker(), &deal().encode()).unwrap();
        let (one, two) = (order(1, PRICE), order(2, PRICE));
        first.accept(&one).unwrap();
        let receipt = first.draw_up(&one, &end(1)).unwrap();
        helper.judge(&one, None, &receipt).unwrap();
        first.give_up(&one, Waste::Pack);
        first.accept(&two).unwrap();
        let receipt = first.draw_up(&two, &end(2)).unwrap();
        assert!(helper.judge(&two, None, &receipt).is_err(), "the total is held");
        helper.give_up(&one, Waste::Nothing);
        helper.judge(&two, None, &receipt).unwrap();
    }

    #[test]
    fn a_helper_knows_a_session_by_its_receipt_and_signs_while_enough_of_its_window_is_left() {
        let bench = Bench::new();
        let first = bench.shown();
        let one = order(1, PRICE);
        first.accept(&one).unwrap();
        let receipt = first.draw_up(&one, &end(1)).unwrap();
        let judged = |session: U256| {
            let (helper, bench) = Bench::new().shown_by_nobody();
            bench.said.say(0, session);
            helper.judge(&one, None, &receipt)
        };
        let digest = judged(U256::ONE).unwrap();
        let closes = |at: u64| U256::from(2) | U256::from(at) << 8;
        assert_eq!(judged(closes(NOW + WINDOW)), Ok(digest));
        assert!(matches!(judged(closes(NOW + WINDOW - 1)), Err(Unlicensed::Refused(_))));
        assert!(judged(U256::ZERO).is_err() && judged(U256::from(3)).is_err());
        // Whoever accepted the order signs it whatever became of the session, and asks the chain nothing.
        *bench.said.0.lock().unwrap() = Err("nobody answers".to_owned());
        assert_eq!(first.judge(&one, Some(&end(1)), &receipt), Ok(digest));
    }

    #[test]
    fn a_receipt_that_is_complete_is_signed_again_for_whoever_has_not_heard() {
        let bench = Bench::new();
        let node = bench.shown();
        let complete = run(&node, 1, PRICE);
        let digest = node.judge(&order(1, PRICE), None, &complete.receipt).unwrap();
        assert_eq!(digest, Bill::of(&HERE, &complete).unwrap().digest(&HERE).0);
        run(&node, 2, 2 * PRICE);
        assert!(node.judge(&order(1, PRICE), None, &complete.receipt).is_err());
    }

    #[test]
    fn two_complete_receipts_of_one_number_do_not_end_a_lane() {
        let bench = Bench::new();
        let (here, (there, _bench)) = (bench.shown(), Bench::new().shown_by_nobody());
        there.present(&place(), &asker(), &deal().encode()).unwrap();
        run(&here, 1, PRICE);
        let twin = run(&there, 2, PRICE);
        let order = order(3, 2 * PRICE);
        there.accept(&order).unwrap();
        let receipt = there.draw_up(&order, &end(3)).unwrap();
        assert!(matches!(here.judge(&order, None, &receipt), Err(Unlicensed::Behind(_))));
        here.learn(&place(), &asker(), &twin).unwrap();
        here.judge(&order, None, &receipt).unwrap();
        // Also by a member that was restarted meanwhile, and wrote its file anew.
        lock(here.table().lanes.values().next().unwrap()).compact();
        bench.node().judge(&order, None, &receipt).unwrap();
    }

    #[test]
    fn one_price_lets_one_answer_go_whatever_all_members_have_signed() {
        let bench = Bench::new();
        let (here, (there, _bench)) = (bench.shown(), Bench::new().shown_by_nobody());
        there.present(&place(), &asker(), &deal().encode()).unwrap();
        let first = run(&there, 1, PRICE);
        let order = order(2, PRICE);
        here.accept(&order).unwrap();
        let receipt = here.draw_up(&order, &end(2)).unwrap();
        let digest = here.judge(&order, Some(&end(2)), &receipt).unwrap();
        here.learn(&place(), &asker(), &first).unwrap();
        let second = Complete { receipt, signatures: members().map(|member| member.sign(&digest)) };
        assert!(matches!(here.complete(&order, &second), Err(Unlicensed::Spent(_))));
    }

    #[test]
    fn a_session_that_is_used_up_makes_nobody_work() {
        let bench = Bench::new();
        let node = bench.shown();
        for n in 1..=10 {
            node.licensed(&place(), &asker()).unwrap();
            run(&node, n, u128::from(n) * PRICE);
        }
        assert!(matches!(node.licensed(&place(), &asker()), Err(Unlicensed::Refused(_))));
        assert!(node.accept(&order(11, 11 * PRICE)).is_err());
    }

    #[test]
    fn calls_are_counted_that_open_sessions_still_pay_for() {
        let bench = Bench::new();
        let mut node = bench.shown();
        let calls = u64::try_from(deal().cap / PRICE).unwrap();
        assert_eq!((node.calls_left(&asker()), node.calls_left(&PublicKey([8; 32]))), (calls, 0));
        run(&node, 1, PRICE);
        assert_eq!(node.calls_left(&asker()), calls - 1);
        node.clock = || NOW + 301;
        assert_eq!(node.calls_left(&asker()), 0, "nothing is proven any more");
        assert_eq!(bench.node().calls_left(&asker()), 0, "nor was yet");
    }

    #[test]
    fn a_receipt_is_kept_before_it_counts_and_is_there_after_a_restart() {
        let bench = Bench::new();
        let node = bench.shown();
        let order = order(1, PRICE);
        node.accept(&order).unwrap();
        let receipt = node.draw_up(&order, &end(1)).unwrap();
        let unsigned = complete(&Bill::decode(&HERE, &receipt).unwrap());
        assert!(node.complete(&order, &unsigned).is_err(), "not judged here");
        node.judge(&order, Some(&end(1)), &receipt).unwrap();
        let forged = Complete { signatures: [[0; 64]; 3], ..unsigned.clone() };
        assert!(node.complete(&order, &forged).is_err());
        node.complete(&order, &unsigned).unwrap();
        node.complete(&order, &unsigned).unwrap();
        let again = bench.node();
        assert_eq!(again.bills()[0].1, unsigned);
        assert!(again.licensed(&place(), &asker()).is_err(), "the session has to be proven again");
        again.present(&place(), &asker(), &deal().encode()).unwrap();
        assert!(matches!(again.accept(&order), Err(Unlicensed::Spent(_))));
        run(&again, 2, 2 * PRICE);
    }

    #[test]
    fn a_member_that_fell_behind_learns_from_what_all_have_signed_only() {
        let bench = Bench::new();
        let ahead = bench.shown();
        run(&ahead, 1, PRICE);
        let last = run(&ahead, 2, 2 * PRICE);
        let (behind, _bench) = Bench::new().shown_by_nobody();
        behind.present(&place(), &asker(), &deal().encode()).unwrap();
        assert!(matches!(behind.accept(&order(3, 3 * PRICE)), Err(Unlicensed::Behind(_))));
        let mut forged = last.clone();
        forged.signatures[0][1] ^= 1;
        assert!(behind.learn(&place(), &asker(), &forged).is_err());
        assert!(behind.learn(&place(), &PublicKey([8; 32]), &last).is_err());
        assert!(behind.learn(&Place { committee: [0; 32], ..place() }, &asker(), &last).is_err());
        behind.learn(&place(), &asker(), &last).unwrap();
        behind.learn(&place(), &asker(), &last).unwrap();
        run(&behind, 3, 3 * PRICE);
        behind.learn(&place(), &asker(), &last).unwrap();
        assert_eq!(behind.bills()[0].0.receipt.number, 3, "older ones change nothing");
        // What the chain has paid cannot be more than what is known.
        let (lost, bench) = Bench::new().shown_by_nobody();
        bench.said.say(2, U256::from(PRICE));
        lost.present(&place(), &asker(), &deal().encode()).unwrap();
        assert!(matches!(lost.accept(&order(1, PRICE)), Err(Unlicensed::Behind(_))));
    }

    #[test]
    fn what_is_over_is_forgotten_with_its_file() {
        let bench = Bench::new();
        let node = bench.shown();
        run(&node, 1, PRICE);
        node.forget(&deal()).unwrap();
        node.forget(&deal()).unwrap();
        assert!(node.bills().is_empty() && bench.node().bills().is_empty());
        assert!(node.licensed(&place(), &asker()).is_err());
    }

    #[test]
    fn a_job_that_was_taken_late_is_signed_though_its_name_grows_old_meanwhile() {
        let bench = Bench::new();
        let node = bench.shown();
        let order = order(1, PRICE);
        node.accept(&order).unwrap();
        let receipt = node.draw_up(&order, &end(1)).unwrap();
        let judged = |clock: fn() -> u64| {
            let (later, other) = Bench::new().shown_by_nobody();
            let later = NodeMarket { clock, ..later };
            let judged = later.judge(&order, None, &receipt);
            drop(other);
            judged
        };
        judged(|| NOW + 299).unwrap();
        *bench.said.0.lock().unwrap() = Err("nobody answers".to_owned());
        let mut node = node;
        node.clock = || NOW + 2 * FRESH;
        node.judge(&order, Some(&end(1)), &receipt).unwrap();
        node.clock = || NOW + 2 * FRESH + 1;
        assert!(node.judge(&order, Some(&end(1)), &receipt).is_err());
    }

    #[test]
    fn whoever_lets_jobs_come_to_nothing_waits_for_an_hour() {
        let bench = Bench::new();
        let mut node = bench.shown();
        run(&node, 1, PRICE);
        let lost = |waste| {
            for n in 0..=MAX_GIVEN_UP + 1 {
                let order = order(2 + n as u8, 2 * PRICE);
                node.accept(&order).unwrap();
                node.give_up(&order, waste);
            }
        };
        lost(Waste::Nothing); // no pack was there, say
        lost(Waste::Pack);
        assert!(matches!(node.accept(&order(99, 2 * PRICE)), Err(Unlicensed::Refused(_))));
        node.clock = || NOW + 600;
        assert_eq!(NOW / 3600, (NOW + 600) / 3600);
        assert!(node.accept(&order(99, 2 * PRICE)).is_err());
        lock(node.table().lanes.values().next().unwrap()).hour.number -= 1;
        node.clock = || NOW;
        node.accept(&order(99, 2 * PRICE)).unwrap();
    }

    #[test]
    fn whoever_has_others_asked_for_nothing_waits_for_an_hour() {
        let bench = Bench::new();
        let node = bench.shown();
        run(&node, 1, PRICE);
        for n in 0..=MAX_GIVEN_UP + 1 {
            let ahead = order(2 + n as u8, 3 * PRICE);
            assert!(matches!(node.accept(&ahead), Err(Unlicensed::Behind(_))));
            node.give_up(&ahead, Waste::Questions);
        }
        for total in [3 * PRICE, 2 * PRICE] {
            assert!(matches!(node.accept(&order(99, total)), Err(Unlicensed::Refused(_))), "{total}");
        }
    }

    #[test]
    fn another_signature_of_the_same_voucher_is_as_good() {
        let bench = Bench::new();
        let node = bench.shown();
        let order = order(1, PRICE);
        node.accept(&order).unwrap();
        let receipt = node.draw_up(&order, &end(1)).unwrap();
        let mut bill = Bill::decode(&HERE, &receipt).unwrap();
        // What other signature there is needs another nonce; one that is none is refused by `decode`.
        bill.voucher[0] ^= 1;
        assert!(node.judge(&order, Some(&end(1)), &bill.encode()).is_err());
        node.judge(&order, Some(&end(1)), &receipt).unwrap();
    }

    #[test]
    fn a_session_is_known_by_its_voucher_and_its_consumer_by_what_is_kept() {
        let bench = Bench::new();
        let node = bench.node();
        let voucher = order(1, PRICE).voucher;
        assert!(!node.is_customer(&asker()) && node.knows(&place(), &asker(), &voucher).is_err());
        node.present(&place(), &asker(), &deal().encode()).unwrap();
        node.knows(&place(), &asker(), &voucher).unwrap();
        assert!(node.is_customer(&asker()));
        assert!(matches!(node.knows(&place(), &PublicKey([8; 32]), &voucher), Err(Unlicensed::Unknown(_))));
        assert!(matches!(node.knows(&place(), &asker(), b"x"), Err(Unlicensed::Refused(_))));
        let other = Deal::new(&HERE, session(2), committee()).unwrap();
        let another = order_of(&other, 1, PRICE).voucher;
        assert!(matches!(node.knows(&place(), &asker(), &another), Err(Unlicensed::Unknown(_))));
        run(&node, 1, PRICE);
        let again = bench.node();
        assert!(again.is_customer(&asker()) && again.knows(&place(), &asker(), &voucher).is_err());
    }

    #[test]
    fn ledgers_without_a_receipt_go_and_those_with_one_stay() {
        let bench = Bench::new();
        let folder = bench.dir.path().join("market");
        bench.shown();
        assert_eq!(ledger::files(&folder).unwrap().len(), 1);
        assert!(bench.node().table().lanes.is_empty() && ledger::files(&folder).unwrap().is_empty());
        let node = bench.shown();
        let order = order(1, PRICE);
        node.accept(&order).unwrap();
        let receipt = node.draw_up(&order, &end(1)).unwrap();
        node.judge(&order, Some(&end(1)), &receipt).unwrap();
        assert_eq!(bench.node().table().lanes.len(), 1, "something was signed");
        assert!(bench.node_at(|| NOW + 4 * FRESH + 1).table().lanes.is_empty());
        run(&bench.shown(), 2, PRICE);
        assert_eq!(bench.node_at(|| NOW + 99_999).bills().len(), 1);
    }

    #[test]
    fn a_consumer_has_so_many_sessions_and_those_that_nobody_uses_give_way() {
        let bench = Bench::new();
        let node = bench.node();
        let shown = |nonce: u64| {
            let deal = Deal::new(&HERE, session(nonce), committee()).unwrap();
            let [session, committee, ..] = wanted(&HERE, &deal);
            let mut said = bench.said.0.lock().unwrap();
            let words = &mut said.as_mut().unwrap().1;
            words.insert(session, U256::ONE);
            words.insert(committee, U256::from(5));
            drop(said);
            node.present(&place(), &asker(), &deal.encode())
        };
        for nonce in 0..MAX_LANES_OF_ONE as u64 {
            shown(nonce).unwrap();
        }
        assert!(matches!(shown(1000), Err(Unlicensed::Unable(_))));
        let mut node = node;
        node.clock = || NOW + IDLE + 1;
        bench.said.0.lock().unwrap().as_mut().unwrap().0 = NOW + IDLE + 1;
        let deal = Deal::new(&HERE, session(0), committee()).unwrap();
        node.present(&place(), &asker(), &deal.encode()).unwrap();
        let [word, ..] = wanted(&HERE, &Deal::new(&HERE, session(1000), committee()).unwrap());
        bench.said.0.lock().unwrap().as_mut().unwrap().1.insert(word, U256::ONE);
        let other = Deal::new(&HERE, session(1000), committee()).unwrap();
        node.present(&place(), &asker(), &other.encode()).unwrap();
        assert_eq!(ledger::files(&bench.dir.path().join("market")).unwrap().len(), 2);
    }

    #[test]
    fn while_the_chain_stands_still_nothing_is_begun_and_afterwards_nobody_pays_twice() {
        let bench = Bench::new();
        let mut node = bench.shown();
        run(&node, 1, PRICE);
        let before = bench.said.0.lock().unwrap().clone();
        *bench.said.0.lock().unwrap() = Err("the chain stands still".to_owned());
        node.refresh();
        node.clock = || NOW + 300;
        node.licensed(&place(), &asker()).unwrap();
        node.clock = || NOW + 301;
        node.refresh();
        assert!(matches!(node.accept(&order(2, 2 * PRICE)), Err(Unlicensed::Unknown(_))));
        let shown = node.present(&place(), &asker(), &deal().encode());
        assert!(matches!(shown, Err(Unlicensed::Unable(why)) if why.contains("stands still")));
        *bench.said.0.lock().unwrap() = before;
        bench.said.0.lock().unwrap().as_mut().unwrap().0 = NOW + 301;
        node.present(&place(), &asker(), &deal().encode()).unwrap();
        assert!(matches!(node.accept(&order(1, PRICE)), Err(Unlicensed::Spent(_))));
        run(&node, 2, 2 * PRICE);
        assert_eq!(node.bills()[0].0.receipt.total, 2 * PRICE);
    }

    #[test]
    fn a_member_that_knows_more_of_the_chain_is_believed_once_that_is_proven_here() {
        let bench = Bench::new();
        let node = bench.shown();
        let order = order(1, PRICE);
        node.accept(&order).unwrap();
        let mut bill = Bill::decode(&HERE, &node.draw_up(&order, &end(1)).unwrap()).unwrap();
        bill.receipt.height = 50 + AHEAD + 1;
        let judged = || node.judge(&order, Some(&end(1)), &bill.encode());
        assert!(matches!(judged(), Err(Unlicensed::Refused(_))));
        bench.said.0.lock().unwrap().as_mut().unwrap().0 = NOW + 1;
        judged().unwrap();
    }

    impl Bench {
        /// A session of this number, of a consumer of its own, shown to a node.
        fn show(&self, node: &NodeMarket<&'static Said>, number: u64) -> std::result::Result<Key, Unlicensed> {
            let asker = B256::from(U256::from(number + 1000));
            let session = sahara_market::Session { asker, ..session(number) };
            let deal = Deal::new(&HERE, session, committee()).unwrap();
            let [session, ..] = wanted(&HERE, &deal);
            self.said.0.lock().unwrap().as_mut().unwrap().1.insert(session, U256::ONE);
            node.present(&place(), &deal.asker(), &deal.encode())?;
            Ok((deal.id, deal.lane))
        }
    }

    #[test]
    fn sessions_of_strangers_that_are_neither_used_nor_ended_keep_no_newcomer_out() {
        let bench = Bench::new();
        let mut node = bench.node();
        for number in 0..MAX_LANES as u64 {
            let key = bench.show(&node, number).unwrap();
            // Each had a receipt, which nobody has paid.
            lock(&node.table().lanes[&key]).last.total = PRICE;
        }
        assert!(matches!(bench.show(&node, 9000), Err(Unlicensed::Unable(_))), "all are in use");
        node.clock = || NOW + HARDLY_USED;
        assert!(bench.show(&node, 9000).is_err());
        node.clock = || NOW + HARDLY_USED + 1;
        bench.show(&node, 9000).unwrap();
        let table = node.table();
        assert_eq!(table.lanes.len() + table.parked.len(), 1, "those in which nothing was ever signed are gone");
    }

    #[test]
    fn what_is_paid_gives_way_first_and_what_is_owed_stays_on_disk_and_is_settled_from_there() {
        let bench = Bench::new();
        let mut node = bench.shown();
        let complete = run(&node, 1, PRICE);
        let key = (deal().id, deal().lane);
        node.clock = || NOW + IDLE + 1;
        let evict = |owed| node.table().evict(None, NOW + IDLE + 1, IDLE, owed);
        evict(false);
        assert_eq!(node.table().lanes.len(), 1, "it is owed");
        node.paid(key.0, key.1, PRICE - 1);
        evict(false);
        assert_eq!(node.table().lanes.len(), 1);
        node.paid(key.0, key.1, PRICE);
        node.paid(key.0, key.1, 0);
        evict(false);
        assert!(node.table().lanes.is_empty() && node.table().parked.contains(&key), "whether it was proven or not");
        assert_eq!(node.bills()[0].1, complete);
        assert_eq!(node.bills().len(), 1);
        // It is shown again: all is there.
        bench.said.0.lock().unwrap().as_mut().unwrap().0 = NOW + IDLE + 1;
        node.present(&place(), &asker(), &deal().encode()).unwrap();
        assert!(matches!(node.accept(&order(1, PRICE)), Err(Unlicensed::Spent(_) | Unlicensed::Refused(_))));
        assert!(node.table().parked.is_empty() && node.bills().len() == 1);
        node.table().evict(None, NOW + 9 * IDLE, IDLE, true);
        node.forget(&deal()).unwrap();
        assert!(node.bills().is_empty() && ledger::files(&node.folder).unwrap().is_empty());
    }

    #[test]
    fn what_is_on_disk_alone_is_looked_at_in_turns() {
        let mut table = Table::default();
        let key = |n: usize| (B256::from(U256::from(n)), B256::ZERO);
        table.parked.extend((0..PARKED_AT_A_TIME * 2 + 1).map(key));
        let turns: Vec<(usize, Key)> = (0..4).map(|_| table.some_parked()).map(|some| (some.len(), some[0])).collect();
        let next = key(PARKED_AT_A_TIME);
        let last = key(PARKED_AT_A_TIME * 2);
        assert_eq!(
            turns,
            [(PARKED_AT_A_TIME, key(0)), (PARKED_AT_A_TIME, next), (1, last), (PARKED_AT_A_TIME, key(0))]
        );
    }

    #[test]
    fn a_damaged_ledger_is_not_served_and_what_it_says_is_owed_is_settled() {
        let bench = Bench::new();
        let complete = run(&bench.shown(), 1, PRICE);
        let path = Ledger::path(&bench.dir.path().join("market"), &deal());
        let mut bytes = std::fs::read(&path).unwrap();
        bytes[60] ^= 1;
        std::fs::write(&path, &bytes).unwrap();
        let node = bench.node();
        assert!(matches!(node.present(&place(), &asker(), &deal().encode()), Err(Unlicensed::Unable(_))));
        assert_eq!(node.bills()[0].1, complete);
        assert_eq!(std::fs::read(&path).unwrap(), bytes);
    }

    #[test]
    fn a_damaged_ledger_is_not_begun_anew() {
        let bench = Bench::new();
        run(&bench.shown(), 1, PRICE);
        let path = Ledger::path(&bench.dir.path().join("market"), &deal());
        std::fs::write(&path, b"SHLEDGR\0").unwrap();
        let node = bench.node();
        let shown = node.present(&place(), &asker(), &deal().encode());
        assert!(matches!(shown, Err(Unlicensed::Unable(_))), "{shown:?}");
    }
}
