//! Plain arithmetic on tensors of words: what every party applies to the shares, masks and public values that it holds.

use sahara_circuits::graph::Shape;
use sahara_circuits::kernels::{PackedB, gemm, pack_b, pack_b_transposed};

/// `Σ_j a_j·b_j` of each row.
pub(crate) fn row_dot(a: &[u32], b: &[u32], cols: usize) -> Vec<u32> {
    a.chunks_exact(cols)
        .zip(b.chunks_exact(cols))
        .map(|(a, b)| a.iter().zip(b).fold(0u32, |sum, (x, y)| sum.wrapping_add(x.wrapping_mul(*y))))
        .collect()
}

/// `x · W` with packed weights; all batches are rows.
pub(crate) fn matmul_packed(x: &[u32], w: &PackedB) -> Vec<u32> {
    let rows = x.len() / w.k();
    let mut out = vec![0; rows * w.n()];
    gemm(rows, x, w, &mut out);
    out
}

/// Batched product of two tensors.
pub(crate) fn matmul(a_shape: Shape, b_shape: Shape, transpose_b: bool, a: &[u32], b: &[u32]) -> Vec<u32> {
    let (m, k) = (a_shape.rows as usize, a_shape.cols as usize);
    let n = if transpose_b { b_shape.rows } else { b_shape.cols } as usize;
    let mut out = vec![0; a_shape.batch as usize * m * n];
    for ((a, b), c) in a.chunks_exact(m * k).zip(b.chunks_exact(k * n)).zip(out.chunks_exact_mut(m * n)) {
        let packed = if transpose_b { pack_b_transposed(k, n, b) } else { pack_b(k, n, b) };
        gemm(m, a, &packed, c);
    }
    out
}

/// Elementwise product with a vector along the columns.
pub(crate) fn scale(x: &[u32], w: &[u32]) -> Vec<u32> {
    x.chunks_exact(w.len()).flat_map(|row| row.iter().zip(w).map(|(x, w)| x.wrapping_mul(*w))).collect()
}

/// `[a, b, inner]` to `[b, a, inner]`.
pub(crate) fn swap_outer(values: &[u32], a: u32, b: u32, inner: u32) -> Vec<u32> {
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
pub(crate) fn broadcast(out: Shape, a: (Shape, &[u32]), b: (Shape, &[u32]), f: impl Fn(u32, u32) -> u32) -> Vec<u32> {
    let row = |shape: Shape, batch: u32, row: u32| {
        let at = if shape.batch == 1 { 0 } else { batch * shape.rows } + if shape.rows == 1 { 0 } else { row };
        at as usize * shape.cols as usize
    };
    let ((a_shape, a), (b_shape, b)) = (a, b);
    let mut result = Vec::with_capacity(out.len());
    for batch in 0..out.batch {
        for r in 0..out.rows {
            let x = &a[row(a_shape, batch, r)..][..a_shape.cols as usize];
            let y = &b[row(b_shape, batch, r)..][..b_shape.cols as usize];
            match (x, y) {
                ([x], y) if y.len() > 1 => result.extend(y.iter().map(|y| f(*x, *y))),
                (x, [y]) => result.extend(x.iter().map(|x| f(*x, *y))),
                (x, y) => result.extend(x.iter().zip(y).map(|(x, y)| f(*x, *y))),
            }
        }
    }
    result
}
