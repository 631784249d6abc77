//! The vector kernels of this crate, each with its scalar twin; the only `unsafe` code of the crate.
#![allow(unsafe_code)]

use super::bits::Plane;

/// Bit `bit` of each value as a plane; values past the end count as zero.
pub fn plane(values: &[u32], bit: u8, out: &mut Plane) {
    #[cfg(target_arch = "x86_64")]
    {
        if is_x86_feature_detected!("avx512f") {
            // SAFETY: AVX-512F was detected.
            unsafe { avx512::plane(values, bit, out) };
            return;
        }
        if is_x86_feature_detected!("avx2") {
            // SAFETY: AVX2 was detected.
            unsafe { avx2::plane(values, bit, out) };
            return;
        }
    }
    plane_scalar(values, bit, out);
}

fn plane_scalar(values: &[u32], bit: u8, out: &mut [u64]) {
    out.fill(0);
    for (word, part) in out.iter_mut().zip(values.chunks(64)) {
        for (i, v) in part.iter().enumerate() {
            *word |= u64::from(v >> bit & 1) << i;
        }
    }
}

/// Sum of `table[start + i]` over the set bits `i` of `bits`; `table` holds at least `start + 8·bits.len()` entries
/// and `bits` is a multiple of two bytes.
pub fn selected_sum(bits: &[u8], table: &[u32], start: usize) -> u32 {
    let window = &table[start..start + 8 * bits.len()];
    #[cfg(target_arch = "x86_64")]
    {
        if is_x86_feature_detected!("avx512f") && bits.len().is_multiple_of(8) {
            // SAFETY: AVX-512F was detected; the window has 8 entries a byte of `bits`.
            return unsafe { avx512::selected_sum(bits, window) };
        }
        if is_x86_feature_detected!("avx2") && bits.len().is_multiple_of(2) {
            // SAFETY: AVX2 was detected; the window has 8 entries a byte of `bits`.
            return unsafe { avx2::selected_sum(bits, window) };
        }
    }
    selected_sum_scalar(bits, window)
}

fn selected_sum_scalar(bits: &[u8], window: &[u32]) -> u32 {
    bits.iter().zip(window.chunks_exact(8)).fold(0u32, |sum, (byte, entries)| {
        entries.iter().enumerate().fold(sum, |sum, (i, e)| sum.wrapping_add(e * u32::from(byte >> i & 1)))
    })
}

#[cfg(target_arch = "x86_64")]
mod avx2 {
    use super::Plane;
    use std::arch::x86_64::*;

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
        super::plane_scalar(tail, bit, rest);
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
}

#[cfg(target_arch = "x86_64")]
mod avx512 {
    use super::Plane;
    use std::arch::x86_64::*;

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
        super::plane_scalar(tail, bit, rest);
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
}

#[cfg(test)]
mod tests {
    use super::super::bits::{CHUNK, WORDS};
    use super::*;

    fn noise(n: usize, seed: u32) -> Vec<u32> {
        let mut x = seed;
        (0..n)
            .map(|_| {
                x ^= x << 13;
                x ^= x >> 17;
                x ^= x << 5;
                x
            })
            .collect()
    }

    #[test]
    fn planes_equal_their_scalar_twin() {
        for n in [0, 1, 7, 8, 63, 64, 65, 1000, CHUNK - 1, CHUNK] {
            let values = noise(n, 1 + n as u32);
            for bit in 0..32 {
                let (mut fast, mut slow) = ([7; WORDS], [9; WORDS]);
                plane(&values, bit, &mut fast);
                plane_scalar(&values, bit, &mut slow);
                assert_eq!(fast, slow, "{n} values, bit {bit}");
                #[cfg(target_arch = "x86_64")]
                if is_x86_feature_detected!("avx2") {
                    // SAFETY: AVX2 was detected.
                    unsafe { avx2::plane(&values, bit, &mut fast) };
                    assert_eq!(fast, slow, "{n} values, bit {bit}, AVX2");
                }
            }
        }
    }

    #[test]
    fn selected_sums_equal_their_scalar_twin() {
        for bytes in [2, 16, 32, 64, 128] {
            let table = noise(16 * bytes, 99);
            for start in [0, 1, 5, 8 * bytes - 1] {
                let bits: Vec<u8> = noise(bytes, start as u32 + 3).iter().map(|v| *v as u8).collect();
                let want = selected_sum_scalar(&bits, &table[start..start + 8 * bytes]);
                assert_eq!(selected_sum(&bits, &table, start), want);
                #[cfg(target_arch = "x86_64")]
                if is_x86_feature_detected!("avx2") {
                    // SAFETY: AVX2 was detected.
                    assert_eq!(unsafe { avx2::selected_sum(&bits, &table[start..start + 8 * bytes]) }, want);
                }
            }
        }
    }
}
