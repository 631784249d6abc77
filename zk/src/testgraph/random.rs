//! Small random graphs over every operator, of which each node can be proven: what is refused is taken back.

use sahara_circuits::graph::{Graph, InputRange, NodeId, Op, RescaleUse, Shape};
use sahara_circuits::testgraph::Rng;
use sahara_circuits::weights::Weights;
use sahara_zk_verify::plan::plan;

use super::Maker;

/// Operators and variants of them.
const KINDS: u64 = 24;
/// Of a node that wraps, or may: no statement.
const UNBOUNDED: u64 = 1 << 40;

/// A graph, its weights and inputs within its ranges; the same seed gives the same.
pub fn random(seed: u64) -> (Graph, Weights, Vec<Vec<i32>>) {
    let mut rng = Rng::new(seed ^ 0x5eed);
    let mut maker = Maker::new(&format!("provable-{seed}"), 1);
    let (rows, cols) = (up_to(&mut rng, 5), 2 * up_to(&mut rng, 4));
    for (name, most) in [("x", 1 << up_to(&mut rng, 9)), ("y", (1 << up_to(&mut rng, 9)) - 1)] {
        maker.input(name, Shape::new(1, rows, cols), 32, most);
    }
    maker.input("narrow", Shape::new(1, rows, cols), 12, (1 << 10) - 1);
    maker.input("row", Shape::new(1, 1, cols), 32, 300);
    maker.graph.inputs[2].range = InputRange::Symmetric;
    let first = rng.below(KINDS);
    let mut grown = 0;
    for i in 0..3 * KINDS {
        let before = (maker.graph.clone(), maker.weights.clone());
        let Some(node) = grow(&mut maker, &mut rng, (first + i) % KINDS) else { continue };
        if settle(&mut maker, node) {
            grown += 1;
        } else {
            (maker.graph, maker.weights) = before;
        }
        if grown >= 26 {
            break;
        }
    }
    let outputs = unread(&maker.graph);
    maker.finish(&mut rng, outputs)
}

/// Gives the newest node the bound that holds; whether the graph is one, and can be proven.
fn settle(maker: &mut Maker, NodeId(id): NodeId) -> bool {
    maker.graph.outputs = unread(&maker.graph);
    let bits: Vec<u8> = maker.weights.tensors.iter().map(|tensor| crate::signed_bits(tensor)).collect();
    let Ok(system) = plan(&maker.graph, &bits) else { return false };
    let node = &mut maker.graph.nodes[id as usize];
    let most = system.tensor(system.nodes[id as usize]).interval.magnitude();
    node.bound = if most < 1 << (node.bits - 1) { most as u64 } else { UNBOUNDED };
    maker.graph.weights_root = maker.weights.root(&maker.graph.weights);
    maker.graph.check().is_ok() && plan(&maker.graph, &bits).is_ok()
}

/// The nodes of 32 bits that nobody reads.
fn unread(graph: &Graph) -> Vec<NodeId> {
    let mut read = vec![false; graph.nodes.len()];
    graph.nodes.iter().for_each(|node| node.op.operands(|id| read[id.0 as usize] = true));
    let ids = (0..graph.nodes.len()).filter(|&i| !read[i] && graph.nodes[i].bits == 32);
    let mut outputs: Vec<NodeId> = ids.map(|i| NodeId(i as u32)).collect();
    outputs.truncate(60);
    if outputs.is_empty() {
        outputs.push(NodeId(0));
    }
    outputs
}

fn grow(maker: &mut Maker, rng: &mut Rng, kind: u64) -> Option<NodeId> {
    let shape = |maker: &Maker, id: NodeId| maker.graph.nodes[id.0 as usize].shape;
    let bits = |maker: &Maker, id: NodeId| maker.graph.nodes[id.0 as usize].bits;
    let reduced = |rng: &mut Rng, bits: u8| if rng.below(4) == 0 { 1 + rng.below(bits.into()) as u8 } else { bits };
    let any = |maker: &Maker, rng: &mut Rng, fits: &dyn Fn(NodeId) -> bool| {
        let nodes = (0..maker.graph.nodes.len() as u32).map(NodeId);
        let fitting: Vec<NodeId> = nodes.filter(|&id| shape(maker, id).len() <= 120 && fits(id)).collect();
        fitting.get(rng.below(fitting.len().max(1) as u64) as usize).copied()
    };
    let wide = |maker: &Maker, rng: &mut Rng| any(maker, rng, &|id| bits(maker, id) == 32);
    let x = wide(maker, rng)?;
    let of = shape(maker, x);
    let node = |maker: &mut Maker, op, shape, bits| Some(maker.node(op, shape, bits, UNBOUNDED));
    match kind {
        0 => {
            let to = up_to(rng, 6);
            let most = 1 << up_to(rng, 9);
            let w = maker.weight(rng, of.cols, to, most);
            node(maker, Op::MatMulWeight { x, w }, Shape { cols: to, ..of }, 32)
        }
        1 => {
            let most = 1 << up_to(rng, 9);
            let w = maker.weight(rng, 1, of.cols, most);
            node(maker, Op::ScaleWeight { x, w }, of, 32)
        }
        2 => {
            let x = any(maker, rng, &|_| true)?;
            let (of, bits) = (shape(maker, x), reduced(rng, bits(maker, x)));
            let most = 1 << up_to(rng, 16);
            let w = maker.weight(rng, 1, of.cols, most);
            node(maker, Op::AddWeight { x, w }, of, bits)
        }
        3 | 4 => {
            let transpose_b = kind == 4;
            let fits = |id| {
                let s = shape(maker, id);
                let inner = if transpose_b { s.cols } else { s.rows };
                bits(maker, id) == 32 && (s.batch, inner) == (of.batch, of.cols)
            };
            let b = any(maker, rng, &fits)?;
            let sb = shape(maker, b);
            let cols = if transpose_b { sb.rows } else { sb.cols };
            node(maker, Op::MatMul { a: x, b, transpose_b }, Shape { cols, ..of }, 32)
        }
        5..=7 => {
            let broadcast = |s: Shape| {
                let fits = |small, large| small == large || small == 1;
                fits(s.batch, of.batch) && fits(s.rows, of.rows) && fits(s.cols, of.cols)
            };
            let b =
                any(maker, rng, &|id| if kind == 7 { broadcast(shape(maker, id)) } else { shape(maker, id) == of })?;
            let least = bits(maker, b).min(32);
            let bits = reduced(rng, least);
            let op = if kind == 5 { Op::Add { a: x, b } } else { Op::Sub { a: x, b } };
            node(maker, op, of, bits)
        }
        8 => {
            let (k, bits) = (rng.between(-40, 40) as i32, reduced(rng, 32));
            node(maker, Op::MulPublic { x, k }, of, bits)
        }
        9 | 10 => {
            let column = Shape { cols: 1, ..of };
            let wanted = if kind == 9 { of } else { column };
            let b = any(maker, rng, &|id| bits(maker, id) == 32 && shape(maker, id) == wanted)?;
            node(maker, Op::Mul { a: x, b }, of, 32)
        }
        11 => node(maker, Op::SquareSum { x }, Shape { cols: 1, ..of }, 32),
        12 => {
            let bits = reduced(rng, 32);
            node(maker, Op::RowSum { x }, Shape { cols: 1, ..of }, bits)
        }
        13 => {
            let x = any(maker, rng, &|id| bits(maker, id) >= 2)?;
            let (of, bits) = (shape(maker, x), bits(maker, x));
            node(maker, Op::RowMax { x }, Shape { cols: 1, ..of }, bits)
        }
        14 | 15 => {
            let shift = 1 + rng.below(12) as u8;
            let (usage, bits) = match kind {
                14 => (RescaleUse::Value, 32),
                _ => (RescaleUse::Index, 1 + rng.below(u64::from(31 - shift)) as u8),
            };
            node(maker, Op::Rescale { x, shift, usage }, of, bits)
        }
        16 | 17 => {
            // How far each element is below the largest of its row: clamped, or a step of it.
            let (max, b) = maximum(maker, rng)?;
            let (of, width) = (shape(maker, b), bits(maker, b));
            let below = maker.node(Op::Sub { a: max, b }, of, width, UNBOUNDED);
            settle(maker, below).then_some(())?;
            if kind == 16 {
                let index_bits = 1 + rng.below(u64::from(width - 1).min(8)) as u8;
                return node(maker, Op::ClampIndex { x: below, index_bits }, of, index_bits);
            }
            let most = maker.graph.nodes[below.0 as usize].bound.clamp(1, (1 << (width - 1)) - 1) as i64;
            let steps = (0..up_to(rng, 7)).map(|_| (rng.between(1, most) as u32, rng.between(-900, 900) as i32));
            let (steps, base) = (steps.collect(), rng.between(-50, 50) as i32);
            node(maker, Op::Step { x: below, base, steps }, of, 32)
        }
        18 | 23 => {
            let x = any(maker, rng, &|id| bits(maker, id) >= 4)?;
            let (of, bits) = (shape(maker, x), 4 + rng.below(u64::from(bits(maker, x).min(10)) - 3));
            let most = 1 << up_to(rng, 14);
            let table = maker.table((0..1 << bits).map(|_| rng.between(-most, most) as i32).collect());
            node(maker, Op::Lookup { x, table }, of, 32)
        }
        19 => {
            let x = any(maker, rng, &|id| shape(maker, id).cols > 1)?;
            let of = shape(maker, x);
            let from = rng.below(of.cols.into()) as u32;
            let cols = up_to(rng, of.cols - from);
            let bits = reduced(rng, bits(maker, x));
            node(maker, Op::SliceCols { x, from }, Shape { cols, ..of }, bits)
        }
        20 => {
            let fits = |id| (shape(maker, id).batch, shape(maker, id).rows) == (of.batch, of.rows);
            let more = (0..rng.below(3)).filter_map(|_| any(maker, rng, &fits));
            let parts: Vec<NodeId> = std::iter::once(x).chain(more.collect::<Vec<_>>()).collect();
            let cols = parts.iter().map(|&part| shape(maker, part).cols).sum();
            let least = parts.iter().map(|&part| bits(maker, part)).min()?;
            let bits = reduced(rng, least);
            node(maker, Op::ConcatCols { parts }, Shape { cols, ..of }, bits)
        }
        21 => {
            let x = any(maker, rng, &|id| shape(maker, id).batch == 1 && shape(maker, id).cols % 2 == 0)?;
            let of = shape(maker, x);
            let heads = [2, 3, 4][rng.below(3) as usize];
            (of.cols % heads == 0).then_some(())?;
            let bits = reduced(rng, bits(maker, x));
            node(maker, Op::SplitHeads { x }, Shape::new(heads, of.rows, of.cols / heads), bits)
        }
        _ => {
            let x = any(maker, rng, &|id| shape(maker, id).batch > 1)?;
            let of = shape(maker, x);
            let bits = reduced(rng, bits(maker, x));
            node(maker, Op::MergeHeads { x }, Shape::new(1, of.rows, of.cols * of.batch), bits)
        }
    }
}

/// A maximum, and what it is of: near enough to each other that their difference fits.
fn maximum(maker: &mut Maker, rng: &mut Rng) -> Option<(NodeId, NodeId)> {
    let nodes = &maker.graph.nodes;
    let near = |i: &usize| nodes[*i].bits >= 3 && nodes[*i].bound < 1 << (nodes[*i].bits - 2);
    let fitting: Vec<usize> = (0..nodes.len()).filter(near).collect();
    let x = *fitting.get(rng.below(fitting.len().max(1) as u64) as usize)?;
    let (shape, bits) = (nodes[x].shape, nodes[x].bits);
    let x = NodeId(x as u32);
    let max = maker.node(Op::RowMax { x }, Shape { cols: 1, ..shape }, bits, UNBOUNDED);
    settle(maker, max).then_some((max, x))
}

/// Uniform enough in `1..=n`.
fn up_to(rng: &mut Rng, n: u32) -> u32 {
    rng.between(1, n.into()) as u32
}
