//! Elements at other places: `Σ_{b,c} S(b, c)·x(b, p_r, c)`, where `S` is the weight of the place that an element goes to.

use super::*;
use crate::mle;
use crate::party::{Axis, Public, Secret, Sum, View};
use crate::system::Move;
use sahara_circuits::graph::Shape;

impl<P: Party> Script<'_, P> {
    pub(super) fn moved(&mut self, parts: &[TensorId], to: Move, shape: Shape, claim: &Claim) -> Result<(), P::Error> {
        let [batch, rows, cols] = split(logs(shape), &claim.point);
        let (batch, cols) = (mle::eq_table(batch), mle::eq_table(cols));
        let (mut left, mut first) = (claim.value, 0);
        for (i, &part) in parts.iter().enumerate() {
            let from = self.system.tensor(part).shape;
            let lengths = logs(from);
            let mut weights = vec![E::ZERO; 1 << (lengths[0] + lengths[2])];
            for b in 0..from.batch as usize {
                for c in 0..from.cols as usize {
                    if let Some((to_b, to_c)) = place(to, shape, from, first, (b, c)) {
                        weights[(b << lengths[2]) + c] = batch[to_b] * cols[to_c];
                    }
                }
            }
            first += from.cols as usize;
            let axes = [Axis::Free, Axis::Fixed(rows.to_vec()), Axis::Free];
            let sum = Sum {
                what: "elements at other places",
                variables: lengths[0] + lengths[2],
                public: vec![Public::Values(weights)],
                secret: vec![Secret::Tensor(View { tensor: part, axes })],
            };
            // What the last part gives follows from the others.
            let value = if i + 1 == parts.len() { left } else { self.party.total(&sum)? };
            left -= value;
            self.reduce(&sum, value)?;
        }
        Ok(())
    }
}

/// Where an element of a part goes, as batch and column; `first` is how many columns the parts before it have.
pub fn place(to: Move, shape: Shape, from: Shape, first: usize, (b, c): (usize, usize)) -> Option<(usize, usize)> {
    let columns = shape.cols as usize;
    match to {
        Move::Slice(start) => c.checked_sub(start as usize).filter(|&c| c < columns).map(|c| (b, c)),
        Move::Concat => Some((b, first + c)),
        Move::Split => Some((c / columns, c % columns)),
        Move::Merge => Some((0, b * from.cols as usize + c)),
    }
}
