//! A sum of multiples: at every point its value is the sum of theirs, each times the extension of "one where it is
//! repeated".

use super::*;
use crate::mle;
use sahara_circuits::graph::Shape;

impl<P: Party> Script<'_, P> {
    pub(super) fn linear(
        &mut self,
        shape: Shape,
        terms: &[(i64, TensorId)],
        constant: i64,
        claim: &Claim,
    ) -> Result<(), P::Error> {
        let axes = split(logs(shape), &claim.point);
        let within = |axis: usize| mle::below(dimensions(shape)[axis] as usize, axes[axis]);
        let base = |k: i64| E::from(crate::field::signed(k));
        let mut sum = base(constant) * within(0) * within(1) * within(2);
        for &(k, id) in terms {
            let (mut point, mut factor) = (Vec::new(), base(k));
            for (axis, here) in axes.iter().enumerate() {
                if self.repeats(id, shape, axis) {
                    factor *= within(axis);
                } else {
                    point.extend_from_slice(here);
                }
            }
            let value = self.party.evaluation(id, &point)?;
            sum += factor * value;
            self.claim(id, point, value);
        }
        self.party.equal("a sum of tensors", sum, claim.value)
    }
}
