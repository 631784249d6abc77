//! The helper's signed commitments to a pack: made when it is dealt, checked by each evaluator against what it holds.

use sahara_circuits::bytes::{DecodeError, Reader, Writer};

use super::Digest;
use crate::engine::Seed;
use crate::identity::{Identity, PublicKey};
use crate::wire::{Kind, Message, PackId, Task};

const MAGIC: &[u8; 8] = b"SHDEALT\0";
const VERSION: u16 = 1;

/// Commitments to a pack.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PackSeal {
    /// [`seed_commitment`] of both evaluators' seeds.
    pub seeds: [Digest; 2],
    /// [`CorrectionsHash`] of what the second evaluator was sent.
    pub corrections: Digest,
}

impl PackSeal {
    pub(super) fn write(&self, w: &mut Writer) {
        w.bytes(&self.seeds[0]).bytes(&self.seeds[1]).bytes(&self.corrections);
    }

    pub(super) fn read(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self { seeds: [r.array()?, r.array()?], corrections: r.array()? })
    }

    pub(super) fn digest(&self, committee: &Digest, pack: &PackId, task: &Task) -> Digest {
        let mut w = Writer::default();
        w.bytes(committee).bytes(&pack.0);
        task.write(&mut w);
        self.write(&mut w);
        blake3::derive_key("sahara 2026 pack seal v1", &w.0)
    }

    /// Signs the seal, as the helper.
    pub fn sign(self, committee: &Digest, pack: &PackId, task: &Task, identity: &Identity) -> SignedSeal {
        SignedSeal { seal: self, signature: identity.sign(&self.digest(committee, pack, task)) }
    }
}

/// A seal and the helper's signature. A pack and a task are named by what it is stored or sent with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SignedSeal {
    /// The commitments.
    pub seal: PackSeal,
    /// Ed25519 signature by the helper.
    pub signature: [u8; 64],
}

impl SignedSeal {
    /// Stands where a seal will be once it has come; nobody's signature.
    pub const AWAITED: Self = Self { seal: PackSeal { seeds: [[0; 32]; 2], corrections: [0; 32] }, signature: [0; 64] };
    /// Bytes of the byte form.
    pub const LEN: usize = 3 * 32 + 64;

    /// Whether this helper signed it for this pack.
    pub fn is_signed(&self, committee: &Digest, pack: &PackId, task: &Task, helper: &PublicKey) -> bool {
        helper.verifies(&self.seal.digest(committee, pack, task), &self.signature)
    }
}

impl Message for SignedSeal {
    const KIND: Kind = Kind::Seal;
    const NAME: &'static str = "pack seal";

    fn write(&self, w: &mut Writer) {
        self.seal.write(w);
        w.bytes(&self.signature);
    }

    fn read(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self { seal: PackSeal::read(r)?, signature: r.array()? })
    }
}

/// Commitment to a seed. A seed is 256 uniform bits, so its hash hides it.
pub fn seed_commitment(pack: &PackId, evaluator: usize, seed: &Seed) -> Digest {
    let mut hasher = blake3::Hasher::new_derive_key("sahara 2026 pack seed commitment v1");
    hasher.update(&pack.0).update(&[evaluator as u8]).update(seed.as_bytes());
    *hasher.finalize().as_bytes()
}

/// The hash of corrections, as they stream by.
pub struct CorrectionsHash(blake3::Hasher);

impl Default for CorrectionsHash {
    fn default() -> Self {
        Self(blake3::Hasher::new_derive_key("sahara 2026 pack corrections v1"))
    }
}

impl CorrectionsHash {
    /// Adds the next bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// The hash of all.
    pub fn finish(&self) -> Digest {
        *self.0.finalize().as_bytes()
    }
}

/// What a helper keeps of a pack that it has dealt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DealtRecord {
    /// [`crate::committee::Committee::digest`].
    pub committee: Digest,
    /// The pack.
    pub pack: PackId,
    /// What it is for.
    pub task: Task,
    /// The helper.
    pub helper: PublicKey,
    /// Its commitments.
    pub seal: SignedSeal,
}

impl DealtRecord {
    /// The byte form of the file.
    pub fn encode(&self) -> Vec<u8> {
        let mut w = Writer::with_header(MAGIC, VERSION);
        w.bytes(&self.committee).bytes(&self.pack.0);
        self.task.write(&mut w);
        w.bytes(&self.helper.0);
        self.seal.write(&mut w);
        w.0
    }

    /// Reads the byte form.
    ///
    /// # Errors
    /// Bytes of another format, version or length.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut r = Reader::new("dealing record", bytes);
        r.header(MAGIC, VERSION)?;
        let record = Self {
            committee: r.array()?,
            pack: PackId(r.array()?),
            task: Task::read(&mut r)?,
            helper: PublicKey(r.array()?),
            seal: SignedSeal::read(&mut r)?,
        };
        r.finish()?;
        Ok(record)
    }

    /// Whether these bytes are a file of this format, of whatever version.
    pub fn is_one(bytes: &[u8]) -> bool {
        bytes.starts_with(MAGIC)
    }

    /// Whether the helper signed it.
    pub fn is_signed(&self) -> bool {
        self.seal.is_signed(&self.committee, &self.pack, &self.task, &self.helper)
    }
}
