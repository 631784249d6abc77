//! BERT: token, position and token-type embeddings, layers with norms after the residual sums; a classifier on the
//! first token behind a `tanh` layer.

use super::family::{Family, dimensions, positions};
use super::head::{Dense, Head};
use super::json::Fields;
use super::tensors::Tensors;
use super::{Activation, CompileError, Dimensions, Encoder, Layer, PositionRule};

pub(crate) struct Bert {
    dimensions: Dimensions,
    positions: usize,
    token_types: usize,
}

impl Bert {
    pub(crate) fn read(fields: &mut Fields) -> Result<Self, CompileError> {
        fields.harmless(&["pad_token_id"]);
        Ok(Self {
            dimensions: dimensions(fields)?,
            positions: positions(fields)?,
            token_types: fields.number("type_vocab_size", 16)?.unwrap_or(2).max(1),
        })
    }
}

impl Family for Bert {
    fn encoder(
        &mut self,
        tensors: &mut Tensors,
        head: Option<&Head>,
    ) -> Result<(Encoder, Option<Vec<Dense>>), CompileError> {
        let d = self.dimensions.hidden;
        tensors.anchor("embeddings.word_embeddings.weight");
        let mut segments = tensors.tensor("embeddings.token_type_embeddings.weight", &[self.token_types, d])?;
        segments.truncate(2 * d);
        let encoder = Encoder {
            words: tensors.tensor("embeddings.word_embeddings.weight", &[self.dimensions.vocabulary, d])?,
            positions: tensors.tensor("embeddings.position_embeddings.weight", &[self.positions, d])?,
            position_rule: PositionRule::Place,
            segments,
            embedding_norm: tensors.norm("embeddings.LayerNorm", d)?,
            layers: (0..self.dimensions.layers)
                .map(|l| layer(tensors, &self.dimensions, l))
                .collect::<Result<_, _>>()?,
            relative: None,
            dimensions: self.dimensions.clone(),
        };
        let classifier = match head {
            None => None,
            Some(head) => Some(vec![
                Dense::new(tensors.linear("pooler.dense", d, d)?, Activation::Tanh),
                Dense::new(tensors.linear_at("classifier", d, head.labels.len())?, Activation::Identity),
            ]),
        };
        Ok((encoder, classifier))
    }

    fn unused(&self) -> &'static [&'static str] {
        &["pooler.", "cls.", "classifier.", "embeddings.position_ids", "embeddings.token_type_ids"]
    }

    fn sizes(&self) -> (&Dimensions, usize) {
        (&self.dimensions, self.positions + self.token_types)
    }
}

/// One layer under the names that BERT and RoBERTa share.
pub(super) fn layer(tensors: &mut Tensors, size: &Dimensions, l: usize) -> Result<Layer, CompileError> {
    let (d, ffn) = (size.hidden, size.ffn);
    let at = |name: &str| format!("encoder.layer.{l}.{name}");
    Ok(Layer {
        query: tensors.linear(&at("attention.self.query"), d, d)?,
        key: tensors.linear(&at("attention.self.key"), d, d)?,
        value: tensors.linear(&at("attention.self.value"), d, d)?,
        output: tensors.linear(&at("attention.output.dense"), d, d)?,
        attention_norm: tensors.norm(&at("attention.output.LayerNorm"), d)?,
        up: tensors.linear(&at("intermediate.dense"), d, ffn)?,
        down: tensors.linear(&at("output.dense"), ffn, d)?,
        output_norm: tensors.norm(&at("output.LayerNorm"), d)?,
    })
}
