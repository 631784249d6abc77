//! A graph as a [`System`]: one file for the relation of each operator. What has none is refused by name.
//!
//! All that is relied on follows from the graph's bytes and from what the proof itself enforces: the range of each
//! input and of each weight, and every number that the prover chooses. A graph's own bounds are believed of nothing;
//! they only narrow the ranges that are enforced, so a false one makes honest proofs impossible and no false one
//! possible.

mod columns;
mod lookup;
mod maximum;
mod moves;
mod rescale;
mod step;
mod sums;
mod wide;

use std::collections::BTreeMap;

use sahara_circuits::graph::{Graph, Node, NodeId, Op, Shape, WeightId};

use crate::field::P;
use crate::interval::Interval;
use crate::system::{Definition, Hint, Lookup, Move, Oracle, Quantity, Rows, System, Table, Tensor, TensorId};
use crate::whir::{MAX_VARIABLES, MIN_VARIABLES};

/// Bits of a range that the weights of a tensor are proven to be in, one for each weight tensor.
pub type WeightBits = [u8];

/// Field elements of a salt.
pub const SALT: usize = 16;
/// Most elements that are looked up in all: far below `p`, so that no count can be a multiple of it.
pub const MAX_LOOKUPS: u64 = 1 << 28;
/// Most tensors of a system.
const MAX_STEPS: usize = 1 << 20;
/// Most batches times columns of a tensor that is sliced, joined, split or merged.
const MAX_MOVED: u64 = 1 << 16;

/// Why a graph cannot be proven.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Unprovable {
    /// A node without a relation that holds.
    #[error("graph node {index} ({name}, {operator}) cannot be proven: {reason}")]
    Node {
        /// Position of the node.
        index: usize,
        /// Its name.
        name: String,
        /// Its operator.
        operator: &'static str,
        /// Why.
        reason: String,
    },
    /// Something outside the nodes.
    #[error("the graph cannot be proven: {0}")]
    Graph(String),
}

/// The system of a checked graph, whose weights are signed numbers of these many bits.
///
/// # Errors
/// The first node that cannot be proven, and why.
pub fn plan(graph: &Graph, weight_bits: &WeightBits) -> Result<System, Unprovable> {
    if weight_bits.len() != graph.weights.len() || weight_bits.iter().any(|bits| !(1..=30).contains(bits)) {
        let reason = "its weights need as many widths of 1 to 30 bits as there are tensors";
        return Err(Unprovable::Graph(reason.into()));
    }
    let mut planner = Planner::new(graph, weight_bits);
    planner.weights().map_err(Unprovable::Graph)?;
    for (index, node) in graph.nodes.iter().enumerate() {
        let tensor = planner.node(node).map_err(|reason| {
            let operator = node.op.name();
            Unprovable::Node { index, name: node.name.clone(), operator, reason }
        })?;
        planner.system.nodes.push(tensor);
        let steps = planner.system.tensors.len();
        if steps > MAX_STEPS {
            return Err(Unprovable::Graph(format!(
                "{steps} steps up to node {index}, more than the limit of {MAX_STEPS}"
            )));
        }
    }
    planner.outputs().map_err(Unprovable::Graph)?;
    planner.finish().map_err(Unprovable::Graph)
}

struct Planner<'g> {
    graph: &'g Graph,
    weight_bits: &'g WeightBits,
    system: System,
    weights: Vec<TensorId>,
    /// Where each table of [`System::tables`] is, by what it holds.
    tables: BTreeMap<TableKey, usize>,
    /// Bits of a number that is looked up in one piece.
    limb_bits: u32,
    /// Of tensors that were put together from limbs, these: high and low.
    limbs: BTreeMap<TensorId, (TensorId, TensorId)>,
}

/// What a table holds.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum TableKey {
    Range(u32),
    /// A table of the graph, its indices signed or not.
    Graph(u32, bool),
}

impl<'g> Planner<'g> {
    fn new(graph: &'g Graph, weight_bits: &'g WeightBits) -> Self {
        let elements: u64 = graph.nodes.iter().map(|node| node.shape.len() as u64).sum();
        // Tables as long as a quarter of what is looked up in them, roughly.
        let limb_bits = elements.max(1).ilog2().saturating_sub(2).clamp(6, 16);
        let (system, weights) = (System::default(), Vec::new());
        Self { graph, weight_bits, system, weights, tables: BTreeMap::new(), limb_bits, limbs: BTreeMap::new() }
    }

    /// The tensor of a node, whose values are those that the reference executor gives.
    fn node(&mut self, node: &Node) -> Result<TensorId, String> {
        let shape = node.shape;
        let exact = match &node.op {
            Op::Input(i) => self.input(*i, shape)?,
            Op::MatMulWeight { x, w } => self.matmul(self.of(*x), self.weight(*w), false, shape),
            Op::MatMul { a, b, transpose_b } => self.matmul(self.of(*a), self.of(*b), *transpose_b, shape),
            Op::ScaleWeight { x, w } => self.product(self.of(*x), self.weight(*w)),
            Op::Mul { a, b } => self.product(self.of(*a), self.of(*b)),
            Op::AddWeight { x, w } => self.linear(shape, vec![(1, self.of(*x)), (1, self.weight(*w))], 0),
            Op::Add { a, b } => self.linear(shape, vec![(1, self.of(*a)), (1, self.of(*b))], 0),
            Op::Sub { a, b } => self.difference(*a, *b, shape),
            Op::MulPublic { k: 0, .. } => self.linear(shape, Vec::new(), 0),
            Op::MulPublic { x, k } => self.linear(shape, vec![((*k).into(), self.of(*x))], 0),
            Op::SquareSum { x } => {
                let square = self.product(self.of(*x), self.of(*x));
                self.row_sum(square)
            }
            Op::RowSum { x } => self.row_sum(self.of(*x)),
            Op::RowMax { x } => self.row_max(self.of(*x))?,
            Op::Rescale { x, shift, .. } => self.rescale(self.of(*x), *shift, node)?,
            Op::ClampIndex { x, index_bits } => self.clamp(self.of(*x), *index_bits)?,
            Op::Lookup { x, table } => self.look_up(self.of(*x), table.0)?,
            Op::Step { x, base, steps } => self.step(self.of(*x), *base, steps)?,
            Op::SliceCols { x, from } => self.moved(vec![self.of(*x)], Move::Slice(*from), shape)?,
            Op::ConcatCols { parts } => {
                let parts = parts.iter().map(|&part| self.of(part)).collect();
                self.moved(parts, Move::Concat, shape)?
            }
            Op::SplitHeads { x } => self.moved(vec![self.of(*x)], Move::Split, shape)?,
            Op::MergeHeads { x } => self.moved(vec![self.of(*x)], Move::Merge, shape)?,
        };
        let stored = self.wrapped(exact, node.bits)?;
        self.bounded(stored, node.bound)
    }

    /// What the graph's outputs are, under a commitment of their own: one column, or one for each limb.
    fn outputs(&mut self) -> Result<(), String> {
        for &output in &self.graph.outputs {
            let tensor = self.of(output);
            let whole = 2 * self.interval(tensor).magnitude() < P;
            let limbs = self.limbs_of(tensor).filter(|_| !whole);
            let pieces = limbs.map_or(vec![tensor], |(high, low)| vec![high, low]);
            let columns = pieces.into_iter().map(|piece| self.output(piece)).collect::<Result<_, _>>()?;
            self.system.outputs.push(columns);
        }
        Ok(())
    }

    fn output(&mut self, tensor: TensorId) -> Result<TensorId, String> {
        let Tensor { shape, interval, .. } = *self.system.tensor(tensor);
        if 2 * interval.magnitude() >= P {
            return Err("an output can leave ±p/2".into());
        }
        let column = self.column(Oracle::Output, shape, interval, Hint::Output(tensor));
        let difference = self.linear(shape, vec![(1, tensor), (-1, column)], 0);
        // Two residues of the field: whatever the column holds, it stands for the node's integer.
        self.system.zeros.push(difference);
        Ok(column)
    }

    fn finish(mut self) -> Result<System, String> {
        self.place()?;
        let looked_up = self.system.looked_up();
        if looked_up > MAX_LOOKUPS {
            return Err(format!("{looked_up} lookups, more than the limit of {MAX_LOOKUPS}"));
        }
        Ok(self.system)
    }

    fn of(&self, NodeId(id): NodeId) -> TensorId {
        self.system.nodes[id as usize]
    }

    fn weight(&self, WeightId(id): WeightId) -> TensorId {
        self.weights[id as usize]
    }

    fn interval(&self, id: TensorId) -> Interval {
        self.system.tensor(id).interval
    }

    fn shape(&self, id: TensorId) -> Shape {
        self.system.tensor(id).shape
    }

    fn push(&mut self, shape: Shape, interval: Interval, definition: Definition) -> TensorId {
        self.system.tensors.push(Tensor { shape, definition, interval });
        TensorId(self.system.tensors.len() - 1)
    }

    /// Asks that a tensor is zero everywhere, as integers.
    fn zero(&mut self, id: TensorId) -> Result<(), String> {
        let Interval { lo, hi } = self.interval(id);
        if lo <= -P || hi >= P {
            return Err(format!("an identity of numbers between {lo} and {hi} is none of integers: p is {P}"));
        }
        self.system.zeros.push(id);
        Ok(())
    }
}
