//! Pseudorandom streams: every mask is a position in a stream that two parties can derive from a common seed.
//!
//! A stream is AES-128 in counter mode; its key is derived with BLAKE3 from the 256-bit seed and a [`Label`], so two
//! streams with different labels are independent and a stream is never read from two places.

use zeroize::{Zeroize, ZeroizeOnDrop};

use super::keystream::{BLOCK, Keystream};

const CONTEXT: &str = "sahara 2026 mpc mask stream v1";
const WEIGHT_CONTEXT: &str = "sahara 2026 mpc weight mask stream v3";
/// Of sharings of before the committee was part of the derivation.
const OLD_WEIGHT_CONTEXT: &str = "sahara 2026 mpc weight mask stream v2";

/// Bytes of the longest label.
const LONGEST: usize = WeightDomain::LEN + 4;

/// What a stream of weight masks is bound to, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WeightDomain {
    /// Sharing, committee, version and assignment.
    Bound([u8; Self::LEN]),
    /// Of a sharing of before the committee was part of it: sharing, version and assignment.
    Old([u8; Self::OLD_LEN]),
}

impl WeightDomain {
    /// Bytes with the committee.
    pub const LEN: usize = 32 + 32 + 8 + 1;
    /// Bytes without.
    pub const OLD_LEN: usize = 32 + 8 + 1;

    /// The bytes; those with a committee are longer than all without.
    pub fn as_bytes(&self) -> &[u8] {
        match self {
            Self::Bound(bytes) => bytes,
            Self::Old(bytes) => bytes,
        }
    }
}

/// A secret 256-bit seed shared by two parties. Zeroised on drop; its bytes never appear in `Debug`.
#[derive(Clone, PartialEq, Eq, Zeroize, ZeroizeOnDrop)]
pub struct Seed([u8; 32]);

impl Seed {
    /// A seed from its bytes: uniform, from whoever drew it.
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The secret bytes, to send to the party that shares the seed.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl std::fmt::Debug for Seed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Seed(secret)")
    }
}

/// What a stream is for. Two different labels give independent streams.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Label {
    /// Masks that a party adds to what it opens inside the gate of a node.
    Mask(u32),
    /// Masks under which the value of a node is opened, as an operand of products.
    Operand(u32),
    /// The first evaluator's half of what the helper deals for the gate of a node.
    Dealt(u32),
    /// A consumer's half of an input.
    Input(u32),
    /// The evaluators' sharing of zero that hides an output share from the helper.
    Zero(u32),
    /// What a node's noise for an input is drawn with.
    Noise(u32),
}

impl Label {
    fn encode(self) -> [u8; 6] {
        let (tag, b) = match self {
            Self::Mask(node) => (0, node),
            Self::Operand(node) => (4, node),
            Self::Dealt(node) => (1, node),
            Self::Input(index) => (3, index),
            Self::Zero(output) => (5, output),
            Self::Noise(input) => (6, input),
        };
        let b = b.to_le_bytes();
        [tag, 0, b[0], b[1], b[2], b[3]]
    }
}

/// A stream of pseudorandom bytes.
pub struct Prg {
    keystream: Keystream,
    counter: u64,
    /// The block that is being read, and how much of it is left.
    block: [u8; BLOCK],
    left: usize,
}

impl Prg {
    /// The stream of `seed` under `label`, from its beginning.
    pub fn new(seed: &Seed, label: Label) -> Self {
        Self::derive(CONTEXT, seed, &label.encode())
    }

    /// The stream that masks weight tensor `tensor`. `domain` says of which sharing, committee, version and assignment: weights
    /// have no label of their own, so a stream for them cannot be had without it.
    pub fn of_weights(seed: &Seed, domain: &WeightDomain, tensor: u32) -> Self {
        let context = match domain {
            WeightDomain::Bound(_) => WEIGHT_CONTEXT,
            WeightDomain::Old(_) => OLD_WEIGHT_CONTEXT,
        };
        let domain = domain.as_bytes();
        let mut label = [0; LONGEST];
        label[..domain.len()].copy_from_slice(domain);
        label[domain.len()..domain.len() + 4].copy_from_slice(&tensor.to_le_bytes());
        Self::derive(context, seed, &label[..domain.len() + 4])
    }

    /// A label has at most [`LONGEST`] bytes.
    fn derive(context: &str, seed: &Seed, label: &[u8]) -> Self {
        let mut input = [0; 32 + LONGEST];
        input[..32].copy_from_slice(&seed.0);
        input[32..32 + label.len()].copy_from_slice(label);
        let mut key = blake3::derive_key(context, &input[..32 + label.len()]);
        let mut half = [0; 16];
        half.copy_from_slice(&key[..16]);
        let keystream = Keystream::new(half);
        input.zeroize();
        key.zeroize();
        half.zeroize();
        Self { keystream, counter: 0, block: [0; BLOCK], left: 0 }
    }

    /// Fills `out` with the next bytes of the stream.
    pub fn fill(&mut self, out: &mut [u8]) {
        let (head, rest) = out.split_at_mut(self.left.min(out.len()));
        head.copy_from_slice(&self.block[BLOCK - self.left..][..head.len()]);
        self.left -= head.len();
        let (body, tail) = rest.split_at_mut(rest.len() / BLOCK * BLOCK);
        self.keystream.blocks(self.counter, body);
        self.counter += (body.len() / BLOCK) as u64;
        if !tail.is_empty() {
            self.keystream.blocks(self.counter, &mut self.block);
            self.counter += 1;
            tail.copy_from_slice(&self.block[..tail.len()]);
            self.left = BLOCK - tail.len();
        }
    }

    /// Fills `out` with the next words of the stream (little-endian).
    pub fn fill_u64(&mut self, out: &mut [u64]) {
        self.fill(bytemuck::cast_slice_mut(out));
        if cfg!(target_endian = "big") {
            out.iter_mut().for_each(|w| *w = w.swap_bytes());
        }
    }

    /// Fills `out` with uniform values of `width` bytes each (1 to 4), the rest zero.
    pub fn fill_words(&mut self, width: usize, out: &mut [u32]) {
        if width == 4 {
            self.fill(bytemuck::cast_slice_mut(out));
            if cfg!(target_endian = "big") {
                out.iter_mut().for_each(|w| *w = w.swap_bytes());
            }
            return;
        }
        let mut block = [0u8; 3 * 1024];
        for part in out.chunks_mut(1024) {
            let bytes = &mut block[..part.len() * width];
            self.fill(bytes);
            super::words::decode(width, bytes, part);
        }
        block.zeroize();
    }
}

impl Drop for Prg {
    fn drop(&mut self) {
        self.block.zeroize();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_and_seeds_separate_streams() {
        let labels = [
            Label::Mask(1),
            Label::Mask(2),
            Label::Operand(1),
            Label::Dealt(1),
            Label::Input(1),
            Label::Zero(1),
            Label::Noise(1),
        ];
        let mut seen = std::collections::BTreeSet::new();
        for seed in [[1; 32], [2; 32]] {
            for label in labels {
                let mut out = [0; 32];
                Prg::new(&Seed::from_bytes(seed), label).fill(&mut out);
                assert!(seen.insert(out), "{label:?} repeats a stream");
            }
            let bound = (0..WeightDomain::LEN).map(|changed| {
                let mut domain = [0; WeightDomain::LEN];
                domain[changed] = 1;
                WeightDomain::Bound(domain)
            });
            let old = (0..WeightDomain::OLD_LEN).map(|changed| {
                let mut domain = [0; WeightDomain::OLD_LEN];
                domain[changed] = 1;
                WeightDomain::Old(domain)
            });
            for domain in bound.chain(old) {
                for tensor in [1, 2] {
                    let mut out = [0; 32];
                    Prg::of_weights(&Seed::from_bytes(seed), &domain, tensor).fill(&mut out);
                    assert!(seen.insert(out), "{domain:?} or tensor {tensor} repeats a stream");
                }
            }
        }
    }

    #[test]
    fn words_do_not_depend_on_how_they_are_read() {
        for width in 1..=4 {
            let seed = Seed::from_bytes([7; 32]);
            let mut whole = vec![0; 5000];
            Prg::new(&seed, Label::Mask(0)).fill_words(width, &mut whole);
            let mut parts = vec![0; 5000];
            let mut prg = Prg::new(&seed, Label::Mask(0));
            for part in parts.chunks_mut(777) {
                prg.fill_words(width, part);
            }
            assert_eq!(whole, parts);
            assert!(whole.iter().all(|w| u64::from(*w) < 1 << (8 * width)));
        }
    }

    #[test]
    fn debug_hides_the_seed() {
        assert_eq!(format!("{:?}", Seed::from_bytes([3; 32])), "Seed(secret)");
    }
}
