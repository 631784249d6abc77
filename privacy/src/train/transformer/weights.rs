//! An encoder's weights: as files have them.

/// A linear layer as it is stored.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Linear {
    /// `outputs × inputs`, row-major.
    pub weight: Vec<f32>,
    /// A number for each output.
    pub bias: Vec<f32>,
}

/// A layer norm.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Norm {
    /// What normalized numbers are multiplied by.
    pub gamma: Vec<f32>,
    /// What is added then.
    pub beta: Vec<f32>,
}

/// One layer of an encoder, with norms after the sums, as BERT has them.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct LayerWeights {
    /// Queries.
    pub query: Linear,
    /// Keys.
    pub key: Linear,
    /// Values.
    pub value: Linear,
    /// After attention.
    pub output: Linear,
    /// After the sum with what attention was given.
    pub attention_norm: Norm,
    /// Before GELU.
    pub up: Linear,
    /// After it.
    pub down: Linear,
    /// After the sum with what `up` was given.
    pub output_norm: Norm,
}

/// An encoder of BERT's form: embeddings, layers, and the layer that a classifier reads the first token through.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Weights {
    /// Numbers of a token.
    pub hidden: usize,
    /// Heads of attention.
    pub heads: usize,
    /// Numbers between `up` and `down`.
    pub inner: usize,
    /// Added to variances.
    pub epsilon: f32,
    /// `vocabulary × hidden`.
    pub words: Vec<f32>,
    /// `places × hidden`.
    pub positions: Vec<f32>,
    /// `types × hidden`, of which the first is added to every token.
    pub segments: Vec<f32>,
    /// After the sum of embeddings.
    pub embedding_norm: Norm,
    /// The layers.
    pub layers: Vec<LayerWeights>,
    /// Before a classifier, with a hyperbolic tangent after it; none if there is none.
    pub pooler: Option<Linear>,
}

/// Sizes of an encoder.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sizes {
    /// Numbers of a token.
    pub hidden: usize,
    /// Heads of attention.
    pub heads: usize,
    /// Numbers between `up` and `down`.
    pub inner: usize,
    /// Layers.
    pub layers: usize,
    /// Tokens to choose from.
    pub vocabulary: usize,
    /// Most tokens of a text.
    pub places: usize,
    /// Token types.
    pub types: usize,
    /// Added to variances.
    pub epsilon: f32,
    /// Whether it has a pooler.
    pub pooler: bool,
}

/// Weights are none that can be trained.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WeightsError {
    /// Something has not the size that it should.
    #[error("{what} has {found} numbers, and {expected} belong there")]
    Size {
        /// What it is.
        what: String,
        /// What it has.
        found: usize,
        /// What it should have.
        expected: usize,
    },
    /// A size that is not supported.
    #[error(
        "{0}: a model that is trained here has layers, heads that share its width evenly, widths up to {MOST_WIDTH}, and at \
         most {MOST_PLACES} places"
    )]
    Unsupported(String),
}

/// Greatest width of a model.
const MOST_WIDTH: usize = 16_384;
/// Most tokens of a text.
pub(super) const MOST_PLACES: usize = 512;

impl Weights {
    /// Of these sizes, all 0.
    pub fn empty(sizes: &Sizes) -> Self {
        let (d, inner) = (sizes.hidden, sizes.inner);
        let norm = || Norm { gamma: vec![0.0; d], beta: vec![0.0; d] };
        let linear = |inputs, outputs| Linear { weight: vec![0.0; inputs * outputs], bias: vec![0.0; outputs] };
        let layer = || LayerWeights {
            query: linear(d, d),
            key: linear(d, d),
            value: linear(d, d),
            output: linear(d, d),
            attention_norm: norm(),
            up: linear(d, inner),
            down: linear(inner, d),
            output_norm: norm(),
        };
        Self {
            hidden: d,
            heads: sizes.heads,
            inner,
            epsilon: sizes.epsilon,
            words: vec![0.0; sizes.vocabulary * d],
            positions: vec![0.0; sizes.places * d],
            segments: vec![0.0; sizes.types * d],
            embedding_norm: norm(),
            layers: std::iter::repeat_with(layer).take(sizes.layers).collect(),
            pooler: sizes.pooler.then(|| linear(d, d)),
        }
    }

    /// Most tokens of a text.
    pub fn places(&self) -> usize {
        self.positions.len() / self.hidden.max(1)
    }

    /// How many tokens there are to choose from.
    pub fn vocabulary(&self) -> usize {
        self.words.len() / self.hidden.max(1)
    }

    /// Whether everything has its size.
    ///
    /// # Errors
    /// When something has not.
    pub fn check(&self) -> Result<(), WeightsError> {
        let (d, inner) = (self.hidden, self.inner);
        let wide = |width: usize| width > 0 && width <= MOST_WIDTH;
        if !wide(d) || !wide(inner) || self.heads == 0 || d % self.heads != 0 || self.layers.is_empty() {
            let (layers, heads) = (self.layers.len(), self.heads);
            let said = format!("{layers} layers of width {d}, {heads} heads, {inner} inner numbers");
            return Err(WeightsError::Unsupported(said));
        }
        if self.places() > MOST_PLACES || self.places() == 0 || self.vocabulary() == 0 {
            let said = format!("{} places and a vocabulary of {}", self.places(), self.vocabulary());
            return Err(WeightsError::Unsupported(said));
        }
        let size = |what: &str, values: &[f32], expected: usize| match values.len() {
            found if found == expected => Ok(()),
            found => Err(WeightsError::Size { what: what.to_owned(), found, expected }),
        };
        let norm = |what: &str, norm: &Norm| size(what, &norm.gamma, d).and(size(what, &norm.beta, d));
        let linear = |what: &str, linear: &Linear, inputs: usize, outputs: usize| {
            size(what, &linear.weight, inputs * outputs).and(size(what, &linear.bias, outputs))
        };
        size("the table of words", &self.words, self.vocabulary() * d)?;
        size("the table of positions", &self.positions, self.places() * d)?;
        let types = self.segments.len() / d;
        size("the table of token types", &self.segments, types.max(1) * d)?;
        norm("the norm of embeddings", &self.embedding_norm)?;
        for layer in &self.layers {
            linear("a query", &layer.query, d, d)?;
            linear("a key", &layer.key, d, d)?;
            linear("a value", &layer.value, d, d)?;
            linear("an attention's output", &layer.output, d, d)?;
            norm("an attention's norm", &layer.attention_norm)?;
            linear("an intermediate layer", &layer.up, d, inner)?;
            linear("an output", &layer.down, inner, d)?;
            norm("an output's norm", &layer.output_norm)?;
        }
        self.pooler.as_ref().map_or(Ok(()), |pooler| linear("the pooler", pooler, d, d))
    }
}
