//! Jobs: two evaluators run one graph on the two halves of a consumer's input.
//!
//! The consumer asks both evaluators, who meet (see `meeting`). The first reserves a pack and opens the job with the second;
//! both destroy the pack before they use it; the second lends the lane it was opened on to the thread that has the
//! consumer's half. From then on each side is one thread, one lane,
//! one loop of rounds.

use std::fmt::Write;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use super::meeting::{self, Opened};
use super::serve::{Refusal, Trouble, no_random, own, peer};
use super::slots::{Slot, Slots};
use super::state::Node;
use crate::engine::{Evaluator, EvaluatorRole, PackContents, Plan, Seed, Step, WeightMaterial, ZeroSharing};
use crate::identity::PublicKey;
use crate::lane::Lane;
use crate::meter::Traffic;
use crate::models::ModelError;
use crate::packs::{PackKey, Purpose};
use crate::records::NameError;
use crate::transcript::{
    Contradiction, JobRecord, Opening, Openings, Session, SignedRecord, SignedSeal, Transcript, input_commitment,
    request_digest,
};
use crate::wire::{FailCode, JobFigures, Kind, Message, OpenJob, OpenReply, PackId, Run, RunReply, Share, Task};

/// What the first evaluator waits longer for an answer than the second waits for its consumer.
const OPENING: Duration = Duration::from_secs(2);

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
pub(super) fn run(node: &Arc<Node>, lane: &mut Lane, run: Run) -> Result<(), Trouble> {
    let task = run.task;
    let _quota = node.quotas.job(lane.peer(), node.uptime())?;
    let role = task.assignment.role(node.index).ok_or_else(|| {
        Refusal::new(FailCode::Refused, "this node is the helper of the assignment, not an evaluator")
    })?;
    let consumer = lane.peer();
    let permit = node.models.permit(&task, &consumer)?;
    let request = request_digest(&node.committee.digest(), &run.job, &task, &run.inputs);
    if !consumer.verifies(&request, &run.signature) {
        return Err(Refusal::new(FailCode::Refused, "the request is not signed by the key that sends it").into());
    }
    node.records.check(&consumer, &run.job, SystemTime::now()).map_err(unnamed)?;
    let (_, cost) = patiently(lane, node.config.timeouts.request(), || permit.plan())?;
    let sizes: Vec<usize> = permit.graph().inputs.iter().map(|input| input.shape.len()).collect();
    // Read now, so that the job does not wait for it once it is open; held only when it runs.
    match permit.material() {
        Ok(_) | Err(ModelError::Busy) => {}
        Err(error) => return Err(error.into()),
    }
    drop(permit);
    let registered = match role {
        EvaluatorRole::First => {
            // Lets the second evaluator know that this one was asked, too; the answer does not matter yet.
            meeting::ask(node, &run, consumer)?;
            None
        }
        EvaluatorRole::Second => Some(meeting::Registered::new(&node.waiting, &run, consumer)?),
    };
    let _inputs = node.job_memory.take(consumer, cost.inputs).ok_or_else(busy)?;
    lane.enter("while it sent the input", Traffic::Client, node.config.timeouts.request());
    let expected = sizes.iter().map(|len| len * 4 + 4).sum::<usize>() + 4;
    lane.limit(Some(node.config.timeouts.request()));
    let payload = lane.receive_frame_of(Kind::Input, expected).map_err(own)?;
    lane.limit(None);
    let inputs: Share = lane.decode(&payload).map_err(own)?;
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
    let job = Job { run, role, other, key, inputs, memory: cost.evaluator_memory };

    let result = match &registered {
        None => as_first(node, lane, job),
        Some(registered) => as_second(node, lane, job, registered),
    };
    let outcome = result.inspect_err(|trouble| {
        let broken = match trouble {
            Trouble::Refusal(refusal) => matches!(refusal.code, FailCode::Peer | FailCode::Internal),
            Trouble::Lane(_) => true,
        };
        node.stats.failed.fetch_add(u64::from(broken), Ordering::Relaxed);
    })?;
    node.stats.done.fetch_add(1, Ordering::Relaxed);
    node.stats.rounds.fetch_add(u64::from(outcome.figures.rounds), Ordering::Relaxed);
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
    lane.send(&reply).map_err(own)?;
    lane.count();
    if role == EvaluatorRole::First {
        super::dealing::refill(node, key, consumer);
    }
    keep(node, &outcome.record, outcome.openings.as_ref());
    Ok(())
}

fn keep(node: &Node, record: &JobRecord, openings: Option<&Openings>) {
    if let Err(error) = node.records.keep(record, openings, SystemTime::now()) {
        tracing::warn!(%error, "the record of a job could not be kept");
    }
}

/// Keeps the record of a job that failed, signed as far as it came.
fn keep_failed(node: &Node, transcript: Transcript, end: Option<SignedRecord>, trouble: &Trouble) {
    let why = match trouble {
        Trouble::Refusal(refusal) => refusal.text.clone(),
        Trouble::Lane(error) => error.told(),
    };
    let (record, openings) = transcript.close(end, Some(&why), now_millis(), &node.identity);
    keep(node, &record, openings.as_ref());
}

fn now_millis() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |t| t.as_millis() as u64)
}

/// Counts a running job.
struct Running<'a>(&'a Node);

impl<'a> Running<'a> {
    fn new(node: &'a Node) -> Self {
        node.stats.running.fetch_add(1, Ordering::Relaxed);
        Self(node)
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.0.stats.running.fetch_sub(1, Ordering::Relaxed);
    }
}

fn unnamed(error: NameError) -> Refusal {
    let code = match error {
        NameError::Taken | NameError::Time { .. } | NameError::Forgotten { .. } => FailCode::Refused,
        NameError::Full { .. } => FailCode::Busy,
        NameError::Io(error) => return Refusal::fault("write the job down", error),
    };
    Refusal::new(code, error.to_string())
}

/// Takes the job's name for good, now that both evaluators were asked for it.
fn claim(node: &Node, job: &Job, consumer: PublicKey) -> Result<(), Refusal> {
    node.records.claim(consumer, job.run.job, SystemTime::now()).map_err(unnamed)
}

fn busy() -> Refusal {
    Refusal::new(FailCode::Busy, "this node runs as many jobs as it can, try again")
}

/// How often whoever waits for something else looks whether its consumer is still there.
const GLANCE: Duration = Duration::from_millis(50);

/// A consumer that says something, or hangs up, before it has its answer has given the job up.
pub(super) fn still_wanted(consumer: &mut Lane) -> Result<(), Trouble> {
    if consumer.readable(Duration::ZERO).map_err(own)? {
        return Err(Refusal::new(FailCode::Refused, "the request was given up").into());
    }
    Ok(())
}

/// A slot for a job whose consumer still waits.
pub(super) fn slot(
    slots: &Arc<Slots>,
    size: u64,
    consumer: &mut Lane,
    patience: Duration,
) -> Result<Option<Slot>, Trouble> {
    slot_of(consumer.peer(), slots, size, consumer, patience)
}

/// A slot that counts as this key's, for whoever waits on the lane.
pub(super) fn slot_of(
    key: PublicKey,
    slots: &Arc<Slots>,
    size: u64,
    asker: &mut Lane,
    patience: Duration,
) -> Result<Option<Slot>, Trouble> {
    slots.take_while(key, size, patience, GLANCE, || still_wanted(asker))
}

/// What a job runs with.
pub(super) type Model = (Arc<Plan>, Arc<WeightMaterial>);

/// Plan and weights of a task, if the key may still use them and there is room: both, or nothing is held.
pub(super) fn model(node: &Node, task: &Task, key: &PublicKey) -> Result<Model, ModelError> {
    let permit = node.models.permit(task, key)?;
    let weights = permit.material()?;
    Ok((permit.plan()?.0, weights))
}

/// Makes something ready as soon as running jobs leave room for it, if the asker waits so long.
pub(super) fn patiently<T>(
    asker: &mut Lane,
    patience: Duration,
    mut make: impl FnMut() -> Result<T, ModelError>,
) -> Result<T, Trouble> {
    let end = Instant::now() + patience;
    loop {
        match make() {
            Err(ModelError::Busy) if Instant::now() < end => {
                still_wanted(asker)?;
                std::thread::sleep(GLANCE);
            }
            result => return Ok(result?),
        }
    }
}

fn as_first(node: &Arc<Node>, consumer: &mut Lane, job: Job) -> Result<Outcome, Trouble> {
    meeting::meet(node, consumer, &job.run)?;
    claim(node, &job, consumer.peer())?;
    let wanted = Purpose { asked_by: consumer.peer(), job: Some(job.run.job) };
    let patience = node.config.timeouts.request();
    let _slot = slot(&node.first_slots, 1, consumer, patience)?.ok_or_else(busy)?;
    let end = Instant::now() + patience;
    loop {
        let no_pack = || {
            let text = "no preprocessing pack is left for this graph, assignment and mode: prepare some";
            Refusal::new(FailCode::NoPack, text)
        };
        let reserved = node.packs.reserve_while(&job.key, &wanted, patience, GLANCE, || still_wanted(consumer))?;
        let mut reserved = reserved.ok_or_else(no_pack)?;
        let id = reserved.id();
        // Only now: a job that waits for its pack must not hold the memory in which the pack is made.
        let _memory = slot(&node.job_memory, job.memory, consumer, patience)?.ok_or_else(busy)?;
        let model = patiently(consumer, patience, || model(node, &job.run.task, &wanted.asked_by))?;
        if let Err(error) = reserved.load(EvaluatorRole::First) {
            tracing::warn!(%error, "an unusable pack is destroyed");
            reserved.destroy()?;
            continue;
        }
        let Some(seal) = reserved.header().map(|header| header.seal) else { continue };
        let mut transcript = transcript(node, &job, consumer.peer(), id, &seal)?;
        let mut lane = node.peer_lane(job.other).map_err(peer)?;
        let open = OpenJob {
            job: job.run.job,
            task: job.run.task,
            consumer: consumer.peer().0,
            pack: id,
            held: node.packs.held(&job.key),
            secret: contribution()?,
            signature: transcript.signature(),
        };
        let start = (Instant::now(), lane.bytes());
        let offered = reserved.offer(|| still_wanted(consumer))?;
        match ask_to_open(node, &mut lane, &open) {
            Ok(OpenReply::Go(second, signature)) => {
                let (pack, in_use) = offered.take(EvaluatorRole::First)?;
                let zero = match transcript.join([&open.secret, &second], signature) {
                    Ok(zero) => zero,
                    Err(contradiction) => {
                        let trouble = contradicted(&mut lane, &contradiction).into();
                        keep_failed(node, transcript, None, &trouble);
                        return Err(trouble);
                    }
                };
                let other = job.other;
                let outcome = evaluate(node, &mut lane, consumer, job, model, pack, (transcript, zero), start)?;
                node.put_back(other, lane);
                drop(in_use);
                return Ok(outcome);
            }
            Ok(OpenReply::NoSuchPack) => {
                tracing::info!(pack = %id, "the other evaluator does not hold this pack, it is destroyed");
                drop(offered);
                node.put_back(job.other, lane);
            }
            Ok(OpenReply::Busy) if Instant::now() < end => {
                offered.give_back(); // untouched on both sides
                node.put_back(job.other, lane);
                std::thread::sleep(GLANCE);
            }
            Ok(OpenReply::Busy) => {
                offered.give_back();
                return Err(busy().into());
            }
            Ok(OpenReply::Gone) => {
                offered.give_back();
                node.put_back(job.other, lane);
                return Err(Refusal::new(FailCode::Refused, "the job was given up at the other evaluator").into());
            }
            Err(trouble) => {
                // Nobody knows whether the second has begun to use its half.
                drop(offered);
                keep_failed(node, transcript, None, &trouble);
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
    node: &Node,
    job: &Job,
    consumer: PublicKey,
    pack: PackId,
    seal: &SignedSeal,
) -> Result<Transcript, Refusal> {
    let task = job.run.task;
    let key = |index: u8| node.committee.members[usize::from(index)].key;
    let session = Session {
        committee: node.committee.digest(),
        job: job.run.job,
        pack,
        task,
        consumer,
        evaluators: task.assignment.evaluators().map(key),
        helper: key(task.assignment.helper()),
    };
    let opening = Opening { session, inputs: job.run.inputs, seal: seal.seal };
    let signatures = [job.run.signature, seal.signature];
    let salts = [job.run.salt.clone(), contribution()?];
    Ok(Transcript::open(opening, job.role as usize, signatures, salts, &node.identity))
}

/// Also for a consumer that goes meanwhile: the second evaluator answers at once, and may say that the pack is untouched.
fn ask_to_open(node: &Node, lane: &mut Lane, open: &OpenJob) -> Result<OpenReply, Trouble> {
    lane.begin("while the job was opened", Traffic::Online, node.config.timeouts.round() + OPENING);
    lane.send(open).map_err(peer)?;
    lane.receive().map_err(peer)
}

fn as_second(
    node: &Arc<Node>,
    consumer: &mut Lane,
    job: Job,
    registered: &meeting::Registered<'_>,
) -> Result<Outcome, Trouble> {
    let ready = registered.ready();
    let outcome = opened_by_first(node, consumer, job, registered, &ready);
    // What was opened in the last moment: nothing of it was touched.
    ready.try_iter().for_each(|opened| answer(opened, &OpenReply::Gone));
    outcome
}

/// Answers an opening without having touched its pack; the lane's thread goes on waiting for requests.
fn answer(mut opened: Opened, reply: &OpenReply) {
    match opened.lane.send(reply) {
        Ok(()) => drop(opened.give_back.send(opened.lane)),
        Err(error) => tracing::info!(%error, "the first evaluator did not wait for an answer"),
    }
}

fn opened_by_first(
    node: &Arc<Node>,
    consumer: &mut Lane,
    job: Job,
    registered: &meeting::Registered<'_>,
    ready: &Receiver<Opened>,
) -> Result<Outcome, Trouble> {
    let began = Instant::now();
    let mut claimed = false;
    loop {
        let mut opened = loop {
            // The first evaluator asks about the job as soon as it is asked for it.
            let timeouts = &node.config.timeouts;
            let patience = if registered.was_asked() { timeouts.request() } else { timeouts.meet() };
            match ready.recv_timeout(GLANCE) {
                Ok(opened) => break opened,
                Err(RecvTimeoutError::Timeout) if began.elapsed() < patience => {}
                Err(_) => {
                    let text =
                        format!("{} was not asked for the job, or did not open it", node.committee.label(job.other));
                    return Err(Refusal::new(FailCode::Refused, text).into());
                }
            }
            if node.is_stopping() {
                return Err(Refusal::new(FailCode::Stopping, "this node is shutting down").into());
            }
            still_wanted(consumer)?;
        };
        if !std::mem::replace(&mut claimed, true)
            && let Err(refusal) = claim(node, &job, consumer.peer())
        {
            answer(opened, &OpenReply::Gone);
            return Err(refusal.into());
        }
        opened.lane.begin("while the job was opened", Traffic::Online, node.config.timeouts.round());
        node.packs.keep_only(&job.key, &opened.open.held)?;
        let whole = match node.packs.reserve_this(&job.key, &opened.open.pack) {
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
        let room = (node.second_slots.take(key, 1), node.job_memory.take(key, job.memory));
        let (Some(_slot), Some(_memory)) = room else {
            drop(reserved); // before the first evaluator may ask for it again
            answer(opened, &OpenReply::Busy);
            continue;
        };
        let model = match model(node, &job.run.task, &key) {
            Ok(model) => model,
            Err(error) => {
                drop(reserved);
                if matches!(error, ModelError::Busy) {
                    answer(opened, &OpenReply::Busy);
                    continue;
                }
                answer(opened, &OpenReply::Gone);
                return Err(error.into());
            }
        };
        // The last moment at which both halves of the pack go back as they were.
        if let Err(trouble) = still_wanted(consumer) {
            drop(reserved);
            answer(opened, &OpenReply::Gone);
            return Err(trouble);
        }
        let lane = &mut opened.lane;
        let seal = reserved.header().map(|header| header.seal);
        let (pack, in_use) = reserved.take(EvaluatorRole::Second)?;
        let seal = seal.ok_or_else(|| Refusal::new(FailCode::Internal, "a pack without its seal"))?;
        let start = (Instant::now(), lane.bytes());
        let mut transcript = transcript(node, &job, consumer.peer(), opened.open.pack, &seal)?;
        let second = contribution()?;
        let joined = transcript.join([&opened.open.secret, &second], opened.open.signature);
        let joined = joined.map_err(|c| contradicted(lane, &c).into()).and_then(|zero| {
            lane.send(&OpenReply::Go(second, transcript.signature())).map_err(peer)?;
            Ok(zero)
        });
        let zero = match joined {
            Ok(zero) => zero,
            Err(trouble) => {
                keep_failed(node, transcript, None, &trouble);
                return Err(trouble);
            }
        };
        let outcome = evaluate(node, lane, consumer, job, model, pack, (transcript, zero), start)?;
        drop(in_use);
        let _ = opened.give_back.send(opened.lane); // its thread goes on waiting for requests
        return Ok(outcome);
    }
}

/// An evaluator's fresh contribution to a job's secret.
fn contribution() -> Result<Seed, Refusal> {
    Seed::random().map_err(no_random)
}

/// When a job began, and what its lane had sent and received by then.
type Start = (Instant, (u64, u64));

/// The rounds of a job, in this thread, on this lane; they end early when nobody waits for the answer any more.
fn evaluate(
    node: &Node,
    lane: &mut Lane,
    consumer: &mut Lane,
    job: Job,
    (plan, weights): Model,
    pack: PackContents,
    (mut transcript, zero): (Transcript, ZeroSharing),
    (start, before): Start,
) -> Result<Outcome, Trouble> {
    let _running = Running::new(node);
    let mut end = None;
    let result = (|| {
        lane.begin("before the first round", Traffic::Online, node.config.timeouts.round());
        let mut waiting = Duration::ZERO;
        let mut round = 0;
        let mut evaluator = Evaluator::new(plan, weights, job.role, pack, job.inputs.into_tensors(), zero)?;
        let mut step = evaluator.step(None)?;
        let (outputs, rounds) = loop {
            match step {
                Step::Exchange { send, name } => {
                    round += 1;
                    still_wanted(consumer)?;
                    lane.set_step(|text| {
                        let _ = write!(text, "in round {round} ({name})"); // a String takes everything
                    });
                    let signature = transcript.checkpoint(&node.identity);
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
        let own = *end.insert(transcript.finish(&outputs, &node.identity));
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
        Ok((outputs, figures, own))
    })();
    // Before the consumer hears of the end: it may ask for the counters at once.
    lane.count();
    match result {
        Ok((outputs, figures, own)) => {
            let salt = transcript.output_salt().clone();
            let (record, openings) = transcript.close(Some(own), None, now_millis(), &node.identity);
            Ok(Outcome { outputs, figures, end: own, salt, record, openings })
        }
        Err(trouble) => {
            if let Trouble::Refusal(refusal) = &trouble {
                // The other evaluator may be waiting for the next frame: tell it instead of letting it time out.
                lane.refuse(FailCode::Peer, &refusal.text);
            }
            keep_failed(node, transcript, end, &trouble);
            Err(trouble)
        }
    }
}

/// Why the job ends when the other evaluator signed something else than this node saw.
fn signed_otherwise(lane: &Lane, contradiction: &Contradiction) -> Refusal {
    Refusal::new(FailCode::Peer, format!("{} {contradiction}", lane.who()))
}
