//! An evaluator: a deterministic state machine that exchanges one frame a round with its peer.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Waker};

use sahara_circuits::graph::NodeId;

use crate::dealt::Dealt;
use crate::error::ProtocolError;
use crate::eval_context::EvalContext;
use crate::exchange::Exchange;
use crate::job_secret::ZeroSharing;
use crate::pack::PackContents;
use crate::plan::Plan;
use crate::prepare_context::PrepareContext;
use crate::ring::prg::{Label, Prg, Seed};
use crate::ring::secret::Secret;
use crate::ring::words;
use crate::roles::EvaluatorRole;
use crate::weights::WeightMaterial;
use crate::wires::Wires;

/// What an evaluator wants next.
#[derive(Debug)]
pub enum Step {
    /// Send these bytes to the peer evaluator, receive exactly as many, and call [`Evaluator::step`] with them.
    Exchange {
        /// The frame to send.
        send: Secret<u8>,
        /// The graph node that waits for it, for messages to people.
        name: String,
    },
    /// The job is done.
    Done {
        /// Additive shares of the graph's outputs, re-randomised.
        outputs: Vec<Vec<u32>>,
        /// Frames exchanged.
        rounds: u32,
    },
}

/// Bytes that a job claims for each gate, besides tensors.
pub(crate) const GATE_BYTES: u64 = 4096;

/// One evaluator of one job. It owns its pack, so no mask can serve a second job.
pub struct Evaluator {
    job: Arc<Job>,
    /// One for each node; `None` when it is done.
    gates: Vec<Option<Pin<Box<dyn Future<Output = ()> + Send>>>>,
    /// All before are done.
    first_running: usize,
    /// Bytes that the peer's next frame has.
    expected: Option<usize>,
    /// Gone once the outputs have been given out.
    zero: Option<ZeroSharing>,
}

/// What all gates of a job share.
struct Job {
    plan: Arc<Plan>,
    weights: Arc<WeightMaterial>,
    first: bool,
    seed: Seed,
    /// Not wiped: each byte is masked by the stream of the first evaluator's seed, which is (SECURITY.md).
    corrections: Vec<u8>,
    prepared: Secret<u8>,
    exchange: Exchange,
    wires: Wires,
}

impl Evaluator {
    /// A machine for one job, from its pack, this evaluator's shares of the inputs, and the sharing of zero that both
    /// evaluators derive from the job's secret.
    ///
    /// # Errors
    /// When pack, weights or inputs do not belong to the plan.
    pub fn new(
        plan: Arc<Plan>,
        weights: Arc<WeightMaterial>,
        role: EvaluatorRole,
        mut pack: PackContents,
        inputs: Vec<Vec<u32>>,
        zero: ZeroSharing,
    ) -> Result<Self, ProtocolError> {
        let inputs: Vec<Secret<u32>> = inputs.into_iter().map(Secret::from).collect();
        check_material(&plan, &weights, role, &pack.corrections)?;
        let first = role == EvaluatorRole::First;
        if pack.prepared.len() as u64 != plan.prepared_len() {
            return Err(ProtocolError::PackLength);
        }
        let graph = plan.graph();
        if inputs.len() != graph.inputs.len()
            || inputs.iter().zip(&graph.inputs).any(|(x, spec)| x.len() != spec.shape.len())
        {
            return Err(ProtocolError::Inputs);
        }
        let readers = plan.gates.iter().map(|planned| planned.flow.readers).collect();
        let job = Arc::new(Job {
            first,
            seed: pack.seed.clone(),
            corrections: std::mem::take(&mut pack.corrections),
            prepared: std::mem::take(&mut pack.prepared).into(),
            exchange: Exchange::default(),
            wires: Wires::new(inputs, readers),
            plan,
            weights,
        });
        let gates = (0..job.plan.gates.len())
            .map(|index| {
                let gate: Pin<Box<dyn Future<Output = ()> + Send>> = Box::pin(run(job.clone(), index));
                Some(gate)
            })
            .collect();
        Ok(Self { job, gates, first_running: 0, expected: None, zero: Some(zero) })
    }

    /// Advances as far as possible: the first call without a frame, each later one with the peer's frame.
    ///
    /// # Errors
    /// When the frame does not have the length of the one that was sent.
    pub fn step(&mut self, received: Option<Secret<u8>>) -> Result<Step, ProtocolError> {
        match (self.expected.take(), received) {
            (None, None) => {}
            (Some(expected), Some(bytes)) if bytes.len() == expected => self.job.exchange.deliver(bytes),
            (expected, received) => {
                return Err(ProtocolError::FrameLength {
                    expected: expected.unwrap_or(0),
                    received: received.map_or(0, |b| b.len()),
                });
            }
        }
        self.poll();
        if let Some((send, node)) = self.job.exchange.take() {
            self.expected = Some(send.len());
            return Ok(Step::Exchange { send, name: self.job.plan.name(node).to_owned() });
        }
        let outputs = self.job.plan.graph().outputs.iter();
        let outputs: Option<Vec<Vec<u32>>> =
            outputs.map(|id| self.job.wires.get(*id).map(|share| share.to_vec())).collect();
        let mut outputs = outputs.ok_or(ProtocolError::Finished)?;
        let zero = self.zero.take().ok_or(ProtocolError::Finished)?;
        for (index, share) in outputs.iter_mut().enumerate() {
            zero.apply(self.job.first, index as u32, share);
        }
        Ok(Step::Done { outputs, rounds: self.job.exchange.rounds() })
    }

    /// Gives the memory of the pack's corrections back when the job is done, for the next pack's; all else is wiped.
    pub fn into_corrections(self) -> Vec<u8> {
        let Self { job, gates, .. } = self;
        drop(gates);
        Arc::into_inner(job).map(|job| job.corrections).unwrap_or_default()
    }

    fn poll(&mut self) {
        let mut context = Context::from_waker(Waker::noop());
        for slot in &mut self.gates[self.first_running..] {
            if slot.as_mut().is_some_and(|gate| gate.as_mut().poll(&mut context).is_ready()) {
                *slot = None;
            }
        }
        while self.gates.get(self.first_running).is_some_and(Option::is_none) {
            self.first_running += 1;
        }
    }
}

/// This evaluator's products with masks only: they depend on no input and are made ahead of the job.
/// `corrections` is empty for the first evaluator.
///
/// # Errors
/// When the weights or corrections do not belong to the plan.
pub fn prepare(
    plan: &Plan,
    weights: &WeightMaterial,
    role: EvaluatorRole,
    seed: &Seed,
    corrections: &[u8],
) -> Result<Vec<u8>, ProtocolError> {
    check_material(plan, weights, role, corrections)?;
    let mut out = Vec::with_capacity(plan.prepared_len() as usize);
    for (index, planned) in plan.gates.iter().enumerate() {
        let context = PrepareContext { seed, weights, operands: &planned.operands };
        words::encode(4, &planned.gate.prepare(&context), &mut out);
        if out.len() != planned.prepared.end {
            return Err(ProtocolError::Layout(plan.name(index as u32).to_owned()));
        }
    }
    Ok(out)
}

/// Whether weights and corrections are what an evaluator of this role needs for the plan.
fn check_material(
    plan: &Plan,
    weights: &WeightMaterial,
    role: EvaluatorRole,
    corrections: &[u8],
) -> Result<(), ProtocolError> {
    if !weights.is_evaluators(role, plan.visibility()) {
        return Err(ProtocolError::WeightKind);
    }
    let expected = if role == EvaluatorRole::First { 0 } else { plan.correction_len() };
    if corrections.len() as u64 == expected { Ok(()) } else { Err(ProtocolError::PackLength) }
}

/// One node: its gate, then settling its deficit and opening its value if the plan says so.
async fn run(job: Arc<Job>, index: usize) {
    let planned = &job.plan.gates[index];
    let mut context = context(&job, index);
    let mut share = planned.gate.evaluate(&mut context).await;
    job.wires.release(&planned.operands);
    if planned.flow.settle {
        let mut deficit = Secret::from(vec![0; share.len()]);
        context.dealt.additive(4, &mut deficit);
        share.iter_mut().zip(deficit.iter()).for_each(|(s, g)| *s = s.wrapping_add(*g));
    }
    let share = Arc::new(Secret::from(share));
    let id = NodeId(index as u32);
    job.wires.put_shares(id, share.clone());
    // Gates that read the shares need not wait for the opening.
    if planned.flow.open {
        context.masks = Prg::new(&job.seed, Label::Operand(id.0));
        let masked = context.open_masked(4, &share).await;
        job.wires.put_masked(id, masked);
    }
}

fn context(job: &Job, index: usize) -> EvalContext<'_> {
    let (planned, node) = (&job.plan.gates[index], index as u32);
    EvalContext {
        node,
        first: job.first,
        masks: Prg::new(&job.seed, Label::Mask(node)),
        dealt: if job.first {
            Dealt::First(Box::new(Prg::new(&job.seed, Label::Dealt(node))))
        } else {
            Dealt::Second(&job.corrections[planned.corrections.clone()])
        },
        prepared: &job.prepared[planned.prepared.clone()],
        weights: &job.weights,
        operands: &planned.operands,
        wires: &job.wires,
        exchange: &job.exchange,
    }
}

#[cfg(test)]
mod tests {
    use sahara_circuits::testgraph;

    use super::*;
    use crate::roles::{Rounding, Visibility};

    #[test]
    fn a_gate_is_as_small_as_said() {
        fn size<F>(_: impl Fn(Arc<Job>, usize) -> F) -> usize {
            size_of::<F>()
        }
        let mut seen = std::collections::BTreeSet::new();
        for number in 0..40 {
            let graph = Arc::new(testgraph::random(number).0);
            let plan = Arc::new(Plan::new(graph.clone(), Rounding::Exact, Visibility::Private).unwrap());
            let job = Job {
                weights: Arc::new(WeightMaterial::helper_open()),
                first: true,
                seed: Seed::from_bytes([1; 32]),
                corrections: Vec::new(),
                prepared: vec![0; plan.prepared_len() as usize].into(),
                exchange: Exchange::default(),
                wires: Wires::new(Vec::new(), vec![0; plan.gates.len()]),
                plan,
            };
            for (index, node) in graph.nodes.iter().enumerate() {
                let mut context = context(&job, index);
                let gate = size_of_val(&*job.plan.gates[index].gate.evaluate(&mut context));
                let both = gate + size(run) + size_of::<Prg>();
                // The boxes around them, and its places in the tables of wires.
                assert!(both as u64 + 512 <= GATE_BYTES, "{}: {gate} and {}", node.op.name(), size(run));
                seen.insert(node.op.name());
            }
        }
        assert!(seen.len() > 15, "{seen:?}");
    }
}
