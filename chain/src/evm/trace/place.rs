//! Where in the chain an execution is, and bytes as tracers write them.

use alloy_primitives::{B256, Bytes};

/// Where in the chain an execution is.
#[derive(Clone, Copy, Debug, Default)]
pub struct Place {
    /// The block, if it is one of the chain's.
    pub block_hash: Option<B256>,
    /// Its height.
    pub number: u64,
    /// The index of the transaction in it.
    pub index: usize,
    /// How many logs the block has before.
    pub first_log: usize,
}

/// Bytes as JSON.
pub fn hex(bytes: &Bytes) -> String {
    format!("\"{}\"", alloy_primitives::hex::encode_prefixed(bytes))
}
