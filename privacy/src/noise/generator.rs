//! The random bits: AES-256 in counter mode.

use aes::Aes256;
use ctr::Ctr64LE;
use ctr::cipher::{KeyIvInit, StreamCipher};
use zeroize::Zeroize;

/// A stream of random bits from a seed. The key schedule is zeroised on drop. The same seed gives the same noise: whoever needs
/// noise that nobody can subtract draws the seed from the operating system, and uses it once.
pub struct Generator(Ctr64LE<Aes256>);

impl Generator {
    /// From a secret seed, which is zeroised.
    pub fn from_seed(mut seed: [u8; 32]) -> Self {
        let stream = Ctr64LE::<Aes256>::new(&seed.into(), &[0; 16].into());
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
        // NIST's AESAVS: the zero block under the zero key of 256 bits.
        let mut found = [0; 40];
        let mut generator = Generator::from_seed([0; 32]);
        let (first, second) = found.split_at_mut(7);
        generator.fill(first);
        generator.fill(second);
        let want = [0xdc, 0x95, 0xc0, 0x78, 0xa2, 0x40, 0x89, 0x89, 0xad, 0x48, 0xa2, 0x14, 0x92, 0x84, 0x20, 0x87];
        assert_eq!(found[..16], want);
        let mut whole = [0; 40];
        Generator::from_seed([0; 32]).fill(&mut whole);
        assert_eq!(found, whole);
    }
}
