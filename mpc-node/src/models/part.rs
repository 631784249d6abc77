//! A node's part of the weights: what is in it, and whether it is what the manifest commits to.
//!
//! Private parts are compared as their bytes come, from an owner or from the disk, so that for this no part is ever in memory.
//! The commitment to open weights goes by columns: they are looked at as a whole, and whoever does so says before how much
//! memory that takes ([`scratch`]).

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use sahara_circuits::bytes::DecodeError;
use sahara_circuits::graph::{Graph, WeightSpec};
use sahara_circuits::weights::Weights;
use zeroize::Zeroizing;

use super::error::ModelError;
use super::files::{PartHeader, at, damaged};
use crate::engine::{Assignment, EvaluatorRole, ProtocolError, Seed, Visibility, WeightMaterial, weight_words};
use crate::lane::PORTION;
use crate::manifest::{Manifest, masked_hasher, seed_commitment};

/// Bytes of one seed.
const SEED: usize = 32;

/// Bytes that a node's part of the weights must have, before its body.
pub(super) fn part_len(graph: &Graph, visibility: Visibility, evaluator: bool) -> u64 {
    let words = 4 * weight_words(graph);
    match (visibility, evaluator) {
        (Visibility::Private, true) => SEED as u64 + words,
        (Visibility::Private, false) => 2 * SEED as u64,
        (Visibility::Open, true) => words,
        (Visibility::Open, false) => 0,
    }
}

/// Bytes that reading a part takes for a while, besides the material that is made of it: the words, and what is derived for
/// the tensor that is being made.
pub(super) fn scratch(graph: &Graph, visibility: Visibility, evaluator: bool) -> u64 {
    let words = 4 * weight_words(graph);
    let bytes = |spec: &WeightSpec| u64::from(spec.rows).saturating_mul(u64::from(spec.cols)).saturating_mul(4);
    let tensor = graph.weights.iter().map(bytes).max().unwrap_or(0);
    match (visibility, evaluator) {
        (Visibility::Open, true) => words.saturating_add(open_scratch(graph)),
        (Visibility::Open, false) => 0,
        (Visibility::Private, true) => words.saturating_add(tensor.saturating_mul(3)),
        (Visibility::Private, false) => tensor.saturating_mul(2),
    }
}

/// Bytes that comparing open weights takes besides the weights: their tensors, and two levels of hashes of columns.
pub(super) fn open_scratch(graph: &Graph) -> u64 {
    let columns = graph.weights.iter().map(|spec| u64::from(spec.cols)).max().unwrap_or(0);
    (4 * weight_words(graph)).saturating_add(columns.saturating_mul(2 * SEED as u64))
}

/// A private part, compared as it comes: the seeds at its front, and the masked tensors behind them.
pub(super) struct PrivatePart {
    role: Option<EvaluatorRole>,
    seeds: Zeroizing<Vec<u8>>,
    masked: blake3::Hasher,
}

impl PrivatePart {
    /// The part of an evaluator, or of the helper.
    pub(super) fn new(role: Option<EvaluatorRole>) -> Self {
        let seeds = Zeroizing::new(Vec::with_capacity(Self::front(role)));
        Self { role, seeds, masked: masked_hasher() }
    }

    /// Bytes of the seeds: an evaluator has one, the helper both.
    fn front(role: Option<EvaluatorRole>) -> usize {
        if role.is_some() { SEED } else { 2 * SEED }
    }

    /// Takes the next bytes.
    pub(super) fn take(&mut self, bytes: &[u8]) {
        let missing = Self::front(self.role) - self.seeds.len();
        let (seeds, words) = bytes.split_at(missing.min(bytes.len()));
        self.seeds.extend_from_slice(seeds);
        self.masked.update(words);
    }

    /// The seeds, if everything is what the manifest commits to. How many words there were is the caller's to check.
    ///
    /// # Errors
    /// When it is not.
    pub(super) fn finish(self, manifest: &Manifest, assignment: Assignment) -> Result<Vec<Seed>, ModelError> {
        let wrong = |what: &str| ModelError::Refused(format!("{what} are not those that the manifest commits to"));
        let share = manifest.share(assignment).ok_or_else(|| wrong("the weights of this assignment"))?;
        let (seeds, []) = self.seeds.as_chunks::<SEED>() else { return Err(ProtocolError::WeightLength.into()) };
        if self.seeds.len() != Self::front(self.role) {
            return Err(ProtocolError::WeightLength.into());
        }
        let seeds: Vec<Seed> = seeds.iter().map(|seed| Seed::from_bytes(*seed)).collect();
        let domain = manifest.masks(assignment);
        let first = self.role.map_or(0, |role| role as usize);
        for (index, seed) in (first..).zip(&seeds) {
            if share.seeds.get(index) != Some(&seed_commitment(&domain, index, seed)) {
                return Err(wrong("the seeds of the masks"));
            }
        }
        if self.role.is_some() && *self.masked.finalize().as_bytes() != share.masked {
            return Err(wrong("the masked weights"));
        }
        Ok(seeds)
    }
}

/// Makes material of a part on disk, after comparing it with what the manifest commits to.
///
/// # Errors
/// When the file cannot be read or is not the part.
pub(super) fn read_material(
    path: &Path,
    expected: &PartHeader,
    manifest: &Manifest,
    graph: &Graph,
    role: Option<EvaluatorRole>,
) -> Result<WeightMaterial, ModelError> {
    let mut file = open(path, expected)?;
    let Some(assignment) = expected.masked_for else {
        let words = read_words(&mut file, expected.len, |_| ()).map_err(at("read", path))?;
        check_open(manifest, graph, &words)?;
        return Ok(WeightMaterial::evaluator_open(graph, &words)?);
    };
    let mut part = PrivatePart::new(role);
    let mut front = Zeroizing::new(vec![0; PrivatePart::front(role)]);
    file.read_exact(&mut front).map_err(at("read", path))?;
    part.take(&front);
    let left = expected.len.saturating_sub(front.len() as u64);
    let words = read_words(&mut file, left, |bytes| part.take(bytes)).map_err(at("read", path))?;
    let seeds = part.finish(manifest, assignment)?;
    let domain = manifest.masks(assignment);
    match (role, &seeds[..]) {
        (Some(role), [seed]) => Ok(WeightMaterial::evaluator_private(graph, &domain, role, &words, seed)?),
        (None, [one, two]) => Ok(WeightMaterial::helper_private(graph, &domain, one, two)),
        _ => Err(ProtocolError::WeightLength.into()),
    }
}

/// Compares open weights on disk with what the manifest commits to.
///
/// # Errors
/// When the file cannot be read or has others.
pub(super) fn check_open_file(
    path: &Path,
    expected: &PartHeader,
    manifest: &Manifest,
    graph: &Graph,
) -> Result<(), ModelError> {
    let words = read_words(&mut open(path, expected)?, expected.len, |_| ()).map_err(at("read", path))?;
    check_open(manifest, graph, &words)
}

fn check_open(manifest: &Manifest, graph: &Graph, words: &[u32]) -> Result<(), ModelError> {
    let mut rest = words;
    let mut tensors = Vec::with_capacity(graph.weights.len());
    for spec in &graph.weights {
        let len = spec.rows as usize * spec.cols as usize;
        let (part, after) = rest.split_at_checked(len).ok_or(ProtocolError::WeightLength)?;
        tensors.push(part.iter().map(|word| *word as i32).collect());
        rest = after;
    }
    if !rest.is_empty() {
        return Err(ProtocolError::WeightLength.into());
    }
    if (Weights { tensors }).root(&graph.weights) != manifest.weights_root {
        return Err(ModelError::Refused("the weights are not those that the manifest commits to".into()));
    }
    Ok(())
}

/// Opens a part whose front is the one expected; what follows is its body.
fn open(path: &Path, expected: &PartHeader) -> Result<File, ModelError> {
    let mut file = File::open(path).map_err(at("open", path))?;
    let mut front = [0; PartHeader::LEN];
    file.read_exact(&mut front).map_err(at("read", path))?;
    let header = PartHeader::decode(&front).map_err(damaged(path))?;
    let len = file.metadata().map_err(at("read", path))?.len();
    if header != *expected || len != header.len + PartHeader::LEN as u64 {
        return Err(damaged(path)(DecodeError::Field { what: "weight part", field: "header or length" }));
    }
    Ok(file)
}

/// Reads words of `len` bytes, each portion shown to `each` as it comes.
fn read_words(file: &mut impl Read, len: u64, mut each: impl FnMut(&[u8])) -> io::Result<Zeroizing<Vec<u32>>> {
    let mut portion = Zeroizing::new(vec![0; PORTION.min(len as usize)]);
    // Claimed at once, so that growing leaves no copies behind.
    let mut words = Zeroizing::new(Vec::with_capacity(len as usize / 4));
    let mut left = len;
    while left > 0 {
        let part = &mut portion[..left.min(PORTION as u64) as usize];
        file.read_exact(part)?;
        each(part);
        words.extend(part.as_chunks::<4>().0.iter().map(|bytes| u32::from_le_bytes(*bytes)));
        left -= part.len() as u64;
    }
    Ok(words)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_the_same_however_they_come() {
        let bytes: Vec<u8> = (0..200).collect();
        let whole = |role| {
            let mut part = PrivatePart::new(role);
            part.take(&bytes);
            part
        };
        for role in [Some(EvaluatorRole::First), None] {
            for step in [1, 7, 31, 32, 33, 64, 199] {
                let mut part = PrivatePart::new(role);
                bytes.chunks(step).for_each(|piece| part.take(piece));
                assert_eq!(part.seeds[..], bytes[..PrivatePart::front(role)]);
                assert_eq!(part.masked.finalize(), whole(role).masked.finalize(), "pieces of {step}");
            }
        }
    }

    #[test]
    fn words_are_read_by_portions() {
        let bytes: Vec<u8> = (0..2 * PORTION + 12).map(|n| (n % 251) as u8).collect();
        let mut seen = Vec::new();
        let words = read_words(&mut &bytes[..], bytes.len() as u64, |portion| {
            assert!(portion.len() <= PORTION);
            seen.extend_from_slice(portion);
        });
        assert_eq!(seen, bytes);
        assert_eq!(words.unwrap()[..], sahara_circuits::bytes::words_from_bytes(&bytes));
        assert!(read_words(&mut &bytes[..5], 8, |_| ()).is_err());
    }

    #[test]
    fn a_part_has_the_length_of_what_is_in_it_and_reading_it_takes_so_much() {
        let spec = |rows, cols| WeightSpec { name: "w".into(), rows, cols };
        let (mut graph, ..) = sahara_circuits::testgraph::random(1);
        graph.weights = vec![spec(2, 3), spec(1, 5)];
        assert_eq!(open_scratch(&graph), 4 * 11 + 64 * 5);
        for (visibility, evaluator, len, more) in [
            (Visibility::Private, true, 32 + 44, 44 + 3 * 24),
            (Visibility::Private, false, 64, 2 * 24),
            (Visibility::Open, true, 44, 44 + 44 + 320),
            (Visibility::Open, false, 0, 0),
        ] {
            assert_eq!(part_len(&graph, visibility, evaluator), len, "{visibility:?} {evaluator}");
            assert_eq!(scratch(&graph, visibility, evaluator), more, "{visibility:?} {evaluator}");
        }
    }
}
