//! What full-access licences sell: a ciphertext in pieces, whose key the contract can show to be wrong.
//!
//! Piece `i` of the plaintext, at most [`PIECE`] bytes, is XORed word by word with `keccak256(abi.encode(key, i, word))`. A leaf of
//! the tree is `keccak256(keccak256(abi.encode(i, keccak256(piece), keccak256(plaintext piece))))`; a node is the hash of its two
//! children in ascending order, and who has no sibling goes up as it is. Its root is registered before anything is sold, so
//! ciphertext and plaintext are both fixed by then: whoever has the key reads exactly that, or can show with one piece that the
//! key is another. (No authenticated cipher could: a contract would have to run it.)

use alloy_primitives::{B256, U256, keccak256};
use alloy_sol_types::SolValue;

/// Bytes of a piece; the last one may be shorter.
pub const PIECE: usize = 4096;
/// Most pieces: a path of the tree then has 22 steps.
pub const MAX_PIECES: usize = 1 << 22;

/// Under which name the registry keeps a ciphertext's root.
pub fn scheme(root: B256) -> B256 {
    keccak256(("Sahara ciphertext 1".to_owned(), root).abi_encode_params())
}

/// Turns a piece of the plaintext into one of the ciphertext, and back. A key is for one ciphertext: two under the same key would
/// give away what the two plaintexts differ by.
pub fn apply(key: &B256, index: u64, piece: &mut [u8]) {
    let mut seed = [0; 96];
    seed[..32].copy_from_slice(key.as_slice());
    seed[56..64].copy_from_slice(&index.to_be_bytes());
    for (at, word) in piece.chunks_mut(32).enumerate() {
        seed[88..].copy_from_slice(&(at as u64).to_be_bytes());
        let pad = keccak256(seed);
        word.iter_mut().zip(pad.as_slice()).for_each(|(byte, pad)| *byte ^= pad);
    }
}

/// The leaf of a piece: hashes of its ciphertext and of its plaintext.
pub fn leaf(index: u64, ciphertext: B256, plaintext: B256) -> B256 {
    keccak256(keccak256((U256::from(index), ciphertext, plaintext).abi_encode()))
}

/// The root over these leaves; zero over none.
pub fn root(leaves: &[B256]) -> B256 {
    let mut level = leaves.to_vec();
    while level.len() > 1 {
        level = above(&level);
    }
    level.first().copied().unwrap_or_default()
}

/// What leads from the leaf at `index` to the root; nothing if there is no such leaf.
pub fn proof(leaves: &[B256], index: usize) -> Vec<B256> {
    let (mut level, mut at, mut path) = (leaves.to_vec(), index, Vec::new());
    while level.len() > 1 {
        path.extend(level.get(at ^ 1));
        level = above(&level);
        at /= 2;
    }
    path
}

fn above(level: &[B256]) -> Vec<B256> {
    let pair = |pair: &[B256]| match *pair {
        [a, b] => keccak256([a.min(b).0, a.max(b).0].as_flattened()),
        _ => pair.first().copied().unwrap_or_default(),
    };
    level.chunks(2).map(pair).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn leaves(count: u8) -> Vec<B256> {
        (0..count).map(B256::repeat_byte).collect()
    }

    #[test]
    fn every_leaf_is_proven_and_no_other() {
        for count in 1..20 {
            let leaves = leaves(count);
            let root = root(&leaves);
            for index in 0..leaves.len() {
                let climb = |leaf: B256| proof(&leaves, index).iter().fold(leaf, |at, other| above(&[at, *other])[0]);
                assert_eq!(climb(leaves[index]), root, "{index} of {count}");
                assert_ne!(climb(B256::repeat_byte(200)), root);
            }
        }
        assert_eq!(root(&[]), B256::ZERO);
    }

    #[test]
    fn a_piece_comes_back_and_every_place_has_its_own_pad() {
        let key = B256::repeat_byte(7);
        let plain: Vec<u8> = (0..100).collect();
        let sealed = |key: &B256, index| {
            let mut piece = plain.clone();
            apply(key, index, &mut piece);
            piece
        };
        let mut back = sealed(&key, 3);
        assert_ne!(back, plain);
        apply(&key, 3, &mut back);
        assert_eq!(back, plain);
        assert_ne!(sealed(&key, 3), sealed(&key, 4));
        assert_ne!(sealed(&key, 3), sealed(&B256::repeat_byte(8), 3));
        let pads = sealed(&key, 0);
        assert_ne!(
            pads[..32].iter().zip(&plain[..32]).map(|(a, b)| a ^ b).collect::<Vec<_>>(),
            pads[32..64].iter().zip(&plain[32..64]).map(|(a, b)| a ^ b).collect::<Vec<_>>()
        );
    }

    /// The first words are those of Solidity's `abi.encode(key, index, j)`.
    #[test]
    fn the_pad_is_solidity_s() {
        let key = B256::repeat_byte(1);
        let mut piece = [0; 40];
        apply(&key, 5, &mut piece);
        let pad = |j: u64| keccak256((key, U256::from(5), U256::from(j)).abi_encode());
        assert_eq!(piece[..32], pad(0)[..]);
        assert_eq!(piece[32..], pad(1)[..8]);
    }
}
