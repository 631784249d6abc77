//! Small random graphs that use every operator within its allowed range: test material for every executor.
//!
//! Intervals are tracked while a graph grows, so operators with a precondition (rescale to 32 bits, maximum, clamp,
//! step) meet it for every input within the declared range, and values reach up to what is allowed.

mod kind;
mod rng;
#[cfg(test)]
mod tests;

pub use rng::Rng;

use crate::graph::{
    BoundOrigin, Graph, InputRange, InputSpec, Node, NodeId, Op, RescaleUse, Shape, Table, TableId, WeightId,
    WeightSpec, rescale_limit, wrap,
};
use crate::weights::Weights;
use kind::OpKind;

/// A graph that uses every operator at least once, weights for it, and inputs within its declared range.
/// The same seed gives the same graph.
pub fn random(seed: u64) -> (Graph, Weights, Vec<Vec<i32>>) {
    let mut maker = Maker::new(seed);
    maker.inputs();
    let mut pending: Vec<OpKind> = OpKind::ALL.to_vec();
    let mut tries = 0;
    while tries < 400 && (!pending.is_empty() || maker.graph.nodes.len() < 45) {
        tries += 1;
        let kind = if pending.is_empty() || maker.rng.below(4) == 0 {
            OpKind::ALL[maker.rng.below(OpKind::ALL.len() as u64) as usize]
        } else {
            pending[maker.rng.below(pending.len() as u64) as usize]
        };
        if maker.grow(kind) {
            pending.retain(|k| *k != kind);
        }
    }
    maker.finish()
}

/// Other inputs for a graph of [`random`], within its declared range.
pub fn random_inputs(graph: &Graph, seed: u64) -> Vec<Vec<i32>> {
    let mut rng = Rng::new(seed ^ 0x1234_5678);
    graph.inputs.iter().map(|spec| input_values(&mut rng, spec)).collect()
}

/// Every value of a node as an integer, before a wrap to its width.
type Range = (i128, i128);

struct Maker {
    rng: Rng,
    graph: Graph,
    weights: Weights,
    /// What each node holds after the wrap.
    ranges: Vec<(i64, i64)>,
}

impl Maker {
    fn new(seed: u64) -> Self {
        let graph = Graph {
            model: format!("random-{seed}"),
            seq_len: 1,
            layers: 1,
            weights_root: [0; 32],
            inputs: Vec::new(),
            weights: Vec::new(),
            tables: Vec::new(),
            nodes: Vec::new(),
            outputs: Vec::new(),
        };
        Self { rng: Rng::new(seed), graph, weights: Weights::default(), ranges: Vec::new() }
    }

    fn inputs(&mut self) {
        let rows = self.rng.up_to(7);
        let cols = 2 * self.rng.up_to(6);
        self.graph.seq_len = rows;
        for (name, shape, bits, max_abs) in [
            ("large", Shape::new(1, rows, cols), 32, rescale_limit(1 + self.rng.below(20) as u8) as u32),
            ("small", Shape::new(1, rows, cols), 32, 1 << (4 + self.rng.below(14))),
            ("narrow", Shape::new(1, rows, cols), 16, (1 << 14) - 1),
            ("row", Shape::new(1, 1, cols), 32, 1 << 20),
            ("mask", Shape::new(1, rows, cols), 16, (1 << 14) + self.rng.below(1 << 14) as u32),
            ("odd", Shape::new(1, rows, 2 * self.rng.up_to(3) + 1), 12, (1 << 10) - 1),
        ] {
            let max_row_norm = (f64::from(max_abs) * f64::from(shape.cols).sqrt()).ceil() as u32;
            let index = self.graph.inputs.len() as u32;
            let range = if name == "mask" { InputRange::Mask } else { InputRange::Symmetric };
            self.graph.inputs.push(InputSpec { name: name.into(), shape, bits, range, max_abs, max_row_norm });
            let max = i128::from(max_abs);
            let highest = if range == InputRange::Mask { 0 } else { max };
            self.push(name, Op::Input(index), shape, bits, (-max, highest));
        }
    }

    /// Adds a node of this kind if an operand for it can be found.
    fn grow(&mut self, kind: OpKind) -> bool {
        self.try_grow(kind).is_some()
    }

    fn try_grow(&mut self, kind: OpKind) -> Option<()> {
        match kind {
            OpKind::MatMulWeight => {
                let x = self.pick(|m, id| m.bits(id) == 32)?;
                let Shape { cols, .. } = self.shape(x);
                let (n, max) = (self.rng.up_to(9), self.magnitude(15));
                let w = self.weight(cols, n, max);
                let out = Shape { cols: n, ..self.shape(x) };
                let range = scaled(self.range(x), i128::from(max) * i128::from(cols));
                self.push("matmul", Op::MatMulWeight { x, w }, out, 32, range);
            }
            OpKind::ScaleWeight => {
                let x = self.pick(|m, id| m.bits(id) == 32)?;
                let max = self.magnitude(20);
                let w = self.weight(1, self.shape(x).cols, max);
                let range = scaled(self.range(x), max.into());
                self.push("scale", Op::ScaleWeight { x, w }, self.shape(x), 32, range);
            }
            OpKind::AddWeight => {
                let x = self.pick(|_, _| true)?;
                let max = self.magnitude(29);
                let w = self.weight(1, self.shape(x).cols, max);
                let (lo, hi) = self.range(x);
                let (bits, max) = (self.reduced(self.bits(x)), i128::from(max));
                self.push("add_weight", Op::AddWeight { x, w }, self.shape(x), bits, (lo - max, hi + max));
            }
            OpKind::MatMul => {
                let b = self.pick(|m, id| m.bits(id) == 32 && m.shape(id).len() < 300)?;
                let sb = self.shape(b);
                let a = self.pick(|m, id| {
                    let sa = m.shape(id);
                    m.bits(id) == 32 && (sa.batch, sa.cols) == (sb.batch, sb.rows)
                })?;
                let out = Shape { cols: sb.cols, ..self.shape(a) };
                let range = scaled(self.range(a), largest(self.range(b)) * i128::from(sb.rows));
                self.push("product", Op::MatMul { a, b, transpose_b: false }, out, 32, range);
            }
            OpKind::MatMulTransposed => {
                let a = self.pick(|m, id| m.bits(id) == 32)?;
                let sa = self.shape(a);
                let b = self
                    .pick(|m, id| m.bits(id) == 32 && (m.shape(id).batch, m.shape(id).cols) == (sa.batch, sa.cols))?;
                let out = Shape { cols: self.shape(b).rows, ..sa };
                let range = scaled(self.range(a), largest(self.range(b)) * i128::from(sa.cols));
                self.push("product_t", Op::MatMul { a, b, transpose_b: true }, out, 32, range);
            }
            OpKind::Add | OpKind::Sub => {
                let a = self.pick(|_, _| true)?;
                let b = self.pick(|m, id| m.shape(id) == m.shape(a))?;
                self.add_or_sub(a, b, kind == OpKind::Add);
            }
            OpKind::AddBroadcast => {
                let b = self.pick(|m, id| m.shape(id).rows == 1 || m.shape(id).cols == 1)?;
                let sb = self.shape(b);
                let fits = |s: u32, l: u32| s == l || s == 1;
                let a = self.pick(|m, id| {
                    let s = m.shape(id);
                    s != sb && fits(sb.batch, s.batch) && fits(sb.rows, s.rows) && fits(sb.cols, s.cols)
                })?;
                let add = self.rng.below(2) == 0;
                self.add_or_sub(a, b, add);
            }
            OpKind::SubColumn => {
                let b = self.pick(|m, id| m.shape(id).cols > 1)?;
                let sb = self.shape(b);
                let a = self.pick(|m, id| m.shape(id) == Shape { cols: 1, ..sb })?;
                self.sub_column(a, b);
            }
            OpKind::MulPublic => {
                let x = self.pick(|_, _| true)?;
                let max = i64::from(self.magnitude(12));
                let k = self.rng.between(-max, max) as i32;
                let bits = self.reduced(self.bits(x));
                let range = scaled(self.range(x), i128::from(k).abs());
                self.push("mul_public", Op::MulPublic { x, k }, self.shape(x), bits, range);
            }
            OpKind::Mul => {
                let a = self.pick(|m, id| m.bits(id) == 32)?;
                let b = self.pick(|m, id| m.bits(id) == 32 && m.shape(id) == m.shape(a))?;
                let range = scaled(self.range(a), largest(self.range(b)));
                self.push("mul", Op::Mul { a, b }, self.shape(a), 32, range);
            }
            OpKind::MulColumn => {
                let a = self.pick(|m, id| m.bits(id) == 32 && m.shape(id).cols > 1)?;
                let column = Shape { cols: 1, ..self.shape(a) };
                let b = self.pick(|m, id| m.bits(id) == 32 && m.shape(id) == column)?;
                let range = scaled(self.range(a), largest(self.range(b)));
                self.push("mul_column", Op::Mul { a, b }, self.shape(a), 32, range);
            }
            OpKind::SquareSum => {
                let x = self.pick(|m, id| m.bits(id) == 32)?;
                let max = largest(self.range(x));
                let (s, range) = (self.shape(x), (0, max * max * i128::from(self.shape(x).cols)));
                self.push("square_sum", Op::SquareSum { x }, Shape { cols: 1, ..s }, 32, range);
            }
            OpKind::RowSum => {
                let x = self.pick(|_, _| true)?;
                let (s, bits) = (self.shape(x), self.reduced(self.bits(x)));
                let (lo, hi) = self.range(x);
                let range = (lo * i128::from(s.cols), hi * i128::from(s.cols));
                self.push("row_sum", Op::RowSum { x }, Shape { cols: 1, ..s }, bits, range);
            }
            OpKind::RowMax => {
                self.row_max()?;
            }
            OpKind::RescaleValue => {
                let shift = 1 + self.rng.below(20) as u8;
                let limit = i128::from(rescale_limit(shift));
                let x = self.pick(|m, id| m.bits(id) == 32 && largest(m.range(id)) <= limit && !m.constant(id))?;
                self.rescale(x, RescaleUse::Value, shift, 32);
            }
            OpKind::RescaleIndex => {
                let x = self.pick(|m, id| m.bits(id) == 32)?;
                let shift = 1 + self.rng.below(20) as u8;
                let wide = largest(self.range(x)) <= rescale_limit(shift).into() && self.rng.below(4) == 0;
                let bits = if wide { 32 } else { 2 + self.rng.below(u64::from(31 - shift)) as u8 };
                let usage = if self.rng.below(5) == 0 { RescaleUse::Value } else { RescaleUse::Index };
                self.rescale(x, usage, shift, bits);
            }
            OpKind::ClampIndex => {
                // Distances from a maximum are never negative, and as wide as the values.
                let x = self.row_max_operand()?;
                let max = self.row_max_of(x);
                let distance = self.sub_column_or_self(max, x);
                let width = self.bits(distance);
                let index_bits = 1 + self.rng.below(u64::from(width - 1).min(10)) as u8;
                let range = (0, (1i128 << index_bits) - 1);
                self.push("clamp", Op::ClampIndex { x: distance, index_bits }, self.shape(distance), index_bits, range);
            }
            OpKind::Lookup => {
                let x = self.pick(|m, id| m.bits(id) >= 4)?;
                self.lookup(x);
            }
            OpKind::StepNarrow => {
                let x = self.row_max_operand().filter(|&x| self.bits(x) == 16)?;
                let max = self.row_max_of(x);
                let distance = self.sub_column_or_self(max, x);
                self.step(distance);
            }
            OpKind::StepWide => {
                let facts = crate::check::facts(&self.graph);
                let x =
                    self.pick(|m, id| m.bits(id) == 32 && facts[id.0 as usize].never_negative && !m.constant(id))?;
                self.step(x);
            }
            OpKind::SliceCols => {
                let x = self.pick(|m, id| m.shape(id).cols > 1)?;
                let s = self.shape(x);
                let from = self.rng.below(u64::from(s.cols)) as u32;
                let cols = self.rng.up_to(s.cols - from);
                let bits = self.reduced(self.bits(x));
                self.push("slice", Op::SliceCols { x, from }, Shape { cols, ..s }, bits, self.range(x));
            }
            OpKind::ConcatCols => {
                let first = self.pick(|_, _| true)?;
                let s = self.shape(first);
                let fits = |m: &Self, id| (m.shape(id).batch, m.shape(id).rows) == (s.batch, s.rows);
                let parts: Vec<NodeId> =
                    std::iter::once(first).chain((0..self.rng.below(3)).filter_map(|_| self.pick(fits))).collect();
                let cols = parts.iter().map(|&p| self.shape(p).cols).sum();
                let least = parts.iter().map(|&p| self.bits(p)).min()?;
                let bits = self.reduced(least);
                let range = parts.iter().map(|&p| self.range(p)).fold((0, 0), |a, b| (a.0.min(b.0), a.1.max(b.1)));
                self.push("concat", Op::ConcatCols { parts }, Shape { cols, ..s }, bits, range);
            }
            OpKind::SplitHeads => {
                let x = self.pick(|m, id| m.shape(id).batch == 1 && m.shape(id).cols % 2 == 0)?;
                let Shape { rows, cols, .. } = self.shape(x);
                let heads = if cols % 4 == 0 && self.rng.below(2) == 0 { 4 } else { 2 };
                let bits = self.reduced(self.bits(x));
                self.push("split", Op::SplitHeads { x }, Shape::new(heads, rows, cols / heads), bits, self.range(x));
            }
            OpKind::MergeHeads => {
                let x = self.pick(|m, id| m.shape(id).batch > 1)?;
                let Shape { batch, rows, cols } = self.shape(x);
                let bits = self.reduced(self.bits(x));
                self.push("merge", Op::MergeHeads { x }, Shape::new(1, rows, cols * batch), bits, self.range(x));
            }
        }
        Some(())
    }

    fn add_or_sub(&mut self, a: NodeId, b: NodeId, add: bool) {
        let bits = self.reduced(self.bits(a).min(self.bits(b)));
        let ((alo, ahi), (blo, bhi)) = (self.range(a), self.range(b));
        let (op, range) =
            if add { (Op::Add { a, b }, (alo + blo, ahi + bhi)) } else { (Op::Sub { a, b }, (alo - bhi, ahi - blo)) };
        self.push("sum", op, self.shape(a), bits, range);
    }

    fn sub_column(&mut self, a: NodeId, b: NodeId) -> NodeId {
        let bits = self.bits(a).min(self.bits(b));
        let ((alo, ahi), (blo, bhi)) = (self.range(a), self.range(b));
        self.push("sub_column", Op::Sub { a, b }, self.shape(b), bits, (alo - bhi, ahi - blo))
    }

    /// Row maximum minus values: between 0 and the spread of the values.
    fn sub_column_or_self(&mut self, max: NodeId, x: NodeId) -> NodeId {
        let id = self.sub_column(max, x);
        let (lo, hi) = self.ranges[x.0 as usize];
        self.ranges[id.0 as usize] = (0, hi - lo);
        id
    }

    /// A tensor whose values are close enough for a maximum.
    fn row_max_operand(&mut self) -> Option<NodeId> {
        self.pick(|m, id| {
            let (lo, hi) = m.range(id);
            m.bits(id) >= 4 && hi > lo && hi - lo < 1 << (m.bits(id) - 1)
        })
    }

    fn row_max(&mut self) -> Option<NodeId> {
        let x = self.row_max_operand()?;
        Some(self.row_max_of(x))
    }

    fn row_max_of(&mut self, x: NodeId) -> NodeId {
        let s = self.shape(x);
        self.push("row_max", Op::RowMax { x }, Shape { cols: 1, ..s }, self.bits(x), self.range(x))
    }

    fn rescale(&mut self, x: NodeId, usage: RescaleUse, shift: u8, bits: u8) {
        let (lo, hi) = self.range(x);
        let half = 1i128 << (shift - 1);
        let range = ((lo + half) >> shift, (hi + half) >> shift);
        self.push("rescale", Op::Rescale { x, shift, usage }, self.shape(x), bits, range);
    }

    fn lookup(&mut self, x: NodeId) -> NodeId {
        let bits = 4 + self.rng.below(u64::from(self.bits(x).min(10)) - 3);
        let max = i64::from(self.magnitude(31));
        let lo = if self.rng.below(2) == 0 { 0 } else { -max };
        let entries: Vec<i32> = (0..1 << bits).map(|_| self.rng.between(lo, max) as i32).collect();
        let table = TableId(self.graph.tables.len() as u32);
        self.graph.tables.push(Table { name: format!("table{}/{bits}", table.0), entries });
        self.push("lookup", Op::Lookup { x, table }, self.shape(x), 32, (lo.into(), max.into()))
    }

    fn step(&mut self, x: NodeId) {
        let limit = (1i64 << (self.bits(x) - 1)) - 1;
        let high = (self.range(x).1 as i64).clamp(1, limit);
        let mut steps = Vec::new();
        let (mut lo, mut hi) = (0i128, 0i128);
        for _ in 0..self.rng.up_to(9) {
            let top = if self.rng.below(5) == 0 { limit } else { high };
            let threshold = if self.rng.below(6) == 0 { top } else { self.rng.between(1, top) };
            let max = i64::from(self.magnitude(24));
            let weight = self.rng.between(-max, max);
            (lo, hi) = (lo + i128::from(weight.min(0)), hi + i128::from(weight.max(0)));
            steps.push((threshold as u32, weight as i32));
        }
        let base = self.rng.between(-1000, 1000);
        let range = (lo + i128::from(base), hi + i128::from(base));
        self.push("step", Op::Step { x, base: base as i32, steps }, self.shape(x), 32, range);
    }

    /// Every narrow result is read by a table at the end, so that the outputs depend on it.
    fn finish(mut self) -> (Graph, Weights, Vec<Vec<i32>>) {
        let mut used = vec![false; self.graph.nodes.len()];
        for node in &self.graph.nodes {
            node.op.operands(|id| used[id.0 as usize] = true);
        }
        for (index, used) in used.into_iter().enumerate() {
            let id = NodeId(index as u32);
            if used || self.graph.outputs.len() >= 60 {
                continue;
            }
            if self.bits(id) == 32 {
                self.graph.outputs.push(id);
            } else if self.bits(id) >= 4 {
                let read = self.lookup(id);
                self.graph.outputs.push(read);
            }
        }
        if self.graph.outputs.is_empty() {
            self.graph.outputs.push(NodeId(0));
        }
        self.graph.weights_root = self.weights.root(&self.graph.weights);
        let rng = &mut self.rng;
        let inputs = self.graph.inputs.iter().map(|spec| input_values(rng, spec)).collect();
        (self.graph, self.weights, inputs)
    }

    fn push(&mut self, name: &str, op: Op, shape: Shape, bits: u8, range: Range) -> NodeId {
        let id = NodeId(self.graph.nodes.len() as u32);
        let half = 1i128 << (bits - 1);
        let fits = -half <= range.0 && range.1 < half;
        self.ranges.push(if fits { (range.0 as i64, range.1 as i64) } else { (-half as i64, half as i64 - 1) });
        let bound = largest(range).min(u64::MAX as i128) as u64;
        let name = format!("layer.0.{name}.{}", id.0);
        self.graph.nodes.push(Node { name, op, shape, bits, bound, origin: BoundOrigin::Proven });
        id
    }

    fn weight(&mut self, rows: u32, cols: u32, max: u32) -> WeightId {
        let id = WeightId(self.graph.weights.len() as u32);
        let len = rows as usize * cols as usize;
        let max = i64::from(max);
        let tensor = (0..len).map(|_| self.rng.between(-max, max) as i32).collect();
        self.graph.weights.push(WeightSpec { name: format!("weight.{}", id.0), rows, cols });
        self.weights.tensors.push(tensor);
        id
    }

    /// A random earlier node for which `fits` holds, small enough to keep the graph small.
    fn pick(&mut self, fits: impl Fn(&Self, NodeId) -> bool) -> Option<NodeId> {
        let all = (0..self.graph.nodes.len() as u32).map(NodeId);
        let fitting: Vec<NodeId> = all.filter(|&id| self.shape(id).len() <= 600 && fits(self, id)).collect();
        let chosen = self.rng.below(fitting.len() as u64) as usize;
        fitting.get(chosen).copied()
    }

    /// `2^random - 1` or so, at most `2^bits - 1`.
    fn magnitude(&mut self, bits: u64) -> u32 {
        let bits = 1 + self.rng.below(bits);
        ((1u64 << bits) - 1 - self.rng.below(1 << (bits - 1))) as u32
    }

    /// Usually all of `bits`, sometimes fewer.
    fn reduced(&mut self, bits: u8) -> u8 {
        if self.rng.below(5) == 0 { 1 + self.rng.below(bits.into()) as u8 } else { bits }
    }

    fn shape(&self, id: NodeId) -> Shape {
        self.graph.nodes[id.0 as usize].shape
    }

    fn bits(&self, id: NodeId) -> u8 {
        self.graph.nodes[id.0 as usize].bits
    }

    fn range(&self, id: NodeId) -> Range {
        let (lo, hi) = self.ranges[id.0 as usize];
        (lo.into(), hi.into())
    }

    fn constant(&self, id: NodeId) -> bool {
        let (lo, hi) = self.range(id);
        lo == hi
    }
}

fn scaled((lo, hi): Range, by: i128) -> Range {
    let max = lo.abs().max(hi.abs()) * by;
    (-max, max)
}

fn largest((lo, hi): Range) -> i128 {
    lo.abs().max(hi.abs())
}

/// Uniform values, with the extremes, zero and small values more often.
fn input_values(rng: &mut Rng, spec: &InputSpec) -> Vec<i32> {
    let max = i64::from(spec.max_abs);
    let highest = if spec.range == InputRange::Mask { 0 } else { max };
    let mut values: Vec<i32> = (0..spec.shape.len())
        .map(|_| {
            let value = match rng.below(8) {
                0 => highest,
                1 => -max,
                2 => rng.between(-1, 1).clamp(-max, highest),
                _ => rng.between(-max, highest),
            };
            wrap(value, 32)
        })
        .collect();
    if spec.range == InputRange::Mask {
        let cols = spec.shape.cols as usize;
        values.chunks_exact_mut(cols).for_each(|row| row[rng.below(cols as u64) as usize] = 0);
    }
    values
}
