//! What is left are claims about columns. For each commitment they become one value of its polynomial: the sum of all
//! claims with random factors, and of "zero beyond the shapes", which is as linear as they are.

use super::*;
use crate::party::{ColumnClaim, Public, Secret, Sum};
use crate::system::Oracle;

impl<P: Party> Script<'_, P> {
    pub(super) fn openings(&mut self) -> Result<(), P::Error> {
        for (which, oracle) in Oracle::ALL.into_iter().enumerate() {
            let variables = self.system.variables[which];
            let tau: Vec<E> = (0..variables).map(|_| self.party.challenge()).collect();
            let gamma = self.party.challenge();
            let (claims, total) = self.column_claims(oracle, &tau, gamma);
            let sum = Sum {
                what: "claims about a commitment",
                variables,
                public: vec![Public::Columns(claims)],
                secret: vec![Secret::Oracle(oracle)],
            };
            let reduced = self.party.sum(&sum, total)?;
            self.party.open(oracle, &reduced.point, reduced.values[0])?;
        }
        Ok(())
    }

    /// Every claim about a column of this commitment with its factor, and what they add up to.
    fn column_claims(&mut self, oracle: Oracle, tau: &[E], gamma: E) -> (Vec<ColumnClaim>, E) {
        let (mut claims, mut total, mut factor) = (Vec::new(), E::ZERO, E::ONE);
        for (id, tensor) in self.system.tensors.iter().enumerate() {
            let Definition::Column { oracle: under, offset, .. } = tensor.definition else { continue };
            if under != oracle {
                continue;
            }
            let (logs, lengths) = (logs(tensor.shape), dimensions(tensor.shape).map(|len| len as usize));
            let claim = |point: &[E], factor, beyond| {
                let [b, r, c] = split(logs, point).map(<[E]>::to_vec);
                let axes = [(lengths[0], b), (lengths[1], r), (lengths[2], c)];
                ColumnClaim { offset, axes, factor, beyond }
            };
            for Claim { point, value } in std::mem::take(&mut self.claims[id]) {
                total += factor * value;
                claims.push(claim(&point, factor, false));
                factor *= gamma;
            }
            let own: usize = logs.iter().sum();
            if lengths.iter().zip(logs).any(|(&len, log)| len < 1 << log) {
                // The weights of places beyond the shape: random, and theirs alone, by the factor.
                claims.push(claim(&tau[tau.len() - own..], factor, true));
                factor *= gamma;
            }
        }
        (claims, total)
    }
}
