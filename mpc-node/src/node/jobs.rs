//! Jobs: two evaluators run one graph on the two halves of a consumer's input.
//!
//! The consumer asks both evaluators, who meet (see `meeting`). The first reserves a pack and opens the job with the second;
//! both destroy the pack before they use it; the second lends the lane it was opened on to the thread that has the
//! consumer's half. From then on each side is one thread, one lane,
//! one loop of rounds.

mod job;
mod opening;
mod receipt;
mod rounds;

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::SystemTime;

use super::ahead;
use super::meeting;
use super::patience::{patiently_while, still_there};
use super::paying;
use super::refusal::{Refusal, Trouble, own};
use super::seat::Seat;
use super::slots::GLANCE;
use super::waiting::Registered;
use crate::accounts::AccountError;
use crate::channel::SLOWEST;
use crate::engine::EvaluatorRole;
use crate::lane::Lane;
use crate::meter::Traffic;
use crate::models::ModelError;
use crate::transcript::{input_commitment, request_digest};
use crate::wire::{FailCode, Kind, Message, Run, RunReply, Share};
use job::{Job, Noisy, busy, keep};
use opening::{as_first, as_second};

/// Runs a job for a consumer, as the first or the second evaluator.
pub(super) fn run(seat: &Arc<Seat>, lane: &mut Lane, run: Run) -> Result<(), Trouble> {
    let task = run.task;
    let _quota = seat.machine.quotas.job(lane.peer(), seat.machine.uptime())?;
    let role = task.assignment.role(seat.index).ok_or_else(|| {
        Refusal::new(FailCode::Refused, "this node is the helper of the assignment, not an evaluator")
    })?;
    let consumer = lane.peer();
    // Nothing of the model is held while others have to make room for it. The input may be on its way already, so that
    // something to read does not mean that the consumer has given it up.
    let round = seat.machine.config.timeouts.round();
    let (cost, sizes, place, noisy) = patiently_while(
        seat,
        consumer,
        round,
        || still_there(lane),
        |leave| {
            let permit = seat.models.permit(&task, &consumer, leave)?;
            let (plan, cost) = permit.plan()?;
            let noisy =
                permit.manifest().noise.is_some().then(|| Noisy::new(permit.manifest().clone(), permit.noised()));
            Ok((cost, plan.shared_lengths(), permit.place().cloned(), noisy))
        },
    )?;
    let request = request_digest(&seat.committee.digest(), &run.job, &task, &run.inputs);
    if !consumer.verifies(&request, &run.signature) {
        return Err(Refusal::new(FailCode::Refused, "the request is not signed by the key that sends it").into());
    }
    seat.records.check(&consumer, &run.job, SystemTime::now())?;
    // Before anything is taken for it; given back if it comes to nothing before anything of the answer can leave. The second holds
    // nothing before the first opens the job, so that attempts that come to nothing hold up no others.
    let held = match noisy.as_ref().map(|noisy| noisy.hold(seat)) {
        Some(Err(AccountError::Held { .. })) if role == EvaluatorRole::Second => None,
        held => held.transpose()?.filter(|_| role == EvaluatorRole::First),
    };
    // Before anybody is asked for anything: given up again whatever ends the job before its receipt is complete.
    let paid = paying::accept(seat, lane, &run, place)?;
    let registered = match role {
        EvaluatorRole::First => None,
        EvaluatorRole::Second => Some(Registered::new(&seat.waiting, &run, consumer)?),
    };
    let material = |leave| seat.models.permit(&task, &consumer, leave)?.material().map(drop);
    if role == EvaluatorRole::First {
        let in_memory = || !matches!(material(None), Err(ModelError::Unready(_)));
        meeting::announce(seat, lane, &run, in_memory)?;
    }
    // Read now, so that the job does not wait for it once it is open; held only when it runs.
    // Nobody who waits in line for that, or has its turn, asks another node.
    let request = seat.machine.config.timeouts.request();
    let read = seat.machine.making.ready(consumer, request, &mut || still_there(lane), &mut |leave| material(leave))?;
    match read {
        Ok(()) | Err(ModelError::Busy) => {}
        Err(error) => return Err(error.into()),
    }
    lane.enter("while it sent the input", Traffic::Client, request);
    let expected = sizes.iter().map(|len| len * 4 + 4).sum::<usize>() + 4;
    lane.limit(Some(request));
    lane.receive_header_of(Kind::Input, expected).map_err(own)?;
    lane.limit(None);
    // Only now: the bytes as they come, and the words that they are. It does not count as something that the key has, so that
    // the job waits for its own memory no longer than those that come after it wait for this.
    let inputs =
        seat.job_memory.take_aside_while(consumer, cost.input_memory(), request, GLANCE, || still_there(lane))?;
    let _inputs = inputs.ok_or_else(busy)?;
    lane.pace(Some((request, SLOWEST)));
    let payload = lane.receive_payload(expected).map_err(own)?;
    lane.pace(None);
    let inputs: Share = lane.decode(&payload).map_err(own)?;
    drop(payload);
    if !inputs.0.iter().map(Vec::len).eq(sizes) {
        return Err(Refusal::new(FailCode::Refused, "the input share does not have the shapes of the graph").into());
    }
    if input_commitment(run.salt.as_bytes(), role as usize, &inputs) != run.inputs[role as usize] {
        return Err(Refusal::new(FailCode::Refused, "the input share is not the one that the request names").into());
    }
    let [first, second] = task.assignment.evaluators();
    let other = if role == EvaluatorRole::First { second } else { first };
    let key = task;
    let id = run.job;
    let (asked, is_paid) = (run.asked(), paid.is_some());
    let job = Job { run, role, other, key, inputs, memory: cost.evaluator_memory, paid, noisy, held };

    let result = match &registered {
        None => as_first(seat, lane, job),
        Some(registered) => as_second(seat, lane, job, registered),
    };
    let (outcome, memory) = result.inspect_err(|trouble| {
        let broken = match trouble {
            Trouble::Refusal(refusal) => matches!(refusal.code, FailCode::Peer | FailCode::Internal),
            Trouble::Lane(_) => true,
        };
        seat.stats.failed.fetch_add(u64::from(broken), Ordering::Relaxed);
    })?;
    seat.stats.done.fetch_add(1, Ordering::Relaxed);
    seat.stats.rounds.fetch_add(u64::from(outcome.figures.rounds), Ordering::Relaxed);
    tracing::info!(
        job = %id,
        role = ?role,
        rounds = outcome.figures.rounds,
        sent = outcome.figures.sent,
        micros = outcome.figures.wall_micros,
        "job done"
    );
    let reply = RunReply {
        figures: outcome.figures,
        transcript: outcome.end.encode(),
        salt: outcome.salt,
        outputs: outcome.outputs,
        complete: outcome.complete,
    };
    // Before the answer: whoever hangs up now must not leave this node without its record.
    keep(seat, &outcome.record, outcome.openings.as_ref());
    // Whoever reads nothing of it keeps its memory from others for so long only.
    lane.pace(Some((round, SLOWEST)));
    lane.send(&reply).map_err(own)?;
    lane.pace(None);
    drop((reply, memory));
    lane.count();
    // Who has no call left needs no pack.
    let left = seat.machine.market.as_ref().filter(|_| is_paid).is_none_or(|market| market.calls_left(&consumer) > 0);
    if role == EvaluatorRole::First && left {
        ahead::refill(seat, key, consumer, asked);
    }
    Ok(())
}
