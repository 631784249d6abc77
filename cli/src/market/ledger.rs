//! What a share node keeps of one session and lane, in a file that only grows: the terms, each digest that it signs (before the
//! signature leaves), and each complete receipt (before the answer leaves). Written whole or not at all: what a loss of power
//! cuts short at the file's end is cut off when the file is read again. Whatever else is wrong with it, the file stays as it is.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use alloy_primitives::{B256, keccak256};
use sahara_circuits::bytes::{DecodeError, Reader, Writer};
use sahara_market::Domain;
use sahara_mpc::durable::{self, Readers};
use sahara_mpc::market::{Complete, MAX_RECEIPT};

use super::bill::{Bill, BillError, Deal};

const MAGIC: &[u8; 8] = b"SHLEDGR\0";
const VERSION: u16 = 2;
/// The version before, which knows no twins: its files are read, and written anew.
const WITHOUT_TWINS: u16 = 1;
/// Longest entry: a receipt with its signatures.
const MAX_ENTRY: usize = MAX_RECEIPT + 256;
/// A file that is longer is written anew with what still counts.
const MAX_FILE: u64 = 512 << 10;
/// Bytes of an entry's checksum.
const CHECK: usize = 8;

/// Why a file is no ledger.
#[derive(Debug)]
pub enum LedgerError {
    /// The file system refuses.
    Io(io::Error),
    /// Its beginning is damaged or of another version.
    Content(BillError),
}

impl std::fmt::Display for LedgerError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Io(error) => error.fmt(f),
            Self::Content(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for LedgerError {}

impl From<io::Error> for LedgerError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl From<BillError> for LedgerError {
    fn from(error: BillError) -> Self {
        Self::Content(error)
    }
}

impl From<DecodeError> for LedgerError {
    fn from(error: DecodeError) -> Self {
        Self::Content(error.into())
    }
}

/// A digest that this node signed for a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Signed {
    /// The job's name.
    pub job: [u8; 16],
    /// What was signed.
    pub digest: B256,
}

/// What a ledger says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// The terms.
    pub deal: Deal,
    /// The last complete receipt.
    pub last: Option<Complete>,
    /// What was signed, in that order.
    pub signed: Vec<Signed>,
    /// Digests of other complete receipts of the last number.
    pub twins: Vec<B256>,
}

/// The file of one session and lane.
pub struct Ledger {
    path: PathBuf,
    /// Bytes that are whole.
    len: u64,
}

impl Ledger {
    /// Where the ledger of a deal lies in a folder.
    pub fn path(folder: &Path, deal: &Deal) -> PathBuf {
        Self::file(folder, (deal.id, deal.lane))
    }

    /// Where the ledger of a session and lane lies in a folder.
    pub fn file(folder: &Path, (session, lane): (B256, B256)) -> PathBuf {
        folder.join(format!("{session:x}-{lane:x}.ledger"))
    }

    /// Begins a ledger, on disk when this returns.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn begin(path: PathBuf, deal: &Deal) -> io::Result<Self> {
        Self::rewrite(path, deal, None, &[], &[])
    }

    /// Opens a ledger. What was cut short at its end is taken off.
    ///
    /// # Errors
    /// When it cannot be read, or is damaged anywhere else: then it stays as it is.
    pub fn open(domain: &Domain, path: PathBuf) -> Result<(Self, Found), LedgerError> {
        let (found, whole, all) = read(domain, &path)?;
        let ledger = match whole < all {
            true => Self::rewrite(path, &found.deal, found.last.as_ref(), &found.signed, &found.twins)?,
            false => Self { path, len: whole },
        };
        Ok((ledger, found))
    }

    /// Keeps what is to be signed.
    ///
    /// # Errors
    /// When the file cannot be written: nothing may be signed then.
    pub fn sign(&mut self, signed: &Signed) -> io::Result<()> {
        self.append(&encode_signed(signed))
    }

    /// Keeps a complete receipt.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn complete(&mut self, complete: &Complete) -> io::Result<()> {
        self.append(&encode_complete(complete))
    }

    /// Keeps the digest of another complete receipt of the last number.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn twin(&mut self, digest: B256) -> io::Result<()> {
        self.append(&encode_twin(digest))
    }

    /// Whether the file should be written anew ([`Ledger::compact`]).
    pub fn is_long(&self) -> bool {
        self.len > MAX_FILE / 2
    }

    /// Writes the file anew with what still counts.
    ///
    /// # Errors
    /// When the file cannot be written; it is as it was, then.
    pub fn compact(
        &mut self,
        deal: &Deal,
        last: Option<&Complete>,
        signed: &[Signed],
        twins: &[B256],
    ) -> io::Result<()> {
        *self = Self::rewrite(self.path.clone(), deal, last, signed, twins)?;
        Ok(())
    }

    /// Removes the file: the session is over.
    ///
    /// # Errors
    /// When it stays.
    pub fn delete(&self) -> io::Result<()> {
        durable::remove(&self.path)
    }

    fn rewrite(
        path: PathBuf,
        deal: &Deal,
        last: Option<&Complete>,
        signed: &[Signed],
        twins: &[B256],
    ) -> io::Result<Self> {
        let mut w = Writer::with_header(MAGIC, VERSION);
        let terms = deal.encode();
        w.u32(terms.len() as u32).bytes(&terms);
        signed.iter().for_each(|signed| {
            w.bytes(&framed(&encode_signed(signed)));
        });
        if let Some(last) = last {
            w.bytes(&framed(&encode_complete(last)));
        }
        twins.iter().for_each(|twin| {
            w.bytes(&framed(&encode_twin(*twin)));
        });
        durable::replace(&path, Readers::Owner, |file| file.write_all(&w.0))?;
        Ok(Self { path, len: w.0.len() as u64 })
    }

    fn append(&mut self, entry: &[u8]) -> io::Result<()> {
        let entry = framed(entry);
        let mut file = File::options().write(true).open(&self.path)?;
        // An entry of before that came to its place in part only would hide this one.
        file.set_len(self.len)?;
        file.seek(SeekFrom::Start(self.len))?;
        file.write_all(&entry)?;
        file.sync_all()?;
        self.len += entry.len() as u64;
        Ok(())
    }
}

/// The last complete receipts in the ledgers of a folder, which may be in use: nothing is changed. Of ledgers that are damaged,
/// the last one that can be read.
///
/// # Errors
/// When the folder cannot be read.
pub fn bills(domain: &Domain, folder: &Path) -> io::Result<Vec<(Bill, Complete)>> {
    let mut all = Vec::new();
    for path in files(folder)? {
        all.extend(last(domain, &path).or_else(|| salvage(domain, &path)));
    }
    Ok(all)
}

/// The last complete receipt in a ledger that is not damaged, if there is one.
pub fn last(domain: &Domain, path: &Path) -> Option<(Bill, Complete)> {
    let complete = read(domain, path).ok()?.0.last?;
    Some((Bill::of(domain, &complete).ok()?, complete))
}

/// The last complete receipt anywhere in a file that is damaged: what all members have signed is owed, wherever it stands.
pub fn salvage(domain: &Domain, path: &Path) -> Option<(Bill, Complete)> {
    let mut bytes = Vec::new();
    File::open(path).ok()?.take(MAX_FILE).read_to_end(&mut bytes).ok()?;
    let mut found: Option<(Bill, Complete)> = None;
    let mut at = 0;
    while let Some(rest) = bytes.get(at..).filter(|rest| !rest.is_empty()) {
        let mut r = Reader::new("damaged ledger", rest);
        let Some(entry) = entry(&mut r) else {
            at += 1;
            continue;
        };
        at = bytes.len() - r.left();
        let Entry::Complete(complete) = entry else { continue };
        let Ok(bill) = Bill::of(domain, &complete) else { continue };
        if found.as_ref().is_none_or(|(known, _)| known.receipt.total < bill.receipt.total) {
            found = Some((bill, complete));
        }
    }
    found
}

/// The ledgers in a folder; none if there is no such folder.
///
/// # Errors
/// When it cannot be read.
pub fn files(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let entries = match std::fs::read_dir(folder) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries?,
    };
    let mut files = Vec::new();
    for entry in entries {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "ledger") {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

/// What a file says, how many bytes of it are whole, and how many there are.
fn read(domain: &Domain, path: &Path) -> Result<(Found, u64, u64), LedgerError> {
    let mut bytes = Vec::new();
    File::open(path)?.take(MAX_FILE + 2 * MAX_ENTRY as u64).read_to_end(&mut bytes)?;
    let mut r = Reader::new("ledger of a session", &bytes);
    let old = Reader::new("ledger of a session", &bytes).header(MAGIC, WITHOUT_TWINS).is_ok();
    r.header(MAGIC, if old { WITHOUT_TWINS } else { VERSION })?;
    let len = r.count("bytes of a deal", MAX_ENTRY)?;
    let deal = Deal::decode(domain, r.take(len)?)?;
    // Its name is the hash of its terms.
    if Ledger::path(Path::new(""), &deal).file_name() != path.file_name() {
        return Err(LedgerError::Content(BillError::Wrong("the ledger's terms are not those that its name says")));
    }
    let mut found = Found { deal, last: None, signed: Vec::new(), twins: Vec::new() };
    let mut whole = bytes.len() - r.left();
    while let Some(entry) = entry(&mut r) {
        match entry {
            Entry::Signed(signed) => found.signed.push(signed),
            Entry::Complete(complete) => {
                found.twins.clear();
                found.last = Some(complete);
            }
            Entry::Twin(digest) => found.twins.push(digest),
        }
        whole = bytes.len() - r.left();
    }
    let tail = bytes.get(whole..).unwrap_or_default();
    if bytes.len() as u64 > MAX_FILE {
        return Err(LedgerError::Content(BillError::Wrong("the ledger is longer than any")));
    }
    if !is_torn(tail) {
        return Err(LedgerError::Content(BillError::Wrong(
            "the ledger is damaged before its end: it stays as it is, put it back from a copy that is as new",
        )));
    }
    if let Some(last) = &found.last {
        // What this node wrote itself: a receipt that does not hold means a disk that lies.
        Bill::of(domain, last)?;
    }
    // What is of the version before is as if its end were missing: written anew before anything is added.
    Ok((found, whole as u64, bytes.len() as u64 + u64::from(old)))
}

/// Whether this, after the last whole entry of a file, is what a loss of power leaves of one more: the beginning of an entry, or
/// one whose last bytes never came to the disk and are zero. An entry that has all its bytes, or has another one behind it, was
/// kept and has changed since.
fn is_torn(tail: &[u8]) -> bool {
    if tail.iter().all(|byte| *byte == 0) {
        return true;
    }
    if tail.len() > MAX_ENTRY + CHECK + 4 || (1..tail.len()).any(|at| is_whole(&tail[at..])) {
        return false;
    }
    let Some((head, rest)) = tail.split_first_chunk::<4>() else { return true };
    // Whatever its length says: an entry that ends where the file does.
    if let Some((entry, check)) = rest.split_last_chunk::<CHECK>()
        && keccak256(entry)[..CHECK] == *check
    {
        return false;
    }
    let claimed = u32::from_le_bytes(*head) as usize;
    let missing = claimed <= MAX_ENTRY && claimed + CHECK > rest.len();
    let unwritten = claimed <= MAX_ENTRY && claimed + CHECK == rest.len() && rest.ends_with(&[0; CHECK]);
    missing || unwritten
}

/// Whether an entry begins here.
fn is_whole(bytes: &[u8]) -> bool {
    entry(&mut Reader::new("entry of a ledger", bytes)).is_some()
}

enum Entry {
    Signed(Signed),
    Complete(Complete),
    Twin(B256),
}

fn encode_signed(signed: &Signed) -> Vec<u8> {
    let mut w = Writer::default();
    w.u8(1).bytes(&signed.job).bytes(signed.digest.as_slice());
    w.0
}

fn encode_complete(complete: &Complete) -> Vec<u8> {
    let mut w = Writer::default();
    w.u8(2);
    complete.signatures.iter().for_each(|signature| {
        w.bytes(signature);
    });
    w.bytes(&complete.receipt);
    w.0
}

fn encode_twin(digest: B256) -> Vec<u8> {
    let mut w = Writer::default();
    w.u8(3).bytes(digest.as_slice());
    w.0
}

fn framed(entry: &[u8]) -> Vec<u8> {
    let mut w = Writer::default();
    w.u32(entry.len() as u32).bytes(entry).bytes(&keccak256(entry)[..CHECK]);
    w.0
}

/// The next whole entry.
fn entry(r: &mut Reader<'_>) -> Option<Entry> {
    let len = r.count("bytes of an entry", MAX_ENTRY).ok()?;
    let entry = r.take(len).ok()?;
    if r.take(CHECK).ok()? != &keccak256(entry)[..CHECK] {
        return None;
    }
    let mut r = Reader::new("entry of a ledger", entry);
    match r.u8().ok()? {
        1 => {
            let signed = Signed { job: r.array().ok()?, digest: r.array::<32>().ok()?.into() };
            r.finish().ok()?;
            Some(Entry::Signed(signed))
        }
        2 => {
            let signatures = [r.array().ok()?, r.array().ok()?, r.array().ok()?];
            Some(Entry::Complete(Complete { receipt: r.take(r.left()).ok()?.to_vec(), signatures }))
        }
        3 => {
            let digest = r.array::<32>().ok()?.into();
            r.finish().ok()?;
            Some(Entry::Twin(digest))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::super::bill::{Last, tests::*};
    use super::*;

    fn signed(n: u8) -> Signed {
        Signed { job: [n; 16], digest: B256::repeat_byte(n) }
    }

    #[test]
    fn what_was_kept_is_there_again_wherever_the_file_was_cut() {
        let dir = tempfile::tempdir().unwrap();
        let path = Ledger::path(dir.path(), &deal());
        let mut ledger = Ledger::begin(path.clone(), &deal()).unwrap();
        let begun = std::fs::metadata(&path).unwrap().len();
        let first = complete(&bill(1, &Last::default()));
        ledger.sign(&signed(1)).unwrap();
        let signed_once = std::fs::metadata(&path).unwrap().len();
        ledger.complete(&first).unwrap();
        let completed = std::fs::metadata(&path).unwrap().len();
        ledger.sign(&signed(2)).unwrap();
        let whole = std::fs::read(&path).unwrap();
        let all = Found { deal: deal(), last: Some(first.clone()), signed: vec![signed(1), signed(2)], twins: vec![] };
        assert_eq!(Ledger::open(&HERE, path.clone()).unwrap().1, all);

        let bounds = [begun - 1, begun, signed_once - 1, signed_once, completed - 1, completed];
        for cut in (0..whole.len() as u64).step_by(37).chain(bounds) {
            std::fs::write(&path, &whole[..cut as usize]).unwrap();
            let Ok((mut ledger, found)) = Ledger::open(&HERE, path.clone()) else {
                assert!(cut < begun, "{cut}");
                continue;
            };
            let last = (cut >= completed).then(|| first.clone());
            let signatures = if cut < signed_once { vec![] } else { vec![signed(1)] };
            assert_eq!(found, Found { last, signed: signatures, deal: deal(), twins: vec![] }, "{cut}");
            // What comes next is not hidden by the piece that was there.
            ledger.sign(&signed(3)).unwrap();
            assert_eq!(Ledger::open(&HERE, path.clone()).unwrap().1.signed.last(), Some(&signed(3)), "{cut}");
        }
    }

    #[test]
    fn a_changed_byte_is_told_hides_nothing_and_nothing_is_written_over_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = Ledger::path(dir.path(), &deal());
        let mut ledger = Ledger::begin(path.clone(), &deal()).unwrap();
        let begun = std::fs::metadata(&path).unwrap().len() as usize;
        ledger.sign(&signed(1)).unwrap();
        let first = complete(&bill(1, &Last::default()));
        ledger.complete(&first).unwrap();
        let second = complete(&bill(2, &bill(1, &Last::default()).last(&HERE)));
        let one = std::fs::metadata(&path).unwrap().len() as usize;
        ledger.complete(&second).unwrap();
        let good = std::fs::read(&path).unwrap();
        for at in
            (10..begun).step_by(41).chain(begun..begun + 4).chain((begun..good.len()).step_by(29)).chain(one..one + 4)
        {
            for bit in [1, 0x10, 0x80] {
                let mut bytes = good.clone();
                bytes[at] ^= bit;
                std::fs::write(&path, &bytes).unwrap();
                assert!(Ledger::open(&HERE, path.clone()).is_err(), "{at} {bit}");
                assert_eq!(std::fs::read(&path).unwrap(), bytes, "{at}");
                assert_eq!(last(&HERE, &path), None);
                let paid = if at < one { &second } else { &first };
                assert_eq!(salvage(&HERE, &path).unwrap().1, *paid, "{at}");
                assert_eq!(bills(&HERE, dir.path()).unwrap()[0].1, *paid);
            }
        }
    }

    #[test]
    fn what_a_loss_of_power_leaves_of_the_last_entry_is_taken_off() {
        let dir = tempfile::tempdir().unwrap();
        let path = Ledger::path(dir.path(), &deal());
        let mut ledger = Ledger::begin(path.clone(), &deal()).unwrap();
        ledger.sign(&signed(1)).unwrap();
        let before = std::fs::read(&path).unwrap();
        let entry = framed(&encode_complete(&complete(&bill(1, &Last::default()))));
        for written in (0..entry.len() - CHECK).step_by(61) {
            for zeros in [0, 1, entry.len() - written] {
                let bytes = [&before, &entry[..written], &vec![0; zeros]].concat();
                std::fs::write(&path, bytes).unwrap();
                let (_, found) = Ledger::open(&HERE, path.clone()).unwrap();
                assert_eq!((found.signed, found.last), (vec![signed(1)], None), "{written} {zeros}");
                assert_eq!(std::fs::read(&path).unwrap(), before);
            }
        }
    }

    #[test]
    fn a_forged_receipt_is_told_and_never_paid() {
        let dir = tempfile::tempdir().unwrap();
        let path = Ledger::path(dir.path(), &deal());
        let mut forged = complete(&bill(1, &Last::default()));
        forged.signatures[2][0] ^= 1;
        Ledger::begin(path.clone(), &deal()).unwrap().complete(&forged).unwrap();
        assert!(Ledger::open(&HERE, path).is_err());
        assert!(bills(&HERE, dir.path()).unwrap().is_empty() && files(dir.path()).unwrap().len() == 1);
        assert!(bills(&HERE, &dir.path().join("none")).unwrap().is_empty());
    }

    #[test]
    fn other_receipts_of_the_last_number_are_kept_until_the_next_and_files_of_before_are_read() {
        let dir = tempfile::tempdir().unwrap();
        let path = Ledger::path(dir.path(), &deal());
        let mut ledger = Ledger::begin(path.clone(), &deal()).unwrap();
        let first = bill(1, &Last::default());
        let twins = |path: &Path| Ledger::open(&HERE, path.to_owned()).unwrap().1.twins;
        ledger.complete(&complete(&first)).unwrap();
        let before = std::fs::read(&path).unwrap();
        (1..=2).for_each(|n| ledger.twin(B256::repeat_byte(n)).unwrap());
        let both = [1, 2].map(B256::repeat_byte);
        assert_eq!(twins(&path), both);
        ledger.compact(&deal(), Some(&complete(&first)), &[], &both).unwrap();
        assert_eq!(twins(&path), both);
        ledger.complete(&complete(&bill(2, &first.last(&HERE)))).unwrap();
        assert!(twins(&path).is_empty());

        let mut old = before.clone();
        assert_eq!(old[8..10], VERSION.to_le_bytes());
        old[8..10].copy_from_slice(&WITHOUT_TWINS.to_le_bytes());
        std::fs::write(&path, &old).unwrap();
        let (mut ledger, found) = Ledger::open(&HERE, path.clone()).unwrap();
        assert!(found.last == Some(complete(&first)) && std::fs::read(&path).unwrap() == before);
        ledger.twin(both[0]).unwrap();
        assert_eq!(twins(&path), both[..1]);
    }

    #[test]
    fn an_attempt_that_failed_in_the_middle_does_not_hide_the_next() {
        let dir = tempfile::tempdir().unwrap();
        let path = Ledger::path(dir.path(), &deal());
        let mut ledger = Ledger::begin(path.clone(), &deal()).unwrap();
        let half = framed(&encode_signed(&signed(1)));
        let mut file = File::options().append(true).open(&path).unwrap();
        file.write_all(&half[..9]).unwrap();
        ledger.sign(&signed(2)).unwrap();
        assert_eq!(Ledger::open(&HERE, path.clone()).unwrap().1.signed, [signed(2)]);
        ledger.compact(&deal(), Some(&complete(&bill(1, &Last::default()))), &[signed(4)], &[]).unwrap();
        ledger.sign(&signed(5)).unwrap();
        let (ledger, found) = Ledger::open(&HERE, path.clone()).unwrap();
        assert_eq!((found.signed, found.last.is_some()), (vec![signed(4), signed(5)], true));
        ledger.delete().unwrap();
        assert!(!path.exists());
    }
}
