//! A Hugging Face folder of the BERT family: `config.json`, `model.safetensors`, `tokenizer.json`, read and checked.

use serde::Deserialize;
use std::path::{Path, PathBuf};

/// Largest `model.safetensors` that is read.
const MAX_WEIGHT_FILE: u64 = 8 << 30;

/// Why a model cannot be loaded or compiled.
#[derive(Debug, thiserror::Error)]
pub enum CompileError {
    /// A file cannot be read.
    #[error("cannot read {path}: {source}; a model folder holds config.json, model.safetensors and tokenizer.json")]
    Read {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: std::io::Error,
    },
    /// `config.json` is not valid.
    #[error("{path} is not a valid model configuration: {problem}")]
    Config {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        problem: String,
    },
    /// Another architecture.
    #[error("{path} describes a \"{found}\" model; only BERT encoders (model_type \"bert\") can be compiled")]
    Family {
        /// The file.
        path: PathBuf,
        /// The family found.
        found: String,
    },
    /// `model.safetensors` is broken or lacks something.
    #[error("{path} is not usable: {problem}; fetch the model again")]
    Weights {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        problem: String,
    },
    /// `tokenizer.json` is broken.
    #[error("{path} is not a usable tokenizer: {problem}; fetch the model again")]
    Tokenizer {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        problem: String,
    },
    /// The weights are too large for 32-bit arithmetic.
    #[error("the weights of {what} are too large to prove that 32-bit arithmetic cannot overflow: {problem}")]
    Range {
        /// The tensor.
        what: String,
        /// The bound that fails.
        problem: String,
    },
    /// The compiled graph breaks its own rules.
    #[error("the compiled graph is inconsistent: {0}")]
    Graph(#[from] crate::check::CheckError),
}

/// The numbers of `config.json` that matter.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Config {
    pub hidden_size: usize,
    pub num_hidden_layers: usize,
    pub num_attention_heads: usize,
    pub intermediate_size: usize,
    pub max_position_embeddings: usize,
    #[serde(default = "two")]
    pub type_vocab_size: usize,
    pub vocab_size: usize,
    #[serde(default = "tiny")]
    pub layer_norm_eps: f64,
    #[serde(default)]
    model_type: String,
    #[serde(default)]
    hidden_act: Option<String>,
    #[serde(default)]
    position_embedding_type: Option<String>,
}

fn two() -> usize {
    2
}

fn tiny() -> f64 {
    1e-12
}

impl Config {
    pub(crate) fn read(folder: &Path) -> Result<Self, CompileError> {
        let path = folder.join("config.json");
        let bytes = read(&path)?;
        let bad = |problem: String| CompileError::Config { path: path.clone(), problem };
        let value: serde_json::Value = serde_json::from_slice(&bytes).map_err(|e| bad(e.to_string()))?;
        let family = value.get("model_type").and_then(|v| v.as_str()).unwrap_or("");
        if family != "bert" {
            let found = if family.is_empty() { "(no model_type)" } else { family }.to_owned();
            return Err(CompileError::Family { path, found });
        }
        let config: Self = serde_json::from_value(value).map_err(|e| bad(e.to_string()))?;
        config.validate().map_err(bad)?;
        Ok(config)
    }

    fn validate(&self) -> Result<(), String> {
        let within = |name: &str, value: usize, limit: usize| match value {
            0 => Err(format!("{name} is 0")),
            v if v > limit => Err(format!("{name} is {v}, more than the limit of {limit}")),
            _ => Ok(()),
        };
        debug_assert_eq!(self.model_type, "bert");
        within("hidden_size", self.hidden_size, 4096)?;
        within("num_hidden_layers", self.num_hidden_layers, 64)?;
        within("num_attention_heads", self.num_attention_heads, 64)?;
        within("intermediate_size", self.intermediate_size, 16384)?;
        within("max_position_embeddings", self.max_position_embeddings, 8192)?;
        within("type_vocab_size", self.type_vocab_size, 16)?;
        within("vocab_size", self.vocab_size, 1 << 20)?;
        if !self.hidden_size.is_multiple_of(self.num_attention_heads) {
            return Err("hidden_size is not a multiple of num_attention_heads".into());
        }
        if self.max_position_embeddings < 16 {
            return Err("max_position_embeddings is below 16".into());
        }
        if self.hidden_act.as_deref().is_some_and(|act| act != "gelu") {
            return Err(format!("hidden_act {:?} is not \"gelu\"", self.hidden_act));
        }
        if self.position_embedding_type.as_deref().is_some_and(|kind| kind != "absolute") {
            return Err("position_embedding_type is not \"absolute\"".into());
        }
        if !(0.0..=1e-5).contains(&self.layer_norm_eps) {
            return Err(format!("layer_norm_eps {} is not between 0 and 1e-5", self.layer_norm_eps));
        }
        Ok(())
    }
}

/// A linear layer as stored: `weight` is `outputs × inputs`.
#[derive(Clone, Debug)]
pub(crate) struct Linear {
    pub weight: Vec<f32>,
    pub bias: Vec<f32>,
    pub inputs: usize,
    pub outputs: usize,
}

/// A layer norm.
#[derive(Clone, Debug)]
pub(crate) struct Norm {
    pub gamma: Vec<f32>,
    pub beta: Vec<f32>,
}

/// One encoder layer.
#[derive(Clone, Debug)]
pub(crate) struct Layer {
    pub query: Linear,
    pub key: Linear,
    pub value: Linear,
    pub output: Linear,
    pub attention_norm: Norm,
    pub up: Linear,
    pub down: Linear,
    pub output_norm: Norm,
}

/// A model's parameters in f32.
#[derive(Clone, Debug)]
pub(crate) struct Parameters {
    pub config: Config,
    pub words: Vec<f32>,
    pub positions: Vec<f32>,
    /// The embedding of token type 0; this program embeds single texts only.
    pub token_type: Vec<f32>,
    pub embedding_norm: Norm,
    pub layers: Vec<Layer>,
}

impl Parameters {
    pub(crate) fn read(folder: &Path) -> Result<Self, CompileError> {
        let config = Config::read(folder)?;
        let path = folder.join("model.safetensors");
        let size = std::fs::metadata(&path).map_err(|source| CompileError::Read { path: path.clone(), source })?.len();
        if size > MAX_WEIGHT_FILE {
            let problem = format!("{size} bytes, more than the limit of {MAX_WEIGHT_FILE}");
            return Err(CompileError::Weights { path, problem });
        }
        let bytes = read(&path)?;
        Self::parse(config, &bytes).map_err(|problem| CompileError::Weights { path, problem })
    }

    fn parse(config: Config, bytes: &[u8]) -> Result<Self, String> {
        let file = safetensors::SafeTensors::deserialize(bytes).map_err(|e| e.to_string())?;
        let prefix = if file.tensor("bert.embeddings.word_embeddings.weight").is_ok() { "bert." } else { "" };
        let file = TensorFile { file, prefix };
        let d = config.hidden_size;
        let mut token_type = file.tensor("embeddings.token_type_embeddings.weight", &[config.type_vocab_size, d])?;
        token_type.truncate(d);
        Ok(Self {
            words: file.tensor("embeddings.word_embeddings.weight", &[config.vocab_size, d])?,
            positions: file.tensor("embeddings.position_embeddings.weight", &[config.max_position_embeddings, d])?,
            token_type,
            embedding_norm: file.norm("embeddings.LayerNorm", d)?,
            layers: (0..config.num_hidden_layers).map(|l| file.layer(l, &config)).collect::<Result<_, _>>()?,
            config,
        })
    }
}

struct TensorFile<'a> {
    file: safetensors::SafeTensors<'a>,
    prefix: &'static str,
}

impl TensorFile<'_> {
    fn tensor(&self, name: &str, shape: &[usize]) -> Result<Vec<f32>, String> {
        let name = format!("{}{name}", self.prefix);
        let view = self.file.tensor(&name).map_err(|_| format!("tensor {name} is missing"))?;
        if view.shape() != shape {
            return Err(format!("tensor {name} has shape {:?}, the configuration asks for {shape:?}", view.shape()));
        }
        let data = view.data();
        let values: Vec<f32> = match view.dtype() {
            safetensors::Dtype::F32 => {
                data.chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect()
            }
            safetensors::Dtype::BF16 => data
                .chunks_exact(2)
                .map(|b| f32::from_bits(u32::from(u16::from_le_bytes([b[0], b[1]])) << 16))
                .collect(),
            safetensors::Dtype::F16 => {
                data.chunks_exact(2).map(|b| half_to_float(u16::from_le_bytes([b[0], b[1]]))).collect()
            }
            other => return Err(format!("tensor {name} has type {other:?}, not F32, F16 or BF16")),
        };
        match values.iter().all(|x| x.is_finite() && x.abs() < 1e6) {
            true => Ok(values),
            false => Err(format!("tensor {name} holds values that are not finite or beyond a million")),
        }
    }

    fn linear(&self, name: &str, inputs: usize, outputs: usize) -> Result<Linear, String> {
        let weight = self.tensor(&format!("{name}.weight"), &[outputs, inputs])?;
        Ok(Linear { weight, bias: self.tensor(&format!("{name}.bias"), &[outputs])?, inputs, outputs })
    }

    fn norm(&self, name: &str, d: usize) -> Result<Norm, String> {
        let gamma = self.tensor(&format!("{name}.weight"), &[d])?;
        Ok(Norm { gamma, beta: self.tensor(&format!("{name}.bias"), &[d])? })
    }

    fn layer(&self, l: usize, config: &Config) -> Result<Layer, String> {
        let (d, ffn) = (config.hidden_size, config.intermediate_size);
        let at = |name: &str| format!("encoder.layer.{l}.{name}");
        Ok(Layer {
            query: self.linear(&at("attention.self.query"), d, d)?,
            key: self.linear(&at("attention.self.key"), d, d)?,
            value: self.linear(&at("attention.self.value"), d, d)?,
            output: self.linear(&at("attention.output.dense"), d, d)?,
            attention_norm: self.norm(&at("attention.output.LayerNorm"), d)?,
            up: self.linear(&at("intermediate.dense"), d, ffn)?,
            down: self.linear(&at("output.dense"), ffn, d)?,
            output_norm: self.norm(&at("output.LayerNorm"), d)?,
        })
    }
}

/// IEEE binary16.
fn half_to_float(h: u16) -> f32 {
    let sign = if h >> 15 == 1 { -1.0 } else { 1.0 };
    let (exponent, fraction) = (i32::from(h >> 10 & 31), f32::from(h & 1023));
    match exponent {
        0 => sign * fraction * 2f32.powi(-24),
        31 => f32::NAN,
        e => sign * (1.0 + fraction / 1024.0) * 2f32.powi(e - 15),
    }
}

/// The tokenizer, without padding, cut at `max_tokens` with the closing special token kept.
pub(crate) fn tokenizer(path: &Path, bytes: &[u8], max_tokens: usize) -> Result<tokenizers::Tokenizer, CompileError> {
    let bad = |e: tokenizers::Error| CompileError::Tokenizer { path: path.to_owned(), problem: e.to_string() };
    let mut tokenizer = tokenizers::Tokenizer::from_bytes(bytes).map_err(bad)?;
    tokenizer.with_padding(None);
    let truncation = tokenizers::TruncationParams { max_length: max_tokens, ..Default::default() };
    tokenizer.with_truncation(Some(truncation)).map_err(bad)?;
    Ok(tokenizer)
}

pub(crate) fn read(path: &Path) -> Result<Vec<u8>, CompileError> {
    std::fs::read(path).map_err(|source| CompileError::Read { path: path.to_owned(), source })
}
