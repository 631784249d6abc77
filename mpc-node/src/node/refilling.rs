//! Which packs are to be made ahead, for whom, and what is being made: see `ahead`.

use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::identity::PublicKey;
use crate::packs::PackKey;
use crate::wire::Asked;

/// Threads that have packs made ahead by one helper, each with one lane there: far fewer than a member may have.
const WORKERS: usize = 4;
/// Requests of one consumer that wait to be shown; the oldest make room.
const MOST_REQUESTS: usize = 64;

/// Packs that are to be made ahead.
pub(super) struct Refilling(Mutex<Requests>);

/// A consumer's request of a job that a helper is shown.
#[derive(Clone, Copy)]
pub(super) struct Request {
    pub(super) task: PackKey,
    pub(super) consumer: PublicKey,
    pub(super) asked: Asked,
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

    /// One more request, of which so many may wait for one task. Whether a further worker is to be started.
    pub(super) fn add(&self, request: Request, wanted: usize) -> bool {
        self.lock().add(request, wanted)
    }

    /// What a worker for this helper does next, and how many packs are missing. Without any, the worker ends.
    pub(super) fn next(&self, helper: u8, missing: impl Fn(&PackKey) -> u32) -> Option<(u32, Request)> {
        self.lock().next(helper, missing)
    }

    /// A worker is done with a request.
    pub(super) fn done(&self, request: &Request) {
        self.lock().done(request);
    }

    /// A worker for this helper could not be started.
    pub(super) fn not_started(&self, helper: u8) {
        self.lock().workers[usize::from(helper)] -= 1;
    }

    fn lock(&self) -> MutexGuard<'_, Requests> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
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
