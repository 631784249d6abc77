//! Operators that are linear over the ring: every party applies them to what it holds, without a message.

use sahara_circuits::graph::{Graph, NodeId, Op, Shape};

/// Whether an operator is computed by [`apply`].
pub(super) fn is_linear(op: &Op) -> bool {
    matches!(
        op,
        Op::Add { .. }
            | Op::Sub { .. }
            | Op::MulPublic { .. }
            | Op::RowSum { .. }
            | Op::SliceCols { .. }
            | Op::ConcatCols { .. }
            | Op::SplitHeads { .. }
            | Op::MergeHeads { .. }
    )
}

/// The operands of a node.
pub(super) fn operands(op: &Op) -> Vec<NodeId> {
    let mut all = Vec::new();
    op.operands(|x| all.push(x));
    all
}

/// Applies a linear operator; `values` are the operands in the order of [`operands`].
pub(super) fn apply(graph: &Graph, id: NodeId, values: &[&[u32]]) -> Vec<u32> {
    let node = &graph.nodes[id.0 as usize];
    let shape = |id: NodeId| graph.nodes[id.0 as usize].shape;
    match &node.op {
        Op::Add { a, b } => broadcast(node.shape, shape(*a), shape(*b), values, u32::wrapping_add),
        Op::Sub { a, b } => broadcast(node.shape, shape(*a), shape(*b), values, u32::wrapping_sub),
        Op::MulPublic { k, .. } => values[0].iter().map(|v| v.wrapping_mul(*k as u32)).collect(),
        Op::RowSum { x } => values[0]
            .chunks_exact(shape(*x).cols as usize)
            .map(|row| row.iter().fold(0, |sum: u32, v| sum.wrapping_add(*v)))
            .collect(),
        Op::SliceCols { x, from } => values[0]
            .chunks_exact(shape(*x).cols as usize)
            .flat_map(|row| &row[*from as usize..(*from + node.shape.cols) as usize])
            .copied()
            .collect(),
        Op::ConcatCols { parts } => {
            let widths: Vec<usize> = parts.iter().map(|p| shape(*p).cols as usize).collect();
            let mut out = Vec::with_capacity(node.shape.len());
            for row in 0..(node.shape.batch * node.shape.rows) as usize {
                for (value, width) in values.iter().zip(&widths) {
                    out.extend_from_slice(&value[row * width..(row + 1) * width]);
                }
            }
            out
        }
        Op::SplitHeads { .. } => swap_outer(values[0], node.shape.rows, node.shape.batch, node.shape.cols),
        Op::MergeHeads { x } => {
            let from = shape(*x);
            swap_outer(values[0], from.batch, from.rows, from.cols)
        }
        _ => unreachable!("callers ask is_linear first"),
    }
}

/// `[a, b, inner]` to `[b, a, inner]`.
fn swap_outer(values: &[u32], a: u32, b: u32, inner: u32) -> Vec<u32> {
    let (a, b, inner) = (a as usize, b as usize, inner as usize);
    let mut out = Vec::with_capacity(values.len());
    for j in 0..b {
        for i in 0..a {
            let start = (i * b + j) * inner;
            out.extend_from_slice(&values[start..start + inner]);
        }
    }
    out
}

/// Elementwise `f` with broadcasting along every dimension that is 1.
pub(super) fn broadcast(out: Shape, a: Shape, b: Shape, values: &[&[u32]], f: impl Fn(u32, u32) -> u32) -> Vec<u32> {
    let row = |shape: Shape, batch: u32, row: u32| {
        let at = if shape.batch == 1 { 0 } else { batch * shape.rows } + if shape.rows == 1 { 0 } else { row };
        at as usize * shape.cols as usize
    };
    let mut result = Vec::with_capacity(out.len());
    for batch in 0..out.batch {
        for r in 0..out.rows {
            let x = &values[0][row(a, batch, r)..][..a.cols as usize];
            let y = &values[1][row(b, batch, r)..][..b.cols as usize];
            match (x, y) {
                ([x], y) if y.len() > 1 => result.extend(y.iter().map(|y| f(*x, *y))),
                (x, [y]) => result.extend(x.iter().map(|x| f(*x, *y))),
                (x, y) => result.extend(x.iter().zip(y).map(|(x, y)| f(*x, *y))),
            }
        }
    }
    result
}
