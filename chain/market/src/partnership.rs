//! Partnerships: custom terms that an asset's owner and a holder both sign.

use alloy_primitives::{Address, B256, U256, keccak256};
use alloy_sol_types::{SolStruct, SolValue};

use crate::{
    Domain, abi,
    domain::{Purpose, hash_struct},
    voucher::recover,
};

/// What both sign (EIP-712, domain "Sahara Licences", version "1", in the licences' contract).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Partnership {
    /// The asset.
    pub asset: B256,
    /// Hash of the asset and the terms.
    pub terms: B256,
    /// Who gets the licence.
    pub holder: Address,
    /// Tells two partnerships of the same terms apart.
    pub nonce: U256,
    /// Until when it can be made, in seconds since 1970.
    pub deadline: u64,
}

/// The signature is none of secp256k1 in the one form that counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a partnership's signature has 65 bytes and ends in 27 or 28, with a low s")]
pub struct PartnershipError;

impl Partnership {
    /// What is signed. `domain.market` is the licences' contract.
    pub fn digest(&self, domain: &Domain) -> B256 {
        let purpose = Purpose { name: keccak256("Sahara Licences"), version: keccak256("1") };
        let Self { asset, terms, holder, nonce, deadline } = *self;
        let type_hash = keccak256(abi::Partnership::eip712_root_type().as_bytes());
        let fields = abi::Partnership { asset, termsHash: terms, holder, nonce, deadline };
        domain.digest(&purpose, hash_struct(type_hash, &fields.abi_encode()))
    }

    /// Who signed it.
    ///
    /// # Errors
    /// When it is no signature.
    pub fn signer(&self, domain: &Domain, signature: &[u8]) -> Result<Address, PartnershipError> {
        recover(self.digest(domain), signature).map_err(|_| PartnershipError)
    }
}

#[cfg(test)]
mod tests {
    use alloy_consensus::crypto::secp256k1::sign_message;

    use super::*;

    #[test]
    fn each_field_the_chain_and_the_contract_are_signed() {
        let domain = Domain { chain_id: 1337, market: crate::LICENCES };
        let word = B256::repeat_byte;
        let signed = Partnership {
            asset: word(1),
            terms: word(2),
            holder: Address::repeat_byte(3),
            nonce: U256::from(4),
            deadline: 5,
        };
        let secret = word(7);
        let signature = sign_message(secret, signed.digest(&domain)).unwrap().as_bytes();
        let signer = signed.signer(&domain, &signature).unwrap();
        let others = [
            (Partnership { asset: word(9), ..signed }, domain),
            (Partnership { terms: word(9), ..signed }, domain),
            (Partnership { holder: Address::ZERO, ..signed }, domain),
            (Partnership { nonce: U256::ZERO, ..signed }, domain),
            (Partnership { deadline: 6, ..signed }, domain),
            (signed, Domain { chain_id: 1338, ..domain }),
            (signed, Domain { market: crate::INFERENCE_MARKET, ..domain }),
        ];
        for (other, domain) in others {
            assert_ne!(other.signer(&domain, &signature).ok(), Some(signer), "{other:?} {domain:?}");
        }
        assert_eq!(signed.signer(&domain, &signature[..64]), Err(PartnershipError));
    }

    #[test]
    fn the_type_is_the_contracts() {
        let solidity = include_str!("../../contracts/src/protocol/Licences.sol");
        assert!(solidity.contains(&format!("keccak256(\"{}\")", abi::Partnership::eip712_root_type())));
    }
}
