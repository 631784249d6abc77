//! The rounds of an open job, and how it ends.

use std::fmt::Write;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use sahara_protocol::ring::secret::Secret;

use super::super::kept::Answer;
use super::super::patience::{Model, still_wanted};
use super::super::paying::Accepted;
use super::super::refusal::{Refusal, Trouble, no_random, peer};
use super::super::seat::Seat;
use super::job::{Job, Outcome, keep_failed, now_millis};
use super::receipt;
use crate::engine::{Evaluator, EvaluatorRole, PackContents, Seed, Step, ZeroSharing, combine_outputs, random_seed};
use crate::lane::Lane;
use crate::meter::Traffic;
use crate::transcript::{Contradiction, SignedRecord, Transcript, end_of, output_commitment};
use crate::wire::{FailCode, JobFigures, Message, RunReply, Share};

/// Counts a running job.
struct Running<'a>(&'a Seat);

impl<'a> Running<'a> {
    fn new(seat: &'a Seat) -> Self {
        seat.stats.running.fetch_add(1, Ordering::Relaxed);
        Self(seat)
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.0.stats.running.fetch_sub(1, Ordering::Relaxed);
    }
}

/// When a job began, and what its lane had sent and received by then.
pub(super) type Start = (Instant, (u64, u64));

/// What both evaluators opened a job with.
pub(super) type JobMaterial = (PackContents, Transcript, ZeroSharing);

/// The rounds of a job, in this thread, on this lane; they end early when nobody waits for the answer any more.
pub(super) fn evaluate(
    seat: &Seat,
    lane: &mut Lane,
    consumer: &mut Lane,
    mut job: Job,
    (plan, weights): Model,
    (pack, mut transcript, zero): JobMaterial,
    (start, before): Start,
) -> Result<Outcome, Trouble> {
    let _running = Running::new(seat);
    let mut end = None;
    let result = (|| {
        lane.begin("before the first round", Traffic::Online, seat.machine.config.timeouts.round());
        let mut waiting = Duration::ZERO;
        let mut round = 0;
        let mut inputs = job.inputs.take_tensors();
        // Known to nobody else, and to nobody afterwards.
        plan.draw_noise(&mut inputs, &random_seed().map_err(no_random)?)?;
        let mut evaluator = Evaluator::new(plan, weights, job.role, pack, inputs, zero)?;
        let mut step = evaluator.step(None)?;
        let (outputs, rounds) = loop {
            match step {
                Step::Exchange { send, name } => {
                    round += 1;
                    // What is paid goes on: whoever has gone may come back for its answer.
                    if job.paid.is_none() {
                        still_wanted(consumer)?;
                    }
                    lane.set_step(|text| {
                        let _ = write!(text, "in round {round} ({name})"); // a String takes everything
                    });
                    let signature = transcript.checkpoint(&seat.machine.identity);
                    let began = Instant::now();
                    let (theirs, received) = lane.exchange(signature.as_ref(), &send).map_err(peer)?;
                    waiting += began.elapsed();
                    if signature.is_some() {
                        transcript.countersigned(theirs).map_err(|c| signed_otherwise(lane, &c))?;
                    }
                    transcript.round(&send, &received);
                    step = evaluator.step(Some(received))?;
                }
                Step::Done { outputs, rounds } => break (Share(outputs), rounds),
            }
        };
        let wall = start.elapsed();
        let own = *end.insert(transcript.finish(&outputs, &seat.machine.identity));
        lane.set_step(|text| text.push_str("when transcripts were compared"));
        lane.send(&own).map_err(peer)?;
        let other: SignedRecord = lane.receive().map_err(peer)?;
        transcript.compare(&own, other).map_err(|c| signed_otherwise(lane, &c))?;
        let after = lane.bytes();
        let figures = JobFigures {
            rounds,
            sent: after.0 - before.0,
            received: after.1 - before.1,
            wall_micros: wall.as_micros() as u64,
            waiting_micros: waiting.as_micros() as u64,
        };
        seat.packs.recycle(evaluator.into_corrections(), Instant::now());
        let complete = match &mut job.paid {
            None => None,
            Some(accepted) => {
                let end = end_of(&own, &other).ok_or_else(no_end)?;
                if accepted.market().is_public(accepted.order()) {
                    publish(lane, job.role, accepted, (&outputs, transcript.output_salt()), &other)?;
                }
                let (receipt, signed) = receipt::sign(seat, lane, job.role, accepted, job.run.asked(), &end);
                if let Some(receipt) = receipt {
                    let (transcript, salt) = (own.encode(), transcript.output_salt().clone());
                    let reply = RunReply { figures, transcript, salt, outputs: outputs.clone(), complete: None };
                    let (mut order, reply) = (accepted.order().clone(), Secret::from(reply.encode()));
                    let reader = accepted.market().reader(&order);
                    let apart = std::mem::replace(&mut order.asker, reader) != reader;
                    let (paid, at) = (signed.is_ok(), seat.machine.uptime());
                    seat.machine.kept.keep(Answer { order, receipt, paid, apart, reply, at });
                }
                Some(signed?)
            }
        };
        Ok((outputs, figures, own, complete))
    })();
    // Before the consumer hears of the end: it may ask for the counters at once.
    lane.count();
    match result {
        Ok((outputs, figures, own, complete)) => {
            let salt = transcript.output_salt().clone();
            let (record, openings) = transcript.close(Some(own), None, now_millis(), &seat.machine.identity);
            Ok(Outcome { outputs, figures, end: own, salt, record, openings, complete })
        }
        Err(trouble) => {
            if let Trouble::Refusal(refusal) = &trouble {
                // The other evaluator may be waiting for the next frame: tell it instead of letting it time out.
                lane.refuse(FailCode::Peer, &refusal.text);
            }
            keep_failed(seat, transcript, end, &trouble);
            Err(trouble)
        }
    }
}

/// Shows the other evaluator this one's share of an answer that everybody may read, takes its share, and tells the market the answer.
fn publish(
    lane: &mut Lane,
    role: EvaluatorRole,
    accepted: &Accepted,
    (own, salt): (&Share, &Seed),
    other: &SignedRecord,
) -> Result<(), Trouble> {
    lane.set_step(|text| text.push_str("when the public answer was put together"));
    let sent = Secret::from([&salt.as_bytes()[..], &own.encode()].concat());
    let (_, received) = lane.exchange(None, &sent).map_err(peer)?;
    let wrong =
        || Refusal::new(FailCode::Peer, format!("{} shows another share of the answer than it signed", lane.who()));
    let (salt, share) = received.split_first_chunk::<32>().ok_or_else(wrong)?;
    let share = Share::decode(share).map_err(|_| wrong())?;
    let them = 1 - role as usize;
    if other.record.output != Some(output_commitment(salt, them, &share)) {
        return Err(wrong().into());
    }
    let outputs = combine_outputs(&own.0, &share.0).ok_or_else(wrong)?;
    Ok(accepted.market().answered(accepted.order(), &outputs)?)
}

/// Records that agree are those of a job that has come to its end.
fn no_end() -> Refusal {
    Refusal::new(FailCode::Internal, "a job without an end")
}

/// Why the job ends when the other evaluator signed something else than this node saw.
pub(super) fn signed_otherwise(lane: &Lane, contradiction: &Contradiction) -> Refusal {
    Refusal::new(FailCode::Peer, format!("{} {contradiction}", lane.who()))
}
