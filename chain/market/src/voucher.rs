//! Vouchers: a consumer's signed promise of a running total, for one job.

use alloy_consensus::crypto::secp256k1::{recover_signer, sign_message};
use alloy_primitives::{Address, B256, Signature, b256};
use alloy_sol_types::SolValue;

use crate::{
    Domain, abi,
    domain::{Purpose, hash_struct},
};

/// `Sahara Inference Market`, `1`.
const PURPOSE: Purpose = Purpose {
    name: b256!("12cc0f87e99d5ebe225ac85bfba9f40bac32b58e19eab2ffb7d8a72021ab086f"),
    version: b256!("c89efdaa54c0f20c7adf612882df0950f5a951637e0307cdcb4c672f298b8bc6"),
};
/// Hash of the EIP-712 type.
const TYPE_HASH: B256 = b256!("1e3beca4890c387d4d2537c82cc6f8bba1821ba6cfdf6e3bacc6cb54c590c68b");

/// Bytes of a voucher's signature: r, s, and 27 or 28.
pub const SIGNATURE_BYTES: usize = 65;

/// What a consumer promises when it asks for a job: that the session owes the lane this much in all, once the committee
/// has signed a receipt for the same job, request and total.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Voucher {
    /// Which session.
    pub session: B256,
    /// Which of its committees.
    pub lane: B256,
    /// All that the lane is owed, with this job, in the smallest unit.
    pub total: u128,
    /// The job.
    pub job: B256,
    /// Hash of both commitments to the input.
    pub request: B256,
}

/// Why a signature is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum VoucherError {
    /// Not 65 bytes that end in 27 or 28.
    #[error("a voucher's signature has 65 bytes and ends in 27 or 28")]
    Form,
    /// No key made it, or it is the other of two forms of one signature.
    #[error("a voucher's signature is not one of secp256k1 with a low s")]
    Signature,
    /// The secret cannot sign.
    #[error("the session's secret is not a key of secp256k1")]
    Secret,
}

impl Voucher {
    /// What the session's signer signs (EIP-712).
    pub fn digest(&self, domain: &Domain) -> B256 {
        let Self { session, lane, total, job, request } = *self;
        domain
            .digest(&PURPOSE, hash_struct(TYPE_HASH, &abi::Voucher { session, lane, total, job, request }.abi_encode()))
    }

    /// Signs it.
    ///
    /// # Errors
    /// When the secret is none for secp256k1.
    pub fn sign(&self, domain: &Domain, secret: &B256) -> Result<[u8; SIGNATURE_BYTES], VoucherError> {
        let signature = sign_message(*secret, self.digest(domain)).map_err(|_| VoucherError::Secret)?;
        Ok(signature.as_bytes())
    }

    /// Who signed it. One signature has one form: a high s is refused, as the contract does.
    ///
    /// # Errors
    /// When it is no signature.
    pub fn signer(&self, domain: &Domain, signature: &[u8]) -> Result<Address, VoucherError> {
        recover(self.digest(domain), signature)
    }
}

/// Who signed a digest, by the one form that the contracts take.
pub(crate) fn recover(digest: B256, signature: &[u8]) -> Result<Address, VoucherError> {
    let signature: &[u8; SIGNATURE_BYTES] = signature.try_into().map_err(|_| VoucherError::Form)?;
    if !matches!(signature[64], 27 | 28) {
        return Err(VoucherError::Form);
    }
    let signature = Signature::from_raw_array(signature).map_err(|_| VoucherError::Form)?;
    recover_signer(&signature, digest).map_err(|_| VoucherError::Signature)
}

#[cfg(test)]
mod tests {
    use alloy_primitives::{U256, uint};

    use super::*;

    const HERE: Domain = Domain { chain_id: 1337, market: crate::INFERENCE_MARKET };
    const SECRET: B256 = B256::repeat_byte(7);
    /// Order of the curve.
    const ORDER: U256 = uint!(0xfffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141_U256);

    fn example() -> Voucher {
        let word = B256::repeat_byte;
        Voucher { session: word(1), lane: word(2), total: 3_000, job: word(4), request: word(5) }
    }

    #[test]
    fn the_hashes_are_those_of_their_words() {
        use alloy_sol_types::SolStruct;
        let hashes = [PURPOSE.name, PURPOSE.version, TYPE_HASH];
        let words = ["Sahara Inference Market", "1", &abi::Voucher::eip712_root_type()];
        assert_eq!(hashes, words.map(alloy_primitives::keccak256));
    }

    /// Of ethers and viem.
    #[test]
    fn the_digest_is_that_of_other_libraries() {
        let digest = b256!("d2289c301f638382293ff71a90706fb004c1c606f151116484e9a70e51414703");
        assert_eq!(example().digest(&HERE), digest);
    }

    #[test]
    fn a_voucher_counts_for_what_it_says_only() {
        let voucher = example();
        let signature = voucher.sign(&HERE, &SECRET).unwrap();
        let signer = voucher.signer(&HERE, &signature).unwrap();
        let word = B256::repeat_byte(9);
        for other in [
            Voucher { session: word, ..voucher },
            Voucher { lane: word, ..voucher },
            Voucher { total: 3_001, ..voucher },
            Voucher { job: word, ..voucher },
            Voucher { request: word, ..voucher },
        ] {
            assert_ne!(other.signer(&HERE, &signature), Ok(signer), "{other:?}");
        }
        assert_ne!(voucher.signer(&Domain { chain_id: 1, ..HERE }, &signature), Ok(signer));
        assert_ne!(voucher.signer(&Domain { market: Address::ZERO, ..HERE }, &signature), Ok(signer));
    }

    #[test]
    fn a_signature_has_one_form() {
        let voucher = example();
        let good = voucher.sign(&HERE, &SECRET).unwrap();
        let s = U256::from_be_slice(&good[32..64]);
        let mut twin = good;
        twin[32..64].copy_from_slice(&(ORDER - s).to_be_bytes::<32>());
        twin[64] = 27 + 28 - good[64];
        assert_eq!(voucher.signer(&HERE, &twin), Err(VoucherError::Signature));
        let mut short = good;
        short[64] -= 27; // 0 or 1, as some libraries write it
        assert_eq!(voucher.signer(&HERE, &short), Err(VoucherError::Form));
        assert_eq!(voucher.signer(&HERE, &good[..64]), Err(VoucherError::Form));
        assert_eq!(voucher.signer(&HERE, &[0; 65]), Err(VoucherError::Form));
        assert!(voucher.sign(&HERE, &B256::ZERO).is_err());
    }
}
