//! What a node knows of contracts' requests, and what it signs for them. Nothing is in here that is not proven: whoever watches the
//! chain puts a request in when its word says that it waits, with the preimage that hashes to its name.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use alloy_primitives::{Address, B256, keccak256};
use sahara::home::create_private_dir;
use sahara_circuits::bytes::{Reader, Writer};
use sahara_market::Domain;
use sahara_market::request::{Part, Sealed, public_answer};
use sahara_mpc::durable::{self, Readers};
use sahara_mpc::identity::PublicKey;
use sahara_mpc::market::{Complete, JobEnd, MAX_RECEIPT, Market, Order, Place, Unlicensed, Waste};
use sahara_mpc::wire::JobId;

use super::keys::SealingKeys;
use super::slip::{self, Slip, Wanted};
use crate::error::{Error, Result};

/// Requests that are known at a time; of one asset; of one asker. Each has paid its price, and comes back when it is proven again.
const MOST: usize = 256;
const MOST_OF_ASSET: usize = 64;
const MOST_OF_ASKER: usize = 16;
/// Requests that take no place: those that others compute, and those that were tried in vain. More of them push out the oldest.
const MOST_ASIDE: usize = 512;
/// Requests that cannot be answered of which that is remembered.
const MOST_HOPELESS: usize = 4096;
/// Seconds before its end at which a request is not begun any more: the receipt has to come into a block.
const LAST_MOMENT: u64 = 30;
/// Blocks by which what another member believes may be behind or ahead.
const HEIGHTS: u64 = 3_720;
const MAGIC: &[u8; 8] = b"SHREQDN\0";
const VERSION: u16 = 1;
/// Seconds after its end for which an answer is kept for its reader.
const KEPT: u64 = 3600;

/// Requests.
pub struct Book {
    domain: Domain,
    folder: PathBuf,
    /// This node's sealing keys.
    pub keys: SealingKeys,
    max_age: u64,
    clock: fn() -> u64,
    table: Mutex<BTreeMap<B256, Known>>,
}

/// A request that waits for its answer, or has one that waits for the chain.
struct Known {
    wanted: Arc<Wanted>,
    sealed: Arc<Sealed>,
    /// Until when what was proven counts, and at which height it was.
    fresh: u64,
    height: u64,
    held: Option<JobId>,
    answer: Option<Vec<u8>>,
    done: Option<Complete>,
    /// What is wrong with it, if it can never be answered.
    hopeless: bool,
    /// Whether it takes nobody's place: this node only helps with it, or it was tried in vain.
    aside: bool,
    /// Whether the chain has it as over.
    over: bool,
}

/// An answer that is to be handed in.
#[derive(Clone)]
pub struct Answered {
    /// What was asked.
    pub wanted: Arc<Wanted>,
    /// The receipt, signed by all.
    pub complete: Complete,
    /// The answer, if everybody may read it.
    pub answer: Vec<u8>,
}

impl Book {
    /// With what is kept in a folder.
    ///
    /// # Errors
    /// When the folder cannot be used.
    pub fn open(domain: Domain, folder: PathBuf, keys: SealingKeys, max_age: u64, clock: fn() -> u64) -> Result<Self> {
        create_private_dir(&folder)?;
        let mut table = BTreeMap::new();
        for entry in std::fs::read_dir(&folder).map_err(|e| Error::io("reading", &folder, e))? {
            let path = entry.map_err(|e| Error::io("reading", &folder, e))?.path();
            if path.extension().is_none_or(|end| end != "answer") {
                continue;
            }
            let known = std::fs::read(&path).ok().and_then(|bytes| read(&domain, &bytes));
            match known {
                Some(known) if known.wanted.request.until.saturating_add(KEPT) > clock() => {
                    table.insert(known.wanted.id, known);
                }
                Some(_) => durable::remove(&path).map_err(|e| Error::io("removing", &path, e))?,
                None => {
                    tracing::error!(file = %path.display(), "an answer that was kept is damaged: it is not handed in")
                }
            }
        }
        Ok(Self { domain, folder, keys, max_age, clock, table: Mutex::new(table) })
    }

    /// Where requests count.
    pub fn domain(&self) -> &Domain {
        &self.domain
    }

    /// Whether a request is known.
    pub fn knows(&self, id: B256) -> bool {
        self.table().contains_key(&id)
    }

    /// Whether a request has its receipt.
    pub fn is_done(&self, id: B256) -> bool {
        self.table().get(&id).is_some_and(|known| known.done.is_some())
    }

    /// Whether there is room for a request of this asset and asker.
    pub fn has_room(&self, asset: B256, asker: Address) -> bool {
        let table = self.table();
        // What can never be answered takes nobody's place; nor what was not answered when it was tried, which may be somebody's nonsense.
        let waits = |known: &&Known| known.done.is_none() && !known.hopeless && !known.aside;
        let waiting = || table.values().filter(waits).map(|known| &known.wanted.request);
        waiting().count() < MOST
            && waiting().filter(|request| request.asset == asset).count() < MOST_OF_ASSET
            && waiting().filter(|request| request.asker == asker).count() < MOST_OF_ASKER
    }

    /// A request was proven to wait at a height, in a state of this time. One that is new comes with its sealed input, which hashes
    /// to what it names.
    pub fn proven(&self, wanted: Arc<Wanted>, sealed: Arc<Sealed>, height: u64, time: u64) {
        let fresh = time.saturating_add(self.max_age);
        let node = self.keys.node();
        let computes =
            wanted.task.assignment.evaluators().iter().any(|index| wanted.keys()[usize::from(*index)] == node);
        let mut table = self.table();
        // Who helps opens nothing of it.
        let sealed = if computes { sealed } else { Arc::new(without_parts(&sealed)) };
        let known = table.entry(wanted.id).or_insert_with(|| Known {
            wanted,
            sealed,
            aside: !computes,
            fresh,
            height,
            held: None,
            answer: None,
            done: None,
            hopeless: false,
            over: false,
        });
        (known.fresh, known.height) = (known.fresh.max(fresh), known.height.max(height));
        push_out(&mut table);
    }

    /// An attempt at a request came to nothing: it makes room for others.
    pub fn in_vain(&self, id: B256) {
        let mut table = self.table();
        if let Some(known) = table.get_mut(&id).filter(|known| known.done.is_none()) {
            known.aside = true;
        }
        push_out(&mut table);
    }

    /// A request that is known was proven to wait still.
    pub fn still_waits(&self, id: B256, height: u64, time: u64) {
        if let Some(known) = self.table().get_mut(&id) {
            known.fresh = known.fresh.max(time.saturating_add(self.max_age));
            known.height = known.height.max(height);
        }
    }

    /// The chain has a request as answered, or given back. Its answer is kept for whoever may fetch it.
    pub fn over(&self, id: B256) {
        let mut table = self.table();
        let Some(known) = table.get_mut(&id) else { return };
        known.over = true;
        if known.done.is_none() {
            table.remove(&id);
        }
    }

    /// Forgets what nobody waits for and nobody may fetch any more.
    pub fn forget_old(&self) {
        let now = (self.clock)();
        let mut old = Vec::new();
        self.table().retain(|id, known| {
            let late = known.wanted.request.until.saturating_add(if known.done.is_some() { KEPT } else { 0 }) < now;
            if late && known.done.is_some() {
                old.push(*id);
            }
            !late
        });
        for id in old {
            let path = self.path(id);
            if let Err(error) = durable::remove(&path) {
                tracing::warn!(file = %path.display(), %error, "an old answer stays");
            }
        }
    }

    /// All that the chain may still have as waiting, and that can be answered.
    pub fn open_ones(&self) -> Vec<B256> {
        let table = self.table();
        table.iter().filter(|(_, known)| !known.over && !known.hopeless).map(|(id, _)| *id).collect()
    }

    /// Requests that are to be computed, the oldest first.
    pub fn to_do(&self) -> Vec<(Arc<Wanted>, Arc<Sealed>)> {
        let now = (self.clock)();
        let table = self.table();
        let mut all: Vec<_> = table
            .values()
            .filter(|known| known.done.is_none() && !known.hopeless && known.serves(now).is_ok())
            .map(|known| (known.wanted.clone(), known.sealed.clone()))
            .collect();
        all.sort_by_key(|(wanted, _)| wanted.request.number);
        all
    }

    /// This node can never answer a request: it was not sealed to it, or is nonsense, or for what it does not compute. Only that is
    /// remembered of it, not what was sealed, until its time is over or too many such are.
    pub fn give_up_hope(&self, id: B256) {
        let mut table = self.table();
        let Some(known) = table.get_mut(&id) else { return };
        known.hopeless = true;
        known.sealed = Arc::new(without_parts(&known.sealed));
        let hopeless = table.values().filter(|known| known.hopeless);
        let oldest = hopeless.clone().map(|known| (known.wanted.request.number, known.wanted.id)).min();
        if hopeless.count() > MOST_HOPELESS
            && let Some((_, oldest)) = oldest
        {
            table.remove(&oldest);
        }
    }

    /// Answers that the chain does not have yet, as far as known.
    pub fn to_hand_in(&self) -> Vec<Answered> {
        let table = self.table();
        let ready = |known: &Known| {
            let complete = known.done.clone().filter(|_| !known.over)?;
            let answer = match known.wanted.request.isPublic {
                true => known.answer.clone()?,
                false => Vec::new(),
            };
            Some(Answered { wanted: known.wanted.clone(), complete, answer })
        };
        table.values().filter_map(ready).collect()
    }

    fn path(&self, id: B256) -> PathBuf {
        self.folder.join(format!("{id:x}.answer"))
    }

    fn table(&self) -> MutexGuard<'_, BTreeMap<B256, Known>> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Does something with the request that a voucher names, if the asker is the one that it names.
    fn with<T>(
        &self,
        place: &Place,
        asker: &PublicKey,
        voucher: &[u8],
        work: impl FnOnce(&mut Known) -> std::result::Result<T, Unlicensed>,
    ) -> std::result::Result<T, Unlicensed> {
        let id = slip::named(voucher).ok_or_else(|| Unlicensed::Refused("the voucher names no request".to_owned()))?;
        let mut table = self.table();
        let known = table.get_mut(&id).filter(|known| known.wanted.fits(&self.domain, place));
        let known = known.filter(|known| known.sealed.asker == asker.0);
        work(known.ok_or_else(unknown)?)
    }

    fn digest(
        &self,
        known: &Known,
        order: &Order,
        end: Option<&JobEnd>,
        receipt: &[u8],
    ) -> std::result::Result<B256, Unlicensed> {
        let refused = |why: String| Unlicensed::Refused(why);
        let slip = Slip::decode(&self.domain, receipt).map_err(|e| refused(e.to_string()))?;
        if slip.wanted != *known.wanted {
            return Err(refused("the receipt is of another request".to_owned()));
        }
        let (output, transcript) = match end {
            Some(end) => (known.output(end)?, end.transcript.into()),
            None => (slip.receipt.output, slip.receipt.transcript),
        };
        if slip.receipt.height.abs_diff(known.height) > HEIGHTS {
            return Err(refused("the receipt is of another height than this node knows".to_owned()));
        }
        if known.wanted.receipt(order, output, transcript, slip.receipt.height) != slip.receipt || output.is_zero() {
            return Err(refused("the receipt says something else than this node knows".to_owned()));
        }
        Ok(slip.receipt.digest(&self.domain))
    }
}

fn without_parts(sealed: &Sealed) -> Sealed {
    let none = || Part { epoch: 0, bytes: Vec::new() };
    let Sealed { asker, reader, inputs, .. } = sealed;
    Sealed { asker: *asker, reader: *reader, inputs: *inputs, parts: [none(), none()] }
}

/// Of what takes no place, so much is kept, the newest.
fn push_out(table: &mut BTreeMap<B256, Known>) {
    let aside = |known: &&Known| known.aside && known.done.is_none() && known.held.is_none() && !known.hopeless;
    while table.values().filter(aside).count() > MOST_ASIDE {
        let oldest = table.values().filter(aside).map(|known| (known.wanted.request.number, known.wanted.id)).min();
        let Some((_, oldest)) = oldest else { return };
        table.remove(&oldest);
    }
}

fn unknown() -> Unlicensed {
    Unlicensed::Unknown("no such request of this asker is proven here (yet)".to_owned())
}

impl Known {
    /// Whether something may be begun for it.
    fn serves(&self, now: u64) -> std::result::Result<(), Unlicensed> {
        if self.over || self.done.is_some() {
            return Err(Unlicensed::Spent("the request was answered already, or given back".to_owned()));
        }
        if self.fresh < now {
            return Err(Unlicensed::Unable("what is proven of the request is too old".to_owned()));
        }
        match now.saturating_add(LAST_MOMENT) <= self.wanted.request.until {
            true => Ok(()),
            false => Err(Unlicensed::Refused("nobody waits for the request's answer any more".to_owned())),
        }
    }

    /// Whether an order is for just what was asked.
    fn is_for(&self, order: &Order) -> std::result::Result<(), Unlicensed> {
        match order.inputs == self.sealed.inputs && order.task == self.wanted.task {
            true => Ok(()),
            false => Err(Unlicensed::Refused("the order is for something else than the request".to_owned())),
        }
    }

    fn hold(&mut self, order: &Order) -> std::result::Result<(), Unlicensed> {
        match self.held {
            Some(job) if job != order.job => {
                Err(Unlicensed::Held("another attempt at the request is under way".to_owned()))
            }
            _ => {
                self.held = Some(order.job);
                Ok(())
            }
        }
    }

    /// What the receipt calls the answer: its own hash if everybody may read it, else that of both commitments.
    fn output(&self, end: &JobEnd) -> std::result::Result<B256, Unlicensed> {
        match (self.wanted.request.isPublic, &self.answer) {
            (false, _) => Ok(keccak256(end.outputs.as_flattened())),
            (true, Some(answer)) => Ok(keccak256(answer)),
            (true, None) => Err(Unlicensed::Refused("the public answer is not known here".to_owned())),
        }
    }
}

impl Market for Book {
    fn licensed(&self, place: &Place, asker: &PublicKey) -> std::result::Result<(), Unlicensed> {
        let now = (self.clock)();
        let table = self.table();
        let mut of = table.values().filter(|known| known.sealed.asker == asker.0).peekable();
        if of.peek().is_none() {
            return Err(unknown());
        }
        let served = of.any(|known| known.wanted.fits(&self.domain, place) && known.serves(now).is_ok());
        if served { Ok(()) } else { Err(Unlicensed::Refused("no request of this asker waits here".to_owned())) }
    }

    fn present(&self, _: &Place, _: &PublicKey, _: &[u8]) -> std::result::Result<(), Unlicensed> {
        Err(Unlicensed::Refused("requests are not shown: the chain shows them".to_owned()))
    }

    fn knows(&self, place: &Place, asker: &PublicKey, voucher: &[u8]) -> std::result::Result<(), Unlicensed> {
        let now = (self.clock)();
        self.with(place, asker, voucher, |known| known.serves(now))
    }

    fn is_customer(&self, asker: &PublicKey) -> bool {
        self.table().values().any(|known| known.sealed.asker == asker.0 || known.sealed.reader == asker.0)
    }

    fn accept(&self, order: &Order) -> std::result::Result<(), Unlicensed> {
        let now = (self.clock)();
        self.with(&order.place, &order.asker, &order.voucher, |known| {
            known.serves(now)?;
            known.is_for(order)?;
            known.hold(order)
        })
    }

    fn is_public(&self, order: &Order) -> bool {
        self.with(&order.place, &order.asker, &order.voucher, |known| Ok(known.wanted.request.isPublic))
            .unwrap_or(false)
    }

    fn answered(&self, order: &Order, outputs: &[Vec<i32>]) -> std::result::Result<(), Unlicensed> {
        let long = || Unlicensed::Refused("the answer is longer than one that is published".to_owned());
        let answer = public_answer(outputs).ok_or_else(long)?;
        self.with(&order.place, &order.asker, &order.voucher, |known| {
            known.answer = Some(answer);
            Ok(())
        })
    }

    fn draw_up(&self, order: &Order, end: &JobEnd) -> std::result::Result<Vec<u8>, Unlicensed> {
        self.with(&order.place, &order.asker, &order.voucher, |known| {
            let output = known.output(end)?;
            let receipt = known.wanted.receipt(order, output, end.transcript.into(), known.height);
            Ok(Slip { receipt, wanted: (*known.wanted).clone() }.encode())
        })
    }

    fn judge(&self, order: &Order, end: Option<&JobEnd>, receipt: &[u8]) -> std::result::Result<[u8; 32], Unlicensed> {
        let now = (self.clock)();
        self.with(&order.place, &order.asker, &order.voucher, |known| {
            known.serves(now)?;
            known.is_for(order)?;
            let digest = self.digest(known, order, end, receipt)?;
            known.hold(order)?;
            Ok(digest.0)
        })
    }

    fn complete(&self, order: &Order, complete: &Complete) -> std::result::Result<(), Unlicensed> {
        self.with(&order.place, &order.asker, &order.voucher, |known| {
            Slip::of(&self.domain, complete, &known.wanted).map_err(|e| Unlicensed::Refused(e.to_string()))?;
            let bytes = write(known, complete);
            let path = self.path(known.wanted.id);
            durable::replace(&path, Readers::Owner, |file| file.write_all(&bytes)).map_err(|error| {
                tracing::error!(file = %path.display(), %error, "an answer cannot be kept");
                Unlicensed::Unable("this node cannot keep the receipt: ask its operator".to_owned())
            })?;
            known.done = Some(complete.clone());
            Ok(())
        })
    }

    fn calls_left(&self, asker: &PublicKey) -> u64 {
        let now = (self.clock)();
        let table = self.table();
        table.values().filter(|known| known.sealed.asker == asker.0 && known.serves(now).is_ok()).count() as u64
    }

    fn give_up(&self, order: &Order, _: Waste) {
        let given_up = self.with(&order.place, &order.asker, &order.voucher, |known| {
            if known.held == Some(order.job) {
                known.held = None;
            }
            Ok(())
        });
        drop(given_up); // of a request that is gone nothing is held
    }

    fn reader(&self, order: &Order) -> PublicKey {
        let reader = self.with(&order.place, &order.asker, &order.voucher, |known| Ok(PublicKey(known.sealed.reader)));
        reader.unwrap_or(order.asker)
    }

    fn last(&self, place: &Place, asker: &PublicKey, voucher: &[u8]) -> Option<Complete> {
        let table = self.table();
        let known = table.get(&slip::named(voucher)?).filter(|known| known.wanted.fits(&self.domain, place))?;
        let may = known.sealed.asker == asker.0 || known.sealed.reader == asker.0;
        known.done.clone().filter(|_| may)
    }

    fn learn(&self, place: &Place, asker: &PublicKey, complete: &Complete) -> std::result::Result<(), Unlicensed> {
        let refused = |why: crate::market::bill::BillError| Unlicensed::Refused(why.to_string());
        let slip = Slip::decode(&self.domain, &complete.receipt).map_err(refused)?;
        let mut table = self.table();
        let known = table.get_mut(&slip.wanted.id).filter(|known| known.wanted.fits(&self.domain, place));
        let may = |known: &&mut Known| known.sealed.asker == asker.0 || known.sealed.reader == asker.0;
        let known = known.filter(may).ok_or_else(unknown)?;
        Slip::of(&self.domain, complete, &known.wanted).map_err(refused)?;
        known.done.get_or_insert_with(|| complete.clone());
        Ok(())
    }
}

fn write(known: &Known, complete: &Complete) -> Vec<u8> {
    let mut w = Writer::with_header(MAGIC, VERSION);
    w.u32(complete.receipt.len() as u32).bytes(&complete.receipt);
    complete.signatures.iter().for_each(|signature| {
        w.bytes(signature);
    });
    // What is sealed is in a block: only who asked and who may fetch is needed again.
    w.bytes(&known.sealed.asker).bytes(&known.sealed.reader).bytes(known.sealed.inputs.as_flattened());
    let answer = known.answer.as_deref().unwrap_or_default();
    w.u32(answer.len() as u32).bytes(answer);
    w.finish_with_digest()
}

fn read(domain: &Domain, bytes: &[u8]) -> Option<Known> {
    let mut r = Reader::new("answer that is kept", bytes);
    r.header(MAGIC, VERSION).ok()?;
    r.digest().ok()?;
    let len = r.count("bytes of a receipt", MAX_RECEIPT).ok()?;
    let receipt = r.take(len).ok()?.to_vec();
    let complete = Complete { receipt, signatures: [r.array().ok()?, r.array().ok()?, r.array().ok()?] };
    let (asker, reader) = (r.array().ok()?, r.array().ok()?);
    let inputs = [r.array().ok()?, r.array().ok()?];
    let len = r.count("bytes of an answer", sahara_market::request::MAX_ANSWER).ok()?;
    let answer = r.take(len).ok()?.to_vec();
    r.finish().ok()?;
    let slip = Slip::decode(domain, &complete.receipt).ok()?;
    let slip = Slip::of(domain, &complete, &slip.wanted).ok()?;
    let none = || Part { epoch: 0, bytes: Vec::new() };
    Some(Known {
        sealed: Arc::new(Sealed { asker, reader, inputs, parts: [none(), none()] }),
        fresh: 0,
        height: slip.receipt.height,
        held: None,
        // A helper knows the answer's hash only: it is for the evaluators to hand it in.
        answer: Some(answer).filter(|answer| slip.wanted.request.isPublic && !answer.is_empty()),
        done: Some(complete),
        hopeless: false,
        aside: false,
        over: false,
        wanted: Arc::new(slip.wanted),
    })
}

/// A node's whole market: its consumers' sessions, and contracts' requests. Which of both is meant, the key that asks says, or what it
/// brings.
pub struct Both {
    /// Sessions.
    pub sessions: Arc<dyn Market>,
    /// Requests.
    pub requests: Arc<Book>,
}

impl Both {
    fn of(&self, voucher: &[u8]) -> &dyn Market {
        if slip::named(voucher).is_some() { &*self.requests } else { &*self.sessions }
    }
}

impl Market for Both {
    fn licensed(&self, place: &Place, asker: &PublicKey) -> std::result::Result<(), Unlicensed> {
        match self.requests.licensed(place, asker) {
            Ok(()) => Ok(()),
            Err(Unlicensed::Unknown(_)) => self.sessions.licensed(place, asker),
            Err(why) => self.sessions.licensed(place, asker).map_err(|_| why),
        }
    }

    fn present(&self, place: &Place, asker: &PublicKey, session: &[u8]) -> std::result::Result<(), Unlicensed> {
        self.sessions.present(place, asker, session)
    }

    fn knows(&self, place: &Place, asker: &PublicKey, voucher: &[u8]) -> std::result::Result<(), Unlicensed> {
        self.of(voucher).knows(place, asker, voucher)
    }

    fn calls_left(&self, asker: &PublicKey) -> u64 {
        self.requests.calls_left(asker).saturating_add(self.sessions.calls_left(asker))
    }

    fn is_customer(&self, asker: &PublicKey) -> bool {
        self.requests.is_customer(asker) || self.sessions.is_customer(asker)
    }

    fn accept(&self, order: &Order) -> std::result::Result<(), Unlicensed> {
        self.of(&order.voucher).accept(order)
    }

    fn is_public(&self, order: &Order) -> bool {
        self.of(&order.voucher).is_public(order)
    }

    fn answered(&self, order: &Order, outputs: &[Vec<i32>]) -> std::result::Result<(), Unlicensed> {
        self.of(&order.voucher).answered(order, outputs)
    }

    fn draw_up(&self, order: &Order, end: &JobEnd) -> std::result::Result<Vec<u8>, Unlicensed> {
        self.of(&order.voucher).draw_up(order, end)
    }

    fn judge(&self, order: &Order, end: Option<&JobEnd>, receipt: &[u8]) -> std::result::Result<[u8; 32], Unlicensed> {
        self.of(&order.voucher).judge(order, end, receipt)
    }

    fn complete(&self, order: &Order, complete: &Complete) -> std::result::Result<(), Unlicensed> {
        self.of(&order.voucher).complete(order, complete)
    }

    fn give_up(&self, order: &Order, waste: Waste) {
        self.of(&order.voucher).give_up(order, waste);
    }

    fn reader(&self, order: &Order) -> PublicKey {
        self.of(&order.voucher).reader(order)
    }

    fn sealing(&self) -> Option<Vec<u8>> {
        let told = self.requests.keys.tell();
        told.inspect_err(|error| tracing::error!(why = error.report(), "no sealing key is told")).ok()
    }

    fn last(&self, place: &Place, asker: &PublicKey, voucher: &[u8]) -> Option<Complete> {
        self.of(voucher).last(place, asker, voucher)
    }

    fn learn(&self, place: &Place, asker: &PublicKey, complete: &Complete) -> std::result::Result<(), Unlicensed> {
        match slip::is_slip(&complete.receipt) {
            true => self.requests.learn(place, asker, complete),
            false => self.sessions.learn(place, asker, complete),
        }
    }
}

#[cfg(test)]
pub mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use alloy_primitives::U256;
    use sahara_market::request::{Ask, Request};
    use sahara_market::{ASSET_REGISTRY, Committee, INFERENCE_MARKET};
    use sahara_mpc::engine::{Assignment, GraphId, Rounding};
    use sahara_mpc::identity::{Identity, from_secret};
    use sahara_mpc::market::Asset;
    use sahara_mpc::wire::{ManifestId, Task};

    use super::*;

    pub const DOMAIN: Domain = Domain { chain_id: 7, market: INFERENCE_MARKET };
    pub const NOW: u64 = 1_800_000_000;
    static CLOCK: AtomicU64 = AtomicU64::new(NOW);

    fn members() -> [Identity; 3] {
        [1, 2, 3].map(|n| from_secret(&[n; 32]))
    }

    fn wanted(is_public: bool, number: u64) -> Wanted {
        wanted_by(Address::repeat_byte(7), B256::repeat_byte(1), is_public, number)
    }

    /// What an asker wants of an asset.
    pub fn wanted_of(asker: u8, asset: u8, number: u64) -> Wanted {
        wanted_by(Address::repeat_byte(asker), B256::repeat_byte(asset), false, number)
    }

    fn wanted_by(asker: Address, asset: B256, is_public: bool, number: u64) -> Wanted {
        let committee = Committee {
            asset,
            manifest: B256::repeat_byte(2),
            digest: B256::repeat_byte(3),
            keys: members().map(|member| B256::from(member.public().0)),
            operators: [4, 5, 6].map(Address::repeat_byte),
            epoch: 0,
            from: 1,
            until: u64::MAX,
        };
        let (manifest, graph) = (ManifestId(committee.manifest.0), GraphId([9; 32]));
        let (assignment, rounding) = (Assignment::ALL[2], Rounding::Exact);
        let task = Task { manifest, graph, assignment, rounding };
        let ask = Ask {
            lane: committee.id(),
            graph: graph.0.into(),
            parameters: keccak256(task.encode()),
            royalty: 1,
            compute: 3,
        };
        let request = Request {
            asset: committee.asset,
            ask,
            input: B256::repeat_byte(8),
            asker,
            callback: Address::ZERO,
            isPublic: is_public,
            until: NOW + 3600,
            number: U256::from(number),
        };
        Wanted::new(&DOMAIN, request, committee).unwrap()
    }

    pub fn sealed() -> Sealed {
        let none = || Part { epoch: 0, bytes: Vec::new() };
        Sealed { asker: [11; 32], reader: [12; 32], inputs: [[13; 32], [14; 32]], parts: [none(), none()] }
    }

    fn order(wanted: &Wanted) -> Order {
        let place = Place {
            committee: wanted.committee.digest.0,
            keys: wanted.keys(),
            manifest: wanted.task.manifest,
            asset: Asset { chain: 7, contract: *ASSET_REGISTRY.0, asset: wanted.request.asset.0 },
        };
        Order {
            place,
            asker: PublicKey([11; 32]),
            job: slip::job(wanted.id, 0, NOW as u32),
            task: wanted.task,
            inputs: sealed().inputs,
            voucher: slip::voucher(wanted.id),
        }
    }

    fn end() -> JobEnd {
        JobEnd { outputs: [[21; 32], [22; 32]], transcript: [23; 32], rounds: 5 }
    }

    /// With nothing in it.
    pub fn book(folder: &std::path::Path) -> Book {
        book_of(folder, 0)
    }

    /// The same, of another member.
    fn book_of(folder: &std::path::Path, place: usize) -> Book {
        let clock = || CLOCK.load(Ordering::Relaxed);
        let keys = SealingKeys::open(folder.join("sealing"), 7, from_secret(&[place as u8 + 1; 32]), clock).unwrap();
        Book::open(DOMAIN, folder.join("requests"), keys, 300, clock).unwrap()
    }

    fn known(folder: &std::path::Path, wanted: &Wanted) -> Book {
        let book = book(folder);
        book.proven(Arc::new(wanted.clone()), Arc::new(sealed()), 50, NOW);
        book
    }

    fn complete(receipt: Vec<u8>) -> Complete {
        let digest = Slip::decode(&DOMAIN, &receipt).unwrap().receipt.digest(&DOMAIN);
        Complete { receipt, signatures: members().map(|member| member.sign(digest.as_slice())) }
    }

    fn refuses<T>(result: std::result::Result<T, Unlicensed>) -> bool {
        result.is_err()
    }

    #[test]
    fn only_what_is_proven_and_just_what_was_asked_is_served() {
        let dir = tempfile::tempdir().unwrap();
        let (wanted, empty) = (wanted(true, 1), book(dir.path()));
        let order = order(&wanted);
        assert!(matches!(empty.accept(&order), Err(Unlicensed::Unknown(_))), "nothing is proven");
        let book = known(&dir.path().join("b"), &wanted);
        assert!(book.is_customer(&PublicKey([11; 32])) && !book.is_customer(&PublicKey([13; 32])));
        assert!(book.licensed(&order.place, &order.asker).is_ok());
        assert!(refuses(book.licensed(&order.place, &PublicKey([13; 32]))));
        let elsewhere = Place { committee: [0; 32], ..order.place.clone() };
        assert!(refuses(book.licensed(&elsewhere, &order.asker)));
        assert!(refuses(book.accept(&Order { inputs: [[13; 32]; 2], ..order.clone() })));
        assert!(
            refuses(book.accept(&Order { asker: PublicKey([12; 32]), ..order.clone() })),
            "the reader asks nothing"
        );
        let helped = Task { assignment: Assignment::ALL[0], ..order.task };
        assert!(refuses(book.accept(&Order { task: helped, ..order.clone() })), "another gets the text");
        assert!(refuses(book.accept(&Order { place: elsewhere, ..order.clone() })));
        assert!(book.accept(&order).is_ok() && book.accept(&order).is_ok());
        let other = Order { job: slip::job(wanted.id, 1, NOW as u32), ..order.clone() };
        assert!(matches!(book.accept(&other), Err(Unlicensed::Held(_))));
        book.give_up(&other, Waste::Pack);
        assert!(matches!(book.accept(&other), Err(Unlicensed::Held(_))), "another's hold");
        book.give_up(&order, Waste::Pack);
        assert!(book.accept(&other).is_ok());
        book.over(wanted.id);
        assert!(refuses(book.accept(&other)) && !book.knows(wanted.id), "it was answered, or given back");
    }

    #[test]
    fn a_receipt_says_what_the_market_pays_for_and_nothing_else_is_signed() {
        let dir = tempfile::tempdir().unwrap();
        let wanted = wanted(true, 1);
        let (first, helper) = (known(&dir.path().join("a"), &wanted), known(&dir.path().join("b"), &wanted));
        let order = order(&wanted);
        first.accept(&order).unwrap();
        assert!(first.is_public(&order) && refuses(first.draw_up(&order, &end())), "the answer is not known");
        first.answered(&order, &[vec![1, -1]]).unwrap();
        let receipt = first.draw_up(&order, &end()).unwrap();
        let slip = Slip::decode(&DOMAIN, &receipt).unwrap();
        assert_eq!(slip.receipt.output, keccak256([0, 0, 0, 1, 255, 255, 255, 255]));
        assert_eq!((slip.receipt.session, slip.receipt.number, slip.receipt.total), (wanted.id, 1, 4));
        assert_eq!((slip.receipt.licence, slip.receipt.request), (U256::ZERO, wanted.request.input));
        let digest = first.judge(&order, Some(&end()), &receipt).unwrap();
        assert_eq!(helper.judge(&order, None, &receipt).unwrap(), digest);
        let others: [fn(&mut sahara_market::Receipt); 7] = [
            |r| r.session = B256::ZERO,
            |r| r.total += 1,
            |r| r.graph = B256::ZERO,
            |r| r.job = B256::ZERO,
            |r| r.licence = U256::ONE,
            |r| r.height += HEIGHTS + 1,
            |r| r.output = B256::ZERO,
        ];
        for change in others {
            let mut other = slip.clone();
            change(&mut other.receipt);
            assert!(refuses(helper.judge(&order, None, &other.encode())), "{:?}", other.receipt);
        }
        let mut output = slip.clone();
        output.receipt.output = B256::repeat_byte(1);
        assert!(refuses(first.judge(&order, Some(&end()), &output.encode())), "another answer than this node's");
        let second = Order { job: slip::job(wanted.id, 1, NOW as u32), ..order.clone() };
        assert!(refuses(helper.judge(&second, None, &receipt)), "of another job");
    }

    #[test]
    fn what_is_complete_is_kept_handed_in_and_shown_to_its_reader() {
        let dir = tempfile::tempdir().unwrap();
        let wanted = wanted(false, 1);
        let (first, other) = (known(dir.path(), &wanted), known(&dir.path().join("b"), &wanted));
        let order = order(&wanted);
        first.accept(&order).unwrap();
        assert_eq!(first.reader(&order), PublicKey([12; 32]));
        let receipt = first.draw_up(&order, &end()).unwrap();
        let slip = Slip::decode(&DOMAIN, &receipt).unwrap();
        assert_eq!(slip.receipt.output, keccak256([[21; 32], [22; 32]].as_flattened()));
        let good = complete(receipt);
        let mut forged = good.clone();
        forged.signatures[2] = forged.signatures[1];
        assert!(refuses(first.complete(&order, &forged)) && refuses(other.learn(&order.place, &order.asker, &forged)));
        first.complete(&order, &good).unwrap();
        assert!(other.learn(&order.place, &PublicKey([12; 32]), &good).is_ok() && other.is_done(wanted.id));
        assert!(refuses(first.accept(&order)) && first.to_do().is_empty());
        let handed_in = first.to_hand_in();
        assert_eq!((handed_in.len(), handed_in[0].answer.len()), (1, 0));
        let again = book(dir.path());
        assert_eq!(again.to_hand_in().len(), 1, "after a restart");
        for (asker, shown) in [(11, true), (12, true), (13, false)] {
            let last = again.last(&order.place, &PublicKey([asker; 32]), &order.voucher);
            assert_eq!(last.is_some(), shown, "{asker}");
        }
        again.over(wanted.id);
        assert!(again.to_hand_in().is_empty() && again.is_done(wanted.id), "the reader may still come");
    }

    #[test]
    fn few_requests_wait_for_one_asker() {
        let dir = tempfile::tempdir().unwrap();
        let book = book(dir.path());
        for number in 0..MOST_OF_ASKER as u64 {
            assert!(book.has_room(B256::repeat_byte(1), Address::repeat_byte(7)));
            book.proven(Arc::new(wanted(true, number)), Arc::new(sealed()), 50, NOW);
        }
        assert!(!book.has_room(B256::repeat_byte(1), Address::repeat_byte(7)));
        assert!(book.has_room(B256::repeat_byte(1), Address::repeat_byte(8)));
        assert_eq!(book.to_do().len(), MOST_OF_ASKER);
        book.give_up_hope(wanted(true, 3).id);
        assert_eq!((book.to_do().len(), book.open_ones().len()), (MOST_OF_ASKER - 1, MOST_OF_ASKER - 1));
        assert!(book.has_room(B256::repeat_byte(1), Address::repeat_byte(7)), "what cannot be answered has no place");
        assert!(book.knows(wanted(true, 3).id), "nor is it looked at again");
    }

    #[test]
    fn nonsense_takes_no_place_from_an_honest_request_at_any_role() {
        for place in 0..3 {
            let folder = tempfile::tempdir().unwrap();
            let book = book_of(folder.path(), place);
            for number in 0..MOST_OF_ASSET as u64 {
                let one = wanted(true, number);
                let request = Request { asker: Address::with_last_byte(number as u8), ..one.request.clone() };
                let id = B256::from(U256::from(number + 1));
                book.proven(Arc::new(Wanted { id, request, ..one }), Arc::new(sealed()), 5, NOW);
                book.in_vain(id);
            }
            assert!(book.has_room(B256::repeat_byte(1), Address::repeat_byte(7)), "as member {place}");
        }
    }

    #[test]
    fn what_is_only_helped_with_takes_no_place_and_is_bounded() {
        let folder = tempfile::tempdir().unwrap();
        let helper = (0..3).find(|index| !wanted(true, 1).task.assignment.evaluators().contains(index)).unwrap();
        let book = book_of(folder.path(), usize::from(helper));
        for number in 0..MOST_ASIDE as u64 + 9 {
            let id = B256::from(U256::from(number + 1));
            book.proven(Arc::new(Wanted { id, ..wanted(true, number) }), Arc::new(sealed()), 5, NOW);
        }
        assert!(book.has_room(B256::repeat_byte(1), Address::repeat_byte(7)));
        assert_eq!(book.table().len(), MOST_ASIDE);
        assert!(book.table().values().all(|known| known.sealed.parts.iter().all(|part| part.bytes.is_empty())));
    }
}
