//! The front of a pack file: what the pack is bound to, and its seed.

use sahara_circuits::bytes::{DecodeError, Reader, Writer};
use zeroize::Zeroizing;

use crate::engine::{EvaluatorRole, Seed};
use crate::transcript::SignedSeal;
use crate::wire::{Incarnation, Message, PackId, Task};

const MAGIC: &[u8; 8] = b"SHPACK\0\0";
const VERSION: u16 = 4;
/// Bytes of a pack file before the corrections.
pub(super) const PREFIX: usize = 8 + 2 + 16 + 66 + 16 + 1 + 8 + 8 + SignedSeal::LEN + 32;
/// Bytes after the prepared products.
pub(super) const CHECKSUM: usize = 32;

/// What a pack is bound to: the task names the version of the sharing that it was made with.
pub type PackKey = Task;

/// The front of a pack file, without the seed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PackHeader {
    /// Its name.
    pub id: PackId,
    /// What it is bound to.
    pub key: PackKey,
    /// Which run of the helper dealt it.
    pub incarnation: Incarnation,
    /// Whose half it is.
    pub role: EvaluatorRole,
    /// Bytes of corrections.
    pub corrections: u64,
    /// Bytes of prepared products.
    pub prepared: u64,
    /// What the helper signed of it.
    pub seal: SignedSeal,
}

impl PackHeader {
    /// Bytes of the whole file.
    pub fn file_len(&self) -> Option<u64> {
        self.corrections.checked_add(self.prepared)?.checked_add((PREFIX + CHECKSUM) as u64)
    }

    /// The byte form, with the seed.
    pub fn encode(&self, seed: &Seed) -> Zeroizing<Vec<u8>> {
        let mut w = Writer(Vec::with_capacity(PREFIX));
        w.bytes(MAGIC).u16(VERSION).bytes(&self.id.0);
        self.key.write(&mut w);
        w.bytes(&self.incarnation.0).u8(match self.role {
            EvaluatorRole::First => 0,
            EvaluatorRole::Second => 1,
        });
        w.u64(self.corrections).u64(self.prepared);
        self.seal.write(&mut w);
        w.bytes(seed.as_bytes());
        Zeroizing::new(w.0)
    }

    /// Reads the byte form.
    ///
    /// # Errors
    /// When the bytes are not of this format and version, or a field is out of range.
    pub fn decode(bytes: &[u8]) -> Result<(Self, Seed), DecodeError> {
        let mut r = Reader::new("pack", bytes);
        r.header(MAGIC, VERSION)?;
        let header = Self {
            id: PackId(r.array()?),
            key: Task::read(&mut r)?,
            incarnation: Incarnation(r.array()?),
            role: match r.u8()? {
                0 => EvaluatorRole::First,
                1 => EvaluatorRole::Second,
                _ => return Err(r.field("role")),
            },
            corrections: r.u64()?,
            prepared: r.u64()?,
            seal: SignedSeal::read(&mut r)?,
        };
        let seed = Seed::from_bytes(r.array()?);
        r.finish()?;
        Ok((header, seed))
    }
}
