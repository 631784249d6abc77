//! The names that Hugging Face's libraries have for weights, and the shapes.

use super::classifier::{Classifier, Merged};
use super::layout::Tuning;
use super::weights::{LayerWeights, Linear, Norm, Weights};

/// A tensor of a file of weights.
#[derive(Clone, Debug, PartialEq)]
pub struct Tensor {
    /// Its name.
    pub name: String,
    /// Its sizes.
    pub shape: Vec<usize>,
    /// Its numbers, row-major.
    pub values: Vec<f32>,
}

/// What is done with a tensor of a name and a shape.
type Visit<'a, E> = &'a mut dyn FnMut(&str, &[usize], &mut Vec<f32>) -> Result<(), E>;

impl Weights {
    /// Visits every tensor under the name that `BertModel` has for it, with its shape; linear layers are `outputs × inputs`.
    ///
    /// # Errors
    /// The first of the visitor.
    pub fn visit<E>(&mut self, visit: Visit<'_, E>) -> Result<(), E> {
        let (d, inner) = (self.hidden, self.inner);
        for (name, table) in [
            ("word_embeddings", &mut self.words),
            ("position_embeddings", &mut self.positions),
            ("token_type_embeddings", &mut self.segments),
        ] {
            let shape = [table.len() / d.max(1), d];
            visit(&format!("embeddings.{name}.weight"), &shape, table)?;
        }
        norm("embeddings.LayerNorm", &mut self.embedding_norm, visit)?;
        for (index, layer) in self.layers.iter_mut().enumerate() {
            let at = |name: &str| format!("encoder.layer.{index}.{name}");
            let LayerWeights { query, key, value, output, attention_norm, up, down, output_norm } = layer;
            linear(&at("attention.self.query"), query, (d, d), visit)?;
            linear(&at("attention.self.key"), key, (d, d), visit)?;
            linear(&at("attention.self.value"), value, (d, d), visit)?;
            linear(&at("attention.output.dense"), output, (d, d), visit)?;
            norm(&at("attention.output.LayerNorm"), attention_norm, visit)?;
            linear(&at("intermediate.dense"), up, (d, inner), visit)?;
            linear(&at("output.dense"), down, (inner, d), visit)?;
            norm(&at("output.LayerNorm"), output_norm, visit)?;
        }
        match &mut self.pooler {
            Some(pooler) => linear("pooler.dense", pooler, (d, d), visit),
            None => Ok(()),
        }
    }
}

fn linear<E>(name: &str, linear: &mut Linear, (inputs, outputs): (usize, usize), visit: Visit<'_, E>) -> Result<(), E> {
    visit(&format!("{name}.weight"), &[outputs, inputs], &mut linear.weight)?;
    visit(&format!("{name}.bias"), &[outputs], &mut linear.bias)
}

fn norm<E>(name: &str, norm: &mut Norm, visit: Visit<'_, E>) -> Result<(), E> {
    let shape = [norm.gamma.len()];
    visit(&format!("{name}.weight"), &shape, &mut norm.gamma)?;
    visit(&format!("{name}.bias"), &shape, &mut norm.beta)
}

impl Merged {
    /// The encoder's tensors, each with `prefix` before the name that `BertModel` has for it. Takes their numbers.
    pub fn encoder(&mut self, prefix: &str) -> Vec<Tensor> {
        let mut tensors = Vec::new();
        let visited = self.encoder.visit::<std::convert::Infallible>(&mut |name, shape, values| {
            let name = format!("{prefix}{name}");
            tensors.push(Tensor { name, shape: shape.to_vec(), values: std::mem::take(values) });
            Ok(())
        });
        match visited {
            Ok(()) => tensors,
        }
    }
}

impl Classifier {
    /// The linear layer's tensors, as `NAME.weight` and `NAME.bias`.
    pub fn head_tensors(&self, parameters: &[f32], name: &str) -> [Tensor; 2] {
        let Linear { weight, bias } = self.head(parameters);
        let shape = vec![self.layout.classes, self.layout.hidden];
        let weight = Tensor { name: format!("{name}.weight"), shape, values: weight };
        [weight, Tensor { name: format!("{name}.bias"), shape: vec![self.layout.classes], values: bias }]
    }

    /// The adapters and the linear layer as `peft` stores them beside a `BertFor…Classification`: `lora_A` is `rank × hidden`,
    /// `lora_B` is `hidden × rank`. None if everything is trained.
    pub fn adapter_tensors(&self, parameters: &[f32]) -> Option<Vec<Tensor>> {
        let Tuning::Adapters(adapters) = &self.tuning else { return None };
        let (d, rank, columns) = (self.layout.hidden, adapters.rank, adapters.columns());
        let mut tensors = Vec::new();
        for layer in 0..self.layout.layers {
            let (a, b) = self.layout.adapters(layer);
            for (place, target) in adapters.targets.iter().enumerate() {
                let own = place * rank..(place + 1) * rank;
                let column = |column: usize| parameters[a.clone()].iter().skip(column).step_by(columns).copied();
                let b = &parameters[b.start + own.start * d..b.start + own.end * d];
                let name = format!("base_model.model.bert.encoder.layer.{layer}.attention.self.{}", target.name());
                let values = own.flat_map(column).collect();
                tensors.push(Tensor { name: format!("{name}.lora_A.weight"), shape: vec![rank, d], values });
                let values = super::weights::transposed(b, d);
                tensors.push(Tensor { name: format!("{name}.lora_B.weight"), shape: vec![d, rank], values });
            }
        }
        tensors.extend(self.head_tensors(parameters, "base_model.model.classifier"));
        Some(tensors)
    }
}
