//! Snapshots: a state in chunks that are checked one by one, for nodes that start without replaying every block.
//!
//! A manifest names the block, the application hash, the size of the state, which the state itself proves, and the hash of
//! each chunk. The chunks hold the flat values in
//! order; whoever restores them builds the tries and compares roots, so nothing in a snapshot has to be believed.

mod chunk;
mod folder;
mod make;
mod restore;

pub use folder::Folder;
pub use restore::{Restore, clear};

use alloy_primitives::B256;
use ics23::{CommitmentProof, HostFunctionsManager, verify_membership};
use prost::Message;
use sha2::{Digest, Sha256};

use crate::{
    application::Snapshot,
    error::StoreError,
    ledger::{Head, NEEDED_HEADERS},
    state::{AppHash, StoreRoots, proof::prove_key, size},
    store::Table,
};

/// Version of manifest and chunks.
pub const FORMAT: u32 = 2;

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
    /// How large the state is, with the proof of it.
    pub size: StateSize,
}

/// What a state says of its own size, proven against its application hash.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StateSize {
    /// Bytes of all flat keys and values.
    pub bytes: u64,
    /// Roots of the state's stores, in the order of their names.
    pub roots: [B256; 3],
    /// ICS-23 proof of the number in the chain's own store.
    pub proof: Vec<u8>,
}

/// No proof is longer: it has a few hundred bytes for each level of the tree.
const MAX_PROOF: usize = 64 << 10;

impl StateSize {
    /// Of the state that `head` has.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn of(head: &Head) -> Result<Self, StoreError> {
        let (value, proof) = prove_key(head.reader.as_ref(), head.height, size::KEY)?;
        let roots = head.roots.named().map(|(_, root)| root);
        Ok(Self { bytes: size::read(value.as_deref())?, roots, proof: proof.encode_to_vec() })
    }

    /// Whether the state with this application hash says so.
    pub fn holds(&self, app_hash: &AppHash) -> bool {
        let [chain, evm, ibc] = self.roots;
        let Ok(proof) = CommitmentProof::decode(self.proof.as_slice()) else { return false };
        let value = self.bytes.to_be_bytes();
        StoreRoots { chain, evm, ibc }.app_hash() == *app_hash
            && verify_membership::<HostFunctionsManager>(&proof, &jmt::ics23_spec(), &chain.to_vec(), size::KEY, &value)
    }

    /// The most chunks that such a state can have. Each but the last is full, and entries have a few bytes around them.
    fn most_chunks(&self) -> u64 {
        let around = self.bytes / 2 + MOST_HEADERS * MOST_HEADER;
        (self.bytes.saturating_add(around) / CHUNK as u64).saturating_add(1)
    }
}

/// Headers in a snapshot, and the bytes of each.
const MOST_HEADERS: u64 = NEEDED_HEADERS + 1;
const MOST_HEADER: u64 = 1024;

impl Manifest {
    /// The stored and sent bytes.
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = FORMAT.to_be_bytes().to_vec();
        bytes.extend(self.height.to_be_bytes());
        bytes.extend(self.app_hash.0);
        bytes.extend(self.size.bytes.to_be_bytes());
        bytes.extend(self.size.roots.iter().flatten());
        bytes.extend(u32::try_from(self.size.proof.len()).unwrap_or(u32::MAX).to_be_bytes());
        bytes.extend(&self.size.proof);
        bytes.extend(self.chunks.iter().flatten());
        bytes
    }

    /// Reads bytes that anybody may have sent.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let (format, rest) = bytes.split_first_chunk::<4>()?;
        let (height, rest) = rest.split_first_chunk::<8>()?;
        let (app_hash, rest) = rest.split_first_chunk::<32>()?;
        let (size, rest) = rest.split_first_chunk::<8>()?;
        let (roots, rest) = rest.split_first_chunk::<96>()?;
        let (length, rest) = rest.split_first_chunk::<4>()?;
        let length = usize::try_from(u32::from_be_bytes(*length)).ok().filter(|length| *length <= MAX_PROOF)?;
        let (proof, rest) = rest.split_at_checked(length)?;
        let [chain, evm, ibc] = roots.as_chunks::<32>().0 else { return None };
        let roots = [chain, evm, ibc].map(B256::from);
        let size = StateSize { bytes: u64::from_be_bytes(*size), roots, proof: proof.to_vec() };
        let (chunks, left) = rest.as_chunks::<32>();
        let sound = u32::from_be_bytes(*format) == FORMAT && left.is_empty();
        (sound && !chunks.is_empty() && chunks.len() <= MAX_CHUNKS).then(|| Self {
            height: u64::from_be_bytes(*height),
            app_hash: AppHash(app_hash.into()),
            chunks: chunks.to_vec(),
            size,
        })
    }

    /// Whether it can be a snapshot of the state with this application hash, which is trusted: of nothing larger.
    pub fn fits(&self, app_hash: &[u8]) -> bool {
        self.app_hash.0 == app_hash
            && self.size.holds(&self.app_hash)
            && self.chunks.len() as u64 <= self.size.most_chunks()
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
