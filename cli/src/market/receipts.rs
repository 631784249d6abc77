//! Receipts that were paid for, kept in the home: one file each, whole.

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
    written.map(drop).map_err(|e| Error::io("keeping the receipt", &path, e))
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
    let entries = match std::fs::read_dir(&folder) {
        Ok(entries) => entries,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(Default::default()),
        Err(e) => return Err(Error::io("reading", &folder, e)),
    };
    let (mut all, mut damaged) = (Vec::new(), Vec::new());
    for entry in entries {
        let path = entry.map_err(|e| Error::io("reading", &folder, e))?.path();
        let id = path.file_name().and_then(|name| name.to_str()?.strip_suffix(".receipt")?.parse::<B256>().ok());
        let Some(id) = id else { continue };
        match read(&path) {
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
}
