//! The SDK of Sahara: text in, answers out, and no share node learns the text.
//!
//! What there is:
//!
//! * [`models`]: models on this machine, brought in and compiled to integer graphs;
//! * [`embedding`]: the interface of everything that embeds text or sorts it into classes, and the engines that need no
//!   network;
//! * [`network`]: the engine that shares the input among three nodes, and what owners of models do there;
//! * [`home`] and [`keys`]: where files and keys of whoever uses this machine are kept;
//! * [`progress`]: what is said while something takes long;
//! * [`error`]: why something could not be done, and who can put it right;

#![forbid(unsafe_code)]
#![warn(clippy::missing_errors_doc)]

pub mod embedding;
pub mod error;
pub mod home;
pub mod keys;
pub mod models;
pub mod network;
pub mod progress;

pub use error::{Error, Result};
/// The integer graphs that models are compiled to.
pub use sahara_circuits as circuits;
/// The share nodes, and their client.
pub use sahara_mpc as mpc;
