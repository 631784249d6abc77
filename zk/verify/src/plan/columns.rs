//! Committed columns, where they lie, and numbers that are proven to be in a range.

use super::*;
use crate::system::variables;

impl Planner<'_> {
    pub(super) fn column(&mut self, oracle: Oracle, shape: Shape, interval: Interval, hint: Hint) -> TensorId {
        self.push(shape, interval, Definition::Column { oracle, offset: 0, hint })
    }

    /// The weights, each within its width.
    pub(super) fn weights(&mut self) -> Result<(), String> {
        for (i, (spec, &bits)) in self.graph.weights.iter().zip(self.weight_bits).enumerate() {
            let interval = Interval::bits(bits.into());
            let shape = Shape::new(1, spec.rows, spec.cols);
            let column = self.column(Oracle::Weights, shape, interval, Hint::Weight(i as u32));
            self.in_range(column, interval, Quantity::Itself(column))
                .map_err(|reason| format!("weight {}: {reason}", spec.name))?;
            self.weights.push(column);
        }
        Ok(())
    }

    /// An input, within the smallest power of two around its declared range.
    pub(super) fn input(&mut self, i: u32, shape: Shape) -> Result<TensorId, String> {
        let most = i128::from(self.graph.inputs[i as usize].max_abs);
        let bits = 2 + (most.max(1) as u128).ilog2();
        let interval = Interval::bits(bits);
        let column = self.column(Oracle::Input, shape, interval, Hint::Input(i));
        self.in_range(column, interval, Quantity::Itself(column))?;
        Ok(column)
    }

    /// A new tensor of numbers that the prover chooses, from `range` up to the next power of two.
    pub(super) fn chosen(&mut self, shape: Shape, range: Interval, of: Quantity) -> Result<TensorId, String> {
        let (limbs, interval) = self.limbs(shape, range, of)?;
        Ok(match limbs[..] {
            [(1, only)] if range.lo == 0 => only,
            _ => {
                let sum = self.linear(shape, limbs, range.lo as i64);
                self.system.tensors[sum.0].interval = interval;
                sum
            }
        })
    }

    /// Proves that a tensor is within `range`, extended to the next power of two; `of` is the tensor.
    pub(super) fn in_range(&mut self, id: TensorId, range: Interval, of: Quantity) -> Result<(), String> {
        let shape = self.shape(id);
        let bits = width(range);
        // What is looked up is compared in the field: no two of the integers that meet may be p apart.
        let met = self.interval(id).plus(Interval::new(-range.lo, -range.lo));
        if met.lo <= -P || met.hi >= P || bits > 30 || met.lo - (1 << bits) <= -P {
            return Err(format!("numbers between {} and {} cannot be held against {bits} bits", met.lo, met.hi));
        }
        if bits <= self.limb_bits {
            let shifted = match range.lo {
                0 => id,
                lo => self.linear(shape, vec![(1, id)], -lo as i64),
            };
            self.look_up_range(shifted, bits);
        } else {
            let (mut terms, _) = self.limbs(shape, range, of)?;
            terms.push((-1, id));
            let difference = self.linear(shape, terms, range.lo as i64);
            self.zero(difference)?;
        }
        let tensor = &mut self.system.tensors[id.0];
        tensor.interval = tensor.interval.within(Interval::new(range.lo, range.lo + (1 << bits) - 1));
        Ok(())
    }

    /// Columns that give, with their factors, a number less the least of `range`.
    fn limbs(
        &mut self,
        shape: Shape,
        range: Interval,
        of: Quantity,
    ) -> Result<(Vec<(i64, TensorId)>, Interval), String> {
        let all = width(range);
        if all > 30 {
            return Err(format!("a number between {} and {} does not fit 30 bits", range.lo, range.hi));
        }
        let mut limbs = Vec::new();
        let mut shift = 0;
        while shift < all || limbs.is_empty() {
            let bits = (all - shift).min(self.limb_bits);
            let hint = Hint::Limb { of, least: range.lo as i64, shift, bits };
            let limb = self.column(Oracle::Witness, shape, Interval::new(0, (1 << bits) - 1), hint);
            self.look_up_range(limb, bits);
            limbs.push((1 << shift, limb));
            shift += bits;
            if bits == 0 {
                break;
            }
        }
        Ok((limbs, Interval::new(range.lo, range.lo + (1 << all) - 1)))
    }

    /// The number modulo `2^bits`, as it is stored: nothing to do where it fits.
    pub(super) fn wrapped(&mut self, id: TensorId, bits: u8) -> Result<TensorId, String> {
        let (interval, to) = (self.interval(id), Interval::bits(bits.into()));
        let small = 4 * interval.magnitude() < P;
        if interval.fits(to) && (2 * interval.magnitude() < P || self.limbs_of(id).is_some()) {
            return Ok(id);
        }
        if bits > 29 || !small {
            return self.wide(id, bits.into());
        }
        let half = 1i128 << (bits - 1);
        let turns = Interval::new((interval.lo + half) >> bits, (interval.hi + half) >> bits);
        let quotient = Quantity::Quotient(id, half as i64, bits.into());
        self.remainder(id, turns, quotient, bits.into(), to)
    }

    /// `x - 2^bits·q` within `range`, for a chosen `q` within `turns`.
    pub(super) fn remainder(
        &mut self,
        x: TensorId,
        turns: Interval,
        quotient: Quantity,
        bits: u32,
        range: Interval,
    ) -> Result<TensorId, String> {
        let shape = self.shape(x);
        let turns = self.chosen(shape, turns, quotient)?;
        let rest = self.linear(shape, vec![(1, x), (-(1 << bits), turns)], 0);
        self.in_range(rest, range, Quantity::Itself(rest))?;
        Ok(rest)
    }

    /// Gives every column its place: the largest first, so that each begins at a multiple of its size.
    pub(super) fn place(&mut self) -> Result<(), String> {
        for (which, oracle) in Oracle::ALL.into_iter().enumerate() {
            let of = |tensor: &Tensor| matches!(tensor.definition, Definition::Column { oracle: o, .. } if o == oracle);
            let tensors = &self.system.tensors;
            let mut columns: Vec<usize> = (0..tensors.len()).filter(|&i| of(&tensors[i])).collect();
            columns.sort_by_key(|&i| std::cmp::Reverse(variables(tensors[i].shape)));
            let mut end = 0usize;
            for i in columns {
                let tensor = &mut self.system.tensors[i];
                if let Definition::Column { offset, .. } = &mut tensor.definition {
                    *offset = end;
                }
                end = end.saturating_add(1 << variables(tensor.shape));
            }
            let salted = matches!(oracle, Oracle::Input | Oracle::Output);
            let salt = salted.then(|| end.next_multiple_of(SALT));
            let size = salt.map_or(end, |salt| salt.saturating_add(SALT));
            let needed = size.max(1).next_power_of_two().trailing_zeros() as usize;
            if needed > MAX_VARIABLES {
                return Err(format!("its {oracle:?} has 2^{needed} values, more than the limit of 2^{MAX_VARIABLES}"));
            }
            self.system.variables[which] = needed.max(MIN_VARIABLES);
            self.system.salts[which] = salt;
        }
        Ok(())
    }
}

/// Bits of a number between the ends of an interval, less its lower end.
fn width(range: Interval) -> u32 {
    let spread = (range.hi - range.lo).max(0) as u128;
    u128::BITS - spread.leading_zeros()
}
