//! The float model: the same folder in f32 through candle, as its authors' library computes it. The yardstick for
//! quality.

use crate::frontend::rows;
use crate::frontend::settings::{Activation, Column};
use crate::frontend::{Answer, Compiled, Divisor, EncodeError, Frontend, Output};
use crate::hf::{CompileError, Dense, Finish, Linear, Norm, Parameters, Pool, RelativeBias, Table};
use candle_core::{D, Device, Tensor};
use std::path::Path;

/// Why a text could not be embedded in floating point.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FloatError {
    /// The text was refused.
    #[error(transparent)]
    Encode(#[from] EncodeError),
    /// A tensor operation failed.
    #[error("the float model failed: {0}")]
    Candle(#[from] candle_core::Error),
}

type Result<T, E = candle_core::Error> = std::result::Result<T, E>;

/// The original model: an encoder and everything around it, or the linear layers of a classifier of rows.
pub struct FloatModel(Kind);

enum Kind {
    Text(Box<FloatText>),
    Rows { columns: Vec<Column>, dense: Vec<(FloatLinear, Activation)> },
}

/// An encoder with f32 weights and everything around it.
struct FloatText {
    frontend: Frontend,
    words: Tensor,
    positions: Tensor,
    segments: Option<Tensor>,
    embedding_norm: LayerNorm,
    layers: Vec<FloatLayer>,
    relative: Option<RelativeBias>,
    heads: usize,
    pools: Vec<Pool>,
    unit: bool,
    dense: Vec<(FloatLinear, Activation)>,
    normalize: bool,
}

struct FloatLinear {
    weight: Tensor,
    bias: Tensor,
}

struct LayerNorm {
    gamma: Tensor,
    beta: Tensor,
    eps: f64,
}

struct FloatLayer {
    query: FloatLinear,
    key: FloatLinear,
    value: FloatLinear,
    output: FloatLinear,
    attention_norm: LayerNorm,
    up: FloatLinear,
    activation: Activation,
    down: FloatLinear,
    output_norm: LayerNorm,
}

impl FloatModel {
    /// Loads a Hugging Face folder, or one of a classifier of rows.
    ///
    /// # Errors
    /// Whatever [`crate::model::CompiledModel::compile`] refuses by name.
    pub fn load(folder: &Path) -> Result<Self, CompileError> {
        let failed = |e: candle_core::Error| CompileError::Weights { path: folder.to_owned(), problem: e.to_string() };
        if let Some(table) = Table::of(folder)? {
            let dense = table.dense.iter().map(float_layer).collect::<Result<_>>().map_err(failed)?;
            return Ok(Self(Kind::Rows { columns: table.columns, dense }));
        }
        let text = FloatText::build(Parameters::read(folder)?).map_err(failed)?;
        Ok(Self(Kind::Text(Box::new(text))))
    }

    /// The answer for a text with the default prompt: its embedding, or the outputs of a classifier.
    ///
    /// # Errors
    /// If the text is refused by [`Frontend::encode`].
    pub fn embed(&self, text: &str) -> Result<Vec<f32>, FloatError> {
        self.embed_prompted(text, None)
    }

    /// [`FloatModel::embed`] with a prompt by name.
    ///
    /// # Errors
    /// As for [`Frontend::encode_prompted`].
    pub fn embed_prompted(&self, text: &str, prompt: Option<&str>) -> Result<Vec<f32>, FloatError> {
        match (&self.0, prompt) {
            (Kind::Text(model), _) => {
                let (encoding, skip) = model.frontend.tokenized(text, prompt)?;
                Ok(model.forward(&encoding, skip)?)
            }
            (Kind::Rows { .. }, Some(_)) => Err(EncodeError::NoText("prompt").into()),
            (Kind::Rows { columns, dense }, None) => {
                let row = rows::values(columns, text)?;
                let row = Tensor::from_slice(&row, (1, row.len()), &Device::Cpu)?;
                Ok(layered(dense, row)?.squeeze(0)?.to_vec1()?)
            }
        }
    }

    /// The answer for two texts that belong together.
    ///
    /// # Errors
    /// As for [`Frontend::encode_pair`].
    pub fn embed_pair(&self, text: &str, pair: &str) -> Result<Vec<f32>, FloatError> {
        match &self.0 {
            Kind::Text(model) => Ok(model.forward(&model.frontend.tokenized_pair(text, pair)?, 0)?),
            Kind::Rows { .. } => Err(EncodeError::NoText("second part").into()),
        }
    }
}

impl FloatText {
    fn build(p: Parameters) -> Result<Self> {
        let encoder = &p.encoder;
        let (d, eps, activation) =
            (encoder.dimensions.hidden, encoder.dimensions.norm_eps, encoder.dimensions.activation);
        let layer = |l: &crate::hf::Layer| {
            Ok(FloatLayer {
                query: FloatLinear::new(&l.query)?,
                key: FloatLinear::new(&l.key)?,
                value: FloatLinear::new(&l.value)?,
                output: FloatLinear::new(&l.output)?,
                attention_norm: LayerNorm::new(&l.attention_norm, eps)?,
                up: FloatLinear::new(&l.up)?,
                activation,
                down: FloatLinear::new(&l.down)?,
                output_norm: LayerNorm::new(&l.output_norm, eps)?,
            })
        };
        let table = |t: &[f32]| Tensor::from_slice(t, (t.len() / d, d), &Device::Cpu);
        Ok(Self {
            words: table(&encoder.words)?,
            positions: table(&encoder.positions)?,
            segments: if encoder.segments.is_empty() { None } else { Some(table(&encoder.segments)?) },
            embedding_norm: LayerNorm::new(&encoder.embedding_norm, eps)?,
            layers: encoder.layers.iter().map(layer).collect::<Result<_>>()?,
            relative: encoder.relative.clone(),
            heads: encoder.dimensions.heads,
            pools: p.tail.pools.clone(),
            unit: p.tail.unit,
            dense: p.tail.dense.iter().map(float_layer).collect::<Result<_>>()?,
            normalize: matches!(p.tail.finish, Finish::Embedding { normalize: true }),
            frontend: tokenizing(p),
        })
    }

    fn forward(&self, encoding: &tokenizers::Encoding, skip: usize) -> Result<Vec<f32>> {
        let ids = encoding.get_ids();
        let n = ids.len();
        let index = |rows: &[u32]| Tensor::from_slice(rows, rows.len(), &Device::Cpu);
        let places: Vec<u32> = self.frontend.position_rule().rows(ids).into_iter().map(|row| row as u32).collect();
        let mut x = self.words.index_select(&index(ids)?, 0)?;
        if let Some(segments) = &self.segments {
            x = (x + segments.index_select(&index(&self.frontend.token_types(encoding))?, 0)?)?;
        }
        let x = (x + self.positions.index_select(&index(&places)?, 0)?)?;
        let mut x = self.embedding_norm.forward(&x)?;
        let bias = self.relative.as_ref().map(|bias| bias.scores(n, self.heads)).transpose()?;
        for layer in &self.layers {
            x = layer.forward(&x, self.heads, bias.as_ref())?;
        }
        let pooled = self.pools.iter().map(|pool| pool.forward(&x, skip.min(n - 1))).collect::<Result<Vec<_>>>()?;
        let mut out = Tensor::cat(&pooled, 0)?.unsqueeze(0)?;
        if self.unit {
            out = unit_length(&out)?;
        }
        let out = layered(&self.dense, out)?.squeeze(0)?;
        if !self.normalize {
            return out.to_vec1();
        }
        unit_length(&out)?.to_vec1()
    }
}

fn float_layer(layer: &Dense) -> Result<(FloatLinear, Activation)> {
    Ok((FloatLinear::new(&layer.linear)?, layer.activation))
}

/// Linear layers and their functions.
fn layered(layers: &[(FloatLinear, Activation)], mut x: Tensor) -> Result<Tensor> {
    for (layer, activation) in layers {
        x = activation.forward(&layer.forward(&x)?)?;
    }
    Ok(x)
}

fn unit_length(x: &Tensor) -> Result<Tensor> {
    x.broadcast_div(&x.sqr()?.sum_all()?.sqrt()?)
}

/// The tokenizer's part alone.
pub(crate) fn tokenizing(p: Parameters) -> Frontend {
    let answer = Answer::Vector { normalize: false };
    let output = Output { width: 1, scale: 1.0, divisor: Divisor::One, activation: Activation::Identity, answer };
    let (mut p, compiled) = (p, Compiled { mask: 0, relative: None, pools: Vec::new(), output });
    let encoder = &mut p.encoder;
    (encoder.words, encoder.positions, encoder.segments) = (Vec::new(), Vec::new(), Vec::new());
    Frontend::new(p, compiled)
}

impl Pool {
    /// One row of a `tokens × channels` tensor, without its first `skip` tokens.
    fn forward(self, x: &Tensor, skip: usize) -> Result<Tensor> {
        let n = x.dim(0)?;
        let x = x.narrow(0, skip, n - skip)?;
        let count = n - skip;
        match self {
            Self::Cls => x.get(0),
            Self::LastToken => x.get(count - 1),
            Self::Max => x.max(0),
            Self::Mean => x.mean(0),
            Self::MeanSqrt => x.sum(0)? / (count as f64).sqrt(),
            Self::WeightedMean => {
                let weights: Vec<f32> = (skip..n).map(|place| (place + 1) as f32).collect();
                let total: f32 = weights.iter().sum();
                let weights = Tensor::from_slice(&weights, (count, 1), &Device::Cpu)?;
                x.broadcast_mul(&weights)?.sum(0)? / f64::from(total)
            }
        }
    }
}

impl Activation {
    fn forward(self, x: &Tensor) -> Result<Tensor> {
        match self {
            Self::Identity => Ok(x.clone()),
            Self::Gelu => x.gelu_erf(),
            Self::GeluTanh => x.gelu(),
            Self::Relu => x.relu(),
            Self::Tanh => x.tanh(),
        }
    }
}

impl RelativeBias {
    /// `heads × tokens × tokens`.
    fn scores(&self, tokens: usize, heads: usize) -> Result<Tensor> {
        let mut values = Vec::with_capacity(heads * tokens * tokens);
        for head in 0..heads {
            for query in 0..tokens as i64 {
                values.extend((0..tokens as i64).map(|key| self.table[self.bucket(key - query) * heads + head]));
            }
        }
        Tensor::from_vec(values, (heads, tokens, tokens), &Device::Cpu)
    }
}

impl FloatLinear {
    fn new(linear: &Linear) -> Result<Self> {
        let weight = Tensor::from_slice(&linear.weight, (linear.outputs, linear.inputs), &Device::Cpu)?;
        Ok(Self {
            weight: weight.t()?.contiguous()?,
            bias: Tensor::from_slice(&linear.bias, linear.outputs, &Device::Cpu)?,
        })
    }

    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        x.matmul(&self.weight)?.broadcast_add(&self.bias)
    }
}

impl LayerNorm {
    fn new(norm: &Norm, eps: f64) -> Result<Self> {
        let vector = |v: &[f32]| Tensor::from_slice(v, v.len(), &Device::Cpu);
        Ok(Self { gamma: vector(&norm.gamma)?, beta: vector(&norm.beta)?, eps })
    }

    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let centred = x.broadcast_sub(&x.mean_keepdim(D::Minus1)?)?;
        let deviation = (centred.sqr()?.mean_keepdim(D::Minus1)? + self.eps)?.sqrt()?;
        centred.broadcast_div(&deviation)?.broadcast_mul(&self.gamma)?.broadcast_add(&self.beta)
    }
}

/// Over the last dimension.
fn softmax(x: &Tensor) -> Result<Tensor> {
    let powers = x.broadcast_sub(&x.max_keepdim(D::Minus1)?)?.exp()?;
    powers.broadcast_div(&powers.sum_keepdim(D::Minus1)?)
}

impl FloatLayer {
    fn forward(&self, x: &Tensor, heads: usize, bias: Option<&Tensor>) -> Result<Tensor> {
        let (tokens, d) = x.dims2()?;
        let split = |t: Tensor| t.reshape((tokens, heads, d / heads))?.transpose(0, 1)?.contiguous();
        let query = split(self.query.forward(x)?)?;
        let key = split(self.key.forward(x)?)?;
        let value = split(self.value.forward(x)?)?;
        let mut scores = (query.matmul(&key.transpose(1, 2)?.contiguous()?)? / ((d / heads) as f64).sqrt())?;
        if let Some(bias) = bias {
            scores = (scores + bias)?;
        }
        let context = softmax(&scores)?.matmul(&value)?;
        let context = context.transpose(0, 1)?.contiguous()?.reshape((tokens, d))?;
        let x = self.attention_norm.forward(&(x + self.output.forward(&context)?)?)?;
        let hidden = self.activation.forward(&self.up.forward(&x)?)?;
        self.output_norm.forward(&(&x + self.down.forward(&hidden)?)?)
    }
}
