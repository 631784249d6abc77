//! A coordinator opens a round: everything that it will take is checked and reserved before anything of it is taken.

use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use super::super::refusal::{Refusal, Trouble, own};
use super::super::seat::Seat;
use super::super::slots::Slot;
use super::helping::Helping;
use super::{CLOSES_WITHIN, MOST_OF_ONE, MOST_ROUNDS, Round, Stage};
use crate::channel::SLOWEST;
use crate::engine::EvaluatorRole;
use crate::identity::PublicKey;
use crate::lane::Lane;
use crate::meter::Traffic;
use crate::rounds::{RoundTerms, SignedTerms, attachment_hash};
use crate::wire::{FailCode, Kind, OpenRound};

/// Bytes of a contribution's record beside its share.
const RECORD: u64 = 256;
/// Bytes of a round's record.
const ROUND: u64 = 128 << 10;
/// Of the memory of jobs, what all rounds together may have: one in so many.
const PART: u64 = 2;
/// Of that, what one coordinator's may have: one in so many.
const OF_ONE: u64 = 2;

pub(super) fn open(seat: &Seat, lane: &mut Lane, OpenRound(signed): OpenRound) -> Result<(), Trouble> {
    let (now, asker) = (seat.machine.uptime(), lane.peer());
    let terms = signed.terms();
    check(seat, &asker, terms)?;
    seat.rounds.expire(now);
    has_place(seat, &asker, &signed)?;
    let bytes = terms.attachment.0 as usize;
    seat.machine.quotas.upload(asker, bytes as u64, now)?;
    let (working, kept) = reserve(seat, asker, terms)?;

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
    // It may have been opened on another lane meanwhile.
    match seat.rounds.lock().entry(id) {
        Entry::Occupied(_) => return Err(is_known().into()),
        Entry::Vacant(place) => place.insert(round),
    };
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

/// Whether there may be another round: of what is over the oldest makes room.
fn has_place(seat: &Seat, asker: &PublicKey, signed: &SignedTerms) -> Result<(), Refusal> {
    let mut rounds = seat.rounds.lock();
    if rounds.contains_key(&signed.id()) {
        return Err(is_known());
    }
    let own = |round: &Round| round.terms.terms().coordinator == *asker;
    while rounds.values().filter(|round| own(round)).count() >= MOST_OF_ONE {
        let over = rounds.iter().filter(|(_, r)| own(r) && matches!(r.stage, Stage::Ended(_) | Stage::Failed(_)));
        let Some(id) = over.min_by_key(|(_, round)| round.opened).map(|(id, _)| *id) else {
            let text = format!("this key has {MOST_OF_ONE} rounds here that are not closed: close them first");
            return Err(Refusal::new(FailCode::Busy, text));
        };
        rounds.remove(&id);
    }
    if rounds.len() >= MOST_ROUNDS {
        return Err(Refusal::new(FailCode::Busy, "this node has as many rounds as it can, try again"));
    }
    Ok(())
}

fn is_known() -> Refusal {
    Refusal::new(FailCode::Refused, "this round is open already, or was: open one with a fresh name")
}

/// Memory for what providers send and for checking it, and for what stays.
fn reserve(seat: &Seat, asker: PublicKey, terms: &RoundTerms) -> Result<(Slot, Slot), Refusal> {
    let (working, kept) = memory(terms, terms.assignment.role(seat.index));
    let all = seat.machine.config.limits.job_megabytes << 20;
    let (taken, own) = taken(seat, &asker);
    let busy = |what: &str| {
        let megabytes = (working + kept).div_ceil(1 << 20);
        Refusal::new(FailCode::Busy, format!("the round takes {megabytes} MB of memory, {what} (limits.job_megabytes)"))
    };
    if working + kept > all / PART / OF_ONE {
        return Err(busy("more than this node has for one round: fewer providers, or a smaller dimension"));
    }
    if own + working + kept > all / PART / OF_ONE {
        return Err(busy("more than this key's other rounds leave: close them first"));
    }
    if taken + working + kept > all / PART {
        return Err(busy("more than other rounds leave: try again"));
    }
    let take = |bytes| {
        let now = Duration::ZERO;
        let slot = seat.job_memory.take_aside_while(asker, bytes, now, now, || Ok::<_, Refusal>(()))?;
        slot.ok_or_else(|| busy("more than is free right now: try again"))
    };
    Ok((take(working)?, take(kept)?))
}

/// Bytes that all rounds take, and those of one coordinator.
fn taken(seat: &Seat, coordinator: &PublicKey) -> (u64, u64) {
    let rounds = seat.rounds.lock();
    let sum = |own: bool| {
        let counted = rounds.values().filter(|round| !own || round.terms.terms().coordinator == *coordinator);
        counted.map(Round::memory).sum()
    };
    (sum(false), sum(true))
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

impl Round {
    fn memory(&self) -> u64 {
        let (working, kept) = memory(self.terms.terms(), Some(EvaluatorRole::Second));
        if self.working.is_some() { working + kept } else { kept }
    }
}
