//! What the pool promises: whatever has a place can be paid for, gives it up to who pays better, to time or to a block,
//! and everything is counted.

mod bounds;
mod delegation;
mod places;

use std::sync::Arc;

use alloy_consensus::{Transaction as _, TxEip7702};
use alloy_eips::eip7702::{Authorization, SignedAuthorization};
use alloy_primitives::{Address, B256, U256, keccak256};
use proptest::prelude::*;

use super::{sender::Worth, *};
use crate::{
    genesis::DEV_CHAIN_ID,
    wallet::{Payment, Wallet},
};

const BASE_FEE: u64 = 1_000;
const RICH: Standing = Standing { nonce: 0, balance: U256::MAX, delegated: false };

fn wallet(from: u64) -> Wallet {
    Wallet::new(keccak256(from.to_be_bytes()), DEV_CHAIN_ID).unwrap()
}

/// A transfer of 100 at most: 21,000 gas at `max_fee` and the rest to come.
fn tx_with(from: u64, nonce: u64, max_fee: u128, tip: u128, length: usize) -> Arc<Tx> {
    let payment = Payment {
        nonce,
        to: Some(Address::ZERO),
        gas_limit: 21_000,
        max_fee,
        tip,
        input: vec![0; length].into(),
        ..Payment::default()
    };
    Arc::new(Tx::decode(&wallet(from).pay(&payment).unwrap(), DEV_CHAIN_ID).unwrap())
}

fn tx(from: u64, nonce: u64, tip: u128) -> Arc<Tx> {
    tx_with(from, nonce, u128::from(BASE_FEE) + tip, tip, 0)
}

fn pool(limits: Limits) -> Pool {
    let mut pool = Pool::with_limits(limits);
    pool.turn(1, BASE_FEE, []);
    pool
}

fn drawn(pool: &Pool) -> Vec<B256> {
    let mut best = Best::of(pool, BASE_FEE);
    let mut all = vec![];
    while let Some(tx) = best.draw() {
        all.push(tx.hash);
        best.go_on(tx.sender);
    }
    all
}

/// Everything that is counted over all senders, counted again.
fn counted(pool: &Pool) {
    let senders = || pool.by_sender.values();
    let entries = || senders().flat_map(|sender| sender.txs.values());
    assert_eq!(entries().count(), pool.places.len());
    assert_eq!(entries().map(|entry| entry.tx.bytes.len()).sum::<usize>(), pool.bytes);
    assert_eq!(senders().map(|sender| sender.gapped().count()).sum::<usize>(), pool.gaps.len());
    let gapped = senders().flat_map(|sender| sender.gapped());
    assert_eq!(gapped.map(|entry| entry.tx.bytes.len()).sum::<usize>(), pool.gapped_bytes);
    let authorities = |entry: &Entry| entry.tx.known_authorities().expect("they were recovered before").len();
    assert_eq!(entries().map(authorities).sum::<usize>(), pool.delegations.count());
    for authority in entries().flat_map(|entry| entry.tx.known_authorities().unwrap()) {
        let Some(sender) = pool.by_sender.get(&authority.address) else { continue };
        let lost = sender.txs.range(authority.nonce..).count();
        assert!(authority.nonce < sender.standing.nonce || lost <= 1, "{lost} would be lost to one authorization");
    }
    for (address, sender) in &pool.by_sender {
        assert!(!sender.standing.delegated || sender.txs.len() == 1, "{address} may be spent by others");
        assert!(!sender.txs.is_empty() && sender.missing >= sender.standing.nonce);
        assert!(sender.txs.keys().all(|nonce| *nonce >= sender.standing.nonce));
        assert_eq!(sender.missing, sender.missing_from(sender.standing.nonce), "{address}");
        assert_eq!(sender.txs.values().map(|entry| entry.cost).sum::<U256>(), sender.cost);
        assert_eq!(sender.txs.values().map(|entry| entry.tx.bytes.len()).sum::<usize>(), sender.bytes);
        let fees = sender.txs.values().map(|entry| entry.tx.envelope.max_fee_per_gas());
        assert_eq!(fees.min(), Some(sender.least_fee));
        assert!(sender.cost <= sender.standing.balance, "what waits can be paid for");
        assert!(sender.txs.len() <= pool.limits.sender_txs && sender.bytes <= pool.limits.sender_bytes);
    }
    if let Some(tails) = &pool.tails {
        let tail = |(address, sender): (&Address, &Sender)| (sender.worths(pool.base_fee)[0].0, *address);
        assert_eq!(tails, &pool.by_sender.iter().map(tail).collect::<BTreeSet<_>>());
    }
}

#[test]
fn a_better_fee_replaces_and_everything_is_counted() {
    let mut pool = pool(Limits::default());
    let (first, cheap, better) = (tx(1, 0, 1_000), tx(1, 0, 1_050), tx(1, 0, 1_300));
    pool.insert(first.clone(), RICH).unwrap();
    assert_eq!(pool.insert(first.clone(), RICH), Err(PoolError::Known));
    assert_eq!(pool.insert(cheap, RICH), Err(PoolError::Underpriced));
    pool.insert(better.clone(), RICH).unwrap();
    assert!(pool.find(first.hash).is_none());
    assert_eq!(pool.find(better.hash).unwrap().hash, better.hash);
    let third = tx(1, 2, 1_000);
    pool.insert(third.clone(), RICH).unwrap();
    assert_eq!(pool.held_back(better.hash), None);
    assert!(pool.held_back(third.hash).unwrap().contains("nonce"), "the second is missing");
    pool.insert(tx(1, 1, 1_000), RICH).unwrap();
    assert_eq!(pool.held_back(third.hash), None);
    pool.remove(&tx(1, 1, 1_000));
    assert!(pool.held_back(third.hash).is_some());
    assert_eq!((pool.len(), pool.next_nonce(better.sender, 0)), (2, 1));
    assert!(matches!(pool.insert(tx(1, 2_000, 1), RICH), Err(PoolError::NonceTooHigh { .. })));
    pool.remove(&first);
    assert_eq!(pool.len(), 2, "what was replaced is gone already");
    pool.turn(2, BASE_FEE, [(better.sender, Standing { nonce: 1, ..RICH })]);
    assert_eq!(pool.all().map(|tx| tx.envelope.nonce()).collect::<Vec<_>>(), [2]);
    pool.turn(3, BASE_FEE, [(better.sender, Standing { nonce: 2, ..RICH })]);
    assert_eq!(pool.held_back(third.hash), None, "the account has moved on");
    counted(&pool);
    pool.turn(4, BASE_FEE, [(better.sender, Standing { nonce: 3, ..RICH })]);
    assert!(pool.is_empty() && pool.bytes == 0);
}

#[test]
fn a_sender_must_be_able_to_pay_for_all_that_it_has_waiting() {
    let mut pool = pool(Limits::default());
    let cost = tx(1, 0, 100).max_cost();
    let standing = Standing { balance: cost * U256::from(3), ..RICH };
    for nonce in [0, 1, 5] {
        pool.insert(tx(1, nonce, 100), standing).unwrap();
    }
    let refused = pool.insert(tx(1, 2, 100), standing).unwrap_err();
    let (balance, queued) = (standing.balance, cost * U256::from(3));
    assert_eq!(refused, PoolError::Overdraft(Box::new(Shortfall { balance, queued, cost, overshot: cost })));
    let dearer = tx(1, 1, 1_000);
    assert!(matches!(pool.insert(dearer, standing), Err(PoolError::Overdraft(_))), "a replacement counts too");
    // Somebody took its money: what can no longer be paid for goes, from the last on.
    pool.turn(2, BASE_FEE, [(tx(1, 0, 100).sender, Standing { balance: cost, ..standing })]);
    assert_eq!(pool.all().map(|tx| tx.envelope.nonce()).collect::<Vec<_>>(), [0]);
    counted(&pool);
}

#[test]
fn the_best_payers_are_drawn_first_each_sender_in_order() {
    let mut pool = pool(Limits::default());
    let unpayable = tx_with(4, 0, u128::from(BASE_FEE) - 1, 0, 0);
    let all = [tx(1, 0, 5), tx(1, 1, 100), tx(2, 0, 50), tx(3, 1, 900), unpayable.clone()];
    for tx in &all {
        pool.insert(tx.clone(), RICH).unwrap();
    }
    assert_eq!(drawn(&pool), [all[2].hash, all[0].hash, all[1].hash], "gaps and what cannot pay are left out");
    assert!(pool.held_back(unpayable.hash).unwrap().contains("base fee"));
    pool.insert(tx(4, 1, 1_000), RICH).unwrap();
    assert!(pool.held_back(tx(4, 1, 1_000).hash).is_some(), "what follows it waits with it");
    // Of equal tips, whoever came first.
    pool.insert(tx(5, 0, 50), RICH).unwrap();
    assert_eq!(drawn(&pool)[..2], [all[2].hash, tx(5, 0, 50).hash]);
    pool.turn(2, BASE_FEE - 1, []);
    assert_eq!(pool.held_back(unpayable.hash), None, "the base fee fell");
}

#[test]
fn gaps_are_few_of_a_sender_and_few_in_all() {
    let mut pool = pool(Limits { gapped_txs: 5, sender_gapped: 2, ..Limits::default() });
    pool.insert(tx(1, 5, 10), RICH).unwrap();
    pool.insert(tx(1, 7, 10), RICH).unwrap();
    assert_eq!(pool.insert(tx(1, 8, 999), RICH), Err(PoolError::AccountLimit));
    pool.insert(tx(1, 3, 10), RICH).unwrap();
    let nonces = |pool: &Pool| pool.all().map(|tx| tx.envelope.nonce()).collect::<Vec<_>>();
    assert_eq!(nonces(&pool), [3, 5], "the nearest are kept");
    for from in 2..5 {
        pool.insert(tx(from, 1, 20), RICH).unwrap();
    }
    assert_eq!(pool.insert(tx(6, 1, 10), RICH), Err(PoolError::Full));
    pool.insert(tx(6, 1, 1_000), RICH).unwrap();
    assert_eq!(pool.gaps.len(), 5);
    assert!(!pool.contains(tx(1, 3, 10).hash) || !pool.contains(tx(1, 5, 10).hash), "the cheapest went");
    pool.insert(tx(7, 0, 1), RICH).unwrap();
    counted(&pool);
}

#[test]
fn one_sender_has_its_share_and_gaps_have_theirs_of_the_bytes() {
    let limits = Limits { sender_txs: 2, sender_bytes: 600, gapped_bytes: 500, ..Limits::default() };
    let mut pool = pool(limits);
    for nonce in [0, 1] {
        pool.insert(tx(1, nonce, 10), RICH).unwrap();
    }
    assert_eq!(pool.insert(tx(1, 2, 10), RICH), Err(PoolError::AccountLimit), "too many");
    assert_eq!(pool.insert(tx_with(2, 0, 5_000, 10, 600), RICH), Err(PoolError::AccountLimit), "too large");
    pool.insert(tx(2, 0, 10), RICH).unwrap();
    assert_eq!(pool.insert(tx_with(2, 0, 5_000, 100, 600), RICH), Err(PoolError::AccountLimit), "replaced by too much");
    pool.insert(tx_with(3, 1, 5_000, 10, 300), RICH).unwrap();
    assert_eq!(pool.insert(tx_with(4, 1, 5_000, 10, 300), RICH), Err(PoolError::Full));
    pool.insert(tx_with(4, 1, 6_000, 10, 300), RICH).unwrap();
    assert!(pool.gapped_bytes <= 500 && pool.gaps.len() == 1);
    assert!(matches!(pool.insert(tx(5, 0, 10), Standing { nonce: 1, ..RICH }), Err(PoolError::NonceTooLow { .. })));
    counted(&pool);
}

#[test]
fn a_full_pool_gives_the_cheapest_place_to_who_pays_more() {
    let mut pool = pool(Limits { txs: 4, ..Limits::default() });
    let poor = tx_with(2, 0, u128::from(BASE_FEE) - 10, 1, 0);
    for tx in [tx(1, 0, 100), tx(1, 1, 200), poor.clone(), tx(3, 4, 5_000)] {
        pool.insert(tx, RICH).unwrap();
    }
    // The gap goes first whatever it offers, then what cannot pay the base fee.
    pool.insert(tx(4, 0, 1), RICH).unwrap();
    assert!(!pool.contains(tx(3, 4, 5_000).hash));
    assert_eq!(pool.insert(tx(3, 4, 9_000), RICH), Err(PoolError::Full), "a gap displaces nobody");
    pool.insert(tx(5, 0, 150), RICH).unwrap();
    assert!(!pool.contains(poor.hash));
    // Then the lowest tip; the second of a sender is worth no more than its first.
    pool.insert(tx(6, 0, 150), RICH).unwrap();
    assert!(!pool.contains(tx(4, 0, 1).hash));
    assert_eq!(pool.insert(tx(7, 0, 105), RICH), Err(PoolError::Full), "five percent more are not enough");
    pool.insert(tx(7, 0, 111), RICH).unwrap();
    assert!(pool.contains(tx(1, 0, 100).hash) && !pool.contains(tx(1, 1, 200).hash), "the last of the sender went");
    counted(&pool);
}

#[test]
fn whoever_finds_no_room_has_moved_nobody() {
    let mut pool = pool(Limits { bytes: 1_000, ..Limits::default() });
    for (from, tip) in [(1, 10), (2, 20), (3, 3_000)] {
        pool.insert(tx_with(from, 0, 10_000, tip, 200), RICH).unwrap();
    }
    let before: Vec<B256> = pool.all().map(|tx| tx.hash).collect();
    assert_eq!(pool.insert(tx_with(4, 0, 10_000, 1_000, 700), RICH), Err(PoolError::Full));
    assert_eq!(pool.all().map(|tx| tx.hash).collect::<Vec<_>>(), before);
    pool.insert(tx_with(4, 0, 10_000, 1_000, 250), RICH).unwrap();
    assert_eq!(pool.len(), 3);
    counted(&pool);
}

/// What `authority` signed for `chain` and its own `nonce`.
fn authorization(authority: u64, chain: u64, nonce: u64) -> SignedAuthorization {
    let authorization = Authorization { chain_id: U256::from(chain), address: Address::ZERO, nonce };
    let signature = wallet(authority).sign_hash(authorization.signature_hash()).unwrap();
    authorization.into_signed(signature)
}

/// A transaction with `authorization_list`, whose signatures nobody has recovered.
fn unrecovered(from: u64, nonce: u64, authorization_list: Vec<SignedAuthorization>) -> Arc<Tx> {
    let tx = TxEip7702 {
        chain_id: DEV_CHAIN_ID,
        nonce,
        gas_limit: 100_000,
        max_fee_per_gas: 5_000,
        max_priority_fee_per_gas: 10,
        to: Address::ZERO,
        authorization_list,
        ..TxEip7702::default()
    };
    Arc::new(Tx::decode(&wallet(from).sign(tx).unwrap(), DEV_CHAIN_ID).unwrap())
}

fn authorized(from: u64, nonce: u64, authorization_list: Vec<SignedAuthorization>) -> Arc<Tx> {
    let tx = unrecovered(from, nonce, authorization_list);
    tx.authorities();
    tx
}

fn delegating(from: u64, nonce: u64, authority: u64) -> Arc<Tx> {
    authorized(from, nonce, vec![authorization(authority, DEV_CHAIN_ID, 0)])
}

#[test]
fn nothing_waits_for_ever() {
    let mut pool = pool(Limits::default());
    for tx in [tx(1, 0, 10), tx(1, 1, 10), tx(2, 3, 10)] {
        pool.insert(tx, RICH).unwrap();
    }
    let look = |pool: &mut Pool, age: u64| pool.turn((1 + age).next_multiple_of(SWEEP), BASE_FEE, []);
    look(&mut pool, GAPPED_LIFE - SWEEP);
    assert_eq!(pool.len(), 3);
    look(&mut pool, GAPPED_LIFE);
    assert_eq!(pool.len(), 2, "the gap did not close");
    look(&mut pool, LIFE);
    assert!(pool.is_empty());
    counted(&pool);
}

#[test]
fn what_execution_refused_does_not_come_back_at_once() {
    let mut pool = pool(Limits::default());
    pool.insert(tx(1, 0, 10), RICH).unwrap();
    pool.refuse(&tx(1, 0, 10), "no".into());
    assert!(pool.is_empty());
    assert_eq!(pool.insert(tx(1, 0, 10), RICH), Err(PoolError::Refused("no".into())));
    pool.turn(1 + refused::BLOCKS, BASE_FEE, []);
    pool.insert(tx(1, 0, 10), RICH).unwrap();
}

#[test]
fn accounts_with_gaps_or_without_cover_do_not_keep_honest_ones_out() {
    let limits = Limits { txs: 200, gapped_txs: 12, ..Limits::default() };
    let mut pool = pool(limits);
    let cost = tx(0, 0, 10).max_cost();
    for from in 0..50 {
        for nonce in 0..20 {
            // Half of them leave the first out, half can pay for the first only.
            let standing = Standing { balance: if from % 2 == 0 { U256::MAX } else { cost }, ..RICH };
            let _ = pool.insert(tx(from, nonce + u64::from(from % 2 == 0), 10), standing);
        }
    }
    assert!(pool.len() <= 25 + 12, "{} wait", pool.len());
    for from in 100..150 {
        pool.insert(tx(from, 0, 1), RICH).unwrap();
    }
    counted(&pool);
}

#[test]
fn worth_is_by_kind_first_and_the_bump_counts_within_a_kind() {
    assert!(Worth::Ready(0).outbids(Worth::Unpayable(1_000)) && Worth::Unpayable(0).outbids(Worth::Gapped(1_000)));
    assert!(!Worth::Gapped(9).outbids(Worth::Ready(0)));
    assert!(Worth::Ready(110).outbids(Worth::Ready(100)) && !Worth::Ready(109).outbids(Worth::Ready(100)));
    assert!(Worth::Ready(1).outbids(Worth::Ready(0)) && !Worth::Ready(0).outbids(Worth::Ready(0)));
}

#[derive(Clone, Debug)]
enum Step {
    Insert { from: u64, nonce: u64, fee: u128, length: usize },
    Delegate { from: u64, nonce: u64, authority: u64 },
    Turn { blocks: u64, base_fee: u64, from: u64, nonce: u64, txs: u64, delegated: bool },
    Refuse { place: usize },
}

fn step() -> impl Strategy<Value = Step> {
    let from = 0u64..6;
    prop_oneof![
        6 => (from.clone(), 0u64..8, 0u128..6, 0usize..3).prop_map(|(from, nonce, fee, length)| Step::Insert {
            from, nonce, fee: 500 + 300 * fee, length: 150 * length }),
        1 => (from.clone(), 0u64..3, from.clone()).prop_map(|(from, nonce, authority)| Step::Delegate { from, nonce, authority }),
        2 => (1u64..900, 500u64..2_000, from, 0u64..6, 0u64..6, any::<bool>()).prop_map(
            |(blocks, base_fee, from, nonce, txs, delegated)| Step::Turn { blocks, base_fee, from, nonce, txs, delegated }),
        1 => (0usize..9).prop_map(|place| Step::Refuse { place }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn whatever_happens_everything_is_counted_and_within_limits(steps in proptest::collection::vec(step(), 1..60)) {
        let limits = Limits { txs: 9, bytes: 2_500, sender_txs: 4, sender_bytes: 1_200, sender_gapped: 2, gapped_txs: 3, gapped_bytes: 700 };
        let mut pool = pool(limits);
        let mut standings = [Standing { balance: U256::from(1_000_000_000u64), ..RICH }; 6];
        for step in steps {
            match step {
                Step::Insert { from, nonce, fee, length } => {
                    let before = pool.len();
                    let tx = tx_with(from, nonce, fee, fee / 3, length);
                    let kept = pool.insert(tx.clone(), standings[usize::try_from(from).unwrap()]);
                    prop_assert_eq!(kept.is_ok() || kept == Err(PoolError::Known), pool.contains(tx.hash));
                    prop_assert!(kept.is_ok() || pool.len() == before);
                }
                Step::Delegate { from, nonce, authority } => {
                    let _ = pool.insert(delegating(from, nonce, authority), standings[usize::try_from(from).unwrap()]);
                }
                Step::Turn { blocks, base_fee, from, nonce, txs, delegated } => {
                    let cost = tx_with(from, 0, 2_000, 0, 0).max_cost();
                    let place = &mut standings[usize::try_from(from).unwrap()];
                    *place = Standing { nonce: place.nonce.max(nonce), balance: cost * U256::from(txs), delegated };
                    pool.turn(pool.height() + blocks, base_fee, [(tx_with(from, 0, 0, 0, 0).sender, *place)]);
                }
                Step::Refuse { place } => {
                    let tx = pool.all().nth(place).cloned();
                    if let Some(tx) = tx {
                        pool.refuse(&tx, "no".into());
                    }
                }
            }
            counted(&pool);
            prop_assert!(pool.len() <= limits.txs && pool.bytes <= limits.bytes);
        }
    }
}
