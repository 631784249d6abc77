//! A step function: the index `i` of the piece that `x` is in, the ends of that piece, and the value on it.

use super::*;

impl Planner<'_> {
    /// The ends and the value follow from `i` by tables; `x` is between the ends.
    pub(super) fn step(&mut self, x: TensorId, base: i32, steps: &[(u32, i32)]) -> Result<TensorId, String> {
        let interval = self.interval(x);
        if 2 * interval.magnitude() >= P {
            return Err(format!("its operand can leave ±p/2 (p is {P})"));
        }
        let mut steps: Vec<(i64, i64)> = steps.iter().map(|&(t, w)| (t.into(), w.into())).collect();
        steps.sort_unstable();
        let (mut starts, mut values) = (vec![interval.lo as i64], vec![i64::from(base)]);
        for (threshold, weight) in steps {
            if i128::from(threshold) > interval.hi {
                break;
            }
            let value = values.last().copied().unwrap_or(0) + weight;
            if i128::from(threshold) <= interval.lo || starts.last() == Some(&threshold) {
                // The piece before it is empty.
                values.pop();
            } else {
                starts.push(threshold);
            }
            values.push(value);
        }
        if values.iter().any(|&v| 2 * i128::from(v).abs() >= P) {
            return Err(format!("a value of it is beyond ±p/2 (p is {P})"));
        }
        let ends: Vec<i64> = starts[1..].iter().map(|start| start - 1).chain([interval.hi as i64]).collect();
        let pairs = |values: &[i64]| (0..).zip(values.iter().copied()).collect::<Vec<_>>();
        let shape = self.shape(x);
        let pieces = Interval::new(0, starts.len() as i128 - 1);
        let i = self.column(Oracle::Witness, shape, pieces, Hint::Reached(x, starts[1..].to_vec()));
        let start = self.beside(i, pairs(&starts));
        let end = self.beside(i, pairs(&ends));
        let value = self.beside(i, pairs(&values));
        let spread = Interval::new(0, interval.hi - interval.lo);
        let after = self.linear(shape, vec![(1, x), (-1, start)], 0);
        self.in_range(after, spread, Quantity::Itself(after))?;
        let before = self.linear(shape, vec![(1, end), (-1, x)], 0);
        self.in_range(before, spread, Quantity::Itself(before))?;
        Ok(value)
    }
}
