//! A round: vectors of many providers on shares, of which one bit each (is it short enough?) and one noisy sum are opened.
//!
//! A provider's vector has integer coordinates of `bits` bits in two's complement, shared modulo 2^bits: whatever two shares it
//! sends, their sum *is* such a number, so that no coordinate is out of range. The evaluators lift the shares to 64 bits, where
//! the sum of squares cannot wrap, and open for each vector whether that sum is within the bound ([`Check`]). Vectors that are
//! go into a [`Sum`], with noise of all three nodes ([`NodeNoise`]); that is opened, and nothing else. The helper deals what a
//! check takes ([`CheckDealing`]) and shares of its own noise.
//!
//! `PROTOCOL.md` argues correctness, what each node sees, and what the noise is good for.

mod check;
mod deal;
mod noise;
mod sum;
#[cfg(test)]
mod tests;
mod vectors;

pub use check::{Check, CheckStep, Checked, Opening};
pub use deal::CheckDealing;
pub use noise::{NodeNoise, noise_share_from_seed, share_noise};
pub use sum::Sum;
pub use vectors::{MOST_BITS, MOST_DIMENSION, MOST_VECTORS, RoundError, Vectors, share, share_from_seed};
