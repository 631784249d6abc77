//! Numbers beyond `±p/2`, by limbs: what a node holds modulo `2^32` is `2^16·high + low`, with `high` of 16 signed bits and
//! `0 ≤ low < 2^16`. Sums and products that lead there are taken apart until every part is small.

use super::*;

/// Bits of the low limb.
pub(super) const LOW: u32 = 16;
/// Parts are less than this in size, so that each can be divided with remainder.
const SMALL: i128 = P / 8;
/// Bits of a product's factors and of how many are added, together.
const BUDGET: u32 = 27;
/// Fewest bits of a limb; numbers that would need narrower ones are refused.
const LEAST: u32 = 4;

/// `2^shift` times a small tensor.
type Part = (u32, TensorId);

impl Planner<'_> {
    /// The limbs of a number that has them.
    pub(super) fn limbs_of(&self, id: TensorId) -> Option<(TensorId, TensorId)> {
        self.limbs.get(&id).copied()
    }

    /// A tensor modulo `2^bits`, by limbs.
    pub(super) fn wide(&mut self, exact: TensorId, bits: u32) -> Result<TensorId, String> {
        let shape = self.shape(exact);
        let parts = self.parts(exact)?;
        let (high, low) = self.normal(shape, &parts)?;
        if bits <= LOW {
            return self.wrapped(low, bits as u8);
        }
        let high = self.wrapped(high, (bits - LOW) as u8)?;
        Ok(self.whole(shape, high, low))
    }

    /// Holds a number with limbs to the bound that the graph declares, if that makes it one within `±p/2`.
    pub(super) fn bounded(&mut self, id: TensorId, bound: u64) -> Result<TensorId, String> {
        let Some((high, low)) = self.limbs_of(id) else { return Ok(id) };
        let most = (bound >> LOW).checked_add(1).and_then(u64::checked_next_power_of_two).map_or(P, i128::from);
        let narrow = Interval::new(-most, most - 1);
        if 2 * (most << LOW) >= P || self.interval(high).fits(narrow) {
            return Ok(id);
        }
        self.in_range(high, narrow, Quantity::Itself(high))?;
        Ok(self.whole(self.shape(id), high, low))
    }

    /// `2^16·high + low`, remembered as such.
    fn whole(&mut self, shape: Shape, high: TensorId, low: TensorId) -> TensorId {
        let whole = self.linear(shape, vec![(1 << LOW, high), (1, low)], 0);
        self.limbs.insert(whole, (high, low));
        whole
    }

    /// Small tensors that add up to this one.
    fn parts(&mut self, id: TensorId) -> Result<Vec<Part>, String> {
        if self.interval(id).magnitude() < SMALL {
            return Ok(vec![(0, id)]);
        }
        if let Some((high, low)) = self.limbs_of(id) {
            return Ok(vec![(LOW, high), (0, low)]);
        }
        let shape = self.shape(id);
        match self.system.tensor(id).definition.clone() {
            Definition::Linear { terms, constant } => {
                let mut parts = match constant {
                    0 => Vec::new(),
                    _ => vec![(0, self.linear(shape, Vec::new(), constant))],
                };
                for (k, term) in terms {
                    for (shift, part) in self.parts(term)? {
                        parts.extend(self.multiple(shape, k, shift, part)?);
                    }
                }
                Ok(parts)
            }
            Definition::Product { a, b } => self.bilinear(a, b, 1, |planner, a, b| planner.product(a, b)),
            Definition::MatMul { a, b, transposed } => {
                let inner = self.shape(a).cols;
                self.bilinear(a, b, inner, |planner, a, b| planner.matmul(a, b, transposed, shape))
            }
            Definition::RowSum { x } => {
                // Rows of products are added up after they are taken apart: their parts leave room for that.
                let inner = self.shape(x).cols;
                let parts = match self.system.tensor(x).definition.clone() {
                    Definition::Product { a, b } => {
                        self.bilinear(a, b, inner, |planner, a, b| planner.product(a, b))?
                    }
                    _ => self.narrow_parts(x, BUDGET.saturating_sub(bits_of(inner)))?,
                };
                parts.into_iter().map(|(shift, part)| Ok((shift, self.row_sum(part)))).collect()
            }
            Definition::Moved { parts, to } => {
                let sources = parts.into_iter().map(|part| self.as_limbs(part)).collect::<Result<Vec<_>, _>>()?;
                let (highs, lows) = sources.into_iter().unzip();
                Ok(vec![(LOW, self.moved(highs, to, shape)?), (0, self.moved(lows, to, shape)?)])
            }
            // Not larger than a limb by much: divided once.
            Definition::Column { .. } => Ok(self.split(0, id, BUDGET)?),
        }
    }

    /// A number by its limbs, whatever its size.
    pub(super) fn as_limbs(&mut self, id: TensorId) -> Result<(TensorId, TensorId), String> {
        if let Some(limbs) = self.limbs_of(id) {
            return Ok(limbs);
        }
        let parts = self.parts(id)?;
        self.normal(self.shape(id), &parts)
    }

    /// `k` times a part, as parts.
    fn multiple(&mut self, shape: Shape, k: i64, shift: u32, part: TensorId) -> Result<Vec<Part>, String> {
        if k == 1 && self.shape(part) == shape {
            return Ok(vec![(shift, part)]);
        }
        if k.abs() == 1 {
            return Ok(vec![(shift, self.linear(shape, vec![(k, part)], 0))]);
        }
        let width = BUDGET.saturating_sub(bits_of(k.unsigned_abs().min(u32::MAX.into()) as u32));
        let split = self.split(shift, part, width.max(LEAST))?;
        Ok(split.into_iter().map(|(shift, part)| (shift, self.linear(shape, vec![(k, part)], 0))).collect())
    }

    /// The parts of a product of two tensors, `times` of which are added up.
    fn bilinear(
        &mut self,
        a: TensorId,
        b: TensorId,
        times: u32,
        product: impl Fn(&mut Self, TensorId, TensorId) -> TensorId,
    ) -> Result<Vec<Part>, String> {
        let room = BUDGET.saturating_sub(bits_of(times));
        let whole = room.saturating_sub(size(self.interval(b)));
        // The first factor alone, if limbs of it do: the second is often weights.
        let (of_a, of_b) = if whole >= 2 * LEAST { (whole, room) } else { (room / 2, room / 2) };
        if of_a < LEAST {
            return Err(format!("{times} products are added up: limbs of less than {LEAST} bits would be needed"));
        }
        let a_parts = self.narrow_parts(a, of_a)?;
        let b_parts = match a == b {
            true if of_b == of_a => a_parts.clone(),
            _ => self.narrow_parts(b, of_b)?,
        };
        let mut parts = Vec::new();
        for &(i, a) in &a_parts {
            for &(j, b) in b_parts.iter().filter(|(j, _)| i + j < 32) {
                parts.push((i + j, product(self, a, b)));
            }
        }
        Ok(parts)
    }

    /// Parts of at most so many bits.
    fn narrow_parts(&mut self, id: TensorId, width: u32) -> Result<Vec<Part>, String> {
        let mut parts = Vec::new();
        for (shift, part) in self.parts(id)? {
            parts.extend(self.split(shift, part, width)?);
        }
        Ok(parts)
    }

    /// A part, divided by `2^width` with remainder as often as it is longer.
    fn split(&mut self, shift: u32, part: TensorId, width: u32) -> Result<Vec<Part>, String> {
        let interval = self.interval(part);
        if size(interval) <= width || shift >= 32 {
            return Ok(vec![(shift, part)]);
        }
        if width < LEAST {
            return Err(format!("limbs of less than {LEAST} bits would be needed"));
        }
        let (rest, quotient) = self.divide(part, width)?;
        let mut parts = vec![(shift, rest)];
        parts.extend(self.split(shift + width, quotient, width)?);
        Ok(parts)
    }

    /// The remainder, not negative, and the quotient by `2^bits`.
    pub(super) fn divide(&mut self, x: TensorId, bits: u32) -> Result<(TensorId, TensorId), String> {
        let (shape, interval) = (self.shape(x), self.interval(x));
        let turns = Interval::new(interval.lo >> bits, interval.hi >> bits);
        let quotient = self.chosen(shape, turns, Quantity::Quotient(x, 0, bits))?;
        let rest = self.linear(shape, vec![(1, x), (-(1 << bits), quotient)], 0);
        self.in_range(rest, Interval::new(0, (1 << bits) - 1), Quantity::Itself(rest))?;
        // It is the quotient of a number in that interval, exactly.
        let narrowed = self.interval(quotient).within(turns);
        self.system.tensors[quotient.0].interval = narrowed;
        Ok((rest, quotient))
    }

    /// What parts add up to, modulo `2^32`: `high` of 16 signed bits, and `low`.
    fn normal(&mut self, shape: Shape, parts: &[Part]) -> Result<(TensorId, TensorId), String> {
        let (mut highs, mut lows) = (Vec::new(), Vec::new());
        for &(shift, part) in parts.iter().filter(|(shift, _)| *shift < 32) {
            if shift >= LOW {
                // Only so many bits of it count.
                let counted = self.wrapped(part, (32 - shift) as u8)?;
                highs.push((1 << (shift - LOW), counted));
            } else {
                let (rest, quotient) = self.divide(part, LOW - shift)?;
                lows.push((1 << shift, rest));
                highs.push((1, quotient));
            }
        }
        let sum = self.linear(shape, lows, 0);
        let low = if self.interval(sum).fits(Interval::new(0, (1 << LOW) - 1)) {
            sum
        } else {
            let (low, carry) = self.divide(sum, LOW)?;
            highs.push((1, carry));
            low
        };
        let high = self.linear(shape, highs, 0);
        let high = self.wrapped(high, LOW as u8)?;
        Ok((high, low))
    }
}

/// Bits of the size of the numbers of an interval.
fn size(interval: Interval) -> u32 {
    u128::BITS - interval.magnitude().unsigned_abs().leading_zeros()
}

/// Bits that a factor of at most this adds.
fn bits_of(factor: u32) -> u32 {
    u32::BITS - factor.saturating_sub(1).leading_zeros()
}
