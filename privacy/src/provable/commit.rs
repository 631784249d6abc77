//! Commitments: BLAKE3, in trees of sixteen children a parent, so that one row or column can be shown without the rest.

/// Children of a node.
const BRANCHES: usize = 16;

/// A commitment to a list, from those to its members.
pub fn tree(leaves: &[[u8; 32]]) -> [u8; 32] {
    let mut level = leaves.to_vec();
    let mut hasher = blake3::Hasher::new_derive_key("sahara provable training: list");
    hasher.update(&(leaves.len() as u64).to_le_bytes());
    while level.len() > 1 {
        let parents = level.chunks(BRANCHES).map(|children| {
            let mut hasher = blake3::Hasher::new_derive_key("sahara provable training: node");
            children.iter().for_each(|child| {
                hasher.update(child);
            });
            *hasher.finalize().as_bytes()
        });
        level = parents.collect();
    }
    level.iter().for_each(|root| {
        hasher.update(root);
    });
    *hasher.finalize().as_bytes()
}

/// A commitment to integers that anybody may open.
pub fn open(values: impl Iterator<Item = i64>) -> [u8; 32] {
    let mut hasher = blake3::Hasher::new_derive_key("sahara provable training: integers");
    values.for_each(|value| {
        hasher.update(&value.to_le_bytes());
    });
    *hasher.finalize().as_bytes()
}

/// A commitment to integers that says nothing to whoever does not have the key.
pub fn hidden(key: &[u8; 32], values: impl Iterator<Item = i64>) -> [u8; 32] {
    let mut hasher = blake3::Hasher::new_keyed(key);
    values.for_each(|value| {
        hasher.update(&value.to_le_bytes());
    });
    *hasher.finalize().as_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_is_committed_to_with_its_order_and_its_length() {
        let leaf = |n: u8| [n; 32];
        let leaves: Vec<[u8; 32]> = (0..40).map(leaf).collect();
        let root = tree(&leaves);
        for change in 0..40 {
            let mut other = leaves.clone();
            other[change][31] ^= 1;
            assert_ne!(tree(&other), root, "{change}");
        }
        let mut swapped = leaves.clone();
        swapped.swap(3, 30);
        assert_ne!(tree(&swapped), root);
        assert_ne!(tree(&leaves[..39]), root);
        assert_ne!(tree(&[tree(&leaves)]), root);
        assert_ne!(tree(&[]), tree(&[leaf(0)]));
        assert_ne!(hidden(&[1; 32], [5].into_iter()), hidden(&[2; 32], [5].into_iter()));
        assert_ne!(open([5].into_iter()), hidden(&[0; 32], [5].into_iter()));
    }
}
