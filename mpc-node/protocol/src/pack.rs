//! A pack: what one evaluator needs of preprocessing for one job.

use crate::ring::prg::Seed;
use crate::ring::secret::wipe;

/// One evaluator's preprocessing for one job. Not `Clone`, and consumed by [`Evaluator::new`](crate::Evaluator::new): a
/// mask serves once. Wiped when dropped.
pub struct PackContents {
    /// The seed shared with the helper.
    pub seed: Seed,
    /// What the helper dealt; empty for the first evaluator.
    pub corrections: Vec<u8>,
    /// What [`prepare`](crate::prepare) made.
    pub prepared: Vec<u8>,
}

impl Drop for PackContents {
    fn drop(&mut self) {
        wipe(&mut self.corrections);
        wipe(&mut self.prepared);
    }
}
