//! The random bits: AES-128 in counter mode.

use aes::Aes128;
use ctr::Ctr64LE;
use ctr::cipher::{KeyIvInit, StreamCipher};
use zeroize::Zeroize;

/// A stream of random bits from a seed. The key schedule is zeroised on drop. The same seed gives the same noise: whoever needs
/// noise that nobody can subtract draws the seed from the operating system, and uses it once.
pub struct Generator(Ctr64LE<Aes128>);

impl Generator {
    /// From a secret seed, which is zeroised: sixteen bytes are the key, and sixteen the first counter block.
    pub fn from_seed(mut seed: [u8; 32]) -> Self {
        let (mut key, mut start) = ([0; 16], [0; 16]);
        key.copy_from_slice(&seed[..16]);
        start.copy_from_slice(&seed[16..]);
        let stream = Ctr64LE::<Aes128>::new(&key.into(), &start.into());
        key.zeroize();
        start.zeroize();
        seed.zeroize();
        Self(stream)
    }

    /// Random bytes in place of what is there.
    pub fn fill(&mut self, bytes: &mut [u8]) {
        bytes.fill(0);
        // 2⁶⁴ blocks of 16 bytes do not end.
        self.0.apply_keystream(bytes);
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
}
