//! Where both evaluators of a job meet before it is opened: nothing is used up for a job that only one of them was asked for.
//!
//! The second evaluator keeps a list of the jobs that consumers have asked it for. The first asks about a job with short
//! questions until the consumer and its input are there, holding neither a slot nor a pack meanwhile.

use std::collections::HashMap;
use std::sync::mpsc::{self, Sender};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::jobs::still_wanted;
use super::serve::{Ended, Refusal, Trouble, own, peer};
use super::state::Node;
use crate::identity::PublicKey;
use crate::lane::Lane;
use crate::meter::Traffic;
use crate::wire::{AskJob, FailCode, JobId, OpenJob, OpenReply, Presence, Run};

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
pub(super) struct Waiting(Mutex<HashMap<JobId, Waiter>>);

struct Waiter {
    run: Run,
    consumer: PublicKey,
    /// The first evaluator has asked about it.
    asked: bool,
    /// Where it is opened; present once the input is here.
    opened: Option<Sender<Opened>>,
}

impl Waiting {
    fn lock(&self) -> MutexGuard<'_, HashMap<JobId, Waiter>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A job on the list; off it when dropped.
pub(super) struct Registered<'a> {
    waiting: &'a Waiting,
    job: JobId,
}

impl<'a> Registered<'a> {
    /// A consumer has asked for the job; its input is on the way.
    pub(super) fn new(node: &'a Node, run: &Run, consumer: PublicKey) -> Result<Self, Refusal> {
        let mut jobs = node.waiting.lock();
        if jobs.contains_key(&run.job) {
            return Err(Refusal::new(FailCode::Refused, "a job of this name is waiting already"));
        }
        jobs.insert(run.job, Waiter { run: run.clone(), consumer, asked: false, opened: None });
        Ok(Self { waiting: &node.waiting, job: run.job })
    }

    /// The input is here: the job can be opened.
    pub(super) fn ready(&self) -> mpsc::Receiver<Opened> {
        let (sender, opened) = mpsc::channel();
        if let Some(waiter) = self.waiting.lock().get_mut(&self.job) {
            waiter.opened = Some(sender);
        }
        opened
    }

    /// Whether the first evaluator has asked about it.
    pub(super) fn was_asked(&self) -> bool {
        self.waiting.lock().get(&self.job).is_some_and(|waiter| waiter.asked)
    }
}

impl Drop for Registered<'_> {
    fn drop(&mut self) {
        self.waiting.lock().remove(&self.job);
    }
}

/// As the second evaluator: answers whether a job's consumer is here.
pub(super) fn answer(node: &Node, lane: &mut Lane, caller: Option<u8>, question: AskJob) -> Result<(), Trouble> {
    check_roles(node, caller, question.task.assignment)?;
    let presence = match node.waiting.lock().get_mut(&question.job) {
        Some(waiter) if waiter.run.task == question.task && waiter.consumer.0 == question.consumer => {
            waiter.asked = true;
            if waiter.opened.is_some() { Presence::Here } else { Presence::Coming }
        }
        _ => Presence::Unknown,
    };
    lane.send(&presence).map_err(own)
}

fn check_roles(node: &Node, caller: Option<u8>, assignment: crate::engine::Assignment) -> Result<(), Refusal> {
    let [first, second] = assignment.evaluators();
    if caller != Some(first) || node.index != second {
        let text = "only the first evaluator of the assignment opens jobs, with the second";
        return Err(Refusal::new(FailCode::Refused, text));
    }
    Ok(())
}

/// As the first evaluator: asks the second about the job once.
pub(super) fn ask(node: &Node, run: &Run, consumer: PublicKey) -> Result<Presence, Trouble> {
    let [_, second] = run.task.assignment.evaluators();
    let mut lane = node.peer_lane(second).map_err(peer)?;
    lane.begin("when asked whether the job's consumer is there", Traffic::Setup, node.config.timeouts.round());
    lane.send(&AskJob { job: run.job, task: run.task, consumer: consumer.0 }).map_err(peer)?;
    let presence = lane.receive().map_err(peer)?;
    node.put_back(second, lane);
    Ok(presence)
}

/// As the first evaluator: waits until the second has the consumer's input, too.
///
/// # Errors
/// When the consumer has not asked the second evaluator in time, or has given up.
pub(super) fn meet(node: &Node, consumer: &mut Lane, run: &Run) -> Result<(), Trouble> {
    let began = Instant::now();
    let timeouts = &node.config.timeouts;
    let mut pause = Duration::from_millis(1);
    loop {
        let label = || node.committee.label(run.task.assignment.evaluators()[1]);
        match ask(node, run, consumer.peer())? {
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
        if node.is_stopping() {
            return Err(Refusal::new(FailCode::Stopping, "this node is shutting down").into());
        }
        still_wanted(consumer)?;
        std::thread::sleep(pause);
        pause = (2 * pause).min(PAUSE);
    }
}

/// As the second evaluator: lends a lane on which the first opens a job to the thread of that job's consumer.
pub(super) fn lend(node: &Node, mut lane: Lane, caller: Option<u8>, payload: &[u8]) -> Result<Lane, Box<Ended>> {
    lane.enter("while the job was opened", Traffic::Online, node.config.timeouts.round());
    let open: OpenJob = match lane.decode(payload) {
        Ok(open) => open,
        Err(error) => return Err(Ended::new(Some(lane), own(error))),
    };
    if let Err(refusal) = check_roles(node, caller, open.task.assignment) {
        return Err(Ended::new(Some(lane), refusal));
    }
    let job = node.waiting.lock().get(&open.job).and_then(|waiter| waiter.opened.clone());
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
