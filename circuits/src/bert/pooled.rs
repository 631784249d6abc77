//! The graph after the last layer: poolings, the last layer norm, linear layers.

use super::emit::{Emit, accumulated, activated, row_length};
use super::ffn::FeedForward;
use super::tail::{Affine, DensePlan, PoolForm, PoolPlan, TailPlan};
use crate::builder::Builder;
use crate::frontend::PoolInput;
use crate::graph::{InputRange, InputSpec, NodeId, Shape};

/// Linear layers, the last of which gives the output.
pub(super) fn layered(b: &mut Builder, layers: &[DensePlan], x: NodeId) {
    let mut out = x;
    for (index, layer) in layers.iter().enumerate() {
        b.prefix(format!("head.{index}."));
        out = match layer {
            DensePlan::Linear(linear) => accumulated(b, "linear", linear, out),
            DensePlan::Activated(FeedForward { up, groups, .. }) => activated(b, "linear", up, groups, out),
        };
    }
    b.output(out);
}

impl Emit<'_> {
    /// Everything from the last layer's rows to the output.
    pub(super) fn tail(&mut self, plan: &TailPlan, x: NodeId) {
        let many = plan.pools.len() > 1;
        let mut parts = Vec::new();
        for (index, pool) in plan.pools.iter().enumerate() {
            let name = if many { format!("pool.{index}.") } else { "pool.".into() };
            self.b.prefix(name.clone());
            parts.push(self.pooled(&name, pool, x));
        }
        self.b.prefix("head.".into());
        let most = parts.iter().map(|part| part.1).fold(0.0, f64::max);
        let mut out = match parts[..] {
            [(only, _)] => only,
            _ => self.b.concat("pooled", parts.iter().map(|part| part.0).collect(), most),
        };
        if let Some(length) = plan.unit {
            self.b.prefix("unit.".into());
            out = self.normalised(out, length);
        }
        layered(&mut self.b, &plan.dense, out);
    }

    /// One pooled row, and its largest element.
    fn pooled(&mut self, name: &str, plan: &PoolPlan, x: NodeId) -> (NodeId, f64) {
        match (&plan.form, plan.input) {
            (PoolForm::Sum { sum, shift, row, affine }, PoolInput::Weights(weighting)) => {
                let limits = weighting.limits(self.tokens);
                let (range, limits) = (InputRange::Symmetric, (limits.max, limits.norm));
                let weights = self.pool_input(&format!("{name}mask"), self.tokens, range, limits);
                let b = &mut self.b;
                let mut pooled = b.matmul("rows", weights, x, false, *sum);
                if *shift > 0 {
                    pooled = b.rescale("row", pooled, *shift, *row);
                }
                match affine {
                    None => (pooled, *row),
                    Some(affine) => self.affine(affine, pooled, weights),
                }
            }
            (&PoolForm::Max { scale, bias, scaled, biased, shift, value, mask }, _) => {
                let d = self.compiler.size.hidden as u32;
                let limits = (mask, row_length(mask, self.tokens));
                let padding = self.pool_input(&format!("{name}mask"), self.tokens, InputRange::Mask, limits);
                let ones = self.pool_input(&format!("{name}ones"), d, InputRange::Symmetric, (1, row_length(1, d)));
                let b = &mut self.b;
                let values = b.scale_weight("scaled", x, scale, scaled);
                let values = b.add_weight("values.acc", values, bias, biased);
                let values = b.index("values", values, shift, 32, value);
                // Channels become the batch, then tokens the columns.
                let channels = b.split_heads("channels", values, d);
                let ones = b.split_heads("ones.channels", ones, d);
                let columns = b.matmul("columns", ones, channels, true, value);
                let masked = b.add("masked", columns, padding, value + f64::from(mask));
                let largest = b.row_max("largest", masked, value);
                (b.merge_heads("row", largest), value)
            }
            // A sum has weights; `TailPlan` makes no other pair.
            (PoolForm::Sum { .. }, PoolInput::Max(_)) => unreachable!("a sum without weights"),
        }
    }

    fn affine(&mut self, plan: &Affine, pooled: NodeId, weights: NodeId) -> (NodeId, f64) {
        let b = &mut self.b;
        let scaled = b.scale_weight("scaled", pooled, plan.scale, plan.scaled);
        let count = b.row_sum("count", weights, plan.count);
        let bias = b.matmul_weight("bias", count, plan.bias, plan.offset);
        let sum = b.add("values.acc", scaled, bias, plan.sum);
        match plan.shift {
            0 => (sum, plan.sum),
            shift => (b.rescale("values", sum, shift, plan.value), plan.value),
        }
    }

    fn pool_input(&mut self, name: &str, cols: u32, range: InputRange, (max_abs, max_row_norm): (u32, u32)) -> NodeId {
        let name = name.replace("pool.mask", "pool_mask");
        let shape = Shape::new(1, 1, cols);
        self.b.unprefixed_input(InputSpec { name, shape, bits: 32, range, max_abs, max_row_norm })
    }
}
