//! Several claims about one tensor become one: their sum with random factors, by a sumcheck.

use super::*;
use crate::party::{Public, Secret, Sum, View};

impl<P: Party> Script<'_, P> {
    pub(super) fn joined(&mut self, id: TensorId) -> Result<Option<Claim>, P::Error> {
        let mut claims = std::mem::take(&mut self.claims[id.0]);
        claims.dedup_by(|a, b| a.point == b.point && a.value == b.value);
        if claims.len() < 2 {
            return Ok(claims.pop());
        }
        let gamma = self.party.challenge();
        let (mut factor, mut sum, mut terms) = (E::ONE, E::ZERO, Vec::new());
        for claim in claims {
            sum += factor * claim.value;
            terms.push((factor, claim.point));
            factor *= gamma;
        }
        let variables = crate::system::variables(self.system.tensor(id).shape);
        let secret = vec![Secret::Tensor(View::whole(id))];
        let joined = Sum { what: "claims about one tensor", variables, public: vec![Public::Eq(terms)], secret };
        let reduced = self.party.sum(&joined, sum)?;
        Ok(Some(Claim { point: reduced.point, value: reduced.values[0] }))
    }
}
