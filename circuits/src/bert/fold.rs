//! Float weights made ready for integers: transposed, with layer norms folded in, centred, rounded.

use crate::hf::{CompileError, Linear, Norm};
use crate::linalg::{Matrix, dot, largest_eigenvalue_bound};

use super::scale::LIMIT;

/// `inputs × outputs`.
pub(super) fn transposed(linear: &Linear) -> Matrix {
    let data = linear.weight.iter().map(|&w| f64::from(w)).collect();
    Matrix::new(linear.outputs, linear.inputs, data).transpose()
}

/// The weights after a layer norm: gamma folded in, each output's weights centred over the inputs.
pub(super) fn folded(linear: &Linear, before: &Norm) -> Matrix {
    let (d, n) = (linear.inputs, linear.outputs);
    let mut data = Vec::with_capacity(d * n);
    for row in linear.weight.chunks_exact(d) {
        let folded: Vec<f64> = row.iter().zip(&before.gamma).map(|(&w, &g)| f64::from(w) * f64::from(g)).collect();
        let mean = folded.iter().sum::<f64>() / d as f64;
        data.extend(folded.iter().map(|w| w - mean));
    }
    Matrix::new(n, d, data).transpose()
}

/// The bias after a layer norm: what beta gives, plus the layer's own.
pub(super) fn offset(linear: &Linear, before: &Norm) -> Vec<f64> {
    let beta: Vec<f64> = before.beta.iter().map(|&b| f64::from(b)).collect();
    let row = |row: &[f32]| dot(&row.iter().map(|&w| f64::from(w)).collect::<Vec<_>>(), &beta);
    linear.weight.chunks_exact(linear.inputs).zip(&linear.bias).map(|(w, &b)| row(w) + f64::from(b)).collect()
}

/// Each input's weights centred over the outputs: a layer norm removes the rest.
pub(super) fn centred_outputs(matrix: &Matrix) -> Matrix {
    let mut out = matrix.clone();
    for row in out.data.chunks_exact_mut(matrix.cols) {
        let mean = row.iter().sum::<f64>() / matrix.cols as f64;
        row.iter_mut().for_each(|w| *w -= mean);
    }
    out
}

pub(super) fn permute_columns(matrix: &Matrix, order: &[usize]) -> Matrix {
    let data = (0..matrix.rows).flat_map(|r| order.iter().map(move |&c| matrix.row(r)[c])).collect();
    Matrix::new(matrix.rows, order.len(), data)
}

pub(super) fn permute_rows(matrix: &Matrix, order: &[usize]) -> Matrix {
    let data = order.iter().flat_map(|&r| matrix.row(r).iter().copied()).collect();
    Matrix::new(order.len(), matrix.cols, data)
}

pub(super) fn scaled(matrix: &Matrix, by: f64) -> Matrix {
    Matrix::new(matrix.rows, matrix.cols, matrix.data.iter().map(|x| x * by).collect())
}

/// Rounded to integers (still as floats, exactly).
pub(super) fn ints(matrix: &Matrix) -> Matrix {
    Matrix::from_ints(matrix.rows, matrix.cols, &rounded(matrix))
}

pub(super) fn rounded(matrix: &Matrix) -> Vec<i32> {
    matrix.data.iter().map(|&x| round(x)).collect()
}

pub(super) fn int_vector(values: &[f64], scale: f64) -> Vec<i32> {
    values.iter().map(|x| round(x * scale)).collect()
}

pub(super) fn floats(values: &[i32]) -> Vec<f64> {
    values.iter().map(|&x| f64::from(x)).collect()
}

/// Nearest integer; beyond 32 bits it saturates, and the bounds refuse the model.
pub(super) fn round(x: f64) -> i32 {
    x.round() as i32
}

pub(super) fn add(sum: &mut [f64], other: &[f32]) {
    sum.iter_mut().zip(other).for_each(|(s, &o)| *s += f64::from(o));
}

pub(super) fn scaled_rows(matrix: &Matrix, by: &[f64]) -> Matrix {
    let rows = matrix.data.chunks_exact(matrix.cols).zip(by);
    Matrix::new(matrix.rows, matrix.cols, rows.flat_map(|(row, s)| row.iter().map(move |x| x * s)).collect())
}

/// An upper bound of `‖Q·Kᵀ‖` from the Gram matrices of `Q` and `K`.
pub(super) fn product_norm(gram_q: &Matrix, mut gram_k: Matrix) -> f64 {
    let n = gram_k.rows;
    let trace: f64 = (0..n).map(|i| gram_k.data[i * n + i]).sum();
    (0..n).for_each(|i| gram_k.data[i * n + i] += trace * 1e-9 + 1e-9);
    match gram_k.cholesky() {
        Some(l) => largest_eigenvalue_bound(&l.transpose().times(gram_q).times(&l)).sqrt(),
        None => f64::INFINITY,
    }
}

pub(super) fn within(what: &str, bound: f64) -> Result<(), CompileError> {
    match bound < LIMIT {
        true => Ok(()),
        false => {
            Err(CompileError::Range { what: what.to_owned(), problem: format!("{bound:.0} is not below {LIMIT:.0}") })
        }
    }
}

pub(super) fn scaled_columns(matrix: &Matrix, by: &[f64]) -> Matrix {
    let rows = matrix.data.chunks_exact(matrix.cols);
    Matrix::new(matrix.rows, matrix.cols, rows.flat_map(|row| row.iter().zip(by).map(|(x, s)| x * s)).collect())
}
