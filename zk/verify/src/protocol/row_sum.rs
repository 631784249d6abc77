//! The sum of a row: over a hypercube, a multilinear polynomial adds up to `2^k` times its value at one half everywhere.

use super::*;

impl<P: Party> Script<'_, P> {
    pub(super) fn row_sum(&mut self, x: TensorId, claim: &Claim) -> Result<(), P::Error> {
        let columns = logs(self.system.tensor(x).shape)[2];
        let half = E::ONE.halve();
        let mut point = claim.point.clone();
        point.resize(point.len() + columns, half);
        let value = claim.value * half.exp_u64(columns as u64);
        self.claim(x, point, value);
        Ok(())
    }
}
