//! Integer weights and proven bounds of each layer, independent of the sequence length.
//!
//! Notation: `x` is the normalised row (length at most [`row_norm`]), a *slack* of [`SLACK`] per element covers the
//! rounding of a rescale in every mode (half a unit exact, one more in faithful mode).

use super::ffn::{Effort, FeedForward, GeluGroup};
use super::fold::{
    add, centred_outputs, folded, int_vector, ints, offset, permute_rows, product_norm, scaled, transposed,
};
use super::projection::{Projection, WeightList, projection};
use super::residual::{Attended, Operand, Residual};
use super::scale::{KEY_FRACTION, QUERY_FRACTION, SLACK, UNIT, row_norm};
use super::{CompileOptions, Size, tables};
use crate::frontend::settings::Activation;
use crate::hf::{CompileError, Layer, Norm};
use crate::linalg::{Matrix, largest_eigenvalue_bound, norm};

/// One encoder layer in integers.
pub(super) struct LayerPlan {
    pub query: Projection,
    pub key: Projection,
    pub value: Projection,
    pub value_fraction: i32,
    /// Largest score accumulator.
    pub score: f64,
    pub context: f64,
    pub attention: Residual,
    pub up: Projection,
    pub groups: Vec<GeluGroup>,
    pub output: Residual,
}

/// Width of the scores and the value that masks a padding key.
pub(super) struct ScoreRange {
    pub shift: u8,
    pub bits: u8,
    pub max: f64,
    pub mask: u32,
}

impl LayerPlan {
    pub(super) fn new(
        index: usize,
        layer: &Layer,
        before: &Norm,
        (size, activation): (Size, Activation),
        options: &CompileOptions,
        weights: &mut WeightList,
    ) -> Result<Self, CompileError> {
        let at = |name: &str| format!("layer.{index}.{name}");
        let (d, heads) = (size.hidden, size.heads);
        let dh = d / heads;
        let x = row_norm(d);
        let root = (d as f64).sqrt();
        let shift = options.projection_shift;

        let query_scale = 2f64.powi(QUERY_FRACTION + i32::from(shift)) / (dh as f64).sqrt();
        let query = ints(&scaled(&folded(&layer.query, before), query_scale * root * 2f64.powi(-UNIT)));
        let query_bias = int_vector(&offset(&layer.query, before), query_scale);
        let key_scale = 2f64.powi(KEY_FRACTION + i32::from(shift)) * root * 2f64.powi(-UNIT);
        let key = ints(&scaled(&folded(&layer.key, before), key_scale));
        let value_float = scaled(&folded(&layer.value, before), root * 2f64.powi(-UNIT));
        let value_fraction = value_fraction(&value_float, x);
        let value = ints(&scaled(&value_float, 2f64.powi(value_fraction + i32::from(shift))));

        let score = score_bound(&query, &query_bias, &key, heads, x, shift);
        let value_columns = value.column_norms();
        let unshift = 2f64.powi(-i32::from(shift));
        let excess = 2.0 * tables::reciprocal_excess();
        // What the rounding of the weighted sum becomes after the division, and the rounding after it.
        let context_slack = SLACK * (f64::from(size.longest) / 256.0 + 1.0);
        let context_of = |value: f64, elements: f64| {
            (value * unshift * x + SLACK * elements.sqrt()) * excess + context_slack * elements.sqrt()
        };
        let context = value_columns.iter().map(|&n| context_of(n, 1.0)).fold(0.0, f64::max);
        let head_values: Vec<Matrix> = (0..heads).map(|h| value.columns(h * dh, dh)).collect();
        let head_norms: Vec<f64> = head_values.iter().map(|v| context_of(v.spectral_bound(), dh as f64)).collect();
        // A context is a convex combination of values, up to `excess` and rounding.
        let attended = Attended {
            gain: unshift * x * excess,
            slack: (SLACK * excess + context_slack) * (dh as f64).sqrt(),
            grams: head_values.iter().map(Matrix::gram).collect(),
            norms: head_norms,
            width: dh,
        };

        // The value's bias passes through the softmax; so does what beta gives.
        let value_offset = offset(&layer.value, before);
        let mut bias: Vec<f64> = transposed(&layer.output).transposed_times(&value_offset);
        add(&mut bias, &layer.output.bias);
        add(&mut bias, &before.beta);
        let attention = Residual::new(
            &at("attention.output"),
            &centred_outputs(&transposed(&layer.output)),
            &bias,
            &before.gamma,
            value_fraction + 1,
            &Operand::Heads(&attended),
            x,
            weights,
        )?;

        let first = scaled(&folded(&layer.up, &layer.attention_norm), root * 2f64.powi(-UNIT));
        let FeedForward { up, groups, gains, order } = FeedForward::new(
            &at("ffn.up"),
            (&first, &offset(&layer.up, &layer.attention_norm)),
            activation,
            x,
            (options, Effort::Layer),
            weights,
        )?;
        let down = permute_rows(&transposed(&layer.down), &order);
        let mut bias: Vec<f64> = layer.down.bias.iter().map(|&b| f64::from(b)).collect();
        add(&mut bias, &layer.attention_norm.beta);
        let output = Residual::new(
            &at("ffn.output"),
            &centred_outputs(&down),
            &bias,
            &layer.attention_norm.gamma,
            tables::GELU_FRACTION.into(),
            &Operand::Activations(&gains),
            x,
            weights,
        )?;
        Ok(Self {
            query: projection(&at("attention.query"), &query, Some(&query_bias), shift, x, weights)?,
            key: projection(&at("attention.key"), &key, None, shift, x, weights)?,
            value: projection(&at("attention.value"), &value, None, shift, x, weights)?,
            value_fraction,
            score,
            context,
            attention,
            up,
            groups,
            output,
        })
    }
}

/// Most fractional bits, up to 7, with which a value times the largest softmax multiplier stays in range.
fn value_fraction(value: &Matrix, x: f64) -> i32 {
    let largest = value.column_norms().into_iter().fold(0.0, f64::max) * x;
    (0..7).rev().map(|f| f + 1).find(|&f| largest * 2f64.powi(f) < 7900.0).unwrap_or(0)
}

/// Largest `|q·k|` in accumulator units over all heads.
fn score_bound(query: &Matrix, bias: &[i32], key: &Matrix, heads: usize, x: f64, shift: u8) -> f64 {
    let dh = query.cols / heads;
    let unit = 2f64.powi(-i32::from(shift));
    let slack = SLACK * (dh as f64).sqrt();
    let head = |h: usize| {
        let (q, k) = (query.columns(h * dh, dh), key.columns(h * dh, dh));
        let bias: Vec<f64> = bias[h * dh..(h + 1) * dh].iter().map(|&b| f64::from(b)).collect();
        let (gram_q, gram_k) = (q.gram(), k.gram());
        let q_norm = (x * largest_eigenvalue_bound(&gram_q).sqrt() + norm(&bias)) * unit;
        let k_norm = x * largest_eigenvalue_bound(&gram_k).sqrt() * unit;
        let apart = q_norm * k_norm;
        let together = (x * x * product_norm(&gram_q, gram_k) + x * norm(&k.times_vector(&bias))) * unit * unit;
        apart.min(together) + slack * (q_norm + k_norm) + slack * slack
    };
    (0..heads).map(head).fold(0.0, f64::max)
}

impl ScoreRange {
    /// `bias` is the largest that is added to a score accumulator.
    pub(super) fn new(layers: &[LayerPlan], bias: f64, options: &CompileOptions) -> Result<Self, CompileError> {
        let shift = (QUERY_FRACTION + KEY_FRACTION) as u8 - options.score_fraction;
        let accumulator = layers.iter().map(|l| l.score).fold(0.0, f64::max) + bias;
        let max = (accumulator * 2f64.powi(-i32::from(shift)) + 0.5).floor();
        let mask = 2.0 * max + f64::from(1u32 << options.exp_bits);
        let spread = mask + 2.0 * max;
        let bits = (8..=32 - shift).find(|&bits| spread < 2f64.powi(i32::from(bits) - 1));
        match bits {
            Some(bits) if accumulator < 2f64.powi(31) => Ok(Self { shift, bits, max, mask: mask as u32 }),
            _ => Err(CompileError::Range {
                what: "the attention".into(),
                problem: format!("scores can reach {:.0}", accumulator * 2f64.powi(-QUERY_FRACTION - KEY_FRACTION)),
            }),
        }
    }
}
