//! For tests: chains of made-up validators whose headers are signed as real ones are, and states with their proofs. The
//! bytes are written from CometBFT's messages, not by the code that reads them.

use std::{collections::BTreeMap, time::Duration};

use alloy_primitives::{Address, B256, Bytes, U256, keccak256};
use alloy_trie::{EMPTY_ROOT_HASH, HashBuilder, Nibbles, proof::ProofRetainer};
use ed25519_dalek::{Signer, SigningKey};
use prost::Message;
use sha2::{Digest, Sha256};
use tendermint_proto::{
    google::protobuf::Timestamp,
    v0_38::{
        crypto::{PublicKey, public_key::Sum},
        types::{
            BlockId, BlockIdFlag, CanonicalBlockId, CanonicalPartSetHeader, CanonicalVote, Commit, CommitSig, Header,
            PartSetHeader, SignedHeader, SignedMsgType, SimpleValidator, Validator, ValidatorSet,
        },
        version::Consensus,
    },
};

use crate::{
    headers::{LightBlock, Rules},
    state::{AccountFields, AccountProof, SlotProof, StateProof, Step},
};

pub const CHAIN: &str = "forged-1";
/// When height 0 would have been made; each height is a second later.
pub const START: Duration = Duration::from_secs(1_700_000_000);

pub fn rules() -> Rules {
    Rules { chain: CHAIN.into(), trusting_period: Duration::from_secs(10_000), clock_drift: Duration::from_secs(10) }
}

/// When the block at `height` is made.
pub fn time(height: u64) -> Duration {
    START + Duration::from_secs(height)
}

/// Validators by the number of their key, with their power.
pub type Powers = Vec<(u8, i64)>;

/// A block that is to be signed.
#[derive(Clone)]
pub struct Draft {
    pub chain: String,
    pub height: u64,
    pub time: Duration,
    pub validators: Powers,
    pub next: Powers,
    pub app_hash: B256,
    /// Who signs.
    pub signers: Vec<u8>,
}

impl Draft {
    /// The block at `height` of a chain whose `validators` stay and all sign.
    pub fn new(height: u64, validators: &[(u8, i64)]) -> Self {
        Self {
            chain: CHAIN.into(),
            height,
            time: time(height),
            validators: validators.to_vec(),
            next: validators.to_vec(),
            app_hash: B256::repeat_byte(1),
            signers: validators.iter().map(|(number, _)| *number).collect(),
        }
    }

    pub fn parts(&self) -> (SignedHeader, ValidatorSet, ValidatorSet) {
        let (validators, next) = (set(&self.validators), set(&self.next));
        let header = Header {
            version: Some(Consensus { block: 11, app: 0 }),
            chain_id: self.chain.clone(),
            height: i64::try_from(self.height).unwrap(),
            time: Some(stamp(self.time)),
            last_block_id: Some(BlockId { hash: vec![], part_set_header: Some(PartSetHeader::default()) }),
            last_commit_hash: root(&[]).to_vec(),
            data_hash: root(&[]).to_vec(),
            validators_hash: set_hash(&validators).to_vec(),
            next_validators_hash: set_hash(&next).to_vec(),
            consensus_hash: vec![2; 32],
            app_hash: self.app_hash.to_vec(),
            last_results_hash: root(&[]).to_vec(),
            evidence_hash: root(&[]).to_vec(),
            proposer_address: address(self.validators[0].0),
        };
        let parts = PartSetHeader { total: 1, hash: vec![3; 32] };
        let id = BlockId { hash: header_hash(&header).to_vec(), part_set_header: Some(parts) };
        let signatures = validators.validators.iter().map(|validator| {
            let number = self.validators.iter().find(|(number, _)| address(*number) == validator.address).unwrap().0;
            match self.signers.contains(&number) {
                true => self.sign(number, &id),
                false => absent(),
            }
        });
        let signatures = signatures.collect();
        let commit = Commit { height: header.height, round: 0, block_id: Some(id), signatures };
        (SignedHeader { header: Some(header), commit: Some(commit) }, validators, next)
    }

    pub fn sign(&self, number: u8, id: &BlockId) -> CommitSig {
        let parts = id.part_set_header.as_ref().unwrap();
        let vote = CanonicalVote {
            r#type: SignedMsgType::Precommit.into(),
            height: i64::try_from(self.height).unwrap(),
            round: 0,
            block_id: Some(CanonicalBlockId {
                hash: id.hash.clone(),
                part_set_header: Some(CanonicalPartSetHeader { total: parts.total, hash: parts.hash.clone() }),
            }),
            timestamp: Some(stamp(self.time)),
            chain_id: self.chain.clone(),
        };
        CommitSig {
            block_id_flag: BlockIdFlag::Commit.into(),
            validator_address: address(number),
            timestamp: Some(stamp(self.time)),
            signature: key(number).sign(&vote.encode_length_delimited_to_vec()).to_bytes().to_vec(),
        }
    }

    pub fn block(&self) -> LightBlock {
        pack(&self.parts())
    }

    pub fn hash(&self) -> B256 {
        header_hash(&self.parts().0.header.unwrap()).into()
    }
}

pub fn pack((signed, validators, next): &(SignedHeader, ValidatorSet, ValidatorSet)) -> LightBlock {
    LightBlock {
        signed_header: signed.encode_to_vec().into(),
        validators: validators.encode_to_vec().into(),
        next_validators: next.encode_to_vec().into(),
    }
}

pub fn absent() -> CommitSig {
    CommitSig {
        block_id_flag: BlockIdFlag::Absent.into(),
        validator_address: vec![],
        timestamp: Some(Timestamp { seconds: -62_135_596_800, nanos: 0 }),
        signature: vec![],
    }
}

fn stamp(time: Duration) -> Timestamp {
    Timestamp { seconds: i64::try_from(time.as_secs()).unwrap(), nanos: i32::try_from(time.subsec_nanos()).unwrap() }
}

fn key(number: u8) -> SigningKey {
    SigningKey::from_bytes(&[number; 32])
}

fn public(number: u8) -> Vec<u8> {
    key(number).verifying_key().to_bytes().to_vec()
}

pub fn address(number: u8) -> Vec<u8> {
    Sha256::digest(public(number))[..20].to_vec()
}

/// The set in the engine's order: the most powerful first, then by address.
pub fn set(powers: &[(u8, i64)]) -> ValidatorSet {
    let mut validators: Vec<Validator> = powers
        .iter()
        .map(|(number, power)| Validator {
            address: address(*number),
            pub_key: Some(PublicKey { sum: Some(Sum::Ed25519(public(*number))) }),
            voting_power: *power,
            proposer_priority: 0,
        })
        .collect();
    validators.sort_by_key(|validator| (std::cmp::Reverse(validator.voting_power), validator.address.clone()));
    ValidatorSet { validators, ..ValidatorSet::default() }
}

pub fn set_hash(set: &ValidatorSet) -> [u8; 32] {
    let leaves = set.validators.iter().map(|validator| {
        let simple = SimpleValidator { pub_key: validator.pub_key.clone(), voting_power: validator.voting_power };
        simple.encode_to_vec()
    });
    root(&leaves.collect::<Vec<_>>())
}

pub fn header_hash(header: &Header) -> [u8; 32] {
    let bytes = |value: &Vec<u8>| match value.len() {
        0 => vec![],
        length => [&[0x0a, u8::try_from(length).unwrap()], value.as_slice()].concat(),
    };
    let mut height = vec![0x08];
    prost::encoding::encode_varint(header.height.unsigned_abs(), &mut height);
    root(&[
        header.version.as_ref().unwrap().encode_to_vec(),
        bytes(&header.chain_id.clone().into_bytes()),
        height,
        header.time.as_ref().unwrap().encode_to_vec(),
        header.last_block_id.as_ref().unwrap().encode_to_vec(),
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

/// The simple Merkle tree.
fn root(items: &[Vec<u8>]) -> [u8; 32] {
    match items {
        [] => Sha256::digest(b"").into(),
        [one] => Sha256::digest([&[0], one.as_slice()].concat()).into(),
        many => {
            let (left, right) = many.split_at(many.len().next_power_of_two() / 2);
            Sha256::digest([&[1], root(left).as_slice(), &root(right)].concat()).into()
        }
    }
}

/// Storage words by account.
pub type Words = BTreeMap<Address, BTreeMap<B256, U256>>;

/// A state with `words`, its application hash, and the proof of `wanted` (whose header is missing yet).
pub fn state(words: &Words, wanted: &[(Address, B256)]) -> (B256, StateProof) {
    let fields: BTreeMap<Address, AccountFields> = words
        .iter()
        .map(|(address, slots)| {
            let nonce = U256::from(slots.len());
            let storage_hash = trie(&leaves(slots), &[]).0;
            (*address, AccountFields { nonce, balance: nonce, storage_hash, code_hash: B256::repeat_byte(5) })
        })
        .collect();
    let accounts: BTreeMap<B256, Vec<u8>> =
        fields.iter().map(|(address, fields)| (keccak256(address), alloy_rlp::encode(fields))).collect();
    let mut asked: BTreeMap<Address, Vec<B256>> = BTreeMap::new();
    wanted.iter().for_each(|(address, slot)| asked.entry(*address).or_default().push(*slot));
    let proofs = asked.iter().map(|(address, slots)| {
        let stored = words.get(address).cloned().unwrap_or_default();
        let slots = slots.iter().map(|slot| SlotProof {
            key: U256::from_be_bytes(slot.0),
            value: stored.get(slot).copied().unwrap_or_default(),
            proof: trie(&leaves(&stored), &[keccak256(slot)]).1,
        });
        AccountProof {
            address: *address,
            account: fields.get(address).copied(),
            account_proof: trie(&accounts, &[keccak256(address)]).1,
            storage_proof: slots.collect(),
        }
    });
    let evm = trie(&accounts, &[]).0;
    let (app_hash, root_path) = app_hash(evm);
    (app_hash, StateProof { header: LightBlock::default(), root: evm, root_path, accounts: proofs.collect() })
}

/// The ledger's three stores, of which Ethereum's is the second.
fn app_hash(evm: B256) -> (B256, Vec<Step>) {
    let leaf = |name: &str, root: B256| {
        let hashed = Sha256::digest(root);
        let item = [&[u8::try_from(name.len()).unwrap()], name.as_bytes(), &[32], hashed.as_slice()].concat();
        <[u8; 32]>::from(Sha256::digest([&[0], item.as_slice()].concat()))
    };
    let node = |a: [u8; 32], b: [u8; 32]| <[u8; 32]>::from(Sha256::digest([&[1], a.as_slice(), &b].concat()));
    let (chain, ibc) = (leaf("chain", B256::repeat_byte(7)), leaf("ibc", B256::repeat_byte(8)));
    let root = node(node(chain, leaf("evm", evm)), ibc);
    (root.into(), vec![Step::Left(chain.into()), Step::Right(ibc.into())])
}

fn leaves(slots: &BTreeMap<B256, U256>) -> BTreeMap<B256, Vec<u8>> {
    slots.iter().map(|(slot, value)| (keccak256(slot), alloy_rlp::encode(value))).collect()
}

/// The root over `leaves`, and the nodes towards `keys`.
fn trie(leaves: &BTreeMap<B256, Vec<u8>>, keys: &[B256]) -> (B256, Vec<Bytes>) {
    if leaves.is_empty() {
        return (EMPTY_ROOT_HASH, vec![]);
    }
    let mut builder =
        HashBuilder::default().with_proof_retainer(ProofRetainer::new(keys.iter().map(Nibbles::unpack).collect()));
    leaves.iter().for_each(|(key, value)| builder.add_leaf(Nibbles::unpack(key), value));
    let root = builder.root();
    let nodes = builder.take_proof_nodes().into_nodes_sorted();
    (root, nodes.into_iter().map(|(_, node)| node).collect())
}
