//! Accounts that others can spend, and those that a waiting transaction would make so: what they may have waiting, whom
//! nobody else can hold up, and what is found out before a signature is recovered.

use super::*;

const DELEGATED: Standing = Standing { delegated: true, ..RICH };

#[test]
fn one_transaction_waits_of_an_account_that_others_can_spend() {
    let mut pool = pool(Limits::default());
    assert_eq!(pool.insert(tx(1, 1, 10), DELEGATED), Err(PoolError::DelegatedGap));
    pool.insert(tx(1, 0, 10), DELEGATED).unwrap();
    assert_eq!(pool.insert(tx(1, 1, 10), DELEGATED), Err(PoolError::InFlight));
    pool.insert(tx(1, 0, 200), DELEGATED).unwrap();

    // The same of an account that a waiting transaction would delegate; and one that has more is not delegated.
    pool.insert(delegating(2, 0, 3), RICH).unwrap();
    pool.insert(tx(3, 0, 10), RICH).unwrap();
    assert_eq!(pool.insert(tx(3, 1, 10), RICH), Err(PoolError::InFlight));
    for nonce in [0, 1] {
        pool.insert(tx(4, nonce, 10), RICH).unwrap();
    }
    assert_eq!(pool.insert(delegating(5, 0, 4), RICH), Err(PoolError::AuthorityReserved));
    counted(&pool);
    pool.remove(&delegating(2, 0, 3));
    pool.insert(tx(3, 1, 10), RICH).unwrap();

    // Delegated by a block meanwhile: one of two stays.
    pool.turn(2, BASE_FEE, [(tx(4, 0, 10).sender, DELEGATED)]);
    assert!(pool.contains(tx(4, 0, 10).hash) && !pool.contains(tx(4, 1, 10).hash));
    counted(&pool);
}

#[test]
fn a_pool_recovers_nothing_and_refuses_all_it_can_before_somebody_does() {
    let mut pool = pool(Limits { txs: 3, ..Limits::default() });
    let list = |authority| vec![authorization(authority, DEV_CHAIN_ID, 0); 20];
    let refused = |pool: &mut Pool, tx: &Arc<Tx>, standing, why: PoolError| {
        assert_eq!(pool.consider(tx, standing), Err(why.clone()));
        assert_eq!(pool.insert(tx.clone(), standing), Err(why));
        assert_eq!(tx.known_authorities(), None, "nobody has recovered anything");
    };
    refused(&mut pool, &unrecovered(1, 1, list(9)), DELEGATED, PoolError::DelegatedGap);
    refused(&mut pool, &unrecovered(1, 2, list(9)), RICH, PoolError::AuthorizationGap { tx: 2, next: 0 });
    pool.insert(tx(1, 0, 10), DELEGATED).unwrap();
    refused(&mut pool, &unrecovered(1, 1, list(9)), DELEGATED, PoolError::InFlight);
    pool.insert(tx(2, 1, 1), RICH).unwrap();
    let gap = PoolError::AuthorizationGap { tx: 1, next: 0 };
    refused(&mut pool, &unrecovered(2, 1, list(9)), RICH, gap);
    pool.insert(tx(3, 0, 1_000), RICH).unwrap();
    refused(&mut pool, &unrecovered(3, 0, list(9)), RICH, PoolError::Underpriced);
    for from in [4, 5] {
        let _ = pool.insert(tx(from, 0, 1_000), RICH);
    }
    refused(&mut pool, &unrecovered(6, 0, list(9)), RICH, PoolError::Full);
    let poor = unrecovered(6, 0, list(8));
    let standing = Standing { balance: poor.max_cost() - U256::from(1), ..RICH };
    assert!(matches!(pool.consider(&poor, standing), Err(PoolError::Overdraft(_))));
    counted(&pool);

    // What could be kept is, once its authorities are known, and not before.
    let mut pool = super::pool(Limits::default());
    let good = unrecovered(6, 0, list(7));
    pool.consider(&good, RICH).unwrap();
    assert_eq!(pool.insert(good.clone(), RICH), Err(PoolError::Unrecovered));
    assert!(pool.is_empty() && good.known_authorities().is_none());
    assert_eq!(good.authorities().len(), 20);
    pool.insert(good, RICH).unwrap();
    counted(&pool);
}

/// For another chain, for a nonce that is used, for none that an account has, and signed by nobody.
fn without_effect() -> Vec<SignedAuthorization> {
    let fields = Authorization { chain_id: U256::ZERO, address: Address::ZERO, nonce: 5 };
    vec![
        authorization(3, 10, 77),
        authorization(3, 10, 5),
        authorization(3, DEV_CHAIN_ID, 4),
        authorization(3, 0, 0),
        authorization(3, 0, u64::MAX),
        SignedAuthorization::new_unchecked(fields, 7, U256::from(1), U256::from(1)),
    ]
}

#[test]
fn an_authorization_that_can_have_no_effect_holds_nobody_up() {
    let mut pool = pool(Limits::default());
    pool.insert(authorized(2, 0, without_effect()), RICH).unwrap();
    for nonce in 5..9 {
        pool.insert(tx(3, nonce, 10), Standing { nonce: 5, ..RICH }).unwrap();
    }
    counted(&pool);
}

#[test]
fn nobody_is_refused_for_an_authorization_that_can_have_no_effect() {
    let mut pool = pool(Limits::default());
    for nonce in 5..9 {
        pool.insert(tx(3, nonce, 10), Standing { nonce: 5, ..RICH }).unwrap();
    }
    pool.insert(authorized(4, 0, without_effect()), RICH).unwrap();
    counted(&pool);
}

#[test]
fn what_could_delegate_an_account_counts_from_its_nonce_on() {
    for chain in [0, DEV_CHAIN_ID] {
        let mut pool = pool(Limits::default());
        let standing = Standing { nonce: 5, ..RICH };
        pool.insert(authorized(2, 0, vec![authorization(3, chain, 7)]), RICH).unwrap();
        // Two come before it could happen, and one may be lost to it.
        for nonce in [5, 6, 7] {
            pool.insert(tx(3, nonce, 10), standing).unwrap();
        }
        assert_eq!(pool.insert(tx(3, 8, 10), standing), Err(PoolError::InFlight));
        assert_eq!(pool.insert(authorized(4, 0, vec![authorization(3, chain, 8)]), RICH), Ok(()));
        // It has that nonce behind it: whoever still shows the authorization holds up nobody.
        pool.turn(2, BASE_FEE, [(tx(3, 0, 0).sender, Standing { nonce: 9, ..RICH })]);
        for nonce in [9, 10, 11] {
            pool.insert(tx(3, nonce, 10), Standing { nonce: 9, ..RICH }).unwrap();
        }
        counted(&pool);
        // The other way round: it has two from there on.
        assert_eq!(
            pool.insert(authorized(5, 0, vec![authorization(3, chain, 10)]), RICH),
            Err(PoolError::AuthorityReserved)
        );
        pool.insert(authorized(6, 0, vec![authorization(3, chain, 11)]), RICH).unwrap();
        counted(&pool);
    }
}

#[test]
fn what_waits_for_an_earlier_one_holds_up_nobody_else() {
    let mut pool = pool(Limits::default());
    let gapped = authorized(2, 1, vec![authorization(3, DEV_CHAIN_ID, 0)]);
    assert_eq!(pool.insert(gapped.clone(), RICH), Err(PoolError::AuthorizationGap { tx: 1, next: 0 }));
    for nonce in 0..3 {
        pool.insert(tx(3, nonce, 10), RICH).unwrap();
    }
    // It may come as soon as the one before it is there; not into the place of one that waits for that.
    pool.insert(tx(4, 1, 1), RICH).unwrap();
    let instead = authorized(4, 1, vec![authorization(5, DEV_CHAIN_ID, 0)]);
    assert_eq!(pool.insert(instead.clone(), RICH), Err(PoolError::AuthorizationGap { tx: 1, next: 0 }));
    pool.insert(tx(4, 0, 10), RICH).unwrap();
    pool.insert(instead, RICH).unwrap();
    counted(&pool);
}

#[test]
fn a_sender_may_delegate_itself() {
    let mut pool = pool(Limits::default());
    let own = |nonce, authorized_nonce| authorized(2, nonce, vec![authorization(2, DEV_CHAIN_ID, authorized_nonce)]);
    assert_eq!(own(0, 0).authorities(), [], "its nonce is used by then");
    pool.insert(own(0, 1), RICH).unwrap();
    pool.insert(tx(2, 1, 10), RICH).unwrap();
    assert_eq!(pool.insert(tx(2, 2, 10), RICH), Err(PoolError::InFlight));
    counted(&pool);
}

#[test]
fn what_was_refused_after_a_long_look_is_not_looked_at_again_before_the_next_block() {
    let mut pool = pool(Limits::default());
    for nonce in [0, 1] {
        pool.insert(tx(4, nonce, 10), RICH).unwrap();
    }
    let refused = [
        (delegating(5, 0, 4), RICH, PoolError::AuthorityReserved),
        (delegating(6, 1, 9), DELEGATED, PoolError::DelegatedGap),
    ];
    for (tx, standing, why) in &refused {
        assert_eq!(pool.turned_away(tx.hash), None);
        assert_eq!(pool.insert(tx.clone(), *standing).as_ref(), Err(why));
        assert_eq!(pool.turned_away(tx.hash), Some(why));
    }
    pool.turn(2, BASE_FEE, [(tx(4, 0, 0).sender, Standing { nonce: 1, ..RICH })]);
    assert!(refused.iter().all(|(tx, ..)| pool.turned_away(tx.hash).is_none()));
    pool.insert(refused[0].0.clone(), RICH).unwrap();
    // What is cheap to refuse may be right a moment later.
    let late = unrecovered(7, 1, vec![authorization(9, DEV_CHAIN_ID, 0)]);
    assert!(pool.consider(&late, RICH).is_err() && pool.turned_away(late.hash).is_none());
}
