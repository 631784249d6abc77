//! MPNet: BERT's layers under other names, positions counted from 2, and a bias of the attention scores that depends
//! on the distance of query and key; a classifier like RoBERTa's.

use super::family::{Family, dimensions, positions};
use super::head::{Dense, Head};
use super::json::Fields;
use super::tensors::Tensors;
use super::{Activation, CompileError, Dimensions, Encoder, Layer, PositionRule, RelativeBias};

/// Where the position table begins; the same in every MPNet.
const PADDING: u32 = 1;

pub(crate) struct MpNet {
    dimensions: Dimensions,
    positions: usize,
    buckets: usize,
}

impl MpNet {
    pub(crate) fn read(fields: &mut Fields) -> Result<Self, CompileError> {
        fields.harmless(&["pad_token_id", "type_vocab_size"]);
        let buckets = fields.number("relative_attention_num_buckets", 256)?.unwrap_or(32);
        if buckets != 32 {
            return Err(fields.refuse(format!("\"relative_attention_num_buckets\": {buckets} (not 32)")));
        }
        Ok(Self { dimensions: dimensions(fields)?, positions: positions(fields)?, buckets })
    }
}

impl Family for MpNet {
    fn encoder(
        &mut self,
        tensors: &mut Tensors,
        head: Option<&Head>,
    ) -> Result<(Encoder, Option<Vec<Dense>>), CompileError> {
        let (d, heads) = (self.dimensions.hidden, self.dimensions.heads);
        tensors.anchor("embeddings.word_embeddings.weight");
        let table = tensors.tensor("encoder.relative_attention_bias.weight", &[self.buckets, heads])?;
        let encoder = Encoder {
            words: tensors.tensor("embeddings.word_embeddings.weight", &[self.dimensions.vocabulary, d])?,
            positions: tensors.tensor("embeddings.position_embeddings.weight", &[self.positions, d])?,
            position_rule: PositionRule::AfterPadding(PADDING),
            segments: Vec::new(),
            embedding_norm: tensors.norm("embeddings.LayerNorm", d)?,
            layers: (0..self.dimensions.layers)
                .map(|l| layer(tensors, &self.dimensions, l))
                .collect::<Result<_, _>>()?,
            relative: Some(RelativeBias { table, buckets: self.buckets }),
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
        &["pooler.", "lm_head.", "classifier.", "embeddings.position_ids"]
    }

    fn sizes(&self) -> (&Dimensions, usize) {
        (&self.dimensions, self.positions + self.buckets)
    }
}

fn layer(tensors: &mut Tensors, size: &Dimensions, l: usize) -> Result<Layer, CompileError> {
    let (d, ffn) = (size.hidden, size.ffn);
    let at = |name: &str| format!("encoder.layer.{l}.{name}");
    Ok(Layer {
        query: tensors.linear(&at("attention.attn.q"), d, d)?,
        key: tensors.linear(&at("attention.attn.k"), d, d)?,
        value: tensors.linear(&at("attention.attn.v"), d, d)?,
        output: tensors.linear(&at("attention.attn.o"), d, d)?,
        attention_norm: tensors.norm(&at("attention.LayerNorm"), d)?,
        up: tensors.linear(&at("intermediate.dense"), d, ffn)?,
        down: tensors.linear(&at("output.dense"), ffn, d)?,
        output_norm: tensors.norm(&at("output.LayerNorm"), d)?,
    })
}

impl RelativeBias {
    /// The bucket of a key that lies `distance` tokens after the query (before it if negative): half of the buckets
    /// for either direction, half of those exact, the rest by the logarithm of the distance up to 128.
    pub(crate) fn bucket(&self, distance: i64) -> usize {
        let half = self.buckets / 2;
        let (exact, behind) = (half / 2, if distance > 0 { half } else { 0 });
        let n = distance.unsigned_abs() as usize;
        if n < exact {
            return behind + n;
        }
        // Steps of log(n / 8) / log(16) · 8: the bucket changes where n² passes 64 · 2^k, in whole numbers.
        let large = (1..half - exact).take_while(|&k| n * n >= (exact * exact) << k).count();
        behind + exact + large
    }
}
