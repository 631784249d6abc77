//! A product of matrices (Thaler 2013): `Σ_{b,k} eq(p_b, b)·A(b, p_r, k)·B(b, k, p_c)`, all batches (heads) in one sum.

use super::*;
use crate::party::{Axis, Public, Secret, Sum, View};

impl<P: Party> Script<'_, P> {
    pub(super) fn matmul(&mut self, a: TensorId, b: TensorId, transposed: bool, claim: &Claim) -> Result<(), P::Error> {
        let (of_a, of_b) = (self.system.tensor(a).shape, self.system.tensor(b).shape);
        let (logs_a, logs_b) = (logs(of_a), logs(of_b));
        let columns = if transposed { logs_b[1] } else { logs_b[2] };
        let [batch, rows, cols] = split([logs_a[0], logs_a[1], columns], &claim.point);
        // One matrix for all batches: they are rows, and the sum goes over the inner dimension alone.
        let shared = of_a.batch > 1 && of_b.batch == 1;
        let outer = if shared || batch.is_empty() { None } else { Some(batch.to_vec()) };
        let first = if shared { Axis::Fixed(batch.to_vec()) } else { Axis::Free };
        let view_a = View { tensor: a, axes: [first, Axis::Fixed(rows.to_vec()), Axis::Free] };
        let fixed = Axis::Fixed(cols.to_vec());
        let axes = if transposed { [Axis::Free, fixed, Axis::Free] } else { [Axis::Free, Axis::Free, fixed] };
        let view_b = View { tensor: b, axes };
        let sum = Sum {
            what: "a product of matrices",
            variables: outer.as_ref().map_or(0, Vec::len) + logs_a[2],
            public: outer.into_iter().map(|point| Public::Eq(vec![(E::ONE, point)])).collect(),
            secret: vec![Secret::Tensor(view_a), Secret::Tensor(view_b)],
        };
        self.reduce(&sum, claim.value)
    }
}
