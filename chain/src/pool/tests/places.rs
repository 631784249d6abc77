//! Who goes when a place is needed: exactly those who must, and nobody before it is full.

use super::*;

fn length(tx: &Tx) -> usize {
    tx.bytes.len()
}

#[test]
fn bytes_may_be_used_up_to_the_last_one() {
    let (first, second, other) = (tx(1, 0, 10), tx(1, 1, 10), tx(2, 0, 10));
    let own = length(&first) + length(&second);
    let limits = Limits { sender_bytes: own, bytes: own + length(&other), ..Limits::default() };
    for (less_own, less_all) in [(0, 0), (1, 0), (0, 1)] {
        let mut pool = pool(Limits { sender_bytes: own - less_own, bytes: limits.bytes - less_all, ..limits });
        pool.insert(first.clone(), RICH).unwrap();
        let kept = pool.insert(second.clone(), RICH);
        assert_eq!(kept.err(), (less_own > 0).then_some(PoolError::AccountLimit));
        if less_own == 0 {
            assert_eq!(pool.insert(other.clone(), RICH).err(), (less_all > 0).then_some(PoolError::Full));
        }
    }
    let (gap, wide) = (tx(3, 1, 10), tx(4, 1, 10));
    for less in [0, 1] {
        let gapped_bytes = length(&gap) + length(&wide) - less;
        let mut pool = pool(Limits { gapped_bytes, ..Limits::default() });
        pool.insert(gap.clone(), RICH).unwrap();
        assert_eq!(pool.insert(wide.clone(), RICH).err(), (less > 0).then_some(PoolError::Full));
    }
}

#[test]
fn a_replacement_takes_the_place_of_the_other_and_of_nobody_else() {
    let (old, new, other) = (tx(1, 0, 50), tx_with(1, 0, 1_300, 60, 0), tx(2, 0, 10));
    let own = length(&old).max(length(&new));
    let limits = Limits { txs: 2, sender_txs: 1, ..Limits::default() };
    for limits in [limits, Limits { bytes: own + length(&other), sender_bytes: own, ..limits }] {
        let mut pool = pool(limits);
        for tx in [&old, &other, &new] {
            pool.insert(tx.clone(), RICH).unwrap();
        }
        assert!(pool.len() == 2 && pool.contains(other.hash) && pool.contains(new.hash));
        counted(&pool);
    }
}

#[test]
fn of_all_that_wait_the_least_go_however_deep_they_are() {
    let left = |tips: [u128; 2], other: u128| {
        let all = [tx(1, 0, tips[0]), tx(1, 1, tips[1]), tx(2, 0, other)];
        let bytes = all.iter().map(|tx| length(tx)).sum();
        let mut pool = pool(Limits { bytes, ..Limits::default() });
        for tx in &all {
            pool.insert(tx.clone(), RICH).unwrap();
        }
        // It needs more than one of them has, and not more than two.
        let large = tx_with(9, 0, 10_000, 5_000, 80);
        pool.insert(large.clone(), RICH).unwrap();
        counted(&pool);
        assert!(pool.bytes <= bytes && pool.contains(large.hash) && pool.len() == 2);
        [&all[0], &all[2]].map(|tx| pool.contains(tx.hash))
    };
    assert_eq!(left([110, 120], 200), [false, true], "both of one sender are worth less than the other's");
    assert_eq!(left([500, 110], 200), [true, false], "only its last is");
}

#[test]
fn a_pool_that_was_full_before_a_block_is_full_after_it() {
    let [cheap, middle, best] = [(1, 50), (2, 70), (3, 100)].map(|(from, tip)| tx(from, 0, tip));
    let bytes = length(&middle) + length(&cheap).max(length(&best));
    for limits in [Limits { txs: 2, ..Limits::default() }, Limits { bytes, ..Limits::default() }] {
        let mut pool = pool(limits);
        for tx in [&cheap, &middle] {
            pool.insert(tx.clone(), RICH).unwrap();
        }
        pool.turn(2, BASE_FEE, []);
        pool.insert(best.clone(), RICH).unwrap();
        assert!(!pool.contains(cheap.hash) && pool.len() == 2);
        counted(&pool);
    }
}

#[test]
fn what_a_sender_has_is_walked_through_once_for_all_the_places_that_it_may_lose() {
    let small: Vec<_> = (0..40).map(|nonce| tx(1, nonce, 10)).collect();
    let (middle, best) = (tx(2, 0, 500), tx(3, 0, 1_000));
    let bytes = small.iter().chain([&middle, &best]).map(|tx| length(tx)).sum();
    let mut pool = pool(Limits { bytes, ..Limits::default() });
    for tx in small.iter().chain([&middle, &best]) {
        pool.insert(tx.clone(), RICH).unwrap();
    }
    // It outbids all but the last, whose place it needs.
    let large = tx_with(9, 0, 10_000, 600, bytes - 150);
    assert!((bytes - length(&best)..bytes).contains(&length(&large)), "{} of {bytes}", length(&large));
    let _ = pool.consider(&large, RICH);
    let before = sender::FOUND.get();
    assert_eq!(pool.insert(large.clone(), RICH), Err(PoolError::Full));
    assert_eq!(sender::FOUND.get() - before, 2, "one of each that could go");
    assert_eq!(pool.turned_away(large.hash), Some(&PoolError::Full));
    counted(&pool);
}
