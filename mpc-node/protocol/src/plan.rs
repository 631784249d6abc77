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

impl GateKind {
    /// The gate of a node; `lookups` has one for each table.
    pub(super) fn of(graph: &Graph, node: &Node, rounding: Rounding, lookups: &[Lookup]) -> Self {
        let operand = |x: &NodeId| &graph.nodes[x.0 as usize];
        match &node.op {
            Op::Rescale { shift, usage, .. } => Self::Rescale(Rescale::new(*shift, node.bits, *usage, rounding)),
            Op::Lookup { table, .. } => Self::Lookup(lookups[table.0 as usize].clone()),
            Op::RowMax { x } => Self::RowMax(RowMax::new(node.bits, operand(x).shape.cols as usize)),
            Op::ClampIndex { x, index_bits } => Self::Clamp(Clamp::new(operand(x).bits, *index_bits)),
            Op::Step { x, base, steps } => Self::Step(StepFunction::new(operand(x).bits, *base, steps)),
            _ => Self::Plain,
        }
    }

    /// Bytes dealt for `n` results.
    pub(super) fn corrections(&self, n: usize) -> u64 {
        match self {
            Self::Plain => 0,
            Self::Rescale(gate) => gate.corrections(n),
            Self::Lookup(gate) => gate.corrections(n),
            Self::RowMax(gate) => gate.corrections(n),
            Self::Clamp(gate) => gate.corrections(n),
            Self::Step(gate) => gate.corrections(n),
        }
    }

    /// Rounds between the evaluators.
    pub(super) fn rounds(&self) -> u64 {
        match self {
            Self::Plain => 0,
            Self::Rescale(gate) => gate.rounds(),
            Self::Lookup(_) => Lookup::ROUNDS,
            Self::RowMax(gate) => gate.rounds(),
            Self::Clamp(gate) => gate.rounds(),
            Self::Step(gate) => gate.rounds(),
        }
    }
}

/// How a node's value is held and used.
#[derive(Clone, Copy, Default)]
pub(super) struct Flow {
    /// The shares lack a deficit before the end of the task.
    pub(super) lacks: bool,
    /// The deficit is dealt at the end of the task.
    pub(super) settle: bool,
    /// The value is opened at the end of the task.
    pub(super) open: bool,
    /// Tasks that read it, and one more if it is a result.
    pub(super) uses: u32,
}

/// How each node's value is held and used, in the order of the nodes.
pub(super) fn flows(graph: &Graph, visibility: Visibility) -> Vec<Flow> {
    let private = visibility == Visibility::Private;
    let mut flows = vec![Flow::default(); graph.nodes.len()];
    for node in &graph.nodes {
        let needs = Needs::of(&node.op, private);
        node.op.operands(|x| {
            let flow = &mut flows[x.0 as usize];
            flow.uses += 1;
            flow.open |= needs == Needs::Opened;
            flow.settle |= needs != Needs::Anything;
        });
    }
    for output in &graph.outputs {
        flows[output.0 as usize].uses += 1;
        flows[output.0 as usize].settle = true;
    }
    for (i, node) in graph.nodes.iter().enumerate() {
        let lacks = match &node.op {
            Op::MatMulWeight { .. } | Op::ScaleWeight { .. } => private,
            Op::MatMul { .. } | Op::Mul { .. } | Op::SquareSum { .. } => true,
            op if linear::is_linear(op) || matches!(op, Op::AddWeight { .. }) => {
                let mut lacks = false;
                op.operands(|x| lacks |= flows[x.0 as usize].lacks && !flows[x.0 as usize].settle);
                lacks
            }
            _ => false,
        };
        flows[i].lacks = lacks;
        flows[i].settle &= lacks;
    }
    flows
}

/// Whether an operator reads its operands under a mask.
pub(super) fn reads_opened(op: &Op, visibility: Visibility) -> bool {
    Needs::of(op, visibility == Visibility::Private) == Needs::Opened
}

/// Whether evaluators prepare the node's products ahead.
pub(super) fn is_prepared(node: &Node, visibility: Visibility) -> bool {
    matches!(node.op, Op::MatMulWeight { .. }) && visibility == Visibility::Private
}

impl Plan {
    /// The plan of a graph that passed [`Graph::check`].
    ///
    /// # Errors
    /// When the graph has a shape that the protocol does not evaluate.
    pub fn new(graph: Arc<Graph>, rounding: Rounding, visibility: Visibility) -> Result<Self, PlanError> {
        graph.check().map_err(|e| PlanError::Graph(e.to_string()))?;
        weights_used_one_way(&graph)?;
        let mut plan = Self {
            rounding,
            visibility,
            tasks: Vec::with_capacity(graph.nodes.len()),
            corrections: 0,
            prepared: 0,
            graph: graph.clone(),
        };
        let lookups: Vec<Lookup> = graph.tables.iter().map(Lookup::new).collect();
        for (node, flow) in graph.nodes.iter().zip(flows(&graph, visibility)) {
            let gate = GateKind::of(&graph, node, rounding, &lookups);
            plan.push(node, gate, flow);
        }
        Ok(plan)
    }

    fn push(&mut self, node: &Node, gate: GateKind, flow: Flow) {
        let n = node.shape.len();
        let bytes = gate.corrections(n) as usize + if flow.settle { 4 * n } else { 0 };
        let prepared = if is_prepared(node, self.visibility) { 4 * n } else { 0 };
        self.tasks.push(Task {
            gate,
            deficit: flow.lacks && !flow.settle,
            settle: flow.settle,
            open: flow.open,
            uses: flow.uses,
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
