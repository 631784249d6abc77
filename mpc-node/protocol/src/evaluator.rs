//! An evaluator: a deterministic state machine that exchanges one frame a round with its peer.

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use sahara_circuits::graph::{NodeId, Op};

use super::compare::Gate;
use super::exchange::Exchange;
use super::plan::{GateKind, Plan};
use super::products::{self, Opened};
use super::secret::ZeroSharing;
use super::section::Dealt;
use super::weights::{Kind, WeightMaterial};
use super::{EvaluatorRole, PackContents, ProtocolError, Visibility, linear};
use crate::ring::prg::{Label, Prg, Seed};
use crate::ring::secret::Secret;
use crate::ring::words;

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

/// Bytes that a job claims for each task, besides tensors.
pub(super) const TASK_BYTES: u64 = 4096;

/// One evaluator of one job. It owns its pack, so no mask can serve a second job.
pub struct Evaluator {
    shared: Arc<Shared>,
    tasks: Vec<Option<Pin<Box<dyn Future<Output = ()> + Send>>>>,
    first_open: usize,
    expected: Option<usize>,
    /// Gone once the outputs have been given out.
    zero: Option<ZeroSharing>,
}

struct Shared {
    plan: Arc<Plan>,
    weights: Arc<WeightMaterial>,
    first: bool,
    seed: Seed,
    /// Not wiped: each byte is masked by the stream of the first evaluator's seed, which is (SECURITY.md).
    corrections: Arc<Vec<u8>>,
    prepared: Secret<u8>,
    exchange: Exchange,
    wires: Mutex<Wires>,
}

struct Wires {
    inputs: Vec<Option<Secret<u32>>>,
    shares: Vec<Option<Arc<Secret<u32>>>>,
    opened: Vec<Option<Arc<Opened>>>,
    left: Vec<u32>,
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
        check_weights(&plan, &weights, role)?;
        let first = role == EvaluatorRole::First;
        let corrections = if first { 0 } else { plan.correction_len() };
        if pack.corrections.len() as u64 != corrections || pack.prepared.len() as u64 != plan.prepared_len() {
            return Err(ProtocolError::PackLength);
        }
        let graph = plan.graph();
        if inputs.len() != graph.inputs.len()
            || inputs.iter().zip(&graph.inputs).any(|(x, spec)| x.len() != spec.shape.len())
        {
            return Err(ProtocolError::Inputs);
        }
        let n = plan.tasks.len();
        let shared = Arc::new(Shared {
            first,
            seed: pack.seed.clone(),
            corrections: Arc::new(std::mem::take(&mut pack.corrections)),
            prepared: std::mem::take(&mut pack.prepared).into(),
            exchange: Exchange::default(),
            wires: Mutex::new(Wires {
                inputs: inputs.into_iter().map(Some).collect(),
                shares: vec![None; n],
                opened: (0..n).map(|_| None).collect(),
                left: plan.tasks.iter().map(|t| t.uses).collect(),
            }),
            plan,
            weights,
        });
        let tasks = (0..n)
            .map(|i| {
                let task: Pin<Box<dyn Future<Output = ()> + Send>> = Box::pin(run(shared.clone(), i));
                Some(task)
            })
            .collect();
        Ok(Self { shared, tasks, first_open: 0, expected: None, zero: Some(zero) })
    }

    /// Advances as far as possible: the first call without a frame, each later one with the peer's frame.
    ///
    /// # Errors
    /// When the frame does not have the length of the one that was sent.
    pub fn step(&mut self, received: Option<Secret<u8>>) -> Result<Step, ProtocolError> {
        match (self.expected.take(), received) {
            (None, None) => {}
            (Some(expected), Some(bytes)) if bytes.len() == expected => self.shared.exchange.deliver(bytes),
            (expected, received) => {
                return Err(ProtocolError::FrameLength {
                    expected: expected.unwrap_or(0),
                    received: received.map_or(0, |b| b.len()),
                });
            }
        }
        self.poll();
        if let Some((send, task)) = self.shared.exchange.take() {
            self.expected = Some(send.len());
            return Ok(Step::Exchange { send, name: self.shared.plan.name(task).to_owned() });
        }
        let outputs = &self.shared.plan.graph().outputs;
        let wires = self.shared.wires();
        let outputs: Option<Vec<Vec<u32>>> =
            outputs.iter().map(|id| wires.shares[id.0 as usize].as_ref().map(|share| share.to_vec())).collect();
        let mut outputs = outputs.ok_or(ProtocolError::Finished)?;
        let zero = self.zero.take().ok_or(ProtocolError::Finished)?;
        for (index, share) in outputs.iter_mut().enumerate() {
            zero.apply(self.shared.first, index as u32, share);
        }
        Ok(Step::Done { outputs, rounds: self.shared.exchange.rounds() })
    }

    /// Gives the memory of the pack's corrections back when the job is done, for the next pack's; all else is wiped.
    pub fn into_corrections(self) -> Vec<u8> {
        let Self { shared, tasks, .. } = self;
        drop(tasks);
        Arc::into_inner(shared).and_then(|shared| Arc::into_inner(shared.corrections)).unwrap_or_default()
    }

    fn poll(&mut self) {
        let mut context = Context::from_waker(Waker::noop());
        for slot in &mut self.tasks[self.first_open..] {
            if slot.as_mut().is_some_and(|task| task.as_mut().poll(&mut context).is_ready()) {
                *slot = None;
            }
        }
        while self.tasks.get(self.first_open).is_some_and(Option::is_none) {
            self.first_open += 1;
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
    check_weights(plan, weights, role)?;
    let expected = if role == EvaluatorRole::First { 0 } else { plan.correction_len() };
    if corrections.len() as u64 != expected {
        return Err(ProtocolError::PackLength);
    }
    let mut out = Vec::with_capacity(plan.prepared_len() as usize);
    let Kind::EvaluatorPrivate { masked, .. } = &weights.0 else {
        return Ok(out);
    };
    for node in &plan.graph().nodes {
        if let Op::MatMulWeight { x, w } = &node.op {
            let mut mask = Secret::from(vec![0; plan.graph().nodes[x.0 as usize].shape.len()]);
            Prg::new(seed, Label::Operand(x.0)).fill_words(4, &mut mask);
            let product = Secret::from(products::matmul_packed(&mask, masked[w.0 as usize].matrix()));
            words::encode(4, &product, &mut out);
        }
    }
    Ok(out)
}

fn check_weights(plan: &Plan, weights: &WeightMaterial, role: EvaluatorRole) -> Result<(), ProtocolError> {
    match (&weights.0, plan.visibility()) {
        (Kind::EvaluatorPrivate { role: held, .. }, Visibility::Private) if *held == role => Ok(()),
        (Kind::Open(_), Visibility::Open) => Ok(()),
        _ => Err(ProtocolError::WeightKind),
    }
}

impl Shared {
    fn wires(&self) -> MutexGuard<'_, Wires> {
        self.wires.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn share(&self, id: NodeId) -> Arc<Secret<u32>> {
        poll_fn(|_| match &self.wires().shares[id.0 as usize] {
            Some(share) => Poll::Ready(share.clone()),
            None => Poll::Pending,
        })
        .await
    }

    async fn opened(&self, id: NodeId) -> Arc<Opened> {
        poll_fn(|_| match &self.wires().opened[id.0 as usize] {
            Some(opened) => Poll::Ready(opened.clone()),
            None => Poll::Pending,
        })
        .await
    }

    fn release(&self, operands: &[NodeId]) {
        let mut wires = self.wires();
        for id in operands {
            let i = id.0 as usize;
            wires.left[i] -= 1;
            if wires.left[i] == 0 {
                wires.shares[i] = None;
                wires.opened[i] = None;
            }
        }
    }
}

/// Bytes of a task's future.
#[cfg(test)]
pub(super) fn size_of_task() -> usize {
    fn size<F>(_: impl Fn(Arc<Shared>, usize) -> F) -> usize {
        size_of::<F>()
    }
    size(run)
}

/// One task: the node's gate, then settling its deficit and opening it if the plan says so.
async fn run(shared: Arc<Shared>, index: usize) {
    let task = &shared.plan.tasks[index];
    let id = index as u32;
    let operands = linear::operands(&shared.plan.graph.nodes[index].op);
    let mut gate = Gate {
        task: id,
        first: shared.first,
        exchange: shared.exchange.clone(),
        masks: Prg::new(&shared.seed, Label::Mask(id)),
        dealt: if shared.first {
            Dealt::First(Box::new(Prg::new(&shared.seed, Label::Dealt(id))))
        } else {
            Dealt::Second(shared.corrections.clone(), task.corrections.start)
        },
    };
    let mut share = evaluate(&shared, &mut gate, NodeId(id), &operands).await;
    shared.release(&operands);
    if task.settle {
        let mut deficit = Secret::from(vec![0; share.len()]);
        gate.dealt.additive(4, &mut deficit);
        share.iter_mut().zip(deficit.iter()).for_each(|(s, g)| *s = s.wrapping_add(*g));
    }
    if task.open {
        gate.masks = Prg::new(&shared.seed, Label::Operand(id));
        // Tasks that read the shares need not wait for the opening.
        let share = Arc::new(Secret::from(share));
        shared.wires().shares[index] = Some(share.clone());
        let (public, mask) = gate.open_words(4, &share).await;
        shared.wires().opened[index] = Some(Arc::new(Opened { public, mask }));
    } else {
        shared.wires().shares[index] = Some(Arc::new(share.into()));
    }
}

async fn evaluate(shared: &Shared, gate: &mut Gate, id: NodeId, operands: &[NodeId]) -> Vec<u32> {
    let graph = shared.plan.graph();
    let node = &graph.nodes[id.0 as usize];
    let task = &shared.plan.tasks[id.0 as usize];
    let shape = |id: &NodeId| graph.nodes[id.0 as usize].shape;
    let first = shared.first;
    match (&task.gate, &node.op) {
        (GateKind::Rescale(rescale), _) => {
            let x = shared.share(operands[0]).await;
            rescale.evaluate(gate, &x).await
        }
        (GateKind::Lookup(lookup), _) => {
            let x = shared.share(operands[0]).await;
            lookup.evaluate(gate, &x).await
        }
        (GateKind::RowMax(row_max), _) => {
            let x = shared.share(operands[0]).await;
            row_max.evaluate(gate, &x).await
        }
        (GateKind::Clamp(clamp), _) => {
            let x = shared.share(operands[0]).await;
            clamp.evaluate(gate, &x).await
        }
        (GateKind::Step(step), _) => {
            let x = shared.opened(operands[0]).await;
            step.evaluate(gate, &x.public).await
        }
        (_, Op::Input(index)) => shared.wires().inputs[*index as usize].take().unwrap_or_default().to_vec(),
        (_, Op::MatMulWeight { x, w }) => match &shared.weights.0 {
            Kind::EvaluatorPrivate { own, .. } => {
                let x = shared.opened(*x).await;
                let mut out = products::matmul_packed(&x.public, own[w.0 as usize].matrix());
                let ahead = &shared.prepared[task.prepared.clone()];
                for (o, p) in out.iter_mut().zip(ahead.chunks_exact(4)) {
                    *o = o.wrapping_sub(u32::from_le_bytes([p[0], p[1], p[2], p[3]]));
                }
                out
            }
            Kind::Open(plain) => products::matmul_packed(&shared.share(*x).await, plain[w.0 as usize].matrix()),
            _ => Vec::new(),
        },
        (_, Op::ScaleWeight { x, w }) => match &shared.weights.0 {
            Kind::EvaluatorPrivate { own, masked, .. } => {
                let x = shared.opened(*x).await;
                let mut out = products::scale(&x.public, own[w.0 as usize].vector());
                let cross = Secret::from(products::scale(&x.mask, masked[w.0 as usize].vector()));
                out.iter_mut().zip(cross.iter()).for_each(|(o, c)| *o = o.wrapping_sub(*c));
                out
            }
            Kind::Open(plain) => products::scale(&shared.share(*x).await, plain[w.0 as usize].vector()),
            _ => Vec::new(),
        },
        (_, Op::AddWeight { x, w }) => {
            let mut out = shared.share(*x).await.to_vec();
            let vector = match &shared.weights.0 {
                Kind::EvaluatorPrivate { own, .. } => own[w.0 as usize].vector(),
                Kind::Open(plain) if first => plain[w.0 as usize].vector(),
                _ => return out,
            };
            for row in out.chunks_exact_mut(vector.len()) {
                row.iter_mut().zip(vector).for_each(|(o, b)| *o = o.wrapping_add(*b));
            }
            out
        }
        (_, Op::MatMul { a, b, transpose_b }) => {
            let (x, y) = (shared.opened(*a).await, shared.opened(*b).await);
            products::bilinear(first, &x, &y, |x, y| products::matmul(shape(a), shape(b), *transpose_b, x, y))
        }
        (_, Op::Mul { a, b }) => {
            let (x, y) = (shared.opened(*a).await, shared.opened(*b).await);
            products::bilinear(first, &x, &y, |x, y| products::mul(shape(a), shape(b), x, y))
        }
        (_, Op::SquareSum { x }) => {
            let cols = shape(x).cols as usize;
            products::square_sum(first, &*shared.opened(*x).await, cols)
        }
        _ => {
            let mut values = Vec::with_capacity(operands.len());
            for x in operands {
                values.push(shared.share(*x).await);
            }
            let values: Vec<&[u32]> = values.iter().map(|v| &v[..]).collect();
            linear::apply(graph, id, &values)
        }
    }
}
