//! An account as it lies on disk: whose data, who counts, and how many answers of each kind were spent.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use sahara_circuits::bytes::{DecodeError, Reader, Writer, unhex};

use super::{AccountId, Place};
use crate::durable::{self, Readers};
use crate::engine::Assignment;
use crate::manifest::{AnswerCost, OwnerKey, SharingName};
use crate::wire::MAX_KINDS;

const MAGIC: &[u8; 8] = b"SHSPENT\0";
const VERSION: u16 = 1;
const WHAT: &str = "account of noisy answers";
const EXTENSION: &str = "account";
/// Longest file: its kinds of answers of five numbers each, and what stands before them.
const LONGEST: u64 = 1024 + 40 * MAX_KINDS as u64;

/// What has been spent, of one set of data.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Account {
    pub(super) owner: OwnerKey,
    pub(super) dataset: SharingName,
    committee: [u8; 32],
    assignment: Assignment,
    pub(super) spent: BTreeMap<AnswerCost, u64>,
}

impl Account {
    pub(super) fn new(owner: OwnerKey, dataset: SharingName, (committee, assignment): Place) -> Self {
        Self { owner, dataset, committee, assignment, spent: BTreeMap::new() }
    }

    pub(super) fn place(&self) -> Place {
        (self.committee, self.assignment)
    }

    /// The bytes, with their hash at the end.
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut w = Writer::with_header(MAGIC, VERSION);
        self.owner.write(&mut w);
        w.text_up_to(self.dataset.as_str(), SharingName::LIMIT);
        w.bytes(&self.committee).u8(self.assignment.helper()).u32(self.spent.len() as u32);
        for (cost, times) in &self.spent {
            cost.write(&mut w);
            w.u64(*times);
        }
        let checksum = blake3::hash(&w.0);
        w.bytes(checksum.as_bytes());
        w.0
    }

    pub(super) fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let (body, checksum) =
            bytes.split_last_chunk::<32>().ok_or(DecodeError::Truncated { what: WHAT, at: bytes.len() })?;
        if blake3::hash(body) != *checksum {
            return Err(DecodeError::Field { what: WHAT, field: "checksum" });
        }
        let mut r = Reader::new(WHAT, body);
        r.header(MAGIC, VERSION)?;
        let owner = OwnerKey::read(&mut r)?;
        let dataset = r.text("name", SharingName::LIMIT)?.parse().map_err(|_| r.field("name"))?;
        let committee = r.array()?;
        let assignment = Assignment::new(r.u8()?).ok_or_else(|| r.field("assignment"))?;
        let mut spent = BTreeMap::new();
        for _ in 0..r.count("kinds of answers", MAX_KINDS)? {
            let (cost, times) = (AnswerCost::read(&mut r)?, r.u64()?);
            if spent.insert(cost, times).is_some() {
                return Err(r.field("kinds of answers"));
            }
        }
        r.finish()?;
        Ok(Self { owner, dataset, committee, assignment, spent })
    }
}

/// Whose file this is, by its name; nothing for a file of something else.
pub(super) fn id_of(path: &Path) -> Option<AccountId> {
    let is_one = path.extension().is_some_and(|e| e == EXTENSION);
    path.file_stem().filter(|_| is_one)?.to_str().and_then(unhex::<32>)
}

pub(super) fn read(path: &Path) -> Result<Account, String> {
    let mut bytes = Vec::new();
    File::open(path).and_then(|file| file.take(LONGEST + 1).read_to_end(&mut bytes)).map_err(|e| e.to_string())?;
    Account::decode(&bytes).map_err(|e| e.to_string())
}

/// Writes the account; it is on the disk when this returns.
pub(super) fn write(dir: &Path, id: &AccountId, account: &Account) -> io::Result<()> {
    durable::replace(&path(dir, id), Readers::Owner, |file| file.write_all(&account.encode())).map(drop)
}

fn path(dir: &Path, id: &AccountId) -> PathBuf {
    let name: String = id.iter().map(|byte| format!("{byte:02x}")).collect();
    dir.join(name).with_extension(EXTENSION)
}
