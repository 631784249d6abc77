//! The check of a transaction and the blocks that are committed meanwhile.

use super::*;
use crate::{
    evm::Rule,
    ledger::trial::{Chain, pay, transfer},
    wallet::Payment,
};

#[test]
fn an_account_is_looked_at_again_if_a_block_was_committed_meanwhile() {
    let mut chain = Chain::new();
    chain.block(&[]);
    let before = chain.ledger.head().unwrap();
    let executed = transfer(1, 0, 5);
    assert_eq!(chain.block(std::slice::from_ref(&executed)).results.len(), 1);
    // Both would be right after the block before: of another account, and in the place of what was executed.
    for tx in [transfer(2, 0, 5), transfer(1, 0, 900)] {
        let tx = chain.ledger.decode(&tx, &before).unwrap();
        assert!(keep_at(&chain.ledger, &before, tx).is_ok_and(|kept| kept.is_none()));
        assert!(chain.ledger.pool().is_empty(), "nobody waits whose account was not looked at");
    }
    assert!(chain.ledger.receive(&transfer(2, 0, 5)).is_ok());
    let refused = chain.ledger.receive(&transfer(1, 0, 900)).unwrap_err();
    assert!(matches!(refused, AdmitError::Rules(Refusal { rule: Rule::NonceTooLow, .. })), "{refused}");
}

#[test]
fn a_client_hears_that_its_transaction_waits_and_the_engine_gets_the_same_answer_again() {
    let mut chain = Chain::new();
    chain.block(&[]);
    let (ready, gapped) = (transfer(1, 0, 5), transfer(2, 1, 5));
    for tx in [&ready, &gapped] {
        chain.ledger.receive(tx).unwrap();
        assert!(matches!(chain.ledger.receive(tx), Err(AdmitError::Pool(PoolError::Known))));
    }
    let kept = check(&chain.ledger, &ready);
    assert_eq!((kept.code, kept.gas), (KEPT, 21_000));
    let held = check(&chain.ledger, &gapped);
    assert_eq!((held.code, held.reason.as_str()), (NOT_KEPT, "an earlier nonce is missing"));
    assert_eq!(check(&chain.ledger, b"junk").code, MALFORMED);
}

#[test]
fn the_lowest_base_fee_there_can_be_is_enough_to_wait() {
    let mut chain = Chain::new();
    chain.block(&[]);
    let least = u128::from(chain.ledger.head().unwrap().params.fees.min_base_fee);
    let offer = |max_fee| {
        let to = Some(Address::ZERO);
        pay(1, Payment { to, gas_limit: 21_000, max_fee, ..Payment::default() })
    };
    let refused = chain.ledger.receive(&offer(least - 1)).unwrap_err();
    let (have, want) = (least - 1, u64::try_from(least).unwrap());
    assert!(matches!(&refused, AdmitError::Pool(e) if *e == PoolError::FeeFloor { have, want }), "{refused}");
    chain.ledger.receive(&offer(least)).unwrap();
}
