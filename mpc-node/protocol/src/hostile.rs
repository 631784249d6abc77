//! Graphs from outside: whatever passes `Graph::check` has a plan or an error, and runs on the helper, both evaluators
//! and the reference executor without a panic, whatever its bounds promise and whatever is fed to it.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use sahara_circuits::graph::{
    Graph, InputRange, InputSpec, Node, NodeId, Op, RescaleUse, Shape, Table, TableId, WeightId, WeightSpec,
};
use sahara_circuits::reference;
use sahara_circuits::testgraph::{self, Rng};
use sahara_circuits::weights::Weights;

use super::tests::run;
use super::*;

/// Enough to see every operator next to every other.
const GRAPHS: usize = 300;
const FIRST_SEED: u64 = 0x5eed;

#[test]
fn a_graph_that_passes_the_check_never_panics_anybody() {
    let (mut ran, mut refused, mut seed) = (0, 0, FIRST_SEED);
    while ran < GRAPHS {
        seed += 1;
        let mut rng = Rng::new(seed);
        let graph = mutated(&mut rng);
        let checked = catch_unwind(|| graph.check()).unwrap_or_else(|_| panic!("seed {seed}: the check panics"));
        if checked.is_err() {
            refused += 1;
            continue;
        }
        if graph.nodes.iter().map(|n| n.shape.len()).sum::<usize>() > 1 << 14 {
            continue;
        }
        ran += 1;
        let outcome = catch_unwind(AssertUnwindSafe(|| everybody(graph.clone(), &mut rng)));
        assert!(outcome.is_ok(), "seed {seed}: a graph of {} nodes panics somebody: {graph:?}", graph.nodes.len());
    }
    assert!(refused > GRAPHS / 10, "{refused} refused: the mutations no longer reach what is not allowed");
}

fn everybody(graph: Graph, rng: &mut Rng) {
    let weights =
        Weights { tensors: graph.weights.iter().map(|w| words(rng, w.rows as usize * w.cols as usize)).collect() };
    let inputs: Vec<Vec<i32>> = graph.inputs.iter().map(|i| words(rng, i.shape.len())).collect();
    // The reference also sizes what it gives.
    let want = reference::execute(&graph, &weights, &inputs, &Default::default()).expect("a checked graph runs");
    let lengths: Vec<usize> = want.outputs.iter().map(Vec::len).collect();
    let graph = Arc::new(graph);
    for visibility in [Visibility::Private, Visibility::Open] {
        let rounding = if rng.below(2) == 0 { Rounding::Exact } else { Rounding::Faithful };
        let assignment = Assignment::ALL[rng.below(3) as usize];
        if Plan::new(graph.clone(), rounding, visibility).is_ok() {
            let got = run(&graph, &weights, &inputs, rounding, visibility, assignment).outputs;
            assert_eq!(got.iter().map(Vec::len).collect::<Vec<_>>(), lengths);
        }
    }
}

/// Any words at all, edges more often.
fn words(rng: &mut Rng, n: usize) -> Vec<i32> {
    let edges = [0, 1, -1, i32::MAX, i32::MIN, 1 << 30, -(1 << 30)];
    (0..n)
        .map(|_| if rng.below(4) == 0 { edges[rng.below(7) as usize] } else { rng.below(1 << 32) as u32 as i32 })
        .collect()
}

/// A random valid graph with a few random changes and additions.
fn mutated(rng: &mut Rng) -> Graph {
    let mut graph = testgraph::random(rng.below(64)).0;
    for _ in 0..rng.below(3) {
        mutate(&mut graph, rng);
    }
    for _ in 0..1 + rng.below(8) {
        grow(&mut graph, rng);
    }
    graph
}

fn any(graph: &Graph, rng: &mut Rng) -> NodeId {
    NodeId(rng.below(graph.nodes.len() as u64) as u32)
}

fn small(rng: &mut Rng) -> u32 {
    [0, 1, 2, 3, 5, 8, 31, 33, 64, 65][rng.below(10) as usize]
}

fn mutate(graph: &mut Graph, rng: &mut Rng) {
    let node = rng.below(graph.nodes.len() as u64) as usize;
    let other = any(graph, rng);
    match rng.below(12) {
        0 => graph.nodes[node].bits = rng.below(36) as u8,
        1 => graph.nodes[node].shape.batch = small(rng),
        2 => graph.nodes[node].shape.rows = small(rng),
        3 => graph.nodes[node].shape.cols = small(rng),
        4 => graph.nodes[node].bound = [0, 1, u64::MAX][rng.below(3) as usize],
        5 => graph.outputs.push(other),
        6 => graph.nodes.swap(node, other.0 as usize),
        7 => {
            let i = rng.below(graph.inputs.len() as u64) as usize;
            let InputSpec { shape, bits, max_abs, range, .. } = &mut graph.inputs[i];
            *range = if rng.below(2) == 0 { InputRange::Symmetric } else { InputRange::Mask };
            (*shape, *bits, *max_abs) = (Shape::new(1, small(rng), small(rng)), rng.below(34) as u8, small(rng));
        }
        8 if !graph.weights.is_empty() => {
            let i = rng.below(graph.weights.len() as u64) as usize;
            graph.weights[i] = WeightSpec { name: "w".into(), rows: small(rng), cols: small(rng) };
        }
        9 if !graph.tables.is_empty() => {
            let i = rng.below(graph.tables.len() as u64) as usize;
            let len = 1 << rng.below(12);
            graph.tables[i].entries = words(rng, len);
        }
        10 => graph.nodes[node].op = Op::Input(rng.below(graph.inputs.len() as u64 + 1) as u32),
        _ => graph.nodes[node].op = operator(graph, rng),
    }
}

/// Adds a node whose shape and width suit its operator more often than not, as an output where that is allowed.
fn grow(graph: &mut Graph, rng: &mut Rng) {
    if rng.below(4) == 0 {
        let len = 1 << (4 + rng.below(7));
        graph.tables.push(Table { name: "t".into(), entries: words(rng, len) });
    }
    let op = operator(graph, rng);
    let mut operands = Vec::new();
    op.operands(|x| operands.push(x));
    let shape = |at: usize| graph.nodes[operands[at].0 as usize].shape;
    let narrow = operands.iter().map(|x| graph.nodes[x.0 as usize].bits).min().unwrap_or(32);
    let (shape, bits) = match &op {
        Op::Input(i) => graph.inputs.get(*i as usize).map_or((Shape::new(1, 1, 1), 32), |i| (i.shape, i.bits)),
        Op::MatMulWeight { w, .. } => (Shape { cols: graph.weights[w.0 as usize].cols, ..shape(0) }, 32),
        Op::MatMul { transpose_b, .. } => {
            (Shape { cols: if *transpose_b { shape(1).rows } else { shape(1).cols }, ..shape(0) }, 32)
        }
        Op::Sub { .. } if shape(0).cols == 1 => (shape(1), narrow),
        Op::SquareSum { .. } => (Shape { cols: 1, ..shape(0) }, 32),
        Op::RowSum { .. } | Op::RowMax { .. } => (Shape { cols: 1, ..shape(0) }, narrow),
        Op::Rescale { shift, .. } => {
            let narrower = 1 + rng.below(u64::from(32u8.saturating_sub(*shift).max(1))) as u8;
            (shape(0), if rng.below(2) == 0 { 32 } else { narrower })
        }
        Op::ClampIndex { index_bits, .. } => (shape(0), *index_bits),
        Op::SliceCols { .. } => (Shape { cols: 1 + rng.below(u64::from(shape(0).cols)) as u32, ..shape(0) }, narrow),
        Op::ConcatCols { .. } => {
            let cols = (0..operands.len()).map(|i| shape(i).cols).sum();
            (Shape { cols, ..shape(0) }, narrow)
        }
        Op::SplitHeads { .. } => {
            let heads = 1 + rng.below(3) as u32;
            (Shape::new(heads, shape(0).rows, shape(0).cols / heads), narrow)
        }
        Op::MergeHeads { .. } => (Shape::new(1, shape(0).rows, shape(0).cols * shape(0).batch), narrow),
        Op::MulPublic { .. } | Op::AddWeight { .. } | Op::Add { .. } | Op::Sub { .. } => (shape(0), narrow),
        _ => (shape(0), 32),
    };
    let origin = sahara_circuits::graph::BoundOrigin::Proven;
    graph.nodes.push(Node { name: "grown".into(), op, shape, bits, bound: rng.below(1 << 30), origin });
    if bits == 32 && graph.outputs.len() < 8 {
        graph.outputs.push(NodeId(graph.nodes.len() as u32 - 1));
    }
}

/// Any operator on any earlier nodes.
fn operator(graph: &Graph, rng: &mut Rng) -> Op {
    let x = any(graph, rng);
    let cols = graph.nodes[x.0 as usize].shape.cols;
    // A partner of the same shape if there is one.
    let same: Vec<u32> = (0..graph.nodes.len() as u32)
        .filter(|i| graph.nodes[*i as usize].shape == graph.nodes[x.0 as usize].shape)
        .collect();
    let y = if rng.below(4) == 0 { any(graph, rng) } else { NodeId(same[rng.below(same.len() as u64) as usize]) };
    let fitting: Vec<u32> =
        (0..graph.weights.len() as u32).filter(|w| graph.weights[*w as usize].cols == cols).collect();
    let w = match fitting.len() {
        0 => WeightId(rng.below(graph.weights.len().max(1) as u64) as u32),
        n => WeightId(fitting[rng.below(n as u64) as usize]),
    };
    let w = if graph.weights.is_empty() { None } else { Some(w) };
    match (rng.below(19), w) {
        (0, _) => Op::Input(rng.below(graph.inputs.len() as u64) as u32),
        (1, Some(w)) => Op::MatMulWeight { x, w },
        (2, Some(w)) => Op::ScaleWeight { x, w },
        (3, Some(w)) => Op::AddWeight { x, w },
        (4, _) => Op::MatMul { a: x, b: y, transpose_b: rng.below(3) > 0 },
        (5, _) => Op::Add { a: x, b: y },
        (6, _) => Op::Sub { a: x, b: y },
        (7, _) => Op::MulPublic { x, k: rng.below(1 << 32) as u32 as i32 },
        (8, _) => Op::Mul { a: x, b: y },
        (9, _) => Op::SquareSum { x },
        (10, _) => Op::RowSum { x },
        (11, _) => Op::RowMax { x },
        (12, _) => {
            let usage = if rng.below(2) == 0 { RescaleUse::Value } else { RescaleUse::Index };
            Op::Rescale { x, shift: rng.below(23) as u8, usage }
        }
        (13, _) => Op::ClampIndex { x, index_bits: rng.below(34) as u8 },
        (14, _) => Op::Lookup { x, table: TableId(rng.below(graph.tables.len().max(1) as u64) as u32) },
        (15, _) => {
            let threshold = |rng: &mut Rng| {
                let bits = 1 + rng.below(32);
                rng.below(1 << bits) as u32
            };
            let steps = (0..rng.below(4)).map(|_| (threshold(rng), rng.below(1 << 32) as u32 as i32)).collect();
            Op::Step { x, base: rng.below(1 << 32) as u32 as i32, steps }
        }
        (16, _) => Op::SliceCols { x, from: rng.below(u64::from(cols.max(1))) as u32 },
        (17, _) => Op::ConcatCols { parts: vec![x, y, x] },
        (18, _) if graph.nodes[x.0 as usize].shape.batch == 1 => Op::SplitHeads { x },
        _ => Op::MergeHeads { x },
    }
}
