//! What a graph costs, from its declared shapes alone: known before a plan is built, a byte is dealt or memory is claimed.
//!
//! The bytes dealt and the rounds are exact. Memory is bounded from above by replaying when each tensor comes and goes:
//! for an evaluator by rounds (all gates that can go on do so in the same round), for the helper by nodes.

use sahara_circuits::graph::{Graph, Node, NodeId, Op};

use crate::evaluator;
use crate::gate::{Form, Gate, GateCost};
use crate::gates::{Tables, gate_of, noise_cost};
use crate::noise::NodeNoise;
use crate::outgoing::BUFFER_BYTES;
use crate::plan::{Flow, flows};
use crate::roles::{Rounding, Visibility};

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
        Self::with_noise(graph, rounding, visibility, None)
    }

    /// The same, with noise that the nodes supply.
    pub fn with_noise(graph: &Graph, rounding: Rounding, visibility: Visibility, noise: Option<&NodeNoise>) -> Self {
        let tables = Tables::sized(graph);
        let gates: Vec<Box<dyn Gate>> =
            graph.nodes.iter().map(|node| gate_of(graph, node, rounding, visibility, &tables)).collect();
        let flows = flows(graph, &gates);
        let mut cost = Self { material_memory: material(graph, visibility), ..Self::default() };
        let mut evaluator = Timeline::default();
        let mut helper = Timeline::default();
        let mut seen: Vec<Lifetime> = Vec::with_capacity(graph.nodes.len());
        let mut evaluated: Vec<Lifetime> = Vec::with_capacity(graph.nodes.len());
        for (index, ((node, gate), flow)) in graph.nodes.iter().zip(&gates).zip(&flows).enumerate() {
            let GateCost { corrections, prepared, rounds, products, scratch: claimed, plan } = match (&node.op, noise) {
                (Op::Input(index), Some(noise)) if noise.supplies(*index) => noise_cost(noise, node.shape.len()),
                _ => gate.cost(),
            };
            let settled = if flow.settle { 4 * node.shape.len() as u64 } else { 0 };
            cost.dealt = cost.dealt.saturating_add(corrections).saturating_add(settled);
            cost.prepared = cost.prepared.saturating_add(prepared);
            cost.operations = cost.operations.saturating_add(products).saturating_add(moved(graph, node));
            cost.plan_memory += PLAN_BYTES + plan;

            let begin = begin(node, gate.reads(), &evaluated);
            let end = begin + rounds;
            evaluator.holds(claimed, begin, end);
            helper.holds(claimed, index as u64, index as u64);
            let opened = end + u64::from(flow.open);
            cost.rounds = cost.rounds.max(opened);
            evaluated.push(Lifetime { shared: end, opened, last: opened });
            seen.push(Lifetime { shared: index as u64, opened: index as u64, last: index as u64 });
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
        let machine = JOB_BYTES + graph.nodes.len() as u64 * evaluator::GATE_BYTES;
        let pack = cost.dealt.saturating_add(cost.prepared);
        let held = pack.saturating_add(machine).saturating_add(2 * (cost.inputs + cost.outputs));
        cost.evaluator_memory = evaluator.peak().saturating_add(held);
        cost.helper_memory = helper.peak().saturating_add(machine).saturating_add(cost.dealt.min(BUFFER_BYTES as u64));
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
struct Lifetime {
    shared: u64,
    opened: u64,
    last: u64,
}

/// The round in which a node's operands are there.
fn begin(node: &Node, form: Form, seen: &[Lifetime]) -> u64 {
    let mut begin = 0;
    node.op.operands(|x| {
        let seen = &seen[x.0 as usize];
        begin = begin.max(if form == Form::Masked { seen.opened } else { seen.shared });
    });
    begin
}

fn held_by_helper(flow: &Flow) -> u64 {
    u64::from(flow.open) + u64::from(flow.lacks)
}

/// Every element that one evaluator reads or writes for a node.
fn moved(graph: &Graph, node: &Node) -> u64 {
    let mut moved = node.shape.len() as u64;
    node.op.operands(|x| moved = moved.saturating_add(graph.nodes[x.0 as usize].shape.len() as u64));
    moved
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
    use sahara_circuits::graph::{BoundOrigin, Op, RescaleUse, Shape, Table, TableId, WeightId, WeightSpec};

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
            let tables = Tables::sized(&graph);
            let gate = gate_of(&graph, &graph.nodes[2], Rounding::Exact, Visibility::Private, &tables);
            let charged = gate.cost().products + moved(&graph, &graph.nodes[2]);
            assert!(charged >= least, "{}: {charged} for {least}", op.name());
            let inputs = 2 * wide.len() as u64;
            let of = |rounding| Cost::of(&graph, rounding, Visibility::Private).operations;
            assert_eq!([of(Rounding::Exact), of(Rounding::Faithful)], [inputs + charged; 2], "{}", op.name());
        }
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
