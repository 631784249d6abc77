//! One hash over the roots of all stores, as a light client checks it: the simple Merkle tree of Tendermint over
//! (name, root), the second half of an ICS-23 proof (`tendermint_spec`).

use alloy_primitives::B256;
use sha2::{Digest, Sha256};

use crate::merkle;

/// What the next block's header commits to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AppHash(pub B256);

/// The root of each store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StoreRoots {
    /// Validators, parameters, the hash of the EVM block.
    pub chain: B256,
    /// Accounts, in Ethereum's own trie.
    pub evm: B256,
    /// Packets and clients of other chains.
    pub ibc: B256,
}

impl StoreRoots {
    /// The hash over all of them.
    pub fn app_hash(&self) -> AppHash {
        AppHash(B256::from(merkle::root(&self.named().map(|(name, root)| leaf(name, &root)))))
    }

    /// Names and roots, in the order of the tree.
    pub fn named(&self) -> [(&'static str, B256); 3] {
        [("chain", self.chain), ("evm", self.evm), ("ibc", self.ibc)]
    }
}

/// Name and hashed root, each behind its length, which is below 128 and so one byte.
pub(super) fn leaf(name: &str, root: &B256) -> Vec<u8> {
    let mut leaf = vec![u8::try_from(name.len()).unwrap_or(u8::MAX)];
    leaf.extend(name.as_bytes());
    leaf.push(32);
    leaf.extend(Sha256::digest(root.as_slice()));
    leaf
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_root_matters() {
        let roots = StoreRoots { chain: B256::ZERO, evm: B256::ZERO, ibc: B256::ZERO };
        let one = B256::repeat_byte(1);
        let all = [
            roots.app_hash(),
            StoreRoots { chain: one, ..roots }.app_hash(),
            StoreRoots { evm: one, ..roots }.app_hash(),
            StoreRoots { ibc: one, ..roots }.app_hash(),
        ];
        for (i, a) in all.iter().enumerate() {
            assert!(all.iter().skip(i + 1).all(|b| a != b));
        }
    }
}
