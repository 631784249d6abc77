//! What lies on disk: a record for each sharing, and for each version a folder with its manifest, graphs, this node's
//! parts of the weights and the client part. Files are private, written in one step and synced.

use std::fs::File;
use std::io::{self, Read, Write};
use std::path::Path;

use sahara_circuits::bytes::{DecodeError, Reader, Writer};

use super::error::ModelError;
use crate::durable::{self, Readers};
use crate::engine::{Assignment, GraphId};
use crate::manifest::{MAX_MANIFEST, ManifestId, OwnerKey, SharingId, SharingName, SignedAccess};

/// File of the signed manifest in a version's folder.
pub(super) const MANIFEST: &str = "manifest";
/// File of the client part in a version's folder.
pub(super) const CLIENT: &str = "client";

/// File of a graph in a version's folder.
pub(super) fn graph_file(id: &GraphId) -> String {
    format!("graph-{id}")
}

/// File of a part of the weights in a version's folder; `None` for open weights.
pub(super) fn part_file(masked_for: Option<Assignment>) -> String {
    match masked_for {
        Some(assignment) => format!("part-{}", assignment.helper()),
        None => "part-open".into(),
    }
}

const PART_MAGIC: &[u8; 8] = b"SHWPART\0";
const PART_VERSION: u16 = 2;

/// The front of a file with this node's part of the weights.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PartHeader {
    /// The version of the sharing it belongs to.
    pub manifest: ManifestId,
    /// Which node is helper; `None` for open weights, which are the same in every assignment.
    pub masked_for: Option<Assignment>,
    /// Bytes that follow.
    pub len: u64,
}

impl PartHeader {
    /// Bytes of the encoding.
    pub const LEN: usize = 8 + 2 + 32 + 1 + 8;
    const OPEN: u8 = 255;

    /// The byte form.
    pub fn encode(&self) -> Vec<u8> {
        let mut w = Writer::with_header(PART_MAGIC, PART_VERSION);
        w.bytes(&self.manifest.0).u8(self.masked_for.map_or(Self::OPEN, |a| a.helper())).u64(self.len);
        w.0
    }

    /// Reads the byte form.
    ///
    /// # Errors
    /// When the bytes are not one.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut r = Reader::new("weight part", bytes);
        r.header(PART_MAGIC, PART_VERSION)?;
        let manifest = ManifestId(r.array()?);
        let masked_for = match r.u8()? {
            Self::OPEN => None,
            helper => Some(Assignment::new(helper).ok_or_else(|| r.field("assignment"))?),
        };
        let header = Self { manifest, masked_for, len: r.u64()? };
        r.finish()?;
        Ok(header)
    }
}

const RECORD_MAGIC: &[u8; 8] = b"SHSHARE\0";
/// The first version had no checksum.
const RECORD_VERSION: u16 = 2;
const RECORD: &str = "record of a sharing";
const MAX_RECORD: u64 = 2 * MAX_MANIFEST as u64;

/// What a node remembers of a sharing, also after its deletion.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SharingRecord {
    /// Whose it is.
    pub owner: OwnerKey,
    /// What the owner calls it.
    pub name: SharingName,
    /// The highest version that was ever here.
    pub last_version: u64,
    /// The highest serial of an access list that was ever here.
    pub last_serial: u64,
    /// The current version; `None` after a deletion.
    pub current: Option<ManifestId>,
    /// A later list than that of the current manifest.
    pub access: Option<SignedAccess>,
}

impl SharingRecord {
    /// Which sharing it is of.
    pub fn sharing(&self) -> SharingId {
        SharingId::of(&self.owner, &self.name)
    }

    /// The byte form: what it says, and a hash of that.
    pub fn encode(&self) -> Vec<u8> {
        let mut w = Writer::with_header(RECORD_MAGIC, RECORD_VERSION);
        self.owner.write(&mut w);
        w.text_up_to(self.name.as_str(), SharingName::LIMIT).u64(self.last_version).u64(self.last_serial);
        match &self.current {
            Some(id) => w.u8(1).bytes(&id.0),
            None => w.u8(0),
        };
        let access = self.access.as_ref().map(SignedAccess::encode).unwrap_or_default();
        w.u32(access.len() as u32).bytes(&access);
        let checksum = blake3::hash(&w.0);
        w.bytes(checksum.as_bytes());
        w.0
    }

    /// Reads the byte form.
    ///
    /// # Errors
    /// When the bytes are not one.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut r = Reader::new(RECORD, bytes);
        r.header(RECORD_MAGIC, RECORD_VERSION)?;
        let (body, checksum) =
            bytes.split_last_chunk::<32>().ok_or(DecodeError::Truncated { what: RECORD, at: bytes.len() })?;
        if blake3::hash(body) != *checksum {
            return Err(r.field("checksum"));
        }
        Self::read(body, RECORD_VERSION)
    }

    /// Reads the byte form of the first version.
    ///
    /// # Errors
    /// When the bytes are not one.
    pub fn decode_version_1(bytes: &[u8]) -> Result<Self, DecodeError> {
        Self::read(bytes, 1)
    }

    fn read(bytes: &[u8], version: u16) -> Result<Self, DecodeError> {
        let mut r = Reader::new(RECORD, bytes);
        r.header(RECORD_MAGIC, version)?;
        let mut record = Self {
            owner: OwnerKey::read(&mut r)?,
            name: r.text("name", SharingName::LIMIT)?.parse().map_err(|_| r.field("name"))?,
            last_version: r.u64()?,
            last_serial: r.u64()?,
            current: match r.u8()? {
                0 => None,
                1 => Some(ManifestId(r.array()?)),
                _ => return Err(r.field("current version")),
            },
            access: None,
        };
        let len = r.count("access list", MAX_MANIFEST)?;
        if len > 0 {
            let access = SignedAccess::decode(r.take(len)?)?;
            if access.owner() != record.owner || access.sharing() != record.sharing() {
                return Err(r.field("access list"));
            }
            record.access = Some(access);
        }
        r.finish()?;
        Ok(record)
    }

    pub(super) fn load(path: &Path) -> Result<Self, ModelError> {
        let bytes = read_limited(path, MAX_RECORD)?;
        let record = match Self::decode(&bytes) {
            Err(DecodeError::Version { found: 1, .. }) => Self::decode_version_1(&bytes),
            result => result,
        };
        let record = record.map_err(damaged(path))?;
        if path.file_stem().and_then(|s| s.to_str()) != Some(&record.sharing().to_string()) {
            return Err(damaged(path)(DecodeError::Field { what: RECORD, field: "name" }));
        }
        Ok(record)
    }

    pub(super) fn save(&self, dir: &Path) -> Result<(), ModelError> {
        write_file(&dir.join(format!("{}.sharing", self.sharing())), &[&self.encode()])
    }
}

/// Writes a private file in one step.
///
/// # Errors
/// When the file system refuses.
pub fn write_file(path: &Path, parts: &[&[u8]]) -> Result<(), ModelError> {
    durable::replace(path, Readers::Owner, |file| parts.iter().try_for_each(|part| file.write_all(part)))
        .map(drop)
        .map_err(at("write", path))
}

/// Reads a file of at most `limit` bytes.
pub(super) fn read_limited(path: &Path, limit: u64) -> Result<Vec<u8>, ModelError> {
    let file = File::open(path).map_err(at("open", path))?;
    let mut bytes = Vec::new();
    file.take(limit + 1).read_to_end(&mut bytes).map_err(at("read", path))?;
    if bytes.len() as u64 > limit {
        return Err(damaged(path)(DecodeError::Field { what: "file", field: "length" }));
    }
    Ok(bytes)
}

/// Makes names in a directory lasting.
pub(super) fn sync_dir(dir: &Path) -> Result<(), ModelError> {
    durable::sync_dir(dir).map_err(at("sync", dir))
}

pub(super) fn at(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> ModelError {
    let path = path.to_path_buf();
    move |source| ModelError::Io { action, path, source }
}

pub(super) fn damaged(path: &Path) -> impl FnOnce(DecodeError) -> ModelError {
    let path = path.to_path_buf();
    move |source| ModelError::Damaged { path, source }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::identity::{Identity, generate};
    use crate::manifest::{AccessList, Consumers};

    fn record(owner: &Identity, name: &str) -> SharingRecord {
        let owner = OwnerKey::Ed25519(owner.public());
        SharingRecord {
            owner,
            name: name.parse().unwrap(),
            last_version: 3,
            last_serial: 4,
            current: None,
            access: None,
        }
    }

    #[test]
    fn a_record_has_only_a_list_of_its_own_sharing_and_owner() {
        let (owner, other) = (generate().unwrap(), generate().unwrap());
        let own = record(&owner, "a");
        let listed = |who: &Identity, of: &SharingRecord| {
            let list = AccessList { serial: 4, consumers: Consumers::Everyone };
            let access = Some(list.sign(OwnerKey::Ed25519(who.public()), of.sharing(), [8; 32], who).unwrap());
            SharingRecord { access, ..own.clone() }
        };
        for good in [own.clone(), SharingRecord { current: Some(ManifestId([5; 32])), ..listed(&owner, &own) }] {
            assert_eq!(SharingRecord::decode(&good.encode()).unwrap(), good);
        }
        for wrong in [listed(&owner, &record(&owner, "b")), listed(&other, &own)] {
            assert_eq!(
                SharingRecord::decode(&wrong.encode()).unwrap_err(),
                DecodeError::Field { what: RECORD, field: "access list" }
            );
        }
    }

    #[test]
    fn a_record_is_read_under_its_own_name_and_a_file_up_to_its_limit() {
        let dir = tempfile::tempdir().unwrap();
        let record = record(&generate().unwrap(), "a");
        record.save(dir.path()).unwrap();
        let path = dir.path().join(format!("{}.sharing", record.sharing()));
        assert_eq!(SharingRecord::load(&path).unwrap(), record);
        let other = dir.path().join(format!("{}.sharing", SharingId([1; 32])));
        fs::rename(&path, &other).unwrap();
        assert!(matches!(SharingRecord::load(&other), Err(ModelError::Damaged { .. })));
        let len = record.encode().len() as u64;
        assert_eq!(read_limited(&other, len).unwrap(), record.encode());
        for less in [len - 1, len / 2] {
            assert!(matches!(read_limited(&other, less), Err(ModelError::Damaged { .. })), "{less}");
        }
    }

    #[test]
    fn a_file_is_replaced_whole_or_not_at_all() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        for parts in [[b"one".as_slice(), b"two"], [b"th", b"ree"]] {
            write_file(&path, &parts).unwrap();
            assert_eq!(fs::read(&path).unwrap(), parts.concat());
        }
        let missing = dir.path().join("missing").join("file");
        assert!(matches!(write_file(&missing, &[]), Err(ModelError::Io { action: "write", .. })));
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1, "nothing partial stays");
    }
}
