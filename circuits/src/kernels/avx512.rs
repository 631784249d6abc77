//! The AVX-512 kernel: a 12 × 16 register tile; the word of `A` is broadcast by the multiplication's own operand.

use super::{Block, NR};
use std::arch::x86_64::{
    __m512i, _mm512_add_epi32, _mm512_loadu_si512, _mm512_mask_storeu_epi32, _mm512_maskz_loadu_epi32,
    _mm512_mullo_epi32, _mm512_set1_epi32, _mm512_setzero_si512,
};

/// Rows of a tile.
const ROWS: usize = 12;

/// Adds the product of the block's depth slice with one packed panel to every row of `c`.
///
/// # Safety
/// The processor has AVX-512F.
#[target_feature(enable = "avx512f")]
pub(super) unsafe fn panel(block: &Block<'_>, packed: &[u32], c: &mut [u32]) {
    let rows = block.a.len() / block.k;
    let mut row = 0;
    while row < rows {
        let take = ROWS.min(rows - row);
        // SAFETY: AVX-512F by this function's contract; `row + take <= rows`.
        unsafe {
            match take {
                12 => tile::<12>(block, row, packed, c),
                8..12 => tile::<8>(block, row, packed, c),
                4..8 => tile::<4>(block, row, packed, c),
                2..4 => tile::<2>(block, row, packed, c),
                _ => tile::<1>(block, row, packed, c),
            }
        }
        row += match take {
            12 => 12,
            8..12 => 8,
            4..8 => 4,
            2..4 => 2,
            _ => 1,
        };
    }
}

/// `R` rows of the panel.
///
/// # Safety
/// The processor has AVX-512F and `row + R` is at most the number of rows of the block.
#[inline]
#[target_feature(enable = "avx512f")]
unsafe fn tile<const R: usize>(block: &Block<'_>, row: usize, packed: &[u32], c: &mut [u32]) {
    let (k, kc) = (block.k, block.kc);
    let first = row * k + block.k0;
    let width = NR.min(block.n - block.col);
    let out = row * block.n + block.col;
    // The highest words read and written below, checked once and relied on by the raw accesses.
    assert!(first + (R - 1) * k + kc <= block.a.len() && packed.len() == kc * NR);
    assert!(out + (R - 1) * block.n + width <= c.len());
    let mut sums = [_mm512_setzero_si512(); R];
    // SAFETY: offsets stay below the bounds asserted above; stores are masked to `width` columns.
    unsafe {
        let a = block.a.as_ptr().add(first);
        let b = packed.as_ptr();
        for p in 0..kc {
            let row = _mm512_loadu_si512(b.add(p * NR).cast::<__m512i>());
            for (r, sum) in sums.iter_mut().enumerate() {
                let x = _mm512_set1_epi32(a.add(r * k + p).read() as i32);
                *sum = _mm512_add_epi32(*sum, _mm512_mullo_epi32(x, row));
            }
        }
        let mask = ((1u32 << width) - 1) as u16;
        for (r, sum) in sums.iter().enumerate() {
            let at = c.as_mut_ptr().add(out + r * block.n).cast::<i32>();
            let old = _mm512_maskz_loadu_epi32(mask, at);
            _mm512_mask_storeu_epi32(at, mask, _mm512_add_epi32(old, *sum));
        }
    }
}
