//! Kernels that name instructions of AVX2. Each may be called only where those were detected.

use std::arch::x86_64::*;

use super::scalar;
use crate::ring::planes::Plane;

#[target_feature(enable = "avx2")]
pub(super) fn plane(values: &[u32], bit: u8, out: &mut Plane) {
    let left = _mm_cvtsi32_si128(31 - i32::from(bit));
    let (blocks, tail) = values.as_chunks::<64>();
    let (words, rest) = out.split_at_mut(blocks.len());
    for (word, block) in words.iter_mut().zip(blocks) {
        *word = 0;
        for i in 0..8 {
            // SAFETY: `block` is sixty-four u32, read unaligned.
            let v = unsafe { _mm256_loadu_si256(block.as_ptr().add(8 * i).cast()) };
            let bits = _mm256_movemask_ps(_mm256_castsi256_ps(_mm256_sll_epi32(v, left)));
            *word |= u64::from(bits as u8) << (8 * i);
        }
    }
    scalar::plane(tail, bit, rest);
}

/// Decodes eight words at a time, as long as the 28 bytes that are read for them are there; gives how many.
#[target_feature(enable = "avx2")]
pub(super) fn decode3(bytes: &[u8], out: &mut [u32]) -> usize {
    let order = _mm256_broadcastsi128_si256(_mm_setr_epi8(0, 1, 2, -1, 3, 4, 5, -1, 6, 7, 8, -1, 9, 10, 11, -1));
    let (blocks, _) = out.as_chunks_mut::<8>();
    let mut done = 0;
    for (block, window) in blocks.iter_mut().zip(bytes.windows(28).step_by(24)) {
        // SAFETY: `window` has sixteen bytes from 0 and from 12 on, read unaligned; `block` takes eight words.
        unsafe {
            let low = _mm_loadu_si128(window.as_ptr().cast());
            let high = _mm_loadu_si128(window.as_ptr().add(12).cast());
            let words = _mm256_shuffle_epi8(_mm256_set_m128i(high, low), order);
            _mm256_storeu_si256(block.as_mut_ptr().cast(), words);
        }
        done += 8;
    }
    done
}

/// Encodes eight words at a time, as long as there is room for the 28 bytes that are written; gives how many.
#[target_feature(enable = "avx2")]
pub(super) fn encode3(values: &[u32], out: &mut [u8]) -> usize {
    let order = _mm256_broadcastsi128_si256(_mm_setr_epi8(0, 1, 2, 4, 5, 6, 8, 9, 10, 12, 13, 14, -1, -1, -1, -1));
    let (blocks, _) = values.as_chunks::<8>();
    let mut done = 0;
    for block in blocks {
        let Some(window) = out.get_mut(3 * done..3 * done + 28) else { break };
        // SAFETY: `block` has eight words; `window` takes sixteen bytes from 0 and, over the last four, from 12 on.
        unsafe {
            let bytes = _mm256_shuffle_epi8(_mm256_loadu_si256(block.as_ptr().cast()), order);
            _mm_storeu_si128(window.as_mut_ptr().cast(), _mm256_castsi256_si128(bytes));
            _mm_storeu_si128(window.as_mut_ptr().add(12).cast(), _mm256_extracti128_si256::<1>(bytes));
        }
        done += 8;
    }
    done
}

#[target_feature(enable = "avx2")]
pub(super) fn selected_sum(bits: &[u8], window: &[u32]) -> u32 {
    debug_assert_eq!(window.len(), 8 * bits.len());
    let select = _mm256_setr_epi32(1, 2, 4, 8, 16, 32, 64, 128);
    let mut sums = [_mm256_setzero_si256(); 2];
    for (pair, entries) in bits.chunks_exact(2).zip(window.chunks_exact(16)) {
        for (half, sum) in sums.iter_mut().enumerate() {
            let byte = _mm256_set1_epi32(i32::from(pair[half]));
            let on = _mm256_cmpeq_epi32(_mm256_and_si256(byte, select), select);
            // SAFETY: `entries` has sixteen u32, read unaligned.
            let e = unsafe { _mm256_loadu_si256(entries.as_ptr().add(8 * half).cast()) };
            *sum = _mm256_add_epi32(*sum, _mm256_and_si256(on, e));
        }
    }
    let s = _mm256_add_epi32(sums[0], sums[1]);
    let x = _mm_add_epi32(_mm256_castsi256_si128(s), _mm256_extracti128_si256::<1>(s));
    let x = _mm_add_epi32(x, _mm_shuffle_epi32::<0x4e>(x));
    let x = _mm_add_epi32(x, _mm_shuffle_epi32::<0xb1>(x));
    _mm_cvtsi128_si32(x) as u32
}
