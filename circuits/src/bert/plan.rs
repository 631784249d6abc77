//! Integer weights and proven bounds of each layer, independent of the sequence length.
//!
//! Notation: `x` is the normalised row (length at most [`row_norm`]), a *slack* of [`SLACK`] per element covers the
//! rounding of a rescale in every mode (half a unit exact, one more in faithful mode).

use super::tables;
use super::{CompileOptions, Size};
use crate::graph::{Table, WeightId, WeightSpec};
use crate::hf::{CompileError, Layer, Linear, Norm};
use crate::linalg::{Matrix, dot, largest_eigenvalue_bound, norm};

/// Fractional bits of a normalised row of unit length.
pub(super) const UNIT: i32 = 13;
/// Largest error of a rescaled value, in units of its last place.
pub(super) const SLACK: f64 = 1.5;
/// What a 32-bit value that is rescaled stays below.
pub(super) const LIMIT: f64 = (1u64 << 30) as f64;
/// Fractional bits of queries and keys.
pub(super) const QUERY_FRACTION: i32 = 9;
pub(super) const KEY_FRACTION: i32 = 7;
/// Shift from the feed-forward accumulator to the finest GELU index.
pub(super) const GELU_SHIFT: u8 = 16;

/// Longest normalised row: the table's excess and the rounding of each element.
pub(super) fn row_norm(hidden: usize) -> f64 {
    2f64.powi(UNIT) * tables::rsqrt_excess() + SLACK * (hidden as f64).sqrt()
}

/// Weight tensors in the order they are made.
#[derive(Default)]
pub(super) struct WeightList {
    pub specs: Vec<WeightSpec>,
    pub tensors: Vec<Vec<i32>>,
}

impl WeightList {
    fn push(&mut self, name: String, rows: usize, cols: usize, tensor: Vec<i32>) -> WeightId {
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

/// Feed-forward channels that share an index width and step.
pub(super) struct GeluGroup {
    pub from: u32,
    pub cols: u32,
    pub shift: u8,
    pub bits: u8,
    pub table: Table,
    pub accumulator: f64,
    pub index: f64,
    pub value: f64,
}

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

/// The last layer norm's scale and the mean over tokens.
pub(super) struct PoolPlan {
    pub gamma: WeightId,
    pub beta: WeightId,
    pub gamma_max: f64,
    pub beta_max: f64,
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
        size: Size,
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
        let context_slack = SLACK * (size.max_tokens as f64 / 256.0 + 1.0);
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

        let (up, groups, gains, order) = feed_forward(index, layer, x, options, weights)?;
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

/// An upper bound of `‖Q·Kᵀ‖` from the Gram matrices of `Q` and `K`.
fn product_norm(gram_q: &Matrix, mut gram_k: Matrix) -> f64 {
    let n = gram_k.rows;
    let trace: f64 = (0..n).map(|i| gram_k.data[i * n + i]).sum();
    (0..n).for_each(|i| gram_k.data[i * n + i] += trace * 1e-9 + 1e-9);
    match gram_k.cholesky() {
        Some(l) => largest_eigenvalue_bound(&l.transpose().times(gram_q).times(&l)).sqrt(),
        None => f64::INFINITY,
    }
}

fn projection(
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
    let weight = weights.push(format!("{name}.weight"), matrix.rows, matrix.cols, values(matrix));
    let bias = bias.map(|b| weights.push(format!("{name}.bias"), 1, b.len(), b.to_vec()));
    let value = accumulator * 2f64.powi(-i32::from(shift)) + SLACK;
    Ok(Projection { weight, bias, shift, product, accumulator, value })
}

/// Index widths and steps in the order they are tried: exponent of the step, bits.
const GROUPS: [(u8, u8); 7] = [(0, 8), (0, 9), (0, 10), (1, 10), (2, 10), (3, 10), (4, 10)];

#[allow(clippy::type_complexity)] // four results of one pass over the channels
fn feed_forward(
    index: usize,
    layer: &Layer,
    x: f64,
    options: &CompileOptions,
    weights: &mut WeightList,
) -> Result<(Projection, Vec<GeluGroup>, Gains, Vec<usize>), CompileError> {
    let name = format!("layer.{index}.ffn.up");
    let fraction = i32::from(options.gelu_fraction);
    let scale = 2f64.powi(fraction + i32::from(GELU_SHIFT));
    let root = (layer.up.inputs as f64).sqrt() * 2f64.powi(-UNIT);
    let matrix = ints(&scaled(&folded(&layer.up, &layer.attention_norm), scale * root));
    let bias = int_vector(&offset(&layer.up, &layer.attention_norm), scale);
    let reach: Vec<f64> = matrix.column_norms().iter().zip(&bias).map(|(&n, &b)| n * x + f64::from(b).abs()).collect();
    let index_bound = |j: usize, shift: u8| (reach[j] * 2f64.powi(-i32::from(shift)) + 0.5).floor();
    let fits = |j: usize, (coarser, bits): (u8, u8)| {
        index_bound(j, GELU_SHIFT + coarser) <= f64::from((1u32 << (bits - 1)) - 1)
    };
    let mut members: Vec<Vec<usize>> = vec![Vec::new(); GROUPS.len()];
    for (j, reached) in reach.iter().enumerate() {
        match GROUPS.iter().position(|&group| fits(j, group)) {
            Some(group) => members[group].push(j),
            None => {
                let problem = format!("channel {j} can reach {:.0}", reached / scale);
                return Err(CompileError::Range { what: name, problem });
            }
        }
    }
    let order: Vec<usize> = members.concat();
    let mut groups = Vec::new();
    let (mut elements, mut rounding, mut from) = (Vec::new(), Vec::new(), 0);
    for (channels, (coarser, bits)) in members.iter().zip(GROUPS) {
        if channels.is_empty() {
            continue;
        }
        let shift = GELU_SHIFT + coarser;
        let table = tables::gelu(fraction - i32::from(coarser), bits);
        let bounds: Vec<f64> = channels.iter().map(|&j| index_bound(j, shift)).collect();
        elements.extend(bounds.iter().map(|&i| largest_entry(&table, i as usize)));
        rounding.extend(vec![entry_rounding(&table, fraction - i32::from(coarser)); channels.len()]);
        let largest = |values: &mut dyn Iterator<Item = f64>| values.fold(0.0, f64::max);
        groups.push(GeluGroup {
            from,
            cols: channels.len() as u32,
            shift,
            bits,
            accumulator: largest(&mut channels.iter().map(|&j| reach[j])),
            index: largest(&mut bounds.iter().copied()),
            value: largest(&mut elements[from as usize..].iter().copied()),
            table,
        });
        from += channels.len() as u32;
    }
    let matrix = permute_columns(&matrix, &order);
    let bias: Vec<i32> = order.iter().map(|&j| bias[j]).collect();
    let up = projection(&name, &matrix, Some(&bias), GELU_SHIFT, x, weights)?;
    let gain = 2f64.powi(i32::from(tables::GELU_FRACTION)) / scale;
    let gains = Gains { elements, bias: floats(&bias), matrix, gain, rounding, x };
    Ok((up, groups, gains, order))
}

/// Largest entry in absolute value that an index of at most `index` reads.
fn largest_entry(table: &Table, index: usize) -> f64 {
    let n = table.entries.len();
    let reachable = (0..=index.min(n / 2 - 1)).flat_map(|i| [table.entries[i], table.entries[(n - i) % n]]);
    reachable.map(|e| f64::from(e).abs()).fold(0.0, f64::max)
}

/// How far an entry can be from `slope · position · φ`, `φ` between 0 and 1, for a position within half a step of its
/// index.
fn entry_rounding(table: &Table, fraction: i32) -> f64 {
    let n = table.entries.len();
    let slope = 2f64.powi(i32::from(tables::GELU_FRACTION) - fraction);
    let excess = (0..n).map(|i| {
        let position = if i < n / 2 { i as f64 } else { i as f64 - n as f64 } * slope;
        let entry = f64::from(table.entries[i]);
        (entry - position.max(0.0)).max(position.min(0.0) - entry)
    });
    0.5 * slope + excess.fold(0.0, f64::max)
}

/// What multiplies a residual's weight matrix.
enum Operand<'a> {
    Heads(&'a Attended),
    Activations(&'a Gains),
}

/// What is known of the merged attention heads.
struct Attended {
    /// Length of each head's context.
    norms: Vec<f64>,
    width: usize,
    /// Gram matrices of the heads' value weights.
    grams: Vec<Matrix>,
    /// From the length of a value product to that of a context, and the rounding of a head's context.
    gain: f64,
    slack: f64,
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

/// What is known of the activations after GELU, in the order of the permuted channels.
///
/// An activation is `gain · accumulator · φ` with `φ` between 0 and 1, up to `rounding`. So a product with `M` is half
/// the product of the composed matrix plus at most half of `‖M·S‖ · ‖S⁻¹·accumulator‖` for any diagonal `S`.
struct Gains {
    elements: Vec<f64>,
    /// Accumulator weights and bias, permuted.
    matrix: Matrix,
    bias: Vec<f64>,
    gain: f64,
    rounding: Vec<f64>,
    x: f64,
}

impl Gains {
    fn times(&self, matrix: &Matrix) -> (Vec<f64>, f64) {
        let norms = self.matrix.column_norms();
        let rows: Vec<f64> = (0..matrix.rows).map(|i| norm(matrix.row(i))).collect();
        let balance: Vec<f64> = norms.iter().zip(&rows).map(|(a, b)| ((a + 1.0) / (b + 1.0)).sqrt()).collect();
        let balanced = scaled_rows(matrix, &balance).spectral_bound();
        let inverse: Vec<f64> = balance.iter().map(|s| 1.0 / s).collect();
        let reach = scaled_rows(&self.matrix.transpose(), &inverse).spectral_bound() * self.x;
        let over = |v: &[f64]| norm(&v.iter().zip(&inverse).map(|(x, i)| x * i).collect::<Vec<_>>());
        let composed = self.matrix.times(matrix).spectral_bound() * self.x + norm(&matrix.transposed_times(&self.bias));
        let length =
            0.5 * self.gain * (composed + balanced * (reach + over(&self.bias))) + balanced * over(&self.rounding);

        let mut columns = vec![0.0; matrix.cols];
        for (row, &m) in matrix.data.chunks_exact(matrix.cols).zip(&self.elements) {
            columns.iter_mut().zip(row).for_each(|(c, w)| *c += w.abs() * m);
        }
        (columns.into_iter().map(|c| c.min(length)).collect(), length)
    }
}

fn scaled_rows(matrix: &Matrix, by: &[f64]) -> Matrix {
    let rows = matrix.data.chunks_exact(matrix.cols).zip(by);
    Matrix::new(matrix.rows, matrix.cols, rows.flat_map(|(row, s)| row.iter().map(move |x| x * s)).collect())
}

impl Residual {
    /// `fraction` is that of the operand; the sum has up to 18 fractional bits, as many as the bounds allow.
    #[allow(clippy::too_many_arguments)] // the parts of one sum
    fn new(
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
                weight: weights.push(format!("{name}.weight"), integer.rows, d, values(&integer)),
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

impl PoolPlan {
    pub(super) fn new(last: &Norm, size: Size, weights: &mut WeightList) -> Result<Self, CompileError> {
        let (d, x) = (size.hidden, row_norm(size.hidden));
        let root = (d as f64).sqrt();
        let tokens = size.max_tokens as f64;
        for fraction in (4..=16).rev() {
            let scale = root * 2f64.powi(fraction - UNIT);
            let gamma: Vec<i32> = last.gamma.iter().map(|&g| round(f64::from(g) * scale)).collect();
            let beta = int_vector(&last.beta.iter().map(|&b| f64::from(b)).collect::<Vec<_>>(), 2f64.powi(fraction));
            let largest = |v: &[i32]| v.iter().map(|g| f64::from(*g).abs()).fold(0.0, f64::max);
            let (gamma_max, beta_max) = (largest(&gamma), largest(&beta));
            if tokens * (gamma_max * x + beta_max) < LIMIT {
                return Ok(Self {
                    gamma: weights.push("pool.scale".into(), 1, d, gamma),
                    beta: weights.push("pool.bias".into(), 1, d, beta),
                    gamma_max,
                    beta_max,
                });
            }
        }
        Err(CompileError::Range { what: "the last layer norm".into(), problem: "the pooled sum overflows".into() })
    }
}

impl ScoreRange {
    pub(super) fn new(layers: &[LayerPlan], options: &CompileOptions) -> Result<Self, CompileError> {
        let shift = (QUERY_FRACTION + KEY_FRACTION) as u8 - options.score_fraction;
        let accumulator = layers.iter().map(|l| l.score).fold(0.0, f64::max);
        let max = (accumulator * 2f64.powi(-i32::from(shift)) + 0.5).floor();
        let mask = 2.0 * max + f64::from(1u32 << options.exp_bits);
        let spread = mask + 2.0 * max;
        let bits = (16..=32 - shift).find(|&bits| spread < 2f64.powi(i32::from(bits) - 1));
        match bits {
            Some(bits) if accumulator < 2f64.powi(31) => Ok(Self { shift, bits, max, mask: mask as u32 }),
            _ => Err(CompileError::Range {
                what: "the attention".into(),
                problem: format!("scores can reach {:.0}", accumulator * 2f64.powi(-QUERY_FRACTION - KEY_FRACTION)),
            }),
        }
    }
}

fn within(what: &str, bound: f64) -> Result<(), CompileError> {
    match bound < LIMIT {
        true => Ok(()),
        false => Err(CompileError::Range { what: what.to_owned(), problem: format!("{bound:.0} is not below 2^30") }),
    }
}

/// `inputs × outputs`.
fn transposed(linear: &Linear) -> Matrix {
    let data = linear.weight.iter().map(|&w| f64::from(w)).collect();
    Matrix::new(linear.outputs, linear.inputs, data).transpose()
}

/// The weights after a layer norm: gamma folded in, each output's weights centred over the inputs.
fn folded(linear: &Linear, before: &Norm) -> Matrix {
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
fn offset(linear: &Linear, before: &Norm) -> Vec<f64> {
    let beta: Vec<f64> = before.beta.iter().map(|&b| f64::from(b)).collect();
    let row = |row: &[f32]| dot(&row.iter().map(|&w| f64::from(w)).collect::<Vec<_>>(), &beta);
    linear.weight.chunks_exact(linear.inputs).zip(&linear.bias).map(|(w, &b)| row(w) + f64::from(b)).collect()
}

/// Each input's weights centred over the outputs: a layer norm removes the rest.
fn centred_outputs(matrix: &Matrix) -> Matrix {
    let mut out = matrix.clone();
    for row in out.data.chunks_exact_mut(matrix.cols) {
        let mean = row.iter().sum::<f64>() / matrix.cols as f64;
        row.iter_mut().for_each(|w| *w -= mean);
    }
    out
}

fn permute_columns(matrix: &Matrix, order: &[usize]) -> Matrix {
    let data = (0..matrix.rows).flat_map(|r| order.iter().map(move |&c| matrix.row(r)[c])).collect();
    Matrix::new(matrix.rows, order.len(), data)
}

fn permute_rows(matrix: &Matrix, order: &[usize]) -> Matrix {
    let data = order.iter().flat_map(|&r| matrix.row(r).iter().copied()).collect();
    Matrix::new(order.len(), matrix.cols, data)
}

fn scaled(matrix: &Matrix, by: f64) -> Matrix {
    Matrix::new(matrix.rows, matrix.cols, matrix.data.iter().map(|x| x * by).collect())
}

/// Rounded to integers (still as floats, exactly).
fn ints(matrix: &Matrix) -> Matrix {
    Matrix::from_ints(matrix.rows, matrix.cols, &values(matrix))
}

fn values(matrix: &Matrix) -> Vec<i32> {
    matrix.data.iter().map(|&x| round(x)).collect()
}

fn int_vector(values: &[f64], scale: f64) -> Vec<i32> {
    values.iter().map(|x| round(x * scale)).collect()
}

fn floats(values: &[i32]) -> Vec<f64> {
    values.iter().map(|&x| f64::from(x)).collect()
}

/// Nearest integer; beyond 32 bits it saturates, and the bounds refuse the model.
fn round(x: f64) -> i32 {
    x.round() as i32
}

fn add(sum: &mut [f64], other: &[f32]) {
    sum.iter_mut().zip(other).for_each(|(s, &o)| *s += f64::from(o));
}
