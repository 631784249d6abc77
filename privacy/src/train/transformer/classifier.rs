//! A classifier of texts: an encoder, and a linear layer on one vector of a text.

use std::ops::Range;

use super::super::matmul::{Left, Right, multiply};
use super::super::network::MOST_PARAMETERS;
use super::layout::{Layout, Tuning};
use super::weights::{Layer, Linear, Weights, WeightsError, transposed};

/// What the linear layer reads of a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reading {
    /// The first token's vector through the encoder's pooler, as BERT's classifiers do.
    First,
    /// The mean of all tokens' vectors.
    Mean,
}

/// An encoder and what of it is trained. The parameters, which are held apart, begin with the linear layer.
#[derive(Clone, Debug)]
pub struct Classifier {
    pub(super) weights: Weights,
    pub(super) layers: Vec<Layer>,
    pub(super) pooler: Option<(Vec<f32>, Vec<f32>)>,
    pub(super) tuning: Tuning,
    pub(super) reading: Reading,
    pub(super) layout: Layout,
}

/// A classifier as its weights, with all that was trained in them.
#[derive(Clone, Debug, PartialEq)]
pub struct Merged {
    /// The encoder's.
    pub encoder: Weights,
    /// The linear layer's.
    pub head: Linear,
}

/// There is no such classifier.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum ClassifierError {
    /// The encoder is none.
    #[error(transparent)]
    Weights(#[from] WeightsError),
    /// It has no pooler.
    #[error("the model has no pooler to read the first token through: read the mean")]
    NoPooler,
    /// Adapters make no sense.
    #[error("adapters have a rank between 1 and {0}, an alpha above 0 that is finite, and each target once, in order")]
    Adapters(usize),
    /// There are too many parameters or classes, or none.
    #[error("{parameters} parameters for {classes} classes: at most {MOST_PARAMETERS}, and two classes or more")]
    Size {
        /// How many are trained.
        parameters: usize,
        /// Classes.
        classes: usize,
    },
}

impl Classifier {
    /// Of an encoder, to sort texts into so many classes.
    ///
    /// # Errors
    /// When the encoder is none, or what is to be trained makes no sense.
    pub fn new(weights: Weights, reading: Reading, tuning: Tuning, classes: usize) -> Result<Self, ClassifierError> {
        weights.check()?;
        let d = weights.hidden;
        if let Tuning::Adapters(adapters) = &tuning {
            let ordered = adapters.targets.is_sorted_by(|a, b| a < b) && !adapters.targets.is_empty();
            let scaled = adapters.alpha > 0.0 && adapters.alpha.is_finite();
            if !ordered || !scaled || adapters.rank == 0 || adapters.rank > d {
                return Err(ClassifierError::Adapters(d));
            }
        }
        let pooler = match (reading, &weights.pooler) {
            (Reading::First, None) => return Err(ClassifierError::NoPooler),
            (Reading::First, Some(pooler)) => Some((transposed(&pooler.weight, d), pooler.bias.clone())),
            (Reading::Mean, _) => None,
        };
        let layout = Layout::new(&weights, classes, pooler.is_some(), &tuning);
        let parameters = layout.parameters();
        if !(2..=1 << 16).contains(&classes) || parameters > MOST_PARAMETERS {
            return Err(ClassifierError::Size { parameters, classes });
        }
        let layers = (0..weights.layers.len()).map(|layer| weights.layer(layer)).collect();
        Ok(Self { weights, layers, pooler, tuning, reading, layout })
    }

    /// The encoder, as it was given.
    pub fn weights(&self) -> &Weights {
        &self.weights
    }

    /// What of it is trained.
    pub fn tuning(&self) -> &Tuning {
        &self.tuning
    }

    /// What the linear layer reads.
    pub fn reading(&self) -> Reading {
        self.reading
    }

    /// How many classes there are.
    pub fn classes(&self) -> usize {
        self.layout.classes
    }

    /// What is trained, tensor by tensor: the name that Hugging Face's BERT has for it, and where it lies among the parameters.
    /// Queries, keys and values are one, and so are gamma and beta, and adapters of a layer.
    pub fn tensors(&self) -> Vec<(String, Range<usize>)> {
        let layout = &self.layout;
        let (d, head) = (layout.hidden, layout.head());
        let split = head.end - layout.classes;
        let mut tensors =
            vec![("classifier.weight".to_owned(), head.start..split), ("classifier.bias".to_owned(), split..head.end)];
        for layer in 0..layout.layers {
            let at = |name: &str| format!("encoder.layer.{layer}.{name}");
            if let Tuning::Adapters(adapters) = &self.tuning {
                let (a, b) = layout.adapters(layer);
                tensors.push((at("attention.self.lora_A"), a));
                for (place, target) in adapters.targets.iter().enumerate() {
                    let own = b.start + place * adapters.rank * d..b.start + (place + 1) * adapters.rank * d;
                    tensors.push((at(&format!("attention.self.{}.lora_B", target.name())), own));
                }
                continue;
            }
            let mut begin = layout.small(layer).start;
            for (name, size) in [
                ("attention.self.query.bias", d),
                ("attention.self.key.bias", d),
                ("attention.self.value.bias", d),
                ("attention.output.dense.bias", d),
                ("attention.output.LayerNorm", 2 * d),
                ("intermediate.dense.bias", layout.inner),
                ("output.dense.bias", d),
                ("output.LayerNorm", 2 * d),
            ] {
                tensors.push((at(name), begin..begin + size));
                begin += size;
            }
            let matrices = ["attention.self", "attention.output.dense", "intermediate.dense", "output.dense"];
            for (matrix, name) in matrices.iter().enumerate() {
                tensors.push((at(&format!("{name}.weight")), layout.matrix(layer, matrix)));
            }
        }
        if self.tuning == Tuning::All {
            tensors.push(("embeddings.LayerNorm".to_owned(), layout.embedding_norm()));
            if layout.pooled {
                tensors.push(("pooler.dense.weight".to_owned(), layout.pooler()));
                tensors.push(("pooler.dense.bias".to_owned(), layout.pooler_bias()));
            }
        }
        tensors
    }

    /// The linear layer's weights as files have them.
    pub fn head(&self, parameters: &[f32]) -> Linear {
        let (weight, bias) = parameters[self.layout.head()].split_at(self.layout.hidden * self.layout.classes);
        Linear { weight: transposed(weight, self.layout.classes), bias: bias.to_vec() }
    }

    /// The whole classifier with its parameters in it.
    pub fn merged(&self, parameters: &[f32]) -> Merged {
        let mut encoder = self.weights.clone();
        for index in 0..self.layout.layers {
            encoder.take(index, &self.layer(parameters, index));
        }
        if self.tuning == Tuning::All {
            let (gamma, beta) = parameters[self.layout.embedding_norm()].split_at(self.layout.hidden);
            (encoder.embedding_norm.gamma, encoder.embedding_norm.beta) = (gamma.to_vec(), beta.to_vec());
            if let (true, Some(pooler)) = (self.layout.pooled, &mut encoder.pooler) {
                pooler.weight = transposed(&parameters[self.layout.pooler()], self.layout.hidden);
                pooler.bias = parameters[self.layout.pooler_bias()].to_vec();
            }
        }
        Merged { encoder, head: self.head(parameters) }
    }

    /// A layer with what was trained in it.
    fn layer(&self, parameters: &[f32], index: usize) -> Layer {
        let mut layer = self.layers[index].clone();
        match &self.tuning {
            Tuning::All => {
                for (matrix, to) in layer.matrices.iter_mut().enumerate() {
                    to.copy_from_slice(&parameters[self.layout.matrix(index, matrix)]);
                }
                layer.small.copy_from_slice(&parameters[self.layout.small(index)]);
            }
            Tuning::Adapters(_) => self.adapt(parameters, index, &mut layer.matrices[super::weights::QKV]),
        }
        layer
    }

    /// Adds a layer's adapters to its matrix of queries, keys and values.
    pub(super) fn adapt(&self, parameters: &[f32], layer: usize, qkv: &mut [f32]) {
        let Tuning::Adapters(adapters) = &self.tuning else { return };
        let (d, rank, columns) = (self.layout.hidden, adapters.rank, adapters.columns());
        let (a, b) = self.layout.adapters(layer);
        let (a, b) = (&parameters[a], &parameters[b]);
        let (mut right, mut product) = (Right::default(), vec![0.0; d * d]);
        for (place, &target) in adapters.targets.iter().enumerate() {
            let own: Vec<f32> =
                a.chunks_exact(columns).flat_map(|row| row[place * rank..][..rank].iter().copied()).collect();
            right.lay(&b[place * rank * d..][..rank * d], rank, d);
            multiply(Left::Rows(&own), &right, &mut product, false);
            for (row, product) in qkv.chunks_exact_mut(3 * d).zip(product.chunks_exact(d)) {
                let row = &mut row[target as usize * d..][..d];
                row.iter_mut().zip(product).for_each(|(to, product)| *to += adapters.scale() * product);
            }
        }
    }
}
