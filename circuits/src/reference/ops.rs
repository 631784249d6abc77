//! One operator after the other, as `graph.rs` defines them.

use bytemuck::{cast_slice, cast_slice_mut};

use super::{ExecOptions, Executor};
use crate::graph::{Node, NodeId, Op, Shape, WeightId, wrap};
use crate::kernels::{gemm_threads, pack_b, pack_b_transposed};

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
                self.map_rows(input, |x| x)
            }
            Op::MatMulWeight { x, w: WeightId(w) } => {
                let mut out = vec![0; self.node.shape.len()];
                let packed = &self.exec.packed.0[*w as usize];
                let (rows, x) = (out.len() / packed.n(), cast_slice(self.value(*x)));
                gemm_threads(self.opts.threads, self.opts.simd, rows, x, packed, cast_slice_mut(&mut out));
                self.counted(out)
            }
            Op::MatMul { a, b, transpose_b } => self.matmul(*a, *b, *transpose_b),
            Op::ScaleWeight { x, w } => {
                let (x, w) = (self.value(*x), self.weight(*w));
                self.each_row(|row, out| self.write(out, zip(self.row(x, row), w).map(|(x, w)| x * w)))
            }
            Op::AddWeight { x, w } => {
                let (x, w) = (self.value(*x), self.weight(*w));
                self.each_row(|row, out| self.write(out, zip(self.row(x, row), w).map(|(x, w)| x + w)))
            }
            Op::Add { a, b } => self.broadcast(*a, *b, |a, b| a + b),
            Op::Sub { a, b } => self.broadcast(*a, *b, |a, b| a - b),
            Op::Mul { a, b } => self.broadcast(*a, *b, |a, b| a * b),
            Op::MulPublic { x, k } => {
                let k = i64::from(*k);
                self.map_rows(self.value(*x), |x| x * k)
            }
            Op::SquareSum { x } => {
                self.reduce(*x, |row| row.iter().fold(0i64, |sum, &x| sum.wrapping_add(i64::from(x) * i64::from(x))))
            }
            Op::RowSum { x } => self.reduce(*x, |row| row.iter().map(|&x| i64::from(x)).sum()),
            Op::RowMax { x } => self.reduce(*x, |row| row.iter().copied().max().unwrap_or(0).into()),
            Op::Rescale { x, shift, .. } => {
                let half = 1i32 << (shift - 1);
                self.map_rows(self.value(*x), |x| i64::from((x as i32).wrapping_add(half) >> shift))
            }
            Op::ClampIndex { x, index_bits } => {
                let (max, mask) = ((1i64 << index_bits) - 1, (1i64 << self.bits_of(*x)) - 1);
                self.map_rows(self.value(*x), |x| (x & mask).min(max))
            }
            Op::Lookup { x, table } => {
                let entries = &self.exec.graph.tables[table.0 as usize].entries;
                let mask = entries.len() - 1;
                self.map_rows(self.value(*x), |x| i64::from(entries[x as usize & mask]))
            }
            Op::Step { x, base, steps } => self.map_rows(self.value(*x), |x| {
                let passed = steps.iter().filter(|&&(threshold, _)| x >= i64::from(threshold));
                i64::from(*base) + passed.map(|&(_, weight)| i64::from(weight)).sum::<i64>()
            }),
            Op::SliceCols { x, from } => {
                let (cols, from, width) = (self.cols(), *from as usize, self.shape_of(*x).cols as usize);
                let x = self.value(*x);
                self.each_row(|row, out| self.write(out, wide(&x[row * width + from..][..cols])))
            }
            Op::ConcatCols { parts } => self.each_row(|row, out| {
                let mut at = 0;
                let part = |&part: &NodeId| {
                    let cols = self.shape_of(part).cols as usize;
                    at += cols;
                    self.write(&mut out[at - cols..at], wide(&self.value(part)[row * cols..][..cols]))
                };
                parts.iter().map(part).sum()
            }),
            Op::SplitHeads { x } => {
                let Shape { batch, rows, cols } = self.node.shape;
                let (heads, rows, cols) = (batch as usize, rows as usize, cols as usize);
                let x = self.value(*x);
                self.each_row(|row, out| {
                    let from = row % rows * heads * cols + row / rows * cols;
                    self.write(out, wide(&x[from..][..cols]))
                })
            }
            Op::MergeHeads { x } => {
                let Shape { rows, cols, .. } = self.shape_of(*x);
                let (rows, cols) = (rows as usize, cols as usize);
                let x = self.value(*x);
                self.each_row(|row, out| {
                    let heads = out.chunks_exact_mut(cols).enumerate();
                    heads.map(|(head, out)| self.write(out, wide(&x[(head * rows + row) * cols..][..cols]))).sum()
                })
            }
        }
    }

    fn matmul(&self, a: NodeId, b: NodeId, transposed: bool) -> (Vec<i32>, u64) {
        let (sa, so) = (self.shape_of(a), self.node.shape);
        let (rows, inner, cols) = (sa.rows as usize, sa.cols as usize, so.cols as usize);
        let (a, b) = (cast_slice(self.value(a)), cast_slice(self.value(b)));
        let mut out = vec![0; so.len()];
        let parts = a.chunks(rows * inner).zip(b.chunks(inner * cols)).zip(out.chunks_mut(rows * cols));
        for ((a, b), out) in parts {
            let packed = if transposed { pack_b_transposed(inner, cols, b) } else { pack_b(inner, cols, b) };
            gemm_threads(self.opts.threads, self.opts.simd, rows, a, &packed, cast_slice_mut(out));
        }
        self.counted(out)
    }

    /// `f` of the elements of `a` and `b`, where a dimension of size 1 is repeated.
    fn broadcast(&self, a: NodeId, b: NodeId, f: impl Fn(i64, i64) -> i64 + Sync) -> (Vec<i32>, u64) {
        let shape = self.node.shape;
        let (at_a, at_b) = (Rows::new(self.shape_of(a), shape), Rows::new(self.shape_of(b), shape));
        let (a, b) = (self.value(a), self.value(b));
        self.each_row(|row, out| match (at_a.row(a, row), at_b.row(b, row)) {
            (a, b) if a.len() == b.len() => self.write(out, zip(a, b).map(|(a, b)| f(a, b))),
            (&[a], b) => self.write(out, wide(b).map(|b| f(a.into(), b))),
            (a, b) => self.write(out, wide(a).map(|a| f(a, b[0].into()))),
        })
    }

    /// One result per row of `x`.
    fn reduce(&self, x: NodeId, f: impl Fn(&[i32]) -> i64 + Sync) -> (Vec<i32>, u64) {
        let cols = self.shape_of(x).cols as usize;
        let x = self.value(x);
        self.each_row(|row, out| self.write(out, std::iter::once(f(&x[row * cols..][..cols]))))
    }

    /// `f` of every element of a tensor with the result's shape.
    fn map_rows(&self, x: &[i32], f: impl Fn(i64) -> i64 + Sync) -> (Vec<i32>, u64) {
        self.each_row(|row, out| self.write(out, wide(self.row(x, row)).map(&f)))
    }

    /// Fills the result row by row, on several threads if it is large; `f` returns how many elements are beyond.
    fn each_row(&self, f: impl Fn(usize, &mut [i32]) -> u64 + Sync) -> (Vec<i32>, u64) {
        let cols = self.cols();
        let mut out = vec![0; self.node.shape.len()];
        let fill = |first: usize, out: &mut [i32]| -> u64 {
            out.chunks_exact_mut(cols).enumerate().map(|(row, out)| f(first + row, out)).sum()
        };
        let threads = self.opts.threads.max(1).min(out.len() / PARALLEL + 1);
        if threads == 1 {
            let beyond = fill(0, &mut out);
            return (out, beyond);
        }
        let rows = (out.len() / cols).div_ceil(threads);
        let beyond = std::thread::scope(|scope| {
            let fill = &fill;
            let parts = out.chunks_mut(rows * cols).enumerate();
            let running: Vec<_> = parts.map(|(i, out)| scope.spawn(move || fill(i * rows, out))).collect();
            running.into_iter().map(|t| t.join().unwrap_or(0)).sum()
        });
        (out, beyond)
    }

    /// Exact values, counted against the bound, then wrapped to the node's width.
    #[inline]
    fn write(&self, out: &mut [i32], exact: impl Iterator<Item = i64>) -> u64 {
        let (bits, bound) = (self.node.bits, self.node.bound.min(i64::MAX as u64) as i64);
        let mut beyond = 0;
        for (o, exact) in out.iter_mut().zip(exact) {
            beyond += u64::from((exact > bound) | (exact < -bound));
            *o = wrap(exact, bits);
        }
        beyond
    }

    /// A row of a tensor with the result's columns.
    fn row<'x>(&self, x: &'x [i32], row: usize) -> &'x [i32] {
        &x[row * self.cols()..][..self.cols()]
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

fn wide(row: &[i32]) -> impl Iterator<Item = i64> {
    row.iter().map(|&x| i64::from(x))
}

fn zip(a: &[i32], b: &[i32]) -> impl Iterator<Item = (i64, i64)> {
    wide(a).zip(wide(b))
}

/// Where an operand, repeated along its dimensions of size 1, has the row for a row of the result.
struct Rows {
    rows: usize,
    cols: usize,
    batch_stride: usize,
    row_stride: usize,
}

impl Rows {
    fn new(operand: Shape, result: Shape) -> Self {
        let stride = |dimension: u32, stride: usize| if dimension == 1 { 0 } else { stride };
        let cols = operand.cols as usize;
        Self {
            rows: result.rows as usize,
            cols,
            batch_stride: stride(operand.batch, operand.rows as usize * cols),
            row_stride: stride(operand.rows, cols),
        }
    }

    fn row<'x>(&self, x: &'x [i32], row: usize) -> &'x [i32] {
        &x[row / self.rows * self.batch_stride + row % self.rows * self.row_stride..][..self.cols]
    }
}
