//! Receipts that were paid for, kept in the home: one file each, whole.
//!
//! They are bounded: beyond [`MOST`] files the oldest go, a quarter of all at a time, but for the last one of each session and
//! committee, whose total says what all before it came to. That some went says a file beside them.

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};

use alloy_primitives::B256;
use sahara_circuits::bytes::{Reader, Writer};
use sahara_market::{Domain, INFERENCE_MARKET};
use sahara_mpc::durable::{self, Readers};
use sahara_mpc::market::{Complete, MAX_RECEIPT};

use super::bill::{Bill, BillError};
use crate::error::{Error, Result};
use sahara::home::{Home, create_private_dir};

const MAGIC: &[u8; 8] = b"SHRCPT\0\0";
const VERSION: u16 = 1;
/// Longest file.
const MAX_FILE: u64 = 2 * MAX_RECEIPT as u64;
/// Most receipts that are kept, of some kilobytes each.
pub const MOST: usize = 100_000;
/// A file beside them that says that older ones went.
const PRUNED: &str = "pruned";
/// Of so many receipts one has the folder looked at: reading its names takes longer the more there are.
const SELDOM: u8 = 64;

/// A receipt as it is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kept {
    /// Which chain's market.
    pub chain: u64,
    /// When it was kept, in milliseconds since 1970.
    pub at: u64,
    /// Whether the answer came with it.
    pub answered: bool,
    /// The receipt and its signatures.
    pub complete: Complete,
}

impl Kept {
    /// Where it counts.
    pub fn domain(&self) -> Domain {
        Domain { chain_id: self.chain, market: INFERENCE_MARKET }
    }

    /// What it says, with all three signatures checked.
    ///
    /// # Errors
    /// When it does not hold.
    pub fn bill(&self) -> std::result::Result<Bill, BillError> {
        Bill::of(&self.domain(), &self.complete)
    }

    /// The bytes of its file.
    pub fn encode(&self) -> Vec<u8> {
        let mut w = Writer::with_header(MAGIC, VERSION);
        w.u64(self.chain).u64(self.at).u8(self.answered.into());
        self.complete.signatures.iter().for_each(|signature| {
            w.bytes(signature);
        });
        w.u32(self.complete.receipt.len() as u32).bytes(&self.complete.receipt);
        w.0
    }

    /// Reads a file.
    ///
    /// # Errors
    /// When it is none. That what it says holds, [`Kept::bill`] finds out.
    pub fn decode(bytes: &[u8]) -> std::result::Result<Self, BillError> {
        let mut r = Reader::new("receipt", bytes);
        r.header(MAGIC, VERSION)?;
        let (chain, at) = (r.u64()?, r.u64()?);
        let answered = match r.u8()? {
            0 => false,
            1 => true,
            _ => return Err(BillError::Wrong("the receipt is damaged")),
        };
        let signatures = [r.array()?, r.array()?, r.array()?];
        let len = r.count("bytes of a receipt", MAX_RECEIPT)?;
        let receipt = r.take(len)?.to_vec();
        r.finish()?;
        Ok(Self { chain, at, answered, complete: Complete { receipt, signatures } })
    }
}

/// Where they are.
pub fn folder(home: &Home) -> PathBuf {
    home.path().join("receipts")
}

/// Keeps a receipt; on disk when this returns.
///
/// # Errors
/// When it cannot be written.
pub fn keep(home: &Home, digest: B256, kept: &Kept) -> Result<()> {
    let folder = folder(home);
    create_private_dir(&folder)?;
    let path = folder.join(format!("{digest:x}.receipt"));
    let written = durable::replace(&path, Readers::Owner, |file| file.write_all(&kept.encode()));
    written.map_err(|e| Error::io("keeping the receipt", &path, e))?;
    if digest.0[0].is_multiple_of(SELDOM) && ids(&folder)?.len() > MOST {
        // Too many are no reason to fail now.
        let _ = prune(home, MOST - MOST / 4);
    }
    Ok(())
}

/// Whether older receipts went to make room.
pub fn are_pruned(home: &Home) -> bool {
    folder(home).join(PRUNED).exists()
}

/// Removes the oldest receipts beyond `most`, but for the last of each session and committee.
fn prune(home: &Home, most: usize) -> Result<()> {
    let folder = folder(home);
    let mut all = list(home)?;
    all.reverse();
    let mut last = BTreeSet::new();
    let mut old = Vec::new();
    for (place, (id, kept)) in all.iter().enumerate() {
        // What cannot be read as a receipt of a session stays: it may be evidence of something.
        let Ok(bill) = Bill::decode(&kept.domain(), &kept.complete.receipt) else { continue };
        let is_last = last.insert((kept.chain, bill.deal.id, bill.deal.lane));
        if place >= most && !is_last {
            old.push(*id);
        }
    }
    let marker = folder.join(PRUNED);
    let said = durable::replace(&marker, Readers::Owner, |file| file.write_all(b"older receipts went to make room\n"));
    said.map_err(|e| Error::io("noting that receipts go", &marker, e))?;
    for id in old {
        let path = folder.join(format!("{id:x}.receipt"));
        durable::remove(&path).map_err(|e| Error::io("removing", &path, e))?;
    }
    Ok(())
}

/// The ids of all receipts in a folder.
fn ids(folder: &Path) -> Result<Vec<B256>> {
    let entries = match std::fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(e) => return Err(Error::io("reading", folder, e)),
    };
    let mut ids = Vec::new();
    for entry in entries {
        let name = entry.map_err(|e| Error::io("reading", folder, e))?.file_name();
        ids.extend(name.to_str().and_then(|name| name.strip_suffix(".receipt")?.parse::<B256>().ok()));
    }
    Ok(ids)
}

/// Receipts, the oldest first, each with its id.
pub type Receipts = Vec<(B256, Kept)>;

/// Those that can be read, the oldest first.
///
/// # Errors
/// When the folder cannot be read.
pub fn list(home: &Home) -> Result<Receipts> {
    Ok(all(home)?.0)
}

/// Those that can be read, the oldest first, and what is wrong with each of the others.
///
/// # Errors
/// When the folder cannot be read.
pub fn all(home: &Home) -> Result<(Receipts, Vec<Error>)> {
    let folder = folder(home);
    let (mut all, mut damaged) = (Vec::new(), Vec::new());
    for id in ids(&folder)? {
        match read(&folder.join(format!("{id:x}.receipt"))) {
            Ok(kept) => all.push((id, kept)),
            Err(error) => damaged.push(error),
        }
    }
    all.sort_by_key(|(id, kept)| (kept.at, *id));
    Ok((all, damaged))
}

/// The receipt that is named: `last`, an id or the beginning of one, or a file.
///
/// # Errors
/// When there is none, or more than one, or its file is damaged.
pub fn find(home: &Home, which: &str) -> Result<Kept> {
    let none = || Error::user(format!("no receipt is '{}': see `sahara receipt ls`", which.escape_debug()));
    if which == "last" {
        return list(home)?.pop().map(|(_, kept)| kept).ok_or_else(|| Error::user("no receipt is here yet"));
    }
    let digits = which.strip_prefix("0x").unwrap_or(which);
    if digits.len() >= 4 && digits.len() <= 64 && digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        let digits = digits.to_ascii_lowercase();
        let all = list(home)?.into_iter().filter(|(id, _)| format!("{id:x}").starts_with(&digits));
        let mut all: Vec<_> = all.collect();
        return match all.len() {
            0 => Err(none()),
            1 => Ok(all.swap_remove(0).1),
            _ => Err(Error::user(format!("several receipts begin with '{digits}': give more of it"))),
        };
    }
    let path = Path::new(which);
    if !path.exists() {
        return Err(none());
    }
    read(path)
}

fn read(path: &Path) -> Result<Kept> {
    let mut bytes = Vec::new();
    let file = std::fs::File::open(path).map_err(|e| Error::io("reading", path, e))?;
    file.take(MAX_FILE + 1).read_to_end(&mut bytes).map_err(|e| Error::io("reading", path, e))?;
    Kept::decode(&bytes).map_err(|e| Error::user(format!("{}: {e}", path.display())))
}

#[cfg(test)]
mod tests {
    use super::super::bill::{Last, tests::*};
    use super::*;

    #[test]
    fn receipts_are_found_by_id_and_by_being_the_last() {
        let dir = tempfile::tempdir().unwrap();
        let home = Home::locate(Some(dir.path().to_owned())).unwrap();
        assert!(find(&home, "last").is_err() && list(&home).unwrap().is_empty());
        let first = bill(1, &Last::default());
        let second = bill(2, &first.last(&HERE));
        let mut ids = Vec::new();
        for (at, bill) in [(9, &first), (10, &second)] {
            let kept = Kept { chain: 1337, at, answered: true, complete: complete(bill) };
            keep(&home, bill.digest(&HERE), &kept).unwrap();
            ids.push(bill.digest(&HERE));
        }
        assert_eq!(find(&home, "last").unwrap().bill().unwrap(), second);
        assert_eq!(find(&home, &ids[0].to_string()).unwrap().bill().unwrap(), first);
        assert_eq!(find(&home, &format!("{:x}", ids[0])[..12]).unwrap().at, 9);
        let file = folder(&home).join(format!("{:x}.receipt", ids[1]));
        assert_eq!(find(&home, file.to_str().unwrap()).unwrap().at, 10);
        for none in ["ffff", "ab", "no", "0x", &"0".repeat(65)] {
            assert_eq!(find(&home, none).unwrap_err().exit_code(), 2, "{none}");
        }
        // Bytes of another kind are told; those of another chain do not hold.
        std::fs::write(&file, b"SHRCPT\0\0").unwrap();
        assert_eq!(find(&home, file.to_str().unwrap()).unwrap_err().exit_code(), 2);
        assert_eq!(find(&home, "last").unwrap().bill().unwrap(), first, "the others are not blocked");
        let (good, damaged) = all(&home).unwrap();
        assert!(good.len() == 1 && damaged.len() == 1 && damaged[0].report().contains(file.to_str().unwrap()));
        let elsewhere = Kept { chain: 1, at: 0, answered: true, complete: complete(&first) };
        assert!(elsewhere.bill().is_err());
        for cut in 0..elsewhere.encode().len() {
            assert!(Kept::decode(&elsewhere.encode()[..cut]).is_err());
        }
    }

    #[test]
    fn the_oldest_go_and_the_last_of_each_session_stays() {
        let dir = tempfile::tempdir().unwrap();
        let home = Home::locate(Some(dir.path().to_owned())).unwrap();
        let mut last = Last::default();
        let mut ids = Vec::new();
        for at in 0..6 {
            let bill = bill(at + 1, &last);
            last = bill.last(&HERE);
            // The chain of the last ones is another.
            let chain = if at < 4 { 1337 } else { 7 };
            keep(&home, last.digest, &Kept { chain, at: at.into(), answered: true, complete: complete(&bill) })
                .unwrap();
            ids.push(last.digest);
        }
        assert!(!are_pruned(&home));
        prune(&home, 1).unwrap();
        let kept: Vec<B256> = list(&home).unwrap().into_iter().map(|(id, _)| id).collect();
        assert_eq!(kept, [ids[3], ids[5]]);
        assert!(are_pruned(&home));
        prune(&home, 1).unwrap();
        assert_eq!(list(&home).unwrap().len(), 2);
    }
}
