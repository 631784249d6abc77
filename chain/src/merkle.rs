//! The simple Merkle tree of Tendermint (RFC 6962): headers, commits and the application hash are made of it.

use sha2::{Digest, Sha256};

/// A hash.
pub type Hash = [u8; 32];

/// The root over `items`.
pub fn root<T: AsRef<[u8]>>(items: &[T]) -> Hash {
    let leaves: Vec<Hash> = items.iter().map(|item| leaf(item.as_ref())).collect();
    inner_root(&leaves)
}

fn leaf(item: &[u8]) -> Hash {
    Sha256::new_with_prefix([0]).chain_update(item).finalize().into()
}

fn inner_root(leaves: &[Hash]) -> Hash {
    match leaves {
        [] => Sha256::digest(b"").into(),
        [one] => *one,
        many => {
            // The largest power of two that is smaller than the number of leaves.
            let (left, right) = many.split_at(many.len().next_power_of_two() / 2);
            Sha256::new_with_prefix([1])
                .chain_update(inner_root(left))
                .chain_update(inner_root(right))
                .finalize()
                .into()
        }
    }
}
