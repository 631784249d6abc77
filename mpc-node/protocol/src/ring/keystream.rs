//! AES-128 in counter mode with the machine's AES instructions: 16 blocks at a time with VAES, 8 with AES-NI.
//!
//! The portable twin is the `aes` and `ctr` crates, used where the instructions are missing and in the test that
//! compares the three. A counter is a little-endian 64-bit block number, the upper half of the block is zero.
#![allow(unsafe_code)]

use aes::Aes128;
use ctr::cipher::{KeyIvInit, StreamCipher, StreamCipherSeek};
use zeroize::{Zeroize, ZeroizeOnDrop};

/// Bytes of a block.
pub const BLOCK: usize = 16;

/// An expanded AES-128 key. Zeroised on drop.
#[derive(Zeroize, ZeroizeOnDrop)]
pub struct Keystream {
    key: [u8; 16],
    rounds: [[u8; 16]; 11],
    #[zeroize(skip)]
    backend: Backend,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Backend {
    #[cfg(target_arch = "x86_64")]
    Vaes,
    #[cfg(target_arch = "x86_64")]
    AesNi,
    Portable,
}

impl Backend {
    fn available() -> impl Iterator<Item = Self> {
        let mut all = Vec::new();
        #[cfg(target_arch = "x86_64")]
        {
            if is_x86_feature_detected!("vaes") && is_x86_feature_detected!("avx512f") {
                all.push(Self::Vaes);
            }
            if is_x86_feature_detected!("aes") && is_x86_feature_detected!("sse4.1") {
                all.push(Self::AesNi);
            }
        }
        all.push(Self::Portable);
        all.into_iter()
    }
}

impl Keystream {
    /// Expands a key.
    pub fn new(key: [u8; 16]) -> Self {
        // The portable backend is always available.
        let backend = Backend::available().next().unwrap_or(Backend::Portable);
        Self::with(key, backend)
    }

    fn with(key: [u8; 16], backend: Backend) -> Self {
        let mut rounds = [[0; 16]; 11];
        #[cfg(target_arch = "x86_64")]
        if backend != Backend::Portable {
            // SAFETY: both hardware backends are offered only where AES instructions were detected.
            unsafe { x86::expand(&key, &mut rounds) };
        }
        if backend == Backend::Portable {
            rounds[0] = key;
        }
        Self { key, rounds, backend }
    }

    /// Writes the blocks from number `counter` on; `out` is a whole number of blocks.
    pub fn blocks(&self, counter: u64, out: &mut [u8]) {
        debug_assert!(out.len().is_multiple_of(BLOCK));
        match self.backend {
            #[cfg(target_arch = "x86_64")]
            // SAFETY: the backend is chosen only where VAES and AVX-512F were detected.
            Backend::Vaes => unsafe { x86::vaes(&self.rounds, counter, out) },
            #[cfg(target_arch = "x86_64")]
            // SAFETY: the backend is chosen only where AES-NI and SSE4.1 were detected.
            Backend::AesNi => unsafe { x86::aesni(&self.rounds, counter, out) },
            Backend::Portable => {
                out.fill(0);
                let mut stream = ctr::Ctr64LE::<Aes128>::new(&self.key.into(), &[0; 16].into());
                stream.seek(counter * BLOCK as u64);
                stream.apply_keystream(out);
            }
        }
    }
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use super::BLOCK;
    use std::arch::x86_64::*;

    #[target_feature(enable = "aes,sse4.1")]
    fn next_key<const RCON: i32>(key: __m128i) -> __m128i {
        let word = _mm_shuffle_epi32::<0xff>(_mm_aeskeygenassist_si128::<RCON>(key));
        let a = _mm_xor_si128(key, _mm_slli_si128::<4>(key));
        let b = _mm_xor_si128(a, _mm_slli_si128::<4>(a));
        let c = _mm_xor_si128(b, _mm_slli_si128::<4>(b));
        _mm_xor_si128(c, word)
    }

    #[target_feature(enable = "aes,sse4.1")]
    pub(super) fn expand(key: &[u8; 16], out: &mut [[u8; 16]; 11]) {
        // SAFETY: `key` is sixteen bytes, read unaligned.
        let k0 = unsafe { _mm_loadu_si128(key.as_ptr().cast()) };
        let k1 = next_key::<0x01>(k0);
        let k2 = next_key::<0x02>(k1);
        let k3 = next_key::<0x04>(k2);
        let k4 = next_key::<0x08>(k3);
        let k5 = next_key::<0x10>(k4);
        let k6 = next_key::<0x20>(k5);
        let k7 = next_key::<0x40>(k6);
        let k8 = next_key::<0x80>(k7);
        let k9 = next_key::<0x1b>(k8);
        let k10 = next_key::<0x36>(k9);
        for (k, o) in [k0, k1, k2, k3, k4, k5, k6, k7, k8, k9, k10].into_iter().zip(out) {
            // SAFETY: `o` is sixteen bytes, written unaligned.
            unsafe { _mm_storeu_si128(o.as_mut_ptr().cast(), k) };
        }
    }

    #[target_feature(enable = "aes,sse4.1")]
    pub(super) fn aesni(rounds: &[[u8; 16]; 11], mut counter: u64, out: &mut [u8]) {
        // SAFETY: each round key is sixteen bytes, read unaligned.
        let keys: [__m128i; 11] = std::array::from_fn(|i| unsafe { _mm_loadu_si128(rounds[i].as_ptr().cast()) });
        for part in out.chunks_mut(8 * BLOCK) {
            let n = part.len() / BLOCK;
            let mut s = [_mm_setzero_si128(); 8];
            for (i, s) in s.iter_mut().enumerate() {
                *s = _mm_xor_si128(_mm_set_epi64x(0, counter.wrapping_add(i as u64) as i64), keys[0]);
            }
            for key in &keys[1..10] {
                for s in &mut s {
                    *s = _mm_aesenc_si128(*s, *key);
                }
            }
            for (s, o) in s.iter().zip(part.chunks_exact_mut(BLOCK)) {
                // SAFETY: `o` is sixteen bytes, written unaligned.
                unsafe { _mm_storeu_si128(o.as_mut_ptr().cast(), _mm_aesenclast_si128(*s, keys[10])) };
            }
            counter = counter.wrapping_add(n as u64);
        }
    }

    #[target_feature(enable = "vaes,avx512f,aes,sse4.1")]
    pub(super) fn vaes(rounds: &[[u8; 16]; 11], mut counter: u64, out: &mut [u8]) {
        let mut keys = [_mm512_setzero_si512(); 11];
        for (k, r) in keys.iter_mut().zip(rounds) {
            // SAFETY: each round key is sixteen bytes, read unaligned.
            *k = _mm512_broadcast_i32x4(unsafe { _mm_loadu_si128(r.as_ptr().cast()) });
        }
        let lanes = _mm512_set_epi64(0, 3, 0, 2, 0, 1, 0, 0);
        let whole = out.len() / (16 * BLOCK) * (16 * BLOCK);
        let (body, tail) = out.split_at_mut(whole);
        for part in body.chunks_exact_mut(16 * BLOCK) {
            let base = _mm512_add_epi64(_mm512_maskz_set1_epi64(0x55, counter as i64), lanes);
            let mut s = [base; 4];
            for (i, s) in s.iter_mut().enumerate() {
                let ahead = _mm512_maskz_set1_epi64(0x55, 4 * i as i64);
                *s = _mm512_xor_si512(_mm512_add_epi64(base, ahead), keys[0]);
            }
            for key in &keys[1..10] {
                for s in &mut s {
                    *s = _mm512_aesenc_epi128(*s, *key);
                }
            }
            for (s, o) in s.iter().zip(part.chunks_exact_mut(64)) {
                // SAFETY: `o` is sixty-four bytes, written unaligned.
                unsafe { _mm512_storeu_si512(o.as_mut_ptr().cast(), _mm512_aesenclast_epi128(*s, keys[10])) };
            }
            counter = counter.wrapping_add(16);
        }
        if !tail.is_empty() {
            aesni(rounds, counter, tail);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn backends_write_the_same_bytes() {
        for (key, counter) in [([0; 16], 0), ([9; 16], 5), (*b"sixteen byte key", u64::from(u32::MAX) - 3)] {
            for blocks in [1, 2, 7, 8, 9, 15, 16, 17, 31, 64, 100] {
                let mut want = vec![1; blocks * BLOCK];
                Keystream::with(key, Backend::Portable).blocks(counter, &mut want);
                for backend in Backend::available() {
                    let mut got = vec![2; blocks * BLOCK];
                    Keystream::with(key, backend).blocks(counter, &mut got);
                    assert_eq!(got, want, "{backend:?}, {blocks} blocks");
                }
            }
        }
    }

    #[test]
    fn the_key_schedule_is_that_of_fips_197() {
        // FIPS 197, appendix B: the cipher on a block; our counter blocks cannot express it, so check the zero block
        // under the zero key against the AES known-answer test (KAT_AES, key and plaintext zero).
        let mut out = [0; 16];
        Keystream::new([0; 16]).blocks(0, &mut out);
        let want = [0x66, 0xe9, 0x4b, 0xd4, 0xef, 0x8a, 0x2c, 0x3b, 0x88, 0x4c, 0xfa, 0x59, 0xca, 0x34, 0x2b, 0x2e];
        assert_eq!(out, want);
    }
}
