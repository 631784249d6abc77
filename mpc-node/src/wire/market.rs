//! Messages about jobs that are paid: a consumer shows its session, and the members sign a job's receipt.

use sahara_circuits::bytes::{DecodeError, Reader, Writer};

use super::{Asked, JobId, Kind, ManifestId, Message, Task, flag};
use crate::identity::PublicKey;

/// Longest session that is shown, in bytes.
pub const MAX_SESSION: usize = 16 << 10;
/// Longest voucher, in bytes.
pub const MAX_VOUCHER: usize = 1024;
/// Longest receipt, in bytes.
pub const MAX_RECEIPT: usize = 4096;

/// Longest sealing key with what is signed of it, in bytes.
pub const MAX_SEALING: usize = 4096;

/// A receipt that all three members signed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Complete {
    /// The receipt, in the form of the market that drew it up.
    pub receipt: Vec<u8>,
    /// Ed25519 signatures on its digest, in the order of the committee.
    pub signatures: [[u8; 64]; 3],
}

impl Complete {
    /// Whether all members signed this digest, which must be that of the receipt.
    pub fn is_signed(&self, digest: &[u8; 32], keys: &[PublicKey; 3]) -> bool {
        keys.iter().zip(&self.signatures).all(|(key, signature)| key.verifies(digest, signature))
    }

    /// Appends the byte form.
    pub(crate) fn write(&self, w: &mut Writer) {
        write_bytes(w, &self.receipt);
        self.signatures.iter().for_each(|signature| {
            w.bytes(signature);
        });
    }

    pub(super) fn read(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self { receipt: read_bytes(r, "receipt", MAX_RECEIPT)?, signatures: [r.array()?, r.array()?, r.array()?] })
    }
}

/// Writes bytes with their length.
pub(super) fn write_bytes(w: &mut Writer, bytes: &[u8]) {
    w.u32(bytes.len() as u32).bytes(bytes);
}

/// Reads bytes with their length: at least one, and not more than the limit.
pub(super) fn read_bytes(r: &mut Reader<'_>, field: &'static str, limit: usize) -> Result<Vec<u8>, DecodeError> {
    let len = r.count(field, limit)?;
    if len == 0 {
        return Err(r.field(field));
    }
    Ok(r.take(len)?.to_vec())
}

/// A consumer shows its session for one sharing; `Done` is the answer once it is proven.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Present {
    /// Where it wants to ask.
    pub manifest: ManifestId,
    /// What [`crate::market::Purse::session`] gave.
    pub session: Vec<u8>,
}

impl Message for Present {
    const KIND: Kind = Kind::Present;
    const NAME: &'static str = "session that is shown";

    fn write(&self, w: &mut Writer) {
        w.bytes(&self.manifest.0);
        write_bytes(w, &self.session);
    }

    fn read(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self { manifest: ManifestId(r.array()?), session: read_bytes(r, "session", MAX_SESSION)? })
    }
}

/// Asks for the last complete receipt of a session: its consumer for its own, or another member.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LastReceipt {
    /// For which sharing.
    pub manifest: ManifestId,
    /// Whose session.
    pub consumer: PublicKey,
    /// A voucher that names the session.
    pub voucher: Vec<u8>,
}

impl Message for LastReceipt {
    const KIND: Kind = Kind::LastReceipt;
    const NAME: &'static str = "question for the last receipt";

    fn write(&self, w: &mut Writer) {
        w.bytes(&self.manifest.0).bytes(&self.consumer.0);
        write_bytes(w, &self.voucher);
    }

    fn read(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self {
            manifest: ManifestId(r.array()?),
            consumer: PublicKey(r.array()?),
            voucher: read_bytes(r, "voucher", MAX_VOUCHER)?,
        })
    }
}

/// The first evaluator asks the helper whether it knows a session, before a pack is used for its first job. `Done` is the answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AskSession(pub LastReceipt);

impl Message for AskSession {
    const KIND: Kind = Kind::AskSession;
    const NAME: &'static str = "question for a session";

    fn write(&self, w: &mut Writer) {
        self.0.write(w);
    }

    fn read(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        LastReceipt::read(r).map(Self)
    }
}

/// Asks an evaluator for its half of the answer of a paid job once more; [`super::RunReply`] is the answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Again {
    /// The job.
    pub job: JobId,
    /// What was computed.
    pub task: Task,
    /// Commitments to both evaluators' input shares.
    pub inputs: [[u8; 32]; 2],
    /// What paid.
    pub voucher: Vec<u8>,
}

impl Message for Again {
    const KIND: Kind = Kind::Again;
    const NAME: &'static str = "question for an answer";

    fn write(&self, w: &mut Writer) {
        w.bytes(&self.job.0);
        self.task.write(w);
        w.bytes(&self.inputs[0]).bytes(&self.inputs[1]);
        write_bytes(w, &self.voucher);
    }

    fn read(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self {
            job: JobId(r.array()?),
            task: Task::read(r)?,
            inputs: [r.array()?, r.array()?],
            voucher: read_bytes(r, "voucher", MAX_VOUCHER)?,
        })
    }
}

/// The answer to [`LastReceipt`]: none if there is none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LastReply(pub Option<Complete>);

impl Message for LastReply {
    const KIND: Kind = Kind::LastReply;
    const NAME: &'static str = "last receipt";

    fn write(&self, w: &mut Writer) {
        w.u8(u8::from(self.0.is_some()));
        if let Some(complete) = &self.0 {
            complete.write(w);
        }
    }

    fn read(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        flag(r, "receipt")?.then(|| Complete::read(r)).transpose().map(Self)
    }
}

/// First evaluator to second, after the last round: the receipt that it has drawn up, signed. [`Cosigned`] is the answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Draft {
    /// The receipt.
    pub receipt: Vec<u8>,
    /// The first evaluator's signature on its digest.
    pub signature: [u8; 64],
}

impl Message for Draft {
    const KIND: Kind = Kind::Draft;
    const NAME: &'static str = "receipt to sign";

    fn write(&self, w: &mut Writer) {
        write_bytes(w, &self.receipt);
        w.bytes(&self.signature);
    }

    fn read(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self { receipt: read_bytes(r, "receipt", MAX_RECEIPT)?, signature: r.array()? })
    }
}

/// Request of the first evaluator to the helper: to sign the receipt of a job that both evaluators have signed. [`Cosigned`] is
/// the answer, given when the helper has kept the complete receipt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cosign {
    /// What was computed.
    pub task: Task,
    /// Who asked.
    pub consumer: PublicKey,
    /// What it signed when it asked.
    pub asked: Asked,
    /// What pays.
    pub voucher: Vec<u8>,
    /// The receipt.
    pub receipt: Vec<u8>,
    /// Signatures of the first and the second evaluator on its digest.
    pub signatures: [[u8; 64]; 2],
}

impl Message for Cosign {
    const KIND: Kind = Kind::Cosign;
    const NAME: &'static str = "request to sign a receipt";

    fn write(&self, w: &mut Writer) {
        self.task.write(w);
        w.bytes(&self.consumer.0);
        w.bytes(&self.asked.job.0).bytes(&self.asked.inputs[0]).bytes(&self.asked.inputs[1]);
        w.bytes(&self.asked.signature);
        write_bytes(w, &self.voucher);
        write_bytes(w, &self.receipt);
        w.bytes(&self.signatures[0]).bytes(&self.signatures[1]);
    }

    fn read(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self {
            task: Task::read(r)?,
            consumer: PublicKey(r.array()?),
            asked: Asked { job: JobId(r.array()?), inputs: [r.array()?, r.array()?], signature: r.array()? },
            voucher: read_bytes(r, "voucher", MAX_VOUCHER)?,
            receipt: read_bytes(r, "receipt", MAX_RECEIPT)?,
            signatures: [r.array()?, r.array()?],
        })
    }
}

/// A member's signature on a receipt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cosigned(pub [u8; 64]);

impl Message for Cosigned {
    const KIND: Kind = Kind::Cosigned;
    const NAME: &'static str = "signature on a receipt";

    fn write(&self, w: &mut Writer) {
        w.bytes(&self.0);
    }

    fn read(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self(r.array()?))
    }
}

/// First evaluator to second: the helper's signature, with which the receipt is complete.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Completed(pub [u8; 64]);

impl Message for Completed {
    const KIND: Kind = Kind::Completed;
    const NAME: &'static str = "last signature on a receipt";

    fn write(&self, w: &mut Writer) {
        w.bytes(&self.0);
    }

    fn read(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self(r.array()?))
    }
}

/// With which key something is sealed to a node, signed by it: in the form of its market.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sealing(pub Vec<u8>);

impl Message for Sealing {
    const KIND: Kind = Kind::Sealing;
    const NAME: &'static str = "sealing key";

    fn write(&self, w: &mut Writer) {
        write_bytes(w, &self.0);
    }

    fn read(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        read_bytes(r, "sealing key", MAX_SEALING).map(Self)
    }
}
