//! Where both evaluators of a job meet before it is opened: nothing is used up for a job that only one of them was asked for.
//!
//! The second evaluator keeps a list of the jobs that consumers have asked it for. The first asks about a job with short
//! questions until the consumer and its input are there, holding neither a slot nor a pack meanwhile.

use std::collections::HashMap;
use std::sync::mpsc::{self, Sender};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::jobs::{still_there, still_wanted};
use super::seat::Seat;
use super::serve::{Ended, Refusal, Trouble, own, peer};
use crate::engine::Assignment;
use crate::identity::PublicKey;
use crate::lane::Lane;
use crate::meter::Traffic;
use crate::wire::{AskJob, FailCode, JobId, OpenJob, OpenReply, Presence, Run, Task};

/// Longest pause between two questions about a job.
const PAUSE: Duration = Duration::from_millis(40);

/// A job opened by the first evaluator: its lane, and where to give the lane back.
pub(super) struct Opened {
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
    /// The first evaluator has asked about it.
    asked: bool,
    /// Where it is opened; present once the input is here.
    opened: Option<Sender<Opened>>,
}

impl Waiting {
    fn lock(&self) -> MutexGuard<'_, HashMap<Name, Waiter>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether the consumer has asked for this job, now that the first evaluator wants to know.
    fn presence(&self, question: &AskJob) -> Presence {
        match self.lock().get_mut(&(PublicKey(question.consumer), question.job)) {
            Some(waiter) if waiter.task == question.task => {
                waiter.asked = true;
                if waiter.opened.is_some() { Presence::Here } else { Presence::Coming }
            }
            _ => Presence::Unknown,
        }
    }

    /// Where a job is opened: for the consumer and the task only that it was asked for.
    fn place(&self, open: &OpenJob) -> Option<Sender<Opened>> {
        let jobs = self.lock();
        let waiter = jobs.get(&(PublicKey(open.consumer), open.job)).filter(|waiter| waiter.task == open.task)?;
        waiter.opened.clone()
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
        jobs.insert(name, Waiter { task: run.task, asked: false, opened: None });
        Ok(Self { waiting, name })
    }

    /// The input is here: the job can be opened.
    pub(super) fn ready(&self) -> mpsc::Receiver<Opened> {
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

/// As the second evaluator: answers whether a job's consumer is here.
pub(super) fn answer(seat: &Seat, lane: &mut Lane, caller: Option<u8>, question: AskJob) -> Result<(), Trouble> {
    check_roles(seat.index, caller, question.task.assignment)?;
    lane.send(&seat.waiting.presence(&question)).map_err(own)
}

fn check_roles(own: u8, caller: Option<u8>, assignment: Assignment) -> Result<(), Refusal> {
    let [first, second] = assignment.evaluators();
    if caller != Some(first) || own != second {
        let text = "only the first evaluator of the assignment opens jobs, with the second";
        return Err(Refusal::new(FailCode::Refused, text));
    }
    Ok(())
}

/// As the first evaluator: asks the second about the job once.
pub(super) fn ask(seat: &Seat, run: &Run, consumer: PublicKey) -> Result<Presence, Trouble> {
    let [_, second] = run.task.assignment.evaluators();
    let mut lane = seat.peer_lane(second).map_err(peer)?;
    lane.begin("when asked whether the job's consumer is there", Traffic::Setup, seat.machine.config.timeouts.round());
    lane.send(&AskJob { job: run.job, task: run.task, consumer: consumer.0 }).map_err(peer)?;
    let presence = lane.receive().map_err(peer)?;
    seat.put_back(second, lane);
    Ok(presence)
}

/// As the first evaluator: lets the second know that this one was asked, too, as soon as the consumer has asked the second; waits
/// for that only if there is something to read first, and no longer than [`meet`] does.
pub(super) fn announce(
    seat: &Seat,
    consumer: &mut Lane,
    run: &Run,
    in_memory: impl Fn() -> bool,
) -> Result<(), Trouble> {
    let began = Instant::now();
    let mut pause = Duration::from_millis(1);
    loop {
        still_there(consumer)?;
        let presence = ask(seat, run, consumer.peer())?;
        if presence != Presence::Unknown || began.elapsed() >= seat.machine.config.timeouts.meet() || in_memory() {
            return Ok(());
        }
        if seat.machine.is_stopping() {
            return Err(Refusal::new(FailCode::Stopping, "this node is shutting down").into());
        }
        std::thread::sleep(pause);
        pause = (2 * pause).min(PAUSE);
    }
}

/// As the first evaluator: waits until the second has the consumer's input, too.
///
/// # Errors
/// When the consumer has not asked the second evaluator in time, or has given up.
pub(super) fn meet(seat: &Seat, consumer: &mut Lane, run: &Run) -> Result<(), Trouble> {
    let began = Instant::now();
    let timeouts = &seat.machine.config.timeouts;
    let mut pause = Duration::from_millis(1);
    loop {
        let label = || seat.committee.label(run.task.assignment.evaluators()[1]);
        match ask(seat, run, consumer.peer())? {
            Presence::Here => return Ok(()),
            Presence::Unknown if began.elapsed() < timeouts.meet() => {}
            Presence::Coming if began.elapsed() < timeouts.request() => {}
            Presence::Unknown => {
                let text = format!("{} was not asked for the job, or has given it up", label());
                return Err(Refusal::new(FailCode::Refused, text).into());
            }
            Presence::Coming => {
                let text = format!("the input for {} does not arrive", label());
                return Err(Refusal::new(FailCode::Refused, text).into());
            }
        }
        if seat.machine.is_stopping() {
            return Err(Refusal::new(FailCode::Stopping, "this node is shutting down").into());
        }
        still_wanted(consumer)?;
        std::thread::sleep(pause);
        pause = (2 * pause).min(PAUSE);
    }
}

/// As the second evaluator: lends a lane on which the first opens a job to the thread of that job's consumer.
pub(super) fn lend(seat: &Seat, mut lane: Lane, caller: Option<u8>, payload: &[u8]) -> Result<Lane, Box<Ended>> {
    lane.enter("while the job was opened", Traffic::Online, seat.machine.config.timeouts.round());
    let open: OpenJob = match lane.decode(payload) {
        Ok(open) => open,
        Err(error) => return Err(Ended::new(Some(lane), own(error))),
    };
    if let Err(refusal) = check_roles(seat.index, caller, open.task.assignment) {
        return Err(Ended::new(Some(lane), refusal));
    }
    let job = seat.waiting.place(&open);
    let (give_back, back) = mpsc::channel();
    let lent = match job {
        Some(job) => job.send(Opened { lane, open, give_back }).map_err(|mpsc::SendError(opened)| opened.lane),
        None => Err(lane),
    };
    match lent {
        Ok(()) => {
            back.recv().map_err(|_| Ended::new(None, Refusal::new(FailCode::Refused, "the job on this lane failed")))
        }
        // Its consumer has just left; no pack was touched.
        Err(mut lane) => match lane.send(&OpenReply::Gone) {
            Ok(()) => Ok(lane),
            Err(error) => Err(Ended::new(Some(lane), own(error))),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::{GraphId, Rounding, Seed};
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
        Run { job: JOB, task: task(3), inputs: [[0; 32]; 2], salt: Seed::from_bytes([0; 32]), signature: [0; 64] }
    }

    fn open(consumer: PublicKey, job: JobId, task: Task) -> OpenJob {
        let (pack, secret) = (PackId([0; 16]), Seed::from_bytes([0; 32]));
        OpenJob { job, task, consumer: consumer.0, pack, held: Vec::new(), secret, signature: [0; 64] }
    }

    #[test]
    fn a_job_is_met_and_opened_for_the_consumer_and_the_task_only_that_it_was_asked_for() {
        let waiting = Waiting::default();
        let registered = Registered::new(&waiting, &run(), CONSUMER).unwrap();
        let ask = |consumer: PublicKey, job, task| waiting.presence(&AskJob { job, task, consumer: consumer.0 });
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
    fn a_name_that_waits_is_refused_to_its_consumer_and_free_to_others() {
        let waiting = Waiting::default();
        let _first = Registered::new(&waiting, &run(), CONSUMER).unwrap();
        assert!(Registered::new(&waiting, &run(), CONSUMER).is_err());
        assert!(Registered::new(&waiting, &run(), PublicKey([9; 32])).is_ok());
    }

    #[test]
    fn only_the_first_evaluator_of_the_assignment_opens_jobs_with_the_second() {
        for assignment in Assignment::ALL {
            let [first, second] = assignment.evaluators();
            for own in 0..3 {
                for caller in [None, Some(0), Some(1), Some(2)] {
                    let may = check_roles(own, caller, assignment).is_ok();
                    assert_eq!(may, own == second && caller == Some(first), "{caller:?} asks {own}: {assignment:?}");
                }
            }
        }
    }
}
