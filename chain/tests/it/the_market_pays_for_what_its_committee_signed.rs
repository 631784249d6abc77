//! The protocol's contracts on a node, with the real signatures of a committee: an owner registers a model and offers
//! licences, operators bond, a consumer buys a licence and opens a session, a receipt is settled once, and everybody takes
//! out what is theirs. The words that share nodes ask to be proven lie where `sahara_market::slots` looks for them.

use alloy_primitives::{Address, B256, U256};
use alloy_sol_types::SolCall;
use sahara_chain::genesis::TOKEN;
use sahara_market::{
    ATTRIBUTION, INFERENCE_MARKET, LICENCES, OPERATORS, OWNERSHIP_RECEIPTS, Receipt, Session,
    abi::{Attribution, InferenceMarket, Operators},
    slots::{self, CommitteeState, SessionState},
};

use crate::{
    common::{START, address},
    market_stage::{
        CALLS, COMPUTE, CONSUMER, DAY, DOMAIN, OWNER, PRICE, ROYALTY, SECRET, STRANGER, Stage, nothing, open_call,
    },
};

#[test]
fn a_receipt_pays_everybody_once_and_what_is_left_goes_back() {
    let mut stage = Stage::new();
    let session = stage.open();
    let id = session.id(&DOMAIN);
    let lane = stage.committee.id();
    // Where share nodes look.
    assert_eq!(stage.session_state(&session), SessionState::Open);
    let committee = CommitteeState::read(stage.slot(INFERENCE_MARKET, slots::committee(lane))).unwrap();
    assert!(committee.from > START / 1_000_000_000 && committee.ended == 0, "{committee:?}");
    assert_eq!(stage.slot(INFERENCE_MARKET, slots::settled(id, lane)), U256::ZERO);
    assert_eq!(stage.slot(LICENCES, slots::withdrawn(stage.licence)), U256::ZERO);
    for (operator, key) in stage.committee.operators.into_iter().zip(stage.committee.keys) {
        assert_eq!(slots::account(stage.slot(OPERATORS, slots::operator_of(key))), Some(operator));
        let [node, bond] = slots::operator(operator);
        assert_eq!(B256::from(stage.slot(OPERATORS, node)), key);
        assert_eq!(U256::from(slots::bond(stage.slot(OPERATORS, bond))), TOKEN * U256::from(1_000));
        let place = slots::Place::read(stage.slot(OPERATORS, slots::place(stage.asset, operator)));
        assert!((1..=3).contains(&place.number), "{place:?}");
    }
    let [hash, times] = slots::licence(stage.licence);
    assert_eq!(B256::from(stage.slot(LICENCES, hash)), stage.terms_hash());
    let times = slots::LicenceState::read(stage.slot(LICENCES, times));
    assert!(times.bought > START / 1_000_000_000 && times.ends == times.bought + 10 * DAY, "{times:?}");

    let held = stage.chain.balance(INFERENCE_MARKET);
    let receipt = stage.receipt(&session, 4);
    let settle = stage.settlement(&session, &receipt);
    stage.must(STRANGER, INFERENCE_MARKET, 0, settle.clone());
    assert_eq!(stage.slot(INFERENCE_MARKET, slots::settled(id, lane)), U256::from(4 * PRICE));
    // What is burnt waits in the market until somebody burns it.
    let fee = U256::from(4 * COMPUTE / 100);
    assert_eq!(stage.chain.balance(INFERENCE_MARKET), held - U256::from(4 * PRICE) + fee);
    stage.refused(STRANGER, 0, settle);
    let lower = stage.receipt(&session, 3);
    let lower = stage.settlement(&session, &lower);
    stage.refused(STRANGER, 0, lower);

    stage.must(CONSUMER, INFERENCE_MARKET, 0, InferenceMarket::closeCall { s: session.clone() });
    assert!(matches!(stage.session_state(&session), SessionState::Closing(until) if until > stage.now()));
    stage.refused(CONSUMER, 0, InferenceMarket::finishCall { s: session.clone() });
    // What was done before counts until the window is over.
    let late = stage.receipt(&session, 6);
    let late = stage.settlement(&session, &late);
    stage.must(1, INFERENCE_MARKET, 0, late);
    stage.pass(40 * DAY);
    stage.refused(CONSUMER, 0, InferenceMarket::finishCall { s: session.clone() });
    // Not by time alone: a chain that stood still has shown nobody's settlement.
    (0..600).for_each(|_| stage.pass(1));
    stage.must(STRANGER, INFERENCE_MARKET, 0, InferenceMarket::finishCall { s: session.clone() });
    assert!(matches!(stage.session_state(&session), SessionState::Finished));
    let over = stage.receipt(&session, 7);
    let over = stage.settlement(&session, &over);
    stage.refused(STRANGER, 0, over);

    // Pull payments: the three operators' parts, the owner's royalty, and what was burnt, are all that was paid.
    let paid = U256::from(6 * PRICE);
    let operators: U256 = (1..=3).map(|i| gained(&mut stage, i, OPERATORS, Operators::claimCall {})).sum();
    let assets = vec![stage.asset];
    let royalty = gained(&mut stage, OWNER, ATTRIBUTION, Attribution::claimFromCall { assets });
    assert_eq!(royalty, U256::from(6 * ROYALTY + 5), "and the price of the licence");
    let burnt = U256::from(6 * COMPUTE) - operators;
    assert!(burnt <= U256::from(6 * COMPUTE / 50), "{burnt} of {paid} was burnt");
    assert!(burnt > U256::ZERO);
}

/// What a claim gives its sender, gas apart.
fn gained<C: SolCall>(stage: &mut Stage, who: usize, at: Address, claim: C) -> U256 {
    let before = stage.chain.balance(at);
    stage.must(who, at, 0, claim);
    before - stage.chain.balance(at)
}

#[test]
fn what_is_not_signed_for_this_session_lane_total_job_and_request_pays_nobody() {
    let mut stage = Stage::new();
    let session = stage.open();
    let receipt = stage.receipt(&session, 1);
    let good = stage.settlement(&session, &receipt);
    let word = B256::repeat_byte(0xee);
    let others = [
        Receipt { session: word, ..receipt },
        Receipt { lane: word, ..receipt },
        Receipt { asset: word, ..receipt },
        Receipt { licence: U256::from(99), ..receipt },
        Receipt { sharing: word, ..receipt },
        Receipt { committee: word, ..receipt },
        Receipt { output: B256::ZERO, ..receipt },
        Receipt { total: receipt.total + 1, ..receipt },
        Receipt { total: (CALLS + 1) * PRICE, ..receipt },
        Receipt { total: 0, ..receipt },
        Receipt { price: PRICE - 1, ..receipt },
    ];
    for other in others {
        // Signed by all of them, and by the consumer: it still is no receipt of this session.
        let call = stage.settlement(&session, &other);
        stage.refused(STRANGER, 0, call);
    }
    // Another receipt than was signed, by each field of the voucher and of the receipt.
    let mut call = good.clone();
    call.r.job = word;
    stage.refused(STRANGER, 0, call);
    let mut call = good.clone();
    call.r.transcript = word;
    stage.refused(STRANGER, 0, call);
    let two = good.signatures[..128].to_vec();
    let mut call = good.clone();
    call.signatures = [&two[..], &[0; 64]].concat().into();
    stage.refused(STRANGER, 0, call);
    let mut call = good.clone();
    call.signatures = two.into();
    stage.refused(STRANGER, 0, call);
    let mut call = good.clone();
    call.voucher = nothing().sign(&DOMAIN, &SECRET).unwrap().to_vec().into();
    stage.refused(STRANGER, 0, call);
    // And as it was meant.
    stage.must(STRANGER, INFERENCE_MARKET, 0, good);
}

#[test]
fn a_session_is_opened_by_its_licences_user_with_its_money_and_no_longer_than_the_licence() {
    let mut stage = Stage::new();
    let session = stage.session();
    let value = CALLS * PRICE;
    stage.refused(STRANGER, value, open_call(&session));
    stage.refused(CONSUMER, value - 1, open_call(&session));
    stage.refused(CONSUMER, value + 1, open_call(&session));
    let long = Session { ends: stage.now() + 11 * DAY, ..session.clone() };
    stage.refused(CONSUMER, value, open_call(&long));
    let unknown = Session { lanes: vec![B256::repeat_byte(1)], ..session.clone() };
    stage.refused(CONSUMER, value, open_call(&unknown));
    let uneven = Session { caps: vec![1, value - 1], ..session.clone() };
    stage.refused(CONSUMER, value, open_call(&uneven));
    let huge = Session { lanes: vec![stage.committee.id(); 2], caps: vec![u128::MAX, value + 1], ..session.clone() };
    stage.refused(CONSUMER, value, open_call(&huge));
    stage.must(CONSUMER, INFERENCE_MARKET, value, open_call(&session));
    stage.refused(CONSUMER, value, open_call(&session));
}

alloy_sol_types::sol! {
    function setGuardians(address[] guardians, uint8 threshold);
    function approveRecovery(address account, address heir);
    function acceptRecovery(address account);
}

#[test]
fn an_heir_is_where_consumers_look() {
    let mut stage = Stage::new();
    let (account, heir) = (address(OWNER), address(7));
    let found = |stage: &Stage| slots::account(stage.slot(OWNERSHIP_RECEIPTS, slots::successor(account)));
    stage.must(OWNER, OWNERSHIP_RECEIPTS, 0, setGuardiansCall { guardians: vec![address(STRANGER)], threshold: 1 });
    stage.must(STRANGER, OWNERSHIP_RECEIPTS, 0, approveRecoveryCall { account, heir });
    stage.pass(8 * DAY);
    (0..600).for_each(|_| stage.pass(1));
    assert_eq!(found(&stage), Some(Address::ZERO));
    stage.must(7, OWNERSHIP_RECEIPTS, 0, acceptRecoveryCall { account });
    assert_eq!(found(&stage), Some(heir));
}
