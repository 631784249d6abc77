//! The graph of a compiled model for one padded length: one function a block, in the order of the computation.

use super::ffn::GeluGroup;
use super::plan::LayerPlan;
use super::projection::Projection;
use super::relative::RelativePlan;
use super::residual::Residual;
use super::scale::{GELU_SHIFT, LIMIT, SLACK, UNIT};
use super::{Compiler, tables};
use crate::builder::Builder;
use crate::graph::{Graph, InputRange, InputSpec, NodeId, Shape};
use crate::hf::CompileError;

/// Largest fractional bits of a softmax exponential.
const EXP_FRACTION: u8 = 10;
/// Bits of the reciprocal's mantissa below its leading one.
const MANTISSA: i32 = 8;
/// Shift of the softmax's last rescale.
const CONTEXT_SHIFT: u8 = 16;

pub(super) fn graph(compiler: &Compiler, tokens: u32) -> Result<Graph, CompileError> {
    let d = compiler.size.hidden as u32;
    let mut b = Builder::new(Graph {
        model: compiler.name.clone(),
        seq_len: tokens,
        layers: compiler.layers.len() as u32,
        weights_root: compiler.root,
        inputs: Vec::new(),
        weights: compiler.specs.clone(),
        tables: Vec::new(),
        nodes: Vec::new(),
        outputs: Vec::new(),
    });
    let unit = 1u32 << UNIT;
    let embedding = b.input(InputSpec {
        name: "embedding".into(),
        shape: Shape::new(1, tokens, d),
        bits: 32,
        range: InputRange::Symmetric,
        max_abs: unit,
        max_row_norm: unit + f64::from(d).sqrt().ceil() as u32,
    });
    let key_mask = b.input(InputSpec {
        name: "key_mask".into(),
        shape: Shape::new(1, 1, tokens),
        bits: compiler.scores.bits,
        range: InputRange::Mask,
        max_abs: compiler.scores.mask,
        max_row_norm: row_length(compiler.scores.mask, tokens),
    });
    let mut emit = Emit { b, compiler, tokens };
    let distance_bias = compiler.relative.as_ref().map(|relative| emit.distance_bias(relative));
    let mut x = embedding;
    for (index, layer) in compiler.layers.iter().enumerate() {
        emit.b.prefix(format!("layer.{index}.attention."));
        let context = emit.attention(layer, x, key_mask, distance_bias)?;
        x = emit.residual(&layer.attention, x, context);
        emit.b.prefix(format!("layer.{index}.ffn."));
        let hidden = emit.feed_forward(layer, x);
        x = emit.residual(&layer.output, x, hidden);
    }
    emit.tail(&compiler.tail, x);
    Ok(emit.b.finish())
}

pub(super) fn row_length(max: u32, tokens: u32) -> u32 {
    (f64::from(max) * f64::from(tokens).sqrt()).ceil() as u32
}

pub(super) struct Emit<'a> {
    pub b: Builder,
    pub compiler: &'a Compiler,
    pub tokens: u32,
}

impl Emit<'_> {
    /// The bias of each head's scores: `[heads, tokens, tokens]`.
    fn distance_bias(&mut self, plan: &RelativePlan) -> NodeId {
        let (heads, tokens, width) = (self.compiler.size.heads as u32, self.tokens, plan.width);
        let b = &mut self.b;
        let place = b.input(InputSpec {
            name: "places".into(),
            shape: Shape::new(1, tokens, width),
            bits: 32,
            range: InputRange::Symmetric,
            max_abs: 1,
            max_row_norm: 1,
        });
        b.prefix("distance.".into());
        let rows = b.matmul_weight("rows", place, plan.weight, plan.bound);
        let parts: Vec<NodeId> = match tokens == width {
            true => vec![rows],
            false => (0..heads).map(|h| b.slice(&format!("head.{h}"), rows, h * width, tokens, plan.bound)).collect(),
        };
        let rows = match parts[..] {
            [only] => only,
            _ => b.concat("heads.rows", parts, plan.bound),
        };
        b.split_heads("heads", rows, heads)
    }

    fn attention(
        &mut self,
        layer: &LayerPlan,
        x: NodeId,
        key_mask: NodeId,
        distance_bias: Option<NodeId>,
    ) -> Result<NodeId, CompileError> {
        let (heads, scores) = (self.compiler.size.heads as u32, &self.compiler.scores);
        let query = self.projected("query", &layer.query, x);
        let key = self.projected("key", &layer.key, x);
        let value = self.projected("value", &layer.value, x);
        let b = &mut self.b;
        let query = b.split_heads("query.heads", query, heads);
        let key = b.split_heads("key.heads", key, heads);
        let value = b.split_heads("value.heads", value, heads);

        let product = b.matmul("scores.acc", query, key, true, layer.score);
        let product = match (distance_bias, &self.compiler.relative) {
            (Some(bias), Some(plan)) => b.add("scores.biased", product, bias, layer.score + plan.bound),
            _ => product,
        };
        let score = b.index("scores", product, scores.shift, scores.bits, scores.max);
        let lowest = scores.max + f64::from(scores.mask);
        let score = b.add("scores.masked", score, key_mask, lowest);
        let max = b.row_max("scores.max", score, scores.max);
        let distance = b.sub("scores.distance", max, score, lowest + scores.max);
        let options = &self.compiler.options;
        let distance = b.clamp_index("scores.index", distance, options.exp_bits);

        let limits = SoftmaxScales::new(layer, self.tokens)?;
        let exp = tables::exp(options.score_fraction, options.exp_bits, limits.exp);
        let exp = b.lookup("exp", distance, &exp, limits.one);
        let total = b.row_sum("exp.sum", exp, limits.sum);
        let weighted = b.matmul("weighted.acc", exp, value, false, limits.weighted);
        let weighted = b.rescale("weighted", weighted, limits.weighted_shift, limits.weighted_value);
        let inverse = self.reciprocal(total, &limits);
        let b = &mut self.b;
        let context = b.mul("context.acc", weighted, inverse, limits.context);
        let context = b.rescale("context", context, CONTEXT_SHIFT, layer.context);
        Ok(b.merge_heads("context.merged", context))
    }

    fn projected(&mut self, name: &str, p: &Projection, x: NodeId) -> NodeId {
        let acc = accumulated(&mut self.b, name, p, x);
        self.b.rescale(name, acc, p.shift, p.value)
    }

    /// `2^(top + 8) / total` for `2^exp ≤ total ≤ 2^top`, in each row.
    fn reciprocal(&mut self, total: NodeId, limits: &SoftmaxScales) -> NodeId {
        let (low, top) = (i32::from(limits.exp), limits.top);
        let steps = (low + 1..=top).map(|k| (1u32 << k, -(1i32 << (top - k)))).collect();
        let most = 1i32 << (top - low);
        let b = &mut self.b;
        let power = b.step("sum.power", total, most, steps, f64::from(most));
        let mantissa = b.mul("sum.normalised", total, power, 2f64.powi(top + 1));
        let index = b.index("sum.mantissa", mantissa, (top - MANTISSA) as u8, 9, 512.0);
        let inverse = b.lookup("sum.inverse", index, &tables::reciprocal(), 256.0);
        b.mul("sum.reciprocal", inverse, power, 256.0 * f64::from(most))
    }

    fn feed_forward(&mut self, layer: &LayerPlan, x: NodeId) -> NodeId {
        activated(&mut self.b, "up", &layer.up, &layer.groups, x)
    }

    /// The residual sum, centred and normalised.
    fn residual(&mut self, r: &Residual, x: NodeId, operand: NodeId) -> NodeId {
        let b = &mut self.b;
        let scaled = b.scale_weight("residual", x, r.gamma, r.scaled);
        let product = b.matmul_weight("output", operand, r.weight, r.product);
        let sum = b.add("sum", scaled, product, r.sum);
        let sum = b.add_weight("sum.biased", sum, r.bias, r.biased);
        let mean = b.matmul_weight("mean", x, r.mean, r.mean_bound);
        let centred = b.sub("centred.acc", sum, mean, r.centred);
        let centred = b.rescale("centred", centred, r.shift, r.row);
        self.normalised(centred, r.row_norm)
    }

    /// `x̂ = 2^13 · c / ‖c‖` in each row.
    pub(super) fn normalised(&mut self, c: NodeId, row: f64) -> NodeId {
        let b = &mut self.b;
        let square = b.square_sum("square", c, row * row);
        // The power of two 2^j for which square·4^j lies in [2^28, 2^30), and 4^j beside it: two steps, one round.
        let thresholds = || (1..=14).rev().map(|j| (j, 1u32 << (30 - 2 * j)));
        let steps = thresholds().map(|(j, threshold)| (threshold, -(1 << (j - 1)))).collect();
        let power = b.step("square.power", square, 1 << 14, steps, 2f64.powi(14));
        let steps = thresholds().map(|(j, threshold)| (threshold, -(3 << (2 * j - 2)))).collect();
        let square_power = b.step("square.square_power", square, 1 << 28, steps, 2f64.powi(28));
        let mantissa = b.mul("square.normalised", square, square_power, 2f64.powi(30));
        let index = b.index("square.mantissa", mantissa, tables::NORM_SHIFT, 10, 1024.0);
        let table = tables::rsqrt();
        let most = f64::from(table.entries[256]);
        let inverse = b.lookup("norm.inverse", index, &table, most);
        let largest = 2f64.powi(tables::INVERSE) * tables::rsqrt_excess();
        let inverse = b.mul("norm.reciprocal", inverse, power, largest);
        let product = b.mul("normalised.acc", c, inverse, largest);
        let bound = 2f64.powi(UNIT) * tables::rsqrt_excess() + SLACK;
        b.rescale("normalised", product, (tables::INVERSE - UNIT) as u8, bound)
    }
}

/// A linear layer.
pub(super) fn accumulated(b: &mut Builder, name: &str, p: &Projection, x: NodeId) -> NodeId {
    let acc = b.matmul_weight(&format!("{name}.acc"), x, p.weight, p.product);
    match p.bias {
        Some(bias) => b.add_weight(&format!("{name}.biased"), acc, bias, p.accumulator),
        None => acc,
    }
}

/// A linear layer and its activation, in the order of the groups.
pub(super) fn activated(b: &mut Builder, name: &str, up: &Projection, groups: &[GeluGroup], x: NodeId) -> NodeId {
    let acc = accumulated(b, name, up, x);
    let mut parts = Vec::new();
    let mut largest: f64 = 0.0;
    for group in groups {
        let table = &group.table.name;
        let part = b.slice(&format!("{name}.{table}"), acc, group.from, group.cols, group.accumulator);
        let index = b.index(&format!("index.{table}"), part, GELU_SHIFT, group.bits, group.index);
        parts.push(b.lookup(table, index, &group.table, group.value));
        largest = largest.max(group.value);
    }
    match parts[..] {
        [only] => only,
        _ => b.concat("activated", parts, largest),
    }
}

/// The scales of one layer's softmax for one length.
struct SoftmaxScales {
    /// Fractional bits of an exponential, and its largest value.
    exp: u8,
    one: f64,
    /// The sum of a row is at most `2^top`.
    top: i32,
    sum: f64,
    weighted: f64,
    weighted_shift: u8,
    weighted_value: f64,
    context: f64,
}

impl SoftmaxScales {
    fn new(layer: &LayerPlan, tokens: u32) -> Result<Self, CompileError> {
        let log_tokens = tokens.next_power_of_two().trailing_zeros() as i32;
        let value = layer.value.value;
        for exp in (4..=EXP_FRACTION).rev() {
            let top = log_tokens + i32::from(exp);
            let sum = f64::from(tokens) * 2f64.powi(exp.into());
            let weighted = sum * value;
            // One fractional bit is gained from value to context.
            let shift = top + MANTISSA - 1 - i32::from(CONTEXT_SHIFT);
            if weighted >= LIMIT || shift < 1 || top <= MANTISSA {
                continue;
            }
            let exact = value * 2f64.powi(top + MANTISSA - shift) * tables::reciprocal_excess();
            let context = exact + SLACK * 2f64.powi(MANTISSA + log_tokens);
            if context >= LIMIT {
                break;
            }
            return Ok(Self {
                exp,
                one: 2f64.powi(exp.into()),
                top,
                sum,
                weighted,
                weighted_shift: shift as u8,
                weighted_value: weighted * 2f64.powi(-shift) + SLACK,
                context,
            });
        }
        Err(CompileError::Range {
            what: "the attention values".into(),
            problem: format!("{:.0} is too large", value * 2f64.powi(-layer.value_fraction)),
        })
    }
}
