//! Jobs: two evaluators run one graph on the two halves of a consumer's input.
//!
//! The consumer asks both evaluators, who meet (see `meeting`). The first reserves a pack and opens the job with the second;
//! both destroy the pack before they use it; the second lends the lane it was opened on to the thread that has the
//! consumer's half. From then on each side is one thread, one lane,
//! one loop of rounds.

mod opening;
mod patience;
mod rounds;

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{SystemTime, UNIX_EPOCH};

use super::meeting;
use super::seat::Seat;
use super::serve::{Refusal, Trouble, own};
use super::sharings::SLOWEST;
use crate::engine::{EvaluatorRole, Seed};
use crate::identity::PublicKey;
use crate::lane::Lane;
use crate::meter::Traffic;
use crate::models::ModelError;
use crate::packs::PackKey;
use crate::records::NameError;
use crate::transcript::{JobRecord, Openings, SignedRecord, Transcript, input_commitment, request_digest};
use crate::wire::{FailCode, JobFigures, Kind, Message, Run, RunReply, Share};
use opening::{as_first, as_second};
pub(super) use patience::{GLANCE, model, patiently, patiently_while, slot, slot_of, still_there, still_wanted};

/// Everything that a job holds while it waits: nothing of the model, which has room for those that run.
struct Job {
    run: Run,
    role: EvaluatorRole,
    other: u8,
    key: PackKey,
    inputs: Share,
    /// Bytes of memory that it takes.
    memory: u64,
}

/// What a job comes to.
struct Outcome {
    outputs: Share,
    figures: JobFigures,
    end: SignedRecord,
    salt: Seed,
    record: JobRecord,
    openings: Option<Openings>,
}

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
    let (cost, sizes) = patiently_while(
        seat,
        consumer,
        round,
        || still_there(lane),
        |leave| {
            let permit = seat.models.permit(&task, &consumer, leave)?;
            let sizes: Vec<usize> = permit.graph().inputs.iter().map(|input| input.shape.len()).collect();
            Ok((permit.plan()?.1, sizes))
        },
    )?;
    let request = request_digest(&seat.committee.digest(), &run.job, &task, &run.inputs);
    if !consumer.verifies(&request, &run.signature) {
        return Err(Refusal::new(FailCode::Refused, "the request is not signed by the key that sends it").into());
    }
    seat.records.check(&consumer, &run.job, SystemTime::now()).map_err(unnamed)?;
    let registered = match role {
        EvaluatorRole::First => None,
        EvaluatorRole::Second => Some(meeting::Registered::new(&seat.waiting, &run, consumer)?),
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
    let asked = run.asked();
    let job = Job { run, role, other, key, inputs, memory: cost.evaluator_memory };

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
    };
    // Before the answer: whoever hangs up now must not leave this node without its record.
    keep(seat, &outcome.record, outcome.openings.as_ref());
    // Whoever reads nothing of it keeps its memory from others for so long only.
    lane.pace(Some((round, SLOWEST)));
    lane.send(&reply).map_err(own)?;
    lane.pace(None);
    drop((reply, memory));
    lane.count();
    if role == EvaluatorRole::First {
        super::ahead::refill(seat, key, consumer, asked);
    }
    Ok(())
}

fn keep(seat: &Seat, record: &JobRecord, openings: Option<&Openings>) {
    if let Err(error) = seat.records.keep(record, openings, SystemTime::now()) {
        tracing::warn!(%error, "the record of a job could not be kept");
    }
}

/// Keeps the record of a job that failed, signed as far as it came.
fn keep_failed(seat: &Seat, transcript: Transcript, end: Option<SignedRecord>, trouble: &Trouble) {
    let why = match trouble {
        Trouble::Refusal(refusal) => refusal.text.clone(),
        Trouble::Lane(error) => error.told(),
    };
    let (record, openings) = transcript.close(end, Some(&why), now_millis(), &seat.machine.identity);
    keep(seat, &record, openings.as_ref());
}

fn now_millis() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |t| t.as_millis() as u64)
}

pub(super) fn unnamed(error: NameError) -> Refusal {
    let code = match error {
        NameError::Taken | NameError::Time { .. } | NameError::Forgotten { .. } => FailCode::Refused,
        NameError::Full { .. } => FailCode::Busy,
        NameError::Io(error) => return Refusal::fault("write the job down", error),
    };
    Refusal::new(code, error.to_string())
}

/// Takes the job's name for good, now that both evaluators were asked for it.
fn claim(seat: &Seat, job: &Job, consumer: PublicKey) -> Result<(), Refusal> {
    seat.records.claim(consumer, job.run.job, SystemTime::now()).map_err(unnamed)
}

fn busy() -> Refusal {
    Refusal::new(FailCode::Busy, "this node runs as many jobs as it can, try again")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::{Assignment, GraphId, Rounding};
    use crate::wire::{JobId, ManifestId};

    #[test]
    fn a_job_ends_at_a_time_in_milliseconds_since_1970() {
        let before = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis();
        assert!(u128::from(now_millis()) >= before);
    }

    #[test]
    fn a_consumer_takes_a_name_once_and_another_may_take_the_same() {
        let trial = super::super::trial::node(|_| ());
        let [one, other] = trial.others.each_ref().map(|identity| identity.public());
        let task = PackKey {
            manifest: ManifestId([5; 32]),
            graph: GraphId([3; 32]),
            assignment: Assignment::ALL[0],
            rounding: Rounding::Exact,
        };
        let salt = Seed::from_bytes([1; 32]);
        let run = Run { job: JobId::random().unwrap(), task, inputs: [[1; 32]; 2], salt, signature: [2; 64] };
        let job = Job { run, role: EvaluatorRole::First, other: 2, key: task, inputs: Share(Vec::new()), memory: 0 };
        claim(&trial.seat, &job, one).unwrap();
        let again = claim(&trial.seat, &job, one).unwrap_err();
        assert!(again.code == FailCode::Refused && again.text.contains("was asked for before"), "{}", again.text);
        assert!(trial.seat.records.check(&one, &job.run.job, SystemTime::now()).is_err());
        claim(&trial.seat, &job, other).unwrap();
    }
}
