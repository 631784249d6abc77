//! Where each trained tensor lies among the parameters.
//!
//! First come those whose gradient is made for each example; then the matrices, of which only the norms of examples' gradients
//! are known. Each is `inputs × outputs`.

use std::ops::Range;

use super::weights::{Small, Weights};

/// What is trained beside the classifier's own layer.
#[derive(Clone, Debug, PartialEq)]
pub enum Tuning {
    /// Low-rank additions to matrices of attention (LoRA: Hu et al., 2021); all else stays as it is.
    Adapters(Adapters),
    /// Everything but the tables of embeddings, which stay as they are.
    All,
}

/// Low-rank additions: `W + (alpha / rank)·A·B`, of which `B` begins at 0.
#[derive(Clone, Debug, PartialEq)]
pub struct Adapters {
    /// Columns of `A` and rows of `B`.
    pub rank: usize,
    /// What the product is multiplied by, times the rank.
    pub alpha: f32,
    /// What is added to, each once and in order.
    pub targets: Vec<Target>,
}

/// A matrix of attention.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Target {
    /// That of queries.
    Query,
    /// That of keys.
    Key,
    /// That of values.
    Value,
}

impl Target {
    /// As Hugging Face calls it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Query => "query",
            Self::Key => "key",
            Self::Value => "value",
        }
    }
}

impl Adapters {
    pub(super) fn scale(&self) -> f32 {
        self.alpha / self.rank as f32
    }

    /// Columns of all targets' `A` side by side.
    pub(super) fn columns(&self) -> usize {
        self.rank * self.targets.len()
    }
}

/// Sizes from which all places follow.
#[derive(Clone, Debug)]
pub(super) struct Layout {
    pub hidden: usize,
    pub inner: usize,
    pub layers: usize,
    pub classes: usize,
    /// Whether the classifier reads through the pooler.
    pub pooled: bool,
    /// Columns of adapters; none if everything is trained.
    pub columns: Option<usize>,
    pub shapes: [(usize, usize); 4],
}

impl Layout {
    pub fn new(weights: &Weights, classes: usize, pooled: bool, tuning: &Tuning) -> Self {
        let columns = match tuning {
            Tuning::Adapters(adapters) => Some(adapters.columns()),
            Tuning::All => None,
        };
        let (hidden, inner, layers) = (weights.hidden, weights.inner, weights.layers.len());
        Self { hidden, inner, layers, classes, pooled, columns, shapes: weights.shapes() }
    }

    /// The classifier's weights, and its bias after them.
    pub fn head(&self) -> Range<usize> {
        0..(self.hidden + 1) * self.classes
    }

    /// Gamma and beta of the norm of embeddings; of everything.
    pub fn embedding_norm(&self) -> Range<usize> {
        after(self.head().end, 2 * self.hidden)
    }

    /// The pooler's bias; of everything.
    pub fn pooler_bias(&self) -> Range<usize> {
        after(self.embedding_norm().end, if self.pooled { self.hidden } else { 0 })
    }

    /// What [`Small`] takes apart; of everything.
    pub fn small(&self, layer: usize) -> Range<usize> {
        let each = Small::len(self.hidden, self.inner);
        after(self.pooler_bias().end + layer * each, each)
    }

    /// All `A` of a layer side by side, `hidden × columns`, and all `B` one after the other, `columns × hidden`.
    pub fn adapters(&self, layer: usize) -> (Range<usize>, Range<usize>) {
        let each = self.hidden * self.columns.unwrap_or(0);
        let a = after(self.head().end + 2 * layer * each, each);
        (a.clone(), after(a.end, each))
    }

    /// How many have gradients that are made for each example.
    pub fn direct(&self) -> usize {
        match self.columns {
            Some(_) => self.adapters(self.layers).0.start,
            None => self.small(self.layers).start,
        }
    }

    /// The pooler's weights; of everything.
    pub fn pooler(&self) -> Range<usize> {
        after(self.direct(), if self.pooled { self.hidden * self.hidden } else { 0 })
    }

    /// A layer's matrix; of everything.
    pub fn matrix(&self, layer: usize, matrix: usize) -> Range<usize> {
        let size = |(inputs, outputs): &(usize, usize)| inputs * outputs;
        let each: usize = self.shapes.iter().map(size).sum();
        let before: usize = self.shapes[..matrix].iter().map(size).sum();
        after(self.pooler().end + layer * each + before, self.shapes.get(matrix).map_or(0, size))
    }

    /// All parameters.
    pub fn parameters(&self) -> usize {
        match self.columns {
            Some(_) => self.direct(),
            None => self.matrix(self.layers, 0).start,
        }
    }
}

fn after(begin: usize, size: usize) -> Range<usize> {
    begin..begin + size
}
