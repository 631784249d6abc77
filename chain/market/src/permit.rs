//! Permits (ERC-2612): a signature by which a token's holder lets a contract take some of it, without a transaction of its own.

use alloy_primitives::{Address, B256, U256, keccak256};
use alloy_sol_types::{SolStruct, SolValue};

use crate::{
    Domain,
    abi::Permit,
    domain::{Purpose, hash_struct},
};

/// The token's domain (EIP-712), as its name and version make it: what a token says of itself has to be this, or a signature
/// would be for something else.
pub fn separator(name: &str, version: &str, chain_id: u64, token: Address) -> B256 {
    domain(chain_id, token).separator(&purpose(name, version))
}

/// What the holder signs.
pub fn digest(permit: &Permit, name: &str, version: &str, chain_id: u64, token: Address) -> B256 {
    let type_hash = keccak256(Permit::eip712_root_type().as_bytes());
    domain(chain_id, token).digest(&purpose(name, version), hash_struct(type_hash, &permit.abi_encode()))
}

/// What the holder of a token signs, so that `spender` may take `value` of it until `deadline` (seconds since 1970).
pub fn permit(owner: Address, spender: Address, value: u128, nonce: U256, deadline: u64) -> Permit {
    Permit { owner, spender, value: U256::from(value), nonce, deadline: U256::from(deadline) }
}

fn domain(chain_id: u64, token: Address) -> Domain {
    Domain { chain_id, market: token }
}

fn purpose(name: &str, version: &str) -> Purpose {
    Purpose { name: keccak256(name), version: keccak256(version) }
}

#[cfg(test)]
mod tests {
    use alloy_primitives::b256;

    use super::*;

    /// The type's hash stands in the standard.
    #[test]
    fn the_type_is_the_standards() {
        let hash = b256!("6e71edae12b1b97f4d1f60370fef10105fa2faae0126114a169c64845d6126c9");
        assert_eq!(keccak256(Permit::eip712_root_type().as_bytes()), hash);
    }

    #[test]
    fn another_token_or_chain_is_another_domain() {
        let token = Address::repeat_byte(1);
        let here = separator("Test Token", "1", 1337, token);
        assert_ne!(here, separator("Test Token", "2", 1337, token));
        assert_ne!(here, separator("Test token", "1", 1337, token));
        assert_ne!(here, separator("Test Token", "1", 1, token));
        assert_ne!(here, separator("Test Token", "1", 1337, Address::ZERO));
    }
}
