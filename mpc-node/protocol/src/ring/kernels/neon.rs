//! What needs instructions of 64-bit ARM by name: bit planes, sums of chosen entries, words of three bytes. Every such
//! processor has NEON.

use std::arch::aarch64::*;

use super::scalar;
use crate::ring::planes::Plane;

/// The bits of eight masks, one a byte.
const WEIGHTS: [u8; 16] = [1, 2, 4, 8, 16, 32, 64, 128, 1, 2, 4, 8, 16, 32, 64, 128];
const BITS: [u32; 8] = [1, 2, 4, 8, 16, 32, 64, 128];

/// Bit `bit` of each value as a plane.
#[target_feature(enable = "neon")]
pub(super) fn plane(values: &[u32], bit: u8, out: &mut Plane) {
    let select = vdupq_n_u32(1 << bit);
    // SAFETY: sixteen bytes.
    let weights = unsafe { vld1q_u8(WEIGHTS.as_ptr()) };
    let (blocks, tail) = values.as_chunks::<64>();
    let (words, rest) = out.split_at_mut(blocks.len());
    for (word, block) in words.iter_mut().zip(blocks) {
        // A byte for each of sixteen values: its weight if the bit is set.
        let part = |i: usize| {
            let mask = |j: usize| {
                // SAFETY: `block` is sixty-four u32; 16·i + 4·j is at most sixty.
                let v = unsafe { vld1q_u32(block.as_ptr().add(16 * i + 4 * j)) };
                vmovn_u32(vtstq_u32(v, select))
            };
            let (low, high) = (vcombine_u16(mask(0), mask(1)), vcombine_u16(mask(2), mask(3)));
            vandq_u8(vcombine_u8(vmovn_u16(low), vmovn_u16(high)), weights)
        };
        // Neighbours are added three times: then eight weights are one byte, in the order of the values.
        let pairs = vpaddq_u8(vpaddq_u8(part(0), part(1)), vpaddq_u8(part(2), part(3)));
        let bytes = vpaddq_u8(pairs, pairs);
        *word = vgetq_lane_u64::<0>(vreinterpretq_u64_u8(bytes));
    }
    scalar::plane(tail, bit, rest);
}

/// Sum of the entries of `window`, eight a byte of `bits`, whose bits are set; two bytes at a time.
#[target_feature(enable = "neon")]
pub(super) fn selected_sum(bits: &[u8], window: &[u32]) -> u32 {
    debug_assert_eq!(window.len(), 8 * bits.len());
    // SAFETY: four u32 from 0 and from 4 on.
    let (low, high) = unsafe { (vld1q_u32(BITS.as_ptr()), vld1q_u32(BITS.as_ptr().add(4))) };
    let mut sums = [vdupq_n_u32(0); 4];
    for (pair, entries) in bits.as_chunks::<2>().0.iter().zip(window.as_chunks::<16>().0) {
        for (i, sum) in sums.iter_mut().enumerate() {
            let on = vtstq_u32(vdupq_n_u32(u32::from(pair[i / 2])), if i % 2 == 0 { low } else { high });
            // SAFETY: `entries` has sixteen u32.
            let four = unsafe { vld1q_u32(entries.as_ptr().add(4 * i)) };
            *sum = vaddq_u32(*sum, vandq_u32(on, four));
        }
    }
    vaddvq_u32(vaddq_u32(vaddq_u32(sums[0], sums[1]), vaddq_u32(sums[2], sums[3])))
}

/// Decodes sixteen words at a time; what is left.
#[target_feature(enable = "neon")]
pub(super) fn decode3<'a, 'b>(bytes: &'a [u8], out: &'b mut [u32]) -> (&'a [u8], &'b mut [u32]) {
    let blocks = (bytes.len() / 48).min(out.len() / 16);
    let (from, bytes) = bytes.split_at(48 * blocks);
    let (to, out) = out.split_at_mut(16 * blocks);
    for (block, words) in from.as_chunks::<48>().0.iter().zip(to.as_chunks_mut::<16>().0) {
        // SAFETY: `block` has forty-eight bytes, `words` takes sixty-four.
        unsafe {
            let uint8x16x3_t(a, b, c) = vld3q_u8(block.as_ptr());
            vst4q_u8(words.as_mut_ptr().cast(), uint8x16x4_t(a, b, c, vdupq_n_u8(0)));
        }
    }
    (bytes, out)
}

/// Encodes sixteen words at a time; what is left.
#[target_feature(enable = "neon")]
pub(super) fn encode3<'a, 'b>(values: &'a [u32], out: &'b mut [u8]) -> (&'a [u32], &'b mut [u8]) {
    let blocks = (values.len() / 16).min(out.len() / 48);
    let (from, values) = values.split_at(16 * blocks);
    let (to, out) = out.split_at_mut(48 * blocks);
    for (words, block) in from.as_chunks::<16>().0.iter().zip(to.as_chunks_mut::<48>().0) {
        // SAFETY: `words` has sixty-four bytes, `block` takes forty-eight.
        unsafe {
            let uint8x16x4_t(a, b, c, _) = vld4q_u8(words.as_ptr().cast());
            vst3q_u8(block.as_mut_ptr(), uint8x16x3_t(a, b, c));
        }
    }
    (values, out)
}
