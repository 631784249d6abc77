//! RoBERTa, XLM-RoBERTa, CamemBERT: BERT's layers; positions are counted from the padding token's id on; a classifier
//! of its own form.

use super::bert::layer;
use super::family::{Family, dimensions, positions};
use super::head::{Dense, Head};
use super::json::Fields;
use super::tensors::Tensors;
use super::{Activation, CompileError, Dimensions, Encoder, PositionRule};

pub(crate) struct Roberta {
    dimensions: Dimensions,
    positions: usize,
    token_types: usize,
    padding: u32,
}

impl Roberta {
    pub(crate) fn read(fields: &mut Fields) -> Result<Self, CompileError> {
        Ok(Self {
            dimensions: dimensions(fields)?,
            positions: positions(fields)?,
            token_types: fields.number("type_vocab_size", 16)?.unwrap_or(1).max(1),
            padding: fields.number("pad_token_id", 1000)?.unwrap_or(1) as u32,
        })
    }
}

impl Family for Roberta {
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
            position_rule: PositionRule::AfterPadding(self.padding),
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
                Dense::new(tensors.linear_at("classifier.dense", d, d)?, Activation::Tanh),
                Dense::new(tensors.linear_at("classifier.out_proj", d, head.labels.len())?, Activation::Identity),
            ]),
        };
        Ok((encoder, classifier))
    }

    fn unused(&self) -> &'static [&'static str] {
        &["pooler.", "lm_head.", "classifier.", "embeddings.position_ids", "embeddings.token_type_ids"]
    }

    fn sizes(&self) -> (&Dimensions, usize) {
        (&self.dimensions, self.positions + self.token_types)
    }
}
