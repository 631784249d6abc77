//! A product with a weight matrix, and the list that weights are put in.

use super::fold::{rounded, within};
use super::scale::SLACK;
use crate::graph::{WeightId, WeightSpec};
use crate::hf::CompileError;
use crate::linalg::Matrix;

/// Weight tensors in the order they are made.
#[derive(Default)]
pub(super) struct WeightList {
    pub specs: Vec<WeightSpec>,
    pub tensors: Vec<Vec<i32>>,
}

impl WeightList {
    pub(super) fn push(&mut self, name: String, rows: usize, cols: usize, tensor: Vec<i32>) -> WeightId {
        self.specs.push(WeightSpec { name, rows: rows as u32, cols: cols as u32 });
        self.tensors.push(tensor);
        WeightId(self.specs.len() as u32 - 1)
    }
}

/// A product with a weight matrix, rescaled.
pub(super) struct Projection {
    pub weight: WeightId,
    pub bias: Option<WeightId>,
    pub shift: u8,
    /// Of the accumulator before the bias, and after it.
    pub product: f64,
    pub accumulator: f64,
    pub value: f64,
}

/// The integer weights of a product with a matrix, of rows no longer than `x`, and what it can come to.
pub(super) fn projection(
    name: &str,
    matrix: &Matrix,
    bias: Option<&[i32]>,
    shift: u8,
    x: f64,
    weights: &mut WeightList,
) -> Result<Projection, CompileError> {
    let columns = matrix.column_norms();
    let product = columns.iter().fold(0.0, |m, &n| f64::max(m, n * x));
    let with_bias = |j: usize| columns[j] * x + bias.map_or(0.0, |b| f64::from(b[j]).abs());
    let accumulator = (0..matrix.cols).map(with_bias).fold(0.0, f64::max);
    within(name, accumulator)?;
    let weight = weights.push(format!("{name}.weight"), matrix.rows, matrix.cols, rounded(matrix));
    let bias = bias.map(|b| weights.push(format!("{name}.bias"), 1, b.len(), b.to_vec()));
    let value = accumulator * 2f64.powi(-i32::from(shift)) + SLACK;
    Ok(Projection { weight, bias, shift, product, accumulator, value })
}
