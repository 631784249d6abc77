//! Unused packs across a restart: an evaluator that stops hands their names back to the helpers, one that starts reclaims
//! them, and a helper gives each name out once (see [`crate::packs`]).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::refusal::{Refusal, Trouble, own};
use super::seat::Seat;
use crate::lane::{Lane, LaneError};
use crate::meter::Traffic;
use crate::packs::{PackError, PackHeader, Purpose};
use crate::wire::{
    CountPacks, FailCode, HandBack, Incarnation, Kind, MAX_NAMES, PackCount, PackId, PackNames, Reclaim, Reclaimed,
};

/// How long a starting evaluator looks for a helper that does not answer yet.
const PATIENCE: Duration = Duration::from_secs(600);
/// Between two attempts.
const PAUSE: Duration = Duration::from_secs(1);

/// As an evaluator that stops: [`hand_back`] for each seat, at the same time.
pub(super) fn hand_back_all(seats: &[Arc<Seat>]) -> Result<usize, PackError> {
    std::thread::scope(|scope| {
        let hand_back = |seat: &'_ Arc<Seat>| {
            let seat = seat.clone();
            scope.spawn(move || {
                let _span = seat.span().entered();
                hand_back(&seat)
            })
        };
        let threads: Vec<_> = seats.iter().map(hand_back).collect();
        threads.into_iter().try_fold(0, |sum, thread| match thread.join() {
            Ok(spilled) => Ok(sum + spilled?),
            Err(_) => {
                tracing::error!("internal: a thread that hands packs back died");
                Ok(sum)
            }
        })
    })
}

/// As an evaluator that stops: hands back the names of unused packs and writes those to disk that were taken back. Gives
/// the number of packs written.
fn hand_back(seat: &Seat) -> Result<usize, PackError> {
    let mut kept: BTreeSet<PackId> = BTreeSet::new();
    for ((helper, incarnation), packs) in by_helper(&seat.packs.close()) {
        for packs in packs.chunks(MAX_NAMES) {
            let packs: Vec<PackId> = packs.iter().map(|header| header.id).collect();
            let names = PackNames { incarnation, packs: packs.clone() };
            let give = |lane: &mut Lane| lane.send(&HandBack(names)).and_then(|()| lane.receive_frame(Kind::Done));
            match seat.peer_lane(helper).and_then(|lane| on_lane(seat, helper, lane, give)) {
                Ok(_) => kept.extend(packs),
                Err(error) => tracing::info!(%error, packs = packs.len(), "unused packs are destroyed"),
            }
        }
    }
    seat.packs.spill(|header| kept.contains(&header.id))
}

/// As an evaluator that starts: reclaims the packs found on disk from those helpers that answer at once; the others are
/// asked again in a thread of its own.
pub(super) fn reclaim(seat: &Arc<Seat>, found: &[PackHeader]) {
    let mut later = Vec::new();
    for ((helper, incarnation), packs) in by_helper(found) {
        for packs in packs.chunks(MAX_NAMES) {
            if !try_reclaim(seat, helper, incarnation, packs) {
                later.push((helper, incarnation, packs.to_vec()));
            }
        }
    }
    if later.is_empty() {
        return;
    }
    let thread_seat = seat.clone();
    let work = move || {
        let _span = thread_seat.span().entered();
        let end = Instant::now() + PATIENCE;
        while !later.is_empty() && !thread_seat.machine.is_stopping() {
            std::thread::sleep(PAUSE);
            later.retain(|(helper, incarnation, packs)| !try_reclaim(&thread_seat, *helper, *incarnation, packs));
            if Instant::now() >= end {
                later.drain(..).for_each(|(.., packs)| discard(&thread_seat, &packs));
            }
        }
    };
    if let Err(error) = std::thread::Builder::new().name("packs reclaimed".into()).spawn(work) {
        tracing::error!(%error, "cannot start a thread");
    }
}

/// Asks a helper for the names of packs; false if it cannot be reached, and so was not asked.
fn try_reclaim(seat: &Seat, helper: u8, incarnation: Incarnation, found: &[PackHeader]) -> bool {
    let Ok(lane) = seat.peer_lane(helper) else { return false };
    let claim = Reclaim(PackNames { incarnation, packs: found.iter().map(|header| header.id).collect() });
    let answer = on_lane(seat, helper, lane, |lane| lane.send(&claim).and_then(|()| lane.receive::<Reclaimed>()));
    let granted = match answer {
        Ok(Reclaimed(granted)) => granted.packs,
        Err(error) => {
            tracing::warn!(%error, "packs on disk could not be reclaimed");
            Vec::new()
        }
    };
    let (back, gone): (Vec<PackHeader>, Vec<PackHeader>) = found.iter().partition(|h| granted.contains(&h.id));
    discard(seat, &gone);
    let purpose = Purpose { asked_by: seat.machine.identity.public(), job: None };
    seat.packs.readmit(&back, purpose, Instant::now());
    if let Err(error) = seat.packs.retain(|task| seat.models.is_current(&task.manifest)) {
        tracing::warn!(%error, "packs of replaced models could not be destroyed");
    }
    tracing::info!(packs = back.len(), destroyed = gone.len(), "packs reclaimed from disk");
    true
}

fn discard(seat: &Seat, packs: &[PackHeader]) {
    if let Err(error) = seat.packs.discard(packs) {
        tracing::warn!(%error, "packs that are void could not be destroyed");
    }
}

fn on_lane<R>(
    seat: &Seat,
    helper: u8,
    mut lane: Lane,
    work: impl FnOnce(&mut Lane) -> Result<R, LaneError>,
) -> Result<R, LaneError> {
    lane.begin("when asked about unused packs", Traffic::Setup, seat.machine.config.timeouts.connect());
    let answer = work(&mut lane)?;
    seat.put_back(helper, lane);
    Ok(answer)
}

fn by_helper(packs: &[PackHeader]) -> BTreeMap<(u8, Incarnation), Vec<PackHeader>> {
    let mut sorted: BTreeMap<_, Vec<PackHeader>> = BTreeMap::new();
    for header in packs {
        sorted.entry((header.key.assignment.helper(), header.incarnation)).or_default().push(*header);
    }
    sorted
}

/// As the helper: takes names back.
pub(super) fn take_back(seat: &Seat, lane: &mut Lane, caller: Option<u8>, message: HandBack) -> Result<(), Trouble> {
    let evaluator = member(caller)?;
    let HandBack(PackNames { incarnation, packs }) = message;
    if incarnation != seat.deposits.incarnation() {
        return Err(Refusal::new(FailCode::Refused, "these packs were dealt before this node was started").into());
    }
    let taken = seat.deposits.hand_back(evaluator, incarnation, &packs);
    tracing::info!(from = lane.who(), packs = taken, "unused packs handed back");
    lane.send_frame(Kind::Done, &[]).map_err(own)
}

/// As the helper: gives names out again, each once.
pub(super) fn give_out(seat: &Seat, lane: &mut Lane, caller: Option<u8>, message: Reclaim) -> Result<(), Trouble> {
    let evaluator = member(caller)?;
    let Reclaim(PackNames { incarnation, packs }) = message;
    let packs = seat.deposits.reclaim(evaluator, incarnation, &packs);
    lane.send(&Reclaimed(PackNames { incarnation, packs })).map_err(own)
}

/// As an evaluator: says how many packs are ready for a task, to a consumer that may use it for its next job.
pub(super) fn count(seat: &Seat, lane: &mut Lane, caller: Option<u8>, question: CountPacks) -> Result<(), Trouble> {
    let CountPacks(task) = question;
    let asker = lane.peer();
    let count = match caller {
        Some(_) => seat.packs.count(&task),
        None if seat.models.admits(&task.manifest, &asker) => seat.packs.count_for(&task, asker, Instant::now()),
        None => 0,
    };
    lane.send(&PackCount(count)).map_err(own)
}

fn member(caller: Option<u8>) -> Result<u8, Refusal> {
    caller.ok_or_else(|| Refusal::new(FailCode::Refused, "only nodes of the committee hold packs"))
}
