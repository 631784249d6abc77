//! Messages about jobs.

use sahara_circuits::bytes::{DecodeError, Reader, Writer};
use sahara_protocol::ring::secret::wipe;

use super::market::{read_bytes, write_bytes};
use super::{Asked, Complete, JobId, Kind, MAX_VOUCHER, Message, PackId, Task};
use crate::engine::Seed;

/// Most tensors in one share.
const MAX_TENSORS: usize = 1 << 12;

/// Asks an evaluator to run a job; the input share follows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Run {
    /// The job's name, the same to both evaluators; never used twice.
    pub job: JobId,
    /// What to compute.
    pub task: Task,
    /// Commitments to both evaluators' input shares, [`crate::transcript::input_commitment`].
    pub inputs: [[u8; 32]; 2],
    /// Opens the commitment to the share of the evaluator that is asked.
    pub salt: Seed,
    /// The consumer's signature on job, task and commitments, [`crate::transcript::request_digest`].
    pub signature: [u8; 64],
    /// What pays for it; empty for sharings that are not asked for money, and then not sent: as it was before there were any.
    pub voucher: Vec<u8>,
}

impl Run {
    /// What its consumer signed.
    pub fn asked(&self) -> Asked {
        Asked { job: self.job, inputs: self.inputs, signature: self.signature }
    }

    /// Names what pays for it, so that both evaluators go by the same; nothing, if nothing does.
    pub fn paid_with(&self) -> Option<[u8; 32]> {
        (!self.voucher.is_empty()).then(|| blake3::derive_key("sahara 2026 job voucher v1", &self.voucher))
    }
}

impl Message for Run {
    const KIND: Kind = Kind::Run;
    const NAME: &'static str = "job request";

    fn write(&self, w: &mut Writer) {
        w.bytes(&self.job.0);
        self.task.write(w);
        w.bytes(&self.inputs[0]).bytes(&self.inputs[1]).bytes(self.salt.as_bytes()).bytes(&self.signature);
        if !self.voucher.is_empty() {
            write_bytes(w, &self.voucher);
        }
    }

    fn read(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self {
            job: JobId(r.array()?),
            task: Task::read(r)?,
            inputs: [r.array()?, r.array()?],
            salt: Seed::from_bytes(r.array()?),
            signature: r.array()?,
            voucher: if r.left() == 0 { Vec::new() } else { read_bytes(r, "voucher", MAX_VOUCHER)? },
        })
    }
}

/// A consumer's share of a graph's inputs, or an evaluator's share of its outputs. Wiped when dropped.
#[derive(Clone, PartialEq, Eq)]
pub struct Share(pub Vec<Vec<u32>>);

impl Share {
    /// The tensors, no longer wiped: their taker does that.
    pub fn into_tensors(mut self) -> Vec<Vec<u32>> {
        self.take_tensors()
    }

    /// As [`Share::into_tensors`]; an empty share is left.
    pub fn take_tensors(&mut self) -> Vec<Vec<u32>> {
        std::mem::take(&mut self.0)
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.0.iter_mut().for_each(|tensor| wipe(tensor));
    }
}

impl std::fmt::Debug for Share {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Share({} tensors)", self.0.len())
    }
}

impl Message for Share {
    const KIND: Kind = Kind::Input;
    const NAME: &'static str = "input share";

    fn write(&self, w: &mut Writer) {
        w.tensors(&self.0);
    }

    fn read(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self(r.tensors(MAX_TENSORS)?))
    }
}

/// The first evaluator opens a job with the second.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpenJob {
    /// The job.
    pub job: JobId,
    /// What to compute.
    pub task: Task,
    /// Who asked, so that both evaluators serve the same consumer.
    pub consumer: [u8; 32],
    /// The pack to use up.
    pub pack: PackId,
    /// All packs for this task that the first evaluator holds or is using: the second destroys any other.
    pub held: Vec<PackId>,
    /// The first evaluator's contribution to the job's secret, fresh for each opening.
    pub secret: Seed,
    /// Its signature on the [`crate::transcript::Opening`], which the second makes up from what it holds.
    pub signature: [u8; 64],
    /// [`Run::paid_with`]; nothing is sent for a job that is not paid.
    pub paid_with: Option<[u8; 32]>,
}

/// Largest number of packs held for one task.
pub const MAX_PACKS: usize = 1024;

impl Message for OpenJob {
    const KIND: Kind = Kind::OpenJob;
    const NAME: &'static str = "job opening";

    fn write(&self, w: &mut Writer) {
        w.bytes(&self.job.0);
        self.task.write(w);
        w.bytes(&self.consumer).bytes(&self.pack.0).u32(self.held.len() as u32);
        for pack in &self.held {
            w.bytes(&pack.0);
        }
        w.bytes(self.secret.as_bytes()).bytes(&self.signature);
        w.bytes(self.paid_with.as_ref().map_or(&[][..], |digest| digest));
    }

    fn read(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self {
            job: JobId(r.array()?),
            task: Task::read(r)?,
            consumer: r.array()?,
            pack: PackId(r.array()?),
            held: (0..r.count("held packs", MAX_PACKS)?).map(|_| r.array().map(PackId)).collect::<Result<_, _>>()?,
            secret: Seed::from_bytes(r.array()?),
            signature: r.array()?,
            paid_with: if r.left() == 0 { None } else { Some(r.array()?) },
        })
    }
}

/// The second evaluator's answer to [`OpenJob`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OpenReply {
    /// Ready for the first round; with the second evaluator's contribution to the job's secret, and its signature on
    /// the same opening.
    Go(Seed, [u8; 64]),
    /// That pack is not here: destroy it and take another.
    NoSuchPack,
    /// There is no room for another job right now; the pack is untouched.
    Busy,
    /// The job's consumer has just left; the pack is untouched.
    Gone,
}

impl Message for OpenReply {
    const KIND: Kind = Kind::OpenReply;
    const NAME: &'static str = "job answer";

    fn write(&self, w: &mut Writer) {
        match self {
            Self::Go(secret, signature) => w.u8(0).bytes(secret.as_bytes()).bytes(signature),
            Self::NoSuchPack => w.u8(1),
            Self::Busy => w.u8(2),
            Self::Gone => w.u8(3),
        };
    }

    fn read(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        match r.u8()? {
            0 => Ok(Self::Go(Seed::from_bytes(r.array()?), r.array()?)),
            1 => Ok(Self::NoSuchPack),
            2 => Ok(Self::Busy),
            3 => Ok(Self::Gone),
            _ => Err(r.field("answer")),
        }
    }
}

/// One evaluator's figures of one job.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct JobFigures {
    /// Rounds between the evaluators.
    pub rounds: u32,
    /// Bytes this evaluator sent to the other, on the wire.
    pub sent: u64,
    /// Bytes it received from the other, on the wire.
    pub received: u64,
    /// Wall time from the opening of the job to the last round, in microseconds.
    pub wall_micros: u64,
    /// Of that, time spent waiting for the other evaluator (transport included), in microseconds.
    pub waiting_micros: u64,
}

/// The answer to [`Run`].
pub struct RunReply {
    /// Figures of the job.
    pub figures: JobFigures,
    /// The signed end of the transcript, [`crate::transcript::SignedRecord`].
    pub transcript: Vec<u8>,
    /// Opens the commitment to the output share in it.
    pub salt: Seed,
    /// Output shares.
    pub outputs: Share,
    /// The receipt of a paid job; of others nothing is sent.
    pub complete: Option<Complete>,
}

impl Message for RunReply {
    const KIND: Kind = Kind::RunReply;
    const NAME: &'static str = "job result";

    fn write(&self, w: &mut Writer) {
        let f = &self.figures;
        w.u32(f.rounds).u64(f.sent).u64(f.received).u64(f.wall_micros).u64(f.waiting_micros);
        w.u32(self.transcript.len() as u32)
            .bytes(&self.transcript)
            .bytes(self.salt.as_bytes())
            .tensors(&self.outputs.0);
        if let Some(complete) = &self.complete {
            complete.write(w);
        }
    }

    fn read(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let figures = JobFigures {
            rounds: r.u32()?,
            sent: r.u64()?,
            received: r.u64()?,
            wall_micros: r.u64()?,
            waiting_micros: r.u64()?,
        };
        let len = r.count("transcript", Kind::Transcript.limit())?;
        let transcript = r.take(len)?.to_vec();
        let (salt, outputs) = (Seed::from_bytes(r.array()?), Share(r.tensors(MAX_TENSORS)?));
        let complete = if r.left() == 0 { None } else { Some(Complete::read(r)?) };
        Ok(Self { figures, transcript, salt, outputs, complete })
    }
}
