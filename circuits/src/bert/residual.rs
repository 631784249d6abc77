//! Residual sums and the layer norms after them: integer weights, and bounds for the sum and the centred row.

use super::ffn::Gains;
use super::fold::{floats, int_vector, ints, product_norm, round, rounded, scaled};
use super::projection::WeightList;
use super::scale::{LIMIT, SLACK, UNIT};
use crate::graph::WeightId;
use crate::hf::CompileError;
use crate::linalg::{Matrix, norm};

/// A residual sum and the layer norm after it, up to the centred row.
pub(super) struct Residual {
    pub weight: WeightId,
    pub bias: WeightId,
    pub gamma: WeightId,
    pub mean: WeightId,
    /// From the sum's scale to the centred row's.
    pub shift: u8,
    pub product: f64,
    pub scaled: f64,
    pub sum: f64,
    pub biased: f64,
    pub mean_bound: f64,
    pub centred: f64,
    /// Elements and length of the rescaled centred row.
    pub row: f64,
    pub row_norm: f64,
}

impl Residual {
    /// `fraction` is that of the operand; the sum has up to 18 fractional bits, as many as the bounds allow.
    #[allow(clippy::too_many_arguments)] // the parts of one sum
    pub(super) fn new(
        name: &str,
        matrix: &Matrix,
        bias: &[f64],
        gamma: &[f32],
        fraction: i32,
        operand: &Operand<'_>,
        x: f64,
        weights: &mut WeightList,
    ) -> Result<Self, CompileError> {
        let d = gamma.len();
        let mean_bias = bias.iter().sum::<f64>() / d as f64;
        let bias: Vec<f64> = bias.iter().map(|b| b - mean_bias).collect();
        let mut problem = String::new();
        for sum_fraction in (8..=18).rev() {
            let integer = ints(&scaled(matrix, 2f64.powi(sum_fraction - fraction)));
            let gamma_scale = (d as f64).sqrt() * 2f64.powi(sum_fraction - UNIT);
            let gamma_int: Vec<i32> = gamma.iter().map(|&g| round(f64::from(g) * gamma_scale)).collect();
            let mean: Vec<i32> = gamma.iter().map(|&g| round(f64::from(g) * gamma_scale / d as f64)).collect();
            let bias_int = int_vector(&bias, 2f64.powi(sum_fraction));
            let (columns, length) = operand.times(&integer);
            let largest = |v: &[i32]| v.iter().map(|g| f64::from(*g).abs()).fold(0.0, f64::max);
            let product = columns.iter().copied().fold(0.0, f64::max);
            let scaled = largest(&gamma_int) * x;
            let sum = (0..d).map(|j| columns[j] + f64::from(gamma_int[j]).abs() * x).fold(0.0, f64::max);
            let biased = (0..d)
                .map(|j| columns[j] + f64::from(gamma_int[j]).abs() * x + f64::from(bias_int[j]).abs())
                .fold(0.0, f64::max);
            let mean_bound = norm(&floats(&mean)) * x;
            let bias_norm = norm(&floats(&bias_int));
            let row = length + residual_matrix(&gamma_int, &mean).spectral_bound() * x + bias_norm;
            let centred = (biased + mean_bound).min(row);
            if biased.max(centred) >= LIMIT {
                problem = format!("a residual sum can reach {:.0}", biased * 2f64.powi(-sum_fraction));
                continue;
            }
            let Some((shift, row_norm)) = centred_shift(row, d) else {
                problem = format!("a centred row can be {:.0} long", row * 2f64.powi(-sum_fraction));
                continue;
            };
            return Ok(Self {
                weight: weights.push(format!("{name}.weight"), integer.rows, d, rounded(&integer)),
                bias: weights.push(format!("{name}.bias"), 1, d, bias_int),
                gamma: weights.push(format!("{name}.residual_scale"), 1, d, gamma_int),
                mean: weights.push(format!("{name}.residual_mean"), d, 1, mean),
                shift,
                product,
                scaled,
                sum,
                biased,
                mean_bound,
                centred,
                row: (centred * 2f64.powi(-i32::from(shift)) + SLACK).min(row_norm),
                row_norm,
            });
        }
        Err(CompileError::Range { what: name.to_owned(), problem })
    }
}

/// The smallest shift after which the sum of squares of a row stays below 2^30, and the row's length then.
fn centred_shift(row: f64, d: usize) -> Option<(u8, f64)> {
    let after = |shift: u8| row * 2f64.powi(-i32::from(shift)) + SLACK * (d as f64).sqrt();
    let shift = (1..=20).find(|&shift| after(shift).powi(2) < LIMIT - 1.0)?;
    Some((shift, after(shift)))
}

/// What the residual branch does to a normalised row: scale each channel, subtract the mean.
fn residual_matrix(gamma: &[i32], mean: &[i32]) -> Matrix {
    let d = gamma.len();
    let mut data = vec![0.0; d * d];
    for (i, (&g, &m)) in gamma.iter().zip(mean).enumerate() {
        data[i * d..(i + 1) * d].fill(-f64::from(m));
        data[i * d + i] += f64::from(g);
    }
    Matrix::new(d, d, data)
}

/// What multiplies a residual's weight matrix.
pub(super) enum Operand<'a> {
    Heads(&'a Attended),
    Activations(&'a Gains),
}

/// What is known of the merged attention heads.
pub(super) struct Attended {
    /// Length of each head's context.
    pub norms: Vec<f64>,
    pub width: usize,
    /// Gram matrices of the heads' value weights.
    pub grams: Vec<Matrix>,
    /// From the length of a value product to that of a context, and the rounding of a head's context.
    pub gain: f64,
    pub slack: f64,
}

impl Operand<'_> {
    /// Largest element per output column of `self · matrix`, and the length of the row.
    fn times(&self, matrix: &Matrix) -> (Vec<f64>, f64) {
        match self {
            Operand::Heads(attended) => attended.times(matrix),
            Operand::Activations(gains) => gains.times(matrix),
        }
    }
}

impl Attended {
    fn times(&self, matrix: &Matrix) -> (Vec<f64>, f64) {
        let mut columns = vec![0.0; matrix.cols];
        let mut apart = 0.0;
        for (h, (&length, gram)) in self.norms.iter().zip(&self.grams).enumerate() {
            let part = matrix.rows_from(h * self.width, self.width);
            let spectral = part.spectral_bound();
            let together = product_norm(gram, part.transpose().gram()) * self.gain + spectral * self.slack;
            apart += together.min(spectral * length);
            columns.iter_mut().zip(part.column_norms()).for_each(|(c, n)| *c += n * length);
        }
        (columns, apart.min(matrix.spectral_bound() * norm(&self.norms)))
    }
}
