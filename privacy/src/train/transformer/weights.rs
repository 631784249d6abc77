//! An encoder's weights: as files have them, and as they are multiplied.

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

/// Positions of a layer's matrices.
pub(super) const QKV: usize = 0;
pub(super) const OUTPUT: usize = 1;
pub(super) const UP: usize = 2;
pub(super) const DOWN: usize = 3;

/// A layer as it is multiplied.
#[derive(Clone, Debug)]
pub(super) struct Layer {
    /// Queries, keys and values side by side; output; up; down: each `inputs × outputs`.
    pub matrices: [Vec<f32>; 4],
    /// What [`Small`] takes apart.
    pub small: Vec<f32>,
}

/// What a layer has beside matrices.
#[derive(Clone, Copy)]
pub(super) struct Small<'a> {
    pub qkv: &'a [f32],
    pub output: &'a [f32],
    pub attention_norm: (&'a [f32], &'a [f32]),
    pub up: &'a [f32],
    pub down: &'a [f32],
    pub output_norm: (&'a [f32], &'a [f32]),
}

impl<'a> Small<'a> {
    /// How many numbers.
    pub fn len(hidden: usize, inner: usize) -> usize {
        9 * hidden + inner
    }

    /// Of numbers one after the other.
    pub fn of(all: &'a [f32], d: usize, inner: usize) -> Self {
        let (qkv, rest) = all.split_at(3 * d);
        let (output, rest) = rest.split_at(d);
        let (gamma1, rest) = rest.split_at(d);
        let (beta1, rest) = rest.split_at(d);
        let (up, rest) = rest.split_at(inner);
        let (down, rest) = rest.split_at(d);
        let (gamma2, beta2) = rest.split_at(d);
        Self { qkv, output, attention_norm: (gamma1, beta1), up, down, output_norm: (gamma2, beta2) }
    }
}

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

    /// Inputs and outputs of a layer's matrices.
    pub(super) fn shapes(&self) -> [(usize, usize); 4] {
        let (d, inner) = (self.hidden, self.inner);
        [(d, 3 * d), (d, d), (d, inner), (inner, d)]
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

    /// A layer as it is multiplied.
    pub(super) fn layer(&self, index: usize) -> Layer {
        let (d, inner, layer) = (self.hidden, self.inner, &self.layers[index]);
        let mut qkv = vec![0.0; 3 * d * d];
        for (part, linear) in [&layer.query, &layer.key, &layer.value].into_iter().enumerate() {
            for (input, row) in qkv.chunks_exact_mut(3 * d).enumerate() {
                let column = linear.weight.iter().skip(input).step_by(d);
                row[part * d..(part + 1) * d].iter_mut().zip(column).for_each(|(to, &from)| *to = from);
            }
        }
        let small = [
            &layer.query.bias,
            &layer.key.bias,
            &layer.value.bias,
            &layer.output.bias,
            &layer.attention_norm.gamma,
            &layer.attention_norm.beta,
            &layer.up.bias,
            &layer.down.bias,
            &layer.output_norm.gamma,
            &layer.output_norm.beta,
        ];
        Layer {
            matrices: [
                qkv,
                transposed(&layer.output.weight, d),
                transposed(&layer.up.weight, d),
                transposed(&layer.down.weight, inner),
            ],
            small: small.into_iter().flatten().copied().collect(),
        }
    }

    /// The reverse of [`Weights::layer`].
    pub(super) fn take(&mut self, index: usize, layer: &Layer) {
        let (d, inner) = (self.hidden, self.inner);
        let small = Small::of(&layer.small, d, inner);
        let part = |part: usize| Linear {
            weight: (0..d)
                .flat_map(|out| layer.matrices[QKV].iter().skip(part * d + out).step_by(3 * d).copied())
                .collect(),
            bias: small.qkv[part * d..(part + 1) * d].to_vec(),
        };
        let linear = |matrix: usize, outputs: usize, bias: &[f32]| Linear {
            weight: transposed(&layer.matrices[matrix], outputs),
            bias: bias.to_vec(),
        };
        let norm = |(gamma, beta): (&[f32], &[f32])| Norm { gamma: gamma.to_vec(), beta: beta.to_vec() };
        self.layers[index] = LayerWeights {
            query: part(0),
            key: part(1),
            value: part(2),
            output: linear(OUTPUT, d, small.output),
            attention_norm: norm(small.attention_norm),
            up: linear(UP, inner, small.up),
            down: linear(DOWN, d, small.down),
            output_norm: norm(small.output_norm),
        };
    }
}

/// The transpose of a row-major matrix of so many columns.
pub(super) fn transposed(matrix: &[f32], columns: usize) -> Vec<f32> {
    let column = |column: usize| matrix.iter().skip(column).step_by(columns.max(1)).copied();
    (0..columns).flat_map(column).collect()
}
