//! The receipt of a paid job, between its last round and its answer: the first evaluator draws it up, both sign, then the helper
//! does, and each keeps it. Nobody lets its half of the answer go before it has all three signatures on its disk, so an answer
//! exists only where the claim to its price does; and whoever withholds a signature costs everybody that job, and no money.

use std::time::Duration;

use super::super::paying::{Accepted, ask_last, caught_up_once, complete};
use super::super::refusal::{Refusal, Trouble, peer};
use super::super::seat::Seat;
use crate::engine::{Assignment, EvaluatorRole};
use crate::lane::{Lane, LaneError};
use crate::market::{Complete, JobEnd};
use crate::meter::Traffic;
use crate::wire::{Asked, Completed, Cosign, Cosigned, Draft, FailCode};

/// How often the helper is asked for one signature: it may have given it on a lane that broke.
const ATTEMPTS: u32 = 2;
/// What the second evaluator waits longer than the first may wait for the helper.
const LONGER: Duration = Duration::from_secs(5);

/// Gets the receipt of an accepted order signed by all, with the other evaluator at the other end of `lane`, and keeps it. And the
/// receipt, if this node has signed it: it may become complete all the same.
///
/// # Errors
/// When somebody does not sign, which is named.
pub(super) fn sign(
    seat: &Seat,
    lane: &mut Lane,
    role: EvaluatorRole,
    accepted: &mut Accepted,
    asked: Asked,
    end: &JobEnd,
) -> (Option<Vec<u8>>, Result<Complete, Trouble>) {
    let mut receipt = None;
    let signed = match role {
        EvaluatorRole::First => as_first(seat, lane, accepted, (asked, end), &mut receipt),
        EvaluatorRole::Second => as_second(seat, lane, accepted, end, &mut receipt),
    };
    (receipt, signed)
}

fn as_first(
    seat: &Seat,
    lane: &mut Lane,
    accepted: &mut Accepted,
    (asked, end): (Asked, &JobEnd),
    signed: &mut Option<Vec<u8>>,
) -> Result<Complete, Trouble> {
    let round = seat.machine.config.timeouts.round();
    let assignment = accepted.order().task.assignment;
    let (receipt, digest) = caught_up_once(seat, accepted, || {
        let receipt = accepted.market().draw_up(accepted.order(), end)?;
        let digest = accepted.market().judge(accepted.order(), Some(end), &receipt)?;
        Ok((receipt, digest))
    })?;
    let own = seat.machine.identity.sign(&digest);
    *signed = Some(receipt.clone());
    lane.begin("when asked to sign the job's receipt", Traffic::Online, round);
    lane.send(&Draft { receipt: receipt.clone(), signature: own }).map_err(peer)?;
    let Cosigned(second) = lane.receive().map_err(peer)?;
    check(seat, assignment, 1, &digest, &second)?;
    let order = accepted.order();
    let request = Cosign {
        task: order.task,
        consumer: order.asker,
        asked,
        voucher: order.voucher.clone(),
        receipt,
        signatures: [own, second],
    };
    let third = match ask_helper(seat, assignment.helper(), &request) {
        Ok(third) => third,
        // It may have signed, and not have been heard.
        Err(trouble) => helpers(seat, assignment, accepted, &request.receipt).ok_or(trouble)?,
    };
    check(seat, assignment, 2, &digest, &third)?;
    let complete = complete(assignment.evaluators(), assignment.helper(), request.receipt, request.signatures, third);
    accepted.complete(&complete)?;
    // What is on this node's disk is signed by all, whether or not the other one hears of it from here.
    if let Err(error) = lane.send(&Completed(third)) {
        tracing::info!(%error, "the other evaluator does not hear that the receipt is complete");
    }
    Ok(complete)
}

fn as_second(
    seat: &Seat,
    lane: &mut Lane,
    accepted: &mut Accepted,
    end: &JobEnd,
    signed: &mut Option<Vec<u8>>,
) -> Result<Complete, Trouble> {
    let round = seat.machine.config.timeouts.round();
    let assignment = accepted.order().task.assignment;
    lane.enter("while it drew up the job's receipt", Traffic::Online, round);
    let Draft { receipt, signature: first } = lane.receive().map_err(peer)?;
    // The first evaluator may have another last receipt, which counts as well.
    let judge = || accepted.market().judge(accepted.order(), Some(end), &receipt);
    let digest = caught_up_once(seat, accepted, judge)?;
    check(seat, assignment, 0, &digest, &first)?;
    let own = seat.machine.identity.sign(&digest);
    *signed = Some(receipt.clone());
    lane.send(&Cosigned(own)).map_err(peer)?;
    let longest = (round + seat.machine.config.timeouts.connect()) * ATTEMPTS + LONGER;
    lane.enter("while the helper signed the job's receipt", Traffic::Online, longest);
    let third = match lane.receive() {
        Ok(Completed(third)) => third,
        // It may be complete all the same: the helper has it, then.
        Err(error) => helpers(seat, assignment, accepted, &receipt).ok_or_else(|| peer(error))?,
    };
    check(seat, assignment, 2, &digest, &third)?;
    let complete = complete(assignment.evaluators(), assignment.helper(), receipt, [first, own], third);
    accepted.complete(&complete)?;
    Ok(complete)
}

/// The helper's signature on this receipt, if it has a complete one. Another one that it has is learnt: what it refuses may be spent.
fn helpers(seat: &Seat, assignment: Assignment, accepted: &Accepted, receipt: &[u8]) -> Option<[u8; 64]> {
    let last = ask_last(seat, assignment.helper(), accepted.order()).ok()??;
    if last.receipt == receipt {
        return last.signatures.get(usize::from(assignment.helper())).copied();
    }
    let order = accepted.order();
    if let Err(error) = accepted.market().learn(&order.place, &order.asker, &last) {
        tracing::warn!(%error, "the helper's last receipt is not one");
    }
    None
}

/// The helper's signature. One whose lane breaks is asked once more: the same receipt is signed the same.
fn ask_helper(seat: &Seat, helper: u8, request: &Cosign) -> Result<[u8; 64], Trouble> {
    let ask = || -> Result<[u8; 64], LaneError> {
        let mut lane = seat.peer_lane(helper)?;
        lane.begin("when asked to sign the job's receipt", Traffic::Online, seat.machine.config.timeouts.round());
        lane.send(request)?;
        let Cosigned(signature) = lane.receive()?;
        seat.put_back(helper, lane);
        Ok(signature)
    };
    let mut attempt = 1;
    loop {
        match ask() {
            Ok(signature) => {
                seat.answers(helper, true);
                return Ok(signature);
            }
            Err(error) if error.fail().is_none() && attempt < ATTEMPTS => attempt += 1,
            Err(error) => {
                seat.answers(helper, error.fail().is_some());
                return Err(peer(error));
            }
        }
    }
}

/// Whether the first (0) or second evaluator or the helper (2) has signed the receipt.
fn check(
    seat: &Seat,
    assignment: Assignment,
    who: usize,
    digest: &[u8; 32],
    signature: &[u8; 64],
) -> Result<(), Refusal> {
    let [first, second] = assignment.evaluators();
    let index = [first, second, assignment.helper()][who];
    let signed = seat.committee.member(index).is_some_and(|member| member.key.verifies(digest, signature));
    match signed {
        true => Ok(()),
        false => {
            let text = format!("{} did not sign the receipt of the job", seat.committee.label(index));
            Err(Refusal::new(FailCode::Peer, text))
        }
    }
}
