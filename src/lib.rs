//! The SDK of Sahara, and the commands of the `sahara` program built on it.
//!
//! Text becomes tokens, integers and shares here, on the machine of whoever asks, and nowhere else:
//!
//! * [`models`]: models on this machine, brought in and compiled to integer graphs;
//! * [`embedding`]: the interface of everything that embeds text, and the engines that need no network;
//! * [`network`]: the engine that shares the input among three nodes;
//! * [`devnet`]: three nodes on this machine;
//! * [`gateway`]: an OpenAI-compatible server over any engine;
//! * [`demo`]: all of it together, compared and counted.

#![deny(unsafe_code)] // one call to the allocator's parameters opts out

pub mod cli;
pub mod cpu;
pub mod demo;
pub mod devnet;
pub mod embedding;
pub mod error;
pub mod gateway;
pub mod home;
pub mod keys;
mod memory;
pub mod models;
pub mod network;
pub mod progress;
