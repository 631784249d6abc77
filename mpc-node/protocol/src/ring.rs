//! Share arithmetic: the ring of machine words, bit planes, and the pseudorandom streams that masks come from.

pub mod bits;
pub(crate) mod kernels;
mod keystream;
mod planes;
pub mod prg;
pub mod secret;
pub mod words;
