//! The check of a transaction and the blocks that are committed meanwhile.

use alloy_consensus::TxEip7702;
use alloy_eips::eip7702::{Authorization, SignedAuthorization};
use alloy_primitives::U256;

use super::*;
use crate::{
    evm::Rule,
    genesis::{DEV_ACCOUNTS, DEV_CHAIN_ID},
    ledger::trial::{Chain, pay, transfer},
    wallet::{Payment, Wallet},
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

fn wallet(of: usize) -> Wallet {
    Wallet::new(DEV_ACCOUNTS[of].1, DEV_CHAIN_ID).unwrap()
}

/// What one of the development accounts signed, for its `nonce`: to run the code at an address.
fn authorization(of: usize, nonce: u64) -> SignedAuthorization {
    let authorization =
        Authorization { chain_id: U256::from(DEV_CHAIN_ID), address: Address::repeat_byte(0xcc), nonce };
    let signature = wallet(of).sign_hash(authorization.signature_hash()).unwrap();
    authorization.into_signed(signature)
}

/// Authorizations of nobody; to find that out costs as much as of others.
fn junk(count: u64) -> Vec<SignedAuthorization> {
    let own = authorization(0, 0);
    let of = |n| Authorization { nonce: n, ..own.inner().clone() };
    (0..count).map(|n| SignedAuthorization::new_unchecked(of(n), own.y_parity(), own.r(), own.s())).collect()
}

fn set_code(signer: &Wallet, nonce: u64, authorization_list: Vec<SignedAuthorization>) -> Bytes {
    let gas_limit = 50_000 + 25_000 * u64::try_from(authorization_list.len()).unwrap();
    let (chain_id, max_fee_per_gas) = (DEV_CHAIN_ID, 10_000_000_000);
    let tx = TxEip7702 { chain_id, nonce, gas_limit, max_fee_per_gas, authorization_list, ..TxEip7702::default() };
    signer.sign(tx).unwrap()
}

#[test]
fn what_a_delegated_account_is_refused_costs_no_recovery_however_often_it_comes() {
    let mut chain = Chain::new();
    let delegate = set_code(&wallet(1), 0, vec![authorization(2, 0)]);
    assert_eq!(chain.block(&[delegate]).results[0].code, 0);
    let gapped = set_code(&wallet(2), 2, junk(60));
    let tx = chain.ledger.decode(&gapped, &chain.ledger.head().unwrap()).unwrap();
    let decodings = chain.ledger.decodings();
    for _ in 0..50 {
        for refused in [
            chain.ledger.receive(&gapped).unwrap_err().to_string(),
            check(&chain.ledger, &gapped).reason,
            check(&chain.ledger, &gapped).reason,
        ] {
            assert_eq!(refused, "gapped-nonce tx from delegated accounts");
        }
        offer(&chain.ledger, std::slice::from_ref(&gapped));
    }
    assert_eq!(tx.known_authorities(), None, "no signature of an authorization was looked at");
    assert_eq!(chain.ledger.decodings(), decodings, "it was decoded once");
    assert!(chain.ledger.pool().turned_away(tx.hash).is_some(), "nor is anything else looked at before the next block");
    // As one that has its turn it may wait; a second, and one that it waits for, may not.
    chain.ledger.receive(&set_code(&wallet(2), 1, junk(60))).unwrap();
    assert!(chain.ledger.receive(&gapped).is_err());
    chain.block(&[]);
    chain.ledger.receive(&gapped).unwrap();
    assert!(tx.known_authorities().is_some());
}

#[test]
fn nobody_waits_for_the_pool_while_signatures_of_authorizations_are_recovered() {
    let mut chain = Chain::new();
    chain.block(&[]);
    let head = chain.ledger.head().unwrap();
    let decode = |bytes: &Bytes| chain.ledger.decode(bytes, &head).unwrap();
    let mut recovered = 0;
    let mut keep = |tx: Arc<Tx>| {
        keep_with(&chain.ledger, &head, tx, |tx| {
            assert!(chain.ledger.pool_is_free(), "whoever wants to look at the pool would have to wait");
            recovered += 1;
            tx.authorities();
        })
    };
    // Two of an account that another wants to delegate: this one is found out by recovering, once.
    for nonce in [0, 1] {
        keep(decode(&transfer(3, nonce, 5))).unwrap();
    }
    let reserved = decode(&set_code(&wallet(1), 0, [junk(9), vec![authorization(3, 0)]].concat()));
    for _ in 0..5 {
        let refused = keep(reserved.clone()).err().unwrap().to_string();
        assert_eq!(refused, "authority already reserved");
    }
    // It is not looked at again before the next block, whatever has left the pool.
    chain.ledger.pool().remove(&decode(&transfer(3, 1, 5)));
    assert!(keep(reserved.clone()).is_err());
    let kept = decode(&set_code(&wallet(1), 0, vec![authorization(4, 0)]));
    for _ in 0..5 {
        assert!(keep(kept.clone()).unwrap().is_some());
    }
    assert_eq!(recovered, 2, "once for each transaction");
    assert_eq!(kept.authorities().len(), 1);
}

#[test]
fn signatures_of_authorizations_are_recovered_of_whoever_can_pay_for_them_and_of_so_many() {
    let mut chain = Chain::new();
    chain.block(&[]);
    let limit = u64::try_from(MAX_AUTHORIZATIONS).unwrap();
    let poor = Wallet::new(B256::repeat_byte(7), DEV_CHAIN_ID).unwrap();
    let list = junk(3);
    let (chain_id, max_fee_per_gas, gas_limit) = (DEV_CHAIN_ID, 10_000_000_000, 95_999);
    let mean = TxEip7702 { chain_id, max_fee_per_gas, gas_limit, authorization_list: list, ..TxEip7702::default() };
    for (bytes, why) in [
        (set_code(&poor, 0, junk(limit)), "insufficient funds for gas * price + value"),
        (wallet(1).sign(mean).unwrap(), "intrinsic gas too low: have 95999, want 96000"),
        (set_code(&wallet(1), 0, junk(limit + 1)), "too many authorizations: set code tx has 65 authorization tuples"),
        (set_code(&wallet(1), 1, junk(limit)), "nonce too high: tx nonce 1, gapped nonce 0"),
    ] {
        let verdict = check(&chain.ledger, &bytes);
        assert!(verdict.code != KEPT && verdict.reason.starts_with(why), "{verdict:?}");
        let tx = chain.ledger.decode(&bytes, &chain.ledger.head().unwrap()).unwrap();
        assert_eq!(tx.known_authorities(), None, "{why}");
    }
    assert_eq!(check(&chain.ledger, &set_code(&wallet(1), 0, junk(limit))).code, KEPT);
}

#[test]
fn what_somebody_signed_long_ago_or_for_another_chain_does_not_hold_up_its_account() {
    let mut chain = Chain::new();
    chain.block(&[transfer(2, 0, 5), transfer(2, 1, 5)]);
    let foreign = |nonce| {
        let authorization = Authorization { chain_id: U256::from(10), address: Address::ZERO, nonce };
        let signature = wallet(2).sign_hash(authorization.signature_hash()).unwrap();
        authorization.into_signed(signature)
    };
    let shown = [authorization(2, 0), authorization(2, 1), foreign(2), foreign(77)];
    chain.ledger.receive(&set_code(&wallet(1), 0, shown.to_vec())).unwrap();
    assert!(chain.ledger.receive(&set_code(&wallet(3), 1, shown.to_vec())).is_err(), "it waits for another");
    for nonce in 2..20 {
        chain.ledger.receive(&transfer(2, nonce, 5)).unwrap();
    }
    assert_eq!(chain.block(&[]).results.len(), 19);
}

#[test]
fn a_proposal_looks_at_so_many_of_the_engines_transactions_that_the_pool_refuses() {
    let mut chain = Chain::new();
    chain.block(&[]);
    let poor = Wallet::new(B256::repeat_byte(7), DEV_CHAIN_ID).unwrap();
    let refused = |nonce| poor.pay(&Payment { nonce, gas_limit: 53_000, ..Payment::default() }).unwrap();
    let mut txs: Vec<Bytes> = (0..u64::try_from(MAX_REFUSALS).unwrap()).map(refused).collect();
    txs.push(transfer(1, 0, 5));
    offer(&chain.ledger, &txs);
    assert_eq!(chain.ledger.pool().len(), 1, "so many and what comes then");
    txs.insert(0, refused(u64::try_from(MAX_REFUSALS).unwrap()));
    *txs.last_mut().unwrap() = transfer(2, 0, 5);
    offer(&chain.ledger, &txs);
    assert_eq!(chain.ledger.pool().len(), 1, "and no more");

    let list = junk(u64::try_from(MAX_AUTHORIZATIONS).unwrap());
    let dear: Vec<Bytes> = (0..17).map(|nonce| set_code(&wallet(3), nonce, list.clone())).collect();
    let txs = [dear.clone(), vec![transfer(4, 0, 5)]].concat();
    offer(&chain.ledger, &txs);
    let decode = |bytes| chain.ledger.decode(bytes, &chain.ledger.head().unwrap()).unwrap();
    let recovered = dear.iter().filter(|bytes| decode(bytes).known_authorities().is_some()).count();
    assert_eq!(recovered * MAX_AUTHORIZATIONS, MAX_RECOVERIES);
    assert_eq!(chain.ledger.pool().len(), 1 + 16 + 1, "others are taken all the same");
}
