//! Weights as each node holds them. A private model is masked once for each assignment of roles, with independent
//! masks: a node that helps in one assignment and evaluates in another never meets the same mask twice, because the
//! helper's index is part of the derivation of every mask. So are the sharing and its version: another version under
//! the seeds of an earlier one would give the evaluators the difference of the weights.

use sahara_circuits::graph::{Graph, Op};
use sahara_circuits::kernels::{PackedB, pack_b};
use sahara_circuits::weights::Weights;
use zeroize::Zeroize;

use super::products::own_share;
use super::{Assignment, EvaluatorRole, ProtocolError};
use crate::ring::prg::{Prg, Seed, WEIGHT_DOMAIN};

/// What the masks of private weights are derived from, besides their seeds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MaskDomain {
    /// The sharing.
    pub sharing: [u8; 32],
    /// Its version.
    pub version: u64,
    /// Which node is helper.
    pub assignment: Assignment,
}

impl MaskDomain {
    /// The byte form, of one length.
    pub fn encode(&self) -> [u8; WEIGHT_DOMAIN] {
        let mut bytes = [0; WEIGHT_DOMAIN];
        bytes[..32].copy_from_slice(&self.sharing);
        bytes[32..40].copy_from_slice(&self.version.to_le_bytes());
        bytes[40] = self.assignment.helper();
        bytes
    }
}

/// A weight tensor in the form its operator reads.
pub(super) enum Tensor {
    /// Right-hand side of a product.
    Matrix(PackedB),
    /// Vector along the columns.
    Vector(Vec<u32>),
}

/// What one node holds of a model's weights, ready for use.
pub struct WeightMaterial(pub(super) Kind);

pub(super) enum Kind {
    EvaluatorPrivate {
        role: EvaluatorRole,
        /// `w + r`, known to both evaluators.
        masked: Vec<Tensor>,
        /// The own share `δ·(w + r) - r_i`.
        own: Vec<Tensor>,
    },
    Open(Vec<Tensor>),
    HelperPrivate(Vec<Tensor>),
    HelperOpen,
}

/// Masks weights for one version of a sharing and one assignment: all tensors one after the other, plus the masks of both seeds.
/// The result goes to both evaluators, `seed1` to the helper and the first evaluator, `seed2` to the helper and the second.
pub fn mask_weights(weights: &Weights, domain: &MaskDomain, seed1: &Seed, seed2: &Seed) -> Vec<u32> {
    let mut out = Vec::with_capacity(weights.elements());
    for (index, tensor) in weights.tensors.iter().enumerate() {
        let mask = weight_mask(domain, [seed1, seed2], index as u32, tensor.len());
        out.extend(tensor.iter().zip(mask).map(|(w, r)| (*w as u32).wrapping_add(r)));
    }
    out
}

fn weight_mask<const N: usize>(domain: &MaskDomain, seeds: [&Seed; N], index: u32, len: usize) -> Vec<u32> {
    let mut sum = vec![0u32; len];
    let mut part = vec![0; len];
    let domain = domain.encode();
    for seed in seeds {
        Prg::of_weights(seed, &domain, index).fill_words(4, &mut part);
        sum.iter_mut().zip(&part).for_each(|(s, p)| *s = s.wrapping_add(*p));
    }
    part.zeroize();
    sum
}

impl WeightMaterial {
    /// An evaluator's half of private weights: the masked tensors one after the other, and the seed shared with the helper.
    ///
    /// # Errors
    /// When the number of words does not fit the graph.
    pub fn evaluator_private(
        graph: &Graph,
        domain: &MaskDomain,
        role: EvaluatorRole,
        masked: &[u32],
        seed: &Seed,
    ) -> Result<Self, ProtocolError> {
        let parts = split(graph, masked)?;
        let own = parts
            .iter()
            .enumerate()
            .map(|(i, part)| {
                let mask = weight_mask(domain, [seed], i as u32, part.len());
                tensor(graph, i, &own_share(role == EvaluatorRole::First, part, &mask))
            })
            .collect();
        let masked = parts.iter().enumerate().map(|(i, part)| tensor(graph, i, part)).collect();
        Ok(Self(Kind::EvaluatorPrivate { role, masked, own }))
    }

    /// Weights that their owner registered as open: all tensors one after the other.
    ///
    /// # Errors
    /// When the number of words does not fit the graph.
    pub fn evaluator_open(graph: &Graph, plain: &[u32]) -> Result<Self, ProtocolError> {
        let parts = split(graph, plain)?;
        Ok(Self(Kind::Open(parts.iter().enumerate().map(|(i, part)| tensor(graph, i, part)).collect())))
    }

    /// The helper's knowledge of private weights: only their masks.
    pub fn helper_private(graph: &Graph, domain: &MaskDomain, seed1: &Seed, seed2: &Seed) -> Self {
        let masks = graph.weights.iter().enumerate().map(|(i, spec)| {
            let len = spec.rows as usize * spec.cols as usize;
            tensor(graph, i, &weight_mask(domain, [seed1, seed2], i as u32, len))
        });
        Self(Kind::HelperPrivate(masks.collect()))
    }

    /// A helper needs nothing of open weights.
    pub fn helper_open() -> Self {
        Self(Kind::HelperOpen)
    }
}

fn split<'a>(graph: &Graph, words: &'a [u32]) -> Result<Vec<&'a [u32]>, ProtocolError> {
    let mut rest = words;
    let mut parts = Vec::with_capacity(graph.weights.len());
    for spec in &graph.weights {
        let len = spec.rows as usize * spec.cols as usize;
        let (part, after) = rest.split_at_checked(len).ok_or(ProtocolError::WeightLength)?;
        parts.push(part);
        rest = after;
    }
    if rest.is_empty() { Ok(parts) } else { Err(ProtocolError::WeightLength) }
}

fn tensor(graph: &Graph, index: usize, values: &[u32]) -> Tensor {
    let spec = &graph.weights[index];
    let product =
        graph.nodes.iter().any(|node| matches!(&node.op, Op::MatMulWeight { w, .. } if w.0 as usize == index));
    if product {
        Tensor::Matrix(pack_b(spec.rows as usize, spec.cols as usize, values))
    } else {
        Tensor::Vector(values.to_vec())
    }
}

impl Tensor {
    /// The packed matrix; the plan has checked that products read matrices.
    pub(super) fn matrix(&self) -> &PackedB {
        match self {
            Self::Matrix(packed) => packed,
            Self::Vector(_) => unreachable!("a weight of a product is stored as a matrix"),
        }
    }

    /// The vector; the plan has checked that no product reads it.
    pub(super) fn vector(&self) -> &[u32] {
        match self {
            Self::Vector(values) => values,
            Self::Matrix(_) => unreachable!("a weight is either a matrix or a vector, checked by the plan"),
        }
    }
}
