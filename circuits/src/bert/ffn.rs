//! A linear layer with an activation: channels sorted by the index width and step that their bound allows, tables, and
//! what is then known of the activations.

use super::fold::{floats, int_vector, ints, permute_columns, scaled, scaled_columns, scaled_rows};
use super::projection::{Projection, WeightList, projection};
use super::scale::GELU_SHIFT;
use super::{CompileOptions, tables};
use crate::frontend::settings::Activation;
use crate::graph::Table;
use crate::hf::CompileError;
use crate::linalg::{Matrix, norm};
use std::collections::BTreeMap;

/// Feed-forward channels that share an index width and step.
pub(super) struct GeluGroup {
    pub from: u32,
    pub cols: u32,
    pub bits: u8,
    pub table: Table,
    pub accumulator: f64,
    pub index: f64,
    pub value: f64,
}

/// Steps per octave: a channel whose bound does not fill its index width gets a finer step.
const GRID: i32 = 4;
/// Finest and coarsest steps, in grid units from the step of the options.
const FINEST: i32 = 2 * GRID;
const COARSEST: i32 = -4 * GRID;
/// The same once an answer: what is coarser than a fourth would be felt.
const FINEST_ONCE: i32 = 5 * GRID;
const COARSEST_ONCE: i32 = -GRID;
/// A group with fewer channels joins the next coarser one of its width.
const FEWEST: usize = 8;

/// How much a table may cost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Effort {
    /// In every layer and for every token: indices as narrow as the options allow.
    Layer,
    /// Once an answer: indices as fine as there are.
    Once,
}

/// A linear layer with an activation after it.
pub(super) struct FeedForward {
    pub up: Projection,
    pub groups: Vec<GeluGroup>,
    pub gains: Gains,
    /// The channel at each place.
    pub order: Vec<usize>,
}

impl FeedForward {
    /// `matrix` gives real values of whole-number rows that are at most `x` long, `bias` is added to them.
    pub(super) fn new(
        name: &str,
        (matrix, bias): (&Matrix, &[f64]),
        activation: Activation,
        x: f64,
        (options, effort): (&CompileOptions, Effort),
        weights: &mut WeightList,
    ) -> Result<Self, CompileError> {
        let unit = 2f64.powi(i32::from(GELU_SHIFT));
        let float = scaled(matrix, unit);
        let index_forms = index_forms(name, &float, bias, x, options, effort)?;
        let mut members: BTreeMap<IndexForm, Vec<usize>> = BTreeMap::new();
        for (channel, form) in index_forms.into_iter().enumerate() {
            members.entry(form).or_default().push(channel);
        }
        merge_small(&mut members);

        let order: Vec<usize> = members.values().flatten().copied().collect();
        let per_channel = |of: &dyn Fn(&IndexForm) -> f64| -> Vec<f64> {
            members.iter().flat_map(|(form, channels)| vec![of(form); channels.len()]).collect()
        };
        let rates = per_channel(&|form| 1.0 / form.step(options));
        let matrix = ints(&scaled_columns(&permute_columns(&float, &order), &rates));
        let bias: Vec<f64> = order.iter().zip(&rates).map(|(&j, rate)| bias[j] * rate).collect();
        let bias = int_vector(&bias, unit);
        let norms = matrix.column_norms();
        let reach: Vec<f64> = norms.iter().zip(&bias).map(|(&n, &b)| n * x + f64::from(b).abs()).collect();

        let (mut groups, mut elements, mut rounding) = (Vec::new(), Vec::new(), Vec::new());
        for (form, channels) in &members {
            let (from, step) = (elements.len(), form.step(options));
            let table = tables::activation(activation, &form.name(activation), step, form.bits);
            let reach = &reach[from..from + channels.len()];
            let index = |reached: f64| (reached / unit + 0.5).floor();
            let group = GeluGroup {
                from: from as u32,
                cols: channels.len() as u32,
                bits: form.bits,
                accumulator: reach.iter().copied().fold(0.0, f64::max),
                index: reach.iter().map(|&r| index(r)).fold(0.0, f64::max),
                value: reach.iter().map(|&r| largest_entry(&table, index(r) as usize)).fold(0.0, f64::max),
                table,
            };
            // `index_forms` leaves room for the rounding of the weights.
            debug_assert!(group.index < f64::from(1u32 << (form.bits - 1)));
            elements.extend(reach.iter().map(|&r| largest_entry(&group.table, index(r) as usize)));
            rounding.extend(vec![entry_rounding(&group.table, step); channels.len()]);
            groups.push(group);
        }
        let up = projection(name, &matrix, Some(&bias), GELU_SHIFT, x, weights)?;
        let gain = per_channel(&|form| form.step(options) * tables::GELU_ONE / unit);
        let bias = floats(&bias).iter().zip(&gain).map(|(b, g)| b * g).collect();
        let gains = Gains { elements, matrix: scaled_columns(&matrix, &gain), bias, rounding, x };
        Ok(Self { up, groups, gains, order })
    }
}

/// Index width, and step from coarse to fine.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct IndexForm {
    bits: u8,
    finer: i32,
}

impl IndexForm {
    /// The real value of one index step; square roots, unlike powers, are the same on every machine.
    fn step(&self, options: &CompileOptions) -> f64 {
        let octaves = self.finer.div_euclid(GRID) + i32::from(options.gelu_fraction);
        let (half, fourth) = (std::f64::consts::SQRT_2, std::f64::consts::SQRT_2.sqrt());
        2f64.powi(-octaves) / [1.0, fourth, half, half * fourth][self.finer.rem_euclid(GRID) as usize]
    }

    fn name(&self, activation: Activation) -> String {
        format!("{}/{}/{}", activation.name(), self.bits, self.finer)
    }
}

/// For each channel the narrowest index that reaches its bound at the options' coarsest step, then the finest step that still
/// fits that index; channels beyond 10 bits get a coarser step.
fn index_forms(
    name: &str,
    float: &Matrix,
    bias: &[f64],
    x: f64,
    options: &CompileOptions,
    effort: Effort,
) -> Result<Vec<IndexForm>, CompileError> {
    let unit = 2f64.powi(i32::from(GELU_SHIFT));
    // Each rounded weight is off by half at most.
    let half = 0.5 * (float.rows as f64).sqrt() * x + 0.5;
    let fits = |bound: f64, form: IndexForm| {
        bound / form.step(options) + half / unit + 0.5 < f64::from((1u32 << (form.bits - 1)) - 1)
    };
    let channel = |(j, norm): (usize, f64)| {
        let bound = norm * x / unit + bias[j].abs();
        let (narrowest, finest, coarsest) = match effort {
            Effort::Layer => (8, FINEST, COARSEST),
            Effort::Once => (10, FINEST_ONCE, COARSEST_ONCE),
        };
        let bits =
            (narrowest..=10).find(|&bits| fits(bound, IndexForm { bits, finer: -i32::from(options.gelu_stretch) }));
        let mut steps = (coarsest..=finest).rev().map(|finer| IndexForm { bits: bits.unwrap_or(10), finer });
        steps.find(|&form| fits(bound, form)).ok_or_else(|| CompileError::Range {
            what: name.to_owned(),
            problem: format!("channel {j} can reach {bound:.0} before its activation"),
        })
    };
    float.column_norms().into_iter().enumerate().map(channel).collect()
}

/// Moves the channels of small groups to the next coarser group of the same width.
fn merge_small(members: &mut BTreeMap<IndexForm, Vec<usize>>) {
    let index_forms: Vec<IndexForm> = members.keys().rev().copied().collect();
    for pair in index_forms.windows(2) {
        let (finer, coarser) = (pair[0], pair[1]);
        if finer.bits == coarser.bits && members[&finer].len() < FEWEST {
            let channels = members.remove(&finer).unwrap_or_default();
            members.entry(coarser).or_default().extend(channels);
        }
    }
}

/// Largest entry in absolute value that an index of at most `index` reads.
fn largest_entry(table: &Table, index: usize) -> f64 {
    let n = table.entries.len();
    let reachable = (0..=index.min(n / 2 - 1)).flat_map(|i| [table.entries[i], table.entries[(n - i) % n]]);
    reachable.map(|e| f64::from(e).abs()).fold(0.0, f64::max)
}

/// How far an entry can be from `slope · position · φ`, `φ` between 0 and 1, for a position within half a step of its
/// index.
fn entry_rounding(table: &Table, step: f64) -> f64 {
    let n = table.entries.len();
    let slope = step * tables::GELU_ONE;
    let excess = (0..n).map(|i| {
        let position = if i < n / 2 { i as f64 } else { i as f64 - n as f64 } * slope;
        let entry = f64::from(table.entries[i]);
        (entry - position.max(0.0)).max(position.min(0.0) - entry)
    });
    0.5 * slope + excess.fold(0.0, f64::max)
}

/// What is known of the activations after GELU, in the order of the permuted channels.
///
/// An activation is `accumulator · φ` with `φ` between 0 and 1, up to `rounding`. So a product with `M` is half
/// the product of the composed matrix plus at most half of `‖M·S‖ · ‖S⁻¹·accumulator‖` for any diagonal `S`.
pub(super) struct Gains {
    /// Largest of each channel.
    pub elements: Vec<f64>,
    /// Accumulator weights and bias, permuted, in units of the activations.
    matrix: Matrix,
    bias: Vec<f64>,
    rounding: Vec<f64>,
    x: f64,
}

impl Gains {
    pub(super) fn times(&self, matrix: &Matrix) -> (Vec<f64>, f64) {
        let norms = self.matrix.column_norms();
        let rows: Vec<f64> = (0..matrix.rows).map(|i| norm(matrix.row(i))).collect();
        let balance: Vec<f64> = norms.iter().zip(&rows).map(|(a, b)| ((a + 1e-9) / (b + 1e-9)).sqrt()).collect();
        let balanced = scaled_rows(matrix, &balance).spectral_bound();
        let inverse: Vec<f64> = balance.iter().map(|s| 1.0 / s).collect();
        let reach = scaled_rows(&self.matrix.transpose(), &inverse).spectral_bound() * self.x;
        let over = |v: &[f64]| norm(&v.iter().zip(&inverse).map(|(x, i)| x * i).collect::<Vec<_>>());
        let composed = self.matrix.times(matrix).spectral_bound() * self.x + norm(&matrix.transposed_times(&self.bias));
        let length = 0.5 * (composed + balanced * (reach + over(&self.bias))) + balanced * over(&self.rounding);

        let mut columns = vec![0.0; matrix.cols];
        for (row, &m) in matrix.data.chunks_exact(matrix.cols).zip(&self.elements) {
            columns.iter_mut().zip(row).for_each(|(c, w)| *c += w.abs() * m);
        }
        (columns.into_iter().map(|c| c.min(length)).collect(), length)
    }
}
