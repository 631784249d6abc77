//! Bits that nobody can foresee: AES-256 in counter mode under a key of the operating system.

use aes::Aes256;
use ctr::Ctr64LE;
use ctr::cipher::{KeyIvInit, StreamCipher};
use zeroize::Zeroize;

/// Bytes that are made at once.
const BLOCK: usize = 4096;

/// A stream of random numbers.
pub struct Randomness {
    cipher: Ctr64LE<Aes256>,
    block: Box<[u8; BLOCK]>,
    used: usize,
}

impl Randomness {
    /// With a key of the operating system.
    ///
    /// # Errors
    /// When the system has none to give.
    pub fn new() -> Result<Self, getrandom::Error> {
        let mut key = [0; 32];
        getrandom::fill(&mut key)?;
        let stream = Self::from_key(&key);
        key.zeroize();
        Ok(stream)
    }

    /// With a key that is given: for initial weights and for tests. Whoever knows it can subtract what is drawn.
    pub fn from_key(key: &[u8; 32]) -> Self {
        Self { cipher: Ctr64LE::<Aes256>::new(key.into(), &[0; 16].into()), block: Box::new([0; BLOCK]), used: BLOCK }
    }

    /// The next 64 bits.
    #[inline]
    pub fn word(&mut self) -> u64 {
        if self.used == BLOCK {
            self.block.fill(0);
            self.cipher.apply_keystream(&mut self.block[..]);
            self.used = 0;
        }
        let word = self.block[self.used..].first_chunk().copied().map_or(0, u64::from_le_bytes);
        self.used += 8;
        word
    }

    /// Overwrites every word with the next 64 bits.
    pub fn words(&mut self, words: &mut [u64; 256]) {
        let bytes = &mut self.block[..8 * words.len()];
        bytes.fill(0);
        self.cipher.apply_keystream(bytes);
        let chunks = bytes.as_chunks().0;
        words.iter_mut().zip(chunks).for_each(|(word, bytes)| *word = u64::from_le_bytes(*bytes));
        self.used = BLOCK;
    }

    /// A number below 1, a multiple of 2⁻⁵³.
    #[inline]
    pub fn unit(&mut self) -> f64 {
        (self.word() >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// A number below `bound`, which is not 0; every one equally likely.
    pub fn below(&mut self, bound: u64) -> u64 {
        let whole = u64::MAX - u64::MAX % bound;
        loop {
            let word = self.word();
            if word < whole {
                return word % bound;
            }
        }
    }
}

impl Drop for Randomness {
    fn drop(&mut self) {
        self.block.zeroize();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_gives_its_stream_and_the_system_gives_another_each_time() {
        let words = |mut stream: Randomness| (0..1000).map(|_| stream.word()).collect::<Vec<_>>();
        assert_eq!(words(Randomness::from_key(&[1; 32])), words(Randomness::from_key(&[1; 32])));
        assert_ne!(words(Randomness::from_key(&[1; 32])), words(Randomness::from_key(&[2; 32])));
        assert_ne!(words(Randomness::new().unwrap()), words(Randomness::new().unwrap()));
        let mut stream = Randomness::from_key(&[3; 32]);
        let mean = (0..10_000).map(|_| stream.unit()).sum::<f64>() / 1e4;
        assert!((mean - 0.5).abs() < 0.02, "{mean}");
        assert!((0..1000).all(|_| stream.below(7) < 7));
    }
}
