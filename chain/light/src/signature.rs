//! Signatures and hashes for the verifier of headers: the same signatures as valid that validators take as valid.
//!
//! CometBFT judges Ed25519 by ZIP-215. A stricter rule here would let one validator write a signature that its peers count
//! and nobody here does, in block after block: whoever believes headers only would stand still.

use curve25519_dalek::{EdwardsPoint, Scalar, edwards::CompressedEdwardsY, traits::IsIdentity};
use sha2::{Digest, Sha256, Sha512};
use tendermint::{
    PublicKey, Signature,
    crypto::{
        Sha256 as OneHash,
        signature::{Error, Verifier},
    },
    merkle::MerkleHash,
};

/// SHA-256 and the simple Merkle tree over it.
#[derive(Clone, Copy, Debug, Default)]
pub struct Hasher;

impl OneHash for Hasher {
    fn digest(data: impl AsRef<[u8]>) -> [u8; 32] {
        Sha256::digest(data).into()
    }
}

impl MerkleHash for Hasher {
    fn empty_hash(&mut self) -> [u8; 32] {
        Sha256::digest(b"").into()
    }

    fn leaf_hash(&mut self, bytes: &[u8]) -> [u8; 32] {
        leaf(bytes)
    }

    fn inner_hash(&mut self, left: [u8; 32], right: [u8; 32]) -> [u8; 32] {
        inner(&left, &right)
    }
}

/// The hash of a leaf of the simple Merkle tree (RFC 6962).
pub fn leaf(bytes: &[u8]) -> [u8; 32] {
    Sha256::new_with_prefix([0]).chain_update(bytes).finalize().into()
}

/// The hash of two of its nodes.
pub fn inner(left: &[u8; 32], right: &[u8; 32]) -> [u8; 32] {
    Sha256::new_with_prefix([1]).chain_update(left).chain_update(right).finalize().into()
}

/// Ed25519 by the rules of ZIP-215.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Zip215;

impl Verifier for Zip215 {
    fn verify(key: PublicKey, message: &[u8], signature: &Signature) -> Result<(), Error> {
        let PublicKey::Ed25519(key) = key else { return Err(Error::UnsupportedKeyType) };
        let key: &[u8; 32] = key.as_bytes().try_into().map_err(|_| Error::MalformedPublicKey)?;
        let signature = signature.as_bytes().try_into().map_err(|_| Error::MalformedSignature)?;
        match holds(key, message, signature) {
            true => Ok(()),
            false => Err(Error::VerificationFailed),
        }
    }
}

/// Whether 8·(s·B − k·A − R) is the neutral point, for any encoding of A and R and a reduced s.
fn holds(key: &[u8; 32], message: &[u8], signature: &[u8; 64]) -> bool {
    let (Some((r, s)), point) = (signature.split_first_chunk::<32>(), |bytes| CompressedEdwardsY(bytes).decompress())
    else {
        return false;
    };
    let s: Option<Scalar> = s.try_into().ok().and_then(|s| Scalar::from_canonical_bytes(s).into());
    let (Some(s), Some(a), Some(commitment)) = (s, point(*key), point(*r)) else { return false };
    let challenge = Sha512::new().chain_update(r).chain_update(key).chain_update(message).finalize();
    let k = Scalar::from_bytes_mod_order_wide(&challenge.into());
    let sum = EdwardsPoint::vartime_double_scalar_mul_basepoint(&k, &-a, &s);
    (sum - commitment).mul_by_cofactor().is_identity()
}

#[cfg(test)]
mod tests {
    use curve25519_dalek::constants::EIGHT_TORSION;
    use ed25519_dalek::{Signer, SigningKey};
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn points_of_small_order_count_as_they_do_among_validators() {
        for a in EIGHT_TORSION {
            for r in EIGHT_TORSION {
                let signature: [u8; 64] = [r.compress().0, [0; 32]].concat().try_into().unwrap();
                assert!(holds(&a.compress().0, b"Zcash", &signature));
            }
        }
        // The y-coordinate 1 written as 1 + p, which no strict rule reads.
        let mut unreduced = [0xff; 32];
        (unreduced[0], unreduced[31]) = (0xee, 0x7f);
        let signature: [u8; 64] = [unreduced, [0; 32]].concat().try_into().unwrap();
        assert!(holds(&unreduced, b"Zcash", &signature));
    }

    #[test]
    fn a_scalar_that_is_not_reduced_is_refused() {
        let key = SigningKey::from_bytes(&[7; 32]);
        let mut signature = key.sign(b"x").to_bytes();
        // s + l, with the same remainder.
        const ORDER: [u8; 32] = [
            0xed, 0xd3, 0xf5, 0x5c, 0x1a, 0x63, 0x12, 0x58, 0xd6, 0x9c, 0xf7, 0xa2, 0xde, 0xf9, 0xde, 0x14, 0, 0, 0, 0,
            0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x10,
        ];
        let mut carry = 0u16;
        for (byte, more) in signature[32..].iter_mut().zip(ORDER) {
            carry += u16::from(*byte) + u16::from(more);
            *byte = (carry & 0xff) as u8;
            carry >>= 8;
        }
        assert!(!holds(&key.verifying_key().to_bytes(), b"x", &signature));
    }

    proptest! {
        #[test]
        fn what_a_key_signed_holds_and_nothing_near_it(seed in any::<[u8; 32]>(), message in any::<Vec<u8>>(), bit in 0usize..512) {
            let key = SigningKey::from_bytes(&seed);
            let public = key.verifying_key().to_bytes();
            let mut signature = key.sign(&message).to_bytes();
            prop_assert!(holds(&public, &message, &signature));
            prop_assert!(!holds(&public, &[&message[..], b"!"].concat(), &signature));
            signature[bit / 8] ^= 1 << (bit % 8);
            prop_assert!(!holds(&public, &message, &signature));
        }

        #[test]
        fn random_bytes_are_no_signature(key in any::<[u8; 32]>(), halves in any::<[[u8; 32]; 2]>(), message in any::<Vec<u8>>()) {
            let signature: [u8; 64] = halves.concat().try_into().unwrap();
            prop_assert!(!holds(&key, &message, &signature));
        }
    }
}
