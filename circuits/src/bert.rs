//! The compiler for encoders of BERT's kind: float weights to integers, with a proven bound for every tensor.
//!
//! Between layers flows the *normalised row* `x̂ = 2^13 · c / ‖c‖`, a centred row scaled to length 2^13. What a layer
//! norm does besides (gamma, beta, √d) and 1/√head folds into the weights that follow. Three more identities save
//! work and tighten bounds: a key bias shifts all scores of a row alike and falls out of the softmax; a value bias
//! passes through the softmax into the output bias; weights that follow a centred row may be centred over their
//! inputs, weights before a layer norm over their outputs. The row length being known, Cauchy-Schwarz and spectral
//! norms bound every tensor for every input (`plan.rs`), so nothing needs calibration and no value can overflow.

mod emit;
mod ffn;
mod fold;
mod plan;
mod pooled;
mod projection;
mod relative;
mod residual;
pub(crate) mod rows;
mod scale;
mod tables;
mod tail;

use crate::frontend::{Compiled, longest_bucket};
use crate::graph::{Graph, WeightSpec};
use crate::hf::{CompileError, Parameters};
use crate::weights::Weights;
use plan::LayerPlan;

/// Choices of the compiler; the defaults are what a model is compiled with.
#[derive(Clone, Debug)]
pub struct CompileOptions {
    /// Fractional bits of the GELU's index: steps of `2^-n`.
    pub gelu_fraction: u8,
    /// How many fourths of an octave coarser a step may be to spare a channel a wider index.
    pub gelu_stretch: u8,
    /// Fractional bits of the softmax's scores.
    pub score_fraction: u8,
    /// Index width of the softmax's exponential; beyond it an attention weight is 0.
    pub exp_bits: u8,
    /// Shift after the query, key and value products; larger keeps more bits of the weights.
    pub projection_shift: u8,
}

impl Default for CompileOptions {
    fn default() -> Self {
        Self { gelu_fraction: 3, gelu_stretch: 2, score_fraction: 2, exp_bits: 5, projection_shift: 12 }
    }
}

/// Everything about a model that does not depend on the sequence length.
pub(crate) struct Compiler {
    name: String,
    specs: Vec<WeightSpec>,
    pub(crate) weights: Weights,
    root: [u8; 32],
    options: CompileOptions,
    layers: Vec<LayerPlan>,
    relative: Option<relative::RelativePlan>,
    tail: tail::TailPlan,
    scores: plan::ScoreRange,
    size: Size,
}

/// Dimensions of a model.
#[derive(Clone, Copy)]
pub(crate) struct Size {
    pub hidden: usize,
    pub heads: usize,
    /// The longest padded length.
    pub longest: u32,
}

impl Compiler {
    pub(crate) fn new(
        name: &str,
        parameters: &Parameters,
        options: CompileOptions,
        progress: &mut dyn FnMut(&str),
    ) -> Result<Self, CompileError> {
        let encoder = &parameters.encoder;
        let dimensions = &encoder.dimensions;
        let longest = longest_bucket(parameters.text.max_tokens);
        let size = Size { hidden: dimensions.hidden, heads: dimensions.heads, longest };
        let mut weights = projection::WeightList::default();
        let mut layers = Vec::new();
        let mut before = &encoder.embedding_norm;
        for (index, layer) in encoder.layers.iter().enumerate() {
            progress(&format!("compiling layer {} of {}", index + 1, encoder.layers.len()));
            let kind = (size, dimensions.activation);
            layers.push(LayerPlan::new(index, layer, before, kind, &options, &mut weights)?);
            before = &layer.output_norm;
        }
        let relative = match &encoder.relative {
            None => None,
            Some(bias) => Some(relative::RelativePlan::new(bias, size.heads, longest, &mut weights)?),
        };
        let tail = tail::TailPlan::new(&parameters.tail, before, size, &options, &mut weights)?;
        let scores = plan::ScoreRange::new(&layers, relative.as_ref().map_or(0.0, |r| r.bound), &options)?;
        progress("committing to the weights");
        let projection::WeightList { specs, tensors } = weights;
        let weights = Weights { tensors };
        let root = weights.root(&specs);
        Ok(Self { name: name.to_owned(), specs, weights, root, options, layers, relative, tail, scores, size })
    }

    /// What the frontend must know: the mask of a padding key in score steps, the poolings, the meaning of the output.
    pub(crate) fn compiled(&self) -> Compiled {
        Compiled {
            mask: self.scores.mask,
            relative: self.relative.as_ref().map(|relative| relative.width),
            pools: self.tail.inputs(),
            output: self.tail.output.clone(),
        }
    }

    /// The graph for one padded length.
    pub(crate) fn graph(&self, tokens: u32) -> Result<Graph, CompileError> {
        let graph = emit::graph(self, tokens)?;
        graph.check()?;
        Ok(graph)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_are_stated() {
        let options = CompileOptions::default();
        assert_eq!((options.gelu_fraction, options.score_fraction, options.exp_bits), (3, 2, 5));
    }
}
