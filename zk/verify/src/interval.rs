//! Which integers a tensor can hold, by interval arithmetic: what makes an identity in the field one of integers.

use crate::field::P;

/// From the least to the greatest value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Interval {
    /// The least value.
    pub lo: i128,
    /// The greatest value.
    pub hi: i128,
}

impl Interval {
    /// From `lo` to `hi`.
    pub const fn new(lo: i128, hi: i128) -> Self {
        Self { lo, hi }
    }

    /// Signed numbers of so many bits.
    pub const fn bits(bits: u32) -> Self {
        Self { lo: -(1 << (bits - 1)), hi: (1 << (bits - 1)) - 1 }
    }

    /// Times a constant.
    pub fn times(self, k: i64) -> Self {
        let (a, b) = (self.lo * i128::from(k), self.hi * i128::from(k));
        Self { lo: a.min(b), hi: a.max(b) }
    }

    /// The sum with another one.
    pub fn plus(self, other: Self) -> Self {
        Self { lo: self.lo + other.lo, hi: self.hi + other.hi }
    }

    /// The product with another one.
    pub fn product(self, other: Self) -> Self {
        let corners = [self.lo * other.lo, self.lo * other.hi, self.hi * other.lo, self.hi * other.hi];
        Self { lo: corners.into_iter().fold(i128::MAX, i128::min), hi: corners.into_iter().fold(i128::MIN, i128::max) }
    }

    /// The sum of so many.
    pub fn repeated(self, times: u32) -> Self {
        Self { lo: self.lo * i128::from(times), hi: self.hi * i128::from(times) }
    }

    /// What both hold.
    pub fn within(self, other: Self) -> Self {
        Self { lo: self.lo.max(other.lo), hi: self.hi.min(other.hi) }
    }

    /// What is in one or the other, or between.
    pub fn around(self, other: Self) -> Self {
        Self { lo: self.lo.min(other.lo), hi: self.hi.max(other.hi) }
    }

    /// Whether every value of this one is one of the other.
    pub fn fits(self, other: Self) -> bool {
        other.lo <= self.lo && self.hi <= other.hi
    }

    /// The largest absolute value.
    pub fn magnitude(self) -> i128 {
        self.lo.abs().max(self.hi.abs())
    }

    /// Whether an element of the field stands for at most one of these, and 0 for 0 alone.
    pub fn is_exact(self) -> bool {
        self.magnitude() < P && self.hi - self.lo < P
    }
}
