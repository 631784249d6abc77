//! Rescale: `x + 2^(s-1) = 2^s·y + rest` with `0 ≤ rest < 2^s`, so `y` is the quotient rounded half up.
//!
//! Of a number with limbs, the half is added to the low one where it is that small, and its carry goes to the high one.

use super::*;

impl Planner<'_> {
    pub(super) fn rescale(&mut self, x: TensorId, shift: u8, node: &Node) -> Result<TensorId, String> {
        let half = 1i64 << (shift - 1);
        let bound = node.bound.checked_add(1).and_then(u64::checked_next_power_of_two).map_or(P, i128::from);
        if 4 * self.interval(x).magnitude() >= P {
            let (high, low) = self.as_limbs(x)?;
            let y = self.rescale_limbs(high, low, shift.into())?;
            if 2 * bound <= self.interval(y).magnitude() {
                self.in_range(y, Interval::new(-bound, bound - 1), Quantity::Itself(y))?;
            }
            return Ok(y);
        }
        let rounded = self.interval(x).plus(Interval::new(half.into(), half.into()));
        let derived = Interval::new(rounded.lo >> shift, rounded.hi >> shift);
        // The graph's own bound may be narrower; the proof then holds the values to it.
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

    /// The executor adds the half modulo `2^32`: the result is taken modulo `2^(32-shift)`, signed.
    fn rescale_limbs(&mut self, high: TensorId, low: TensorId, shift: u32) -> Result<TensorId, String> {
        let shape = self.shape(high);
        let half = 1i64 << (shift - 1);
        let exact = if shift <= wide::LOW {
            let rounded = self.linear(shape, vec![(1, low)], half);
            let (_, carried) = self.divide(rounded, shift)?;
            self.linear(shape, vec![(1 << (wide::LOW - shift), high), (1, carried)], 0)
        } else {
            // The half is a multiple of the low limb's size, and the low limb is dropped.
            let rounded = self.linear(shape, vec![(1, high)], half >> wide::LOW);
            self.divide(rounded, shift - wide::LOW)?.1
        };
        self.wrapped(exact, (32 - shift) as u8)
    }
}
