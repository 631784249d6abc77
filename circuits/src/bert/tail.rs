//! From normalised rows to the answer, planned: poolings, the last layer norm, linear layers; scales and bounds.
//!
//! A pooled row is `unit · 2^13/√d` times the real one. Where its weights add up to a known number, the last layer norm
//! folds into the linear layer that follows; else its values are made first. The function of the last linear layer,
//! the division by the number of tokens and the unit length are the client's.

use super::ffn::{Effort, FeedForward};
use super::fold::{floats, folded, int_vector, ints, offset, permute_rows, round, scaled, transposed};
use super::projection::{Projection, WeightList, projection};
use super::scale::{LIMIT, SLACK, UNIT, row_norm};
use super::{CompileOptions, Size, tables};
use crate::frontend::settings::Activation;
use crate::frontend::{Answer, Classes, Divisor, Output, PoolInput, Weighting};
use crate::graph::WeightId;
use crate::hf::{CompileError, Dense, Finish, Linear, Norm, Pool, Tail};
use crate::linalg::{Matrix, norm};

/// Fractional bits of the weights of an average: what is exact enough, and keeps the sum of 512 rows below 2^30.
const MEAN_BITS: u8 = 12;
const ROOT_BITS: u8 = 9;
/// A sum and an average are brought below these before they are multiplied.
const SUM: f64 = (1u32 << 23) as f64;
const AVERAGE: f64 = (1u32 << 18) as f64;
/// Length of a row of values before a linear layer.
const VALUES: f64 = (1u32 << 17) as f64;
/// Fractional bits of values whose largest is sought.
const MAX_FRACTION: i32 = 9;
/// Most fractional bits of a result.
const RESULT_FRACTION: i32 = 20;
/// The same after rows of unit length, whose weights would have too few of them.
const UNIT_RESULT_FRACTION: i32 = 26;

/// One pooling.
pub(super) struct PoolPlan {
    pub input: PoolInput,
    pub form: PoolForm,
}

pub(super) enum PoolForm {
    /// A weighted sum of rows, rescaled unless `shift` is 0.
    Sum { sum: f64, shift: u8, row: f64, affine: Option<Affine> },
    /// The largest of each channel.
    Max { scale: WeightId, bias: WeightId, scaled: f64, biased: f64, shift: u8, value: f64, mask: u32 },
}

/// What the last layer norm does to a pooled row, and the rescale after it (none if `shift` is 0).
pub(super) struct Affine {
    pub scale: WeightId,
    pub bias: WeightId,
    pub scaled: f64,
    pub count: f64,
    pub offset: f64,
    pub sum: f64,
    pub shift: u8,
    pub value: f64,
}

/// One linear layer.
pub(super) enum DensePlan {
    /// The last one.
    Linear(Projection),
    Activated(FeedForward),
}

pub(super) struct TailPlan {
    pub pools: Vec<PoolPlan>,
    /// Length of the pooled row at most, where it is brought to unit length before the linear layers.
    pub unit: Option<f64>,
    pub dense: Vec<DensePlan>,
    pub output: Output,
}

/// A whole-number row of at most this length, whose real values a matrix gives.
struct Operand<'a> {
    values: Real<'a>,
    length: f64,
}

enum Real<'a> {
    /// Pooled rows before the last layer norm.
    Normalised { norm: &'a Norm, unit: f64 },
    /// Values with so many fractional bits.
    Values { fraction: i32 },
    /// Activations in this order.
    Activations { order: Vec<usize> },
}

impl Operand<'_> {
    /// The layer as a matrix over the whole numbers, and its bias.
    fn fold(&self, dense: &Dense) -> (Matrix, Vec<f64>) {
        let linear = &dense.linear;
        let own = || linear.bias.iter().map(|&b| f64::from(b)).collect();
        match &self.values {
            Real::Normalised { norm, unit } => {
                let scale = (linear.inputs as f64).sqrt() * 2f64.powi(-UNIT) / unit;
                (scaled(&folded(linear, norm), scale), offset(linear, norm))
            }
            Real::Values { fraction } => (scaled(&transposed(linear), 2f64.powi(-fraction)), own()),
            Real::Activations { order } => {
                (scaled(&permute_rows(&transposed(linear), order), 1.0 / tables::GELU_ONE), own())
            }
        }
    }
}

impl TailPlan {
    pub(super) fn new(
        tail: &Tail,
        last: &Norm,
        size: Size,
        options: &CompileOptions,
        weights: &mut WeightList,
    ) -> Result<Self, CompileError> {
        let answer = match &tail.finish {
            Finish::Embedding { normalize } => Answer::Vector { normalize: *normalize },
            Finish::Labels(head) => Answer::Labels(Classes {
                labels: head.labels.clone(),
                function: head.function,
                relevance: head.relevance,
            }),
        };
        let alone = tail.pools.len() == 1 && tail.dense.is_empty();
        let mut sums: Vec<Pooled> =
            tail.pools.iter().map(|&pool| Pooled::new(pool, alone, last, size)).collect::<Result<_, _>>()?;
        let mut operand = match &sums[..] {
            [Pooled { input: PoolInput::Weights(weighting), unit, length, .. }]
                if !alone && !tail.unit && !matches!(weighting, Weighting::RootMean(_)) =>
            {
                Operand { values: Real::Normalised { norm: last, unit: *unit }, length: *length }
            }
            _ if tail.unit => join(&mut sums, (LIMIT - 1.0).sqrt()),
            _ if tail.dense.is_empty() => join(&mut sums, f64::INFINITY),
            _ => join(&mut sums, VALUES),
        };
        let unit = tail.unit.then_some(operand.length);
        if unit.is_some_and(|length| length * length >= LIMIT - 1.0) {
            let problem = format!("a pooled row can be {:.0} long before it is brought to unit length", operand.length);
            return Err(CompileError::Range { what: "the pooling".into(), problem });
        }
        let folded = matches!(operand.values, Real::Normalised { .. });
        let many = sums.len() > 1;
        let place = |(index, sum): (usize, Pooled)| {
            let name = if many { format!("pool.{index}") } else { "pool".into() };
            sum.place(&name, folded, last, weights)
        };
        let pools = sums.into_iter().enumerate().map(place).collect();
        let mut output = Output {
            width: size.hidden * tail.pools.len(),
            scale: match operand.values {
                Real::Values { fraction } => 2f64.powi(fraction),
                _ => 1.0,
            },
            divisor: match tail.pools[..] {
                [Pool::Mean] if alone => Divisor::Count,
                [Pool::MeanSqrt] if alone => Divisor::RootCount,
                _ => Divisor::One,
            },
            activation: Activation::Identity,
            answer,
        };
        if tail.unit {
            operand = Operand { values: Real::Values { fraction: UNIT }, length: row_norm(output.width) };
        }
        let most = if tail.unit { UNIT_RESULT_FRACTION } else { RESULT_FRACTION };
        let dense = layered(&tail.dense, operand, most, options, weights, &mut output)?;
        Ok(Self { pools, unit, dense, output })
    }

    /// What the frontend must make for the poolings.
    pub(super) fn inputs(&self) -> Vec<PoolInput> {
        self.pools.iter().map(|pool| pool.input).collect()
    }
}

/// Linear layers over rows of `inputs` numbers from -1 to 1 with so many fractional bits, and what the last one's result is.
pub(super) fn over_rows(
    layers: &[Dense],
    (inputs, fraction): (usize, i32),
    answer: Answer,
    options: &CompileOptions,
    weights: &mut WeightList,
) -> Result<(Vec<DensePlan>, Output), CompileError> {
    let length = 2f64.powi(fraction) * (inputs as f64).sqrt();
    let operand = Operand { values: Real::Values { fraction }, length };
    let (divisor, activation) = (Divisor::One, Activation::Identity);
    let mut output = Output { width: inputs, scale: 1.0, divisor, activation, answer };
    let dense = layered(layers, operand, UNIT_RESULT_FRACTION, options, weights, &mut output)?;
    Ok((dense, output))
}

fn layered(
    layers: &[Dense],
    mut operand: Operand<'_>,
    most: i32,
    options: &CompileOptions,
    weights: &mut WeightList,
    output: &mut Output,
) -> Result<Vec<DensePlan>, CompileError> {
    let layers = composed(layers);
    let mut dense = Vec::new();
    for (index, layer) in layers.iter().enumerate() {
        let name = format!("head.{index}");
        let (matrix, bias) = operand.fold(layer);
        if index + 1 == layers.len() {
            let (plan, fraction) = linear(&name, (&matrix, &bias), operand.length, most, weights)?;
            output.width = layer.linear.outputs;
            output.scale = 2f64.powi(fraction);
            output.activation = layer.activation;
            dense.push(DensePlan::Linear(plan));
            break;
        }
        let parts = (&matrix, &bias[..]);
        let effort = (options, Effort::Once);
        let plan = FeedForward::new(&name, parts, layer.activation, operand.length, effort, weights)?;
        let length = norm(&plan.gains.elements);
        operand = Operand { values: Real::Activations { order: plan.order.clone() }, length };
        dense.push(DensePlan::Activated(plan));
    }
    Ok(dense)
}

/// The layers with those without a function folded into the next.
fn composed(layers: &[Dense]) -> Vec<Dense> {
    let mut out: Vec<Dense> = Vec::new();
    for layer in layers {
        match out.pop_if(|before| before.activation == Activation::Identity) {
            None => out.push(layer.clone()),
            Some(before) => {
                let product = transposed(&before.linear).times(&transposed(&layer.linear));
                let before_bias: Vec<f64> = before.linear.bias.iter().map(|&b| b.into()).collect();
                let bias = transposed(&layer.linear).transposed_times(&before_bias);
                let bias = bias.iter().zip(&layer.linear.bias).map(|(x, &b)| (x + f64::from(b)) as f32).collect();
                let weight = product.transpose().data.iter().map(|&w| w as f32).collect();
                let (inputs, outputs) = (before.linear.inputs, layer.linear.outputs);
                out.push(Dense::new(Linear { weight, bias, inputs, outputs }, layer.activation));
            }
        }
    }
    out
}

/// The last linear layer, with as many fractional bits as its bounds allow, and no more than `most`.
fn linear(
    name: &str,
    (matrix, bias): (&Matrix, &[f64]),
    x: f64,
    most: i32,
    weights: &mut WeightList,
) -> Result<(Projection, i32), CompileError> {
    for fraction in (0..=most).rev() {
        let integer = ints(&scaled(matrix, 2f64.powi(fraction)));
        let constant = int_vector(bias, 2f64.powi(fraction));
        let reach = integer.column_norms().into_iter().zip(&constant).map(|(n, b)| n * x + f64::from(*b).abs());
        if reach.fold(0.0, f64::max) < LIMIT {
            return Ok((projection(name, &integer, Some(&constant), 0, x, weights)?, fraction));
        }
    }
    Err(CompileError::Range { what: name.to_owned(), problem: "the layer after pooling overflows".into() })
}

/// A pooling under plan: its values have `fraction` bits before and `fraction - shift` after a last rescale.
struct Pooled {
    input: PoolInput,
    /// The whole number that stands for a real row of length √d, over 2^13.
    unit: f64,
    /// Of the sum, before the rescale and after it.
    sum: f64,
    shift: u8,
    row: f64,
    length: f64,
    /// Largest sum of the weights, or 1.
    total: f64,
    /// From how many rows at most the elements come: all from one, but for the largest of each channel.
    rows: f64,
    fraction: i32,
    gamma: Vec<i32>,
    beta: Vec<i32>,
    /// Largest element and length of the values with `fraction` bits.
    most: f64,
    values: f64,
    drop: u8,
}

impl Pooled {
    fn new(pool: Pool, alone: bool, last: &Norm, size: Size) -> Result<Self, CompileError> {
        let (root, x) = ((size.hidden as f64).sqrt(), row_norm(size.hidden));
        let weighting = match pool {
            Pool::Cls => Weighting::First,
            Pool::LastToken => Weighting::Last,
            Pool::Mean | Pool::MeanSqrt if alone => Weighting::Ones,
            Pool::Mean => Weighting::Mean(MEAN_BITS),
            Pool::WeightedMean => Weighting::Places(MEAN_BITS),
            Pool::MeanSqrt => Weighting::RootMean(ROOT_BITS),
            Pool::Max => return Self::largest(last, size),
        };
        let limits = weighting.limits(size.longest);
        let whole = match weighting {
            Weighting::Mean(bits) | Weighting::Places(bits) | Weighting::RootMean(bits) => 2f64.powi(bits.into()),
            _ => 1.0,
        };
        let sum = limits.sum * x;
        let below = if weighting == Weighting::Ones { SUM } else { AVERAGE };
        let shift = (0..=20).find(|&s| sum * 2f64.powi(-i32::from(s)) < below).unwrap_or(20);
        let slack = if shift == 0 { 0.0 } else { SLACK };
        let row = sum * 2f64.powi(-i32::from(shift)) + slack;
        let length = sum * 2f64.powi(-i32::from(shift)) + slack * root;
        let unit = whole * 2f64.powi(-i32::from(shift));
        let pooled = Self {
            input: PoolInput::Weights(weighting),
            unit,
            sum,
            shift,
            row,
            length,
            total: limits.sum,
            rows: 1.0,
            fraction: 0,
            gamma: Vec::new(),
            beta: Vec::new(),
            most: 0.0,
            values: 0.0,
            drop: 0,
        };
        let scale = root * 2f64.powi(-UNIT) / unit;
        pooled.quantise(last, scale, 1.0 / whole)
    }

    fn largest(last: &Norm, size: Size) -> Result<Self, CompileError> {
        let (d, x) = (size.hidden, row_norm(size.hidden));
        let pooled = Self {
            input: PoolInput::Max(0),
            unit: 1.0,
            sum: 0.0,
            shift: 0,
            row: x,
            length: x,
            total: 1.0,
            rows: f64::from(size.longest),
            fraction: 0,
            gamma: Vec::new(),
            beta: Vec::new(),
            most: 0.0,
            values: 0.0,
            drop: 0,
        };
        let mut pooled = pooled.quantise(last, (d as f64).sqrt() * 2f64.powi(-UNIT), 1.0)?;
        pooled.drop = (pooled.fraction - MAX_FRACTION).max(1) as u8;
        let (value, _) = pooled.left();
        // Hidden values are compared with the others: differences of 32 bits.
        if 2.0 * value + f64::from(padding(value)) >= 2f64.powi(31) {
            let problem = "values before the largest is taken are too large".into();
            return Err(CompileError::Range { what: "the pooling".into(), problem });
        }
        Ok(pooled)
    }

    /// The last layer norm's scale and bias with as many fractional bits as the bounds allow.
    fn quantise(mut self, last: &Norm, scale: f64, offset: f64) -> Result<Self, CompileError> {
        let beta: Vec<f64> = last.beta.iter().map(|&b| f64::from(b) * offset).collect();
        for fraction in (4..=RESULT_FRACTION).rev() {
            let unit = 2f64.powi(fraction);
            let gamma: Vec<i32> = last.gamma.iter().map(|&g| round(f64::from(g) * scale * unit)).collect();
            let beta = int_vector(&beta, unit);
            let largest = |v: &[i32]| v.iter().map(|g| f64::from(*g).abs()).fold(0.0, f64::max);
            let each = gamma.iter().zip(&beta);
            let each: Vec<f64> =
                each.map(|(g, b)| f64::from(*g).abs() * self.row + f64::from(*b).abs() * self.total).collect();
            let most = each.iter().copied().fold(0.0, f64::max);
            if most < LIMIT {
                let length = largest(&gamma) * self.length + norm(&floats(&beta)) * self.total;
                self.values = (length * self.rows.sqrt()).min(norm(&each));
                (self.fraction, self.gamma, self.beta, self.most) = (fraction, gamma, beta, most);
                return Ok(self);
            }
        }
        Err(CompileError::Range { what: "the last layer norm".into(), problem: "the pooled row overflows".into() })
    }

    fn fraction_left(&self) -> i32 {
        self.fraction - i32::from(self.drop)
    }

    /// Element and length after the last rescale.
    fn left(&self) -> (f64, f64) {
        let slack = if self.drop == 0 { 0.0 } else { SLACK };
        let by = 2f64.powi(-i32::from(self.drop));
        (self.most * by + slack, self.values * by + slack * (self.gamma.len() as f64).sqrt())
    }

    /// Stores the weights; those of the norm are not needed where it is `folded` into what follows.
    fn place(mut self, name: &str, folded: bool, last: &Norm, weights: &mut WeightList) -> PoolPlan {
        let d = last.gamma.len();
        let largest = |v: &[i32]| v.iter().map(|g| f64::from(*g).abs()).fold(0.0, f64::max);
        let (gamma_max, beta_max) = (largest(&self.gamma), largest(&self.beta));
        let (value, _) = self.left();
        let mut norm = |gamma: Vec<i32>, beta: Vec<i32>| {
            let scale = weights.push(format!("{name}.scale"), 1, d, gamma);
            (scale, weights.push(format!("{name}.bias"), 1, d, beta))
        };
        let (gamma, beta) = (std::mem::take(&mut self.gamma), std::mem::take(&mut self.beta));
        if let PoolInput::Max(_) = self.input {
            let (scale, bias) = norm(gamma, beta);
            let mask = padding(value);
            let (scaled, shift) = (gamma_max * self.row, self.drop);
            let form = PoolForm::Max { scale, bias, scaled, biased: self.most, shift, value, mask };
            return PoolPlan { input: PoolInput::Max(mask), form };
        }
        let affine = (!folded).then(|| {
            let (scale, bias) = norm(gamma, beta);
            Affine {
                scale,
                bias,
                scaled: gamma_max * self.row,
                count: self.total,
                offset: beta_max * self.total,
                sum: self.most,
                shift: self.drop,
                value,
            }
        });
        PoolPlan { input: self.input, form: PoolForm::Sum { sum: self.sum, shift: self.shift, row: self.row, affine } }
    }
}

/// What is added to padding, so that it loses against every value.
fn padding(value: f64) -> u32 {
    (2.0 * value + 2.0).ceil() as u32
}

/// Brings poolings to one number of fractional bits, and to less than `most` if any number of these is enough.
fn join(pools: &mut [Pooled], most: f64) -> Operand<'static> {
    let mut fraction = pools.iter().map(Pooled::fraction_left).min().unwrap_or(0);
    loop {
        for pool in pools.iter_mut() {
            pool.drop = (pool.fraction - fraction).clamp(0, 20) as u8;
            if let PoolInput::Max(_) = pool.input {
                // Comparisons are of exact whole numbers, so there is always a rescale.
                pool.drop = pool.drop.max(1);
            }
        }
        let fraction_left = pools.iter().map(Pooled::fraction_left).min().unwrap_or(0);
        let length = norm(&pools.iter().map(|pool| pool.left().1).collect::<Vec<_>>());
        if length < most || fraction <= 0 {
            return Operand { values: Real::Values { fraction: fraction_left }, length };
        }
        fraction -= 1;
    }
}
