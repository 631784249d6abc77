//! Norms of the gradients of a matrix, example by example, that are never made.
//!
//! The gradient of an example is `Σ xₜ·δₜ` over its tokens (an outer product each), and the square of its norm `Σ (xₜ·xₛ)(δₜ·δₛ)`
//! over pairs of them (Li, Tramèr, Liang and Hashimoto, 2022). Terms of it may cancel, and so may those of the gradient when
//! it is summed in single precision; both go wrong by a part of `(Σ |xₜ||δₜ|)²`, the square of its spread, which is kept too.

use super::super::matmul::{Left, Right, multiply, wide};

/// Room for the products of a text's rows.
#[derive(Default)]
pub struct Ghost {
    right: Right,
    x: Vec<f32>,
    delta: Vec<f32>,
}

/// What is known of a gradient.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Known {
    /// The square of a number that its norm is not above.
    pub square: f64,
    /// The square of its spread.
    pub spread: f64,
}

/// How many times the bound the spread of a clipped gradient may be.
pub const SPREAD: f64 = 8.0;

/// The square of a row's norm above which its example is taken for no number: times a gradient that is too small to be squared in
/// single precision it could still be something.
const MOST_SQUARE: f32 = (1_u64 << 60) as f32;

impl Known {
    /// The square of a number that the norm is not above, and of which the spread is at most [`SPREAD`] times; no number if
    /// something was none or infinite.
    pub fn bound(self) -> f64 {
        if !(self.square.is_finite() && self.spread.is_finite()) {
            return f64::NAN;
        }
        self.square.max(self.spread / (SPREAD * SPREAD))
    }
}

impl Ghost {
    /// Adds to `known` what an example's rows have: `x`, so many numbers a row, went in, and `delta` is the gradient of what came out.
    pub fn add(&mut self, x: &[f32], inputs: usize, delta: &[f32], outputs: usize, known: &mut Known) {
        let rows = x.len() / inputs;
        products(x, inputs, &mut self.right, &mut self.x);
        products(delta, outputs, &mut self.right, &mut self.delta);
        let (mut square, mut spread) = (0.0_f64, 0.0_f64);
        wide(|| {
            for (x, delta) in self.x.chunks_exact(rows).zip(self.delta.chunks_exact(rows)) {
                let mut strands = [0.0_f32; 16];
                let ((x, x_rest), (delta, delta_rest)) = (x.as_chunks::<16>(), delta.as_chunks::<16>());
                for (x, delta) in x.iter().zip(delta) {
                    (0..16).for_each(|i| strands[i] += x[i] * delta[i]);
                }
                let rest: f32 = x_rest.iter().zip(delta_rest).map(|(x, delta)| x * delta).sum();
                square += f64::from(strands.iter().sum::<f32>() + rest);
            }
        });
        for row in 0..rows {
            let at = row * rows + row;
            let (x, delta) = (self.x[at], self.delta[at]);
            spread +=
                if x.max(delta) <= MOST_SQUARE { (f64::from(x) * f64::from(delta)).sqrt() } else { f64::INFINITY };
        }
        // Inner products are sums of as many numbers as a row has, and products of them are summed in strands of a sixteenth.
        let rounded = (inputs + outputs + rows / 16 + 24) as f64;
        known.square += square + spread * spread * rounded * 2.0_f64.powi(-24);
        known.spread += spread * spread;
    }
}

/// The inner products of all pairs of rows.
fn products(rows: &[f32], width: usize, right: &mut Right, to: &mut Vec<f32>) {
    let count = rows.len() / width;
    right.lay_transposed(rows, width, count);
    to.resize(count * count, 0.0);
    multiply(Left::Rows(rows), right, to, false);
}
