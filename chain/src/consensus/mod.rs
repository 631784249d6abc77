//! What a block is to Tendermint: header, commit, and the hashes that tie them together. Used by the embedded driver,
//! which makes such blocks; a real engine makes its own.

pub mod hashes;
pub mod time;

pub use tendermint_proto::v0_38::types::{Block, BlockId, Commit, CommitSig, Header, PartSetHeader};
pub use time::Time;

/// The version of the block format that these hashes belong to.
pub const BLOCK_PROTOCOL: u64 = 11;

/// Where the embedded driver keeps its last block, beside the ledger, in the table of names.
pub const DRIVER_KEY: &[u8] = b"embedded";
