//! Requests about rounds. A round is at each of three nodes by itself. Whoever opens it reserves what it takes, before anything is
//! sent; whoever is named in it sends once; the first evaluator closes it with the second (`closing`), and both ask the helper
//! (`helping`).

mod closing;
mod contributing;
mod helping;
mod opening;
#[cfg(test)]
mod tests;

use std::time::Duration;

use super::open_rounds::Stage;
use super::patience::still_there;
use super::refusal::{Refusal, Trouble, own};
use super::seat::Seat;
use super::slots::{GLANCE, Slot};
use crate::lane::Lane;
use crate::rounds::{RoundId, SignedTerms};
use crate::wire::{AbandonRound, FailCode, FetchRound, Kind, Message, RoundList, RoundReply, RoundStage, ShowRound};

/// Bytes of an answer for which a lane has memory by itself.
const SMALL: usize = 256 << 10;

/// Answers requests about rounds; `None` when it is another kind of request.
pub(super) fn answer(
    seat: &Seat,
    lane: &mut Lane,
    caller: Option<u8>,
    kind: Kind,
    payload: &[u8],
) -> Option<Result<(), Trouble>> {
    Some(match kind {
        Kind::OpenRound => message(lane, payload).and_then(|open| opening::open(seat, lane, open)),
        Kind::ListRounds => list(seat, lane),
        Kind::ShowRound => message(lane, payload).and_then(|which| show(seat, lane, which)),
        Kind::Contribute => message(lane, payload).and_then(|sent| contributing::contribute(seat, lane, &sent)),
        Kind::CloseRound => message(lane, payload).and_then(|close| closing::close(seat, lane, close)),
        Kind::FetchRound => message(lane, payload).and_then(|which| fetch(seat, lane, which)),
        Kind::AbandonRound => message(lane, payload).and_then(|which| abandon(seat, lane, which)),
        Kind::JoinRound => message(lane, payload).and_then(|join| closing::join(seat, lane, caller, &join)),
        Kind::DealRound => message(lane, payload).and_then(|ask| helping::deal(seat, lane, caller, ask)),
        _ => return None,
    })
}

/// Whether a request about rounds has a small answer, and nothing to read for it.
pub(super) fn has_small_answer(kind: Kind) -> bool {
    use Kind::{CloseRound, Contribute, DealRound, FetchRound, JoinRound, OpenRound, ShowRound};
    !matches!(kind, OpenRound | ShowRound | Contribute | CloseRound | FetchRound | JoinRound | DealRound)
}

fn message<M: Message>(lane: &Lane, payload: &[u8]) -> Result<M, Trouble> {
    lane.decode(payload).map_err(own)
}

fn list(seat: &Seat, lane: &mut Lane) -> Result<(), Trouble> {
    let (now, asker) = (seat.machine.uptime(), lane.peer());
    seat.rounds.expire(now);
    let mut found: Vec<(Duration, RoundId, RoundStage)> = {
        let rounds = seat.rounds.lock();
        let concern = rounds.iter().filter(|(_, round)| round.concerns(&asker));
        concern.map(|(id, round)| (round.opened, *id, round.stage())).collect()
    };
    found.sort_unstable_by_key(|(opened, id, _)| (*opened, *id));
    let list = found.into_iter().map(|(_, id, stage)| (id, stage)).collect();
    lane.send(&RoundList(list)).map_err(own)
}

fn show(seat: &Seat, lane: &mut Lane, which: ShowRound) -> Result<(), Trouble> {
    let (now, asker) = (seat.machine.uptime(), lane.peer());
    let (reply, attachment) = seat.rounds.of(&which.round, &asker, now, |round| {
        let place = round.terms.terms().place_of(&asker);
        let (contributed, own) = match &round.stage {
            Stage::Open(sent) => (sent.len(), place.is_some_and(|place| sent.contains_key(&place))),
            _ => (0, false),
        };
        let terms = SignedTerms::clone(&round.terms);
        let reply = RoundReply { terms, stage: round.stage(), contributed: contributed as u32, own };
        Ok((reply, which.attachment.then(|| round.attachment.clone())))
    })?;
    let _room = bulk(seat, lane, attachment.as_ref().map_or(0, |bytes| bytes.len()))?;
    lane.send(&reply).map_err(own)?;
    if let Some(attachment) = attachment {
        lane.send_stream(&attachment).map_err(own)?;
    }
    lane.pace(None);
    Ok(())
}

fn abandon(seat: &Seat, lane: &mut Lane, AbandonRound(id): AbandonRound) -> Result<(), Trouble> {
    let (now, asker) = (seat.machine.uptime(), lane.peer());
    seat.rounds.of(&id, &asker, now, |round| {
        if round.terms.terms().coordinator != asker {
            return Err(Refusal::new(FailCode::Refused, "only its coordinator gives a round up"));
        }
        match (&round.stage, round.role(seat.index)) {
            // Nobody works on it: at the helper a round has no thread of its own.
            (Stage::Open(_), _) | (Stage::Closing, None) => {
                round.ends(Stage::Failed("its coordinator gave it up".into()), now);
                Ok(())
            }
            (Stage::Closing, Some(_)) => Err(Refusal::new(FailCode::Busy, "the round is being closed")),
            (Stage::Ended(_) | Stage::Failed(_) | Stage::Helped, _) => Ok(()),
        }
    })?;
    lane.send_frame(Kind::Done, &[]).map_err(own)
}

fn fetch(seat: &Seat, lane: &mut Lane, FetchRound(id): FetchRound) -> Result<(), Trouble> {
    let (now, asker) = (seat.machine.uptime(), lane.peer());
    let result = seat.rounds.of(&id, &asker, now, |round| round.result())?;
    let _room = bulk(seat, lane, 4 * result.sum.len())?;
    lane.send(&*result).map_err(own)?;
    lane.pace(None);
    Ok(())
}

/// Whoever reads slowly has the time of a request, what is sent counts as fetched, and the bytes of an answer take memory.
fn bulk(seat: &Seat, lane: &mut Lane, bytes: usize) -> Result<Option<Slot>, Trouble> {
    let (asker, time) = (lane.peer(), seat.machine.config.timeouts.request());
    seat.machine.quotas.download(asker, asker, bytes as u64, seat.machine.uptime())?;
    lane.pace(Some((time, crate::channel::SLOWEST)));
    if bytes <= SMALL {
        return Ok(None);
    }
    // As they are written, and as they are sent.
    let room = seat.job_memory.take_aside_while(asker, 2 * bytes as u64, time, GLANCE, || still_there(lane))?;
    let busy = || Refusal::new(FailCode::Busy, "this node has no memory for the answer right now, try again");
    room.map(Some).ok_or_else(|| busy().into())
}
