//! A layer's weights as they are multiplied.

use super::weights::{LayerWeights, Linear, Norm, Weights};

/// Positions of a layer's matrices.
pub(super) const QKV: usize = 0;
pub(super) const OUTPUT: usize = 1;
pub(super) const UP: usize = 2;
pub(super) const DOWN: usize = 3;

/// A layer as it is multiplied.
#[derive(Clone, Debug)]
pub(super) struct Layer {
    /// Queries, keys and values side by side; output; up; down: each `inputs × outputs`.
    pub matrices: [Vec<f32>; 4],
    /// What [`Small`] takes apart.
    pub small: Vec<f32>,
}

/// What a layer has beside matrices.
#[derive(Clone, Copy)]
pub(super) struct Small<'a> {
    pub qkv: &'a [f32],
    pub output: &'a [f32],
    pub attention_norm: (&'a [f32], &'a [f32]),
    pub up: &'a [f32],
    pub down: &'a [f32],
    pub output_norm: (&'a [f32], &'a [f32]),
}

impl<'a> Small<'a> {
    /// How many numbers.
    pub fn len(hidden: usize, inner: usize) -> usize {
        9 * hidden + inner
    }

    /// Of numbers one after the other.
    pub fn of(all: &'a [f32], d: usize, inner: usize) -> Self {
        let (qkv, rest) = all.split_at(3 * d);
        let (output, rest) = rest.split_at(d);
        let (gamma1, rest) = rest.split_at(d);
        let (beta1, rest) = rest.split_at(d);
        let (up, rest) = rest.split_at(inner);
        let (down, rest) = rest.split_at(d);
        let (gamma2, beta2) = rest.split_at(d);
        Self { qkv, output, attention_norm: (gamma1, beta1), up, down, output_norm: (gamma2, beta2) }
    }
}

impl Weights {
    /// Inputs and outputs of a layer's matrices.
    pub(super) fn shapes(&self) -> [(usize, usize); 4] {
        let (d, inner) = (self.hidden, self.inner);
        [(d, 3 * d), (d, d), (d, inner), (inner, d)]
    }

    /// A layer as it is multiplied.
    pub(super) fn layer(&self, index: usize) -> Layer {
        let (d, inner, layer) = (self.hidden, self.inner, &self.layers[index]);
        let mut qkv = vec![0.0; 3 * d * d];
        for (part, linear) in [&layer.query, &layer.key, &layer.value].into_iter().enumerate() {
            for (input, row) in qkv.chunks_exact_mut(3 * d).enumerate() {
                let column = linear.weight.iter().skip(input).step_by(d);
                row[part * d..(part + 1) * d].iter_mut().zip(column).for_each(|(to, &from)| *to = from);
            }
        }
        let small = [
            &layer.query.bias,
            &layer.key.bias,
            &layer.value.bias,
            &layer.output.bias,
            &layer.attention_norm.gamma,
            &layer.attention_norm.beta,
            &layer.up.bias,
            &layer.down.bias,
            &layer.output_norm.gamma,
            &layer.output_norm.beta,
        ];
        Layer {
            matrices: [
                qkv,
                transposed(&layer.output.weight, d),
                transposed(&layer.up.weight, d),
                transposed(&layer.down.weight, inner),
            ],
            small: small.into_iter().flatten().copied().collect(),
        }
    }

    /// The reverse of [`Weights::layer`].
    pub(super) fn take(&mut self, index: usize, layer: &Layer) {
        let (d, inner) = (self.hidden, self.inner);
        let small = Small::of(&layer.small, d, inner);
        let part = |part: usize| Linear {
            weight: (0..d)
                .flat_map(|out| layer.matrices[QKV].iter().skip(part * d + out).step_by(3 * d).copied())
                .collect(),
            bias: small.qkv[part * d..(part + 1) * d].to_vec(),
        };
        let linear = |matrix: usize, outputs: usize, bias: &[f32]| Linear {
            weight: transposed(&layer.matrices[matrix], outputs),
            bias: bias.to_vec(),
        };
        let norm = |(gamma, beta): (&[f32], &[f32])| Norm { gamma: gamma.to_vec(), beta: beta.to_vec() };
        self.layers[index] = LayerWeights {
            query: part(0),
            key: part(1),
            value: part(2),
            output: linear(OUTPUT, d, small.output),
            attention_norm: norm(small.attention_norm),
            up: linear(UP, inner, small.up),
            down: linear(DOWN, d, small.down),
            output_norm: norm(small.output_norm),
        };
    }
}

/// The transpose of a row-major matrix of so many columns.
pub(super) fn transposed(matrix: &[f32], columns: usize) -> Vec<f32> {
    let column = |column: usize| matrix.iter().skip(column).step_by(columns.max(1)).copied();
    (0..columns).flat_map(column).collect()
}
