//! The AVX2 kernel: a 5 × 16 register tile, one `vpmulld` and one `vpaddd` for eight products.

use super::{Block, NR};
use std::arch::x86_64::{
    __m256i, _mm256_add_epi32, _mm256_loadu_si256, _mm256_mullo_epi32, _mm256_set1_epi32, _mm256_setzero_si256,
    _mm256_storeu_si256,
};

/// Rows of a register tile: ten sums, two vectors of `B`, a word of `A` and a product fit sixteen registers; a sixth
/// row would spill.
pub(super) const ROWS: usize = 5;

/// Adds the product of the block's depth slice with one packed panel to every row of `c`.
///
/// # Safety
/// The processor has AVX2.
#[target_feature(enable = "avx2")]
pub(super) unsafe fn panel(block: &Block<'_>, packed: &[u32], c: &mut [u32]) {
    let rows = block.a.len() / block.k;
    let mut row = 0;
    while row < rows {
        let take = ROWS.min(rows - row);
        // SAFETY: AVX2 by this function's contract; `row + take <= rows`.
        unsafe {
            match take {
                5 => tile::<5>(block, row, packed, c),
                4 => tile::<4>(block, row, packed, c),
                3 => tile::<3>(block, row, packed, c),
                2 => tile::<2>(block, row, packed, c),
                _ => tile::<1>(block, row, packed, c),
            }
        }
        row += take;
    }
}

/// `R` rows of the panel.
///
/// # Safety
/// The processor has AVX2 and `row + R` is at most the number of rows of the block.
#[inline]
#[target_feature(enable = "avx2")]
unsafe fn tile<const R: usize>(block: &Block<'_>, row: usize, packed: &[u32], c: &mut [u32]) {
    let (k, kc) = (block.k, block.kc);
    let first = row * k + block.k0;
    // The highest word of A read below, and the panel's length: checked once, relied on by the raw reads.
    assert!(first + (R - 1) * k + kc <= block.a.len() && packed.len() == kc * NR);
    let mut sums = [[_mm256_setzero_si256(); 2]; R];
    // SAFETY: offsets stay below the bounds asserted above.
    unsafe {
        let mut a = block.a.as_ptr().add(first);
        let mut b = packed.as_ptr();
        for _ in 0..kc {
            let b0 = _mm256_loadu_si256(b.cast::<__m256i>());
            let b1 = _mm256_loadu_si256(b.add(8).cast::<__m256i>());
            for (r, sum) in sums.iter_mut().enumerate() {
                let x = _mm256_set1_epi32(a.add(r * k).read() as i32);
                sum[0] = _mm256_add_epi32(sum[0], _mm256_mullo_epi32(x, b0));
                sum[1] = _mm256_add_epi32(sum[1], _mm256_mullo_epi32(x, b1));
            }
            a = a.add(1);
            b = b.add(NR);
        }
    }
    for (r, sum) in sums.iter().enumerate() {
        let start = (row + r) * block.n + block.col;
        let width = NR.min(block.n - block.col);
        let out = &mut c[start..start + width];
        let mut words = [0u32; NR];
        // SAFETY: `words` holds sixteen words.
        unsafe {
            _mm256_storeu_si256(words.as_mut_ptr().cast::<__m256i>(), sum[0]);
            _mm256_storeu_si256(words.as_mut_ptr().add(8).cast::<__m256i>(), sum[1]);
        }
        for (o, w) in out.iter_mut().zip(words) {
            *o = o.wrapping_add(w);
        }
    }
}
