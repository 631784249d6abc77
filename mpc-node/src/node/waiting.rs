//! The jobs that consumers have asked this node for as the second evaluator, and where each is opened: see `meeting`.

use std::collections::HashMap;
use std::sync::mpsc::{self, Sender};
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::refusal::Refusal;
use crate::identity::PublicKey;
use crate::lane::Lane;
use crate::wire::{AskJob, FailCode, JobId, OpenJob, Presence, Run, Task};

/// A job opened by the first evaluator: its lane, and where to give the lane back.
pub(super) struct OpenedJob {
    pub(super) lane: Lane,
    pub(super) open: OpenJob,
    pub(super) give_back: Sender<Lane>,
}

/// Jobs that consumers have asked this node for as the second evaluator.
#[derive(Default)]
pub(super) struct Waiting(Mutex<HashMap<Name, Waiter>>);

/// A job: whose, and what its consumer calls it.
type Name = (PublicKey, JobId);

struct Waiter {
    task: Task,
    /// What pays for it.
    paid_with: Option<[u8; 32]>,
    /// The first evaluator has asked about it.
    asked: bool,
    /// Where it is opened; present once the input is here.
    opened: Option<Sender<OpenedJob>>,
}

impl Waiting {
    fn lock(&self) -> MutexGuard<'_, HashMap<Name, Waiter>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether the consumer has asked for this job, now that the first evaluator wants to know.
    pub(super) fn presence(&self, question: &AskJob) -> Presence {
        match self.lock().get_mut(&(PublicKey(question.consumer), question.job)) {
            Some(waiter) if (waiter.task, waiter.paid_with) == (question.task, question.paid_with) => {
                waiter.asked = true;
                if waiter.opened.is_some() { Presence::Here } else { Presence::Coming }
            }
            _ => Presence::Unknown,
        }
    }

    /// Where a job is opened: for the consumer and the task only that it was asked for.
    pub(super) fn place(&self, open: &OpenJob) -> Option<Sender<OpenedJob>> {
        let jobs = self.lock();
        let waiter = jobs.get(&(PublicKey(open.consumer), open.job))?;
        (waiter.task, waiter.paid_with).eq(&(open.task, open.paid_with)).then(|| waiter.opened.clone())?
    }
}

/// A job on the list; off it when dropped.
pub(super) struct Registered<'a> {
    waiting: &'a Waiting,
    name: Name,
}

impl<'a> Registered<'a> {
    /// A consumer has asked for the job; its input is on the way.
    pub(super) fn new(waiting: &'a Waiting, run: &Run, consumer: PublicKey) -> Result<Self, Refusal> {
        let name = (consumer, run.job);
        let mut jobs = waiting.lock();
        if jobs.contains_key(&name) {
            return Err(Refusal::new(FailCode::Refused, "a job of this name is waiting already"));
        }
        jobs.insert(name, Waiter { task: run.task, paid_with: run.paid_with(), asked: false, opened: None });
        Ok(Self { waiting, name })
    }

    /// The input is here: the job can be opened.
    pub(super) fn ready(&self) -> mpsc::Receiver<OpenedJob> {
        let (sender, opened) = mpsc::channel();
        if let Some(waiter) = self.waiting.lock().get_mut(&self.name) {
            waiter.opened = Some(sender);
        }
        opened
    }

    /// Whether the first evaluator has asked about it.
    pub(super) fn was_asked(&self) -> bool {
        self.waiting.lock().get(&self.name).is_some_and(|waiter| waiter.asked)
    }
}

impl Drop for Registered<'_> {
    fn drop(&mut self) {
        self.waiting.lock().remove(&self.name);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::{Assignment, GraphId, Rounding, Seed};
    use crate::wire::{ManifestId, PackId};

    const CONSUMER: PublicKey = PublicKey([1; 32]);
    const JOB: JobId = JobId([2; 16]);

    fn task(graph: u8) -> Task {
        Task {
            manifest: ManifestId([5; 32]),
            graph: GraphId([graph; 32]),
            assignment: Assignment::ALL[0],
            rounding: Rounding::Exact,
        }
    }

    fn run() -> Run {
        let salt = Seed::from_bytes([0; 32]);
        Run { job: JOB, task: task(3), inputs: [[0; 32]; 2], salt, signature: [0; 64], voucher: Vec::new() }
    }

    fn open(consumer: PublicKey, job: JobId, task: Task) -> OpenJob {
        let (pack, secret) = (PackId([0; 16]), Seed::from_bytes([0; 32]));
        OpenJob { job, task, consumer: consumer.0, pack, held: Vec::new(), secret, signature: [0; 64], paid_with: None }
    }

    #[test]
    fn a_job_is_met_and_opened_for_the_consumer_and_the_task_only_that_it_was_asked_for() {
        let waiting = Waiting::default();
        let registered = Registered::new(&waiting, &run(), CONSUMER).unwrap();
        let ask = |consumer: PublicKey, job, task| {
            waiting.presence(&AskJob { job, task, consumer: consumer.0, paid_with: None })
        };
        let others = [
            (PublicKey([9; 32]), JOB, task(3)),
            (CONSUMER, JobId([9; 16]), task(3)),
            (CONSUMER, JOB, task(9)),
            (CONSUMER, JOB, Task { rounding: Rounding::Faithful, ..task(3) }),
        ];
        let check_others = || {
            for (consumer, job, task) in others {
                assert_eq!(ask(consumer, job, task), Presence::Unknown);
                assert!(waiting.place(&open(consumer, job, task)).is_none());
            }
        };
        check_others();
        assert!(!registered.was_asked());
        assert_eq!(ask(CONSUMER, JOB, task(3)), Presence::Coming);
        assert!(registered.was_asked() && waiting.place(&open(CONSUMER, JOB, task(3))).is_none());
        let _opened = registered.ready();
        check_others();
        assert_eq!(ask(CONSUMER, JOB, task(3)), Presence::Here);
        assert!(waiting.place(&open(CONSUMER, JOB, task(3))).is_some());
        drop(registered);
        assert_eq!(ask(CONSUMER, JOB, task(3)), Presence::Unknown);
    }

    #[test]
    fn a_job_is_met_and_opened_for_what_pays_for_it_only() {
        let waiting = Waiting::default();
        let run = Run { voucher: vec![1, 2], ..run() };
        let registered = Registered::new(&waiting, &run, CONSUMER).unwrap();
        let _opened = registered.ready();
        let other = Run { voucher: vec![1, 3], ..run.clone() };
        for (paid_with, presence) in
            [(run.paid_with(), Presence::Here), (other.paid_with(), Presence::Unknown), (None, Presence::Unknown)]
        {
            let ask = AskJob { job: JOB, task: task(3), consumer: CONSUMER.0, paid_with };
            assert_eq!(waiting.presence(&ask), presence);
            let open = OpenJob { paid_with, ..open(CONSUMER, JOB, task(3)) };
            assert_eq!(waiting.place(&open).is_some(), presence == Presence::Here);
        }
    }

    #[test]
    fn a_name_that_waits_is_refused_to_its_consumer_and_free_to_others() {
        let waiting = Waiting::default();
        let _first = Registered::new(&waiting, &run(), CONSUMER).unwrap();
        assert!(Registered::new(&waiting, &run(), CONSUMER).is_err());
        assert!(Registered::new(&waiting, &run(), PublicKey([9; 32])).is_ok());
    }
}
