//! Graphs that pass, and what is refused of those beside them.

use super::*;
use crate::graph::{BoundOrigin, InputSpec, RescaleUse};
use crate::testgraph;

/// An input with a largest value, rescaled.
fn rescaled(max_abs: u32, shift: u8, bits: u8) -> Graph {
    let shape = Shape::new(1, 1, 1);
    let node = |op, bits, bound| Node { name: "n".into(), op, shape, bits, bound, origin: BoundOrigin::Proven };
    let x = NodeId(0);
    let rescale = Op::Rescale { x, shift, usage: RescaleUse::Index };
    let read = Op::Lookup { x: NodeId(1), table: TableId(0) };
    Graph {
        model: "m".into(),
        seq_len: 1,
        layers: 1,
        weights_root: [0; 32],
        inputs: vec![InputSpec {
            name: "x".into(),
            shape,
            bits: 32,
            range: InputRange::Symmetric,
            max_abs,
            max_row_norm: max_abs,
        }],
        weights: vec![],
        tables: vec![crate::graph::Table { name: "t".into(), entries: vec![0; 16] }],
        nodes: vec![node(Op::Input(0), 32, max_abs.into()), node(rescale, bits, 1), node(read, 32, 1)],
        outputs: vec![NodeId(2)],
    }
}

#[test]
fn what_a_rescale_could_not_carry_is_refused() {
    for shift in 1..=20 {
        let most = rescale_limit(shift) as u32;
        rescaled(most, shift, 32).check().unwrap();
        let error = rescaled(most + 1, shift, 32).check().unwrap_err().to_string();
        assert!(error.contains(&format!("can reach {}, over {most} at a shift of {shift}", most + 1)), "{error}");
        // A narrower result is taken modulo its width.
        rescaled(most + 1, shift, 12).check().unwrap();
    }
}

#[test]
fn an_input_cannot_reach_beyond_its_nodes_bound() {
    let mut graph = rescaled(100, 1, 32);
    graph.nodes[0].bound = 99;
    let error = graph.check().unwrap_err().to_string();
    assert!(error.contains("its bound 99 is below its input's 100"), "{error}");
}

#[test]
fn an_operand_that_may_be_negative_or_too_far_apart_is_refused() {
    let of = |op: Op, bits: u8| {
        let mut graph = rescaled(100, 1, 12);
        (graph.nodes[1].op, graph.nodes[1].bits) = (op, bits);
        graph.check().map_err(|error| error.to_string())
    };
    let x = NodeId(0);
    for op in [Op::Step { x, base: 0, steps: vec![(1, 1)] }, Op::ClampIndex { x, index_bits: 4 }] {
        let error = of(op.clone(), if matches!(op, Op::Step { .. }) { 32 } else { 4 }).unwrap_err();
        assert!(error.contains("its operand may be negative"), "{error}");
    }
    of(Op::RowMax { x }, 32).unwrap();
    let mut wide = rescaled(1 << 30, 1, 12);
    (wide.nodes[1].op, wide.nodes[1].bits) = (Op::RowMax { x }, 32);
    let error = wide.check().unwrap_err().to_string();
    assert!(error.contains("values can be 2147483648 apart"), "{error}");
    wide.inputs[0].range = InputRange::Mask;
    wide.check().unwrap();
}

#[test]
fn a_product_with_a_public_constant_may_be_negative_if_the_constant_is() {
    let scaled = |k: i32| {
        let mut graph = rescaled(100, 1, 12);
        let input = graph.nodes[0].clone();
        let square = Node { op: Op::SquareSum { x: NodeId(0) }, bound: 10_000, ..input.clone() };
        let product = Node { op: Op::MulPublic { x: NodeId(1), k }, bound: 30_000, ..input.clone() };
        let index = Node { op: Op::ClampIndex { x: NodeId(2), index_bits: 4 }, bits: 4, bound: 15, ..input.clone() };
        let read = Node { op: Op::Lookup { x: NodeId(3), table: TableId(0) }, bound: 1, ..input.clone() };
        graph.nodes = vec![input, square, product, index, read];
        graph.outputs = vec![NodeId(4)];
        graph.check().map_err(|error| error.to_string())
    };
    scaled(3).unwrap();
    scaled(0).unwrap();
    let error = scaled(-3).unwrap_err();
    assert!(error.contains("its operand may be negative"), "{error}");
}

#[test]
fn a_moved_input_is_still_one() {
    let x = NodeId(0);
    let with = |max_abs: u32, bits: u8, op: fn(NodeId) -> Op, result: u8| {
        let mut graph = rescaled(max_abs, 1, 12);
        (graph.inputs[0].bits, graph.nodes[0].bits) = (bits, bits);
        let moved = Node { op: Op::SplitHeads { x }, ..graph.nodes[0].clone() };
        let node = Node { op: op(NodeId(1)), bits: result, ..graph.nodes[1].clone() };
        graph.nodes.splice(1..2, [moved, node]);
        graph.nodes[3].op = Op::Lookup { x: NodeId(2), table: TableId(0) };
        graph.outputs = vec![NodeId(3)];
        graph.check().map_err(|error| error.to_string())
    };
    let clamp = |x| Op::ClampIndex { x, index_bits: 4 };
    assert!(with(100, 8, clamp, 4).unwrap_err().contains("may be negative"));
    let maximum = |x| Op::RowMax { x };
    assert!(with(100, 8, maximum, 8).unwrap_err().contains("values can be 200 apart"));
    with(63, 8, maximum, 8).unwrap();
}

/// Of the operators that only move elements, a bound below that of an operand is false.
#[test]
fn what_moves_elements_bounds_them_as_its_operand_does() {
    let mut found = 0;
    for seed in 0..40 {
        let (graph, ..) = testgraph::random(seed);
        for (index, node) in graph.nodes.iter().enumerate() {
            let moves = matches!(node.op, Op::ConcatCols { .. } | Op::SplitHeads { .. } | Op::MergeHeads { .. });
            let mut operands = Vec::new();
            node.op.operands(|x| operands.push(graph.nodes[x.0 as usize].bound));
            if moves && operands.iter().any(|bound| *bound > 0) {
                let mut lower = graph.clone();
                lower.nodes[index].bound = 0;
                let error = lower.check().unwrap_err().to_string();
                assert!(error.contains("its bound 0 is below"), "{error}");
                found += 1;
            }
        }
    }
    assert!(found > 100, "{found}");
}
