//! A consensus key is registered by whoever has its secret, for one account on one chain, and once.

use alloy_primitives::{B256, U256};
use ed25519_dalek::{Signer, SigningKey};
use sahara_chain::{beacon::Commitment, genesis::DEV_CHAIN_ID, staking::possession, validator::ConsensusKey};

use crate::{
    common::{CHAIN, address, key},
    stake_net::{CREATE, Net, arguments, enter, new_key, new_signer, registration, tokens},
};

const BEACON: Commitment = Commitment { tip: B256::repeat_byte(7), length: 9 };

#[test]
fn a_proof_counts_for_its_account_its_key_and_its_chain() {
    let mut net = Net::new();
    let signed = |signer: &SigningKey, message: &[u8]| signer.sign(message).to_bytes();
    let (own, other) = (new_signer(), SigningKey::from_bytes(&[78; 32]));
    let of = |chain, id, account, key| possession(chain, id, address(account), key);
    let wrong = [
        [0; 64],
        signed(&other, &of(CHAIN, DEV_CHAIN_ID, 1, new_key())),
        signed(&own, &of("sahara-tests", DEV_CHAIN_ID, 1, new_key())),
        signed(&own, &of(CHAIN, DEV_CHAIN_ID + 1, 1, new_key())),
        signed(&own, &of(CHAIN, DEV_CHAIN_ID, 2, new_key())),
        signed(&own, &of(CHAIN, DEV_CHAIN_ID, 1, ConsensusKey(other.verifying_key().to_bytes().into()))),
    ];
    for proof in wrong {
        let said = net.refused(1, tokens(5), CREATE, &arguments(new_key(), 0, &proof, BEACON));
        assert!(said.contains("does not show that this key is yours"), "{said}");
    }
    // The point of order one: any signature of it would hold for a lax verifier.
    let weak = ConsensusKey(B256::with_last_byte(0).with_first_one());
    let said = net.refused(1, tokens(5), CREATE, &arguments(weak, 0, &[0; 64], BEACON));
    assert!(said.contains("not an ed25519 key"), "{said}");
    let mut short = registration(&own, address(1), 0);
    short[5] = U256::from(63);
    assert!(net.refused(1, tokens(5), CREATE, &short).contains("does not show"));
    short[5] = U256::from(65);
    assert!(net.refused(1, tokens(5), CREATE, &short).contains("too many"));
    enter(&mut net);
}

#[test]
fn a_key_is_registered_once() {
    let mut net = Net::new();
    enter(&mut net);
    let said = net.refused(2, tokens(5), CREATE, &registration(&new_signer(), address(2), 0));
    assert!(said.contains("another validator has this key"), "{said}");
    let said = net.refused(2, tokens(5), CREATE, &registration(&key(), address(2), 0));
    assert!(said.contains("another validator has this key"), "{said}");
}

#[test]
fn a_validator_brings_a_beacon_chain() {
    let mut net = Net::new();
    let proof = new_signer().sign(&possession(CHAIN, DEV_CHAIN_ID, address(1), new_key())).to_bytes();
    for beacon in [
        Commitment { tip: B256::ZERO, ..BEACON },
        Commitment { length: 0, ..BEACON },
        Commitment { length: (1 << 24) + 1, ..BEACON },
    ] {
        let said = net.refused(1, tokens(5), CREATE, &arguments(new_key(), 0, &proof, beacon));
        assert!(said.contains("must have a tip"), "{said}");
    }
}

trait FirstOne {
    fn with_first_one(self) -> Self;
}

impl FirstOne for B256 {
    fn with_first_one(mut self) -> Self {
        self[0] = 1;
        self
    }
}
