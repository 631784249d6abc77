//! The share node: it brings the bytes of [`protocol`]'s machines from process to process.
//!
//! Identities and TLS, frames, packs on disk, transcripts, sharings, the node itself and its client. What is computed on
//! shares, and why nobody learns from it, is in `sahara-protocol`.

pub mod accounts;
pub mod address;
pub mod cache;
pub mod channel;
pub mod client;
pub mod committee;
pub mod config;
mod dial;
pub mod doctor;
pub mod durable;
pub mod engine;
pub mod identity;
mod ids;
pub mod lane;
pub mod manifest;
pub mod market;
pub mod meter;
pub mod models;
pub mod node;
pub mod packs;
mod pool;
pub mod records;
pub mod rounds;
pub mod status;
pub mod tls;
pub mod transcript;
pub mod wire;

pub use sahara_circuits::bytes;
pub use sahara_protocol as protocol;
