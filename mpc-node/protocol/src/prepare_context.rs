//! An evaluator's side of one gate ahead of the job: its masks and its weights, and no input.

use sahara_circuits::graph::NodeId;

use crate::ring::prg::{Label, Prg, Seed};
use crate::ring::secret::Secret;
use crate::weights::WeightMaterial;

/// What a gate has at hand while it prepares.
pub(crate) struct PrepareContext<'a> {
    pub(crate) seed: &'a Seed,
    pub(crate) weights: &'a WeightMaterial,
    pub(crate) operands: &'a [NodeId],
}

impl PrepareContext<'_> {
    /// The own share of the mask under which an operand of `len` elements will be opened.
    pub(crate) fn mask(&self, operand: usize, len: usize) -> Secret<u32> {
        let mut mask = Secret::from(vec![0; len]);
        Prg::new(self.seed, Label::Operand(self.operands[operand].0)).fill_words(4, &mut mask);
        mask
    }
}
