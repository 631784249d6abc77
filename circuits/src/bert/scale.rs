//! At which scale the tensors of an encoder are integers, and how far they are off.

use super::tables;
use crate::graph::rescale_limit;

/// Fractional bits of a normalised row of unit length.
pub(super) const UNIT: i32 = 13;
/// Largest error of a rescaled value, in units of its last place.
pub(super) const SLACK: f64 = 1.5;
/// What a 32-bit value stays below that is rescaled, by whichever shift.
pub(super) const LIMIT: f64 = rescale_limit(20) as f64;
/// Fractional bits of queries and keys.
pub(super) const QUERY_FRACTION: i32 = 9;
pub(super) const KEY_FRACTION: i32 = 7;
/// Shift from the feed-forward accumulator to the GELU index.
pub(super) const GELU_SHIFT: u8 = 16;

/// Longest normalised row: the table's excess and the rounding of each element.
pub(super) fn row_norm(hidden: usize) -> f64 {
    2f64.powi(UNIT) * tables::rsqrt_excess() + SLACK * (hidden as f64).sqrt()
}
