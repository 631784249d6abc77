//! A second, small double sign shields no larger one: whatever is proven first, a validator's stake ends with the loss of
//! its worst offence, and what left in between pays too, on its way out or at another validator. Evidence that stake could
//! escape is none.

use alloy_primitives::U256;
use sahara_chain::application::{Application, DecidedBlock, Offence, OffenceKind};

use crate::{
    common::address,
    stake_net::{Net, WEEK, enter, new_key, tokens, word},
};

const NONE: U256 = U256::ZERO;
const REDELEGATE: &str = "redelegate(address,address,uint256)";

fn offence(height: u64, power: u64) -> Offence {
    Offence { validator: new_key().address(), height, kind: OffenceKind::DoubleSign, power }
}

fn prove(net: &mut Net, offences: &[Offence]) {
    net.block(DecidedBlock { offences: offences.to_vec(), ..DecidedBlock::default() });
}

fn hundredths(amount: U256, part: u64) -> U256 {
    amount * U256::from(part) / U256::from(100)
}

/// What is proven block by block, of a large and a small double sign at these heights.
type Order = fn(u64, u64) -> Vec<Vec<Offence>>;

/// Ten tokens at validator 1, large when it signed twice; then four leave, and later it signs twice again, small.
/// The outcome: what is there, what comes back, what was moved to validator 9.
fn outcome(first: impl Fn(u64, u64) -> Vec<Vec<Offence>>) -> (U256, U256, U256) {
    let mut net = Net::new();
    enter(&mut net);
    let (from, to) = (word(address(1)), word(address(9)));
    net.must(2, tokens(5), "delegate(address)", &[from]);
    net.block(DecidedBlock::default());
    let large = net.ledger().info().height;
    net.must(2, NONE, "undelegate(address,uint256)", &[from, tokens(2)]);
    net.must(2, NONE, REDELEGATE, &[from, to, tokens(2)]);
    net.block(DecidedBlock::default());
    net.block(DecidedBlock::default());
    let small = net.ledger().info().height;
    for proof in first(large, small) {
        prove(&mut net, &proof);
        net.must(3, NONE, "settle(address,address)", &[to, word(address(2))]);
    }
    net.pass(4 * WEEK);
    let before = net.chain.balance(address(2));
    net.must(2, NONE, "withdraw()", &[]);
    let paid = net.chain.balance(address(2)) - before + tokens(1) / U256::from(1000);
    (net.tokens(address(1)), paid, net.tokens(address(9)))
}

#[test]
fn a_small_double_sign_shields_no_larger_one_in_any_order() {
    let (left, back, moved) =
        (hundredths(tokens(6), 95), hundredths(tokens(2), 95), tokens(10) + hundredths(tokens(2), 95));
    let orders: [Order; 6] = [
        |large, small| vec![vec![offence(small, 1)], vec![offence(large, 10)]],
        |large, small| vec![vec![offence(large, 10)], vec![offence(small, 1)]],
        |large, small| vec![vec![offence(small, 1), offence(large, 10)]],
        |large, small| vec![vec![offence(large, 10), offence(small, 1)]],
        |large, small| {
            vec![vec![offence(small, 1)], vec![offence(large, 10), offence(large, 10)], vec![offence(small, 1)]]
        },
        |large, _| vec![vec![offence(large, 10)]],
    ];
    for (i, order) in orders.into_iter().enumerate() {
        let found = outcome(order);
        assert!(found.0.abs_diff(left) < U256::from(10), "{i}: {} of {left}", found.0);
        assert!(found.1 > back && found.1 < back + tokens(1) / U256::from(1000), "{i}: {} of {back}", found.1);
        assert!(found.2.abs_diff(moved) < U256::from(10), "{i}: {} of {moved}", found.2);
    }
    // The small one alone: what had left had no part in it, and the rest pays for one token.
    let alone = outcome(|_, small| vec![vec![offence(small, 1)]]);
    assert!(alone.0.abs_diff(tokens(6) - hundredths(tokens(1), 5)) < U256::from(10), "{}", alone.0);
    assert!(alone.1 > tokens(2) && alone.2 == tokens(12), "{alone:?}");
}

#[test]
fn what_leaves_between_two_proofs_pays_the_rest_where_it_is() {
    let mut net = Net::new();
    enter(&mut net);
    let (from, to) = (word(address(1)), word(address(9)));
    net.must(2, tokens(5), "delegate(address)", &[from]);
    let height = net.ledger().info().height;
    prove(&mut net, &[offence(height, 1)]);
    let kept = tokens(10) - hundredths(tokens(1), 5);
    assert_eq!(net.tokens(address(1)), kept);
    net.must(2, NONE, "undelegate(address,uint256)", &[from, kept / U256::from(10)]);
    net.must(2, NONE, REDELEGATE, &[from, to, kept / U256::from(10)]);
    prove(&mut net, &[offence(height - 1, 10)]);
    net.must(3, NONE, "settle(address,address)", &[to, word(address(2))]);
    let near = |found: U256, expected: U256| found.abs_diff(expected) < U256::from(20);
    assert!(near(net.tokens(address(1)), hundredths(tokens(8), 95)), "{}", net.tokens(address(1)));
    assert!(near(net.tokens(address(9)), tokens(10) + hundredths(tokens(1), 95)), "{}", net.tokens(address(9)));
    net.must(3, NONE, "settle(address,address)", &[to, word(address(2))]);
    assert!(near(net.tokens(address(9)), tokens(10) + hundredths(tokens(1), 95)), "it pays once");
    assert!(net.refused(2, NONE, REDELEGATE, &[to, from, tokens(1) / U256::from(2)]).contains("recently"));
    net.pass(4 * WEEK);
    let before = net.chain.balance(address(2));
    net.must(2, NONE, "withdraw()", &[]);
    let paid = net.chain.balance(address(2)) - before;
    let (expected, gas) = (hundredths(tokens(1), 95), tokens(1) / U256::from(1000));
    assert!(paid <= expected && paid + gas > expected, "{paid}");
}

#[test]
fn stake_is_paid_out_when_it_is_old_enough_in_seconds_and_in_blocks() {
    let mut net = Net::new();
    enter(&mut net);
    net.must(2, tokens(2), "delegate(address)", &[word(address(1))]);
    net.must(2, NONE, "undelegate(address,uint256)", &[word(address(1)), tokens(1)]);
    let left = net.ledger().info().height;
    net.block(DecidedBlock::default());
    // The chain stands still for a month: evidence of before is as good as new by its blocks.
    net.time += 5 * WEEK;
    assert!(net.refused(2, NONE, "withdraw()", &[]).contains("nothing is due"));
    prove(&mut net, &[offence(left, 7)]);
    // In the last block that can bring evidence of what it stood behind, it still waits.
    while net.ledger().info().height < left + 1 + 99 {
        net.block(DecidedBlock::default());
    }
    assert!(net.refused(2, NONE, "withdraw()", &[]).contains("nothing is due"));
    let before = net.chain.balance(address(2));
    net.must(2, NONE, "withdraw()", &[]);
    let paid = net.chain.balance(address(2)) - before;
    let (expected, gas) = (hundredths(tokens(1), 95), tokens(1) / U256::from(1000));
    assert!(paid <= expected && paid + gas > expected, "{paid}");
}

#[test]
fn stake_that_left_right_before_the_chain_stood_still_waits_from_its_next_block_on() {
    let mut net = Net::new();
    enter(&mut net);
    let (from, to) = (word(address(1)), word(address(9)));
    net.must(2, tokens(4), "delegate(address)", &[from]);
    net.must(2, NONE, "undelegate(address,uint256)", &[from, tokens(1)]);
    net.must(2, NONE, REDELEGATE, &[from, to, tokens(1)]);
    let left = net.ledger().info().height;
    net.time += 5 * WEEK;
    // A block later its weight still counts, and what is done there can be proven for two weeks.
    net.pass(WEEK);
    prove(&mut net, &[offence(left + 1, 9)]);
    net.must(3, NONE, "settle(address,address)", &[to, word(address(2))]);
    assert_eq!(net.tokens(address(9)), tokens(10) + hundredths(tokens(1), 95));
    // What left a block earlier had no weight any more, and is free by now.
    let before = net.chain.balance(address(2));
    net.must(2, NONE, "withdraw()", &[]);
    assert!(net.chain.balance(address(2)) - before > hundredths(tokens(1), 99));
}
