//! The integer graph: one exact definition of what a model computes, small enough to run on shares, prove and dispute.
#![deny(unsafe_code)] // the SIMD kernels alone opt out

pub mod bytes;
pub mod check;
pub mod codec;
pub mod graph;
pub mod kernels;
pub mod reference;
pub mod testgraph;
pub mod weights;
