//! Share arithmetic, protocols, transport and the share node.
//!
//! [`protocol`] computes an integer graph on shares as pure state machines; everything else brings its bytes from
//! process to process: identities and TLS, frames, packs on disk, transcripts, the node itself and its client.

pub mod cache;
pub mod channel;
pub mod client;
pub mod codec;
pub mod committee;
pub mod config;
pub mod doctor;
pub mod engine;
pub mod identity;
pub mod lane;
pub mod manifest;
pub mod meter;
mod metrics;
pub mod models;
pub mod node;
pub mod packs;
pub mod protocol;
pub mod records;
pub mod ring;
pub mod status;
pub mod tls;
pub mod transcript;
pub mod wire;
