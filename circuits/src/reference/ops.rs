//! One operator after the other, as `graph.rs` defines them.

use super::{ExecOptions, Executor};
use crate::graph::{Node, NodeId, Op, Shape, WeightId, wrap};
use crate::kernels::{as_ring, as_ring_mut, gemm_threads, pack_b, pack_b_transposed};

/// Below this many elements a thread costs more than it saves.
const PARALLEL: usize = 1 << 15;

/// One node about to run.
pub(super) struct Run<'a> {
    pub exec: &'a Executor<'a>,
    pub node: &'a Node,
    pub values: &'a [Vec<i32>],
    pub inputs: &'a [Vec<i32>],
    pub opts: &'a ExecOptions,
}

impl Run<'_> {
    /// The tensor, and how many of its elements exceed the node's bound.
    pub(super) fn node(&self) -> (Vec<i32>, u64) {
        match &self.node.op {
            Op::Input(i) => {
                let input = &self.inputs[*i as usize];
                self.map(|at| i64::from(input[at]))
            }
            Op::MatMulWeight { x, w: WeightId(w) } => {
                let mut out = vec![0; self.node.shape.len()];
                if let Some(packed) = &self.exec.packed[*w as usize] {
                    let rows = out.len() / packed.n();
                    let x = as_ring(self.value(*x));
                    gemm_threads(self.opts.threads, self.opts.simd, rows, x, packed, as_ring_mut(&mut out));
                }
                self.counted(out)
            }
            Op::MatMul { a, b, transpose_b } => self.matmul(*a, *b, *transpose_b),
            Op::ScaleWeight { x, w } => {
                let (x, w, cols) = (self.value(*x), self.weight(*w), self.cols());
                self.map(|at| i64::from(x[at]) * i64::from(w[at % cols]))
            }
            Op::AddWeight { x, w } => {
                let (x, w, cols) = (self.value(*x), self.weight(*w), self.cols());
                self.map(|at| i64::from(x[at]) + i64::from(w[at % cols]))
            }
            Op::Add { a, b } => self.broadcast(*a, *b, |a, b| a + b),
            Op::Sub { a, b } => self.broadcast(*a, *b, |a, b| a - b),
            Op::Mul { a, b } => self.broadcast(*a, *b, |a, b| a * b),
            Op::MulPublic { x, k } => {
                let x = self.value(*x);
                self.map(|at| i64::from(x[at]) * i64::from(*k))
            }
            Op::SquareSum { x } => self.rows(*x, |row| {
                row.iter().fold(0i64, |sum, &x| sum.wrapping_add(i64::from(x) * i64::from(x)))
            }),
            Op::RowSum { x } => self.rows(*x, |row| row.iter().map(|&x| i64::from(x)).sum()),
            Op::RowMax { x } => self.rows(*x, |row| row.iter().map(|&x| i64::from(x)).max().unwrap_or(0)),
            Op::Rescale { x, shift, .. } => {
                let (x, half) = (self.value(*x), 1i32 << (shift - 1));
                self.map(|at| i64::from(x[at].wrapping_add(half) >> shift))
            }
            Op::ClampIndex { x, index_bits } => {
                let (max, width) = ((1i64 << index_bits) - 1, self.bits_of(*x));
                let x = self.value(*x);
                self.map(|at| (i64::from(x[at]) & ((1 << width) - 1)).min(max))
            }
            Op::Lookup { x, table } => {
                let entries = &self.exec.graph.tables[table.0 as usize].entries;
                let (x, mask) = (self.value(*x), entries.len() - 1);
                self.map(|at| i64::from(entries[x[at] as usize & mask]))
            }
            Op::Step { x, base, steps } => {
                let x = self.value(*x);
                self.map(|at| {
                    let passed = steps.iter().filter(|&&(threshold, _)| i64::from(x[at]) >= i64::from(threshold));
                    i64::from(*base) + passed.map(|&(_, weight)| i64::from(weight)).sum::<i64>()
                })
            }
            Op::SliceCols { x, from } => {
                let (cols, from, width) = (self.cols(), *from as usize, self.shape_of(*x).cols as usize);
                let x = self.value(*x);
                self.map(|at| i64::from(x[at / cols * width + from + at % cols]))
            }
            Op::ConcatCols { parts } => self.concat(parts),
            Op::SplitHeads { x } => {
                let Shape { batch, rows, cols } = self.node.shape;
                let (heads, rows, cols) = (batch as usize, rows as usize, cols as usize);
                let x = self.value(*x);
                self.map(|at| {
                    let (head, row, col) = (at / (rows * cols), at / cols % rows, at % cols);
                    i64::from(x[row * heads * cols + head * cols + col])
                })
            }
            Op::MergeHeads { x } => {
                let Shape { rows, cols, .. } = self.shape_of(*x);
                let (rows, cols, width) = (rows as usize, cols as usize, self.cols());
                let x = self.value(*x);
                self.map(|at| {
                    let (row, head, col) = (at / width, at % width / cols, at % cols);
                    i64::from(x[head * rows * cols + row * cols + col])
                })
            }
        }
    }

    fn matmul(&self, a: NodeId, b: NodeId, transposed: bool) -> (Vec<i32>, u64) {
        let (sa, so) = (self.shape_of(a), self.node.shape);
        let (rows, inner, cols) = (sa.rows as usize, sa.cols as usize, so.cols as usize);
        let (a, b) = (as_ring(self.value(a)), as_ring(self.value(b)));
        let mut out = vec![0; so.len()];
        let parts = a.chunks(rows * inner).zip(b.chunks(inner * cols)).zip(out.chunks_mut(rows * cols));
        for ((a, b), out) in parts {
            let packed = if transposed { pack_b_transposed(inner, cols, b) } else { pack_b(inner, cols, b) };
            gemm_threads(self.opts.threads, self.opts.simd, rows, a, &packed, as_ring_mut(out));
        }
        self.counted(out)
    }

    /// `f` of the elements of `a` and `b`, where a dimension of size 1 is repeated.
    fn broadcast(&self, a: NodeId, b: NodeId, f: impl Fn(i64, i64) -> i64 + Sync) -> (Vec<i32>, u64) {
        let shape = self.node.shape;
        let at_a = Strides::new(self.shape_of(a), shape);
        let at_b = Strides::new(self.shape_of(b), shape);
        let (a, b) = (self.value(a), self.value(b));
        self.map(|at| f(i64::from(a[at_a.index(at)]), i64::from(b[at_b.index(at)])))
    }

    fn rows(&self, x: NodeId, f: impl Fn(&[i32]) -> i64 + Sync) -> (Vec<i32>, u64) {
        let cols = self.shape_of(x).cols as usize;
        let x = self.value(x);
        self.map(|at| f(&x[at * cols..(at + 1) * cols]))
    }

    fn concat(&self, parts: &[NodeId]) -> (Vec<i32>, u64) {
        let rows = self.node.shape.batch as usize * self.node.shape.rows as usize;
        let mut out = Vec::with_capacity(self.node.shape.len());
        for row in 0..rows {
            for &part in parts {
                let cols = self.shape_of(part).cols as usize;
                out.extend_from_slice(&self.value(part)[row * cols..(row + 1) * cols]);
            }
        }
        self.map(|at| i64::from(out[at]))
    }

    /// `f` of every position, counted against the bound, then wrapped to the node's width.
    fn map(&self, f: impl Fn(usize) -> i64 + Sync) -> (Vec<i32>, u64) {
        let (bits, bound) = (self.node.bits, self.node.bound);
        let mut out = vec![0; self.node.shape.len()];
        let fill = |start: usize, out: &mut [i32]| {
            let mut beyond = 0;
            for (at, o) in out.iter_mut().enumerate() {
                let exact = f(start + at);
                beyond += u64::from(exact.unsigned_abs() > bound);
                *o = wrap(exact, bits);
            }
            beyond
        };
        let threads = self.opts.threads.max(1).min(out.len() / PARALLEL + 1);
        if threads == 1 {
            let beyond = fill(0, &mut out);
            return (out, beyond);
        }
        let part = out.len().div_ceil(threads);
        let beyond = std::thread::scope(|scope| {
            let fill = &fill;
            let parts = out.chunks_mut(part).enumerate();
            let running: Vec<_> = parts.map(|(i, out)| scope.spawn(move || fill(i * part, out))).collect();
            running.into_iter().map(|t| t.join().unwrap_or(0)).sum()
        });
        (out, beyond)
    }

    /// Counts a finished 32-bit tensor against the bound.
    fn counted(&self, out: Vec<i32>) -> (Vec<i32>, u64) {
        let bound = self.node.bound;
        let beyond = out.iter().filter(|x| u64::from(x.unsigned_abs()) > bound).count();
        (out, beyond as u64)
    }

    fn value(&self, NodeId(id): NodeId) -> &[i32] {
        &self.values[id as usize]
    }

    fn weight(&self, WeightId(w): WeightId) -> &[i32] {
        &self.exec.weights.tensors[w as usize]
    }

    fn shape_of(&self, NodeId(id): NodeId) -> Shape {
        self.exec.graph.nodes[id as usize].shape
    }

    fn bits_of(&self, NodeId(id): NodeId) -> u8 {
        self.exec.graph.nodes[id as usize].bits
    }

    fn cols(&self) -> usize {
        self.node.shape.cols as usize
    }
}

/// Where an operand, repeated along its dimensions of size 1, has the element for a position of the result.
struct Strides {
    same: bool,
    rows: usize,
    cols: usize,
    batch_stride: usize,
    row_stride: usize,
    col_stride: usize,
}

impl Strides {
    fn new(operand: Shape, result: Shape) -> Self {
        let stride = |dimension: u32, stride: usize| if dimension == 1 { 0 } else { stride };
        let cols = operand.cols as usize;
        Self {
            same: operand == result,
            rows: result.rows as usize,
            cols: result.cols as usize,
            batch_stride: stride(operand.batch, operand.rows as usize * cols),
            row_stride: stride(operand.rows, cols),
            col_stride: stride(operand.cols, 1),
        }
    }

    fn index(&self, at: usize) -> usize {
        if self.same {
            return at;
        }
        let (row, col) = (at / self.cols, at % self.cols);
        row / self.rows * self.batch_stride + row % self.rows * self.row_stride + col * self.col_stride
    }
}
