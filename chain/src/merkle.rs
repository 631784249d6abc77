//! The simple Merkle tree of Tendermint (RFC 6962): headers, commits and the application hash are made of it.

use sha2::{Digest, Sha256};

/// A hash.
pub type Hash = [u8; 32];

/// The root over `items`.
pub fn root<T: AsRef<[u8]>>(items: &[T]) -> Hash {
    let leaves: Vec<Hash> = items.iter().map(|item| leaf(item.as_ref())).collect();
    inner_root(&leaves)
}

/// What is hashed before a leaf, and before two nodes.
pub const LEAF: [u8; 1] = [0];
/// See [`LEAF`].
pub const INNER: [u8; 1] = [1];

/// On the way from a leaf to the root: the hash beside it, and where that stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// The other node is on the left.
    Left(Hash),
    /// The other node is on the right.
    Right(Hash),
}

/// The way from the leaf at `place` to the root.
pub fn path<T: AsRef<[u8]>>(items: &[T], place: usize) -> Vec<Step> {
    let leaves: Vec<Hash> = items.iter().map(|item| leaf(item.as_ref())).collect();
    let (mut steps, mut rest, mut place) = (Vec::new(), leaves.as_slice(), place);
    while rest.len() > 1 {
        let (left, right) = rest.split_at(rest.len().next_power_of_two() / 2);
        match place.checked_sub(left.len()) {
            None => {
                steps.push(Step::Right(inner_root(right)));
                rest = left;
            }
            Some(further) => {
                steps.push(Step::Left(inner_root(left)));
                (rest, place) = (right, further);
            }
        }
    }
    steps.reverse();
    steps
}

fn leaf(item: &[u8]) -> Hash {
    Sha256::new_with_prefix(LEAF).chain_update(item).finalize().into()
}

fn inner_root(leaves: &[Hash]) -> Hash {
    match leaves {
        [] => Sha256::digest(b"").into(),
        [one] => *one,
        many => {
            // The largest power of two that is smaller than the number of leaves.
            let (left, right) = many.split_at(many.len().next_power_of_two() / 2);
            Sha256::new_with_prefix(INNER)
                .chain_update(inner_root(left))
                .chain_update(inner_root(right))
                .finalize()
                .into()
        }
    }
}
