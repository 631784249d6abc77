//! Transcripts that can blame: what two evaluators of a job agreed on before it, signed as it went, and signed at its end.
//!
//! Before the first round both sign the [`Opening`]: who, what, and commitments to inputs, seeds and corrections. Each
//! frame has a digest keyed by the job's secret (under a key that the helper or the consumer could derive, a digest
//! would let it test guesses of what is in a small frame). The digests of each direction form a hash chain, and every
//! [`WINDOW`] rounds each side signs both heads and checks the other's signature, carried by the next round's frame.
//! So there is never one word against another for longer than a window.

mod file;
mod live;
mod record;
mod seal;
#[cfg(test)]
mod tests;
mod verify;

use crate::engine::random_seed;
use crate::identity::{Identity, PublicKey};
use crate::wire::{JobId, PackId, Run, Share, Task};
use sahara_circuits::bytes::{DecodeError, Reader, Writer};
use zeroize::Zeroizing;

pub use file::{Checkpoint, JobRecord, Openings, Signatures};
pub use live::{Contradiction, Transcript};
pub use record::{Record, SignedRecord, end_of};
pub use seal::{CorrectionsHash, DealtRecord, PackSeal, SignedSeal, seed_commitment};
pub use verify::{Contradicted, Parted, Verdict, verify};

/// Rounds after which both sides sign.
pub const WINDOW: u32 = 16;
/// How the two directions are called: first evaluator to second, second to first.
pub const DIRECTIONS: [&str; 2] = ["first to second", "second to first"];

/// A digest or commitment.
pub type Digest = [u8; 32];

/// Who computes what for whom with which pack.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Session {
    /// [`crate::committee::Committee::digest`].
    pub committee: Digest,
    /// The job.
    pub job: JobId,
    /// The pack used up.
    pub pack: PackId,
    /// What is computed: manifest (and so owner, weights and their masks), graph, roles, rounding.
    pub task: Task,
    /// Who asked.
    pub consumer: PublicKey,
    /// Keys of the first and the second evaluator.
    pub evaluators: [PublicKey; 2],
    /// Key of the helper.
    pub helper: PublicKey,
}

impl Session {
    /// Whether both are of one job: names of jobs are their consumers' own.
    pub fn is_same_job(&self, other: &Self) -> bool {
        (self.committee, self.consumer, self.job) == (other.committee, other.consumer, other.job)
    }
}

/// What both evaluators sign before the first round.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Opening {
    /// Who and what.
    pub session: Session,
    /// The consumer's commitments to both evaluators' input shares ([`input_commitment`]); the consumer signs them.
    pub inputs: [Digest; 2],
    /// The helper's commitments to the pack; the helper signs them.
    pub seal: PackSeal,
}

impl Opening {
    fn write(&self, w: &mut Writer) {
        let s = &self.session;
        w.bytes(&s.committee).bytes(&s.job.0).bytes(&s.pack.0);
        s.task.write(w);
        w.bytes(&s.consumer.0).bytes(&s.evaluators[0].0).bytes(&s.evaluators[1].0).bytes(&s.helper.0);
        w.bytes(&self.inputs[0]).bytes(&self.inputs[1]);
        self.seal.write(w);
    }

    fn read(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let session = Session {
            committee: r.array()?,
            job: JobId(r.array()?),
            pack: PackId(r.array()?),
            task: Task::read(r)?,
            consumer: PublicKey(r.array()?),
            evaluators: [PublicKey(r.array()?), PublicKey(r.array()?)],
            helper: PublicKey(r.array()?),
        };
        Ok(Self { session, inputs: [r.array()?, r.array()?], seal: PackSeal::read(r)? })
    }

    /// Names the opening, and with it the job; this is what the evaluators sign.
    pub fn digest(&self) -> Digest {
        let mut w = Writer::default();
        self.write(&mut w);
        blake3::derive_key("sahara 2026 job opening v1", &w.0)
    }

    /// What the consumer signs.
    pub fn request_digest(&self) -> Digest {
        request_digest(&self.session.committee, &self.session.job, &self.session.task, &self.inputs)
    }

    /// What the helper signs.
    pub fn seal_digest(&self) -> Digest {
        self.seal.digest(&self.session.committee, &self.session.pack, &self.session.task)
    }

    /// What differs between two openings, in words.
    pub fn differences(&self, other: &Self) -> Vec<&'static str> {
        let (a, b) = (&self.session, &other.session);
        [
            (a.committee != b.committee, "committee"),
            (a.job != b.job, "job"),
            (a.pack != b.pack, "pack"),
            (a.task != b.task, "task"),
            (a.consumer != b.consumer, "consumer"),
            ((a.evaluators, a.helper) != (b.evaluators, b.helper), "roles"),
            (self.inputs != other.inputs, "commitments to the inputs"),
            (self.seal.seeds != other.seal.seeds, "commitments to the seeds"),
            (self.seal.corrections != other.seal.corrections, "commitment to the corrections"),
        ]
        .into_iter()
        .filter_map(|(differs, what)| differs.then_some(what))
        .collect()
    }
}

/// What a consumer signs when it asks: the job and both input shares, fixed before either evaluator has begun.
pub fn request_digest(committee: &Digest, job: &JobId, task: &Task, inputs: &[Digest; 2]) -> Digest {
    let mut w = Writer::default();
    w.bytes(committee).bytes(&job.0);
    task.write(&mut w);
    w.bytes(&inputs[0]).bytes(&inputs[1]);
    blake3::derive_key("sahara 2026 job request v1", &w.0)
}

/// A consumer's signed requests for one job, to the first and the second evaluator.
///
/// # Errors
/// When the operating system gives no random bytes for the salts.
pub fn sign_requests(
    identity: &Identity,
    committee: &Digest,
    job: JobId,
    task: Task,
    shares: &[Share; 2],
) -> Result<[Run; 2], getrandom::Error> {
    let salts = [random_seed()?, random_seed()?];
    let inputs = [0, 1].map(|i| input_commitment(salts[i].as_bytes(), i, &shares[i]));
    let signature = identity.sign(&request_digest(committee, &job, &task, &inputs));
    Ok(salts.map(|salt| Run { job, task, inputs, salt, signature, voucher: Vec::new() }))
}

/// Hiding commitment to an evaluator's input share; the consumer draws a salt for each.
pub fn input_commitment(salt: &[u8; 32], evaluator: usize, share: &Share) -> Digest {
    share_commitment("sahara 2026 input share commitment v1", salt, evaluator, share)
}

/// Hiding commitment to an evaluator's output share; the evaluator draws the salt and tells the consumer only, because
/// the other evaluator could test guesses of the answer.
pub fn output_commitment(salt: &[u8; 32], evaluator: usize, share: &Share) -> Digest {
    share_commitment("sahara 2026 output share commitment v1", salt, evaluator, share)
}

fn share_commitment(context: &str, salt: &[u8; 32], evaluator: usize, share: &Share) -> Digest {
    let bytes = Zeroizing::new(crate::wire::Message::encode(share));
    let mut hasher = blake3::Hasher::new_derive_key(context);
    hasher.update(salt).update(&[evaluator as u8]).update(&bytes);
    *hasher.finalize().as_bytes()
}

/// The digest of one frame.
fn frame_digest(key: &[u8; 32], direction: usize, round: u32, frame: &[u8]) -> Digest {
    let mut hasher = blake3::Hasher::new_keyed(key);
    hasher.update(&[direction as u8]).update(&round.to_le_bytes()).update(frame);
    *hasher.finalize().as_bytes()
}

/// The start of both chains, and each next head: anybody can recompute them from the digests.
fn first_heads(opening: &Digest) -> [Digest; 2] {
    [0u8, 1].map(|direction| *blake3::keyed_hash(opening, &[direction]).as_bytes())
}

fn next_head(opening: &Digest, head: &Digest, digest: &Digest) -> Digest {
    let mut link = [0; 64];
    link[..32].copy_from_slice(head);
    link[32..].copy_from_slice(digest);
    *blake3::keyed_hash(opening, &link).as_bytes()
}

/// What both sides sign every [`WINDOW`] rounds.
fn checkpoint_digest(opening: &Digest, secret: &Digest, rounds: u32, heads: &[Digest; 2]) -> Digest {
    let mut w = Writer::default();
    w.bytes(opening).bytes(secret).u32(rounds).bytes(&heads[0]).bytes(&heads[1]);
    blake3::derive_key("sahara 2026 job checkpoint v1", &w.0)
}
