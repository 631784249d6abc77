//! Packs made ahead: after a job its first evaluator has the helper make packs until `packs_ahead` are ready again.
//!
//! What is made counts as the consumer's whose job it was: its dealing time pays for it, and what the helper keeps of the packs
//! lies on its pile of records. No node may spend these at will, so the first evaluator shows what the consumer signed when
//! it asked for the job ([`Asked`]). The helper takes each such request once, on its list of names of jobs, while its time is
//! near, and makes at most as many packs for it as it would have made ahead itself (one at least). What a node can spend
//! of a consumer's is so bounded by what the consumer asks, and told from it by a signature.
//!
//! The alternative, to charge the node that asks, would let one greedy consumer use up what that node has at the helper, for
//! all other consumers, and hide from the helper for whom it works.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use super::jobs::unnamed;
use super::seat::Seat;
use super::serve::Refusal;
use crate::identity::PublicKey;
use crate::lane::LaneError;
use crate::meter::Traffic;
use crate::packs::PackKey;
use crate::records::NameError;
use crate::transcript::request_digest;
use crate::wire::{Asked, FailCode, Kind, Prepare};

/// Threads that have packs made ahead by one helper, each with one lane there: far fewer than a member may have.
const WORKERS: usize = 4;
/// Requests of one consumer that wait to be shown; the oldest make room.
const MOST_REQUESTS: usize = 64;

/// Packs that are to be made ahead.
pub(super) struct Refilling(Mutex<Requests>);

/// A consumer's request of a job that a helper is shown.
#[derive(Clone, Copy)]
struct Request {
    task: PackKey,
    consumer: PublicKey,
    asked: Asked,
}

struct Requests {
    /// Oldest first.
    waiting: Vec<Request>,
    /// What is being made; a worker for each, or one that looks for more.
    working: Vec<Request>,
    /// For each helper.
    workers: Vec<usize>,
}

impl Requests {
    fn new(members: usize) -> Self {
        Self { waiting: Vec::new(), working: Vec::new(), workers: vec![0; members] }
    }

    /// One more, of which so many may wait for one task: more than there are packs to be made are not needed, and the newest
    /// are taken for the longest. Whether a further worker is to be started.
    fn add(&mut self, request: Request, wanted: usize) -> bool {
        let drop_oldest = |waiting: &mut Vec<Request>, most: usize, same: &dyn Fn(&Request) -> bool| {
            if waiting.iter().filter(|other| same(other)).count() >= most
                && let Some(oldest) = waiting.iter().position(same)
            {
                waiting.remove(oldest);
            }
        };
        drop_oldest(&mut self.waiting, wanted, &|other| other.task == request.task);
        drop_oldest(&mut self.waiting, MOST_REQUESTS, &|other| other.consumer == request.consumer);
        self.waiting.push(request);
        let workers = &mut self.workers[usize::from(request.task.assignment.helper())];
        let start = *workers < WORKERS;
        *workers += usize::from(start);
        start
    }

    /// What a worker for this helper does next: of the consumers for whom nothing is being made there, the one for whom the least
    /// waits; each of its tasks once at a time. Without any, the worker ends.
    fn next(&mut self, helper: u8, missing: impl Fn(&PackKey) -> u32) -> Option<(u32, Request)> {
        self.waiting.retain(|request| missing(&request.task) > 0);
        let of_helper = |request: &&Request| request.task.assignment.helper() == helper;
        let is_free = |request: &&Request| {
            let mut working = self.working.iter().filter(of_helper);
            !working.any(|other| other.consumer == request.consumer || other.task == request.task)
        };
        let waits = |consumer| self.waiting.iter().filter(of_helper).filter(|other| other.consumer == consumer).count();
        let next = self.waiting.iter().enumerate().filter(|(_, request)| of_helper(request) && is_free(request));
        let next = next.min_by_key(|(at, request)| (waits(request.consumer), *at)).map(|(at, _)| at);
        let Some(at) = next else {
            self.workers[usize::from(helper)] -= 1;
            return None;
        };
        let request = self.waiting.remove(at);
        self.working.push(request);
        Some((missing(&request.task), request))
    }

    /// A worker is done with a request.
    fn done(&mut self, request: &Request) {
        self.working.retain(|other| other.task != request.task);
    }
}

impl Refilling {
    /// Nothing yet, in a committee of so many members.
    pub(super) fn new(members: usize) -> Self {
        Self(Mutex::new(Requests::new(members)))
    }

    fn lock(&self) -> MutexGuard<'_, Requests> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// As the first evaluator, after a job that its consumer asked for: has the helper make packs until `packs_ahead` are ready.
pub(super) fn refill(seat: &Arc<Seat>, task: PackKey, consumer: PublicKey, asked: Asked) {
    let wanted = seat.machine.config.packs_ahead;
    if seat.packs.count(&task) >= wanted
        || !seat.refilling.lock().add(Request { task, consumer, asked }, wanted as usize)
    {
        return;
    }
    let helper = task.assignment.helper();
    let thread_seat = seat.clone();
    let work = move || {
        let _span = thread_seat.span().entered();
        while let Some((missing, request)) = next(&thread_seat, helper) {
            if let Err(error) = ask_helper(&thread_seat, missing, &request) {
                tracing::warn!(%error, "packs could not be made ahead");
            }
            thread_seat.refilling.lock().done(&request);
        }
    };
    if let Err(error) = std::thread::Builder::new().name("packs ahead".into()).spawn(work) {
        tracing::error!(%error, "cannot start a thread");
        seat.refilling.lock().workers[usize::from(helper)] -= 1;
    }
}

fn next(seat: &Seat, helper: u8) -> Option<(u32, Request)> {
    let missing = |task: &PackKey| match seat.machine.is_stopping() {
        true => 0,
        false => seat.machine.config.packs_ahead.saturating_sub(seat.packs.count(task)),
    };
    seat.refilling.lock().next(helper, missing)
}

fn ask_helper(seat: &Seat, count: u32, request: &Request) -> Result<(), LaneError> {
    let Request { task, consumer, asked } = *request;
    let helper = task.assignment.helper();
    let mut lane = seat.peer_lane(helper)?;
    lane.begin("while packs were made ahead", Traffic::Setup, seat.machine.config.timeouts.request());
    lane.send(&Prepare { task, count, consumer, job: None, asked: Some(asked) })?;
    loop {
        match lane.receive_one_of(&[Kind::Done, Kind::Progress])? {
            (Kind::Progress, _) if !seat.machine.is_stopping() => {}
            (Kind::Progress, _) => return Ok(()),
            _ => break,
        }
    }
    seat.put_back(helper, lane);
    Ok(())
}

/// As the helper: what a node shows that asks for packs in a consumer's name.
///
/// # Errors
/// When it is not the first evaluator of the task, or shows nothing that this consumer signed for it.
pub(super) fn shown(seat: &Seat, caller: Option<u8>, request: &Prepare) -> Result<Asked, Refusal> {
    let refuse = |text: &str| Err(Refusal::new(FailCode::Refused, text));
    let [first, _] = request.task.assignment.evaluators();
    let Some(asked) = request.asked.filter(|_| caller == Some(first) && request.job.is_none()) else {
        return refuse(
            "packs are prepared for whoever asks for them only, and ahead for the first evaluator that shows the \
             consumer's request of a job",
        );
    };
    let digest = request_digest(&seat.committee.digest(), &asked.job, &request.task, &asked.inputs);
    if !request.consumer.verifies(&digest, &asked.signature) {
        return refuse("the request of a job that packs are to be made for is not signed by its consumer");
    }
    Ok(asked)
}

/// As the helper: takes a consumer's request that was shown, and says how many packs of those asked for are made for it.
///
/// # Errors
/// When it is not of this time, or packs were made for it before.
pub(super) fn granted(seat: &Seat, request: &Prepare, asked: &Asked) -> Result<u32, Refusal> {
    match seat.records.claim(request.consumer, asked.job, SystemTime::now()) {
        Ok(()) => Ok(request.count.min(seat.machine.config.packs_ahead.max(1))),
        Err(NameError::Taken) => {
            Err(Refusal::new(FailCode::Refused, "packs were made ahead for this job of the consumer before"))
        }
        Err(error) => Err(unnamed(error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::{Assignment, GraphId, Rounding};
    use crate::wire::{JobId, ManifestId};

    fn request(helper: u8, graph: u8, consumer: u8) -> Request {
        let task = PackKey {
            manifest: ManifestId([5; 32]),
            graph: GraphId([graph; 32]),
            assignment: Assignment::new(helper).unwrap(),
            rounding: Rounding::Exact,
        };
        let asked = Asked { job: JobId([graph; 16]), inputs: [[0; 32]; 2], signature: [0; 64] };
        Request { task, consumer: PublicKey([consumer; 32]), asked }
    }

    #[test]
    fn one_consumer_with_many_tasks_has_one_worker_and_all_together_a_few() {
        let mut requests = Requests::new(3);
        let started = (0..96).filter(|graph| requests.add(request(0, *graph, 1), 2)).count();
        assert_eq!((started, requests.waiting.len()), (WORKERS, MOST_REQUESTS));
        let mut next = || requests.next(0, |_| 2).map(|(missing, request)| (missing, request.task.graph.0[0]));
        assert_eq!(next(), Some((2, 96 - MOST_REQUESTS as u8)), "its oldest");
        // The other workers have nothing to do for it, and end; with others' requests they begin again.
        assert_eq!([next(), next(), next()], [None; 3]);
        assert_eq!(requests.workers, [1, 0, 0]);
        for consumer in 2..9 {
            assert_eq!(requests.add(request(0, 100 + consumer, consumer), 2), consumer < 2 + WORKERS as u8 - 1);
        }
        for consumer in 2..5 {
            assert_eq!(requests.next(0, |_| 2).map(|(_, request)| request.consumer.0[0]), Some(consumer));
        }
        // Who has much to do waits for those that have little.
        let first = requests.working[0];
        requests.done(&first);
        assert_eq!(requests.next(0, |_| 2).map(|(_, request)| request.consumer.0[0]), Some(5));
        // Another helper's workers are its own.
        assert!(requests.add(request(1, 7, 1), 2));
        assert_eq!(requests.next(1, |_| 1).map(|(_, request)| request.task.graph.0[0]), Some(7));
        assert_eq!(requests.workers, [WORKERS, 1, 0]);
    }

    #[test]
    fn of_one_task_as_many_requests_wait_as_packs_are_wanted_and_none_when_they_are_there() {
        let mut requests = Requests::new(3);
        assert_eq!([1, 2, 3].map(|consumer| requests.add(request(0, 1, consumer), 2)), [true; 3]);
        let consumers = |requests: &Requests| requests.waiting.iter().map(|r| r.consumer.0[0]).collect::<Vec<_>>();
        assert_eq!(consumers(&requests), [2, 3], "the newest");
        let (_, working) = requests.next(0, |_| 2).unwrap();
        assert_eq!(requests.next(0, |_| 2).map(|_| ()), None, "a task is refilled by one at a time");
        requests.done(&working);
        assert_eq!(requests.next(0, |_| 0).map(|_| ()), None);
        assert!(requests.waiting.is_empty() && requests.working.is_empty());
        assert_eq!(requests.workers, [1, 0, 0]);
    }
}
