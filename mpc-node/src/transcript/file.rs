//! What an evaluator keeps of a job: its transcript, which may be shown to others, and its openings, which may not.

use sahara_circuits::bytes::{DecodeError, Reader, Writer};
use zeroize::Zeroizing;

use super::{Digest, SignedRecord, WINDOW, checkpoint_digest, first_heads, next_head};
use crate::engine::{JobSecret, Seed};
use crate::wire::{JobId, Message};

const MAGIC: &[u8; 8] = b"SHTRANS\0";
const VERSION: u16 = 3;
const OPENINGS_MAGIC: &[u8; 8] = b"SHOPENS\0";
const OPENINGS_VERSION: u16 = 1;
/// Most rounds of a job that is read.
const MAX_ROUNDS: usize = 1 << 20;
const MAX_FAILURE: usize = 1024;

/// Signatures on the opening.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Signatures {
    /// The consumer's, on its request.
    pub consumer: [u8; 64],
    /// The helper's, on the pack's seal.
    pub helper: [u8; 64],
    /// Both evaluators', on the opening; the other's is missing when it never answered.
    pub evaluators: [Option<[u8; 64]>; 2],
}

/// Signatures on both heads after a window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Checkpoint {
    /// Rounds so far.
    pub rounds: u32,
    /// The signature of whose record this is.
    pub own: [u8; 64],
    /// The other evaluator's; missing when the job ended before it came.
    pub other: Option<[u8; 64]>,
}

/// One evaluator's record of a job, finished or failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JobRecord {
    /// When it ended, by this node's clock: milliseconds since 1970.
    pub at_millis: u64,
    /// Why it failed, if it did.
    pub failure: Option<String>,
    /// The signed end.
    pub end: SignedRecord,
    /// The other evaluator's signed end, when it came; it may contradict the own.
    pub other: Option<SignedRecord>,
    /// Signatures on the opening.
    pub signatures: Signatures,
    /// Signatures on the windows.
    pub checkpoints: Vec<Checkpoint>,
    /// Digests of the frames of each round: first to second, second to first.
    pub rounds: Vec<[Digest; 2]>,
}

impl JobRecord {
    /// The byte form of the file.
    pub fn encode(&self) -> Vec<u8> {
        let mut w = Writer::with_header(MAGIC, VERSION);
        w.u64(self.at_millis);
        match &self.failure {
            None => w.u8(0),
            Some(text) => w.u8(1).text_up_to(text, MAX_FAILURE),
        };
        self.end.write(&mut w);
        match &self.other {
            None => w.u8(0),
            Some(other) => {
                other.write(w.u8(1));
                &mut w
            }
        };
        w.bytes(&self.signatures.consumer).bytes(&self.signatures.helper);
        self.signatures.evaluators.iter().for_each(|signature| write_signature(&mut w, signature));
        w.u32(self.checkpoints.len() as u32);
        for checkpoint in &self.checkpoints {
            w.u32(checkpoint.rounds).bytes(&checkpoint.own);
            write_signature(&mut w, &checkpoint.other);
        }
        w.u32(self.rounds.len() as u32);
        for [a, b] in &self.rounds {
            w.bytes(a).bytes(b);
        }
        w.0
    }

    /// Reads the byte form.
    ///
    /// # Errors
    /// Bytes of another format, version or length; versions 1 and 2 held nothing that blames and are refused by name.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut r = Reader::new("transcript", bytes);
        r.header(MAGIC, VERSION)?;
        let at_millis = r.u64()?;
        let failure = match r.u8()? {
            0 => None,
            1 => Some(r.text("failure", MAX_FAILURE)?.chars().filter(|c| !c.is_control()).collect()),
            _ => return Err(r.field("outcome")),
        };
        let end = SignedRecord::read(&mut r)?;
        let other = match r.u8()? {
            0 => None,
            1 => Some(SignedRecord::read(&mut r)?),
            _ => return Err(r.field("other end")),
        };
        let signatures = Signatures {
            consumer: r.array()?,
            helper: r.array()?,
            evaluators: [read_signature(&mut r)?, read_signature(&mut r)?],
        };
        let checkpoints = (0..r.count("windows", MAX_ROUNDS / WINDOW as usize)?)
            .map(|_| Ok(Checkpoint { rounds: r.u32()?, own: r.array()?, other: read_signature(&mut r)? }))
            .collect::<Result<_, DecodeError>>()?;
        let rounds = (0..r.count("rounds", MAX_ROUNDS)?)
            .map(|_| Ok([r.array()?, r.array()?]))
            .collect::<Result<_, DecodeError>>()?;
        r.finish()?;
        Ok(Self { at_millis, failure, end, other, signatures, checkpoints, rounds })
    }

    /// Whether these bytes are a file of this format, of whatever version.
    pub fn is_one(bytes: &[u8]) -> bool {
        bytes.starts_with(MAGIC)
    }

    /// Which evaluator's record it is: 0 or 1.
    pub fn owner(&self) -> usize {
        usize::from(self.end.record.signer)
    }

    /// Both heads before the first round and after each, from the digests.
    pub fn heads(&self) -> Vec<[Digest; 2]> {
        let opening = self.end.record.opening.digest();
        let mut all = Vec::with_capacity(self.rounds.len() + 1);
        let mut heads = first_heads(&opening);
        all.push(heads);
        for digests in &self.rounds {
            heads = [0, 1].map(|direction| next_head(&opening, &heads[direction], &digests[direction]));
            all.push(heads);
        }
        all
    }

    /// Everything that is wrong with the record by itself, in words; empty when every signature holds.
    pub fn faults(&self) -> Vec<String> {
        let record = &self.end.record;
        let opening = record.opening.digest();
        let evaluators = record.opening.session.evaluators;
        let (own, other) = (self.owner(), 1 - self.owner());
        let mut faults = Vec::new();
        let mut check = |holds: bool, what: &str| {
            if !holds {
                faults.push(what.to_owned());
            }
        };
        check(self.end.is_signed(), "the end is not signed by its owner");
        check(record.rounds as usize == self.rounds.len(), "the end counts other rounds than are listed");
        let heads = self.heads();
        check(heads.last() == Some(&record.heads), "the heads of the end do not follow from the digests");
        check(self.failure.is_some() || record.output.is_some(), "the job has neither an answer nor failed");
        let session = &record.opening.session;
        let signed = session.consumer.verifies(&record.opening.request_digest(), &self.signatures.consumer);
        check(signed, "the request is not signed by the consumer");
        let signed = session.helper.verifies(&record.opening.seal_digest(), &self.signatures.helper);
        check(signed, "the pack's seal is not signed by the helper");
        let holds = |key: usize, message: &Digest, signature: &[u8; 64]| evaluators[key].verifies(message, signature);
        let signed = self.signatures.evaluators[own].is_some_and(|s| holds(own, &opening, &s));
        check(signed, "the opening is not signed by the record's owner");
        let signed = self.signatures.evaluators[other].is_none_or(|s| holds(other, &opening, &s));
        check(signed, "the opening is not signed by the other evaluator");
        let mut last = 0;
        for checkpoint in &self.checkpoints {
            let Some(heads) = heads.get(checkpoint.rounds as usize).filter(|_| checkpoint.rounds > last) else {
                check(false, "a window is signed for rounds that are not listed");
                break;
            };
            last = checkpoint.rounds;
            let message = checkpoint_digest(&opening, &record.secret, checkpoint.rounds, heads);
            check(holds(own, &message, &checkpoint.own), "a window is not signed by the record's owner");
            check(checkpoint.other.is_none_or(|s| holds(other, &message, &s)), "a window has a wrong second signature");
        }
        if let Some(end) = &self.other {
            let named = usize::from(end.record.signer) == other && end.record.signer_key() == evaluators[other];
            check(named && end.is_signed(), "the other end is not signed by the other evaluator");
            let same = session.is_same_job(&end.record.opening.session);
            check(same, "the other end is of another job");
        }
        faults
    }

    /// The last round that both have signed: a window's, or the end's.
    pub fn signed_by_both(&self) -> u32 {
        if self.other.is_some_and(|other| self.end.agrees_with(&other)) {
            return self.end.record.rounds;
        }
        self.checkpoints.iter().filter(|c| c.other.is_some()).map(|c| c.rounds).max().unwrap_or(0)
    }
}

fn write_signature(w: &mut Writer, signature: &Option<[u8; 64]>) {
    match signature {
        None => w.u8(0),
        Some(signature) => w.u8(1).bytes(signature),
    };
}

fn read_signature(r: &mut Reader<'_>) -> Result<Option<[u8; 64]>, DecodeError> {
    match r.u8()? {
        0 => Ok(None),
        1 => Ok(Some(r.array()?)),
        _ => Err(r.field("signature")),
    }
}

/// What opens the commitments in a record: for an audit of the job, and for nobody else.
#[derive(Debug)]
pub struct Openings {
    /// The job.
    pub job: JobId,
    /// Its secret.
    pub secret: JobSecret,
    /// Salt of the commitment to the own input share.
    pub input_salt: Seed,
    /// Salt of the commitment to the own output share.
    pub output_salt: Seed,
}

impl Openings {
    /// The byte form of the file.
    pub fn encode(&self) -> Zeroizing<Vec<u8>> {
        let mut w = Writer(Vec::with_capacity(8 + 2 + 16 + 3 * 32));
        w.bytes(OPENINGS_MAGIC).u16(OPENINGS_VERSION).bytes(&self.job.0).bytes(self.secret.as_bytes());
        w.bytes(self.input_salt.as_bytes()).bytes(self.output_salt.as_bytes());
        Zeroizing::new(w.0)
    }

    /// Reads the byte form.
    ///
    /// # Errors
    /// Bytes of another format, version or length.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut r = Reader::new("openings of a transcript", bytes);
        r.header(OPENINGS_MAGIC, OPENINGS_VERSION)?;
        let openings = Self {
            job: JobId(r.array()?),
            secret: JobSecret::from_bytes(r.array()?),
            input_salt: Seed::from_bytes(r.array()?),
            output_salt: Seed::from_bytes(r.array()?),
        };
        r.finish()?;
        Ok(openings)
    }
}
