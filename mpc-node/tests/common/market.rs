//! A market and a purse without a chain: sessions in a table that all members read, a ledger for each member that outlives it,
//! vouchers and receipts with signatures and totals.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use sahara_mpc::bytes::{DecodeError, Reader, Writer};
use sahara_mpc::client::{Access, Client, Offer, Rounding, SharingRef, Task, Visibility};
use sahara_mpc::config::Config;
use sahara_mpc::identity::{self, Identity, PublicKey};
use sahara_mpc::market::{Asset, Complete, JobEnd, JobId, Market, Order, Place, Purse, Unlicensed, Unpaid, Waste};

use super::{Case, Network, Running, case, wait_for};
use tempfile::TempDir;

pub const PRICE: u64 = 7;
pub const ASSET: Asset = Asset { chain: 5, contract: [1; 20], asset: [2; 32] };

pub type SessionId = [u8; 32];

/// What is on the chain of one session.
#[derive(Clone)]
pub struct Session {
    pub asker: PublicKey,
    pub signer: PublicKey,
    pub asset: Asset,
    pub committee: [u8; 32],
    pub cap: u64,
    pub open: bool,
}

/// What all members believe.
#[derive(Default)]
pub struct Chain(Mutex<HashMap<SessionId, Session>>);

impl Chain {
    pub fn open(&self, id: SessionId, session: Session) {
        self.0.lock().unwrap().insert(id, session);
    }

    pub fn close(&self, id: &SessionId) {
        self.0.lock().unwrap().get_mut(id).unwrap().open = false;
    }

    fn session(&self, id: &SessionId) -> Option<Session> {
        self.0.lock().unwrap().get(id).cloned()
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Voucher {
    pub session: SessionId,
    pub total: u64,
    pub job: JobId,
    pub request: [u8; 32],
    pub signature: [u8; 64],
}

impl Voucher {
    pub fn sign(session: SessionId, total: u64, job: JobId, request: [u8; 32], signer: &Identity) -> Self {
        let unsigned = Self { session, total, job, request, signature: [0; 64] };
        Self { signature: signer.sign(&unsigned.body()), ..unsigned }
    }

    fn body(&self) -> Vec<u8> {
        let mut w = Writer::default();
        w.bytes(&self.session).u64(self.total).bytes(&self.job.0).bytes(&self.request);
        w.0
    }

    pub fn encode(&self) -> Vec<u8> {
        [self.body(), self.signature.to_vec()].concat()
    }

    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut r = Reader::new("voucher", bytes);
        let voucher = Self {
            session: r.array()?,
            total: r.u64()?,
            job: JobId(r.array()?),
            request: r.array()?,
            signature: r.array()?,
        };
        r.finish()?;
        Ok(voucher)
    }
}

pub fn request(order: &Order) -> [u8; 32] {
    *blake3::hash(&[&order.task.encode()[..], &order.inputs[0], &order.inputs[1]].concat()).as_bytes()
}

pub fn digest(receipt: &[u8]) -> [u8; 32] {
    blake3::derive_key("a receipt in tests", receipt)
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Receipt {
    pub session: SessionId,
    pub total: u64,
    pub job: JobId,
    pub request: [u8; 32],
    pub output: [u8; 32],
    pub transcript: [u8; 32],
}

impl Receipt {
    fn encode(&self) -> Vec<u8> {
        let mut w = Writer::default();
        w.bytes(&self.session).u64(self.total).bytes(&self.job.0).bytes(&self.request);
        w.bytes(&self.output).bytes(&self.transcript);
        w.0
    }

    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut r = Reader::new("receipt", bytes);
        let receipt = Self {
            session: r.array()?,
            total: r.u64()?,
            job: JobId(r.array()?),
            request: r.array()?,
            output: r.array()?,
            transcript: r.array()?,
        };
        r.finish()?;
        Ok(receipt)
    }

    fn of(voucher: &Voucher, order: &Order, end: &JobEnd) -> Self {
        Self {
            session: voucher.session,
            total: voucher.total,
            job: order.job,
            request: voucher.request,
            output: *blake3::hash(&end.outputs.concat()).as_bytes(),
            transcript: end.transcript,
        }
    }
}

/// What a member has written down, which outlives it.
#[derive(Default)]
pub struct Disk(Mutex<HashMap<SessionId, Complete>>);

impl Disk {
    pub fn total(&self, session: &SessionId) -> u64 {
        let ledger = self.0.lock().unwrap();
        ledger.get(session).map_or(0, |complete| Receipt::decode(&complete.receipt).unwrap().total)
    }

    pub fn last(&self, session: &SessionId) -> Option<Complete> {
        self.0.lock().unwrap().get(session).cloned()
    }
}

/// What a member does when it is to sign, or to write down.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Manner {
    Honest,
    /// Refuses to sign.
    Refuses,
    /// Says nothing for longer than anybody waits.
    Silent,
    /// Signs, and cannot write it down.
    NoDisk,
    /// Writes down what is complete, and then says nothing, and shows it to nobody.
    KeepsAnswer,
    /// Writes down what is complete, and is killed.
    Dies,
    /// Signs something else than the receipt.
    SignsOther,
}

/// One member's market.
pub struct Till {
    chain: Arc<Chain>,
    pub disk: Arc<Disk>,
    presented: Mutex<HashSet<(PublicKey, SessionId)>>,
    reserved: Mutex<HashMap<SessionId, Order>>,
    pub manner: Mutex<Manner>,
    /// How often it was asked to prove a session.
    pub proofs: AtomicU32,
    /// What it takes to prove one.
    pub proof_takes: Mutex<Duration>,
    /// How many it proves now, and the most that it did at a time.
    pub proving: Mutex<[u32; 2]>,
    pub accepted: AtomicU32,
    /// How often it was asked to sign.
    pub judged: AtomicU32,
    pub given_up: AtomicU32,
    /// Of these, with their pack.
    pub wasted: AtomicU32,
    /// Of these, those for which the others were asked in vain.
    pub questions: AtomicU32,
}

fn refused(why: &str) -> Unlicensed {
    Unlicensed::Refused(why.into())
}

impl Till {
    pub fn new(chain: &Arc<Chain>, disk: &Arc<Disk>) -> Arc<Self> {
        Arc::new(Self {
            chain: chain.clone(),
            disk: disk.clone(),
            presented: Mutex::default(),
            reserved: Mutex::default(),
            manner: Mutex::new(Manner::Honest),
            proofs: AtomicU32::new(0),
            proof_takes: Mutex::new(Duration::ZERO),
            proving: Mutex::default(),
            accepted: AtomicU32::new(0),
            judged: AtomicU32::new(0),
            given_up: AtomicU32::new(0),
            wasted: AtomicU32::new(0),
            questions: AtomicU32::new(0),
        })
    }

    pub fn behaves(&self, manner: Manner) {
        *self.manner.lock().unwrap() = manner;
    }

    fn manner(&self) -> Manner {
        *self.manner.lock().unwrap()
    }

    /// As long as it has its manner, but not for ever.
    fn says_nothing(&self) {
        let manner = self.manner();
        let end = Instant::now() + Duration::from_secs(30);
        while self.manner() == manner && Instant::now() < end {
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// A good voucher for this order, whatever was paid before.
    fn voucher(&self, order: &Order) -> Result<Voucher, Unlicensed> {
        let voucher = Voucher::decode(&order.voucher).map_err(|_| refused("not a voucher"))?;
        if !self.presented.lock().unwrap().contains(&(order.asker, voucher.session)) {
            return Err(Unlicensed::Unknown("show your session".into()));
        }
        let session = self.chain.session(&voucher.session).ok_or_else(|| refused("no such session"))?;
        if !session.open {
            return Err(refused("the session is closed"));
        }
        if (session.asker, session.asset, session.committee) != (order.asker, order.place.asset, order.place.committee)
        {
            return Err(refused("the session is another's"));
        }
        if !session.signer.verifies(&voucher.body(), &voucher.signature) {
            return Err(refused("the voucher is not signed by the session's signer"));
        }
        if (voucher.job, voucher.request) != (order.job, request(order)) {
            return Err(refused("the voucher is for another job"));
        }
        if voucher.total > session.cap {
            return Err(refused("the voucher is above the session's cap"));
        }
        Ok(voucher)
    }

    fn step(&self, voucher: &Voucher) -> Result<(), Unlicensed> {
        let last = self.disk.total(&voucher.session);
        match voucher.total {
            total if total == last + PRICE => Ok(()),
            total if total <= last => Err(Unlicensed::Spent(format!("a total of {total} was receipted before"))),
            total if total % PRICE == 0 => {
                Err(Unlicensed::Behind(format!("a total of {total} is not the next after {last}")))
            }
            total => Err(refused(&format!("a total of {total} is no number of prices"))),
        }
    }

    fn reserve(&self, voucher: &Voucher, order: &Order) -> Result<(), Unlicensed> {
        let mut reserved = self.reserved.lock().unwrap();
        match reserved.get(&voucher.session) {
            Some(other) if other != order => Err(Unlicensed::Held("another job of this session is running".into())),
            _ => {
                reserved.insert(voucher.session, order.clone());
                Ok(())
            }
        }
    }

    fn write(&self, session: SessionId, complete: &Complete) {
        self.disk.0.lock().unwrap().insert(session, complete.clone());
    }
}

impl Market for Till {
    fn licensed(&self, place: &Place, asker: &PublicKey) -> Result<(), Unlicensed> {
        let presented = self.presented.lock().unwrap();
        let mut own = presented.iter().filter(|(key, _)| key == asker).filter_map(|(_, id)| self.chain.session(id));
        if own.any(|s| s.open && (s.asset, s.committee) == (place.asset, place.committee)) {
            return Ok(());
        }
        Err(Unlicensed::Unknown("no open session of yours is known here".into()))
    }

    fn knows(&self, _place: &Place, asker: &PublicKey, voucher: &[u8]) -> Result<(), Unlicensed> {
        let voucher = Voucher::decode(voucher).map_err(|_| refused("not a voucher"))?;
        match self.presented.lock().unwrap().contains(&(*asker, voucher.session)) {
            true => Ok(()),
            false => Err(Unlicensed::Unknown("show that session".into())),
        }
    }

    fn present(&self, place: &Place, asker: &PublicKey, session: &[u8]) -> Result<(), Unlicensed> {
        self.proofs.fetch_add(1, Ordering::SeqCst);
        let takes = *self.proof_takes.lock().unwrap();
        if !takes.is_zero() {
            let count = |one: &dyn Fn(u32) -> u32| {
                let mut proving = self.proving.lock().unwrap();
                proving[0] = one(proving[0]);
                proving[1] = proving[1].max(proving[0]);
            };
            count(&|n| n + 1);
            std::thread::sleep(takes);
            count(&|n| n - 1);
        }
        let id: SessionId = session.try_into().map_err(|_| refused("not a session"))?;
        let session = self.chain.session(&id).ok_or_else(|| refused("no such session"))?;
        if !session.open || (session.asker, session.asset, session.committee) != (*asker, place.asset, place.committee)
        {
            return Err(refused("the session is not open, or not yours, or for something else"));
        }
        self.presented.lock().unwrap().insert((*asker, id));
        Ok(())
    }

    fn accept(&self, order: &Order) -> Result<(), Unlicensed> {
        let voucher = self.voucher(order)?;
        self.step(&voucher)?;
        self.reserve(&voucher, order)?;
        self.accepted.fetch_add(1, Ordering::SeqCst);
        Ok(())
    }

    fn draw_up(&self, order: &Order, end: &JobEnd) -> Result<Vec<u8>, Unlicensed> {
        let voucher = self.voucher(order)?;
        Ok(Receipt::of(&voucher, order, end).encode())
    }

    fn judge(&self, order: &Order, end: Option<&JobEnd>, receipt: &[u8]) -> Result<[u8; 32], Unlicensed> {
        self.judged.fetch_add(1, Ordering::SeqCst);
        match self.manner() {
            Manner::Refuses => return Err(refused("I sign nothing")),
            Manner::Silent => self.says_nothing(),
            Manner::SignsOther => return Ok([7; 32]),
            Manner::Honest | Manner::NoDisk | Manner::KeepsAnswer | Manner::Dies => {}
        }
        let voucher = self.voucher(order)?;
        if self.disk.last(&voucher.session).is_some_and(|last| last.receipt == receipt) {
            return Ok(digest(receipt));
        }
        self.step(&voucher)?;
        self.reserve(&voucher, order)?;
        let told = Receipt::decode(receipt).map_err(|_| refused("not a receipt"))?;
        let expected = match end {
            Some(end) => Receipt::of(&voucher, order, end),
            None => {
                Receipt { output: told.output, transcript: told.transcript, ..Receipt::of(&voucher, order, &NO_END) }
            }
        };
        match told == expected {
            true => Ok(digest(receipt)),
            false => Err(refused("the receipt is not that of the job")),
        }
    }

    fn complete(&self, order: &Order, complete: &Complete) -> Result<(), Unlicensed> {
        if self.manner() == Manner::NoDisk {
            return Err(Unlicensed::Unable("the ledger cannot be written".into()));
        }
        assert!(complete.is_signed(&digest(&complete.receipt), &order.place.keys));
        let receipt = Receipt::decode(&complete.receipt).unwrap();
        self.write(receipt.session, complete);
        self.reserved.lock().unwrap().remove(&receipt.session);
        if self.manner() == Manner::KeepsAnswer {
            self.says_nothing();
        }
        assert!(self.manner() != Manner::Dies, "killed");
        Ok(())
    }

    fn calls_left(&self, asker: &PublicKey) -> u64 {
        let presented = self.presented.lock().unwrap();
        let own = presented.iter().filter(|(key, _)| key == asker);
        let left = own.filter_map(|(_, id)| Some((self.chain.session(id)?.cap - self.disk.total(id)) / PRICE));
        left.sum()
    }

    fn give_up(&self, order: &Order, waste: Waste) {
        self.given_up.fetch_add(1, Ordering::SeqCst);
        self.wasted.fetch_add(u32::from(waste == Waste::Pack), Ordering::SeqCst);
        self.questions.fetch_add(u32::from(waste == Waste::Questions), Ordering::SeqCst);
        self.reserved.lock().unwrap().retain(|_, other| other != order);
    }

    fn last(&self, _place: &Place, asker: &PublicKey, voucher: &[u8]) -> Option<Complete> {
        if self.manner() == Manner::KeepsAnswer {
            return None;
        }
        let voucher = Voucher::decode(voucher).ok()?;
        self.chain.session(&voucher.session).filter(|session| session.asker == *asker)?;
        self.disk.last(&voucher.session)
    }

    fn learn(&self, place: &Place, asker: &PublicKey, complete: &Complete) -> Result<(), Unlicensed> {
        let receipt = Receipt::decode(&complete.receipt).map_err(|_| refused("not a receipt"))?;
        let session = self.chain.session(&receipt.session).ok_or_else(|| refused("no such session"))?;
        if session.asker != *asker || !complete.is_signed(&digest(&complete.receipt), &place.keys) {
            return Err(refused("not a receipt of this session that all have signed"));
        }
        if receipt.total > self.disk.total(&receipt.session) {
            self.write(receipt.session, complete);
        }
        Ok(())
    }
}

const NO_END: JobEnd = JobEnd { outputs: [[0; 32]; 2], transcript: [0; 32], rounds: 0 };

/// A purse whose vouchers are changed by somebody who wants more than was paid for.
pub struct Forger<F> {
    pub wallet: Arc<Wallet>,
    pub forge: F,
    /// Whether it takes whatever receipt it is given, or none.
    pub takes: bool,
}

impl<F: Fn(&Wallet, &Order) -> Vec<u8> + Send + Sync> Purse for Forger<F> {
    fn session(&self, place: &Place) -> Result<Vec<u8>, Unpaid> {
        self.wallet.session(place)
    }

    fn voucher(&self, order: &Order) -> Result<Vec<u8>, Unpaid> {
        Ok((self.forge)(&self.wallet, order))
    }

    fn paid(&self, _: &Order, _: &JobEnd, _: &Complete) -> Result<(), Unpaid> {
        if self.takes { Ok(()) } else { Err(Unpaid("I take no receipt".into())) }
    }

    fn failed(&self, order: &Order, lasts: &[Complete]) {
        self.wallet.failed(order, lasts);
    }

    fn dropped(&self, order: &Order) {
        self.wallet.dropped(order);
    }
}

/// A consumer's purse with one session.
pub struct Wallet {
    pub session: SessionId,
    pub signer: Identity,
    home: Arc<TempDir>,
    /// What was receipted, as far as this purse knows.
    pub total: Mutex<u64>,
    /// The totals that it has signed vouchers for, with what they were for.
    signed: Mutex<Vec<Voucher>>,
    pub receipts: Mutex<Vec<Complete>>,
    pub sessions_shown: AtomicU32,
}

impl Wallet {
    /// A wallet whose session is open for `asker` at a committee.
    pub fn open(chain: &Chain, asker: PublicKey, committee: [u8; 32], cap: u64) -> Arc<Self> {
        let home = Arc::new(tempfile::tempdir().unwrap());
        let signer = identity::load_or_generate(&home.path().join("signer")).unwrap();
        let session = identity::generate().unwrap().public().0;
        let on_chain = Session { asker, signer: signer.public(), asset: ASSET, committee, cap, open: true };
        chain.open(session, on_chain);
        Arc::new(Self {
            session,
            signer,
            home,
            total: Mutex::new(0),
            signed: Mutex::default(),
            receipts: Mutex::default(),
            sessions_shown: AtomicU32::new(0),
        })
    }

    pub fn total(&self) -> u64 {
        *self.total.lock().unwrap()
    }

    /// What another program has that was given the same key and session, before anything was paid.
    pub fn twin(&self) -> Arc<Self> {
        let signer = self.home.path().join("signer");
        Arc::new(Self {
            session: self.session,
            signer: identity::load(&signer).unwrap(),
            home: self.home.clone(),
            total: Mutex::new(0),
            signed: Mutex::default(),
            receipts: Mutex::default(),
            sessions_shown: AtomicU32::new(0),
        })
    }

    fn spent(&self, place: &Place, complete: &Complete) -> Option<Receipt> {
        let receipt = Receipt::decode(&complete.receipt).ok()?;
        let good = complete.is_signed(&digest(&complete.receipt), &place.keys);
        let signed = self.signed.lock().unwrap();
        let own = |voucher: &Voucher| {
            (voucher.session, voucher.total, voucher.job) == (receipt.session, receipt.total, receipt.job)
        };
        (good && signed.iter().any(own)).then_some(receipt)
    }
}

impl Purse for Wallet {
    fn session(&self, _place: &Place) -> Result<Vec<u8>, Unpaid> {
        self.sessions_shown.fetch_add(1, Ordering::SeqCst);
        Ok(self.session.to_vec())
    }

    fn voucher(&self, order: &Order) -> Result<Vec<u8>, Unpaid> {
        let voucher = Voucher::sign(self.session, self.total() + PRICE, order.job, request(order), &self.signer);
        self.signed.lock().unwrap().push(voucher.clone());
        Ok(voucher.encode())
    }

    fn paid(&self, order: &Order, end: &JobEnd, complete: &Complete) -> Result<(), Unpaid> {
        let receipt = self.spent(&order.place, complete).ok_or_else(|| Unpaid("not a receipt of mine".into()))?;
        let voucher = Voucher::decode(&order.voucher).unwrap();
        if receipt != Receipt::of(&voucher, order, end) {
            return Err(Unpaid("the receipt is of another job".into()));
        }
        let mut total = self.total.lock().unwrap();
        assert_eq!(receipt.total, *total + PRICE);
        *total = receipt.total;
        self.receipts.lock().unwrap().push(complete.clone());
        Ok(())
    }

    fn failed(&self, order: &Order, lasts: &[Complete]) {
        for receipt in lasts.iter().filter_map(|last| self.spent(&order.place, last)) {
            let mut total = self.total.lock().unwrap();
            *total = receipt.total.max(*total);
        }
    }

    fn dropped(&self, _: &Order) {}
}

/// Three nodes that sell one model to whoever has bought.
pub struct Shop {
    pub chain: Arc<Chain>,
    pub tills: [Arc<Till>; 3],
    pub network: Network,
    pub case: Case,
    pub task: Task,
    pub owner: Arc<Identity>,
}

impl Shop {
    pub fn open() -> Self {
        Self::open_to(&|_| "market = \"network.toml\"".into())
    }

    /// `more` is a line of `node.toml`.
    pub fn open_to(more: &dyn Fn(&str) -> String) -> Self {
        Self::open_with(case(3), more)
    }

    /// With this model for sale.
    pub fn open_with(case: Case, more: &dyn Fn(&str) -> String) -> Self {
        let owner = Arc::new(identity::generate().unwrap());
        let chain = Arc::new(Chain::default());
        let tills = [(); 3].map(|()| Till::new(&chain, &Arc::<Disk>::default()));
        let key = owner.public();
        let edit = |toml: String| {
            let more = more(&toml);
            let toml = toml.replacen("owners = \"any\"", &format!("owners = [\"{key}\"]"), 1);
            let toml = toml.replacen("consumers = \"any\"", &format!("consumers = []\n{more}"), 1);
            toml.replacen("round = 10", "round = 2", 1).replacen("shutdown = 10", "shutdown = 0", 1)
        };
        let markets = tills.clone().map(|till| Some(till as Arc<dyn Market>));
        let network = Network::start_selling(&owner, edit, |_| markets);
        let access = Access::Chain(ASSET);
        let offer = Offer { access, client_part: Some(b"the client part"), ..case.offer(Visibility::Private) };
        let sharing = network.client_of(&owner).share(&offer, &|_, _| ()).unwrap();
        *case.shared[Visibility::Private as usize].lock().unwrap() = Some(sharing);
        let task = case.task(0, Rounding::Exact, Visibility::Private);
        Self { chain, tills, network, case, task, owner }
    }

    /// A consumer with a session of so much, and what it pays with.
    pub fn customer(&self, cap: u64) -> (Client, Arc<Wallet>) {
        self.customer_of(&Arc::new(identity::generate().unwrap()), cap)
    }

    pub fn customer_of(&self, identity: &Arc<Identity>, cap: u64) -> (Client, Arc<Wallet>) {
        let wallet = Wallet::open(&self.chain, identity.public(), self.network.committee.digest(), cap);
        let client = self.network.client_of(identity).with_purse(Some(wallet.clone()));
        client.find(&SharingRef::Manifest(self.task.manifest)).unwrap().unwrap();
        (client, wallet)
    }

    /// What each member has a receipt for.
    pub fn totals(&self, wallet: &Wallet) -> [u64; 3] {
        self.tills.each_ref().map(|till| till.disk.total(&wallet.session))
    }

    /// Waits until no member holds an order.
    pub fn settle_down(&self) {
        for till in &self.tills {
            let end = Instant::now() + Duration::from_secs(20);
            while !till.reserved.lock().unwrap().is_empty() {
                assert!(Instant::now() < end, "an order is held for ever");
                std::thread::sleep(Duration::from_millis(10));
            }
        }
    }

    /// Starts a node again that was stopped, with a till that remembers what is on its disk.
    pub fn restart(&mut self, node: usize) {
        self.tills[node] = Till::new(&self.chain, &self.tills[node].disk);
        let market = self.tills[node].clone() as Arc<dyn Market>;
        self.network.nodes[node] = Some(Running::start_with(&self.network.home(node), Some(market)));
        wait_for(&self.network.client_of(&self.owner), node as u8);
    }

    pub fn order(&self, identity: &Identity, job: JobId, inputs: [[u8; 32]; 2]) -> Order {
        let keys = self.network.committee.keys().unwrap();
        let (committee, manifest) = (self.network.committee.digest(), self.task.manifest);
        let place = Place { committee, keys, manifest, asset: ASSET };
        Order { place, asker: identity.public(), job, task: self.task, inputs, voucher: Vec::new() }
    }

    /// A receipt that says what this voucher pays for came to nothing in particular.
    pub fn receipt(&self, voucher: &Voucher) -> Vec<u8> {
        let Voucher { session, total, job, request, .. } = voucher.clone();
        Receipt { session, total, job, request, output: [1; 32], transcript: [2; 32] }.encode()
    }

    /// The key of a member, for whoever has taken its machine.
    pub fn member(&self, index: usize) -> Identity {
        Config::load(&self.network.home(index)).unwrap().load_identity().unwrap()
    }
}
