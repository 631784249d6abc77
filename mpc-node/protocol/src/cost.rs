//! What a graph costs, from its declared shapes alone: known before a plan is built, a byte is dealt or memory is claimed.
//!
//! The bytes dealt and the rounds are exact. Memory is bounded from above by replaying when each tensor comes and goes:
//! for an evaluator by rounds (all tasks that can go on do so in the same round), for the helper by nodes.

use sahara_circuits::graph::{Graph, Node, NodeId, Op, Shape};

use super::lookup::Lookup;
use super::plan::{self, Flow, GateKind};
use super::{Rounding, Visibility, evaluator};

/// Bytes that a gate's evaluation claims for each element besides its operands.
const GATE_BYTES: u64 = 40;
/// The same for each of a step function's comparisons.
const STEP_BYTES: u64 = 32;
/// Bytes that a job claims whatever its graph.
const JOB_BYTES: u64 = 128 << 10;
/// Bytes of a plan for each node.
const PLAN_BYTES: u64 = 192;
/// Columns to which packed matrices are filled up.
const PANEL: u64 = 16;

/// The cost of one job of a graph, for one rounding and visibility of the weights.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cost {
    /// Bytes that the helper deals to the second evaluator.
    pub dealt: u64,
    /// Bytes that each evaluator prepares by itself.
    pub prepared: u64,
    /// Multiplications of one evaluator, online, and the elements that its operators read and write.
    pub operations: u64,
    /// Rounds between the evaluators.
    pub rounds: u64,
    /// Bytes of the inputs' shares.
    pub inputs: u64,
    /// Bytes of the outputs' shares.
    pub outputs: u64,
    /// Most bytes that a job takes at an evaluator.
    pub evaluator_memory: u64,
    /// Most bytes that dealing takes at the helper.
    pub helper_memory: u64,
    /// Bytes of the plan.
    pub plan_memory: u64,
    /// Bytes of an evaluator's weight material, and of the helper's.
    pub material_memory: [u64; 2],
}

/// How much one job of a graph may cost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CostLimits {
    /// Bytes dealt.
    pub dealt: u64,
    /// Multiplications, and elements read and written.
    pub operations: u64,
    /// Rounds.
    pub rounds: u64,
    /// Bytes of a share of all inputs, or of all outputs.
    pub share: u64,
    /// Bytes of memory of a job or of dealing: three quarters of what all of them have together.
    pub job_memory: u64,
    /// Bytes of plan and weight material.
    pub cache_memory: u64,
}

/// A graph that costs more than a node allows.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("one job of graph `{model}` {what} {cost}, more than this node's limit of {limit} ({setting})")]
pub struct TooCostly {
    model: String,
    what: &'static str,
    cost: String,
    limit: String,
    setting: &'static str,
}

impl Cost {
    /// The cost of a graph that passed [`Graph::check`]; sums that do not fit 64 bits count as the largest number.
    pub fn of(graph: &Graph, rounding: Rounding, visibility: Visibility) -> Self {
        let lookups: Vec<Lookup> = graph.tables.iter().map(Lookup::sized).collect();
        let mut cost = Self { material_memory: material(graph, visibility), ..Self::default() };
        let mut evaluator = Timeline::default();
        let mut helper = Timeline::default();
        let flows = plan::flows(graph, visibility);
        let mut seen: Vec<Seen> = Vec::with_capacity(graph.nodes.len());
        let mut evaluated: Vec<Seen> = Vec::with_capacity(graph.nodes.len());
        for (index, (node, flow)) in graph.nodes.iter().zip(&flows).enumerate() {
            let gate = GateKind::of(graph, node, rounding, &lookups);
            let (n, elements) = (node.shape.len(), node.shape.len() as u64);
            let settled = if flow.settle { 4 * elements } else { 0 };
            cost.dealt = cost.dealt.saturating_add(gate.corrections(n)).saturating_add(settled);
            if plan::is_prepared(node, visibility) {
                cost.prepared = cost.prepared.saturating_add(4 * elements);
            }
            cost.operations = cost.operations.saturating_add(operations(graph, node));
            cost.plan_memory += PLAN_BYTES + gate_memory(node);

            let begin = begin(node, visibility, &evaluated);
            let end = begin + gate.rounds();
            let claimed = claims(graph, node, &gate);
            evaluator.holds(claimed, begin, end);
            helper.holds(claimed, index as u64, index as u64);
            let opened = end + u64::from(flow.open);
            cost.rounds = cost.rounds.max(opened);
            evaluated.push(Seen { shared: end, opened, last: opened });
            seen.push(Seen { shared: index as u64, opened: index as u64, last: index as u64 });
            node.op.operands(|x| {
                let x = x.0 as usize;
                evaluated[x].last = evaluated[x].last.max(end);
                seen[x].last = index as u64;
            });
        }
        for NodeId(output) in &graph.outputs {
            evaluated[*output as usize].last = cost.rounds;
        }
        for ((node, flow), (at, dealt)) in graph.nodes.iter().zip(&flows).zip(evaluated.iter().zip(&seen)) {
            let bytes = 4 * node.shape.len() as u64;
            evaluator.holds(bytes, at.shared, at.last);
            if flow.open {
                evaluator.holds(4 * bytes, at.shared, at.last);
            }
            helper.holds(bytes * held_by_helper(flow), dealt.shared, dealt.last);
        }
        cost.inputs = graph.inputs.iter().map(|input| 4 * input.shape.len() as u64 + 4).sum::<u64>() + 4;
        let outputs = graph.outputs.iter().map(|id| 4 * graph.nodes[id.0 as usize].shape.len() as u64 + 4);
        cost.outputs = outputs.sum::<u64>() + 4;
        let tables: u64 = graph.tables.iter().map(|table| 8 * table.entries.len() as u64).sum();
        cost.plan_memory = cost.plan_memory.saturating_add(tables);
        let machine = JOB_BYTES + graph.nodes.len() as u64 * evaluator::TASK_BYTES;
        let pack = cost.dealt.saturating_add(cost.prepared);
        let held = pack.saturating_add(machine).saturating_add(2 * (cost.inputs + cost.outputs));
        cost.evaluator_memory = evaluator.peak().saturating_add(held);
        cost.helper_memory = helper.peak().saturating_add(machine);
        cost
    }

    /// Bytes that the input's share takes while it arrives: as it came, and as the words that it is.
    pub fn input_memory(&self) -> u64 {
        self.inputs.saturating_mul(2)
    }

    /// Whether a graph called `model` of this cost may be used.
    ///
    /// # Errors
    /// Names the first limit that it exceeds.
    pub fn check(&self, model: &str, limits: &CostLimits) -> Result<(), TooCostly> {
        let megabytes = |bytes: u64| format!("{} MB", bytes.div_ceil(1 << 20));
        let memory = self.evaluator_memory.max(self.helper_memory);
        let kept = self.plan_memory.saturating_add(self.material_memory[0].max(self.material_memory[1]));
        let too = |what, cost: String, limit: String, setting| {
            Err(TooCostly { model: model.into(), what, cost, limit, setting })
        };
        if self.dealt > limits.dealt {
            return too("is dealt", megabytes(self.dealt), megabytes(limits.dealt), "limits.graph_deal_megabytes");
        }
        if self.operations > limits.operations {
            let (cost, limit) = (format!("{} operations", self.operations), limits.operations.to_string());
            return too("takes", cost, limit, "limits.graph_giga_products");
        }
        if self.rounds > limits.rounds {
            let (cost, limit) = (format!("{} rounds", self.rounds), limits.rounds.to_string());
            return too("takes", cost, limit, "limits.graph_rounds");
        }
        let share = self.inputs.max(self.outputs);
        if share > limits.share {
            return too("has inputs or outputs of", megabytes(share), megabytes(limits.share), "the largest frame");
        }
        if memory > limits.job_memory {
            let (cost, limit) = (megabytes(memory), megabytes(limits.job_memory));
            return too("takes memory of", cost, limit, "three quarters of limits.job_megabytes");
        }
        if kept > limits.cache_memory {
            let (cost, limit) = (megabytes(kept), megabytes(limits.cache_memory));
            return too("needs plan and weights of", cost, limit, "limits.cache_megabytes");
        }
        Ok(())
    }
}

/// When a tensor's shares and its opened form are there, and until when they are needed.
#[derive(Clone, Copy)]
struct Seen {
    shared: u64,
    opened: u64,
    last: u64,
}

/// The round in which a node's operands are there.
fn begin(node: &Node, visibility: Visibility, seen: &[Seen]) -> u64 {
    let opened = plan::reads_opened(&node.op, visibility);
    let mut begin = 0;
    node.op.operands(|x| {
        let seen = &seen[x.0 as usize];
        begin = begin.max(if opened { seen.opened } else { seen.shared });
    });
    begin
}

fn held_by_helper(flow: &Flow) -> u64 {
    u64::from(flow.open) + u64::from(flow.lacks)
}

/// Bytes that evaluating or dealing a node claims for a while.
fn claims(graph: &Graph, node: &Node, gate: &GateKind) -> u64 {
    let len = |x: &NodeId| graph.nodes[x.0 as usize].shape.len() as u64;
    let elements = node.shape.len() as u64;
    match (&node.op, gate) {
        (Op::RowMax { x }, _) => GATE_BYTES * len(x),
        (Op::Step { steps, .. }, _) => elements.saturating_mul(STEP_BYTES).saturating_mul(1 + steps.len() as u64),
        (Op::MatMul { a, b, .. }, _) => {
            // One batch of the right-hand side is packed at a time.
            let (inner, cols) = (u64::from(graph.nodes[a.0 as usize].shape.cols), u64::from(node.shape.cols));
            8 * (len(a) + len(b) + elements) + 4 * inner.saturating_mul(cols.next_multiple_of(PANEL))
        }
        (Op::Mul { a, b }, _) => 8 * (len(a) + len(b) + elements),
        (_, GateKind::Plain) => 8 * elements,
        _ => GATE_BYTES * elements,
    }
}

/// Bytes of a gate beyond its place in the plan.
fn gate_memory(node: &Node) -> u64 {
    match &node.op {
        Op::Step { steps, .. } => 8 * steps.len() as u64,
        _ => 0,
    }
}

/// What one evaluator does for a node: multiplications, and every element that it reads or writes.
fn operations(graph: &Graph, node: &Node) -> u64 {
    let mut moved = node.shape.len() as u64;
    node.op.operands(|x| moved = moved.saturating_add(graph.nodes[x.0 as usize].shape.len() as u64));
    products(graph, node).saturating_add(moved)
}

/// Multiplications of one evaluator. What is only moved, added or compared is counted by [`operations`].
fn products(graph: &Graph, node: &Node) -> u64 {
    let shape = |x: &NodeId| graph.nodes[x.0 as usize].shape;
    let Shape { batch, rows, cols } = node.shape;
    let results = u64::from(batch).saturating_mul(u64::from(rows)).saturating_mul(u64::from(cols));
    match &node.op {
        Op::MatMulWeight { x, .. } => results.saturating_mul(u64::from(shape(x).cols)),
        // Each secret factor with the public form of the other.
        Op::MatMul { a, .. } => results.saturating_mul(u64::from(shape(a).cols)).saturating_mul(2),
        Op::Mul { .. } | Op::ScaleWeight { .. } => results.saturating_mul(2),
        Op::SquareSum { x } => 2 * shape(x).len() as u64,
        Op::Step { steps, .. } => results.saturating_mul(steps.len() as u64),
        // A selected sum over all entries.
        Op::Lookup { table, .. } => {
            results.saturating_mul((graph.tables[table.0 as usize].entries.len() as u64).div_ceil(16))
        }
        Op::MulPublic { .. } => results,
        Op::Input(_)
        | Op::AddWeight { .. }
        | Op::Add { .. }
        | Op::Sub { .. }
        | Op::RowSum { .. }
        | Op::RowMax { .. }
        | Op::Rescale { .. }
        | Op::ClampIndex { .. }
        | Op::SliceCols { .. }
        | Op::ConcatCols { .. }
        | Op::SplitHeads { .. }
        | Op::MergeHeads { .. } => 0,
    }
}

/// Bytes of an evaluator's and of the helper's weight material.
fn material(graph: &Graph, visibility: Visibility) -> [u64; 2] {
    let one: u64 = graph
        .weights
        .iter()
        .map(|w| u64::from(w.rows).saturating_mul(u64::from(w.cols).next_multiple_of(PANEL)).saturating_mul(4))
        .fold(0, u64::saturating_add);
    match visibility {
        Visibility::Private => [one.saturating_mul(2), one],
        Visibility::Open => [one, 0],
    }
}

/// Bytes held over time.
#[derive(Default)]
struct Timeline {
    /// Moment, and bytes that come (or go) then.
    changes: Vec<(u64, bool, u64)>,
}

impl Timeline {
    /// `bytes` are held from moment `from` to the end of moment `to`.
    fn holds(&mut self, bytes: u64, from: u64, to: u64) {
        if bytes > 0 {
            self.changes.push((from, true, bytes));
            self.changes.push((to.saturating_add(1), false, bytes));
        }
    }

    /// The most that is held at a moment.
    fn peak(mut self) -> u64 {
        self.changes.sort_unstable();
        let (mut held, mut peak) = (0u64, 0);
        for (_, comes, bytes) in self.changes {
            held = if comes { held.saturating_add(bytes) } else { held.saturating_sub(bytes) };
            peak = peak.max(held);
        }
        peak
    }
}

#[cfg(test)]
mod tests {
    use sahara_circuits::graph::{BoundOrigin, RescaleUse, Table, TableId, WeightId, WeightSpec};

    use super::*;

    #[test]
    fn an_input_takes_its_bytes_and_its_words() {
        assert_eq!(Cost { inputs: 1 << 20, ..Cost::default() }.input_memory(), 2 << 20);
    }

    #[test]
    fn every_operator_is_charged_for_what_it_reads_and_what_it_writes() {
        let (x, y, w, table) = (NodeId(0), NodeId(1), WeightId(0), TableId(0));
        let (one, wide) = (Shape::new(1, 2, 1), Shape::new(1, 2, 1000));
        let swapped = Shape::new(2, 1, 1000);
        let usage = RescaleUse::Value;
        let ops = [
            (Op::Input(0), wide, 0),
            (Op::MatMulWeight { x, w }, Shape::new(1, 2, 3), 2),
            (Op::ScaleWeight { x, w }, wide, 2),
            (Op::AddWeight { x, w }, wide, 2),
            (Op::MatMul { a: x, b: y, transpose_b: true }, Shape::new(1, 2, 2), 4),
            (Op::Add { a: x, b: y }, wide, 4),
            (Op::Sub { a: x, b: y }, wide, 4),
            (Op::MulPublic { x, k: 3 }, wide, 2),
            (Op::Mul { a: x, b: y }, wide, 4),
            (Op::SquareSum { x }, one, 2),
            (Op::RowSum { x }, one, 2),
            (Op::RowMax { x }, one, 2),
            (Op::Rescale { x, shift: 1, usage }, wide, 2),
            (Op::ClampIndex { x, index_bits: 3 }, wide, 2),
            (Op::Lookup { x, table }, wide, 2),
            (Op::Step { x, base: 0, steps: vec![] }, wide, 2),
            (Op::SliceCols { x, from: 999 }, one, 2),
            (Op::ConcatCols { parts: vec![x, y] }, Shape::new(1, 2, 2000), 4),
            (Op::SplitHeads { x }, swapped, 2),
            (Op::MergeHeads { x }, swapped, 2),
        ];
        let node =
            |op, shape| Node { name: "n".into(), op, shape, bits: 32, bound: 1, origin: BoundOrigin::Calibrated };
        for (op, shape, thousands) in ops {
            let graph = Graph {
                model: "m".into(),
                seq_len: 1,
                layers: 0,
                weights_root: [0; 32],
                inputs: vec![],
                weights: vec![WeightSpec { name: "w".into(), rows: 1000, cols: 3 }],
                tables: vec![Table { name: "t".into(), entries: vec![0; 8] }],
                nodes: vec![node(Op::Input(0), wide), node(Op::Input(1), wide), node(op.clone(), shape)],
                outputs: vec![NodeId(2)],
            };
            let least = 1000 * thousands + shape.len() as u64;
            let charged = operations(&graph, &graph.nodes[2]);
            assert!(charged >= least, "{}: {charged} for {least}", op.name());
            let inputs = 2 * wide.len() as u64;
            let of = |rounding| Cost::of(&graph, rounding, Visibility::Private).operations;
            assert_eq!([of(Rounding::Exact), of(Rounding::Faithful)], [inputs + charged; 2], "{}", op.name());
        }
    }

    #[test]
    fn a_task_is_as_small_as_said() {
        // Its future, the boxes around it, and its places in the tables of wires.
        assert!(evaluator::size_of_task() as u64 + 512 <= evaluator::TASK_BYTES, "{}", evaluator::size_of_task());
    }

    #[test]
    fn what_is_held_at_a_time_is_added_and_what_is_gone_is_not() {
        let mut line = Timeline::default();
        line.holds(10, 0, 2);
        line.holds(5, 2, 3);
        line.holds(8, 3, 9);
        line.holds(0, 1, 1);
        assert_eq!(line.peak(), 15, "at moment 2; at moment 3 it is 13");
    }
}
