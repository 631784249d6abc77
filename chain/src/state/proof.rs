//! Proofs that other chains understand (ICS-23): of a key in the chain's own store, and of a store's root in the
//! application hash.

use ics23::{CommitmentProof, ExistenceProof, HashOp, InnerOp, LeafOp, LengthOp, commitment_proof::Proof};
use jmt::Sha256Jmt;

use super::{StoreRoots, app_hash::leaf, chain_store::Nodes};
use crate::{
    error::StoreError,
    merkle::{self, Step},
    store::Reader,
};

/// The value of `key` in the chain's own store at `height`, which must be the newest, and the proof that this is its
/// value, or that there is none.
///
/// # Errors
/// When the height is not the newest, or the store cannot be read.
pub fn prove_key(
    reader: &dyn Reader,
    height: u64,
    key: &[u8],
) -> Result<(Option<Vec<u8>>, CommitmentProof), StoreError> {
    let failed = |e| StoreError::new("prove a key of the chain's store", e);
    Sha256Jmt::new(&Nodes { reader }).get_with_ics23_proof(key.to_vec(), height).map_err(failed)
}

/// The proof that the store called `name` has its root in the application hash; nothing for an unknown name.
pub fn prove_root(roots: &StoreRoots, name: &str) -> Option<CommitmentProof> {
    let (_, root) = roots.named().into_iter().find(|(known, _)| *known == name)?;
    let steps = root_path(roots, name)?;
    let proof = ExistenceProof {
        key: name.as_bytes().to_vec(),
        value: root.to_vec(),
        leaf: Some(LeafOp {
            hash: HashOp::Sha256.into(),
            prehash_key: HashOp::NoHash.into(),
            prehash_value: HashOp::Sha256.into(),
            length: LengthOp::VarProto.into(),
            prefix: merkle::LEAF.to_vec(),
        }),
        path: steps.into_iter().map(inner).collect(),
    };
    Some(CommitmentProof { proof: Some(Proof::Exist(proof)) })
}

/// The way from the root of the store called `name` to the application hash; nothing for an unknown name.
pub fn root_path(roots: &StoreRoots, name: &str) -> Option<Vec<Step>> {
    let named = roots.named();
    let place = named.iter().position(|(known, _)| *known == name)?;
    Some(merkle::path(&named.map(|(name, root)| leaf(name, &root)), place))
}

fn inner(step: Step) -> InnerOp {
    let (prefix, suffix) = match step {
        Step::Left(sibling) => ([merkle::INNER.as_slice(), &sibling].concat(), vec![]),
        Step::Right(sibling) => (merkle::INNER.to_vec(), sibling.to_vec()),
    };
    InnerOp { hash: HashOp::Sha256.into(), prefix, suffix }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        state::chain_store,
        store::{Batch, MemoryStore, Store},
    };
    use alloy_primitives::B256;
    use ics23::{HostFunctionsManager, verify_membership, verify_non_membership};
    use proptest::prelude::*;

    #[test]
    fn every_root_is_proven_under_its_own_name_only() {
        let root = B256::repeat_byte;
        let roots = StoreRoots { chain: root(1), evm: root(2), ibc: root(3) };
        let hash = roots.app_hash().0.to_vec();
        let spec = ics23::tendermint_spec();
        let holds = |proof: &CommitmentProof, name: &str, value: B256| {
            verify_membership::<HostFunctionsManager>(proof, &spec, &hash, name.as_bytes(), value.as_slice())
        };
        for (name, value) in roots.named() {
            let proof = prove_root(&roots, name).unwrap();
            assert!(holds(&proof, name, value));
            assert!(!holds(&proof, name, root(9)));
            assert!(!holds(&proof, "bank", value));
        }
        assert!(prove_root(&roots, "bank").is_none());
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]
        #[test]
        fn what_is_there_and_what_is_not_is_proven(
            keys in prop::collection::btree_set(prop::collection::vec(any::<u8>(), 1..20), 1..40),
            asked in prop::collection::vec(any::<u8>(), 1..20),
        ) {
            let store = MemoryStore::default();
            let changes = keys.iter().map(|key| (key.clone(), Some([key, b"!".as_slice()].concat()))).collect();
            let mut batch = Batch::default();
            let root = chain_store::update(store.reader().unwrap().as_ref(), 7, &changes, &mut batch).unwrap();
            store.write(&batch).unwrap();
            let reader = store.reader().unwrap();
            let (spec, root) = (jmt::ics23_spec(), root.to_vec());
            for key in keys.iter().chain([&asked]) {
                let (value, proof) = prove_key(reader.as_ref(), 7, key).unwrap();
                prop_assert_eq!(value.is_some(), keys.contains(key));
                let value = value.unwrap_or_default();
                let there = verify_membership::<HostFunctionsManager>(&proof, &spec, &root, key, &value);
                let absent = verify_non_membership::<HostFunctionsManager>(&proof, &spec, &root, key);
                prop_assert_eq!((there, absent), (keys.contains(key), !keys.contains(key)));
            }
        }
    }
}
