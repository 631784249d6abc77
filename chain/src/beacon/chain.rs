//! Chains of hashes: one step, the commitment to a chain, and the secret that all chains of a node come from.

use alloy_primitives::B256;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use super::MAX_LENGTH;

/// Steps in the chains that this program makes: with the last half begins the next chain.
pub const LENGTH: u64 = 1 << 16;

/// Values of a chain that are kept, each so many steps after the one before: a preimage is found in as many steps at most.
const SPACING: u64 = 1 << 8;

/// Chains that are tried before a tip counts as somebody else's.
const MOST_TRIED: u64 = 64;

/// What a value is the preimage of.
pub fn step(value: &B256) -> B256 {
    hash(b"sahara beacon chain 1", &[value.as_slice()])
}

/// SHA-256 of parts, in a domain of its own.
pub(super) fn hash(domain: &[u8], parts: &[&[u8]]) -> B256 {
    let mut hasher = Sha256::new_with_prefix(domain);
    parts.iter().for_each(|part| hasher.update(part));
    B256::from(<[u8; 32]>::from(hasher.finalize()))
}

/// What a validator commits to: how the last step of its chain ends, and how many preimages it can show.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Commitment {
    /// The end of the chain.
    pub tip: B256,
    /// Steps from its beginning.
    pub length: u64,
}

impl Commitment {
    /// Whether it can be one at all; nobody knows a preimage of zero.
    pub fn is_sound(&self) -> bool {
        !self.tip.is_zero() && (1..=MAX_LENGTH).contains(&self.length)
    }
}

/// The secret of a node: each of its chains begins with a hash of it and the chain's number. It is never printed.
pub struct Secret {
    seed: Zeroizing<[u8; 32]>,
    /// The chain that was used last, with kept values.
    known: Option<Known>,
}

struct Known {
    number: u64,
    /// Every `SPACING`th value, from the beginning.
    kept: Zeroizing<Vec<[u8; 32]>>,
    /// The values of one such stretch.
    stretch: (u64, Zeroizing<Vec<[u8; 32]>>),
    commitment: Commitment,
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret(..)")
    }
}

impl Secret {
    /// The secret with this seed.
    pub fn new(seed: Zeroizing<[u8; 32]>) -> Self {
        Self { seed, known: None }
    }

    /// A fresh one: seed and secret.
    ///
    /// # Errors
    /// If the system gives no randomness.
    pub fn generate() -> Result<(Zeroizing<[u8; 32]>, Self), getrandom::Error> {
        let mut seed = Zeroizing::new([0; 32]);
        getrandom::fill(seed.as_mut())?;
        Ok((seed.clone(), Self::new(seed)))
    }

    /// The commitment to chain `number`.
    pub fn commitment(&mut self, number: u64) -> Commitment {
        self.chain(number).commitment
    }

    /// The preimage of `tip`, of which `left` preimages can be shown: if `tip` is of this node's chain `number`.
    pub fn preimage(&mut self, number: u64, tip: B256, left: u64) -> Option<B256> {
        let at = left.checked_sub(1).filter(|at| *at < LENGTH)?;
        let value = self.chain(number).value(at);
        (step(&value) == tip).then_some(value)
    }

    /// Which of this node's chains ends in `tip`, `left` preimages from its beginning: one of the first `most` and one, if
    /// any. The ledger counts a validator's chains, and its node may have come by another secret in the meantime.
    pub fn number_of(&mut self, tip: B256, left: u64, most: u64) -> Option<u64> {
        let last = self.known.as_ref().map(|known| known.number);
        let tried = last.into_iter().chain(0..=most.min(MOST_TRIED));
        tried.into_iter().find(|number| self.preimage(*number, tip, left).is_some())
    }

    fn chain(&mut self, number: u64) -> &mut Known {
        let seed = &self.seed;
        let known = self.known.take().filter(|known| known.number == number);
        self.known.insert(known.unwrap_or_else(|| Known::new(seed, number)))
    }
}

impl Known {
    fn new(seed: &[u8; 32], number: u64) -> Self {
        let mut value = hash(b"sahara beacon seed 1", &[seed, &number.to_be_bytes()]);
        let mut kept = Zeroizing::new(Vec::with_capacity(usize::try_from(LENGTH / SPACING).unwrap_or(0)));
        for at in 0..LENGTH {
            if at.is_multiple_of(SPACING) {
                kept.push(value.0);
            }
            value = step(&value);
        }
        let commitment = Commitment { tip: value, length: LENGTH };
        Self { number, kept, stretch: (u64::MAX, Zeroizing::new(vec![])), commitment }
    }

    fn value(&mut self, at: u64) -> B256 {
        let (stretch, inside) = (at / SPACING, usize::try_from(at % SPACING).unwrap_or(0));
        if self.stretch.0 != stretch {
            let index = usize::try_from(stretch).unwrap_or(usize::MAX);
            let mut value = B256::from(self.kept.get(index).copied().unwrap_or_default());
            let mut values = Zeroizing::new(Vec::with_capacity(usize::try_from(SPACING).unwrap_or(0)));
            for _ in 0..SPACING {
                values.push(value.0);
                value = step(&value);
            }
            self.stretch = (stretch, values);
        }
        B256::from(self.stretch.1.get(inside).copied().unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_preimage_of_a_chain_is_found_and_no_other_chain_has_it() {
        let mut secret = Secret::new(Zeroizing::new([7; 32]));
        let Commitment { mut tip, length } = secret.commitment(3);
        assert_eq!(length, LENGTH);
        for left in (1..=LENGTH).rev().take(600) {
            let value = secret.preimage(3, tip, left).unwrap();
            assert_eq!(step(&value), tip);
            assert_eq!(secret.preimage(3, tip, left - 1), None);
            tip = value;
        }
        assert_eq!(secret.preimage(4, tip, LENGTH - 600), None);
        assert_eq!(secret.number_of(tip, LENGTH - 600, 5), Some(3));
        assert_eq!(Secret::new(Zeroizing::new([7; 32])).number_of(tip, LENGTH - 600, 2), None);
        assert_eq!(secret.preimage(3, tip, 0), None);
        assert_eq!(secret.preimage(3, tip, u64::MAX), None);
        assert_ne!(secret.commitment(4), Secret::new(Zeroizing::new([8; 32])).commitment(4));
        assert_eq!(format!("{secret:?}"), "Secret(..)");
    }

    #[test]
    fn the_first_value_of_a_chain_is_its_last_preimage() {
        let mut secret = Secret::new(Zeroizing::new([7; 32]));
        let begin = secret.chain(0).value(0);
        let tip = (1..LENGTH).fold(step(&begin), |value, _| step(&value));
        assert_eq!(secret.commitment(0).tip, tip);
        assert_eq!(secret.preimage(0, step(&begin), 1), Some(begin));
    }
}
