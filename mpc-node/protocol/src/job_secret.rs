//! The secret of one job: known to its two evaluators, drawn by both, never told to the helper or the consumer.
//!
//! Everything of a job that leaves the evaluators and must say nothing to the helper hangs on it: the zero sharing that
//! re-randomises output shares, and the key of the transcript's digests. Each has a domain of its own.

use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

use crate::ring::prg::{Label, Prg, Seed};

const COMBINE: &str = "sahara 2026 job secret v1";
const ZERO: &str = "sahara 2026 job zero sharing v1";
const TRANSCRIPT: &str = "sahara 2026 job transcript key v1";
const COMMITMENT: &str = "sahara 2026 job secret commitment v1";

/// A job's secret. Zeroised on drop, no printable form.
#[derive(Zeroize, ZeroizeOnDrop)]
pub struct JobSecret([u8; 32]);

impl JobSecret {
    /// The secret of the job named by `session`, from both evaluators' contributions. It is unknown to everybody who
    /// misses one of them: an evaluator whose contribution is bad or chosen does not spoil the other's.
    pub fn combine(session: &[u8; 32], first: &[u8; 32], second: &[u8; 32]) -> Self {
        let mut input = Zeroizing::new([0; 96]);
        for (to, from) in input.chunks_exact_mut(32).zip([session, first, second]) {
            to.copy_from_slice(from);
        }
        Self(blake3::derive_key(COMBINE, &input[..]))
    }

    /// The secret from its stored bytes.
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The bytes, to be stored for an audit of the job.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// What re-randomises the outputs of one pass of the job; passes count from 0.
    pub fn zero_sharing(&self, pass: u32) -> ZeroSharing {
        let mut input = Zeroizing::new([0; 36]);
        input[..32].copy_from_slice(&self.0);
        input[32..].copy_from_slice(&pass.to_le_bytes());
        ZeroSharing(Seed::from_bytes(blake3::derive_key(ZERO, &input[..])))
    }

    /// The key of the digests of the job's frames.
    pub fn transcript_key(&self) -> Zeroizing<[u8; 32]> {
        Zeroizing::new(blake3::derive_key(TRANSCRIPT, &self.0))
    }

    /// Fixes the secret without telling it.
    pub fn commitment(&self) -> [u8; 32] {
        blake3::derive_key(COMMITMENT, &self.0)
    }
}

impl std::fmt::Debug for JobSecret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("JobSecret(secret)")
    }
}

/// A sharing of zero for each output of one pass. Consumed by the evaluator's constructor, so no pass goes without.
pub struct ZeroSharing(Seed);

impl ZeroSharing {
    /// Adds the first evaluator's half to its share of an output, or the second's: the halves add up to zero.
    pub(crate) fn apply(&self, first: bool, output: u32, share: &mut [u32]) {
        let mut half = Zeroizing::new(vec![0; share.len()]);
        Prg::new(&self.0, Label::Zero(output)).fill_words(4, &mut half);
        for (s, z) in share.iter_mut().zip(half.iter()) {
            *s = if first { s.wrapping_add(*z) } else { s.wrapping_sub(*z) };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_contributions_and_the_session_decide_and_each_use_has_a_domain_of_its_own() {
        let secret = |s, a, b| JobSecret::combine(&[s; 32], &[a; 32], &[b; 32]);
        let base = secret(1, 2, 3);
        let mut seen = std::collections::BTreeSet::new();
        for other in [secret(0, 2, 3), secret(1, 0, 3), secret(1, 2, 0), secret(1, 3, 2), base] {
            assert!(seen.insert(*other.as_bytes()));
            assert!(seen.insert(*other.transcript_key()));
            assert!(seen.insert(other.commitment()));
            assert!(seen.insert(*other.zero_sharing(0).0.as_bytes()));
            assert!(seen.insert(*other.zero_sharing(1).0.as_bytes()));
        }
    }

    #[test]
    fn halves_add_up_to_zero_and_outputs_have_different_ones() {
        let zero = JobSecret::from_bytes([7; 32]).zero_sharing(0);
        let (mut a, mut b, mut c) = (vec![0; 100], vec![0; 100], vec![0; 100]);
        zero.apply(true, 0, &mut a);
        zero.apply(false, 0, &mut b);
        zero.apply(true, 1, &mut c);
        assert!(a.iter().zip(&b).all(|(a, b)| a.wrapping_add(*b) == 0));
        assert!(a.iter().zip(&c).filter(|(a, c)| a == c).count() < 2);
        assert!(a.iter().filter(|a| **a == 0).count() < 2);
    }

    #[test]
    fn debug_hides_the_secret() {
        assert_eq!(format!("{:?}", JobSecret::from_bytes([3; 32])), "JobSecret(secret)");
    }
}
