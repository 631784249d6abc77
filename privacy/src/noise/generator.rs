//! The random bits: AES-128 in counter mode.

use aes::Aes128;
use ctr::Ctr64LE;
use ctr::cipher::{KeyIvInit, StreamCipher};
use zeroize::Zeroize;

/// Bytes that are made at once for single words.
const BLOCK: usize = 1024;

/// A stream of random bits from a seed. What it holds is zeroised on drop. The same seed gives the same bits: whoever knows the seed
/// of noise can subtract it.
pub struct Generator {
    stream: Ctr64LE<Aes128>,
    block: [u8; BLOCK],
    used: usize,
}

impl Generator {
    /// From a seed of the operating system: for whatever nobody may foresee.
    ///
    /// # Errors
    /// When the system has none to give.
    pub fn from_system() -> Result<Self, getrandom::Error> {
        let mut seed = [0; 32];
        getrandom::fill(&mut seed)?;
        let generator = Self::from_seed(seed);
        seed.zeroize();
        Ok(generator)
    }

    /// From a seed that is given, which is zeroised: sixteen bytes are the key, and sixteen the first counter block.
    pub fn from_seed(mut seed: [u8; 32]) -> Self {
        let (mut key, mut start) = ([0; 16], [0; 16]);
        key.copy_from_slice(&seed[..16]);
        start.copy_from_slice(&seed[16..]);
        let stream = Ctr64LE::<Aes128>::new(&key.into(), &start.into());
        key.zeroize();
        start.zeroize();
        seed.zeroize();
        Self { stream, block: [0; BLOCK], used: BLOCK }
    }

    /// Random bytes in place of what is there.
    pub fn fill(&mut self, bytes: &mut [u8]) {
        bytes.fill(0);
        // 2⁶⁴ blocks of 16 bytes do not end.
        self.stream.apply_keystream(bytes);
    }

    /// 64 random bits.
    #[inline]
    pub fn word(&mut self) -> u64 {
        if self.used == BLOCK {
            self.block.fill(0);
            self.stream.apply_keystream(&mut self.block);
            self.used = 0;
        }
        let word = self.block[self.used..].first_chunk().copied().map_or(0, u64::from_le_bytes);
        self.used += 8;
        word
    }

    /// A number from 0 to below 1, a multiple of 2⁻⁵³.
    #[inline]
    pub fn unit(&mut self) -> f64 {
        (self.word() >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// A number below `bound`, each equally likely; 0 if there is none.
    pub fn below(&mut self, bound: u64) -> u64 {
        let whole = u64::MAX - u64::MAX.checked_rem(bound).unwrap_or(0);
        loop {
            let word = self.word();
            if word < whole || bound == 0 {
                return word.checked_rem(bound).unwrap_or(0);
            }
        }
    }
}

impl Drop for Generator {
    fn drop(&mut self) {
        self.block.zeroize();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_aes_and_goes_on_where_it_was() {
        // NIST's AESAVS: the zero block under the zero key.
        let mut found = [0; 40];
        let mut generator = Generator::from_seed([0; 32]);
        let (first, second) = found.split_at_mut(7);
        generator.fill(first);
        generator.fill(second);
        let want = [0x66, 0xe9, 0x4b, 0xd4, 0xef, 0x8a, 0x2c, 0x3b, 0x88, 0x4c, 0xfa, 0x59, 0xca, 0x34, 0x2b, 0x2e];
        assert_eq!(found[..16], want);
        let mut whole = [0; 40];
        Generator::from_seed([0; 32]).fill(&mut whole);
        assert_eq!(found, whole);
    }

    #[test]
    fn words_are_the_same_stream_and_no_bits_come_twice() {
        let mut generator = Generator::from_seed([1; 32]);
        let first: Vec<u64> = (0..BLOCK / 8).map(|_| generator.word()).collect();
        let mut after = [0; 8];
        generator.fill(&mut after);
        let mut bytes = [0; BLOCK + 8];
        Generator::from_seed([1; 32]).fill(&mut bytes);
        let words: Vec<u64> = bytes.as_chunks().0.iter().map(|word| u64::from_le_bytes(*word)).collect();
        assert_eq!((&first[..], u64::from_le_bytes(after)), (&words[..BLOCK / 8], words[BLOCK / 8]));
        assert!(!first.contains(&generator.word()));
        let words = |mut stream: Generator| (0..9).map(|_| stream.word()).collect::<Vec<_>>();
        assert_ne!(words(Generator::from_seed([2; 32])), words(Generator::from_seed([3; 32])));
        assert_ne!(words(Generator::from_system().unwrap()), words(Generator::from_system().unwrap()));
    }

    #[test]
    fn numbers_are_within_their_bounds_and_even() {
        let mut stream = Generator::from_seed([3; 32]);
        let mean = (0..10_000).map(|_| stream.unit()).sum::<f64>() / 1e4;
        assert!((mean - 0.5).abs() < 0.02, "{mean}");
        let mut counts = [0; 7];
        (0..7000).for_each(|_| counts[stream.below(7) as usize] += 1);
        assert!(counts.iter().all(|count| (850..1150).contains(count)), "{counts:?}");
        assert_eq!((stream.below(1), stream.below(0)), (0, 0));
    }
}
