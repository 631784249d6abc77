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

use std::sync::Arc;
use std::time::SystemTime;

use super::refilling::Request;
use super::refusal::Refusal;
use super::seat::Seat;
use crate::identity::PublicKey;
use crate::lane::LaneError;
use crate::meter::Traffic;
use crate::packs::PackKey;
use crate::records::NameError;
use crate::transcript::request_digest;
use crate::wire::{Asked, FailCode, Kind, Prepare};

/// As the first evaluator, after a job that its consumer asked for: has the helper make packs until `packs_ahead` are ready.
pub(super) fn refill(seat: &Arc<Seat>, task: PackKey, consumer: PublicKey, asked: Asked) {
    let wanted = seat.machine.config.packs_ahead;
    if seat.packs.count(&task) >= wanted || !seat.refilling.add(Request { task, consumer, asked }, wanted as usize) {
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
            thread_seat.refilling.done(&request);
        }
    };
    if let Err(error) = std::thread::Builder::new().name("packs ahead".into()).spawn(work) {
        tracing::error!(%error, "cannot start a thread");
        seat.refilling.not_started(helper);
    }
}

fn next(seat: &Seat, helper: u8) -> Option<(u32, Request)> {
    let missing = |task: &PackKey| match seat.machine.is_stopping() {
        true => 0,
        false => seat.machine.config.packs_ahead.saturating_sub(seat.packs.count(task)),
    };
    seat.refilling.next(helper, missing)
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
        Err(error) => Err(error.into()),
    }
}
