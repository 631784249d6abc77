//! Kernels that name instructions of AVX-512. Each may be called only where those were detected.

use std::arch::x86_64::*;

use super::scalar;
use crate::ring::planes::Plane;

#[target_feature(enable = "avx512f")]
pub(super) fn plane(values: &[u32], bit: u8, out: &mut Plane) {
    let select = _mm512_set1_epi32(1 << bit);
    let (blocks, tail) = values.as_chunks::<64>();
    let (words, rest) = out.split_at_mut(blocks.len());
    for (word, block) in words.iter_mut().zip(blocks) {
        let part = |i: usize| {
            // SAFETY: `block` is sixty-four u32, read unaligned.
            let v = unsafe { _mm512_loadu_si512(block.as_ptr().add(16 * i).cast()) };
            u64::from(_mm512_test_epi32_mask(v, select)) << (16 * i)
        };
        *word = part(0) | part(1) | part(2) | part(3);
    }
    scalar::plane(tail, bit, rest);
}

#[target_feature(enable = "avx512f")]
pub(super) fn selected_sum(bits: &[u8], window: &[u32]) -> u32 {
    debug_assert_eq!(window.len(), 8 * bits.len());
    let mut sums = [_mm512_setzero_si512(); 4];
    for (eight, entries) in bits.chunks_exact(8).zip(window.chunks_exact(64)) {
        for (i, sum) in sums.iter_mut().enumerate() {
            let on = u16::from_le_bytes([eight[2 * i], eight[2 * i + 1]]);
            // SAFETY: `entries` has sixty-four u32, read unaligned.
            let e = unsafe { _mm512_loadu_si512(entries.as_ptr().add(16 * i).cast()) };
            *sum = _mm512_mask_add_epi32(*sum, on, *sum, e);
        }
    }
    let a = _mm512_add_epi32(sums[0], sums[1]);
    let b = _mm512_add_epi32(sums[2], sums[3]);
    _mm512_reduce_add_epi32(_mm512_add_epi32(a, b)) as u32
}
