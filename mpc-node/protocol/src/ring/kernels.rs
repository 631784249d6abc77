//! The vector kernels of this crate, each with its scalar twin; the only `unsafe` code of the crate.
//!
//! What needs no instruction by name is written once and compiled for each width of vectors ([`widened`]).
#![allow(unsafe_code)]

use super::bits::Plane;

/// Defines a function over slices that is compiled for AVX-512, for AVX2 and for any processor; the call takes the best
/// that this machine has. `plain` is the last of the three, for tests.
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
        decode3_scalar(&bytes[3 * done..], &mut out[done..]);
        return;
    }
    decode3_scalar(bytes, out);
}

fn decode3_scalar(bytes: &[u8], out: &mut [u32]) {
    for (o, [a, b, c]) in out.iter_mut().zip(bytes.as_chunks::<3>().0) {
        *o = u32::from_le_bytes([*a, *b, *c, 0]);
    }
}

/// The lowest three bytes of each word.
pub fn encode3(values: &[u32], out: &mut [u8]) {
    #[cfg(target_arch = "x86_64")]
    if is_x86_feature_detected!("avx2") {
        // SAFETY: AVX2 was detected.
        let done = unsafe { avx2::encode3(values, out) };
        encode3_scalar(&values[done..], &mut out[3 * done..]);
        return;
    }
    encode3_scalar(values, out);
}

fn encode3_scalar(values: &[u32], out: &mut [u8]) {
    for (o, v) in out.as_chunks_mut::<3>().0.iter_mut().zip(values) {
        let [a, b, c, _] = v.to_le_bytes();
        *o = [a, b, c];
    }
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

    /// What each function that is compiled for several widths of vectors gives, and what its plain form gives.
    #[test]
    fn widened_functions_equal_their_plain_form() {
        let lengths = [0, 1, 2, 7, 8, 9, 10, 15, 16, 17, 31, 32, 33, 63, 64, 65, 100, 127, 128, 129, 1000, CHUNK];
        for (round, n) in lengths.into_iter().enumerate() {
            let [a, b, c, d, e] = [1, 2, 3, 4, 5].map(|i| noise(n, 10 * i + round as u32));
            let bits: Vec<u32> = noise(n, 77).iter().map(|v| v & 1).collect();
            let shift = 1 + (round as u8 * 7) % 31;
            let equal = |name: &str, fast: &dyn Fn(&mut [u32]), plain: &dyn Fn(&mut [u32])| {
                let (mut x, mut y) = (a.clone(), a.clone());
                fast(&mut x);
                plain(&mut y);
                assert_eq!(x, y, "{name}, {n} values");
            };
            let words: Vec<u64> =
                noise(2 * n.div_ceil(64), 5).chunks_exact(2).map(|w| u64::from(w[0]) << 32 | u64::from(w[1])).collect();
            equal("spread", &|x| spread(&words, x), &|x| {
                x.iter_mut().enumerate().for_each(|(i, x)| *x = (words[i / 64] >> (i % 64)) as u32 & 1);
            });
            for low in [u32::MAX, 0xff_ffff, 0xff] {
                equal("add_masked", &|x| add_masked(x, &b, low), &|x| add_masked::plain(x, &b, low));
            }
            equal("subtract_from", &|x| subtract_from(x, &b), &|x| subtract_from::plain(x, &b));
            equal("add_where", &|x| add_where(x, &b, &bits), &|x| {
                x.iter_mut().zip(&b).zip(&bits).for_each(|((x, b), v)| *x = x.wrapping_add(b.wrapping_mul(*v)));
            });
            equal("add_where_low", &|x| add_where_low(x, &b, shift, &c), &|x| {
                for ((x, b), m) in x.iter_mut().zip(&b).zip(&c) {
                    *x = x.wrapping_add((1 - (m >> 31)).wrapping_mul(b << shift));
                }
            });
            for known in [0, u32::MAX] {
                equal("rescaled", &|x| rescaled(x, &b, &bits, shift, 9, known), &|x| {
                    rescaled::plain(x, &b, &bits, shift, 9, known);
                });
                equal("chosen", &|x| chosen(x, &b, &c, &bits, &d, &e, known), &|x| {
                    for (i, x) in x.iter_mut().enumerate() {
                        let (u, v) = (b[i], bits[i]);
                        let own = v.wrapping_mul((if known == 0 { 0 } else { u }).wrapping_sub(c[i]));
                        let shared = u.wrapping_mul(d[i]).wrapping_sub(e[i]);
                        *x = own.wrapping_add(1u32.wrapping_sub(2 * v).wrapping_mul(shared));
                    }
                });
            }
            equal("looked_up", &|x| looked_up(x, &b, &c, &d), &|x| {
                for (((u, s), m), w) in x.iter_mut().zip(&b).zip(&c).zip(&d) {
                    let lifted = (1 - (*u >> 15 & 1)).wrapping_mul(w << 16);
                    *u = u.wrapping_mul(*s).wrapping_sub(*m).wrapping_add(lifted);
                }
            });
        }
    }

    #[test]
    fn joining_ranges_of_a_one_hot_vector_equals_looking() {
        // Bit by bit: the vector with a one at `hot`, public index `at`.
        for size in [2usize, 4, 8, 16, 32] {
            for hot in 0..size {
                let vector: Vec<Plane> = (0..size).map(|i| [if i == hot { u64::MAX } else { 0 }; WORDS]).collect();
                for at in 0..size {
                    let on = |bit: u32| [if at >> bit & 1 == 1 { u64::MAX } else { 0 }; WORDS];
                    let mut entries = vec![[[7; WORDS]; 3]; size / 2];
                    join_leaves(&mut entries, &on(0), &vector);
                    for bit in 1..size.ilog2() {
                        let mut fewer = vec![[[9; WORDS]; 3]; entries.len() / 2];
                        join(&mut fewer, &on(bit), &entries);
                        entries = fewer;
                    }
                    let want = [true, hot == at, hot > at].map(|b| [if b { u64::MAX } else { 0 }; WORDS]);
                    assert_eq!(entries, [want], "size {size}, hot {hot}, at {at}");
                }
                let mut sum = [0; WORDS];
                xor_all(&mut sum, &vector[1..]);
                assert_eq!(sum, [if hot == 0 { 0 } else { u64::MAX }; WORDS]);
            }
        }
        let planes: Vec<u64> =
            noise(2 * 32 * WORDS, 3).chunks_exact(2).map(|w| u64::from(w[0]) << 32 | u64::from(w[1])).collect();
        let (planes, _) = planes.as_chunks::<WORDS>();
        let on = planes[31];
        let (mut fast, mut plain) = (vec![[[0; WORDS]; 3]; 8], vec![[[0; WORDS]; 3]; 8]);
        join_leaves(&mut fast, &on, &planes[..16]);
        join_leaves::plain(&mut plain, &on, &planes[..16]);
        assert_eq!(fast, plain);
        let (mut fewer, mut plainer) = (vec![[[0; WORDS]; 3]; 4], vec![[[0; WORDS]; 3]; 4]);
        join(&mut fewer, &on, &fast);
        join::plain(&mut plainer, &on, &plain);
        assert_eq!(fewer, plainer);
    }

    #[test]
    fn words_of_every_width_are_coded_as_by_hand() {
        type Encode = fn(&[u32], &mut [u8]);
        type Decode = fn(&[u8], &mut [u32]);
        let all: [(usize, Encode, Decode); 3] = [(1, encode1, decode1), (2, encode2, decode2), (3, encode3, decode3)];
        for (width, encode, decode) in all {
            for n in [0, 1, 7, 8, 9, 10, 11, 15, 16, 17, 18, 19, 31, 32, 33, 64, 100, 1001] {
                let values = noise(n, 1 + n as u32);
                let want: Vec<u8> = values.iter().flat_map(|v| v.to_le_bytes()[..width].to_vec()).collect();
                let mut bytes = vec![0; width * n];
                encode(&values, &mut bytes);
                assert_eq!(bytes, want, "{n} values of {width} bytes");
                let mut back = vec![7; n];
                decode(&bytes, &mut back);
                let low = if width == 3 { 0xff_ffff } else { (1 << (8 * width)) - 1 };
                assert!(back.iter().zip(&values).all(|(b, v)| *b == v & low), "{n} values of {width} bytes");
            }
        }
    }
}
