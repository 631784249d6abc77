//! The float model: BERT in f32 through candle, exact GELU, mean pooling, unit length. The yardstick for quality.

use crate::hf::{CompileError, Linear, Norm, Parameters, read, tokenizer};
use candle_core::{D, Device, Tensor};
use std::path::Path;

/// Why a text could not be embedded in floating point.
#[derive(Debug, thiserror::Error)]
pub enum FloatError {
    /// The tokenizer refused the text.
    #[error("cannot tokenize the text: {0}")]
    Tokenizer(String),
    /// A tensor operation failed.
    #[error("the float model failed: {0}")]
    Candle(#[from] candle_core::Error),
}

/// A BERT encoder with f32 weights.
pub struct FloatModel {
    tokenizer: tokenizers::Tokenizer,
    words: Tensor,
    positions: Tensor,
    token_type: Tensor,
    embedding_norm: LayerNorm,
    layers: Vec<FloatLayer>,
    heads: usize,
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
    down: FloatLinear,
    output_norm: LayerNorm,
}

impl FloatModel {
    /// Loads a Hugging Face folder.
    pub fn load(folder: &Path) -> Result<Self, CompileError> {
        let parameters = Parameters::read(folder)?;
        let path = folder.join("tokenizer.json");
        let max_tokens = crate::frontend::max_tokens(parameters.config.max_position_embeddings);
        let tokenizer = tokenizer(&path, &read(&path)?, max_tokens)?;
        Self::build(&parameters, tokenizer)
            .map_err(|e| CompileError::Weights { path: folder.join("model.safetensors"), problem: e.to_string() })
    }

    fn build(p: &Parameters, tokenizer: tokenizers::Tokenizer) -> Result<Self, candle_core::Error> {
        let (d, eps) = (p.config.hidden_size, p.config.layer_norm_eps);
        let layer = |l: &crate::hf::Layer| {
            Ok(FloatLayer {
                query: FloatLinear::new(&l.query)?,
                key: FloatLinear::new(&l.key)?,
                value: FloatLinear::new(&l.value)?,
                output: FloatLinear::new(&l.output)?,
                attention_norm: LayerNorm::new(&l.attention_norm, eps)?,
                up: FloatLinear::new(&l.up)?,
                down: FloatLinear::new(&l.down)?,
                output_norm: LayerNorm::new(&l.output_norm, eps)?,
            })
        };
        Ok(Self {
            tokenizer,
            words: Tensor::from_slice(&p.words, (p.words.len() / d, d), &Device::Cpu)?,
            positions: Tensor::from_slice(&p.positions, (p.positions.len() / d, d), &Device::Cpu)?,
            token_type: Tensor::from_slice(&p.token_type, d, &Device::Cpu)?,
            embedding_norm: LayerNorm::new(&p.embedding_norm, eps)?,
            layers: p.layers.iter().map(layer).collect::<Result<_, candle_core::Error>>()?,
            heads: p.config.num_attention_heads,
        })
    }

    /// The embedding of a text, of unit length.
    pub fn embed(&self, text: &str) -> Result<Vec<f32>, FloatError> {
        let encoding = self.tokenizer.encode(text, true).map_err(|e| FloatError::Tokenizer(e.to_string()))?;
        Ok(self.forward(encoding.get_ids())?)
    }

    fn forward(&self, ids: &[u32]) -> Result<Vec<f32>, candle_core::Error> {
        let tokens = Tensor::from_slice(ids, ids.len(), &Device::Cpu)?;
        let x = self.words.index_select(&tokens, 0)?.add(&self.positions.narrow(0, 0, ids.len())?)?;
        let mut x = self.embedding_norm.forward(&x.broadcast_add(&self.token_type)?)?;
        for layer in &self.layers {
            x = layer.forward(&x, self.heads)?;
        }
        let pooled = x.mean(0)?;
        let length = pooled.sqr()?.sum_all()?.sqrt()?;
        pooled.broadcast_div(&length)?.to_vec1()
    }
}

impl FloatLinear {
    fn new(linear: &Linear) -> Result<Self, candle_core::Error> {
        let weight = Tensor::from_slice(&linear.weight, (linear.outputs, linear.inputs), &Device::Cpu)?;
        Ok(Self {
            weight: weight.t()?.contiguous()?,
            bias: Tensor::from_slice(&linear.bias, linear.outputs, &Device::Cpu)?,
        })
    }

    fn forward(&self, x: &Tensor) -> Result<Tensor, candle_core::Error> {
        x.matmul(&self.weight)?.broadcast_add(&self.bias)
    }
}

impl LayerNorm {
    fn new(norm: &Norm, eps: f64) -> Result<Self, candle_core::Error> {
        let vector = |v: &[f32]| Tensor::from_slice(v, v.len(), &Device::Cpu);
        Ok(Self { gamma: vector(&norm.gamma)?, beta: vector(&norm.beta)?, eps })
    }

    fn forward(&self, x: &Tensor) -> Result<Tensor, candle_core::Error> {
        let centred = x.broadcast_sub(&x.mean_keepdim(D::Minus1)?)?;
        let deviation = (centred.sqr()?.mean_keepdim(D::Minus1)? + self.eps)?.sqrt()?;
        centred.broadcast_div(&deviation)?.broadcast_mul(&self.gamma)?.broadcast_add(&self.beta)
    }
}

impl FloatLayer {
    fn forward(&self, x: &Tensor, heads: usize) -> Result<Tensor, candle_core::Error> {
        let (tokens, d) = x.dims2()?;
        let split = |t: Tensor| t.reshape((tokens, heads, d / heads))?.transpose(0, 1)?.contiguous();
        let query = split(self.query.forward(x)?)?;
        let key = split(self.key.forward(x)?)?;
        let value = split(self.value.forward(x)?)?;
        let scores = (query.matmul(&key.transpose(1, 2)?.contiguous()?)? / ((d / heads) as f64).sqrt())?;
        let context = candle_nn::ops::softmax(&scores, D::Minus1)?.matmul(&value)?;
        let context = context.transpose(0, 1)?.contiguous()?.reshape((tokens, d))?;
        let x = self.attention_norm.forward(&(x + self.output.forward(&context)?)?)?;
        let hidden = self.up.forward(&x)?.gelu_erf()?;
        self.output_norm.forward(&(&x + self.down.forward(&hidden)?)?)
    }
}
