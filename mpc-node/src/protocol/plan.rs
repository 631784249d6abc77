//! The plan: a graph with the choices that fix the protocol, and where each task finds what was dealt for it.

use std::ops::Range;
use std::sync::Arc;

use sahara_circuits::graph::{Graph, Node, NodeId, Op};

use super::linear;
use super::lookup::Lookup;
use super::rescale::Rescale;
use super::select::{Clamp, RowMax, StepFunction};
use super::{PlanError, Rounding, Visibility};

/// A graph, a rounding and the visibility of the weights: everything that all parties must agree on, and the same for
/// every job. One task a node, in the order of the nodes.
pub struct Plan {
    pub(super) graph: Arc<Graph>,
    rounding: Rounding,
    pub(super) visibility: Visibility,
    pub(super) tasks: Vec<Task>,
    corrections: usize,
    prepared: usize,
}

/// What is done for one node.
pub(super) struct Task {
    pub(super) gate: GateKind,
    /// The shares lack a deficit known to the helper.
    pub(super) deficit: bool,
    /// The helper deals the deficit at the end of the task.
    pub(super) settle: bool,
    /// The value is opened under a fresh mask at the end of the task, for products.
    pub(super) open: bool,
    /// Tasks that read this one, and one more if it is a result.
    pub(super) uses: u32,
    /// Bytes of the pack's corrections.
    pub(super) corrections: Range<usize>,
    /// Bytes of the pack's prepared products.
    pub(super) prepared: Range<usize>,
}

/// Gates with parameters; the others need none beyond the node.
pub(super) enum GateKind {
    Plain,
    Rescale(Rescale),
    Lookup(Lookup),
    RowMax(RowMax),
    Clamp(Clamp),
    Step(StepFunction),
}

impl Plan {
    /// The plan of a graph that passed [`Graph::check`].
    ///
    /// # Errors
    /// When the graph has a shape that the protocol does not evaluate.
    pub fn new(graph: Arc<Graph>, rounding: Rounding, visibility: Visibility) -> Result<Self, PlanError> {
        graph.check().map_err(|e| PlanError::Graph(e.to_string()))?;
        weights_used_one_way(&graph)?;
        let private = visibility == Visibility::Private;
        let nodes = &graph.nodes;
        let (mut opened, mut settled, mut uses) =
            (vec![false; nodes.len()], vec![false; nodes.len()], vec![0u32; nodes.len()]);
        for node in nodes {
            let needs = Needs::of(&node.op, private);
            for x in linear::operands(&node.op) {
                let i = x.0 as usize;
                uses[i] += 1;
                opened[i] |= needs == Needs::Opened;
                settled[i] |= needs != Needs::Anything;
            }
        }
        for output in &graph.outputs {
            uses[output.0 as usize] += 1;
            settled[output.0 as usize] = true;
        }
        let mut plan = Self {
            rounding,
            visibility,
            tasks: Vec::with_capacity(nodes.len()),
            corrections: 0,
            prepared: 0,
            graph: graph.clone(),
        };
        for (i, node) in nodes.iter().enumerate() {
            let lacks = match &node.op {
                Op::MatMulWeight { .. } | Op::ScaleWeight { .. } => private,
                Op::MatMul { .. } | Op::Mul { .. } | Op::SquareSum { .. } => true,
                op if linear::is_linear(op) || matches!(op, Op::AddWeight { .. }) => {
                    linear::operands(op).iter().any(|x| plan.tasks[x.0 as usize].deficit)
                }
                _ => false,
            };
            plan.push(node, lacks, lacks && settled[i], opened[i], uses[i]);
        }
        Ok(plan)
    }

    fn push(&mut self, node: &Node, lacks: bool, settle: bool, open: bool, uses: u32) {
        let n = node.shape.len();
        let operand = |x: &NodeId| &self.graph.nodes[x.0 as usize];
        let (gate, bytes) = match &node.op {
            Op::Rescale { shift, usage, .. } => {
                let gate = Rescale::new(*shift, node.bits, *usage, self.rounding);
                let bytes = gate.corrections(n);
                (GateKind::Rescale(gate), bytes)
            }
            Op::Lookup { table, .. } => {
                let gate = Lookup::new(&self.graph.tables[table.0 as usize]);
                let bytes = gate.corrections(n);
                (GateKind::Lookup(gate), bytes)
            }
            Op::RowMax { x } => {
                let gate = RowMax::new(node.bits, operand(x).shape.cols as usize);
                let bytes = gate.corrections(n);
                (GateKind::RowMax(gate), bytes)
            }
            Op::ClampIndex { x, index_bits } => {
                let gate = Clamp::new(operand(x).bits, *index_bits);
                let bytes = gate.corrections(n);
                (GateKind::Clamp(gate), bytes)
            }
            Op::Step { x, base, steps } => {
                let gate = StepFunction::new(operand(x).bits, *base, steps);
                let bytes = gate.corrections(n);
                (GateKind::Step(gate), bytes)
            }
            _ => (GateKind::Plain, 0),
        };
        let bytes = bytes as usize + if settle { 4 * n } else { 0 };
        let products = matches!(node.op, Op::MatMulWeight { .. }) && self.visibility == Visibility::Private;
        let prepared = if products { 4 * n } else { 0 };
        self.tasks.push(Task {
            gate,
            deficit: lacks && !settle,
            settle,
            open,
            uses,
            corrections: self.corrections..self.corrections + bytes,
            prepared: self.prepared..self.prepared + prepared,
        });
        self.corrections += bytes;
        self.prepared += prepared;
    }

    /// The graph this is a plan of.
    pub fn graph(&self) -> &Arc<Graph> {
        &self.graph
    }

    /// Exact or faithful.
    pub fn rounding(&self) -> Rounding {
        self.rounding
    }

    /// Private or open weights.
    pub fn visibility(&self) -> Visibility {
        self.visibility
    }

    /// Bytes that the helper sends to the second evaluator for one job.
    pub fn correction_len(&self) -> u64 {
        self.corrections as u64
    }

    /// Bytes that each evaluator prepares by itself for one job.
    pub fn prepared_len(&self) -> u64 {
        self.prepared as u64
    }

    /// Correction bytes of each node, in the order of the graph's nodes: for profiles.
    pub fn corrections_by_node(&self) -> impl Iterator<Item = (&Node, u64)> {
        self.graph.nodes.iter().zip(self.tasks.iter().map(|t| t.corrections.len() as u64))
    }

    /// The node's name, for messages.
    pub(super) fn name(&self, task: u32) -> &str {
        &self.graph.nodes[task as usize].name
    }
}

/// In which form an operator reads its operands.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Needs {
    /// Shares that may lack a deficit.
    Anything,
    /// Complete shares.
    Shares,
    /// The value under a mask.
    Opened,
}

impl Needs {
    fn of(op: &Op, private: bool) -> Self {
        match op {
            Op::MatMulWeight { .. } | Op::ScaleWeight { .. } if private => Self::Opened,
            Op::MatMul { .. } | Op::Mul { .. } | Op::SquareSum { .. } | Op::Step { .. } => Self::Opened,
            Op::MatMulWeight { .. }
            | Op::ScaleWeight { .. }
            | Op::RowMax { .. }
            | Op::ClampIndex { .. }
            | Op::Lookup { .. } => Self::Shares,
            _ => Self::Anything,
        }
    }
}

/// A weight is a matrix of products or a vector, not both: each is stored in the form that its operator reads.
fn weights_used_one_way(graph: &Graph) -> Result<(), PlanError> {
    let mut matrix = vec![None; graph.weights.len()];
    for node in &graph.nodes {
        let (w, product) = match &node.op {
            Op::MatMulWeight { w, .. } => (w, true),
            Op::ScaleWeight { w, .. } | Op::AddWeight { w, .. } => (w, false),
            _ => continue,
        };
        if *matrix[w.0 as usize].get_or_insert(product) != product {
            return Err(PlanError::WeightUse(graph.weights[w.0 as usize].name.clone()));
        }
    }
    Ok(())
}
