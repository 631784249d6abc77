//! The AVX-512 kernel: an 8 × 32 register tile over two panels, one `vpmulld` and one `vpaddd` for sixteen products.

use super::{Block, NR};
use std::arch::x86_64::{
    _mm512_add_epi32, _mm512_loadu_si512, _mm512_mullo_epi32, _mm512_set1_epi32, _mm512_setzero_si512,
    _mm512_storeu_si512,
};

/// Rows of a register tile: sixteen sums hide the latency of the products, and leave room for what is being multiplied.
pub(super) const ROWS: usize = 8;

/// Adds the product of the block's depth slice with one or two packed panels to every row of `c`.
#[target_feature(enable = "avx512f")]
pub(super) fn panels(block: &Block<'_>, packed: &[u32], c: &mut [u32]) {
    match packed.len() / (block.kc * NR) {
        2 => rows::<2>(block, packed, c),
        _ => rows::<1>(block, packed, c),
    }
}

#[target_feature(enable = "avx512f")]
fn rows<const P: usize>(block: &Block<'_>, packed: &[u32], c: &mut [u32]) {
    let rows = block.a.len() / block.k;
    let mut row = 0;
    while row < rows {
        row += match rows - row {
            ROWS.. => tile::<ROWS, P>(block, row, packed, c),
            4.. => tile::<4, P>(block, row, packed, c),
            2.. => tile::<2, P>(block, row, packed, c),
            _ => tile::<1, P>(block, row, packed, c),
        };
    }
}

/// `R` rows of `P` panels; gives `R`.
#[inline]
#[target_feature(enable = "avx512f")]
fn tile<const R: usize, const P: usize>(block: &Block<'_>, row: usize, packed: &[u32], c: &mut [u32]) -> usize {
    let (k, kc) = (block.k, block.kc);
    let first = row * k + block.k0;
    // The highest word of A read below, and the panels' length: checked once, relied on by the raw reads.
    assert!(first + (R - 1) * k + kc <= block.a.len() && packed.len() == P * kc * NR);
    let mut sums = [[_mm512_setzero_si512(); P]; R];
    // SAFETY: offsets stay below the bounds asserted above.
    unsafe {
        let mut a = block.a.as_ptr().add(first);
        let mut b = packed.as_ptr();
        for _ in 0..kc {
            let columns: [_; P] = std::array::from_fn(|p| _mm512_loadu_si512(b.add(p * kc * NR).cast()));
            for (r, sum) in sums.iter_mut().enumerate() {
                let x = _mm512_set1_epi32(a.add(r * k).read() as i32);
                for (sum, column) in sum.iter_mut().zip(columns) {
                    *sum = _mm512_add_epi32(*sum, _mm512_mullo_epi32(x, column));
                }
            }
            a = a.add(1);
            b = b.add(NR);
        }
    }
    for (r, sums) in sums.iter().enumerate() {
        for (p, sum) in sums.iter().enumerate() {
            let col = block.col + p * NR;
            let start = (row + r) * block.n + col;
            let out = &mut c[start..start + NR.min(block.n - col)];
            let mut words = [0u32; NR];
            // SAFETY: `words` holds sixteen words.
            unsafe { _mm512_storeu_si512(words.as_mut_ptr().cast(), *sum) };
            for (o, w) in out.iter_mut().zip(words) {
                *o = o.wrapping_add(w);
            }
        }
    }
    R
}
