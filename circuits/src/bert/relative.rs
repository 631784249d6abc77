//! A bias of the attention scores by distance: one weight matrix, from which a row chosen by the query's place and the
//! columns of each head are taken. The place is one-hot, so the largest bias bounds what is added.

use super::projection::WeightList;
use super::scale::{KEY_FRACTION, QUERY_FRACTION};
use crate::graph::WeightId;
use crate::hf::{CompileError, RelativeBias};

pub(super) struct RelativePlan {
    /// `width × (heads · width)`: row is the query's place, then for each head one column a key.
    pub weight: WeightId,
    pub width: u32,
    pub bound: f64,
}

impl RelativePlan {
    pub(super) fn new(
        bias: &RelativeBias,
        heads: usize,
        width: u32,
        weights: &mut WeightList,
    ) -> Result<Self, CompileError> {
        let unit = 2f64.powi(QUERY_FRACTION + KEY_FRACTION);
        let ints: Vec<f64> = bias.table.iter().map(|&b| (f64::from(b) * unit).round()).collect();
        let bound = ints.iter().fold(0.0, |m: f64, b| m.max(b.abs()));
        if bound >= 2f64.powi(30) {
            let problem = format!("the bias reaches {:.0}", bound / unit);
            return Err(CompileError::Range { what: "the attention's distances".into(), problem });
        }
        let n = width as usize;
        let mut tensor = Vec::with_capacity(n * n * heads);
        for query in 0..n as i64 {
            for head in 0..heads {
                tensor.extend((0..n as i64).map(|key| ints[bias.bucket(key - query) * heads + head] as i32));
            }
        }
        let weight = weights.push("attention.distance_bias".into(), n, heads * n, tensor);
        Ok(Self { weight, width, bound })
    }
}
