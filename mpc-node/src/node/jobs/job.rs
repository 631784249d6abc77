//! A job on its way through this node: what it holds, what it comes to, and the records of both.

use std::time::{SystemTime, UNIX_EPOCH};

use super::super::paying::Accepted;
use super::super::quota::Payer;
use super::super::refusal::{Refusal, Trouble};
use super::super::seat::Seat;
use crate::accounts::{AccountError, Held};
use crate::engine::{EvaluatorRole, Seed};
use crate::identity::PublicKey;
use crate::manifest::Manifest;
use crate::market::Complete;
use crate::packs::PackKey;
use crate::transcript::{JobRecord, Openings, SignedRecord, Transcript};
use crate::wire::{FailCode, JobFigures, Run, Share};

/// Everything that a job holds while it waits: nothing of the model, which has room for those that run.
pub(super) struct Job {
    pub(super) run: Run,
    pub(super) role: EvaluatorRole,
    pub(super) other: u8,
    pub(super) key: PackKey,
    pub(super) inputs: Share,
    /// Bytes of memory that it takes.
    pub(super) memory: u64,
    /// What pays for it, if it is to be paid.
    pub(super) paid: Option<Accepted>,
    /// Under which terms its answer leaves, if it leaves with noise.
    pub(super) noisy: Option<Noisy>,
    /// What it costs of the data's privacy budget, until that is spent.
    pub(super) held: Option<Held>,
}

/// A manifest with terms of noise, and how many numbers of an answer are noised.
pub(super) struct Noisy {
    manifest: Manifest,
    numbers: u64,
}

impl Noisy {
    pub(super) fn new(manifest: Manifest, numbers: u64) -> Self {
        Self { manifest, numbers }
    }

    /// Holds what the answer costs against the account of the data.
    pub(super) fn hold(&self, seat: &Seat) -> Result<Held, AccountError> {
        seat.machine.accounts.hold(&self.manifest, self.numbers)
    }
}

impl Job {
    /// What it costs of the data's budget is spent from now on, whatever the job comes to: nothing of the answer leaves before.
    pub(super) fn spends(&mut self, seat: &Seat) -> Result<(), AccountError> {
        let Some(noisy) = &self.noisy else { return Ok(()) };
        self.held.take().map_or_else(|| noisy.hold(seat), Ok)?.spend()
    }

    /// Its pack is used from now on, whatever the job comes to: who asked has to answer for it, and may have another made.
    pub(super) fn takes_pack(&mut self, seat: &Seat) {
        let Some(paid) = &mut self.paid else { return };
        paid.takes_pack();
        let order = paid.order();
        if let Ok(roles) = seat.committee.roles(order.task.assignment) {
            seat.machine.quotas.took_pack(Payer::helper(roles.helper.key, order.asker), seat.machine.uptime());
        }
    }
}

/// What a job comes to.
pub(super) struct Outcome {
    pub(super) outputs: Share,
    pub(super) figures: JobFigures,
    pub(super) end: SignedRecord,
    pub(super) salt: Seed,
    pub(super) record: JobRecord,
    pub(super) openings: Option<Openings>,
    /// The receipt of a paid job.
    pub(super) complete: Option<Complete>,
}

pub(super) fn keep(seat: &Seat, record: &JobRecord, openings: Option<&Openings>) {
    if let Err(error) = seat.records.keep(record, openings, SystemTime::now()) {
        tracing::warn!(%error, "the record of a job could not be kept");
    }
}

/// Keeps the record of a job that failed, signed as far as it came.
pub(super) fn keep_failed(seat: &Seat, transcript: Transcript, end: Option<SignedRecord>, trouble: &Trouble) {
    let why = match trouble {
        Trouble::Refusal(refusal) => refusal.text.clone(),
        Trouble::Lane(error) => error.told(),
    };
    let (record, openings) = transcript.close(end, Some(&why), now_millis(), &seat.machine.identity);
    keep(seat, &record, openings.as_ref());
}

pub(super) fn now_millis() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |t| t.as_millis() as u64)
}

/// Takes the job's name for good, now that both evaluators were asked for it.
pub(super) fn claim(seat: &Seat, job: &Job, consumer: PublicKey) -> Result<(), Refusal> {
    Ok(seat.records.claim(consumer, job.run.job, SystemTime::now())?)
}

pub(super) fn busy() -> Refusal {
    Refusal::new(FailCode::Busy, "this node runs as many jobs as it can, try again")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::{Assignment, GraphId, Rounding};
    use crate::wire::{JobId, ManifestId};

    #[test]
    fn a_job_ends_at_a_time_in_milliseconds_since_1970() {
        let before = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis();
        assert!(u128::from(now_millis()) >= before);
    }

    #[test]
    fn a_consumer_takes_a_name_once_and_another_may_take_the_same() {
        let trial = crate::node::trial::node(|_| ());
        let [one, other] = trial.others.each_ref().map(|identity| identity.public());
        let task = PackKey {
            manifest: ManifestId([5; 32]),
            graph: GraphId([3; 32]),
            assignment: Assignment::ALL[0],
            rounding: Rounding::Exact,
        };
        let salt = Seed::from_bytes([1; 32]);
        let run = Run {
            job: JobId::random().unwrap(),
            task,
            inputs: [[1; 32]; 2],
            salt,
            signature: [2; 64],
            voucher: vec![],
        };
        let job = Job {
            run,
            role: EvaluatorRole::First,
            other: 2,
            key: task,
            inputs: Share(Vec::new()),
            memory: 0,
            paid: None,
            noisy: None,
            held: None,
        };
        claim(&trial.seat, &job, one).unwrap();
        let again = claim(&trial.seat, &job, one).unwrap_err();
        assert!(again.code == FailCode::Refused && again.text.contains("was asked for before"), "{}", again.text);
        assert!(trial.seat.records.check(&one, &job.run.job, SystemTime::now()).is_err());
        claim(&trial.seat, &job, other).unwrap();
    }
}
