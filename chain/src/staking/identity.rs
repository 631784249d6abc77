//! Which chain this is, and what a validator signs with its consensus key to show that the key is its own.

use alloy_primitives::{Address, B256, U256, keccak256};
use ed25519_dalek::{Signature, VerifyingKey};

use super::{
    error::{Result, need},
    storage::{Storage, field, slot, small},
};
use crate::{error::StoreError, validator::ConsensusKey};

/// No vote or proposal of CometBFT begins like this: those begin with their length and a field's number.
const DOMAIN: &[u8] = b"SAHARA-VALIDATOR-KEY-POSSESSION-1";

/// Version of what the words of this contract mean. A state with another one is refused by name.
pub const FORMAT: u64 = 2;

/// Where the version lies.
pub fn format_slot() -> U256 {
    slot("format", &[])
}

/// Remembers which chain this is.
///
/// # Errors
/// When the store cannot be read, or what it holds there is damaged.
pub fn identify(
    storage: &mut impl Storage,
    chain_name: &str,
    evm_chain_id: u64,
) -> std::result::Result<(), StoreError> {
    storage.store(format_slot(), U256::from(FORMAT))?;
    storage.store(slot("chain", &[]), keccak256(chain_name).into())?;
    storage.store(field(slot("chain", &[]), 1), U256::from(evm_chain_id))
}

/// What `key` signs so that `operator` may register it on the chain with this name and EVM chain id.
pub fn possession(chain_name: &str, evm_chain_id: u64, operator: Address, key: ConsensusKey) -> Vec<u8> {
    message(keccak256(chain_name), evm_chain_id, operator, key)
}

fn message(chain: B256, evm_chain_id: u64, operator: Address, key: ConsensusKey) -> Vec<u8> {
    [DOMAIN, chain.as_slice(), &evm_chain_id.to_be_bytes(), operator.as_slice(), key.0.as_slice()].concat()
}

/// Whether `proof` shows that `operator` has the secret of `key`, for this chain and nothing else.
pub fn check(storage: &mut impl Storage, operator: Address, key: ConsensusKey, proof: &[u8]) -> Result<()> {
    let chain = storage.load(slot("chain", &[]))?;
    let evm_chain_id = small(storage.load(field(slot("chain", &[]), 1))?);
    let signed = message(chain.into(), evm_chain_id, operator, key);
    let known = VerifyingKey::from_bytes(&key.0.0).ok().filter(|known| !known.is_weak());
    need(known.is_some(), "not an ed25519 key")?;
    let proof = Signature::from_slice(proof).ok();
    let holds = known.zip(proof).is_some_and(|(known, proof)| known.verify_strict(&signed, &proof).is_ok());
    need(holds, "the proof does not show that this key is yours: see `sahara chain keys --help`")
}
