//! Products of two secrets. With `a = m_a - r_a` and `b = m_b - r_b`, both `m` public, an evaluator's share of `f(a, b)`
//! for a bilinear `f` is `f(m_a, δ·m_b - r_b,i) - f(r_a,i, m_b)`, and lacks `f(r_a, r_b)`: the *deficit*, which the
//! helper knows and accounts for in what it deals at the next gate. So a product itself costs no message.

use sahara_circuits::graph::Shape;
use sahara_circuits::kernels::{PackedB, gemm, pack_b, pack_b_transposed};

use super::linear;
use crate::ring::secret::Secret;

/// A tensor opened under a mask: the public sum and the own share of the mask.
pub(super) struct Opened {
    pub(super) public: Secret<u32>,
    pub(super) mask: Secret<u32>,
}

impl Opened {
    /// The own share of the value: `δ·m - r_i`.
    pub(super) fn own(&self, first: bool) -> Secret<u32> {
        own_share(first, &self.public, &self.mask).into()
    }
}

/// `δ·m - r_i`.
pub(super) fn own_share(first: bool, public: &[u32], mask: &[u32]) -> Vec<u32> {
    let delta = u32::from(first);
    public.iter().zip(mask).map(|(m, r)| (delta * m).wrapping_sub(*r)).collect()
}

/// One evaluator's share of `f(a, b)`, short of the deficit.
pub(super) fn bilinear(first: bool, a: &Opened, b: &Opened, f: impl Fn(&[u32], &[u32]) -> Vec<u32>) -> Vec<u32> {
    let mut out = f(&a.public, &b.own(first));
    let cross = Secret::from(f(&a.mask, &b.public));
    out.iter_mut().zip(cross.iter()).for_each(|(o, c)| *o = o.wrapping_sub(*c));
    out
}

/// One evaluator's share of the sum of squares of each row, short of the sum of squares of the mask.
pub(super) fn square_sum(first: bool, x: &Opened, cols: usize) -> Vec<u32> {
    let mut out = if first { row_dot(&x.public, &x.public, cols) } else { vec![0; x.public.len() / cols] };
    let cross = Secret::from(row_dot(&x.public, &x.mask, cols));
    out.iter_mut().zip(cross.iter()).for_each(|(o, c)| *o = o.wrapping_sub(c.wrapping_mul(2)));
    out
}

/// `Σ_j a_j·b_j` of each row.
pub(super) fn row_dot(a: &[u32], b: &[u32], cols: usize) -> Vec<u32> {
    a.chunks_exact(cols)
        .zip(b.chunks_exact(cols))
        .map(|(a, b)| a.iter().zip(b).fold(0u32, |sum, (x, y)| sum.wrapping_add(x.wrapping_mul(*y))))
        .collect()
}

/// `x · W` with packed weights; all batches are rows.
pub(super) fn matmul_packed(x: &[u32], w: &PackedB) -> Vec<u32> {
    let rows = x.len() / w.k();
    let mut out = vec![0; rows * w.n()];
    gemm(rows, x, w, &mut out);
    out
}

/// Batched product of two tensors.
pub(super) fn matmul(a_shape: Shape, b_shape: Shape, transpose_b: bool, a: &[u32], b: &[u32]) -> Vec<u32> {
    let (m, k) = (a_shape.rows as usize, a_shape.cols as usize);
    let n = if transpose_b { b_shape.rows } else { b_shape.cols } as usize;
    let mut out = vec![0; a_shape.batch as usize * m * n];
    for ((a, b), c) in a.chunks_exact(m * k).zip(b.chunks_exact(k * n)).zip(out.chunks_exact_mut(m * n)) {
        let packed = if transpose_b { pack_b_transposed(k, n, b) } else { pack_b(k, n, b) };
        gemm(m, a, &packed, c);
    }
    out
}

/// Elementwise product, the second operand broadcast along the columns if it has only one.
pub(super) fn mul(a_shape: Shape, b_shape: Shape, a: &[u32], b: &[u32]) -> Vec<u32> {
    linear::broadcast(a_shape, a_shape, b_shape, &[a, b], u32::wrapping_mul)
}

/// Elementwise product with a vector along the columns.
pub(super) fn scale(x: &[u32], w: &[u32]) -> Vec<u32> {
    x.chunks_exact(w.len()).flat_map(|row| row.iter().zip(w).map(|(x, w)| x.wrapping_mul(*w))).collect()
}
