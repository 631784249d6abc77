//! The integer graph: one exact definition of what a model computes, small enough to run on shares, prove and dispute.
#![deny(unsafe_code)] // the SIMD kernels alone opt out

pub mod bert;
mod builder;
pub mod bytes;
pub mod check;
pub mod codec;
pub mod float;
pub mod frontend;
pub mod graph;
pub mod hf;
pub mod kernels;
mod linalg;
pub mod model;
pub mod reference;
#[doc(hidden)]
pub mod testgraph;
#[doc(hidden)]
pub mod testmodel;
pub mod weights;
