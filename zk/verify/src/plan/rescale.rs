//! Rescale: `x + 2^(s-1) = 2^s·y + rest` with `0 ≤ rest < 2^s`, so `y` is the quotient rounded half up.

use super::*;

impl Planner<'_> {
    pub(super) fn rescale(&mut self, x: TensorId, shift: u8, node: &Node) -> Result<TensorId, String> {
        let half = 1i64 << (shift - 1);
        let rounded = self.interval(x).plus(Interval::new(half.into(), half.into()));
        let derived = Interval::new(rounded.lo >> shift, rounded.hi >> shift);
        // The graph's own bound may be narrower; the proof then holds the values to it.
        let bound = node.bound.checked_add(1).and_then(u64::checked_next_power_of_two).map_or(P, i128::from);
        let enforced = derived.within(Interval::new(-bound, bound - 1));
        let range = if enforced.lo <= enforced.hi { enforced } else { derived };
        let shape = self.shape(x);
        let y = self.chosen(shape, range, Quantity::Quotient(x, half, shift.into()))?;
        let rest = self.linear(shape, vec![(1, x), (-(1 << shift), y)], half);
        self.in_range(rest, Interval::new(0, (1 << shift) - 1), Quantity::Itself(rest))?;
        // It is the quotient of a number in that interval now.
        let interval = &mut self.system.tensors[y.0].interval;
        *interval = interval.within(derived);
        Ok(y)
    }
}
