//! A transaction to the native contract is priced, answered, and reverts with a reason when it makes no sense.

use crate::common::{Chain, address, pay};
use alloy_primitives::{B256, Bytes, U256};
use ed25519_dalek::{Signer, SigningKey};
use sahara_chain::{
    evm::{
        BlockContext, Call, FORK, Machine,
        committee::{self, Signed},
    },
    genesis::DEV_CHAIN_ID,
    wallet::Payment,
};

#[test]
fn solidity_can_ask_for_a_committee_signature() {
    let mut chain = Chain::new();
    chain.block(&[]);
    let secret: Vec<SigningKey> = (1..=3).map(|i| SigningKey::from_bytes(&[i; 32])).collect();
    let keys: Vec<[u8; 32]> = secret.iter().map(|k| k.verifying_key().to_bytes()).collect();
    let digest = B256::repeat_byte(3);
    let signatures: Vec<u8> = secret[..2].iter().flat_map(|k| k.sign(digest.as_slice()).to_bytes()).collect();
    let signed = Signed { keys: &keys, signers: 0b011, signatures: &signatures, threshold: 2 };
    let question = signed.ask(digest);

    let ask = |input: Bytes| {
        let head = chain.head();
        let mut view = head.view();
        let block = BlockContext {
            chain_id: DEV_CHAIN_ID,
            number: 2,
            time: 0,
            beneficiary: Default::default(),
            gas_limit: 30_000_000,
            base_fee: 0,
            random: Default::default(),
            spec: FORK,
        };
        let call = Call { to: Some(committee::ADDRESS), input, gas_limit: 1_000_000, ..Call::default() };
        Machine::for_calls(&mut view, &block).call(&call).unwrap().unwrap()
    };
    let yes = ask(question.clone());
    assert!(yes.success);
    assert_eq!(U256::from_be_slice(&yes.output), U256::from(1));
    let no = ask(signed.ask(B256::repeat_byte(4)));
    assert!(no.success);
    assert_eq!(U256::from_be_slice(&no.output), U256::ZERO);
    let nonsense = ask(Bytes::from_static(b"hello"));
    assert!(!nonsense.success && nonsense.halt.is_none());
    assert!(String::from_utf8_lossy(&nonsense.output).contains("no such function"));

    // And as a transaction: it costs what it says.
    let to = Some(committee::ADDRESS);
    let result = chain.send(pay(0, Payment { to, input: question, gas_limit: 200_000, ..Payment::default() }));
    assert_eq!(result.code, 0);
    assert!(result.gas_used > 21_000 + committee::BASE_GAS + 2 * committee::SIGNATURE_GAS);
    let before = chain.balance(address(0));
    let short = Payment { nonce: 1, to, input: Bytes::from_static(b"xx"), gas_limit: 100_000, ..Payment::default() };
    assert_eq!(chain.send(pay(0, short)).code, 1);
    assert!(chain.balance(address(0)) < before);
}
