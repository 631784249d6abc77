//! One lane from its greeting to its end: reads requests and answers them, from the seat in the committee that it greeted for.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use super::lanes::{Peer, Place};
use super::machine::Machine;
use super::refusal::{Ended, Refusal, Trouble, own};
use super::seat::Seat;
use crate::channel::SLOWEST;
use crate::lane::{Lane, LaneError};
use crate::meter::Traffic;
use crate::wire::{Caller, FailCode, Kind, Message};

/// Serves a lane in a thread of its own.
pub(super) fn start(seat: &Arc<Seat>, lane: Lane, peer: Peer, place: Place) {
    let seat = seat.clone();
    let name = format!("lane {}", peer.address);
    let serving = move || {
        let _span = seat.span().entered();
        let who = lane.who().to_owned();
        if let Err(error) = serve(&seat, lane, &peer, &place) {
            seat.machine.refused();
            tracing::info!(who, %error, "a connection ended");
        }
    };
    if let Err(error) = std::thread::Builder::new().name(name).spawn(serving) {
        tracing::error!(%error, "cannot start a thread");
    }
}

/// Counts a request being worked on.
struct Busy<'a>(&'a Machine);

impl<'a> Busy<'a> {
    fn new(machine: &'a Machine) -> Self {
        machine.busy.fetch_add(1, Ordering::Relaxed);
        Self(machine)
    }
}

impl Drop for Busy<'_> {
    fn drop(&mut self) {
        self.0.busy.fetch_sub(1, Ordering::Relaxed);
    }
}

fn serve(seat: &Arc<Seat>, mut lane: Lane, peer: &Peer, place: &Place) -> Result<(), LaneError> {
    let timeouts = &seat.machine.config.timeouts;
    let mut peer = *peer;
    // How long the asker may still take over its small answers; it has back as much as it leaves the lane at rest.
    let mut patience = timeouts.connect();
    loop {
        lane.limit(None);
        lane.pace(None);
        lane.begin("between requests", Traffic::Setup, timeouts.connect());
        let resting = Instant::now();
        if seat.machine.is_stopping()
            || !place.rest()
            || !matches!(
                lane.readable(if peer.caller == Caller::Stranger { timeouts.round() } else { timeouts.idle() }),
                Ok(true)
            )
            || !place.begin()
        {
            return Ok(());
        }
        patience = (patience + resting.elapsed()).min(timeouts.connect());
        lane.limit(Some(timeouts.connect()));
        let (kind, payload) = match lane.receive_request(peer.caller) {
            Ok(request) => request,
            Err(error) if error.is_stale() => return Ok(()),
            Err(error) => {
                lane.refuse(FailCode::Refused, &error.told());
                return Err(error);
            }
        };
        lane.limit(None);
        if peer.caller == Caller::Stranger && seat.machine.presenting.knows(&peer.key) {
            // It has shown a session, on this lane or on another.
            peer.caller = Caller::Consumer;
            place.is_known();
        }
        if peer.caller != Caller::Member {
            std::thread::sleep(seat.machine.quotas.request(peer.key, seat.machine.uptime()));
        }
        if matches!(kind, Kind::Run | Kind::AskJob | Kind::OpenJob) {
            seat.wait_until_stocked();
        }
        let small = has_small_answer(kind);
        lane.pace(small.then_some((patience, SLOWEST)));
        let busy = Busy::new(&seat.machine);
        let result = if seat.machine.is_stopping() {
            Err(Ended::new(Some(lane), Refusal::new(FailCode::Stopping, "this node is shutting down")))
        } else if peer.caller == Caller::Stranger
            && !matches!(kind, Kind::FindSharing | Kind::Present | Kind::AskSealing)
        {
            let text = "this node does not know your key: show a session of a licence that you have bought, first";
            Err(Ended::new(Some(lane), Refusal::new(FailCode::Unpresented, text)))
        } else {
            request(seat, lane, &peer, kind, &payload)
        };
        drop(busy);
        lane = match result {
            Ok(lane) => lane,
            Err(ended) => return end(seat, ended.lane, ended.trouble),
        };
        if small {
            patience = lane.pace_left().unwrap_or_default();
        }
    }
}

/// Whether a request has one answer, of no bulk data: the lane does not wait long for an asker that does not read it. The
/// others have their own time.
fn has_small_answer(kind: Kind) -> bool {
    let others = [Kind::Begin, Kind::ClientPart, Kind::Prepare, Kind::Deal, Kind::Run, Kind::OpenJob];
    // To prove a session or to sign a receipt others may be asked.
    !others.contains(&kind)
        && !matches!(kind, Kind::Present | Kind::Cosign | Kind::Again)
        && super::rounds::has_small_answer(kind)
}

fn end(seat: &Seat, lane: Option<Lane>, trouble: Trouble) -> Result<(), LaneError> {
    match (lane, trouble) {
        (Some(mut lane), Trouble::Refusal(refusal)) => {
            seat.machine.refused();
            let (code, why) = (refusal.code, refusal.why());
            tracing::warn!(to = lane.who(), ?code, text = %refusal.text, why, "a request failed");
            lane.refuse(code, &refusal.text);
            Ok(())
        }
        (None, Trouble::Refusal(refusal)) => {
            tracing::warn!(code = ?refusal.code, text = %refusal.text, why = refusal.why(), "a request failed");
            Ok(())
        }
        (Some(mut lane), Trouble::Lane(error)) => {
            lane.refuse(FailCode::Refused, &error.told());
            Err(error)
        }
        (None, Trouble::Lane(error)) => Err(error),
    }
}

/// Answers one request; gives the lane back for the next.
fn request(seat: &Arc<Seat>, mut lane: Lane, peer: &Peer, kind: Kind, payload: &[u8]) -> Result<Lane, Box<Ended>> {
    let caller = seat.committee.index_of(&peer.key);
    if kind == Kind::OpenJob {
        // The job's own thread borrows the lane.
        return super::meeting::lend(seat, lane, caller, payload);
    }
    let answered = match kind {
        Kind::Present => {
            lane_message(&lane, payload).and_then(|shown| super::paying::present(seat, &mut lane, peer, &shown))
        }
        _ => answer(seat, &mut lane, caller, kind, payload),
    };
    match answered {
        Ok(()) => Ok(lane),
        Err(trouble) => Err(Ended::new(Some(lane), trouble)),
    }
}

fn answer(seat: &Arc<Seat>, lane: &mut Lane, caller: Option<u8>, kind: Kind, payload: &[u8]) -> Result<(), Trouble> {
    match kind {
        Kind::Status => lane.send(&seat.status_for(caller.is_none().then(|| lane.peer()))).map_err(own),
        Kind::CountPacks => super::stock::count(seat, lane, caller, lane_message(lane, payload)?),
        Kind::Prepare => super::dealing::prepare(seat, lane, caller, lane_message(lane, payload)?),
        Kind::Deal => super::dealing::receive(seat, lane, caller, lane_message(lane, payload)?),
        Kind::HandBack => super::stock::take_back(seat, lane, caller, lane_message(lane, payload)?),
        Kind::Reclaim => super::stock::give_out(seat, lane, caller, lane_message(lane, payload)?),
        Kind::AskJob => super::meeting::answer(seat, lane, caller, lane_message(lane, payload)?),
        Kind::Run => super::jobs::run(seat, lane, lane_message(lane, payload)?),
        Kind::Again => super::paying::again(seat, lane, &lane_message(lane, payload)?),
        Kind::AskSession => super::paying::session(seat, lane, caller, &lane_message(lane, payload)?),
        Kind::Cosign => super::paying::cosign(seat, lane, caller, lane_message(lane, payload)?),
        Kind::AskSealing => super::paying::sealing(seat, lane),
        Kind::LastReceipt => super::paying::last(seat, lane, caller, &lane_message(lane, payload)?),
        other => super::sharings::answer(seat, lane, caller, other, payload)
            .or_else(|| super::rounds::answer(seat, lane, caller, other, payload))
            .unwrap_or_else(|| Err(own(lane.unexpected(other, payload.len())))),
    }
}

fn lane_message<M: Message>(lane: &Lane, payload: &[u8]) -> Result<M, Trouble> {
    lane.decode(payload).map_err(own)
}

#[cfg(test)]
mod tests;
