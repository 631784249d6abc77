//! The vector kernels of this crate, each with its scalar twin; the only `unsafe` code of the crate.
//!
//! What needs no instruction by name is written once and compiled for each width of vectors ([`widened`]).
#![allow(unsafe_code)]

use super::planes::Plane;

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
#[cfg(all(target_arch = "aarch64", target_endian = "little"))]
mod neon;
mod scalar;

/// Defines a function over slices that is compiled for AVX-512, for AVX2 and for any processor (which on 64-bit ARM has
/// NEON); the call takes the best that this machine has. `plain` is the last of the three, for tests.
macro_rules! widened {
    ($(#[$doc:meta])* $name:ident($($arg:ident: $type:ty),*) $body:block) => {
        $(#[$doc])*
        #[allow(clippy::too_many_arguments)] // what a chunk of a gate needs
        pub fn $name($($arg: $type),*) {
            #[cfg(target_arch = "x86_64")]
            {
                #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2")]
                fn avx512($($arg: $type),*) {
                    $name::plain($($arg),*);
                }
                #[target_feature(enable = "avx2")]
                fn avx2($($arg: $type),*) {
                    $name::plain($($arg),*);
                }
                if is_x86_feature_detected!("avx512bw")
                    && is_x86_feature_detected!("avx512dq")
                    && is_x86_feature_detected!("avx512vl")
                {
                    // SAFETY: the extensions of AVX-512F, and so it and AVX2 with it, were detected.
                    unsafe { avx512($($arg),*) };
                    return;
                }
                if is_x86_feature_detected!("avx2") {
                    // SAFETY: AVX2 was detected.
                    unsafe { avx2($($arg),*) };
                    return;
                }
            }
            $name::plain($($arg),*);
        }

        mod $name {
            #[allow(unused_imports)] // not every function has planes
            use super::{Entry, Plane};

            #[inline(always)]
            #[allow(clippy::too_many_arguments)]
            pub(super) fn plain($($arg: $type),*) $body
        }
    };
}

widened! {
    /// The bits of words, least significant first, as integers 0 or 1.
    spread(words: &[u64], out: &mut [u32]) {
        for (word, part) in words.iter().zip(out.chunks_mut(64)) {
            let (halves, tail) = part.as_chunks_mut::<32>();
            let halves_len = halves.len();
            for (i, half) in halves.iter_mut().enumerate() {
                let bits = (word >> (32 * i)) as u32;
                for (j, o) in half.iter_mut().enumerate() {
                    *o = bits >> j & 1;
                }
            }
            for (j, o) in tail.iter_mut().enumerate() {
                *o = (word >> (32 * halves_len + j)) as u32 & 1;
            }
        }
    }
}

widened! {
    /// Adds `b` to `a` modulo a power of two, of which `low` has all bits but the top one.
    add_masked(a: &mut [u32], b: &[u32], low: u32) {
        a.iter_mut().zip(b).for_each(|(a, b)| *a = a.wrapping_add(*b) & low);
    }
}

widened! {
    /// `a = b - a`.
    subtract_from(a: &mut [u32], b: &[u32]) {
        a.iter_mut().zip(b).for_each(|(a, b)| *a = b.wrapping_sub(*a));
    }
}

widened! {
    /// Adds `b` to `a` where the bit (0 or 1) is set.
    add_where(a: &mut [u32], b: &[u32], bit: &[u32]) {
        for ((a, b), v) in a.iter_mut().zip(b).zip(bit) {
            *a = a.wrapping_add(b & 0u32.wrapping_sub(*v));
        }
    }
}

widened! {
    /// Adds `b << shift` to `a` where the top bit of `m` is not set.
    add_where_low(a: &mut [u32], b: &[u32], shift: u8, m: &[u32]) {
        for ((a, b), m) in a.iter_mut().zip(b).zip(m) {
            *a = a.wrapping_add((b << shift) & (m >> 31).wrapping_sub(1));
        }
    }
}

widened! {
    /// `m = x + known·((m >> shift) - unit - carry)`, where `known` is 0 or all ones.
    rescaled(m: &mut [u32], x: &[u32], carry: &[u32], shift: u8, unit: u32, known: u32) {
        for ((m, x), v) in m.iter_mut().zip(x).zip(carry) {
            let public = (*m >> shift).wrapping_sub(unit).wrapping_sub(*v);
            *m = x.wrapping_add(public & known);
        }
    }
}

widened! {
    /// `out = bit·(known·u - mask) + (1 - 2·bit)·(u·gamma - cross)`, where `known` is 0 or all ones.
    chosen(out: &mut [u32], u: &[u32], mask: &[u32], bit: &[u32], gamma: &[u32], cross: &[u32], known: u32) {
        let factors = gamma.iter().zip(cross);
        for ((((o, u), mask), v), (gamma, cross)) in out.iter_mut().zip(u).zip(mask).zip(bit).zip(factors) {
            let on = 0u32.wrapping_sub(*v);
            let own = (u & known).wrapping_sub(*mask) & on;
            let shared = u.wrapping_mul(*gamma).wrapping_sub(*cross);
            *o = own.wrapping_add((shared ^ on).wrapping_add(*v));
        }
    }
}

widened! {
    /// `u = u·sign - mu + (1 - bit 15 of u)·(wrap << 16)`.
    looked_up(u: &mut [u32], sign: &[u32], mu: &[u32], wrap: &[u32]) {
        for (((u, s), m), w) in u.iter_mut().zip(sign).zip(mu).zip(wrap) {
            let lifted = (w << 16) & (*u >> 15 & 1).wrapping_sub(1);
            *u = u.wrapping_mul(*s).wrapping_sub(*m).wrapping_add(lifted);
        }
    }
}

/// A range of a shared one-hot vector at a public index: the sum of the range, its entry at the index, and the sum of
/// those above the index.
pub type Entry = [Plane; 3];

widened! {
    /// `a` plus all of `planes`, bit by bit.
    xor_all(a: &mut Plane, planes: &[Plane]) {
        for plane in planes {
            a.iter_mut().zip(plane).for_each(|(a, p)| *a ^= p);
        }
    }
}

widened! {
    /// Joins neighbouring entries of a one-hot vector; `on` tells whether the public index lies at the upper one.
    join_leaves(out: &mut [Entry], on: &Plane, leaves: &[Plane]) {
        for ([sum, equal, less], [low, high]) in out.iter_mut().zip(leaves.as_chunks::<2>().0) {
            for (i, b) in on.iter().enumerate() {
                let both = low[i] ^ high[i];
                sum[i] = both;
                equal[i] = low[i] ^ (b & both);
                less[i] = high[i] & !b;
            }
        }
    }
}

widened! {
    /// Joins neighbouring ranges; `on` tells whether the public index lies in the upper one.
    join(out: &mut [Entry], on: &Plane, ranges: &[Entry]) {
        for ([sum, equal, less], [low, high]) in out.iter_mut().zip(ranges.as_chunks::<2>().0) {
            for (i, b) in on.iter().enumerate() {
                sum[i] = low[0][i] ^ high[0][i];
                equal[i] = low[1][i] ^ (b & (low[1][i] ^ high[1][i]));
                let below = low[2][i] ^ high[0][i];
                less[i] = below ^ (b & (below ^ high[2][i]));
            }
        }
    }
}

widened! {
    /// Bytes as words.
    decode1(bytes: &[u8], out: &mut [u32]) {
        out.iter_mut().zip(bytes).for_each(|(o, b)| *o = u32::from(*b));
    }
}

widened! {
    /// Pairs of bytes as words.
    decode2(bytes: &[u8], out: &mut [u32]) {
        for (o, b) in out.iter_mut().zip(bytes.as_chunks::<2>().0) {
            *o = u32::from(u16::from_le_bytes(*b));
        }
    }
}

widened! {
    /// The lowest byte of each word.
    encode1(values: &[u32], out: &mut [u8]) {
        out.iter_mut().zip(values).for_each(|(o, v)| *o = *v as u8);
    }
}

widened! {
    /// The lowest two bytes of each word.
    encode2(values: &[u32], out: &mut [u8]) {
        for (o, v) in out.as_chunks_mut::<2>().0.iter_mut().zip(values) {
            *o = (*v as u16).to_le_bytes();
        }
    }
}

/// Bytes in threes as words.
pub fn decode3(bytes: &[u8], out: &mut [u32]) {
    #[cfg(target_arch = "x86_64")]
    if is_x86_feature_detected!("avx2") {
        // SAFETY: AVX2 was detected.
        let done = unsafe { avx2::decode3(bytes, out) };
        scalar::decode3(&bytes[3 * done..], &mut out[done..]);
        return;
    }
    #[cfg(all(target_arch = "aarch64", target_endian = "little"))]
    // SAFETY: every 64-bit ARM processor has NEON.
    let (bytes, out) = unsafe { neon::decode3(bytes, out) };
    scalar::decode3(bytes, out);
}

/// The lowest three bytes of each word.
pub fn encode3(values: &[u32], out: &mut [u8]) {
    #[cfg(target_arch = "x86_64")]
    if is_x86_feature_detected!("avx2") {
        // SAFETY: AVX2 was detected.
        let done = unsafe { avx2::encode3(values, out) };
        scalar::encode3(&values[done..], &mut out[3 * done..]);
        return;
    }
    #[cfg(all(target_arch = "aarch64", target_endian = "little"))]
    // SAFETY: every 64-bit ARM processor has NEON.
    let (values, out) = unsafe { neon::encode3(values, out) };
    scalar::encode3(values, out);
}

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
    #[cfg(all(target_arch = "aarch64", target_endian = "little"))]
    // SAFETY: every 64-bit ARM processor has NEON.
    unsafe {
        neon::plane(values, bit, out);
    }
    #[cfg(not(all(target_arch = "aarch64", target_endian = "little")))]
    scalar::plane(values, bit, out);
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
    #[cfg(all(target_arch = "aarch64", target_endian = "little"))]
    if bits.len().is_multiple_of(2) {
        // SAFETY: every 64-bit ARM processor has NEON; the window has 8 entries a byte of `bits`.
        return unsafe { neon::selected_sum(bits, window) };
    }
    scalar::selected_sum(bits, window)
}

#[cfg(test)]
mod tests;
