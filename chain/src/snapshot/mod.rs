//! Snapshots: a state in chunks that are checked one by one, for nodes that start without replaying every block.
//!
//! A manifest names the block, the application hash and the hash of each chunk. The chunks hold the flat values in
//! order; whoever restores them builds the tries and compares roots, so nothing in a snapshot has to be believed.

mod chunk;
mod folder;
mod make;
mod restore;

pub use folder::Folder;
pub use restore::{Restore, clear};

use sha2::{Digest, Sha256};

use crate::{application::Snapshot, state::AppHash, store::Table};

/// Version of manifest and chunks.
pub const FORMAT: u32 = 1;

/// A chunk is closed once it has so many bytes.
const CHUNK: usize = 1 << 20;
/// No chunk has more bytes.
const MAX_CHUNK: usize = 8 << 20;
/// No snapshot has more chunks: its manifest must fit CometBFT's message of 4 MB.
const MAX_CHUNKS: usize = 100_000;

/// What a snapshot holds, in this order: code before the accounts that name it, accounts before their storage.
const SECTIONS: [Table; 5] = [Table::Code, Table::Accounts, Table::Storage, Table::ChainState, Table::Headers];

/// What a snapshot is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Manifest {
    /// The last block in it.
    pub height: u64,
    /// The hash after that block.
    pub app_hash: AppHash,
    /// SHA-256 of each chunk.
    pub chunks: Vec<[u8; 32]>,
}

impl Manifest {
    /// The stored and sent bytes.
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = FORMAT.to_be_bytes().to_vec();
        bytes.extend(self.height.to_be_bytes());
        bytes.extend(self.app_hash.0);
        bytes.extend(self.chunks.iter().flatten());
        bytes
    }

    /// Reads bytes that anybody may have sent.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let (format, rest) = bytes.split_first_chunk::<4>()?;
        let (height, rest) = rest.split_first_chunk::<8>()?;
        let (app_hash, rest) = rest.split_first_chunk::<32>()?;
        let (chunks, left) = rest.as_chunks::<32>();
        let sound = u32::from_be_bytes(*format) == FORMAT && left.is_empty();
        (sound && !chunks.is_empty() && chunks.len() <= MAX_CHUNKS).then(|| Self {
            height: u64::from_be_bytes(*height),
            app_hash: AppHash(app_hash.into()),
            chunks: chunks.to_vec(),
        })
    }

    /// For other nodes.
    pub fn announce(&self) -> Snapshot {
        let metadata = self.encode();
        Snapshot {
            height: self.height,
            format: FORMAT,
            chunks: u32::try_from(self.chunks.len()).unwrap_or(u32::MAX),
            hash: Sha256::digest(&metadata).to_vec(),
            metadata,
        }
    }
}
