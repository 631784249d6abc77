//! A folder's weights by name and its tokens, for whoever trains the model further.

use std::path::Path;

use crate::float::tokenizing;
use crate::frontend::settings::{Activation, PositionRule};
use crate::frontend::{EncodeError, Frontend};
use crate::hf::folder::Contents;
use crate::hf::tensors::Tensors;
use crate::hf::{CompileError, Parameters};

/// A BERT whose weights can be taken one by one.
pub struct Trainable {
    /// Its sizes.
    pub sizes: Sizes,
    tensors: Tensors,
    frontend: Frontend,
}

/// Sizes of a BERT.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sizes {
    /// Numbers of a token.
    pub hidden: usize,
    /// Heads of attention.
    pub heads: usize,
    /// Numbers between the two layers after attention.
    pub inner: usize,
    /// Layers.
    pub layers: usize,
    /// Tokens to choose from.
    pub vocabulary: usize,
    /// Rows of the table of positions.
    pub positions: usize,
    /// Token types, of which only the first two are ever used.
    pub types: usize,
    /// Added to variances.
    pub epsilon: f64,
}

impl Trainable {
    /// Reads a Hugging Face folder of a BERT with GELU.
    ///
    /// # Errors
    /// What [`CompiledModel::compile`](crate::model::CompiledModel::compile) refuses, and other families, by name.
    pub fn load(folder: &Path) -> Result<Self, CompileError> {
        let parameters = Parameters::read(folder)?;
        let encoder = &parameters.encoder;
        let sizes = Sizes {
            hidden: encoder.dimensions.hidden,
            heads: encoder.dimensions.heads,
            inner: encoder.dimensions.ffn,
            layers: encoder.dimensions.layers,
            vocabulary: encoder.dimensions.vocabulary,
            positions: encoder.positions.len() / encoder.dimensions.hidden,
            types: encoder.segments.len() / encoder.dimensions.hidden,
            epsilon: encoder.dimensions.norm_eps,
        };
        let bert = encoder.position_rule == PositionRule::Place && encoder.relative.is_none() && sizes.types > 0;
        if !bert || encoder.dimensions.activation != Activation::Gelu {
            let what = "training of a model that is not a BERT with GELU".to_owned();
            return Err(CompileError::Unsupported { path: folder.join("config.json"), what });
        }
        let mut tensors = Tensors::open(&Contents::list(folder)?.weights)?;
        tensors.anchor("embeddings.word_embeddings.weight");
        Ok(Self { sizes, tensors, frontend: tokenizing(parameters) })
    }

    /// Takes the tensor of this name, as BERT's own model has it, without what a library puts before it.
    ///
    /// # Errors
    /// When it is not there, was taken, or is not of this shape.
    pub fn tensor(&mut self, name: &str, shape: &[usize]) -> Result<Vec<f32>, CompileError> {
        self.tensors.tensor(name, shape)
    }

    /// Whether there is a tensor of this name.
    pub fn has(&self, name: &str) -> bool {
        self.tensors.has(name)
    }

    /// The tokens of a text, as the model is given them: cut where it is too long.
    ///
    /// # Errors
    /// When the text is refused, as by [`Frontend::encode`].
    pub fn tokens(&self, text: &str) -> Result<Vec<u32>, EncodeError> {
        let (encoding, _) = self.frontend.tokenized(text, None)?;
        match encoding.get_ids() {
            [] => Err(EncodeError::Empty),
            ids => Ok(ids.to_vec()),
        }
    }
}
