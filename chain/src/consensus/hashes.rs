//! The hashes of headers, validators, commits, transactions and results, and the bytes that a vote signs.

use prost::Message;
use sha2::{Digest, Sha256};
use tendermint_proto::{
    google::protobuf::Timestamp,
    v0_38::{
        abci::ExecTxResult,
        crypto::{PublicKey, public_key::Sum},
        types::{
            Block, BlockId, CanonicalBlockId, CanonicalPartSetHeader, CanonicalVote, Commit, HashedParams, Header,
            PartSetHeader, SignedMsgType, SimpleValidator,
        },
    },
};

use crate::{application::TxResult, merkle, validator::ValidatorUpdate};

/// Blocks travel in parts of this size.
const PART_BYTES: usize = 65_536;

/// The hash of a header: what a commit signs and the next block points to.
pub fn header(header: &Header) -> merkle::Hash {
    let message = |m: Option<Vec<u8>>| m.unwrap_or_default();
    merkle::root(&[
        message(header.version.as_ref().map(Message::encode_to_vec)),
        string(&header.chain_id),
        int64(header.height),
        message(header.time.as_ref().map(Message::encode_to_vec)),
        message(header.last_block_id.as_ref().map(Message::encode_to_vec)),
        bytes(&header.last_commit_hash),
        bytes(&header.data_hash),
        bytes(&header.validators_hash),
        bytes(&header.next_validators_hash),
        bytes(&header.consensus_hash),
        bytes(&header.app_hash),
        bytes(&header.last_results_hash),
        bytes(&header.evidence_hash),
        bytes(&header.proposer_address),
    ])
}

/// The hash of a set of validators, in the order of the engine.
pub fn validators(validators: &[ValidatorUpdate]) -> merkle::Hash {
    let leaves: Vec<Vec<u8>> = validators
        .iter()
        .map(|validator| {
            let pub_key = Some(PublicKey { sum: Some(Sum::Ed25519(validator.key.0.to_vec())) });
            let voting_power = i64::try_from(validator.power).unwrap_or(i64::MAX);
            SimpleValidator { pub_key, voting_power }.encode_to_vec()
        })
        .collect();
    merkle::root(&leaves)
}

/// The hash of a commit's signatures.
pub fn commit(commit: &Commit) -> merkle::Hash {
    merkle::root(&commit.signatures.iter().map(Message::encode_to_vec).collect::<Vec<_>>())
}

/// The hash of a block's transactions.
pub fn data<T: AsRef<[u8]>>(txs: &[T]) -> merkle::Hash {
    merkle::root(&txs.iter().map(Sha256::digest).collect::<Vec<_>>())
}

/// The hash of results, without the parts that may differ from node to node.
pub fn results(results: &[TxResult]) -> merkle::Hash {
    let leaves: Vec<Vec<u8>> = results
        .iter()
        .map(|result| {
            ExecTxResult {
                code: result.code,
                data: result.data.clone().into(),
                gas_wanted: i64::try_from(result.gas_wanted).unwrap_or(i64::MAX),
                gas_used: i64::try_from(result.gas_used).unwrap_or(i64::MAX),
                ..ExecTxResult::default()
            }
            .encode_to_vec()
        })
        .collect();
    merkle::root(&leaves)
}

/// The hash of the consensus parameters.
pub fn params(block_max_bytes: i64, block_max_gas: i64) -> merkle::Hash {
    Sha256::digest(HashedParams { block_max_bytes, block_max_gas }.encode_to_vec()).into()
}

/// The name of a block: the hash of its header, and of its parts as they travel.
pub fn block_id(block: &Block) -> BlockId {
    let encoded = block.encode_to_vec();
    let parts: Vec<&[u8]> = encoded.chunks(PART_BYTES).collect();
    BlockId {
        hash: block.header.as_ref().map(|h| header(h).to_vec()).unwrap_or_default(),
        part_set_header: Some(PartSetHeader {
            total: u32::try_from(parts.len()).unwrap_or(u32::MAX),
            hash: merkle::root(&parts).to_vec(),
        }),
    }
}

/// What a validator signs to commit to a block.
pub fn precommit(chain_id: &str, height: i64, round: i32, id: &BlockId, time: Timestamp) -> Vec<u8> {
    let parts = id.part_set_header.as_ref();
    CanonicalVote {
        r#type: SignedMsgType::Precommit.into(),
        height,
        round: round.into(),
        block_id: Some(CanonicalBlockId {
            hash: id.hash.clone(),
            part_set_header: parts.map(|p| CanonicalPartSetHeader { total: p.total, hash: p.hash.clone() }),
        }),
        timestamp: Some(time),
        chain_id: chain_id.to_owned(),
    }
    .encode_length_delimited_to_vec()
}

/// A value as the only field of a message, which is how the engine encodes header fields; empty stays empty.
fn bytes(value: &Vec<u8>) -> Vec<u8> {
    match value.is_empty() {
        true => vec![],
        false => tagged(|out| prost::encoding::bytes::encode(1, value, out)),
    }
}

fn string(value: &String) -> Vec<u8> {
    match value.is_empty() {
        true => vec![],
        false => tagged(|out| prost::encoding::string::encode(1, value, out)),
    }
}

fn int64(value: i64) -> Vec<u8> {
    match value {
        0 => vec![],
        _ => tagged(|out| prost::encoding::int64::encode(1, &value, out)),
    }
}

fn tagged(write: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut out = Vec::new();
    write(&mut out);
    out
}
