//! Training that somebody can hold against the one who did it: a linear head by stochastic gradient descent in whole numbers,
//! each step committed to before the next begins.
//!
//! Two machines that are given the same rows, settings and secret make the same integers, so a proof or a dispute about a step
//! speaks of one computation. A [`Transcript`] has what was agreed on ([`Definition`]) and, for each step, commitments to the
//! weights before it, the batch, the gradient, the noise and the weights after it, chained by their hashes; [`verify`] does the
//! steps again and names the first that differs.
//!
//! # A step
//!
//! Rows are integers `x` with [`ROW_FRACTION`] fractional bits, from -1 to 1; the weights, `(inputs + 1) × classes` with the
//! biases last, have [`WEIGHT_FRACTION`]. `rescale(v, s) = ⌊(v + 2^(s-1)) / 2^s⌋` is the one rounding rule: half up, as everywhere
//! in this project. For the rows of a batch:
//!
//! 1. *forward*, an integer product: `z = (x, 2^12)·W`;
//! 2. *softmax*, by table: `t_c = min(rescale(max z - z_c, 22), 1023)`, `e_c = TABLE[t_c]`, `p_c = ⌊(2^17 e_c + S) / 2S⌋` with
//!    `S = Σ e`, which is `2^16 e_c / S` rounded half up. The table's bytes are part of the definition's digest;
//! 3. *error*: `δ_c = p_c - 2^16 [c is the row's class]`;
//! 4. *clip*: `N = ⌈‖δ‖⌉ · ⌈‖(x, 2^12)‖⌉` is not below the gradient's norm; with `C` the bound, both with 28 fractional bits,
//!    `f = 2^16` if `N ≤ C`, else `⌊2^16 C / N⌋`; `ε_c = rescale(f δ_c, 16)`;
//! 5. *gradient*, an integer product: `G = (x, 2^12)ᵀ·ε`, with 28 fractional bits. Nothing is rounded after the clip, so the order
//!    of the rows does not matter;
//! 6. *noise* `Z`, integers of the discrete Gaussian; `M = min(max(G + Z, -2^50), 2^50)`;
//! 7. *update*: `W ← min(max(W - rescale(rescale(M, 12) · a, shift), -2^24), 2^24)` with the step's multiplier `a`.
//!
//! Static bounds ([`Definition::check`]): `|z| ≤ (inputs + 1)·2^36`, `|f δ| ≤ 2^32`, `|G| ≤ cap·2^28`, `|rescale(M, 12)·a| ≤ 2^54`;
//! all below 2^62 for whatever rows and weights there are, so that 64 bits do not wrap.
//!
//! # What is private
//!
//! Batches and noise come from a secret that is drawn once and committed to before the first step. It stays secret: who knows the
//! batches gets no amplification by sampling, who knows the noise subtracts it. So commitments to rows, batches, gradients and
//! noise are under keys that are derived from it, and say nothing without; those of the weights are open, because the account of
//! the run is of all its weights. Neighbours' gradients lie apart by at most `C·2^28 + ⌈2^12 √(inputs + 1)⌉·√classes / 2`: the
//! bound, and the rounding of `ε`.
//!
//! What a verified transcript does *not* say: that the secret was drawn by chance. Whoever trains could try many, and keep one whose
//! noise is small. It takes somebody else's randomness, drawn after the commitment to the secret is known, to take that away:
//! [`Definition::beacon`].

mod commit;
mod definition;
mod rows;
mod step;
#[cfg(test)]
mod tests;
mod train;
mod transcript;

pub use definition::{Definition, DefinitionError, ROW_FRACTION, WEIGHT_FRACTION};
pub use rows::{Rows, RowsError};
pub use step::{Head, MOST_WEIGHT};
pub use train::{Difference, Part, ProvableError, Secret, train, verify};
pub use transcript::{Step, Transcript, TranscriptError};
