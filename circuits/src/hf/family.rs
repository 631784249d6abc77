//! What families of models have in common, and the keys of `config.json` that several of them share.

use super::head::{Dense, Head};
use super::json::Fields;
use super::tensors::Tensors;
use super::{CompileError, Dimensions, Encoder};
use crate::frontend::settings::Activation;

/// What one family of models knows of itself.
pub(crate) trait Family {
    /// Takes the encoder's tensors, and those of the classifier where the model has one.
    fn encoder(
        &mut self,
        tensors: &mut Tensors,
        head: Option<&Head>,
    ) -> Result<(Encoder, Option<Vec<Dense>>), CompileError>;

    /// Beginnings of the names of tensors that have no part in an answer.
    fn unused(&self) -> &'static [&'static str];

    /// Its sizes, and the rows of its tables beside the vocabulary's.
    fn sizes(&self) -> (&Dimensions, usize);
}

/// How many numbers the tensors of an encoder hold.
pub(crate) fn numbers(family: &dyn Family) -> u64 {
    let (size, rows) = family.sizes();
    let [d, ffn, layers] = [size.hidden, size.ffn, size.layers].map(|n| n as u64);
    // Four square matrices and two long ones with their biases, two norms.
    let layer = 4 * d * d + 2 * d * ffn + 9 * d + ffn;
    (size.vocabulary as u64 + rows as u64 + 2) * d + layers * layer
}

impl Activation {
    /// The function that a configuration calls so.
    pub(crate) fn named(name: &str) -> Option<Self> {
        Some(match name {
            "gelu" | "gelu_python" => Self::Gelu,
            "gelu_new" | "gelu_pytorch_tanh" | "gelu_python_tanh" | "gelu_fast" => Self::GeluTanh,
            "relu" => Self::Relu,
            "tanh" => Self::Tanh,
            _ => return None,
        })
    }

    /// Its name in graphs.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Identity => "identity",
            Self::Gelu => "gelu",
            Self::GeluTanh => "gelu_tanh",
            Self::Relu => "relu",
            Self::Tanh => "tanh",
        }
    }
}

/// The sizes under the names that most families use.
pub(crate) fn dimensions(fields: &mut Fields) -> Result<Dimensions, CompileError> {
    let dimensions = Dimensions {
        hidden: fields.size("hidden_size", 4096)?,
        layers: fields.size("num_hidden_layers", 64)?,
        heads: fields.size("num_attention_heads", 64)?,
        ffn: fields.size("intermediate_size", 16384)?,
        vocabulary: fields.size("vocab_size", 1 << 20)?,
        activation: activation(fields, "hidden_act")?,
        norm_eps: epsilon(fields)?,
    };
    fields.harmless(&["hidden_dropout_prob", "attention_probs_dropout_prob"]);
    checked(fields, dimensions)
}

/// Sizes that fit each other.
pub(crate) fn checked(fields: &Fields, dimensions: Dimensions) -> Result<Dimensions, CompileError> {
    match dimensions.hidden.is_multiple_of(dimensions.heads) {
        true => Ok(dimensions),
        false => Err(fields.bad("the hidden size is not a multiple of the number of attention heads".into())),
    }
}

/// The activation under this key; "gelu" where there is none.
pub(crate) fn activation(fields: &mut Fields, key: &str) -> Result<Activation, CompileError> {
    let name = fields.text(key)?.unwrap_or_else(|| "gelu".into());
    Activation::named(&name).ok_or_else(|| fields.refuse(format!("\"{key}\": {name:?}")))
}

/// The epsilon of the layer norms.
pub(crate) fn epsilon(fields: &mut Fields) -> Result<f64, CompileError> {
    let eps = fields.real("layer_norm_eps")?.unwrap_or(1e-12);
    match (0.0..=1e-5).contains(&eps) {
        true => Ok(eps),
        false => Err(fields.refuse(format!("\"layer_norm_eps\": {eps} (not between 0 and 1e-5)"))),
    }
}

/// The number of positions.
pub(crate) fn positions(fields: &mut Fields) -> Result<usize, CompileError> {
    let positions = fields.size("max_position_embeddings", 16384)?;
    match positions >= 8 {
        true => Ok(positions),
        false => Err(fields.bad(format!("max_position_embeddings is {positions}, below 8"))),
    }
}
