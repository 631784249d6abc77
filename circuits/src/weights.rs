//! Weight tensors: their values, their file, and the commitment that a graph carries.
//!
//! The commitment is a tree so that one column can be shown without the rest: a leaf is the BLAKE3 hash of a column,
//! sixteen children make a parent, the roots of the tensors (each bound to its name and shape) are the leaves of the
//! last tree.

use crate::bytes::{DecodeError, Reader, Writer};
use crate::graph::WeightSpec;

/// First bytes of a weight file.
const MAGIC: &[u8; 8] = b"SHWEIGHT";
/// The version this program writes.
const VERSION: u16 = 1;
/// Most tensors in a file.
pub const MAX_TENSORS: usize = 1 << 14;
/// Most elements of all tensors together.
pub const MAX_ELEMENTS: usize = 1 << 30;

/// The values of a model's weight tensors, in the order of [`crate::graph::Graph::weights`]; the same for every
/// sequence length.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Weights {
    /// One row-major tensor per weight.
    pub tensors: Vec<Vec<i32>>,
}

impl Weights {
    /// Whether there is one tensor of the right size per specification.
    pub fn matches(&self, specs: &[WeightSpec]) -> bool {
        self.tensors.len() == specs.len()
            && self.tensors.iter().zip(specs).all(|(t, s)| t.len() as u64 == u64::from(s.rows) * u64::from(s.cols))
    }

    /// Elements of all tensors.
    pub fn elements(&self) -> usize {
        self.tensors.iter().map(Vec::len).sum()
    }

    /// The commitment to values, names and shapes.
    ///
    /// # Panics
    /// If the tensors do not match `specs` (see [`Weights::matches`]).
    pub fn root(&self, specs: &[WeightSpec]) -> [u8; 32] {
        assert!(self.matches(specs), "weights do not match their specifications");
        let tensors = self.tensors.iter().zip(specs).map(|(tensor, spec)| {
            let mut hasher = blake3::Hasher::new_derive_key("sahara weights tensor v1");
            hasher.update(&(spec.name.len() as u64).to_le_bytes());
            hasher.update(spec.name.as_bytes());
            hasher.update(&spec.rows.to_le_bytes());
            hasher.update(&spec.cols.to_le_bytes());
            hasher.update(&tree(columns(tensor, spec.cols as usize)));
            *hasher.finalize().as_bytes()
        });
        tree(tensors.collect())
    }

    /// The canonical bytes of the file.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = Writer::with_header(MAGIC, VERSION);
        out.u32(self.tensors.len() as u32);
        for tensor in &self.tensors {
            out.u32(tensor.len() as u32).words(tensor);
        }
        out.finish_with_digest()
    }

    /// Reads the bytes of [`Weights::to_bytes`]; any damage is an error.
    ///
    /// # Errors
    /// When the bytes are not of this format and version, are cut short, or do not have the digest at their end.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut input = Reader::new("weight file", bytes);
        input.header(MAGIC, VERSION)?;
        input.digest()?;
        let count = input.count("tensors", MAX_TENSORS)?;
        let mut tensors = Vec::with_capacity(count);
        let mut elements = 0;
        for _ in 0..count {
            let len = input.count("elements", MAX_ELEMENTS - elements)?;
            elements += len;
            tensors.push(input.words(len)?);
        }
        input.finish()?;
        Ok(Self { tensors })
    }
}

fn columns(tensor: &[i32], cols: usize) -> Vec<[u8; 32]> {
    let mut bytes = Vec::new();
    (0..cols)
        .map(|col| {
            bytes.clear();
            for row in tensor.chunks_exact(cols) {
                bytes.extend_from_slice(&row[col].to_le_bytes());
            }
            blake3::derive_key("sahara weights column v1", &bytes)
        })
        .collect()
}

fn tree(mut level: Vec<[u8; 32]>) -> [u8; 32] {
    loop {
        let parents: Vec<[u8; 32]> = level
            .chunks(16)
            .map(|children| {
                let mut hasher = blake3::Hasher::new_derive_key("sahara weights node v1");
                children.iter().for_each(|c| {
                    hasher.update(c);
                });
                *hasher.finalize().as_bytes()
            })
            .collect();
        match parents[..] {
            [] => return blake3::derive_key("sahara weights node v1", &[]),
            [root] => return root,
            _ => level = parents,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> (Weights, Vec<WeightSpec>) {
        let weights = Weights { tensors: vec![(-10..10).collect(), vec![i32::MAX, i32::MIN, 0]] };
        let specs =
            vec![WeightSpec { name: "a".into(), rows: 1, cols: 20 }, WeightSpec { name: "b".into(), rows: 3, cols: 1 }];
        (weights, specs)
    }

    #[test]
    fn bytes_round_trip_and_damage_is_refused() {
        let (weights, _) = sample();
        let bytes = weights.to_bytes();
        assert_eq!(Weights::from_bytes(&bytes).unwrap(), weights);
        for at in 0..bytes.len() {
            let mut bad = bytes.clone();
            bad[at] ^= 1;
            assert!(Weights::from_bytes(&bad).is_err(), "flipped byte {at}");
            assert!(Weights::from_bytes(&bytes[..at]).is_err(), "cut at {at}");
        }
    }

    #[test]
    fn root_depends_on_values_names_and_shapes() {
        let (weights, specs) = sample();
        let root = weights.root(&specs);
        let mut other = weights.clone();
        other.tensors[0][19] += 1;
        assert_ne!(other.root(&specs), root);
        let mut renamed = specs.clone();
        renamed[1].name = "c".into();
        assert_ne!(weights.root(&renamed), root);
        let mut reshaped = specs.clone();
        (reshaped[1].rows, reshaped[1].cols) = (1, 3);
        assert_ne!(weights.root(&reshaped), root);
        assert!(!weights.matches(&specs[..1]));
    }
}
