//! The bounds of the pool to the number: what is just allowed and what is just too much.

use super::*;

#[test]
fn a_nonce_may_be_so_far_ahead_and_no_further() {
    let mut pool = pool(Limits::default());
    let standing = Standing { nonce: 3, ..RICH };
    pool.insert(tx(1, 3 + MAX_NONCE_GAP, 10), standing).unwrap();
    let (sender, far) = (tx(1, 0, 10).sender, 4 + MAX_NONCE_GAP);
    assert_eq!(pool.insert(tx(1, far, 10), standing), Err(PoolError::NonceTooHigh { sender, tx: far, state: 3 }));
}

#[test]
fn the_first_that_waits_of_an_account_with_a_past_has_no_gap() {
    let mut pool = pool(Limits { gapped_txs: 0, ..Limits::default() });
    pool.insert(tx(1, 5, 10), Standing { nonce: 5, ..RICH }).unwrap();
    assert_eq!(pool.insert(tx(2, 6, 10), Standing { nonce: 5, ..RICH }), Err(PoolError::Full));
    assert_eq!((pool.next_nonce(tx(1, 0, 0).sender, 5), pool.next_nonce(tx(9, 0, 0).sender, 7)), (6, 7));
}

#[test]
fn a_replacement_must_be_paid_for_instead_of_the_other_and_not_beside_it() {
    let mut pool = pool(Limits::default());
    let (cheap, dear) = (tx(1, 0, 100), tx(1, 0, 1_000));
    let enough = Standing { balance: dear.max_cost(), ..RICH };
    pool.insert(cheap, enough).unwrap();
    pool.insert(dear.clone(), enough).unwrap();
    assert!(pool.contains(dear.hash) && pool.len() == 1);
    assert_eq!(dear.max_cost(), U256::from(21_000u64 * 2_000));
}

#[test]
fn a_replacement_pays_more_of_both_the_fee_and_the_tip() {
    let mut pool = pool(Limits::default());
    pool.insert(tx_with(1, 0, 2_000, 100, 0), RICH).unwrap();
    for (fee, tip) in [(2_199, 110), (2_200, 109), (4_000, 100), (2_000, 200)] {
        assert_eq!(pool.insert(tx_with(1, 0, fee, tip, 0), RICH), Err(PoolError::Underpriced), "{fee} {tip}");
    }
    pool.insert(tx_with(1, 0, 2_200, 110, 0), RICH).unwrap();
}

#[test]
fn an_account_with_one_that_waits_may_be_delegated() {
    let mut pool = pool(Limits::default());
    pool.insert(tx(4, 0, 10), RICH).unwrap();
    pool.insert(delegating(5, 0, 4), RICH).unwrap();
    counted(&pool);
}

#[test]
fn the_last_hashes_are_told_to_whoever_has_seen_the_others() {
    let mut pool = pool(Limits::default());
    let all: Vec<B256> = (1..4).map(|from| tx(from, 0, 10).hash).collect();
    for from in 1..4 {
        pool.insert(tx(from, 0, 10), RICH).unwrap();
        assert_eq!(pool.arrived(), from);
    }
    assert_eq!((pool.since(0), pool.since(1), pool.since(3)), (all.clone(), all[1..].to_vec(), vec![]));
    pool.latest = std::iter::repeat_n(B256::ZERO, MAX_LATEST - 1).collect();
    for (from, forgotten) in [(4, false), (5, true)] {
        pool.latest[0] = all[0];
        pool.insert(tx(from, 0, 10), RICH).unwrap();
        assert_eq!((pool.latest.len(), pool.latest[0] != all[0]), (MAX_LATEST, forgotten));
    }
}

#[test]
fn it_says_whether_anything_could_be_in_the_next_block() {
    let mut pool = pool(Limits::default());
    assert!(!pool.has_ready() && pool.is_empty() && !pool.has_sender(tx(1, 0, 0).sender));
    pool.insert(tx(1, 1, 10), RICH).unwrap();
    pool.insert(tx_with(2, 0, u128::from(BASE_FEE) - 1, 0, 0), RICH).unwrap();
    assert!(!pool.has_ready(), "one has a gap, one cannot pay");
    assert!(!pool.is_empty() && pool.has_sender(tx(1, 0, 0).sender) && !pool.has_sender(tx(3, 0, 0).sender));
    pool.insert(tx_with(3, 0, u128::from(BASE_FEE), 0, 0), RICH).unwrap();
    assert!(pool.has_ready(), "it pays just enough");
    assert_eq!((pool.base_fee(), pool.height()), (BASE_FEE, 1));
}

#[test]
fn what_comes_later_and_cannot_pay_holds_back_nothing_before_it() {
    let mut pool = pool(Limits::default());
    let (paying, poor) = (tx(1, 0, 10), tx_with(1, 1, u128::from(BASE_FEE) - 1, 0, 0));
    for tx in [&paying, &poor] {
        pool.insert(tx.clone(), RICH).unwrap();
    }
    assert_eq!(pool.held_back(paying.hash), None);
    assert!(pool.held_back(poor.hash).is_some());
}
