//! The SDK of Sahara: text in, answers out, and no share node learns the text.
//!
//! Text becomes tokens, integers and shares here, on the machine of whoever asks, and nowhere else:
//!
//! * [`models`]: models on this machine, brought in and compiled to integer graphs;
//! * [`embedding`]: the interface of everything that embeds text, and the engines that need no network;
//! * [`network`]: the engine that shares the input among three nodes, and what owners of models do there;
//! * [`home`] and [`keys`]: where files and keys of whoever uses this machine are kept;
//! * [`progress`]: what is said while something takes long.

#![forbid(unsafe_code)]

pub mod embedding;
pub mod error;
pub mod home;
pub mod keys;
pub mod models;
pub mod network;
pub mod progress;
