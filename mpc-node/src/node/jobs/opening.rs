//! Opening a job: the first evaluator names a pack, the second takes its half, and both sign what they see.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use super::super::meeting;
use super::super::patience::{model, patiently, slot, still_wanted};
use super::super::paying;
use super::super::refusal::{Refusal, Trouble, no_random, peer};
use super::super::seat::Seat;
use super::super::slots::{GLANCE, Slot};
use super::super::waiting::{OpenedJob, Registered};
use super::job::{Job, Outcome, busy, claim, keep_failed};
use super::rounds::{evaluate, signed_otherwise};
use crate::accounts::AccountError;
use crate::engine::{EvaluatorRole, Seed, random_seed};
use crate::identity::PublicKey;
use crate::lane::Lane;
use crate::meter::Traffic;
use crate::models::ModelError;
use crate::packs::Purpose;
use crate::transcript::{Contradiction, Opening, Session, SignedSeal, Transcript};
use crate::wire::{FailCode, OpenJob, OpenReply, PackId};

/// What the first evaluator waits longer for an answer than the second waits for its consumer.
const OPENING: Duration = Duration::from_secs(2);

pub(super) fn as_first(seat: &Arc<Seat>, consumer: &mut Lane, mut job: Job) -> Result<(Outcome, Slot), Trouble> {
    meeting::meet(seat, consumer, &job.run)?;
    if let Some(accepted) = &job.paid {
        paying::helper_knows(seat, accepted.order())?;
    }
    claim(seat, &job, consumer.peer())?;
    let wanted = Purpose { asked_by: consumer.peer(), job: Some(job.run.job) };
    let patience = seat.machine.config.timeouts.request();
    let _slot = slot(&seat.first_slots, 1, consumer, patience)?.ok_or_else(busy)?;
    let end = Instant::now() + patience;
    loop {
        let no_pack = || {
            let text = "no preprocessing pack is left for this graph, assignment and mode: prepare some";
            Refusal::new(FailCode::NoPack, text)
        };
        let reserved = seat.packs.reserve_while(&job.key, &wanted, patience, GLANCE, || still_wanted(consumer))?;
        let mut reserved = reserved.ok_or_else(no_pack)?;
        let id = reserved.id();
        // Only now: a job that waits for its pack must not hold the memory in which the pack is made.
        let memory = slot(&seat.job_memory, job.memory, consumer, patience)?.ok_or_else(busy)?;
        let model = patiently(seat, wanted.asked_by, consumer, patience, |leave| {
            model(seat, &job.run.task, &wanted.asked_by, leave)
        })?;
        if let Err(error) = reserved.load(EvaluatorRole::First) {
            tracing::warn!(%error, "an unusable pack is destroyed");
            reserved.destroy()?;
            continue;
        }
        let Some(seal) = reserved.header().map(|header| header.seal) else { continue };
        let mut transcript = transcript(seat, &job, consumer.peer(), id, &seal)?;
        let mut lane = seat.peer_lane(job.other).map_err(peer)?;
        let open = OpenJob {
            job: job.run.job,
            task: job.run.task,
            consumer: consumer.peer().0,
            pack: id,
            held: seat.packs.held(&job.key),
            secret: contribution()?,
            signature: transcript.signature(),
            paid_with: job.run.paid_with(),
        };
        let start = (Instant::now(), lane.bytes());
        let offered = reserved.offer(|| still_wanted(consumer))?;
        match ask_to_open(seat, &mut lane, &open) {
            Ok(OpenReply::Go(second, signature)) => {
                job.takes_pack(seat);
                job.spends(seat)?;
                let (pack, in_use) = offered.take(EvaluatorRole::First)?;
                let zero = match transcript.join([&open.secret, &second], signature) {
                    Ok(zero) => zero,
                    Err(contradiction) => {
                        let trouble = contradicted(&mut lane, &contradiction).into();
                        keep_failed(seat, transcript, None, &trouble);
                        return Err(trouble);
                    }
                };
                let other = job.other;
                let outcome = evaluate(seat, &mut lane, consumer, job, model, (pack, transcript, zero), start)?;
                seat.put_back(other, lane);
                drop(in_use);
                return Ok((outcome, memory));
            }
            Ok(OpenReply::NoSuchPack) => {
                tracing::info!(pack = %id, "the other evaluator does not hold this pack, it is destroyed");
                drop(offered);
                seat.put_back(job.other, lane);
            }
            Ok(OpenReply::Busy) if Instant::now() < end => {
                offered.give_back(); // untouched on both sides
                seat.put_back(job.other, lane);
                // Meanwhile the memory is for others, such as the second half of a job whose first waits at the other node; and not
                // all that wait come back at the same time.
                drop((memory, model));
                std::thread::sleep(GLANCE + Duration::from_millis(u64::from(job.run.job.0[15]) % 50));
            }
            Ok(OpenReply::Busy) => {
                offered.give_back();
                return Err(busy().into());
            }
            Ok(OpenReply::Gone) => {
                offered.give_back();
                seat.put_back(job.other, lane);
                return Err(Refusal::new(FailCode::Refused, "the job was given up at the other evaluator").into());
            }
            Err(trouble) => {
                // Nobody knows whether the second has begun to use its half.
                drop(offered);
                keep_failed(seat, transcript, None, &trouble);
                return Err(trouble);
            }
        }
    }
}

/// The other evaluator signed something else than this node saw: it is told so, and so is the consumer.
fn contradicted(lane: &mut Lane, contradiction: &Contradiction) -> Refusal {
    let refusal = signed_otherwise(lane, contradiction);
    lane.refuse(FailCode::Peer, &refusal.text);
    refusal
}

/// Begins the transcript of a job: signs the opening as this evaluator holds it.
fn transcript(
    seat: &Seat,
    job: &Job,
    consumer: PublicKey,
    pack: PackId,
    seal: &SignedSeal,
) -> Result<Transcript, Refusal> {
    let task = job.run.task;
    let roles = seat.committee.roles(task.assignment)?;
    let session = Session {
        committee: seat.committee.digest(),
        job: job.run.job,
        pack,
        task,
        consumer,
        evaluators: roles.evaluators.map(|member| member.key),
        helper: roles.helper.key,
    };
    let opening = Opening { session, inputs: job.run.inputs, seal: seal.seal };
    let signatures = [job.run.signature, seal.signature];
    let salts = [job.run.salt.clone(), contribution()?];
    Ok(Transcript::open(opening, job.role as usize, signatures, salts, &seat.machine.identity))
}

/// Also for a consumer that goes meanwhile: the second evaluator answers at once, and may say that the pack is untouched.
fn ask_to_open(seat: &Seat, lane: &mut Lane, open: &OpenJob) -> Result<OpenReply, Trouble> {
    lane.begin("while the job was opened", Traffic::Online, seat.machine.config.timeouts.round() + OPENING);
    lane.send(open).map_err(peer)?;
    lane.receive().map_err(peer)
}

pub(super) fn as_second(
    seat: &Arc<Seat>,
    consumer: &mut Lane,
    job: Job,
    registered: &Registered<'_>,
) -> Result<(Outcome, Slot), Trouble> {
    let ready = registered.ready();
    let outcome = opened_by_first(seat, consumer, job, registered, &ready);
    // What was opened in the last moment: nothing of it was touched.
    ready.try_iter().for_each(|opened| answer(opened, &OpenReply::Gone));
    outcome
}

/// Answers an opening without having touched its pack; the lane's thread goes on waiting for requests.
fn answer(mut opened: OpenedJob, reply: &OpenReply) {
    match opened.lane.send(reply) {
        Ok(()) => drop(opened.give_back.send(opened.lane)),
        Err(error) => tracing::info!(%error, "the first evaluator did not wait for an answer"),
    }
}

fn opened_by_first(
    seat: &Arc<Seat>,
    consumer: &mut Lane,
    mut job: Job,
    registered: &Registered<'_>,
    ready: &Receiver<OpenedJob>,
) -> Result<(Outcome, Slot), Trouble> {
    let began = Instant::now();
    let mut claimed = false;
    loop {
        let mut opened = loop {
            // The first evaluator asks about the job as soon as it is asked for it.
            let timeouts = &seat.machine.config.timeouts;
            let patience = if registered.was_asked() { timeouts.request() } else { timeouts.meet() };
            match ready.recv_timeout(GLANCE) {
                Ok(opened) => break opened,
                Err(RecvTimeoutError::Timeout) if began.elapsed() < patience => {}
                Err(_) => {
                    let text =
                        format!("{} was not asked for the job, or did not open it", seat.committee.label(job.other));
                    return Err(Refusal::new(FailCode::Refused, text).into());
                }
            }
            if seat.machine.is_stopping() {
                return Err(Refusal::new(FailCode::Stopping, "this node is shutting down").into());
            }
            still_wanted(consumer)?;
        };
        if !std::mem::replace(&mut claimed, true)
            && let Err(refusal) = claim(seat, &job, consumer.peer())
        {
            answer(opened, &OpenReply::Gone);
            return Err(refusal.into());
        }
        opened.lane.begin("while the job was opened", Traffic::Online, seat.machine.config.timeouts.round());
        seat.packs.keep_only(&job.key, &opened.open.held)?;
        let whole = match seat.packs.reserve_this(&job.key, &opened.open.pack) {
            Some(mut reserved) => match reserved.load(EvaluatorRole::Second) {
                Ok(()) => Some(reserved),
                Err(error) => {
                    tracing::warn!(%error, "an unusable pack is destroyed");
                    reserved.destroy()?;
                    None
                }
            },
            None => None,
        };
        let Some(reserved) = whole else {
            answer(opened, &OpenReply::NoSuchPack);
            continue;
        };
        let key = consumer.peer();
        let room = (seat.second_slots.take(key, 1), seat.job_memory.take(key, job.memory));
        let (Some(_slot), Some(memory)) = room else {
            drop(reserved); // before the first evaluator may ask for it again
            answer(opened, &OpenReply::Busy);
            continue;
        };
        // The first evaluator waits for the answer meanwhile, and asks again if there is none in half its time.
        let patience = seat.machine.config.timeouts.round() / 2;
        let made = seat
            .machine
            .making
            .ready(key, patience, &mut || still_wanted(consumer), &mut |leave| model(seat, &job.run.task, &key, leave));
        let model = match made {
            Ok(Ok(model)) => model,
            Ok(Err(ModelError::Busy | ModelError::Unready(_))) => {
                drop(reserved);
                answer(opened, &OpenReply::Busy);
                continue;
            }
            Ok(Err(error)) => {
                drop(reserved);
                answer(opened, &OpenReply::Gone);
                return Err(error.into());
            }
            Err(trouble) => {
                drop(reserved);
                answer(opened, &OpenReply::Gone);
                return Err(trouble);
            }
        };
        // The last moment at which both halves of the pack go back as they were.
        if let Err(trouble) = still_wanted(consumer) {
            drop(reserved);
            answer(opened, &OpenReply::Gone);
            return Err(trouble);
        }
        match job.spends(seat) {
            Ok(()) => {}
            Err(AccountError::Held { .. }) => {
                drop(reserved);
                answer(opened, &OpenReply::Busy);
                continue;
            }
            Err(error) => {
                drop(reserved);
                answer(opened, &OpenReply::Gone);
                return Err(error.into());
            }
        }
        let lane = &mut opened.lane;
        let seal = reserved.header().map(|header| header.seal);
        job.takes_pack(seat);
        let (pack, in_use) = reserved.take(EvaluatorRole::Second)?;
        let seal = seal.ok_or_else(|| Refusal::new(FailCode::Internal, "a pack without its seal"))?;
        let start = (Instant::now(), lane.bytes());
        let mut transcript = transcript(seat, &job, consumer.peer(), opened.open.pack, &seal)?;
        let second = contribution()?;
        let joined = transcript.join([&opened.open.secret, &second], opened.open.signature);
        let joined = joined.map_err(|c| contradicted(lane, &c).into()).and_then(|zero| {
            lane.send(&OpenReply::Go(second, transcript.signature())).map_err(peer)?;
            Ok(zero)
        });
        let zero = match joined {
            Ok(zero) => zero,
            Err(trouble) => {
                keep_failed(seat, transcript, None, &trouble);
                return Err(trouble);
            }
        };
        let outcome = evaluate(seat, lane, consumer, job, model, (pack, transcript, zero), start)?;
        drop(in_use);
        let _ = opened.give_back.send(opened.lane); // its thread goes on waiting for requests
        return Ok((outcome, memory));
    }
}

/// An evaluator's fresh contribution to a job's secret.
fn contribution() -> Result<Seed, Refusal> {
    random_seed().map_err(no_random)
}
