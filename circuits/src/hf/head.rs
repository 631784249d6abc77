//! What follows an encoder: pools, linear layers, and an embedding or a classifier's scores.

use super::Linear;
use crate::frontend::settings::{Activation, Label, LabelFunction};

/// A classifier's labels, and what makes scores of its outputs.
#[derive(Clone, Debug)]
pub(crate) struct Head {
    pub labels: Vec<Label>,
    /// What transformers' text-classification applies.
    pub function: LabelFunction,
    /// What sentence-transformers' cross-encoder applies.
    pub relevance: LabelFunction,
}

/// How token vectors become one vector.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pool {
    /// The first token's.
    Cls,
    /// The largest value of each channel.
    Max,
    Mean,
    /// The sum divided by the root of the number of tokens.
    MeanSqrt,
    /// Weighted by the place, from 1.
    WeightedMean,
    LastToken,
}

/// A linear layer and the function after it.
#[derive(Clone, Debug)]
pub(crate) struct Dense {
    pub linear: Linear,
    pub activation: Activation,
}

impl Dense {
    pub(crate) fn new(linear: Linear, activation: Activation) -> Self {
        Self { linear, activation }
    }
}

/// What the last linear layer's result is.
#[derive(Clone, Debug)]
pub(crate) enum Finish {
    Embedding { normalize: bool },
    Labels(Head),
}

/// From token vectors to the answer.
#[derive(Clone, Debug)]
pub(crate) struct Tail {
    /// Side by side.
    pub pools: Vec<Pool>,
    /// Whether the pooled row is brought to unit length before the linear layers.
    pub unit: bool,
    pub dense: Vec<Dense>,
    pub finish: Finish,
}
