//! What a manifest commits to besides bytes that are sent as they are: the layout of weights, masked tensors, seeds.

use sahara_circuits::bytes::Writer;
use sahara_circuits::graph::{Graph, Op};

use crate::engine::{MaskDomain, Seed, WeightDomain};

/// Digest of the weight tensors that a graph reads: their names and shapes, and whether each is the side of a product
/// or a vector. Material that was made for one graph serves another only if both have the same.
pub fn layout_digest(graph: &Graph) -> [u8; 32] {
    let mut products = vec![false; graph.weights.len()];
    for node in &graph.nodes {
        if let Op::MatMulWeight { w, .. } = &node.op
            && let Some(product) = products.get_mut(w.0 as usize)
        {
            *product = true;
        }
    }
    let mut w = Writer::default();
    w.u32(graph.weights.len() as u32);
    for (spec, product) in graph.weights.iter().zip(products) {
        w.u32(spec.name.len() as u32).bytes(spec.name.as_bytes()).u32(spec.rows).u32(spec.cols).u8(u8::from(product));
    }
    blake3::derive_key("sahara 2026 weight layout v1", &w.0)
}

/// Commitment to one seed of masks. A seed is 256 uniform bits, so its hash hides it as well as any commitment: whoever
/// guesses the seed to test the hash would have guessed the mask. The domain makes equal seeds of two sharings differ.
pub fn seed_commitment(domain: &MaskDomain, role: usize, seed: &Seed) -> [u8; 32] {
    let domain = domain.encode();
    let mut hasher = blake3::Hasher::new_derive_key(match domain {
        WeightDomain::Bound(_) => "sahara 2026 weight seed commitment v2",
        WeightDomain::Old(_) => "sahara 2026 weight seed commitment v1",
    });
    hasher.update(domain.as_bytes()).update(&[role as u8]).update(seed.as_bytes());
    *hasher.finalize().as_bytes()
}

/// A hasher for [`AssignmentShare::masked`](super::AssignmentShare::masked): it takes the words' little-endian bytes.
pub fn masked_hasher() -> blake3::Hasher {
    blake3::Hasher::new_derive_key("sahara 2026 masked weights v1")
}

/// Digest of masked tensors.
pub fn masked_digest(words: &[u32]) -> [u8; 32] {
    let mut hasher = masked_hasher();
    let mut bytes = Vec::with_capacity(4 << 12);
    for part in words.chunks(1 << 12) {
        bytes.clear();
        sahara_circuits::bytes::extend_words(&mut bytes, part);
        hasher.update(&bytes);
    }
    *hasher.finalize().as_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::Assignment;
    use sahara_circuits::bytes::hex;

    /// Golden hashes of `tests/python/weight_masks.py`: manifests on nodes' disks have such.
    #[test]
    fn seed_commitments_are_those_of_an_independent_program() {
        let (assignment, seed) = (Assignment::ALL[2], Seed::from_bytes([2; 32]));
        let commitment = |domain| hex(&seed_commitment(&domain, 1, &seed));
        assert_eq!(
            commitment(MaskDomain::new([7; 32], [9; 32], 3, assignment)),
            "c9527481ac07d364ed7d83b2ded533e725b2cc1c127c28094ed291ff2dd28505"
        );
        assert_eq!(
            commitment(MaskDomain::old([7; 32], 3, assignment)),
            "110bbfb0b24d7de492580f9d1fd11283befabd059a422c19bc14fec2e8fba1cf"
        );
    }
}
