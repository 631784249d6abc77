//! What is proven of the state from a header that is believed: words of contracts' storage, and that there are none.
//!
//! The header has the application's hash. That is the root of a simple Merkle tree over the roots of the ledger's stores,
//! one of which is Ethereum's trie of accounts; each account has the root of its storage.

use std::collections::BTreeMap;

use alloy_primitives::{Address, B256, Bytes, U256, keccak256};
use alloy_rlp::RlpEncodable;
use alloy_trie::{Nibbles, proof::verify_proof};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::{
    headers::LightBlock,
    signature::{inner, leaf},
};

/// Words in one question.
pub const MAX_WORDS: usize = 256;
/// The name of the store of accounts in the application's hash.
const STORE: &[u8] = b"evm";
/// Nodes from a leaf to the application's hash.
const MAX_PATH: usize = 8;
/// Nodes from the root of a trie to a leaf: keys have 64 digits.
const MAX_NODES: usize = 65;
/// Bytes of a node: sixteen hashes and what is around them.
const MAX_NODE_BYTES: usize = 600;

/// The state of one height with its proofs, as `sahara_proof` answers.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct StateProof {
    /// The header after that height, which has the application's hash.
    pub header: LightBlock,
    /// The root of Ethereum's trie.
    pub root: B256,
    /// The way from that root to the application's hash.
    pub root_path: Vec<Step>,
    /// The accounts that were asked for.
    pub accounts: Vec<AccountProof>,
}

/// On the way to the application's hash: the hash beside it, by its side.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Step {
    /// It is on the left.
    Left(B256),
    /// It is on the right.
    Right(B256),
}

/// One account.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AccountProof {
    /// Its address.
    pub address: Address,
    /// What it is; nothing if it is not there.
    pub account: Option<AccountFields>,
    /// Nodes of the accounts' trie from the root on.
    pub account_proof: Vec<Bytes>,
    /// Words of its storage.
    pub storage_proof: Vec<SlotProof>,
}

/// An account's leaf.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, RlpEncodable)]
#[serde(rename_all = "camelCase")]
pub struct AccountFields {
    /// Transactions that it sent.
    pub nonce: U256,
    /// What it has.
    pub balance: U256,
    /// The root of its storage.
    pub storage_hash: B256,
    /// The hash of its code.
    pub code_hash: B256,
}

/// One word.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SlotProof {
    /// Its slot.
    pub key: U256,
    /// What is there; zero if nothing is.
    pub value: U256,
    /// Nodes of the storage's trie from its root on.
    pub proof: Vec<Bytes>,
}

/// Why a state is not believed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ProofError {
    /// The root is not in the application's hash.
    #[error("the root {root} of the accounts is not part of the application hash {app_hash}")]
    Root {
        /// What was said to be the root.
        root: B256,
        /// The hash of the verified header.
        app_hash: B256,
    },
    /// It was not answered.
    #[error("no proof of the account {address}")]
    MissingAccount {
        /// Whose.
        address: Address,
    },
    /// The account is another, or its proof is none.
    #[error("the proof of the account {address} does not hold")]
    Account {
        /// Whose.
        address: Address,
    },
    /// It was not answered.
    #[error("no proof of slot {slot} of {address}")]
    MissingSlot {
        /// Whose.
        address: Address,
        /// Which.
        slot: B256,
    },
    /// The word is another, or its proof is none.
    #[error("the proof of slot {slot} of {address} does not hold")]
    Slot {
        /// Whose.
        address: Address,
        /// Which.
        slot: B256,
    },
    /// Longer than any proof.
    #[error("{what} has {count} parts or bytes, at most {most} are read")]
    TooLarge {
        /// What.
        what: &'static str,
        /// How many.
        count: usize,
        /// The limit.
        most: usize,
    },
}

/// The words that `proof` shows under `app_hash`, one for each of `wanted`, in its order.
///
/// # Errors
/// When one of them is not proven.
pub fn prove(app_hash: B256, proof: &StateProof, wanted: &[(Address, B256)]) -> Result<Vec<B256>, ProofError> {
    at_most("a question", wanted.len(), MAX_WORDS)?;
    at_most("the answer's list of accounts", proof.accounts.len(), MAX_WORDS)?;
    check_root(app_hash, proof)?;
    // The first of two that are named alike counts; both are proven or refused.
    let mut roots: BTreeMap<Address, (&AccountProof, B256)> = BTreeMap::new();
    let mut words = Vec::with_capacity(wanted.len());
    for (address, slot) in wanted {
        let (account, root) = match roots.get(address) {
            Some(known) => *known,
            None => {
                let found = proof.accounts.iter().find(|account| account.address == *address);
                let found = found.ok_or(ProofError::MissingAccount { address: *address })?;
                let known = (found, storage_root(proof.root, found)?);
                roots.insert(*address, known);
                known
            }
        };
        words.push(word(account, root, *slot)?);
    }
    Ok(words)
}

/// An account that `proof` shows under `app_hash`; nothing if it is proven that there is none.
///
/// # Errors
/// When neither is proven.
pub fn prove_account(app_hash: B256, proof: &StateProof, wanted: Address) -> Result<Option<AccountFields>, ProofError> {
    at_most("the answer's list of accounts", proof.accounts.len(), MAX_WORDS)?;
    check_root(app_hash, proof)?;
    let found = proof.accounts.iter().find(|account| account.address == wanted);
    let found = found.ok_or(ProofError::MissingAccount { address: wanted })?;
    storage_root(proof.root, found)?;
    Ok(found.account)
}

/// The root of the accounts is in the application's hash.
fn check_root(app_hash: B256, proof: &StateProof) -> Result<(), ProofError> {
    at_most("the way of a root", proof.root_path.len(), MAX_PATH)?;
    let length = u8::try_from(STORE.len()).unwrap_or(u8::MAX);
    let hashed: [u8; 32] = Sha256::digest(proof.root).into();
    let mut node = leaf(&[&[length], STORE, &[32], hashed.as_slice()].concat());
    for step in &proof.root_path {
        node = match step {
            Step::Left(other) => inner(&other.0, &node),
            Step::Right(other) => inner(&node, &other.0),
        };
    }
    match node == app_hash.0 {
        true => Ok(()),
        false => Err(ProofError::Root { root: proof.root, app_hash }),
    }
}

/// The root of an account's storage: that of an empty one, if the account is proven not to be there.
fn storage_root(root: B256, account: &AccountProof) -> Result<B256, ProofError> {
    let address = account.address;
    check_nodes(&account.account_proof)?;
    let key = Nibbles::unpack(keccak256(address));
    verify_proof(root, key, account.account.map(alloy_rlp::encode), &account.account_proof)
        .map_err(|_| ProofError::Account { address })?;
    Ok(account.account.map_or(alloy_trie::EMPTY_ROOT_HASH, |fields| fields.storage_hash))
}

/// The word at `slot` of an account whose storage has `root`.
fn word(account: &AccountProof, root: B256, slot: B256) -> Result<B256, ProofError> {
    let address = account.address;
    at_most("the answer's list of slots", account.storage_proof.len(), MAX_WORDS)?;
    let wanted = U256::from_be_bytes(slot.0);
    let found = account.storage_proof.iter().find(|found| found.key == wanted);
    let found = found.ok_or(ProofError::MissingSlot { address, slot })?;
    check_nodes(&found.proof)?;
    let leaf = (!found.value.is_zero()).then(|| alloy_rlp::encode(found.value));
    let key = Nibbles::unpack(keccak256(slot));
    verify_proof(root, key, leaf, &found.proof).map_err(|_| ProofError::Slot { address, slot })?;
    Ok(B256::from(found.value))
}

fn check_nodes(proof: &[Bytes]) -> Result<(), ProofError> {
    at_most("a proof", proof.len(), MAX_NODES)?;
    proof.iter().try_for_each(|node| at_most("a node of a proof", node.len(), MAX_NODE_BYTES))
}

fn at_most(what: &'static str, count: usize, most: usize) -> Result<(), ProofError> {
    match count <= most {
        true => Ok(()),
        false => Err(ProofError::TooLarge { what, count, most }),
    }
}

#[cfg(test)]
mod tests;
