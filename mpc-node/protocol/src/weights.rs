//! Weights as each node holds them. A private model is masked once for each assignment of roles, with independent
//! masks: a node that helps in one assignment and evaluates in another never meets the same mask twice, because the
//! helper's index is part of the derivation of every mask. So are the sharing and its version: another version under
//! the seeds of an earlier one would give the evaluators the difference of the weights. And so is the committee: a node that
//! has a place in two would otherwise be two parties to one mask.

use sahara_circuits::graph::Graph;
use sahara_circuits::kernels::{PackedB, pack_b};
use sahara_circuits::weights::Weights;
use zeroize::Zeroize;

use crate::error::ProtocolError;
use crate::masked::own_share;
use crate::ring::prg::{Prg, Seed, WeightDomain};
use crate::roles::{Assignment, EvaluatorRole, Visibility};
use crate::weight_form::{WeightForm, weight_form};

/// What the masks of private weights are derived from, besides their seeds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MaskDomain {
    sharing: [u8; 32],
    /// `None` of before it was part of the derivation.
    committee: Option<[u8; 32]>,
    version: u64,
    assignment: Assignment,
}

impl MaskDomain {
    /// Of one version of a sharing with one committee, in an assignment.
    pub const fn new(sharing: [u8; 32], committee: [u8; 32], version: u64, assignment: Assignment) -> Self {
        Self { sharing, committee: Some(committee), version, assignment }
    }

    /// Of a sharing that was made before masks were bound to the committee. Nothing is masked like this any more.
    pub const fn old(sharing: [u8; 32], version: u64, assignment: Assignment) -> Self {
        Self { sharing, committee: None, version, assignment }
    }

    /// The byte form.
    pub fn encode(&self) -> WeightDomain {
        let (version, helper) = (self.version.to_le_bytes(), [self.assignment.helper()]);
        let Some(committee) = &self.committee else {
            let mut bytes = [0; WeightDomain::OLD_LEN];
            fill(&mut bytes, &[&self.sharing, &version, &helper]);
            return WeightDomain::Old(bytes);
        };
        let mut bytes = [0; WeightDomain::LEN];
        fill(&mut bytes, &[&self.sharing, committee, &version, &helper]);
        WeightDomain::Bound(bytes)
    }
}

/// Writes parts one after the other; they are as long as `to`.
fn fill(to: &mut [u8], parts: &[&[u8]]) {
    let bytes = parts.iter().copied().flatten();
    to.iter_mut().zip(bytes).for_each(|(to, byte)| *to = *byte);
}

/// A weight tensor in the form its operator reads.
pub(crate) enum Tensor {
    Matrix(PackedB),
    Vector(Vec<u32>),
}

/// What one node holds of a model's weights, ready for use.
pub struct WeightMaterial(Held);

enum Held {
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

/// Masks weights for one version of a sharing with a committee, and one assignment: all tensors one after the other, plus the masks of both seeds.
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
        Ok(Self(Held::EvaluatorPrivate { role, masked, own }))
    }

    /// Weights that their owner registered as open: all tensors one after the other.
    ///
    /// # Errors
    /// When the number of words does not fit the graph.
    pub fn evaluator_open(graph: &Graph, plain: &[u32]) -> Result<Self, ProtocolError> {
        let parts = split(graph, plain)?;
        Ok(Self(Held::Open(parts.iter().enumerate().map(|(i, part)| tensor(graph, i, part)).collect())))
    }

    /// The helper's knowledge of private weights: only their masks.
    pub fn helper_private(graph: &Graph, domain: &MaskDomain, seed1: &Seed, seed2: &Seed) -> Self {
        let masks = graph.weights.iter().enumerate().map(|(i, spec)| {
            let len = spec.rows as usize * spec.cols as usize;
            tensor(graph, i, &weight_mask(domain, [seed1, seed2], i as u32, len))
        });
        Self(Held::HelperPrivate(masks.collect()))
    }

    /// A helper needs nothing of open weights.
    pub fn helper_open() -> Self {
        Self(Held::HelperOpen)
    }

    /// Whether this is what an evaluator of this role needs of weights of this visibility.
    pub(crate) fn is_evaluators(&self, role: EvaluatorRole, visibility: Visibility) -> bool {
        match (&self.0, visibility) {
            (Held::EvaluatorPrivate { role: held, .. }, Visibility::Private) => *held == role,
            (Held::Open(_), Visibility::Open) => true,
            _ => false,
        }
    }

    /// What the helper knows of weights of this visibility: the masks of private ones.
    ///
    /// # Errors
    /// When this is another party's, or of another visibility.
    pub(crate) fn helpers(&self, visibility: Visibility) -> Result<Option<&[Tensor]>, ProtocolError> {
        match (&self.0, visibility) {
            (Held::HelperPrivate(masks), Visibility::Private) => Ok(Some(masks)),
            (Held::HelperOpen, Visibility::Open) => Ok(None),
            _ => Err(ProtocolError::WeightKind),
        }
    }

    /// A private weight under its mask, which both evaluators know.
    pub(crate) fn masked(&self, weight: usize) -> Option<&Tensor> {
        match &self.0 {
            Held::EvaluatorPrivate { masked, .. } => masked.get(weight),
            _ => None,
        }
    }

    /// What an evaluator multiplies by: its share of a private weight, or an open weight.
    pub(crate) fn factor(&self, weight: usize) -> Option<&Tensor> {
        match &self.0 {
            Held::EvaluatorPrivate { own, .. } => own.get(weight),
            Held::Open(plain) => plain.get(weight),
            _ => None,
        }
    }

    /// What an evaluator adds: its share of a private weight; an open one is added by the first evaluator alone.
    pub(crate) fn addend(&self, weight: usize, first: bool) -> Option<&Tensor> {
        match &self.0 {
            Held::Open(_) if !first => None,
            _ => self.factor(weight),
        }
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
    let mut forms = graph.nodes.iter().filter_map(|node| weight_form(&node.op));
    match forms.find(|(w, form)| w.0 as usize == index && *form == WeightForm::Matrix) {
        Some(_) => Tensor::Matrix(pack_b(spec.rows as usize, spec.cols as usize, values)),
        None => Tensor::Vector(values.to_vec()),
    }
}

impl Tensor {
    /// The packed matrix; the plan has checked that products read matrices.
    pub(crate) fn matrix(&self) -> &PackedB {
        match self {
            Self::Matrix(packed) => packed,
            Self::Vector(_) => unreachable!("a weight of a product is stored as a matrix"),
        }
    }

    /// The vector; the plan has checked that no product reads it.
    pub(crate) fn vector(&self) -> &[u32] {
        match self {
            Self::Vector(values) => values,
            Self::Matrix(_) => unreachable!("a weight is either a matrix or a vector, checked by the plan"),
        }
    }
}
