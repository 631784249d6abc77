//! What the operators say of their results, whatever the weights are: signs, and elements that are only moved.

use crate::graph::{Graph, NodeId, Op};

/// What follows from the operators up to a node.
#[derive(Clone, Copy, Default)]
pub(crate) struct Fact {
    /// It is not negative, as long as no value leaves its bound.
    pub never_negative: bool,
    /// The input whose elements it only moves, at the width of the input.
    pub input: Option<u32>,
}

/// A fact for each node, in one pass; of an operand that is no earlier node nothing is known.
pub(crate) fn facts(graph: &Graph) -> Vec<Fact> {
    let mut facts: Vec<Fact> = Vec::with_capacity(graph.nodes.len());
    for node in &graph.nodes {
        let of = |id: &NodeId| facts.get(id.0 as usize).copied().unwrap_or_default();
        let all = |ids: &[NodeId]| ids.iter().all(|id| of(id).never_negative);
        let holds = match &node.op {
            Op::SquareSum { .. } => true,
            Op::Lookup { table, .. } => {
                graph.tables.get(table.0 as usize).is_some_and(|table| table.entries.iter().all(|e| *e >= 0))
            }
            Op::Step { base, steps, .. } => {
                i64::from(*base) + steps.iter().map(|(_, weight)| i64::from(*weight).min(0)).sum::<i64>() >= 0
            }
            Op::Mul { a, b } | Op::MatMul { a, b, .. } | Op::Add { a, b } => all(&[*a, *b]),
            Op::MulPublic { x, k } => *k >= 0 && all(&[*x]),
            Op::RowSum { x } | Op::RowMax { x } | Op::SliceCols { x, .. } => all(&[*x]),
            Op::SplitHeads { x } | Op::MergeHeads { x } => all(&[*x]),
            Op::Rescale { x, .. } => node.bits == 32 && all(&[*x]),
            Op::ConcatCols { parts } => all(parts),
            // How far each element is below the largest of its row.
            Op::Sub { a, b } => {
                matches!(graph.nodes.get(a.0 as usize).map(|a| &a.op), Some(Op::RowMax { x }) if x == b)
            }
            _ => false,
        };
        let input = match &node.op {
            Op::Input(i) => Some(*i),
            Op::SliceCols { x, .. } | Op::SplitHeads { x } | Op::MergeHeads { x } => {
                of(x).input.filter(|i| graph.inputs.get(*i as usize).is_some_and(|input| input.bits == node.bits))
            }
            _ => None,
        };
        let fits = (1..=32).contains(&node.bits) && node.bound < 1 << (node.bits - 1);
        facts.push(Fact { never_negative: holds && fits, input });
    }
    facts
}
