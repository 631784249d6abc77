//! A provider sends its share: once, in time, and signed together with what it sends to the other evaluator.

use std::time::Duration;

use super::super::open_rounds::{Contribution, Round, Stage};
use super::super::refusal::{Refusal, Trouble, own};
use super::super::seat::Seat;
use crate::channel::SLOWEST;
use crate::engine::EvaluatorRole;
use crate::identity::PublicKey;
use crate::lane::Lane;
use crate::meter::Traffic;
use crate::rounds::{contribution_digest, share_commitment};
use crate::wire::{Contribute, FailCode, Kind};

pub(super) fn contribute(seat: &Seat, lane: &mut Lane, sent: &Contribute) -> Result<(), Trouble> {
    let asker = lane.peer();
    let now = || seat.machine.uptime();
    let (place, role, len) = seat.rounds.of(&sent.round, &asker, now(), |round| {
        let place = takes(round, &asker, now())?;
        let role = round.role(seat.index).ok_or_else(|| {
            Refusal::new(FailCode::Refused, "this node is the helper of the round, not one of its evaluators")
        })?;
        let len = match role {
            EvaluatorRole::First => 32,
            EvaluatorRole::Second => round.terms.terms().vectors.share_bytes(),
        };
        // What was reserved for the round has room for one of each.
        if !round.coming.insert(place) {
            return Err(Refusal::new(FailCode::Busy, "this key is sending its share for the round on another lane"));
        }
        Ok((place, role, len))
    })?;
    let result = receive(seat, lane, sent, (place, role, len));
    if let Some(round) = seat.rounds.lock().get_mut(&sent.round) {
        round.coming.remove(&place);
    }
    result
}

fn receive(
    seat: &Seat,
    lane: &mut Lane,
    sent: &Contribute,
    (place, role, len): (u16, EvaluatorRole, usize),
) -> Result<(), Trouble> {
    let asker = lane.peer();
    let now = || seat.machine.uptime();
    let digest = contribution_digest(&sent.round, &asker, &sent.shares);
    if !asker.verifies(&digest, &sent.signature) {
        return Err(Refusal::new(FailCode::Refused, "the contribution is not signed by the key that sends it").into());
    }
    seat.machine.quotas.upload(asker, len as u64, now())?;
    let time = seat.machine.config.timeouts.request();
    lane.enter("while it sent its share", Traffic::Client, time);
    lane.pace(Some((time, SLOWEST)));
    lane.send_frame(Kind::GoOn, &[]).map_err(own)?;
    lane.receive_header_of(Kind::Vector, len).map_err(own)?;
    let share = lane.receive_payload(len).map_err(own)?;
    lane.pace(None);
    let commitment = share_commitment(&sent.round, &asker, role as u8, sent.salt.as_bytes(), &share);
    if commitment != sent.shares[role as usize] {
        return Err(Refusal::new(FailCode::Refused, "the share is not the one that the contribution names").into());
    }
    // The round may have been closed, or the provider have sent on another lane, while this came.
    seat.rounds.of(&sent.round, &asker, now(), |round| {
        takes(round, &asker, now())?;
        if let Stage::Open(contributions) = &mut round.stage {
            contributions.insert(place, Contribution { digest, share });
        }
        Ok(())
    })?;
    lane.send_frame(Kind::Done, &[]).map_err(own)
}

/// The asker's place, if the round still takes something from it.
fn takes(round: &Round, asker: &PublicKey, now: Duration) -> Result<u16, Refusal> {
    let refused = |text| Err(Refusal::new(FailCode::Refused, text));
    let terms = round.terms.terms();
    let Some(place) = terms.place_of(asker) else {
        return refused("this key is not one of the round's providers");
    };
    let Stage::Open(sent) = &round.stage else {
        return refused("the round is closed: it takes no contributions any more");
    };
    if sent.contains_key(&place) {
        return refused("this key has sent its share for the round already");
    }
    if now >= round.opened + Duration::from_secs(terms.seconds.into()) {
        return refused("the time for contributions to this round is over");
    }
    Ok(place)
}
