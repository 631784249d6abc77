//! Running one job: share the input, give each evaluator its half, add the halves of the answer.

use std::time::{Duration, Instant};

use sahara_circuits::graph::Graph;

use super::paying::{Payment, REFUSALS};
use super::{Client, ClientError, Pair};
use crate::channel::time_for;
use crate::engine::{combine_outputs, random_seed, share_inputs};
use crate::identity::PublicKey;
use crate::lane::Lane;
use crate::market::Complete;
use crate::meter::Traffic;
use crate::transcript::{SignedRecord, end_of, output_commitment, sign_requests};
use crate::wire::{Again, FailCode, JobFigures, JobId, Message, Run, RunReply, Share, Task};

/// One job.
#[derive(Clone, Copy, Debug)]
pub struct Job<'a> {
    /// The graph (`task.graph` is its id).
    pub graph: &'a Graph,
    /// What to compute, and with which roles.
    pub task: Task,
    /// The private inputs, one tensor for each of the graph's; an empty one for each that the nodes supply.
    pub inputs: &'a [Vec<i32>],
    /// Have a pack prepared when none is left.
    pub auto_prepare: bool,
}

/// A job's figures.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct JobStats {
    /// Rounds between the evaluators.
    pub rounds: u32,
    /// Bytes that the evaluators sent each other, both together.
    pub online_bytes: u64,
    /// Seconds from opening the job to its last round, of the slower evaluator.
    pub online_seconds: f64,
    /// Of that, seconds that the less waiting evaluator waited for the other (transport included).
    pub waiting_seconds: f64,
    /// Bytes that the client sent and received, both nodes together.
    pub client_bytes: u64,
    /// Seconds as the client saw it, from sharing the input to adding the answer.
    pub client_seconds: f64,
    /// Whether a pack had to be prepared first (its time is not in `client_seconds`).
    pub prepared: bool,
}

/// A job's answer.
#[derive(Clone, Debug, PartialEq)]
pub struct Inference {
    /// The job's name in the transcripts.
    pub job: JobId,
    /// Output tensors.
    pub outputs: Vec<Vec<i32>>,
    /// Figures.
    pub stats: JobStats,
    /// Both evaluators' signed transcripts, which agree.
    pub transcripts: [SignedRecord; 2],
    /// The receipt of a job that was paid, which the client's purse has taken.
    pub receipt: Option<Complete>,
}

/// How often a pack is made for one job: a node may be restarted meanwhile.
const ATTEMPTS: u32 = 3;

impl Client {
    /// Runs a job.
    ///
    /// # Errors
    /// When the inputs are not of the graph, a node is not reached, has too much to do, does not have the sharing or
    /// fails, or the two evaluators contradict each other; [`ClientError::Stopped`].
    pub fn infer(&self, job: &Job<'_>) -> Result<Inference, ClientError> {
        check_inputs(job.graph, job.inputs)?;
        self.infer_with(job, JobId::random()?, 0)
    }

    /// Runs a job with a pack that is made for it first: a request less where none is expected to be ready.
    ///
    /// # Errors
    /// As [`Client::infer`] and [`Client::prepare`].
    pub fn infer_prepared(&self, job: &Job<'_>) -> Result<Inference, ClientError> {
        check_inputs(job.graph, job.inputs)?;
        let id = JobId::random()?;
        self.prepare_for(&job.task, 1, Some(id), &mut |_| ())?;
        self.infer_with(job, id, 1)
    }

    fn infer_with(&self, job: &Job<'_>, mut id: JobId, mut prepared: u32) -> Result<Inference, ClientError> {
        let (mut shown_again, mut paid_again, mut refusals) = (false, false, 0);
        loop {
            // Whether nodes showed a receipt when what they were paid with came to nothing.
            let mut receipted = None;
            let error = match self.infer_once(job, id, &mut receipted) {
                Ok(mut inference) => {
                    inference.stats.prepared = prepared > 0;
                    return Ok(inference);
                }
                Err(error) => error,
            };
            match error.code() {
                // The pack is kept for the job that it is made for; it is lost only with a node.
                Some(FailCode::NoPack) if job.auto_prepare && prepared < ATTEMPTS => {
                    prepared += 1;
                    id = JobId::random()?;
                    self.prepare_for(&job.task, 1, Some(id), &mut |_| ())?;
                }
                Some(FailCode::Unpresented) if !std::mem::replace(&mut shown_again, true) => {
                    self.forgotten(&job.task.manifest);
                    id = JobId::random()?;
                }
                // A total that the purse did not know to be spent: it knows now.
                Some(FailCode::Unpaid) if receipted == Some(true) && !std::mem::replace(&mut paid_again, true) => {
                    id = JobId::random()?;
                }
                // What the purse itself refuses to pay is not to be had from another session.
                Some(FailCode::Unpaid)
                    if receipted.is_some() && refusals < REFUSALS && self.refused(&job.task.manifest) =>
                {
                    refusals += 1;
                    id = JobId::random()?;
                }
                _ => return Err(error),
            }
        }
    }

    /// Runs a job once; for money in its turn, and if it comes to nothing the purse is told. `receipted` says whether a node showed a
    /// receipt then; nothing if nobody was to be paid.
    fn infer_once(&self, job: &Job<'_>, id: JobId, receipted: &mut Option<bool>) -> Result<Inference, ClientError> {
        self.show_all(&job.task.manifest)?;
        let shares = share_inputs(job.inputs, &random_seed()?).map(Share);
        let mut runs = sign_requests(&self.identity, &self.committee.digest(), id, job.task, &shares)?;
        let payment = self.pay(id, job.task, runs[0].inputs)?;
        Self::attach(payment.as_ref(), &mut runs);
        let result = self.infer_paid(job, id, &shares, &runs, payment.as_ref());
        match (&result, &payment) {
            (Err(ClientError::Stopped), Some(payment)) => payment.dropped(),
            (Err(_), Some(payment)) => *receipted = Some(self.unpaid(payment)),
            _ => {}
        }
        result
    }

    fn infer_paid(
        &self,
        job: &Job<'_>,
        id: JobId,
        shares: &[Share; 2],
        runs: &[Run; 2],
        payment: Option<&Payment<'_>>,
    ) -> Result<Inference, ClientError> {
        let start = Instant::now();
        let pair = Pair::new(self.options.job_timeout, self.stop.clone());
        let time = self.options.job_timeout + time_for(transferred(job.graph));
        let [first, second] = job.task.assignment.evaluators();
        let (a, b) = std::thread::scope(|scope| {
            let other = scope.spawn(|| pair.note(self.run_half(second, &runs[1], &shares[1], &pair, time)));
            let a = pair.note(self.run_half(first, &runs[0], &shares[0], &pair, time));
            (a, other.join().unwrap_or_else(|_| Err(ClientError::Answer("internal: a job thread died".into()))))
        });
        let error = match (a, b) {
            (Ok(a), Ok(b)) => return self.answer(job, id, runs, payment, ([a, b], start)),
            (Err(a), Err(b)) => {
                if b.depth() > a.depth() {
                    b
                } else {
                    a
                }
            }
            (Err(e), Ok(_)) | (Ok(_), Err(e)) => e,
        };
        // What was paid may have come to an answer that did not arrive, or whose receipt becomes complete after all.
        let lost = matches!(error.code(), None | Some(FailCode::Peer | FailCode::Internal | FailCode::Stopping));
        match payment
            .filter(|_| lost && self.stop.check().is_ok())
            .and_then(|_| self.halves_again(runs, transferred(job.graph)))
        {
            Some(halves) => self.answer(job, id, runs, payment, (halves, start)),
            None => Err(error),
        }
    }

    /// Both halves of the answer of a paid job once more, if both evaluators still have them.
    pub(super) fn halves_again(&self, runs: &[Run; 2], transferred: u64) -> Option<[Half; 2]> {
        let run = &runs[0];
        let again = Again { job: run.job, task: run.task, inputs: run.inputs, voucher: run.voucher.clone() };
        let half = |node: u8| {
            self.on_lane(node, |lane| {
                let before = lane.bytes();
                // A node that makes one wait for it now does so for no longer than it takes to look for another committee.
                let time = 2 * self.options.connect_timeout + time_for(transferred);
                lane.begin("when asked for the answer once more", Traffic::Client, time);
                lane.limit(Some(time));
                lane.send(&again)?;
                let reply: RunReply = lane.receive()?;
                let transcript = read_transcript(lane, &reply)?;
                let after = lane.bytes();
                Ok(Half { reply, transcript, bytes: after.0 - before.0 + after.1 - before.1 })
            })
        };
        let [first, second] = run.task.assignment.evaluators();
        std::thread::scope(|scope| {
            let other = scope.spawn(|| half(second));
            let (a, b) = (half(first), other.join().ok()?);
            Some([a.ok()?, b.ok()?])
        })
    }

    /// Adds the halves of an answer, after all was checked that they say.
    fn answer(
        &self,
        job: &Job<'_>,
        id: JobId,
        runs: &[Run; 2],
        payment: Option<&Payment<'_>>,
        ([a, b], start): ([Half; 2], Instant),
    ) -> Result<Inference, ClientError> {
        let outputs =
            combine_outputs(&a.reply.outputs.0, &b.reply.outputs.0).filter(|out| fits_outputs(job.graph, out));
        let outputs =
            outputs.ok_or_else(|| ClientError::Answer("the evaluators' output shares have wrong shapes".into()))?;
        let transcripts = [a.transcript, b.transcript];
        for (index, half) in [&a, &b].into_iter().enumerate() {
            self.check_end(index, half, &runs[index], self.identity.public())?;
        }
        if !transcripts[0].agrees_with(&transcripts[1]) {
            return Err(ClientError::Answer("the evaluators' transcripts of the job do not agree".into()));
        }
        let receipts = [&a, &b].map(|half| half.reply.complete.as_ref());
        match payment {
            None if receipts.iter().any(Option::is_some) => {
                return Err(ClientError::Answer("an evaluator gave a receipt for a job that nobody paid".into()));
            }
            None => {}
            Some(payment) => {
                let no_end = || ClientError::Answer("the evaluators' transcripts are of a job without an end".into());
                let end = end_of(&transcripts[0], &transcripts[1]).ok_or_else(no_end)?;
                payment.paid(&end, receipts)?;
            }
        }
        let receipt = receipts[0].cloned();
        let (x, y) = (a.reply.figures, b.reply.figures);
        let micros = |f: fn(&JobFigures) -> u64, pick: fn(u64, u64) -> u64| pick(f(&x), f(&y)) as f64 * 1e-6;
        let stats = JobStats {
            rounds: x.rounds,
            online_bytes: x.sent + y.sent,
            online_seconds: micros(|f| f.wall_micros, u64::max),
            waiting_seconds: micros(|f| f.waiting_micros, u64::min),
            client_bytes: a.bytes + b.bytes,
            client_seconds: start.elapsed().as_secs_f64(),
            prepared: false,
        };
        Ok(Inference { job: id, outputs, stats, transcripts, receipt })
    }

    /// Checks that an evaluator's signed end is of this job, and fixes the answer that it gave.
    pub(super) fn check_end(
        &self,
        index: usize,
        half: &Half,
        run: &Run,
        consumer: PublicKey,
    ) -> Result<(), ClientError> {
        let record = &half.transcript.record;
        let session = &record.opening.session;
        let [first, second] = run.task.assignment.evaluators();
        let evaluators = self.committee.roles(run.task.assignment)?.evaluators.map(|member| member.key);
        let named = usize::from(record.signer) == index
            && (session.committee, session.job, session.task) == (self.committee.digest(), run.job, run.task)
            && session.consumer == consumer
            && session.evaluators == evaluators
            && record.opening.inputs == run.inputs;
        let who = || self.committee.label([first, second][index]);
        if !named {
            return Err(ClientError::Answer(format!("{} signed the transcript of another job", who())));
        }
        let answer = output_commitment(half.reply.salt.as_bytes(), index, &half.reply.outputs);
        if record.output != Some(answer) {
            return Err(ClientError::Answer(format!("{} gave another answer than it signed", who())));
        }
        Ok(())
    }

    fn run_half(&self, node: u8, run: &Run, share: &Share, pair: &Pair, time: Duration) -> Result<Half, ClientError> {
        self.on_lane(node, |lane| {
            let before = lane.bytes();
            lane.begin("while it ran the job", Traffic::Client, self.options.job_timeout);
            lane.limit(Some(time));
            lane.send(run)?;
            lane.send(share)?;
            pair.wait(lane)?;
            let reply: RunReply = lane.receive()?;
            let transcript = read_transcript(lane, &reply)?;
            let after = lane.bytes();
            Ok(Half { reply, transcript, bytes: after.0 - before.0 + after.1 - before.1 })
        })
    }
}

pub(super) struct Half {
    pub(super) reply: RunReply,
    pub(super) transcript: SignedRecord,
    bytes: u64,
}

fn read_transcript(lane: &Lane, reply: &RunReply) -> Result<SignedRecord, ClientError> {
    let record = SignedRecord::decode(&reply.transcript)
        .map_err(|e| ClientError::Answer(format!("{} sent a damaged transcript: {e}", lane.who())))?;
    if record.is_signed() {
        Ok(record)
    } else {
        Err(ClientError::Answer(format!("{} sent a transcript with a wrong signature", lane.who())))
    }
}

/// Bytes of a half of the inputs and of the outputs.
fn transferred(graph: &Graph) -> u64 {
    let inputs = graph.inputs.iter().map(|input| input.shape.len());
    let outputs = graph.outputs.iter().filter_map(|id| graph.nodes.get(id.0 as usize)).map(|node| node.shape.len());
    inputs.chain(outputs).map(|len| len as u64 * 4).sum()
}

fn check_inputs(graph: &Graph, inputs: &[Vec<i32>]) -> Result<(), ClientError> {
    if inputs.len() != graph.inputs.len() {
        let text = format!("the graph takes {} inputs, {} were given", graph.inputs.len(), inputs.len());
        return Err(ClientError::Request(text));
    }
    for (values, spec) in inputs.iter().zip(&graph.inputs) {
        // One that the nodes supply; they refuse the job if they do not.
        if values.is_empty() {
            continue;
        }
        spec.check(values).map_err(|e| ClientError::Request(e.to_string()))?;
    }
    Ok(())
}

fn fits_outputs(graph: &Graph, outputs: &[Vec<i32>]) -> bool {
    outputs.len() == graph.outputs.len()
        && outputs
            .iter()
            .zip(&graph.outputs)
            .all(|(out, id)| graph.nodes.get(id.0 as usize).is_some_and(|node| node.shape.len() == out.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Of one evaluator alone the shapes would not fit the other's; this is for two that agree.
    #[test]
    fn an_answer_has_the_graphs_outputs() {
        let (graph, weights, inputs) = sahara_circuits::testgraph::random(5);
        let options = sahara_circuits::reference::ExecOptions::default();
        let outputs = sahara_circuits::reference::execute(&graph, &weights, &inputs, &options).unwrap().outputs;
        assert!(fits_outputs(&graph, &outputs));
        let (mut longer, mut shorter, mut more) = (outputs.clone(), outputs.clone(), outputs.clone());
        longer[0].push(0);
        shorter[0].truncate(outputs[0].len() - 1);
        more.push(Vec::new());
        for wrong in [&longer[..], &shorter, &more, &outputs[1..]] {
            assert!(!fits_outputs(&graph, wrong));
        }
    }
}
