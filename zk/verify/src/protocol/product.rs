//! The product element by element: `Σ_x eq(p, x)·a(x)·b(x)`.

use super::*;
use crate::party::{Axis, Public, Secret, Sum, View};

impl<P: Party> Script<'_, P> {
    pub(super) fn product(&mut self, a: TensorId, b: TensorId, claim: &Claim) -> Result<(), P::Error> {
        let shape = self.system.tensor(a).shape;
        let axis = |axis: usize| match self.repeats(b, shape, axis) {
            true => Axis::Repeated(logs(shape)[axis]),
            false => Axis::Free,
        };
        let view = View { tensor: b, axes: [axis(0), axis(1), axis(2)] };
        let sum = Sum {
            what: "a product of tensors",
            variables: claim.point.len(),
            public: vec![Public::Eq(vec![(E::ONE, claim.point.clone())])],
            secret: vec![Secret::Tensor(View::whole(a)), Secret::Tensor(view)],
        };
        self.reduce(&sum, claim.value)
    }

    /// Reduces a sum, and claims of its tensors what it was reduced to.
    pub(super) fn reduce(&mut self, sum: &Sum, value: E) -> Result<(), P::Error> {
        let reduced = self.party.sum(sum, value)?;
        for (secret, &value) in sum.secret.iter().zip(&reduced.values) {
            if let Secret::Tensor(view) = secret {
                let point = view.point(logs(self.system.tensor(view.tensor).shape), &reduced.point);
                self.claim(view.tensor, point, value);
            }
        }
        Ok(())
    }
}
