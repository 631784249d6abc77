//! DistilBERT: BERT's layers under other names, without token types; a classifier behind a `relu` layer.

use super::family::{Family, activation, checked, positions};
use super::head::{Dense, Head};
use super::json::Fields;
use super::tensors::Tensors;
use super::{Activation, CompileError, Dimensions, Encoder, Layer, PositionRule};

pub(crate) struct DistilBert {
    dimensions: Dimensions,
    positions: usize,
}

impl DistilBert {
    pub(crate) fn read(fields: &mut Fields) -> Result<Self, CompileError> {
        fields.harmless(&[
            "pad_token_id",
            "dropout",
            "attention_dropout",
            "seq_classif_dropout",
            "qa_dropout",
            // The table is stored either way.
            "sinusoidal_pos_embds",
        ]);
        let dimensions = Dimensions {
            hidden: fields.size("dim", 4096)?,
            layers: fields.size("n_layers", 64)?,
            heads: fields.size("n_heads", 64)?,
            ffn: fields.size("hidden_dim", 16384)?,
            vocabulary: fields.size("vocab_size", 1 << 20)?,
            activation: activation(fields, "activation")?,
            norm_eps: 1e-12,
        };
        Ok(Self { dimensions: checked(fields, dimensions)?, positions: positions(fields)? })
    }
}

impl Family for DistilBert {
    fn encoder(
        &mut self,
        tensors: &mut Tensors,
        head: Option<&Head>,
    ) -> Result<(Encoder, Option<Vec<Dense>>), CompileError> {
        let d = self.dimensions.hidden;
        tensors.anchor("embeddings.word_embeddings.weight");
        let encoder = Encoder {
            words: tensors.tensor("embeddings.word_embeddings.weight", &[self.dimensions.vocabulary, d])?,
            positions: tensors.tensor("embeddings.position_embeddings.weight", &[self.positions, d])?,
            position_rule: PositionRule::Place,
            segments: Vec::new(),
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
                Dense::new(tensors.linear_at("pre_classifier", d, d)?, Activation::Relu),
                Dense::new(tensors.linear_at("classifier", d, head.labels.len())?, Activation::Identity),
            ]),
        };
        Ok((encoder, classifier))
    }

    fn unused(&self) -> &'static [&'static str] {
        &["vocab_", "pre_classifier.", "classifier.", "embeddings.position_ids"]
    }

    fn sizes(&self) -> (&Dimensions, usize) {
        (&self.dimensions, self.positions)
    }
}

fn layer(tensors: &mut Tensors, size: &Dimensions, l: usize) -> Result<Layer, CompileError> {
    let (d, ffn) = (size.hidden, size.ffn);
    let at = |name: &str| format!("transformer.layer.{l}.{name}");
    Ok(Layer {
        query: tensors.linear(&at("attention.q_lin"), d, d)?,
        key: tensors.linear(&at("attention.k_lin"), d, d)?,
        value: tensors.linear(&at("attention.v_lin"), d, d)?,
        output: tensors.linear(&at("attention.out_lin"), d, d)?,
        attention_norm: tensors.norm(&at("sa_layer_norm"), d)?,
        up: tensors.linear(&at("ffn.lin1"), d, ffn)?,
        down: tensors.linear(&at("ffn.lin2"), ffn, d)?,
        output_norm: tensors.norm(&at("output_layer_norm"), d)?,
    })
}
