//! The end of a job as one evaluator saw it, signed: given to the other evaluator and to the consumer.

use sahara_circuits::bytes::{DecodeError, Reader, Writer};

use super::{Digest, Opening};
use crate::identity::{Identity, PublicKey};
use crate::market::JobEnd;
use crate::wire::{Kind, Message};

/// The end of a job as one evaluator saw it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record {
    /// What both agreed on before.
    pub opening: Opening,
    /// Commitment to the job's secret.
    pub secret: Digest,
    /// Which evaluator saw it so: 0 the first, 1 the second.
    pub signer: u8,
    /// Rounds.
    pub rounds: u32,
    /// Heads of both directions' chains: first to second, second to first.
    pub heads: [Digest; 2],
    /// Bytes of the frames of each direction.
    pub bytes: [u64; 2],
    /// [`super::output_commitment`] of the signer's output share; none when the job failed.
    pub output: Option<Digest>,
}

impl Record {
    /// The signer's key.
    pub fn signer_key(&self) -> PublicKey {
        self.opening.session.evaluators[usize::from(self.signer)]
    }

    /// Signs it.
    pub fn sign(self, identity: &Identity) -> SignedRecord {
        SignedRecord { record: self, signature: identity.sign(&self.digest()) }
    }

    /// Digest of all that both evaluators' records of a job have in common: the opening, what it committed to, and the rounds.
    pub fn agreed(&self) -> Digest {
        let mut w = Writer::default();
        self.opening.write(&mut w);
        w.bytes(&self.secret).u32(self.rounds);
        w.bytes(&self.heads[0]).bytes(&self.heads[1]).u64(self.bytes[0]).u64(self.bytes[1]);
        blake3::derive_key("sahara 2026 job agreed v1", &w.0)
    }

    fn digest(&self) -> Digest {
        let mut w = Writer::default();
        self.write(&mut w);
        blake3::derive_key("sahara 2026 job record v1", &w.0)
    }

    fn write(&self, w: &mut Writer) {
        self.opening.write(w);
        w.bytes(&self.secret).u8(self.signer).u32(self.rounds);
        w.bytes(&self.heads[0]).bytes(&self.heads[1]).u64(self.bytes[0]).u64(self.bytes[1]);
        match &self.output {
            None => w.u8(0),
            Some(output) => w.u8(1).bytes(output),
        };
    }

    fn read(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self {
            opening: Opening::read(r)?,
            secret: r.array()?,
            signer: match r.u8()? {
                signer @ 0..=1 => signer,
                _ => return Err(r.field("signer")),
            },
            rounds: r.u32()?,
            heads: [r.array()?, r.array()?],
            bytes: [r.u64()?, r.u64()?],
            output: match r.u8()? {
                0 => None,
                1 => Some(r.array()?),
                _ => return Err(r.field("outcome")),
            },
        })
    }
}

/// What both evaluators know of a job that has come to its end, from their records, which agree; none if it has no end.
pub fn end_of(one: &SignedRecord, other: &SignedRecord) -> Option<JobEnd> {
    let (first, second) = if one.record.signer == 0 { (one, other) } else { (other, one) };
    let outputs = [first.record.output?, second.record.output?];
    Some(JobEnd { outputs, transcript: first.record.agreed(), rounds: first.record.rounds })
}

/// A record and its signature.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SignedRecord {
    /// What is signed.
    pub record: Record,
    /// Ed25519 signature by the signer.
    pub signature: [u8; 64],
}

impl SignedRecord {
    /// Whether the signer signed it.
    pub fn is_signed(&self) -> bool {
        self.record.signer_key().verifies(&self.record.digest(), &self.signature)
    }

    /// Whether two evaluators' records tell the same story of a job that came to its end.
    pub fn agrees_with(&self, other: &Self) -> bool {
        let (a, b) = (&self.record, &other.record);
        (a.opening, a.secret, a.rounds, a.heads, a.bytes) == (b.opening, b.secret, b.rounds, b.heads, b.bytes)
            && a.signer != b.signer
            && a.output.is_some()
            && b.output.is_some()
    }
}

impl Message for SignedRecord {
    const KIND: Kind = Kind::Transcript;
    const NAME: &'static str = "end of a transcript";

    fn write(&self, w: &mut Writer) {
        self.record.write(w);
        w.bytes(&self.signature);
    }

    fn read(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self { record: Record::read(r)?, signature: r.array()? })
    }
}
