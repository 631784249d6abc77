//! Where signatures count: EIP-712 domains.

use alloy_primitives::{Address, B256, U256, b256, keccak256};

/// A market, or another contract for which is signed, on a chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Domain {
    /// The chain (EIP-155).
    pub chain_id: u64,
    /// The contract that settles.
    pub market: Address,
}

/// What is signed in a domain: hashes of its name and version.
pub(crate) struct Purpose {
    pub(crate) name: B256,
    pub(crate) version: B256,
}

/// Hash of the type `EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)`.
const TYPE_HASH: B256 = b256!("8b73c3c69bb8fe3d512ecc4cf759cc79239f7b179b0ffacaa9a75d522b39400f");

impl Domain {
    /// EIP-712's digest of a struct with this hash.
    pub(crate) fn digest(&self, purpose: &Purpose, hash: B256) -> B256 {
        let mut signed = [0; 66];
        signed[..2].copy_from_slice(&[0x19, 0x01]);
        signed[2..34].copy_from_slice(self.separator(purpose).as_slice());
        signed[34..].copy_from_slice(hash.as_slice());
        keccak256(signed)
    }

    /// EIP-712's hash of the domain.
    pub(crate) fn separator(&self, purpose: &Purpose) -> B256 {
        let chain_id = U256::from(self.chain_id).into();
        let words = [TYPE_HASH, purpose.name, purpose.version, chain_id, self.market.into_word()];
        keccak256(words.map(|word| word.0).as_flattened())
    }
}

/// EIP-712's `hashStruct` of a struct whose fields are all static: they are hashed as Solidity encodes them.
pub(crate) fn hash_struct(type_hash: B256, encoded: &[u8]) -> B256 {
    keccak256([type_hash.as_slice(), encoded].concat())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_is_that_of_its_words() {
        let words = "EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)";
        assert_eq!(TYPE_HASH, keccak256(words));
    }
}
