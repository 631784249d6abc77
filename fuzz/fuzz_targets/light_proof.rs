//! A state with its proofs, from a node of the chain that nobody trusts.
#![no_main]

use alloy_primitives::{Address, B256};
use libfuzzer_sys::fuzz_target;
use sahara_light::state::{StateProof, prove};

fuzz_target!(|bytes: &[u8]| {
    if let Ok(proof) = serde_json::from_slice::<StateProof>(bytes) {
        let first = proof.accounts.first().map_or(Address::ZERO, |account| account.address);
        assert!(prove(B256::repeat_byte(1), &proof, &[(first, B256::ZERO)]).is_err());
    }
});
