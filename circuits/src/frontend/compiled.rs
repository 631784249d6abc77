//! The frontend of a model that was just compiled: the folder's tables as integers, and what the compiler adds.

use super::settings::Column;
use super::{Frontend, Output, PoolInput};
use crate::hf::Parameters;

/// What the compiler tells the frontend.
pub(crate) struct Compiled {
    pub mask: u32,
    pub relative: Option<u32>,
    pub pools: Vec<PoolInput>,
    pub output: Output,
}

impl Frontend {
    /// Of a model that reads rows.
    pub(crate) fn of_rows(columns: Vec<Column>, output: Output) -> Self {
        super::stored::rows(columns, output)
    }

    pub(crate) fn new(p: Parameters, compiled: Compiled) -> Self {
        let encoder = p.encoder;
        let tables = [&encoder.words, &encoder.positions, &encoder.segments];
        let largest = tables.iter().flat_map(|t| t.iter()).fold(0f32, |m, x| m.max(x.abs()));
        // As many fractional bits as fit 16-bit words; the first norm removes the scale again.
        let fraction = (0..=20).rev().find(|&f| f64::from(largest) * 2f64.powi(f) < 32767.0).unwrap_or(0);
        let ints = |t: &[f32]| t.iter().map(|&x| (f64::from(x) * 2f64.powi(fraction)).round() as i16).collect();
        Self {
            rows: None,
            tokenizer: p.tokenizer,
            tokenizer_json: p.tokenizer_json,
            hidden: encoder.dimensions.hidden,
            text: p.text,
            position_rule: encoder.position_rule,
            mask: compiled.mask,
            relative: compiled.relative,
            pools: compiled.pools,
            output: compiled.output,
            words: ints(&encoder.words),
            positions: ints(&encoder.positions),
            segments: ints(&encoder.segments),
        }
    }
}
