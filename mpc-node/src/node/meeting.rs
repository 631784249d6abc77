//! Where both evaluators of a job meet before it is opened: nothing is used up for a job that only one of them was asked for.
//!
//! The second evaluator keeps a list of the jobs that consumers have asked it for. The first asks about a job with short
//! questions until the consumer and its input are there, holding neither a slot nor a pack meanwhile.

use std::sync::mpsc;
use std::time::{Duration, Instant};

use super::patience::{still_there, still_wanted};
use super::refusal::{Ended, Refusal, Trouble, own, peer};
use super::seat::Seat;
use super::waiting::OpenedJob;
use crate::engine::Assignment;
use crate::identity::PublicKey;
use crate::lane::Lane;
use crate::meter::Traffic;
use crate::wire::{AskJob, FailCode, OpenJob, OpenReply, Presence, Run};

/// Longest pause between two questions about a job.
const PAUSE: Duration = Duration::from_millis(40);

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
    let (job, task, paid_with) = (run.job, run.task, run.paid_with());
    lane.send(&AskJob { job, task, consumer: consumer.0, paid_with }).map_err(peer)?;
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
        Some(job) => job.send(OpenedJob { lane, open, give_back }).map_err(|mpsc::SendError(opened)| opened.lane),
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
