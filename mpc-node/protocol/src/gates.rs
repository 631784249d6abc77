//! The gates: each operator of the graph has one, in a file of its own, and here an arm that makes it.

mod add_weight;
mod clamp;
mod input;
mod linear;
mod lookup;
mod matmul;
mod matmul_weight;
mod mul;
mod noise;
mod rescale;
mod row_max;
mod scale_weight;
mod square_sum;
mod step;

use std::sync::Arc;

use sahara_circuits::graph::{Graph, Node, NodeId, Op, Shape};

use crate::gate::{Gate, GateCost};
use crate::noise::{NodeNoise, Sampler};
use crate::roles::{Rounding, Visibility};
use linear::LinearOp;
use lookup::LookupTable;

/// The tables of a graph as lookups read them.
pub(crate) struct Tables(Vec<LookupTable>);

impl Tables {
    pub(crate) fn new(graph: &Graph) -> Self {
        Self(graph.tables.iter().map(LookupTable::new).collect())
    }

    /// Without their entries: enough for what lookups cost.
    pub(crate) fn sized(graph: &Graph) -> Self {
        Self(graph.tables.iter().map(LookupTable::sized).collect())
    }
}

/// The gate of a node of a graph that passed [`Graph::check`].
pub(crate) fn gate_of(
    graph: &Graph,
    node: &Node,
    rounding: Rounding,
    visibility: Visibility,
    tables: &Tables,
) -> Box<dyn Gate> {
    let operand = |x: &NodeId| &graph.nodes[x.0 as usize];
    let shape = |x: &NodeId| operand(x).shape;
    let (result, len) = (node.shape, node.shape.len());
    let private = visibility == Visibility::Private;
    let linear = |op: LinearOp| -> Box<dyn Gate> {
        let operands: Vec<Shape> = operands(&node.op).iter().map(shape).collect();
        Box::new(linear::Linear::new(op, operands, result))
    };
    match &node.op {
        Op::Input(index) => Box::new(input::Input::new(*index, len)),
        Op::MatMulWeight { x, w } => Box::new(matmul_weight::MatMulWeight::new(w.0, private, shape(x), result)),
        Op::ScaleWeight { w, .. } => Box::new(scale_weight::ScaleWeight::new(w.0, private, len)),
        Op::AddWeight { w, .. } => Box::new(add_weight::AddWeight::new(w.0, len)),
        Op::MatMul { a, b, transpose_b } => Box::new(matmul::MatMul::new(shape(a), shape(b), *transpose_b, result)),
        Op::Mul { a, b } => Box::new(mul::Mul::new(shape(a), shape(b))),
        Op::SquareSum { x } => Box::new(square_sum::SquareSum::new(shape(x), result)),
        Op::Rescale { shift, usage, .. } => Box::new(rescale::Rescale::new(*shift, node.bits, *usage, rounding, len)),
        Op::Lookup { table, .. } => Box::new(lookup::Lookup::new(tables.0[table.0 as usize].clone(), len)),
        Op::RowMax { x } => Box::new(row_max::RowMax::new(node.bits, len, shape(x).cols as usize)),
        Op::ClampIndex { x, index_bits } => Box::new(clamp::Clamp::new(operand(x).bits, *index_bits, len)),
        Op::Step { x, base, steps } => Box::new(step::Step::new(operand(x).bits, *base, steps, len)),
        Op::Add { .. } => linear(LinearOp::Add),
        Op::Sub { .. } => linear(LinearOp::Sub),
        Op::MulPublic { k, .. } => linear(LinearOp::Scale(*k as u32)),
        Op::RowSum { .. } => linear(LinearOp::RowSum),
        Op::SliceCols { from, .. } => linear(LinearOp::SliceCols(*from as usize)),
        Op::ConcatCols { .. } => linear(LinearOp::ConcatCols),
        Op::SplitHeads { .. } => linear(LinearOp::SplitHeads),
        Op::MergeHeads { .. } => linear(LinearOp::MergeHeads),
    }
}

/// The gate of an input that the nodes supply.
pub(crate) fn noise_gate(node: &Node, sampler: Arc<Sampler>) -> Box<dyn Gate> {
    let index = if let Op::Input(index) = node.op { index } else { unreachable!("the nodes supply inputs only") };
    Box::new(noise::Noise::new(index, node.shape.len(), sampler))
}

/// What that gate costs, before there is a sampler.
pub(crate) fn noise_cost(noise: &NodeNoise, len: usize) -> GateCost {
    noise::cost(noise, len)
}

/// The operands of an operator, in its order.
pub(crate) fn operands(op: &Op) -> Vec<NodeId> {
    let mut all = Vec::new();
    op.operands(|x| all.push(x));
    all
}
