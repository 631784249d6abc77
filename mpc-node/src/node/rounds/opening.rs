//! A coordinator opens a round: everything that it will take is checked and reserved before anything of it is taken.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use super::super::open_rounds::{CLOSES_WITHIN, Full, Helping, MOST_OF_ONE, MOST_ROUNDS, Room, Round, Stage};
use super::super::refusal::{Refusal, Trouble, own};
use super::super::seat::Seat;
use crate::channel::SLOWEST;
use crate::engine::EvaluatorRole;
use crate::identity::PublicKey;
use crate::lane::Lane;
use crate::meter::Traffic;
use crate::rounds::{RoundId, RoundTerms, SignedTerms, attachment_hash};
use crate::wire::{FailCode, Kind, OpenRound};

/// Bytes of a contribution's record beside its share.
const RECORD: u64 = 256;
/// Bytes of a round's record.
const ROUND: u64 = 128 << 10;
/// How long an open round for which nobody has sent anything stays, when another needs its place.
const IDLE: Duration = Duration::from_secs(60);

pub(super) fn open(seat: &Seat, lane: &mut Lane, OpenRound(signed): OpenRound) -> Result<(), Trouble> {
    let (now, asker) = (seat.machine.uptime(), lane.peer());
    let terms = signed.terms();
    check(seat, &asker, terms)?;
    seat.rounds.expire(now);
    let (working, kept) = hold(seat, &signed, now)?;
    let bytes = terms.attachment.0 as usize;
    seat.machine.quotas.upload(asker, bytes as u64, now)?;

    let time = seat.machine.config.timeouts.request();
    lane.enter("while it sent the attachment of a round", Traffic::Setup, time);
    lane.pace(Some((time, SLOWEST)));
    lane.send_frame(Kind::GoOn, &[]).map_err(own)?;
    let attachment = lane.receive_stream(bytes).map_err(own)?;
    lane.pace(None);
    if attachment_hash(&attachment) != terms.attachment.1 {
        return Err(Refusal::new(FailCode::Refused, "the attachment is not the one that the terms name").into());
    }
    let opened = seat.machine.uptime();
    let (id, providers, seconds) = (signed.id(), terms.providers.len(), terms.seconds);
    let round = Round {
        forgotten: opened + Duration::from_secs(seconds.into()) + CLOSES_WITHIN,
        terms: Arc::new(signed),
        attachment: Arc::new(attachment),
        opened,
        stage: Stage::Open(BTreeMap::new()),
        coming: BTreeSet::new(),
        helping: Helping::default(),
        working: Some(working),
        _kept: kept,
    };
    insert(&mut seat.rounds.lock(), id, round)?;
    tracing::info!(round = %id, coordinator = %asker, providers, seconds, "a round is open");
    lane.send_frame(Kind::Done, &[]).map_err(own)
}

fn check(seat: &Seat, asker: &PublicKey, terms: &RoundTerms) -> Result<(), Refusal> {
    let refused = |text| Err(Refusal::new(FailCode::Refused, text));
    if terms.coordinator != *asker {
        return refused("a round is opened by the key that its terms name as coordinator");
    }
    if terms.committee != seat.digest {
        return refused("the terms of the round name another committee than this lane's");
    }
    // A member of the committee would see what it adds up.
    if terms.providers.iter().any(|key| seat.committee.index_of(key).is_some()) {
        return refused("a node of the committee cannot be a provider of its rounds");
    }
    Ok(())
}

type Open = HashMap<RoundId, Round>;

/// Holds a place and memory for what providers send and for checking it, and memory for what stays.
pub(super) fn hold(seat: &Seat, signed: &SignedTerms, now: Duration) -> Result<(Room, Room), Refusal> {
    let (terms, coordinator) = (signed.terms(), signed.terms().coordinator);
    let (working, kept) = memory(terms, terms.assignment.role(seat.index));
    let busy = |what: &str| {
        let megabytes = (working + kept).div_ceil(1 << 20);
        Refusal::new(FailCode::Busy, format!("the round takes {megabytes} MB of memory, {what} (limits.job_megabytes)"))
    };
    let places = &seat.machine.rounds;
    let mut rounds = seat.rounds.lock();
    if rounds.contains_key(&signed.id()) {
        return Err(is_known());
    }
    let (open, after) = loop {
        match places.take(coordinator, working, kept) {
            Ok(places) => break places,
            Err(Full::Round) => {
                return Err(busy("more than this node has for one round: fewer providers, or a smaller dimension"));
            }
            Err(Full::Own) if gives_way(&mut rounds, Some(&coordinator), now) => {}
            Err(Full::Own) => {
                return Err(busy(
                    "and this key may have eight rounds that are not closed, in half of what there is: close some first",
                ));
            }
            Err(Full::All) if gives_way(&mut rounds, None, now) => {}
            Err(Full::All) => return Err(busy("more than other rounds leave: try again")),
        }
    };
    drop(rounds);
    let take = |bytes| {
        let now = Duration::ZERO;
        let slot = seat.job_memory.take_aside_while(coordinator, bytes, now, now, || Ok::<_, Refusal>(()))?;
        slot.ok_or_else(|| busy("more than is free right now: try again"))
    };
    Ok((Room { _memory: take(working)?, _place: open }, Room { _memory: take(kept)?, _place: after }))
}

/// Forgets a round for another one: the oldest of a coordinator that is over, or of all that are, else the oldest that has been
/// open for a while and for which nobody has sent anything. Whether there was one.
fn gives_way(rounds: &mut Open, of: Option<&PublicKey>, now: Duration) -> bool {
    let oldest = |among: &dyn Fn(&Round) -> bool| {
        let among = rounds.iter().filter(|(_, round)| among(round));
        among.min_by_key(|(_, round)| round.opened).map(|(id, _)| *id)
    };
    let own = |round: &Round| of.is_none_or(|key| round.terms.terms().coordinator == *key);
    let idle = |round: &Round| match &round.stage {
        Stage::Open(sent) => of.is_none() && sent.is_empty() && round.coming.is_empty() && now >= round.opened + IDLE,
        _ => false,
    };
    let found = oldest(&|round| own(round) && round.is_over()).or_else(|| oldest(&idle));
    found.is_some_and(|id| rounds.remove(&id).is_some())
}

/// It may have been opened on another lane meanwhile. Of what is over the oldest makes room.
fn insert(rounds: &mut Open, id: RoundId, round: Round) -> Result<(), Refusal> {
    if rounds.contains_key(&id) {
        return Err(is_known());
    }
    let coordinator = round.terms.terms().coordinator;
    let own = |rounds: &Open| rounds.values().filter(|known| known.terms.terms().coordinator == coordinator).count();
    while own(rounds) >= MOST_OF_ONE && gives_way(rounds, Some(&coordinator), round.opened) {}
    while rounds.len() >= MOST_ROUNDS && gives_way(rounds, None, round.opened) {}
    if rounds.len() >= MOST_ROUNDS {
        return Err(Refusal::new(FailCode::Busy, "this node has as many rounds as it can, try again"));
    }
    rounds.insert(id, round);
    Ok(())
}

fn is_known() -> Refusal {
    Refusal::new(FailCode::Refused, "this round is open already, or was: open one with a fresh name")
}

/// Bytes that a round takes until it ends, and as long as it is remembered.
fn memory(terms: &RoundTerms, role: Option<EvaluatorRole>) -> (u64, u64) {
    let (vectors, count) = (&terms.vectors, terms.providers.len());
    let words = vectors.dimension() as u64;
    let checks = vectors.check_memory(vectors.at_a_time().min(count));
    let working = match role {
        Some(EvaluatorRole::First) => count as u64 * (RECORD + 32) + checks + 32 * words,
        Some(EvaluatorRole::Second) => count as u64 * (RECORD + vectors.share_bytes() as u64) + checks + 32 * words,
        None => checks + 32 * words,
    };
    (working, u64::from(terms.attachment.0) + 4 * words + ROUND)
}
