//! A session of the consumer's as it is kept in the home: its terms, the key that signs its vouchers, what may be spent, and how
//! far it is. The key can do nothing but spend the session's deposit with its committees, so no password protects it: its file
//! is for its owner alone.

use std::fs::File;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};

use alloy_primitives::{B256, U256};
use sahara_circuits::bytes::{DecodeError, Reader, Writer};
use sahara_market::{Committee, Domain, INFERENCE_MARKET, MAX_LANES, Session};
use sahara_mpc::durable::{self, Readers};
use zeroize::Zeroizing;

use super::bill::{BillError, Deal, Last};
use crate::error::{Error, Result};
use crate::wallet::Secret;
use sahara::home::{Home, create_private_dir, turn};

const MAGIC: &[u8; 8] = b"SHPURSE\0";
const STATE: &[u8; 8] = b"SHSPENT\0";
const VERSION: u16 = 1;
/// Longest file.
const MAX_FILE: u64 = 16 << 10;
/// Longest session within.
const MAX_SESSION: usize = 4 << 10;

/// What the owner of a purse allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Caps {
    /// The most for one call.
    pub call: u128,
    /// The most for the calls of one day (UTC).
    pub day: u128,
}

/// A session.
pub struct Account {
    folder: PathBuf,
    /// Which chain's.
    pub chain: u64,
    /// What may be spent.
    pub caps: Caps,
    /// What signs vouchers.
    pub signer: Secret,
    /// The session with each of its committees.
    pub deals: Vec<Deal>,
}

/// A session whose file cannot be read.
#[derive(Debug)]
pub struct Damaged {
    /// What its asset was called.
    pub name: Option<String>,
    /// What is wrong with it.
    pub error: Error,
}

/// Seconds after a lane's end in which a job of before may still be receipted.
const LATE: u64 = 3600;
/// Names of jobs without an answer that are kept.
const MAX_FAILED: usize = 16;

/// How far a session is at one committee.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Spent {
    /// The last receipt.
    pub last: Last,
    /// The highest total for which a voucher was given.
    pub promised: u128,
    /// A day, in days since 1970.
    pub day: u64,
    /// What was receipted on that day.
    pub today: u128,
    /// Whether a job was paid here that this program asked and got no answer for: nothing more is spent with this committee.
    pub left: bool,
    /// Jobs since the last receipt of which this program knows that they came to nothing.
    pub failed: Vec<[u8; 16]>,
}

/// Where they are.
pub fn folder(home: &Home) -> PathBuf {
    home.path().join("purse")
}

/// The turn to say what may be spent, of all sessions of a home: short.
///
/// # Errors
/// When the lock's file cannot be made, and what `waiting` gives.
pub fn turn_to_promise(home: &Home, waiting: impl FnMut() -> sahara::Result<()>) -> Result<File> {
    Ok(turn(&folder(home).join("lock"), waiting)?)
}

impl Account {
    /// Keeps a session that was opened (or is about to be); on disk when this returns.
    ///
    /// # Errors
    /// When it is kept already or cannot be written.
    pub fn create(
        home: &Home,
        chain: u64,
        caps: Caps,
        signer: Secret,
        session: &Session,
        committees: &[Committee],
    ) -> Result<Self> {
        let domain = domain(chain);
        let folder = folder(home).join(format!("{:x}", session.id(&domain)));
        create_private_dir(&folder)?;
        let deals = deals(&domain, session, committees)
            .map_err(|e| Error::fault(format!("the session does not fit its committees: {e}")))?;
        let account = Self { folder, chain, caps, signer, deals };
        let path = account.file();
        let text = account.encode(session);
        // Before the session is there: from then on one without them has lost them.
        for deal in account.deals.iter().filter(|deal| !account.state(deal.lane).exists()) {
            account.keep(deal.lane, &Spent::default())?;
        }
        durable::create(&path, |file| file.write_all(&text)).map_err(|e| Error::io("keeping the session", &path, e))?;
        Ok(account)
    }

    /// The sessions of this home that can be read.
    ///
    /// # Errors
    /// When their folder cannot be read.
    pub fn list(home: &Home) -> Result<Vec<Self>> {
        Ok(Self::all(home)?.0)
    }

    /// The sessions of this home that can be read, and what is wrong with each of the others.
    ///
    /// # Errors
    /// When their folder cannot be read.
    pub fn all(home: &Home) -> Result<(Vec<Self>, Vec<Damaged>)> {
        let folder = folder(home);
        let entries = match std::fs::read_dir(&folder) {
            Ok(entries) => entries,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(Default::default()),
            Err(e) => return Err(Error::io("reading", &folder, e)),
        };
        let mut folders = Vec::new();
        for entry in entries {
            let path = entry.map_err(|e| Error::io("reading", &folder, e))?.path();
            if path.join("session").exists() {
                folders.push(path);
            }
        }
        folders.sort();
        let (mut all, mut damaged) = (Vec::new(), Vec::new());
        for folder in &folders {
            match Self::load(folder) {
                Ok(account) => all.push(account),
                Err(error) => damaged.push(Damaged { name: name_in(folder), error }),
            }
        }
        Ok((all, damaged))
    }

    fn load(folder: &Path) -> Result<Self> {
        let path = folder.join("session");
        let bytes = read(&path)?;
        Self::decode(folder.to_owned(), &bytes).map_err(|e| {
            Error::user(format!("{}: {e}: put it back from a backup, its deposit is locked", path.display()))
        })
    }

    /// The session.
    pub fn session(&self) -> Option<&Session> {
        self.deals.first().map(Deal::session)
    }

    /// The session's id.
    pub fn id(&self) -> B256 {
        self.deals.first().map(|deal| deal.id).unwrap_or_default()
    }

    /// The licence.
    pub fn licence(&self) -> U256 {
        self.session().map(|session| session.licence).unwrap_or_default()
    }

    /// What its asset is called here, if it was given a name.
    pub fn name(&self) -> Option<String> {
        name_in(&self.folder)
    }

    /// Calls its asset so: `--model NAME` then means it.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn call_it(&self, name: &str) -> Result<()> {
        let path = self.folder.join("name");
        let written = durable::replace(&path, Readers::Owner, |file| file.write_all(name.as_bytes()));
        written.map(drop).map_err(|e| Error::io("naming the session's asset", &path, e))
    }

    /// Where vouchers count.
    pub fn domain(&self) -> Domain {
        domain(self.chain)
    }

    /// Changes what may be spent.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn allow(&mut self, caps: Caps) -> Result<()> {
        self.caps = caps;
        let Some(session) = self.session().cloned() else { return Ok(()) };
        let (path, text) = (self.file(), self.encode(&session));
        let written = durable::replace(&path, Readers::Owner, |file| file.write_all(&text));
        written.map(drop).map_err(|e| Error::io("keeping the session", &path, e))
    }

    /// The turn to spend from this session, until it is dropped: two processes would give two vouchers of one total.
    ///
    /// # Errors
    /// When the lock's file cannot be made, and what `waiting` gives.
    pub fn turn(&self, waiting: impl FnMut() -> sahara::Result<()>) -> Result<File> {
        Ok(turn(&self.folder.join("lock"), waiting)?)
    }

    /// How far it is at a committee, as far as is known here: nowhere, if the file is gone.
    ///
    /// # Errors
    /// When the file is damaged or cannot be read.
    pub fn spent(&self, lane: B256) -> Result<Spent> {
        let path = self.state(lane);
        if !path.try_exists().map_err(|e| Error::io("reading", &path, e))? {
            return Ok(Spent::default());
        }
        let spent = Spent::decode(&read(&path)?);
        spent.map_err(|e| {
            Error::user(format!("{}: {e}: remove it, the nodes know how far the session is", path.display()))
        })
    }

    /// Keeps how far it is; on disk when this returns.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn keep(&self, lane: B256, spent: &Spent) -> Result<()> {
        let path = self.state(lane);
        let written = durable::replace(&path, Readers::Owner, |file| file.write_all(&spent.encode()));
        written.map(drop).map_err(|e| Error::io("keeping what was spent", &path, e))
    }

    /// The same session as it is kept now.
    ///
    /// # Errors
    /// When its file cannot be read.
    pub fn again(&self) -> Result<Self> {
        Self::load(&self.folder)
    }

    /// What was receipted on `day` at all its committees. Where nobody knows, because the file is gone that says so, it may be all that
    /// was locked there: until a receipt says how far the session is.
    ///
    /// # Errors
    /// When a file is damaged.
    pub fn spent_on(&self, day: u64) -> Result<u128> {
        let mut sum = 0u128;
        for deal in &self.deals {
            let path = self.state(deal.lane);
            let is_known = path.try_exists().map_err(|e| Error::io("reading", &path, e))?;
            let spent =
                if is_known { self.spent(deal.lane)? } else { Spent { day, today: deal.cap, ..Spent::default() } };
            sum = sum.saturating_add(if spent.day == day { spent.today } else { 0 });
        }
        Ok(sum)
    }

    /// What may still be receipted at a committee for vouchers that were given; nothing once that is left, or its time is over.
    ///
    /// # Errors
    /// When the file is damaged.
    pub fn pending(&self, deal: &Deal, now: u64) -> Result<u128> {
        let spent = self.spent(deal.lane)?;
        let over = spent.left || now > deal.ends().saturating_add(LATE);
        Ok(if over { 0 } else { spent.pending() })
    }

    /// Forgets the session: what was paid is in the receipts.
    ///
    /// # Errors
    /// When the folder cannot be removed.
    pub fn forget(self) -> Result<()> {
        std::fs::remove_dir_all(&self.folder).map_err(|e| Error::io("removing", &self.folder, e))
    }

    /// Where the committee's nodes are named, if its operators say where they are reached.
    pub fn committee_file(&self, lane: B256) -> PathBuf {
        self.folder.join(format!("{lane:x}.toml"))
    }

    fn file(&self) -> PathBuf {
        self.folder.join("session")
    }

    fn state(&self, lane: B256) -> PathBuf {
        self.folder.join(format!("{lane:x}.spent"))
    }

    fn encode(&self, session: &Session) -> Zeroizing<Vec<u8>> {
        let session = session.encode();
        // Room for all of it at once: what grows leaves copies of the key behind.
        let mut w = Writer(Vec::with_capacity(MAX_FILE as usize));
        w.bytes(MAGIC).u16(VERSION).u64(self.chain);
        w.bytes(&self.caps.call.to_le_bytes()).bytes(&self.caps.day.to_le_bytes());
        w.bytes(self.signer.bytes());
        w.u32(session.len() as u32).bytes(&session).u8(self.deals.len() as u8);
        self.deals.iter().for_each(|deal| {
            w.bytes(&deal.committee().encode());
        });
        Zeroizing::new(w.finish_with_digest())
    }

    fn decode(folder: PathBuf, bytes: &[u8]) -> std::result::Result<Self, BillError> {
        let mut r = Reader::new("session that is kept", bytes);
        r.header(MAGIC, VERSION)?;
        r.digest()?;
        let chain = r.u64()?;
        let caps = Caps { call: u128::from_le_bytes(r.array()?), day: u128::from_le_bytes(r.array()?) };
        let secret = Zeroizing::new(r.array::<32>()?);
        let signer = Secret::new(&secret).map_err(|_| BillError::Wrong("its key is damaged"))?;
        let len = r.count("bytes of a session", MAX_SESSION)?;
        let session = Session::decode(r.take(len)?)?;
        let count = usize::from(r.u8()?);
        if count > MAX_LANES {
            return Err(BillError::Wrong("it has more committees than there can be"));
        }
        let committees = (0..count).map(|_| Ok(Committee::decode(r.take(Committee::BYTES)?)?));
        let committees = committees.collect::<std::result::Result<Vec<_>, BillError>>()?;
        r.finish()?;
        let deals = deals(&domain(chain), &session, &committees)?;
        Ok(Self { folder, chain, caps, signer, deals })
    }
}

fn deals(domain: &Domain, session: &Session, committees: &[Committee]) -> std::result::Result<Vec<Deal>, BillError> {
    if committees.is_empty() {
        return Err(BillError::Wrong("it has no committee"));
    }
    committees.iter().map(|committee| Deal::new(domain, session.clone(), committee.clone())).collect()
}

fn domain(chain: u64) -> Domain {
    Domain { chain_id: chain, market: INFERENCE_MARKET }
}

impl Spent {
    /// After a receipt that was kept on `day`.
    #[must_use]
    pub fn after(&self, last: Last, day: u64) -> Self {
        let paid = last.total.saturating_sub(self.last.total);
        let before = if self.day == day { self.today } else { 0 };
        Self {
            last,
            promised: self.promised.max(last.total),
            day,
            today: before.saturating_add(paid),
            left: self.left,
            failed: Vec::new(),
        }
    }

    /// With one more job that came to nothing.
    #[must_use]
    pub fn without(mut self, job: [u8; 16]) -> Self {
        if self.failed.len() >= MAX_FAILED {
            self.failed.remove(0);
        }
        self.failed.push(job);
        self
    }

    /// What may still be receipted for vouchers that were given.
    fn pending(&self) -> u128 {
        self.promised.saturating_sub(self.last.total)
    }

    fn encode(&self) -> Vec<u8> {
        let mut w = Writer::with_header(STATE, VERSION);
        w.u64(self.last.number).bytes(&self.last.total.to_le_bytes()).bytes(self.last.digest.as_slice());
        w.bytes(&self.promised.to_le_bytes()).u64(self.day).bytes(&self.today.to_le_bytes());
        w.u8(self.left.into()).u8(self.failed.len() as u8);
        self.failed.iter().for_each(|job| {
            w.bytes(job);
        });
        w.finish_with_digest()
    }

    fn decode(bytes: &[u8]) -> std::result::Result<Self, DecodeError> {
        let mut r = Reader::new("record of what was spent", bytes);
        r.header(STATE, VERSION)?;
        r.digest()?;
        let last = Last { number: r.u64()?, total: u128::from_le_bytes(r.array()?), digest: r.array::<32>()?.into() };
        let promised = u128::from_le_bytes(r.array()?);
        let (day, today, left) = (r.u64()?, u128::from_le_bytes(r.array()?), r.u8()? != 0);
        let failed = (0..r.u8()?).map(|_| r.array()).collect::<std::result::Result<_, _>>()?;
        let spent = Self { last, promised, day, today, left, failed };
        r.finish()?;
        Ok(spent)
    }
}

fn name_in(folder: &Path) -> Option<String> {
    let bytes = read(&folder.join("name")).ok()?;
    Some(std::str::from_utf8(&bytes).ok()?.trim().to_owned())
}

fn read(path: &Path) -> Result<Zeroizing<Vec<u8>>> {
    let mut bytes = Zeroizing::new(Vec::with_capacity(MAX_FILE as usize + 1));
    let file = File::open(path).map_err(|e| Error::io("reading", path, e))?;
    file.take(MAX_FILE + 1).read_to_end(&mut bytes).map_err(|e| Error::io("reading", path, e))?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::super::bill::tests::*;
    use super::*;

    #[test]
    fn a_session_is_kept_with_its_key_for_its_owner_alone() {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().unwrap();
        let home = Home::locate(Some(dir.path().to_owned())).unwrap();
        assert!(Account::list(&home).unwrap().is_empty());
        let caps = Caps { call: 12, day: 100 };
        let signer = || Secret::new(&SIGNER.0).unwrap();
        let mut made = Account::create(&home, 1337, caps, signer(), &session(1), &[committee()]).unwrap();
        assert_eq!(made.file().metadata().unwrap().permissions().mode() & 0o777, 0o600);
        assert!(Account::create(&home, 1337, caps, signer(), &session(1), &[committee()]).is_err());
        made.allow(Caps { day: 50, ..caps }).unwrap();
        let found = Account::list(&home).unwrap().remove(0);
        assert_eq!((found.deals.clone(), found.caps.day, found.id()), (vec![deal()], 50, deal().id));
        assert_eq!(found.signer.address(), session(1).signer);
        let bytes = std::fs::read(made.file()).unwrap();
        for cut in 0..bytes.len() {
            assert!(Account::decode(dir.path().to_owned(), &bytes[..cut]).is_err());
        }
        std::fs::write(made.file(), &bytes[..50]).unwrap();
        let next = Account::create(&home, 1337, caps, signer(), &session(2), &[committee()]).unwrap();
        let (all, damaged) = Account::all(&home).unwrap();
        assert_eq!(all.iter().map(Account::id).collect::<Vec<_>>(), [next.id()], "the others are not blocked");
        assert!(damaged.len() == 1 && damaged[0].error.report().contains(made.file().to_str().unwrap()));
        made.call_it("mine").unwrap();
        assert_eq!(Account::all(&home).unwrap().1[0].name.as_deref(), Some("mine"));
        next.forget().unwrap();
        std::fs::write(made.file(), &bytes).unwrap();
        found.forget().unwrap();
        assert!(Account::list(&home).unwrap().is_empty());
    }

    #[test]
    fn what_was_spent_is_kept_and_a_day_begins_anew() {
        let dir = tempfile::tempdir().unwrap();
        let home = Home::locate(Some(dir.path().to_owned())).unwrap();
        let caps = Caps { call: 12, day: 100 };
        let signer = Secret::new(&SIGNER.0).unwrap();
        let account = Account::create(&home, 1337, caps, signer, &session(1), &[committee()]).unwrap();
        let lane = deal().lane;
        assert_eq!(account.spent(lane).unwrap(), Spent::default());
        assert_eq!(account.spent_on(7).unwrap(), 0);
        std::fs::remove_file(account.state(lane)).unwrap();
        assert_eq!(account.spent_on(7).unwrap(), deal().cap, "whoever removes the file has not the day anew");
        let last = |number: u64| Last { number, total: u128::from(number) * 12, digest: B256::repeat_byte(1) };
        let one = Spent { promised: 12, ..Spent::default() }.after(last(1), 7);
        let three = one.after(last(3), 7);
        account.keep(lane, &three).unwrap();
        assert_eq!((account.spent(lane).unwrap(), account.spent_on(7).unwrap()), (three.clone(), 36));
        assert_eq!((Spent::default().pending(), Spent { promised: 48, ..three.clone() }.pending()), (0, 12));
        let many = (0..20).fold(three.clone(), |spent, n| spent.without([n; 16]));
        account.keep(lane, &many).unwrap();
        let found = account.spent(lane).unwrap();
        assert_eq!((found.failed.len(), found.failed.last()), (16, Some(&[19; 16])));
        assert!(found.after(last(4), 7).failed.is_empty());
        account.keep(lane, &three).unwrap();
        assert_eq!((three.after(last(4), 8).today, account.spent_on(8).unwrap()), (12, 0));
        std::fs::write(account.state(lane), b"x").unwrap();
        assert!(account.spent(lane).is_err());
    }
}
