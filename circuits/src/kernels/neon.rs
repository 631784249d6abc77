//! The NEON kernel: a 6 × 16 register tile, one `mla` for four products. Every 64-bit ARM processor has NEON.

use super::{Block, NR};
use std::arch::aarch64::{vdupq_n_u32, vld1q_u32, vmlaq_n_u32, vst1q_u32};

/// Rows of a register tile: twenty-four sums, four vectors of `B` and a word of `A` fit thirty-two registers.
pub(super) const ROWS: usize = 6;
/// Words of a vector.
const LANES: usize = 4;

/// Adds the product of the block's depth slice with one packed panel to every row of `c`.
#[target_feature(enable = "neon")]
pub(super) fn panel(block: &Block<'_>, packed: &[u32], c: &mut [u32]) {
    let rows = block.a.len() / block.k;
    let mut row = 0;
    while row < rows {
        let take = ROWS.min(rows - row);
        match take {
            6 => tile::<6>(block, row, packed, c),
            5 => tile::<5>(block, row, packed, c),
            4 => tile::<4>(block, row, packed, c),
            3 => tile::<3>(block, row, packed, c),
            2 => tile::<2>(block, row, packed, c),
            _ => tile::<1>(block, row, packed, c),
        }
        row += take;
    }
}

/// `R` rows of the panel.
#[inline]
#[target_feature(enable = "neon")]
fn tile<const R: usize>(block: &Block<'_>, row: usize, packed: &[u32], c: &mut [u32]) {
    let (k, kc) = (block.k, block.kc);
    let first = row * k + block.k0;
    // The highest word of A read below, and the panel's length: checked once, relied on by the raw reads.
    assert!(first + (R - 1) * k + kc <= block.a.len() && packed.len() == kc * NR);
    let mut sums = [[vdupq_n_u32(0); NR / LANES]; R];
    // SAFETY: offsets stay below the bounds asserted above.
    unsafe {
        let mut a = block.a.as_ptr().add(first);
        let mut b = packed.as_ptr();
        for _ in 0..kc {
            let columns: [_; NR / LANES] = std::array::from_fn(|i| vld1q_u32(b.add(LANES * i)));
            for (r, sum) in sums.iter_mut().enumerate() {
                let x = a.add(r * k).read();
                for (sum, column) in sum.iter_mut().zip(columns) {
                    *sum = vmlaq_n_u32(*sum, column, x);
                }
            }
            a = a.add(1);
            b = b.add(NR);
        }
    }
    for (r, sum) in sums.into_iter().enumerate() {
        let start = (row + r) * block.n + block.col;
        let width = NR.min(block.n - block.col);
        let out = &mut c[start..start + width];
        let mut words = [0u32; NR];
        for (part, sum) in words.as_chunks_mut::<LANES>().0.iter_mut().zip(sum) {
            // SAFETY: `part` holds the four words of a vector.
            unsafe { vst1q_u32(part.as_mut_ptr(), sum) };
        }
        for (o, w) in out.iter_mut().zip(words) {
            *o = o.wrapping_add(w);
        }
    }
}
