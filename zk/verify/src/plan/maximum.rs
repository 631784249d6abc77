//! The maximum of a row, and the smaller of a number and a limit.

use super::*;

impl Planner<'_> {
    /// With `e` of zeros and a single one in each row: `m = Σ e·x`, which is an element, and `m - x ≥ 0`.
    pub(super) fn row_max(&mut self, x: TensorId) -> Result<TensorId, String> {
        let (shape, interval) = (self.shape(x), self.interval(x));
        let row = Shape { cols: 1, ..shape };
        let e = self.column(Oracle::Witness, shape, Interval::new(0, 1), Hint::OneHot(x));
        self.look_up_range(e, 1);
        let ones = self.row_sum(e);
        let single = self.linear(row, vec![(1, ones)], -1);
        self.zero(single)?;
        let picked = self.product(e, x);
        let maximum = self.row_sum(picked);
        self.system.tensors[maximum.0].interval = interval;
        let below = self.linear(shape, vec![(1, maximum), (-1, x)], 0);
        self.in_range(below, Interval::new(0, interval.hi - interval.lo), Quantity::Itself(below))?;
        Ok(maximum)
    }

    /// With `0 ≤ z ≤ M` and `u = x - z ≥ 0`: `u·(M - z) = 0`, so `z` is `x`, or `M` where `x` is larger.
    pub(super) fn clamp(&mut self, x: TensorId, index_bits: u8) -> Result<TensorId, String> {
        let (shape, interval) = (self.shape(x), self.interval(x));
        let most = (1i64 << index_bits) - 1;
        let range = Interval::new(0, most.into());
        if interval.fits(range) {
            return Ok(x);
        }
        let z = self.chosen(shape, range, Quantity::AtMost(x, most))?;
        let above = self.linear(shape, vec![(1, x), (-1, z)], 0);
        self.in_range(above, Interval::new(0, interval.hi.max(0)), Quantity::Itself(above))?;
        let left = self.linear(shape, vec![(-1, z)], most);
        let both = self.product(above, left);
        if self.interval(above).magnitude().max(most.into()) >= P {
            return Err(format!("its operand can reach {}, beyond p ({P})", interval.hi));
        }
        // A product of two numbers smaller than the prime is zero in the field only where one of them is zero.
        self.system.zeros.push(both);
        Ok(z)
    }
}
