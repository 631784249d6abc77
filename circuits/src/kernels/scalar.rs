//! The portable kernel: same panels and the same sums as the AVX2 one, left to the compiler.

use super::{Block, NR};

/// Adds the product of the block's depth slice with one packed panel to every row of `c`.
pub(super) fn panel(block: &Block<'_>, packed: &[u32], c: &mut [u32]) {
    let width = NR.min(block.n - block.col);
    for (a_row, c_row) in block.a.chunks_exact(block.k).zip(c.chunks_exact_mut(block.n)) {
        let mut sums = [0u32; NR];
        for (&x, row) in a_row[block.k0..block.k0 + block.kc].iter().zip(packed.chunks_exact(NR)) {
            for (sum, &y) in sums.iter_mut().zip(row) {
                *sum = sum.wrapping_add(x.wrapping_mul(y));
            }
        }
        for (out, sum) in c_row[block.col..block.col + width].iter_mut().zip(sums) {
            *out = out.wrapping_add(sum);
        }
    }
}
