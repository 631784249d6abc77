//! Preprocessing: the helper deals packs, the evaluators prepare and keep them.
//!
//! Nothing is dealt before both evaluators have said that they hold the model and have room. Corrections are streamed as
//! they are computed, a chunk at a time, so the helper's memory stays bounded and a slow evaluator slows the helper down.
//! The first evaluator keeps its half before the second: whatever the second holds, the first holds too or has used, so a
//! half without its twin is found when a job is opened.

use std::sync::atomic::Ordering;
use std::time::{Instant, SystemTime};

use zeroize::Zeroizing;

use super::ahead;
use super::patience::{model, patiently, slot, slot_of, still_wanted};
use super::quota::Payer;
use super::refusal::{Refusal, Trouble, no_random, own, peer};
use super::seat::Seat;
use crate::channel::SLOWEST;
use crate::engine::{
    CHUNK_BYTES, Dealing, EvaluatorRole, PackContents, Plan, Seed, WeightMaterial, prepare as prepare_pack, random_seed,
};
use crate::identity::PublicKey;
use crate::lane::Lane;
use crate::market::Place;
use crate::meter::{Traffic, thread_cpu_time};
use crate::packs::{PackHeader, Purpose};
use crate::transcript::{CorrectionsHash, DealtRecord, PackSeal, SignedSeal, seed_commitment};
use crate::wire::{CHUNK, Deal, FailCode, Kind, PackId, Prepare, Progress};

/// Frames of corrections are full, but for the last.
const _: () = assert!(CHUNK.is_multiple_of(CHUNK_BYTES));

/// As the helper: deals packs one after the other and reports each.
pub(super) fn prepare(seat: &Seat, lane: &mut Lane, caller: Option<u8>, request: Prepare) -> Result<(), Trouble> {
    let task = request.task;
    // Before anything else: what a stranger asks in another's name must not tell it whom an owner has let in.
    let is_own = request.consumer == lane.peer();
    let asked = if is_own { None } else { Some(ahead::shown(seat, caller, &request)?) };
    if task.assignment.helper() != seat.index {
        let text = format!("this node is not the helper of assignment {}", task.assignment.helper() + 1);
        return Err(Refusal::new(FailCode::Refused, text).into());
    }
    if request.job.is_some() && request.count != 1 {
        return Err(Refusal::new(FailCode::Refused, "one pack is made for a job, not more").into());
    }
    if request.count == 0 || request.count > seat.machine.config.limits.packs {
        let text =
            format!("{} packs were asked for, from 1 to {} can be", request.count, seat.machine.config.limits.packs);
        return Err(Refusal::new(FailCode::Refused, text).into());
    }
    let patience = seat.machine.config.timeouts.request();
    // It is done for this key, and counts as that key's: a member that works ahead shows that this key has asked.
    let payer = request.consumer;
    let (cost, place) = patiently(seat, payer, lane, patience, |leave| {
        let permit = seat.models.permit(&task, &payer, leave)?;
        Ok((permit.plan()?.1, permit.place().cloned()))
    })?;
    let mut total = asked.map_or(Ok(request.count), |asked| ahead::granted(seat, &request, &asked))?;
    if place.is_some() {
        let calls = calls_left(seat, &payer);
        // Who works ahead does not know what is left; who asks for itself is told.
        match asked {
            Some(_) => total = total.min(u32::try_from(calls).unwrap_or(u32::MAX)),
            None if u64::from(total) <= calls => {}
            None => {
                let text = format!("{total} packs were asked for, and this key's sessions pay for {calls} more calls");
                return Err(Refusal::new(FailCode::Refused, text).into());
            }
        }
    }
    let busy = || Refusal::new(FailCode::Busy, "this node is dealing as many packs as it can, try again");
    for done in 1..=total {
        if seat.machine.is_stopping() {
            return Err(Refusal::new(FailCode::Stopping, "this node is shutting down").into());
        }
        still_wanted(lane)?;
        seat.machine.quotas.may_deal(payer, seat.machine.uptime())?;
        may_have(seat, payer, &payer, place.as_ref())?;
        // For each pack anew, so that who wants many does not keep out who wants one.
        let _slot = slot_of(payer, &seat.deal_slots, 1, lane, patience)?.ok_or_else(busy)?;
        let _memory = slot_of(payer, &seat.job_memory, cost.helper_memory, lane, patience)?.ok_or_else(busy)?;
        let (plan, weights) = patiently(seat, payer, lane, patience, |leave| model(seat, &task, &payer, leave))?;
        let before = thread_cpu_time();
        let dealt = deal_pack(seat, &request, &plan, &weights);
        // Also what an evaluator broke off was done.
        seat.machine.quotas.dealt(payer, thread_cpu_time().saturating_sub(before), seat.machine.uptime());
        dealt?;
        seat.stats.dealt.fetch_add(1, Ordering::Relaxed);
        lane.send(&Progress { done, total }).map_err(own)?;
    }
    lane.send_frame(Kind::Done, &[]).map_err(own)
}

/// How many more calls a key's sessions pay for.
fn calls_left(seat: &Seat, consumer: &PublicKey) -> u64 {
    seat.machine.market.as_ref().map_or(u64::MAX, |market| market.calls_left(consumer))
}

/// Whether another pack may be made for a consumer: where it pays by the call, as many as it can pay for, and a few.
fn may_have(seat: &Seat, payer: impl Into<Payer>, consumer: &PublicKey, place: Option<&Place>) -> Result<(), Refusal> {
    match place {
        None => Ok(()),
        Some(_) => seat.machine.quotas.pack(payer, calls_left(seat, consumer), seat.machine.uptime()),
    }
}

fn deal_pack(seat: &Seat, request: &Prepare, plan: &Plan, weights: &WeightMaterial) -> Result<(), Trouble> {
    let task = request.task;
    let pack = PackId::random().map_err(no_random)?;
    let seeds = [random_seed().map_err(no_random)?, random_seed().map_err(no_random)?];
    let [first, second] = task.assignment.evaluators();
    let mut first_lane = open(seat, first)?;
    let mut second_lane = open(seat, second)?;
    let announce = |seed: &Seed, corrections: u64| Deal {
        pack,
        task,
        consumer: request.consumer,
        job: request.job,
        incarnation: seat.deposits.incarnation(),
        seed: Zeroizing::new(*seed.as_bytes()),
        corrections,
    };
    first_lane.send(&announce(&seeds[0], 0)).map_err(peer)?;
    second_lane.send(&announce(&seeds[1], plan.correction_len())).map_err(peer)?;
    for lane in [&mut first_lane, &mut second_lane] {
        lane.begin("when asked for room for a pack", Traffic::Offline, seat.machine.config.timeouts.request());
        lane.receive_frame(Kind::DealAccept).map_err(peer)?;
        lane.begin("while a pack was dealt", Traffic::Offline, seat.machine.config.timeouts.round());
        lane.pace(Some((seat.machine.config.timeouts.round(), SLOWEST)));
    }

    let mut hash = CorrectionsHash::default();
    let mut dealing = Dealing::new(plan, weights, [&seeds[0], &seeds[1]])?;
    let mut frame = Vec::with_capacity(CHUNK);
    while let Some(chunk) = dealing.next_chunk()? {
        hash.update(chunk);
        frame.extend_from_slice(chunk);
        if frame.len() == CHUNK {
            second_lane.send_frame(Kind::Chunk, &frame).map_err(peer)?;
            frame.clear();
        }
    }
    if !frame.is_empty() {
        second_lane.send_frame(Kind::Chunk, &frame).map_err(peer)?;
    }
    drop(dealing);
    let commitment = |i: usize| seed_commitment(&pack, i, &seeds[i]);
    let seal = PackSeal { seeds: [commitment(0), commitment(1)], corrections: hash.finish() };
    let committee = seat.committee.digest();
    let seal = seal.sign(&committee, &pack, &task, &seat.machine.identity);
    first_lane.send(&seal).map_err(peer)?;
    second_lane.send(&seal).map_err(peer)?;
    for (index, mut lane) in [(first, first_lane), (second, second_lane)] {
        lane.begin("while it prepared a pack", Traffic::Offline, seat.machine.config.timeouts.request());
        lane.pace(None);
        lane.receive_frame(Kind::DealReady).map_err(peer)?;
        lane.send_frame(Kind::DealCommit, &[]).map_err(peer)?;
        lane.receive_frame(Kind::Done).map_err(peer)?;
        seat.put_back(index, lane);
    }
    let record = DealtRecord { committee, pack, task, helper: seat.machine.identity.public(), seal };
    if let Err(error) = seat.records.keep_dealt(&record, request.consumer, SystemTime::now()) {
        tracing::warn!(%error, "what was signed of a pack could not be kept");
    }
    Ok(())
}

fn open(seat: &Seat, index: u8) -> Result<Lane, Trouble> {
    let mut lane = seat.peer_lane(index).map_err(peer)?;
    lane.begin("while a pack was dealt", Traffic::Offline, seat.machine.config.timeouts.round());
    Ok(lane)
}

/// As an evaluator: receives a pack, prepares it and keeps it.
pub(super) fn receive(seat: &Seat, lane: &mut Lane, caller: Option<u8>, dealt: Deal) -> Result<(), Trouble> {
    let refuse = |text: &str| Trouble::from(Refusal::new(FailCode::Refused, text));
    let task = dealt.task;
    if caller != Some(task.assignment.helper()) {
        return Err(refuse("only the helper of the assignment deals packs"));
    }
    let role = task.assignment.role(seat.index).ok_or_else(|| refuse("this node is the helper itself"))?;
    let (consumer, patience) = (dealt.consumer, seat.machine.config.timeouts.round());
    // Nothing shows that this consumer has asked the helper: what is made ready is the helper's own use.
    let payer = Payer::helper(lane.peer(), consumer);
    let (cost, place) = patiently(seat, payer, lane, patience, |leave| {
        let permit = seat.models.permit(&task, &consumer, leave)?;
        Ok((permit.plan()?.1, permit.place().cloned()))
    })?;
    let expected = if role == EvaluatorRole::Second { cost.dealt } else { 0 };
    if dealt.corrections != expected {
        return Err(refuse("the corrections do not have the length that the graph asks for"));
    }
    let key = task;
    let mut header = PackHeader {
        id: dealt.pack,
        key,
        incarnation: dealt.incarnation,
        role,
        corrections: expected,
        prepared: cost.prepared,
        seal: SignedSeal::AWAITED,
    };
    let bytes = header.file_len().ok_or_else(|| refuse("the pack is too large"))?;
    let purpose = Purpose { asked_by: consumer, job: dealt.job };
    seat.machine.quotas.may_deal(payer, seat.machine.uptime())?;
    may_have(seat, payer, &consumer, place.as_ref())?;
    let promised = seat.packs.promise(key, bytes, purpose)?;
    let busy = || Refusal::new(FailCode::Busy, "this node has no memory for a pack right now, try again");
    let claimed = bytes.saturating_add(cost.inputs);
    let _memory = slot(&seat.job_memory, claimed, lane, patience)?.ok_or_else(busy)?;
    let (plan, weights) = patiently(seat, payer, lane, patience, |leave| model(seat, &task, &consumer, leave))?;
    lane.send_frame(Kind::DealAccept, &[]).map_err(own)?;

    lane.enter("while it dealt a pack", Traffic::Offline, seat.machine.config.timeouts.request());
    let mut hash = CorrectionsHash::default();
    let mut corrections = seat.packs.buffer(expected as usize);
    lane.receive_stream_into(&mut corrections, &mut |chunk| hash.update(chunk)).map_err(own)?;
    let seed = Seed::from_bytes(*dealt.seed);
    let seal: SignedSeal = lane.receive().map_err(own)?;
    let helper = seat.committee.roles(task.assignment).map_err(Refusal::from)?.helper.key;
    check_seal((&seat.committee.digest(), &helper), &dealt, role, &seed, &hash, &seal).map_err(refuse)?;
    let before = thread_cpu_time();
    let prepared = prepare_pack(&plan, &weights, role, &seed, &corrections)?;
    seat.machine.quotas.dealt(payer, thread_cpu_time().saturating_sub(before), seat.machine.uptime());
    header.prepared = prepared.len() as u64;
    header.seal = seal;
    let staged = promised.stage(header, PackContents { seed, corrections, prepared })?;
    lane.send_frame(Kind::DealReady, &[]).map_err(own)?;
    lane.receive_frame(Kind::DealCommit).map_err(own)?;
    staged.commit(Instant::now());
    if !seat.models.is_current(&task.manifest) {
        // Replaced or deleted while the pack was being made, after the packs of that version were destroyed.
        super::sharings::destroy_stale_packs(seat)?;
    }
    lane.send_frame(Kind::Done, &[]).map_err(own)
}

/// Checks the helper's signed commitments against what this evaluator has received.
fn check_seal(
    (committee, helper): (&[u8; 32], &PublicKey),
    dealt: &Deal,
    role: EvaluatorRole,
    seed: &Seed,
    corrections: &CorrectionsHash,
    seal: &SignedSeal,
) -> Result<(), &'static str> {
    if !seal.is_signed(committee, &dealt.pack, &dealt.task, helper) {
        return Err("the helper's seal of the pack has a wrong signature");
    }
    if seal.seal.seeds[role as usize] != seed_commitment(&dealt.pack, role as usize, seed) {
        return Err("the helper's seal of the pack commits to another seed than was dealt");
    }
    if role == EvaluatorRole::Second && seal.seal.corrections != corrections.finish() {
        return Err("the helper's seal of the pack commits to other corrections than were dealt");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::{Assignment, GraphId, Rounding};
    use crate::identity::generate;
    use crate::wire::{Incarnation, ManifestId, Task};

    #[test]
    fn a_seal_is_the_helpers_and_of_this_pack_this_seed_and_these_corrections() {
        let (helper, stranger) = (generate().unwrap(), generate().unwrap());
        let task = Task {
            manifest: ManifestId([5; 32]),
            graph: GraphId([3; 32]),
            assignment: Assignment::ALL[0],
            rounding: Rounding::Exact,
        };
        let (committee, pack) = ([1; 32], PackId([2; 16]));
        let dealt = Deal {
            pack,
            task,
            consumer: PublicKey([6; 32]),
            job: None,
            incarnation: Incarnation([4; 16]),
            seed: Zeroizing::new([7; 32]),
            corrections: 3,
        };
        let seeds = [7, 8].map(|n| Seed::from_bytes([n; 32]));
        let hash_of = |bytes: &[u8]| {
            let mut hash = CorrectionsHash::default();
            hash.update(bytes);
            hash
        };
        let commitments = [0, 1].map(|i| seed_commitment(&pack, i, &seeds[i]));
        let seal = PackSeal { seeds: commitments, corrections: hash_of(b"abc").finish() };
        let signed = seal.sign(&committee, &pack, &task, &helper);
        let check = |seed: usize, role, received: &[u8], seal: &SignedSeal| {
            check_seal((&committee, &helper.public()), &dealt, role, &seeds[seed], &hash_of(received), seal)
        };
        let (first, second) = (EvaluatorRole::First, EvaluatorRole::Second);
        assert_eq!(check(0, first, b"", &signed), Ok(()));
        assert_eq!(check(1, second, b"abc", &signed), Ok(()));

        let wrong = |result: Result<(), &str>, why: &str| assert!(result.unwrap_err().contains(why), "{result:?}");
        wrong(check(1, second, b"abc", &seal.sign(&committee, &pack, &task, &stranger)), "signature");
        wrong(check(1, second, b"abc", &seal.sign(&[9; 32], &pack, &task, &helper)), "signature");
        wrong(check(1, second, b"abc", &seal.sign(&committee, &PackId([9; 16]), &task, &helper)), "signature");
        wrong(check(1, first, b"", &signed), "another seed");
        wrong(check(0, second, b"abc", &signed), "another seed");
        wrong(check(1, second, b"abd", &signed), "other corrections");
    }
}
