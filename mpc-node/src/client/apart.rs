//! A job whose two halves are asked for by two programs that know nothing of each other's: a consumer that is not there seals each
//! half to its evaluator, and what opens it asks that evaluator alone. The answer is fetched later, by the consumer's own key.

use crate::engine::{Seed, combine_outputs, random_seed, share_inputs};
use crate::identity::PublicKey;
use crate::manifest::SignedManifest;
use crate::market::{Complete, JobEnd};
use crate::meter::Traffic;
use crate::transcript::{end_of, input_commitment, request_digest};
use crate::wire::{FindSharing, JobId, Kind, LastReceipt, LastReply, ManifestId, Run, RunReply, Sealing, Share, Task};

use super::{Client, ClientError};

/// An input in two halves, and what names both.
pub struct Halves {
    /// Commitments to both halves.
    pub inputs: [[u8; 32]; 2],
    /// What opens each.
    pub salts: [Seed; 2],
    /// Of which the first half is made: [`first_half`].
    pub seed: Seed,
    /// The halves.
    pub shares: [Share; 2],
}

/// Shares an input.
///
/// # Errors
/// When the operating system gives no random bytes.
pub fn halves(input: &[Vec<i32>]) -> Result<Halves, getrandom::Error> {
    let seed = random_seed()?;
    let shares = share_inputs(input, &seed).map(Share);
    let salts = [random_seed()?, random_seed()?];
    let inputs = [0, 1].map(|i| input_commitment(salts[i].as_bytes(), i, &shares[i]));
    Ok(Halves { inputs, salts, seed, shares })
}

/// The first evaluator's half, of tensors with so many words each: it depends on the seed alone.
pub fn first_half(words: &[usize], seed: &Seed) -> Share {
    let nothing: Vec<Vec<i32>> = words.iter().map(|words| vec![0; *words]).collect();
    let [first, _] = share_inputs(&nothing, seed).map(Share);
    first
}

/// One evaluator's half of a job.
pub struct OneHalf<'a> {
    /// The job's name, the same for both.
    pub job: JobId,
    /// What is computed.
    pub task: Task,
    /// Commitments to both halves.
    pub inputs: [[u8; 32]; 2],
    /// Opens the commitment to this one.
    pub salt: &'a Seed,
    /// The half.
    pub share: &'a Share,
    /// What pays.
    pub voucher: &'a [u8],
}

/// An answer that was fetched.
pub struct Fetched {
    /// Output tensors.
    pub outputs: Vec<Vec<i32>>,
    /// What both evaluators signed at the job's end.
    pub end: JobEnd,
    /// The receipt: that all signed it is for whoever knows its digest to check.
    pub complete: Complete,
}

impl Client {
    /// Asks one evaluator of a job for its half; the other is asked by somebody else. Whatever it replies is dropped: the answer
    /// is for whoever fetches it.
    ///
    /// # Errors
    /// When the node is not an evaluator of the task or not reached, refuses, or the job comes to nothing.
    pub fn ask_one(&self, node: u8, half: &OneHalf<'_>) -> Result<(), ClientError> {
        if !half.task.assignment.evaluators().contains(&node) {
            return Err(ClientError::Request(format!("node {} is no evaluator of the job", u32::from(node) + 1)));
        }
        let digest = request_digest(&self.committee.digest(), &half.job, &half.task, &half.inputs);
        let run = Run {
            job: half.job,
            task: half.task,
            inputs: half.inputs,
            salt: half.salt.clone(),
            signature: self.identity.sign(&digest),
            voucher: half.voucher.to_vec(),
        };
        self.on_lane(node, |lane| {
            lane.begin("while it ran the job", Traffic::Client, self.options.job_timeout);
            lane.limit(Some(self.options.job_timeout));
            lane.send(&run)?;
            lane.send(half.share)?;
            let _: RunReply = lane.receive()?;
            Ok(())
        })
    }

    /// Has a pack made for a job under a name that was chosen before.
    ///
    /// # Errors
    /// As [`Client::prepare`].
    pub fn prepare_job(&self, task: &Task, job: JobId) -> Result<(), ClientError> {
        self.prepare_for(task, 1, Some(job), &mut |_| ())
    }

    /// What one node has under a manifest's name, for this client's key: nothing if it has none, or none for this key. The others are
    /// not asked; it hashes to its name.
    ///
    /// # Errors
    /// When the node is not reached, or answers with another.
    pub fn manifest_at(&self, node: u8, manifest: ManifestId) -> Result<Option<SignedManifest>, ClientError> {
        let found = self.find_on(node, FindSharing::Exactly(manifest))?.manifest;
        match found {
            Some(signed) if signed.id() != manifest => {
                let who = self.committee.label(node);
                Err(ClientError::Answer(format!("{who} answers with another sharing than {manifest}")))
            }
            found => Ok(found),
        }
    }

    /// With which key something is sealed to a node: bytes in the form of its market, from anybody.
    ///
    /// # Errors
    /// When the node is not reached, or nothing is sealed to it.
    pub fn sealing_key(&self, node: u8) -> Result<Vec<u8>, ClientError> {
        self.ask(node, "when asked for its sealing key", |lane| {
            lane.send_frame(Kind::AskSealing, &[])?;
            let Sealing(key) = lane.receive()?;
            Ok(key)
        })
    }

    /// The last complete receipt that a node has under a voucher of this client's; unchecked.
    ///
    /// # Errors
    /// When the node is not reached or does not know this client.
    pub fn last_receipt(
        &self,
        node: u8,
        manifest: ManifestId,
        voucher: &[u8],
    ) -> Result<Option<Complete>, ClientError> {
        let question = LastReceipt { manifest, consumer: self.key(), voucher: voucher.to_vec() };
        self.ask(node, "when asked for the last receipt", |lane| {
            lane.send(&question)?;
            let LastReply(last) = lane.receive()?;
            Ok(last)
        })
    }

    /// Fetches the answer to a job that `consumer` asked for, and whose reader this client is.
    ///
    /// # Errors
    /// When an evaluator does not have it (any more), or what they give does not fit together.
    pub fn fetch(
        &self,
        (job, task, inputs): (JobId, Task, [[u8; 32]; 2]),
        consumer: PublicKey,
        voucher: &[u8],
    ) -> Result<Fetched, ClientError> {
        let run =
            Run { job, task, inputs, salt: Seed::from_bytes([0; 32]), signature: [0; 64], voucher: voucher.to_vec() };
        let gone = || ClientError::Answer("the evaluators do not both have the answer (any more)".into());
        let halves = self.halves_again(&[run.clone(), run.clone()], 1 << 20).ok_or_else(gone)?;
        for (index, half) in halves.iter().enumerate() {
            self.check_end(index, half, &run, consumer)?;
        }
        let [a, b] = halves;
        if !a.transcript.agrees_with(&b.transcript) {
            return Err(ClientError::Answer("the evaluators' transcripts of the job do not agree".into()));
        }
        let no_end = || ClientError::Answer("the evaluators' transcripts are of a job without an end".into());
        let end = end_of(&a.transcript, &b.transcript).ok_or_else(no_end)?;
        let outputs = combine_outputs(&a.reply.outputs.0, &b.reply.outputs.0);
        let outputs =
            outputs.ok_or_else(|| ClientError::Answer("the evaluators' output shares have two shapes".into()))?;
        match (a.reply.complete, b.reply.complete) {
            (Some(complete), Some(other)) if complete == other => Ok(Fetched { outputs, end, complete }),
            _ => Err(ClientError::Answer("the evaluators gave different receipts of the job, or none".into())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_half_depends_on_the_seed_alone_and_both_add_up() {
        let input = vec![vec![1, -2, i32::MAX], vec![], vec![i32::MIN]];
        let halves = halves(&input).unwrap();
        assert_eq!(first_half(&[3, 0, 1], &halves.seed), halves.shares[0]);
        assert_eq!(combine_outputs(&halves.shares[0].0, &halves.shares[1].0).unwrap(), input);
        assert_ne!(halves.inputs[0], halves.inputs[1]);
    }
}
