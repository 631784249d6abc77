//! The transcript of a running job, as one evaluator writes it.

use zeroize::Zeroizing;

use super::file::{Checkpoint, JobRecord, Openings, Signatures};
use super::{
    Digest, Opening, Record, SignedRecord, WINDOW, checkpoint_digest, first_heads, frame_digest, next_head,
    output_commitment,
};
use crate::engine::{JobSecret, Seed, ZeroSharing};
use crate::identity::Identity;
use crate::wire::Share;

/// The other evaluator signed something else than this side saw, or nothing valid at all.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Contradiction {
    /// The opening.
    #[error("signed another opening of the job than this node holds")]
    Opening,
    /// The heads after so many rounds.
    #[error("signed another transcript of the job up to round {0} than this node saw")]
    Window(u32),
    /// The end.
    #[error("signed another transcript of the job than this node saw")]
    End,
}

/// A running job's transcript.
pub struct Transcript {
    opening: Opening,
    digest: Digest,
    own: usize,
    signatures: Signatures,
    secret: Option<JobSecret>,
    key: Zeroizing<[u8; 32]>,
    committed: Digest,
    input_salt: Seed,
    output_salt: Seed,
    rounds: Vec<[Digest; 2]>,
    heads: [Digest; 2],
    bytes: [u64; 2],
    checkpoints: Vec<Checkpoint>,
    other: Option<SignedRecord>,
}

impl Transcript {
    /// Signs the opening, as evaluator `own` (0 or 1). `consumer` and `helper` are their signatures, already checked;
    /// `input_salt` opens the commitment to the own input share, `output_salt` is fresh.
    pub fn open(
        opening: Opening,
        own: usize,
        [consumer, helper]: [[u8; 64]; 2],
        [input_salt, output_salt]: [Seed; 2],
        identity: &Identity,
    ) -> Self {
        let digest = opening.digest();
        let mut evaluators = [None, None];
        evaluators[own] = Some(identity.sign(&digest));
        Self {
            heads: first_heads(&digest),
            opening,
            digest,
            own,
            signatures: Signatures { consumer, helper, evaluators },
            secret: None,
            key: Zeroizing::default(),
            committed: [0; 32],
            input_salt,
            output_salt,
            rounds: Vec::new(),
            bytes: [0; 2],
            checkpoints: Vec::new(),
            other: None,
        }
    }

    /// The own signature on the opening.
    pub fn signature(&self) -> [u8; 64] {
        self.signatures.evaluators[self.own].unwrap_or([0; 64])
    }

    /// Checks the other's signature on the opening, and combines both contributions to the secret of the job. Gives what
    /// re-randomises the outputs.
    ///
    /// # Errors
    /// When the other did not sign this opening.
    pub fn join(&mut self, contributions: [&Seed; 2], signature: [u8; 64]) -> Result<ZeroSharing, Contradiction> {
        let other = 1 - self.own;
        if !self.opening.session.evaluators[other].verifies(&self.digest, &signature) {
            return Err(Contradiction::Opening);
        }
        self.signatures.evaluators[other] = Some(signature);
        let [first, second] = contributions.map(Seed::as_bytes);
        let secret = JobSecret::combine(&self.digest, first, second);
        self.key = secret.transcript_key();
        self.committed = secret.commitment();
        let zero = secret.zero_sharing(0);
        self.secret = Some(secret);
        Ok(zero)
    }

    /// Whether the next frame carries signatures, 64 bytes each way in front of it.
    pub fn is_due(&self) -> bool {
        let rounds = self.rounds.len() as u32;
        rounds > 0 && rounds.is_multiple_of(WINDOW)
    }

    /// The own signature on both heads, when one is due; to be sent in front of the next frame.
    pub fn checkpoint(&mut self, identity: &Identity) -> Option<[u8; 64]> {
        self.is_due().then(|| {
            let rounds = self.rounds.len() as u32;
            let own = identity.sign(&checkpoint_digest(&self.digest, &self.committed, rounds, &self.heads));
            self.checkpoints.push(Checkpoint { rounds, own, other: None });
            own
        })
    }

    /// Checks the signature that came in front of the other's frame, when one was due.
    ///
    /// # Errors
    /// When the other signed other heads than this side saw.
    pub fn countersigned(&mut self, signature: [u8; 64]) -> Result<(), Contradiction> {
        let rounds = self.rounds.len() as u32;
        let digest = checkpoint_digest(&self.digest, &self.committed, rounds, &self.heads);
        if !self.opening.session.evaluators[1 - self.own].verifies(&digest, &signature) {
            return Err(Contradiction::Window(rounds));
        }
        if let Some(checkpoint) = self.checkpoints.last_mut() {
            checkpoint.other = Some(signature);
        }
        Ok(())
    }

    /// Adds the frames of one round.
    pub fn round(&mut self, sent: &[u8], received: &[u8]) {
        let round = self.rounds.len() as u32 + 1;
        let frames = if self.own == 0 { [sent, received] } else { [received, sent] };
        let digests = [0, 1].map(|direction| frame_digest(&self.key, direction, round, frames[direction]));
        for direction in 0..2 {
            self.heads[direction] = next_head(&self.digest, &self.heads[direction], &digests[direction]);
            self.bytes[direction] += frames[direction].len() as u64;
        }
        self.rounds.push(digests);
    }

    /// The signed end of a job that has come to its answer.
    pub fn finish(&self, output: &Share, identity: &Identity) -> SignedRecord {
        self.end(Some(output_commitment(self.output_salt.as_bytes(), self.own, output)), identity)
    }

    /// The salt of the commitment to the own output share, for the consumer.
    pub fn output_salt(&self) -> &Seed {
        &self.output_salt
    }

    fn end(&self, output: Option<Digest>, identity: &Identity) -> SignedRecord {
        Record {
            opening: self.opening,
            secret: self.committed,
            signer: self.own as u8,
            rounds: self.rounds.len() as u32,
            heads: self.heads,
            bytes: self.bytes,
            output,
        }
        .sign(identity)
    }

    /// Checks the other's signed end against the own.
    ///
    /// # Errors
    /// When it tells another story. A signed one of this job is kept: it is evidence.
    pub fn compare(&mut self, own: &SignedRecord, other: SignedRecord) -> Result<(), Contradiction> {
        let signed = usize::from(other.record.signer) == 1 - self.own
            && other.record.signer_key() == self.opening.session.evaluators[1 - self.own]
            && other.is_signed();
        // Of another job it would be no evidence of this one, and would spoil the record.
        if !signed || !self.opening.session.is_same_job(&other.record.opening.session) {
            return Err(Contradiction::End);
        }
        self.other = Some(other);
        if own.agrees_with(&other) { Ok(()) } else { Err(Contradiction::End) }
    }

    /// What is kept of the job: with `own` when it has come to its end, else signed as failed for the reason `failure`.
    pub fn close(
        self,
        own: Option<SignedRecord>,
        failure: Option<&str>,
        at_millis: u64,
        identity: &Identity,
    ) -> (JobRecord, Option<Openings>) {
        let end = own.unwrap_or_else(|| self.end(None, identity));
        let openings = self.secret.map(|secret| Openings {
            job: self.opening.session.job,
            secret,
            input_salt: self.input_salt,
            output_salt: self.output_salt,
        });
        let record = JobRecord {
            at_millis,
            failure: failure.map(str::to_owned),
            end,
            other: self.other,
            signatures: self.signatures,
            checkpoints: self.checkpoints,
            rounds: self.rounds,
        };
        (record, openings)
    }
}
