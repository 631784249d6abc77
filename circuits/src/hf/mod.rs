//! A Hugging Face folder, read as its authors meant it: every file and every key that changes an answer is honoured,
//! or the model is refused by name.
//!
//! `folder` says which files count, `json` accounts for every key, `tensors` for every tensor, `tokenizer` for what is
//! done to a text (`added` for tokens that are found before it is cut up), `pipeline` for what sentence-transformers adds; each family of models is one file.

mod added;
mod bert;
mod config;
mod distilbert;
mod family;
pub mod folder;
mod head;
mod json;
mod mpnet;
mod pipeline;
mod roberta;
mod size;
mod table;
pub(crate) mod tensors;
mod tokenizer;

use crate::files::read_at_most;
use crate::frontend::settings::{Activation, PositionRule, Text};
pub(crate) use head::{Dense, Finish, Pool, Tail};
pub use size::most_weights;
use std::path::{Path, PathBuf};
pub(crate) use table::Table;

/// Largest JSON file of settings that is read.
pub(crate) const MAX_JSON: u64 = 4 << 20;

/// Why a model cannot be loaded or compiled.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CompileError {
    /// A file cannot be read.
    #[error("cannot read {path}: {source}; a model folder holds config.json, model.safetensors and tokenizer.json")]
    Read {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: std::io::Error,
    },
    /// A settings file is not valid.
    #[error("{path} is not valid: {problem}")]
    Config {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        problem: String,
    },
    /// Another architecture.
    #[error("{path} describes a \"{found}\" model; the families that can be compiled are {FAMILIES}")]
    Family {
        /// The file.
        path: PathBuf,
        /// The family found.
        found: String,
    },
    /// Something valid that would change the answers and is not supported.
    #[error("{path}: {what} is not supported, and leaving it out would change the answers")]
    Unsupported {
        /// The file.
        path: PathBuf,
        /// What is there.
        what: String,
    },
    /// A form of file that is not read, and the line that converts it.
    #[error("{path} is not read: {what}")]
    Convert {
        /// The file.
        path: PathBuf,
        /// Why, and what to do.
        what: String,
    },
    /// The weights are broken or lack something.
    #[error("{path} is not usable: {problem}; fetch the model again")]
    Weights {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        problem: String,
    },
    /// The tokenizer is broken.
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

/// The families, for messages.
pub const FAMILIES: &str = "bert, distilbert, roberta, xlm-roberta, camembert and mpnet";

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

/// One encoder layer, its norms after the residual sums.
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

/// A bias of the attention scores by the distance of query and key, the same in every layer.
#[derive(Clone, Debug)]
pub(crate) struct RelativeBias {
    /// `buckets × heads`.
    pub table: Vec<f32>,
    pub buckets: usize,
}

/// Sizes and settings that every family has.
#[derive(Clone, Debug)]
pub(crate) struct Dimensions {
    pub hidden: usize,
    pub layers: usize,
    pub heads: usize,
    pub ffn: usize,
    pub vocabulary: usize,
    pub activation: Activation,
    #[cfg_attr(not(feature = "float"), expect(dead_code, reason = "the float model's alone"))]
    pub norm_eps: f64,
}

/// A transformer encoder in f32, whatever its family calls the parts.
#[derive(Clone, Debug)]
pub(crate) struct Encoder {
    pub dimensions: Dimensions,
    pub words: Vec<f32>,
    pub positions: Vec<f32>,
    pub position_rule: PositionRule,
    /// Embeddings of token types 0 and, if there is one, 1; none in families without.
    pub segments: Vec<f32>,
    pub embedding_norm: Norm,
    pub layers: Vec<Layer>,
    pub relative: Option<RelativeBias>,
}

/// Everything that a folder says.
pub(crate) struct Parameters {
    pub encoder: Encoder,
    pub tail: Tail,
    pub text: Text,
    pub tokenizer: tokenizers::Tokenizer,
    /// The tokenizer with every setting of the folder in it.
    pub tokenizer_json: Vec<u8>,
}

impl Parameters {
    pub(crate) fn read(folder: &Path) -> Result<Self, CompileError> {
        let contents = folder::Contents::list(folder)?;
        let (mut family, head) = config::read(&contents.transformer, contents.modules.is_some())?;
        let mut tensors = tensors::Tensors::open(&contents.weights)?;
        let (encoder, classifier) = family.encoder(&mut tensors, head.as_ref())?;
        tensors.finish(family.unused())?;
        let pipeline = pipeline::read(&contents, &encoder, head, classifier)?;
        let tokenizer = tokenizer::build(&contents, &pipeline.text, &encoder)?;
        let pipeline::Pipeline { tail, mut text } = pipeline;
        text.max_tokens = tokenizer.max_tokens;
        text.segments &= tokenizer.token_types;
        Ok(Self { encoder, tail, text, tokenizer: tokenizer.tokenizer, tokenizer_json: tokenizer.json })
    }
}

/// Reads a file of at most `limit` bytes.
pub(crate) fn read(path: &Path, limit: u64) -> Result<Vec<u8>, CompileError> {
    let read = read_at_most(path, limit).map_err(|source| CompileError::Read { path: path.to_owned(), source })?;
    let problem = || format!("larger than the limit of {limit} bytes");
    read.ok_or_else(|| CompileError::Config { path: path.to_owned(), problem: problem() })
}
