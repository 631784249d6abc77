//! The integer graph: one exact definition of what a model computes, small enough to run on shares, prove and dispute.
#![deny(unsafe_code)] // the SIMD kernels alone opt out

#[cfg(feature = "compile")]
pub mod bert;
#[cfg(feature = "compile")]
mod builder;
pub mod bytes;
pub mod check;
pub mod codec;
#[cfg(feature = "frontend")]
mod files;
#[cfg(feature = "float")]
pub mod float;
#[cfg(feature = "frontend")]
pub mod frontend;
#[cfg(feature = "compile")]
pub mod gradient;
pub mod graph;
#[cfg(feature = "compile")]
pub mod hf;
pub mod kernels;
#[cfg(feature = "compile")]
mod linalg;
#[cfg(feature = "frontend")]
pub mod model;
pub mod reference;
#[doc(hidden)]
pub mod testgraph;
#[cfg(feature = "compile")]
#[doc(hidden)]
pub mod testmodel;
#[cfg(feature = "float")]
pub mod trainable;
#[cfg(feature = "compile")]
pub mod votes;
pub mod weights;
