//! The helper: knows every mask and no value, and deals what the evaluators need, ahead of any input.

use sahara_circuits::graph::{NodeId, Op};

use super::plan::{GateKind, Plan, Task};
use super::section::{Dealer, Sink};
use super::weights::{Kind, Tensor, WeightMaterial};
use super::{ProtocolError, Visibility, linear, products};
use crate::ring::kernels;
use crate::ring::prg::{Label, Prg, Seed};
use crate::ring::secret::Secret;
use crate::ring::words;

/// The sum of both evaluators' masks, `n` words of `width` bytes.
pub(super) fn mask_words(masks: &mut [Prg; 2], width: usize, n: usize) -> Secret<u32> {
    let (mut a, mut b) = (Secret::from(vec![0; n]), Secret::from(vec![0; n]));
    masks[0].fill_words(width, &mut a);
    masks[1].fill_words(width, &mut b);
    let low = words::mask(8 * width as u8);
    kernels::add_masked(&mut a, &b, low);
    a
}

/// Deals one pack: writes the second evaluator's corrections to `sink`, exactly [`Plan::correction_len`] bytes.
/// `seed1` is shared with the first evaluator, `seed2` with the second; both are fresh for each pack.
///
/// # Errors
/// When the weights are of another kind than the plan's, or the sink fails.
pub fn deal(
    plan: &Plan,
    weights: &WeightMaterial,
    seed1: &Seed,
    seed2: &Seed,
    sink: &mut Sink<'_>,
) -> Result<(), ProtocolError> {
    let weights = match (&weights.0, plan.visibility) {
        (Kind::HelperPrivate(masks), Visibility::Private) => Some(masks.as_slice()),
        (Kind::HelperOpen, Visibility::Open) => None,
        _ => return Err(ProtocolError::WeightKind),
    };
    let mut dealing = Dealing {
        plan,
        weights,
        seeds: [seed1, seed2],
        values: (0..plan.tasks.len()).map(|_| Known::default()).collect(),
        left: plan.tasks.iter().map(|t| t.uses).collect(),
    };
    for (index, task) in plan.tasks.iter().enumerate() {
        dealing.task(index, task, sink)?;
    }
    Ok(())
}

/// What the helper knows of a tensor.
#[derive(Default)]
struct Known {
    /// The mask it is opened under.
    mask: Option<Secret<u32>>,
    /// What the evaluators' shares lack.
    deficit: Option<Secret<u32>>,
}

struct Dealing<'a> {
    plan: &'a Plan,
    weights: Option<&'a [Tensor]>,
    seeds: [&'a Seed; 2],
    values: Vec<Known>,
    left: Vec<u32>,
}

impl Dealing<'_> {
    fn task(&mut self, index: usize, task: &Task, sink: &mut Sink<'_>) -> Result<(), ProtocolError> {
        let id = index as u32;
        let node = &self.plan.graph.nodes[index];
        let n = node.shape.len();
        let mut masks = self.seeds.map(|seed| Prg::new(seed, Label::Mask(id)));
        let mut dealer = Dealer::new(Prg::new(self.seeds[0], Label::Dealt(id)), sink);
        match &task.gate {
            GateKind::Plain => {}
            GateKind::Rescale(gate) => {
                let deficit = linear::operands(&node.op).first().and_then(|x| self.deficit(*x));
                gate.deal(&mut dealer, &mut masks, n, deficit)?;
            }
            GateKind::Lookup(gate) => gate.deal(&mut dealer, &mut masks, n)?,
            GateKind::RowMax(gate) => gate.deal(&mut dealer, &mut masks, n)?,
            GateKind::Clamp(gate) => gate.deal(&mut dealer, &mut masks, n)?,
            GateKind::Step(gate) => {
                let operand = linear::operands(&node.op)[0];
                gate.deal(&mut dealer, &mut masks, self.mask(operand))?;
            }
        }
        let mut deficit = if task.deficit || task.settle { Some(Secret::from(self.product(NodeId(id)))) } else { None };
        if task.settle
            && let Some(deficit) = deficit.take()
        {
            dealer.additive(4, &deficit)?;
        }
        let dealt = dealer.finish()?;
        if dealt != task.corrections.len() as u64 {
            return Err(ProtocolError::Layout(self.plan.name(id).to_owned()));
        }
        let mask = task.open.then(|| {
            let mut operand = self.seeds.map(|seed| Prg::new(seed, Label::Operand(id)));
            mask_words(&mut operand, 4, n)
        });
        self.values[index] = Known { mask, deficit };
        for x in linear::operands(&node.op) {
            let left = &mut self.left[x.0 as usize];
            *left -= 1;
            if *left == 0 {
                self.values[x.0 as usize] = Known::default();
            }
        }
        Ok(())
    }

    fn mask(&self, id: NodeId) -> &[u32] {
        self.values[id.0 as usize].mask.as_deref().unwrap_or_default()
    }

    fn deficit(&self, id: NodeId) -> Option<&[u32]> {
        self.values[id.0 as usize].deficit.as_deref()
    }

    /// What the shares of a node lack: a product of masks, or a linear function of the operands' deficits.
    fn product(&self, id: NodeId) -> Vec<u32> {
        let nodes = &self.plan.graph.nodes;
        let shape = |id: &NodeId| nodes[id.0 as usize].shape;
        let weight = |w: u32| self.weights.map(|weights| &weights[w as usize]);
        match &nodes[id.0 as usize].op {
            Op::MatMulWeight { x, w } => {
                weight(w.0).map_or_else(Vec::new, |w| products::matmul_packed(self.mask(*x), w.matrix()))
            }
            Op::ScaleWeight { x, w } => {
                weight(w.0).map_or_else(Vec::new, |w| products::scale(self.mask(*x), w.vector()))
            }
            Op::MatMul { a, b, transpose_b } => {
                products::matmul(shape(a), shape(b), *transpose_b, self.mask(*a), self.mask(*b))
            }
            Op::Mul { a, b } => products::mul(shape(a), shape(b), self.mask(*a), self.mask(*b)),
            Op::SquareSum { x } => products::row_dot(self.mask(*x), self.mask(*x), shape(x).cols as usize),
            Op::AddWeight { x, .. } => self.deficit(*x).map_or_else(Vec::new, <[u32]>::to_vec),
            op => {
                let operands = linear::operands(op);
                let zeros: Vec<Vec<u32>> = operands
                    .iter()
                    .map(|x| if self.deficit(*x).is_some() { Vec::new() } else { vec![0; shape(x).len()] })
                    .collect();
                let values: Vec<&[u32]> =
                    operands.iter().zip(&zeros).map(|(x, zero)| self.deficit(*x).unwrap_or(zero)).collect();
                linear::apply(&self.plan.graph, id, &values)
            }
        }
    }
}
