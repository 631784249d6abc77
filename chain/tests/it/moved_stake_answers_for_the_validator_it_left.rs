//! Stake that was moved to another validator after an offence, and before its proof, pays as if it had stayed: where it
//! is, and on its way out. It pays once, and cannot be moved on while it may have to.

use alloy_primitives::U256;
use sahara_chain::application::{Application, DecidedBlock, Offence, OffenceKind};

use crate::{
    common::address,
    stake_net::{Net, WEEK, enter, new_key, tokens, word},
};

const NONE: U256 = U256::ZERO;

#[test]
fn moved_stake_answers_for_the_validator_it_left() {
    let mut net = Net::new();
    enter(&mut net);
    let (from, to) = (word(address(1)), word(address(9)));
    net.must(2, tokens(4), "delegate(address)", &[from]);
    let height = net.ledger().info().height;
    net.must(2, NONE, "redelegate(address,address,uint256)", &[from, to, tokens(4)]);
    assert!(net.refused(2, NONE, "redelegate(address,address,uint256)", &[to, from, tokens(1)]).contains("recently"));
    net.must(2, NONE, "undelegate(address,uint256)", &[to, tokens(2)]);

    let offence = Offence { validator: new_key().address(), height, kind: OffenceKind::DoubleSign, power: 9 };
    net.block(DecidedBlock { offences: vec![offence], ..DecidedBlock::default() });
    assert_eq!(net.tokens(address(1)), tokens(5) * U256::from(95) / U256::from(100));
    // Who stayed there loses nothing of it, and anybody can make the mover pay.
    assert_eq!(net.tokens(address(9)), tokens(12));
    for _ in 0..2 {
        net.must(3, NONE, "settle(address,address)", &[to, word(address(2))]);
        assert_eq!(net.tokens(address(9)), tokens(10) + tokens(19) / U256::from(10));
    }
    net.pass(4 * WEEK);
    let before = net.chain.balance(address(2));
    net.must(2, NONE, "withdraw()", &[]);
    let (gained, gas) = (net.chain.balance(address(2)) - before, tokens(1) / U256::from(1000));
    let expected = tokens(19) / U256::from(10);
    assert!(gained <= expected && gained + gas > expected, "{gained}");
}

#[test]
fn what_left_before_the_offence_or_after_its_proof_owes_nothing() {
    let mut net = Net::new();
    enter(&mut net);
    let (from, to) = (word(address(1)), word(address(9)));
    net.must(2, tokens(4), "delegate(address)", &[from]);
    net.must(2, NONE, "redelegate(address,address,uint256)", &[from, to, tokens(1)]);
    // What leaves in one block has its weight in the next: the offence comes two later.
    net.block(DecidedBlock::default());
    net.block(DecidedBlock::default());
    let height = net.ledger().info().height;
    let offence = Offence { validator: new_key().address(), height, kind: OffenceKind::LightClientAttack, power: 8 };
    net.block(DecidedBlock { offences: vec![offence], ..DecidedBlock::default() });
    let left = tokens(8) * U256::from(95) / U256::from(100);
    assert_eq!(net.tokens(address(1)), left);
    // It has paid with the others, so it may go wherever it likes.
    net.must(2, NONE, "redelegate(address,address,uint256)", &[from, to, tokens(1)]);
    net.must(3, NONE, "settle(address,address)", &[to, word(address(2))]);
    assert_eq!(net.tokens(address(9)), tokens(12));
}

#[test]
fn what_one_account_has_on_its_way_is_bounded() {
    let mut net = Net::new();
    enter(&mut net);
    let (from, to) = (word(address(1)), word(address(9)));
    net.must(2, tokens(40), "delegate(address)", &[from]);
    for _ in 0..3 {
        net.must(2, NONE, "redelegate(address,address,uint256)", &[from, to, tokens(1)]);
    }
    let why = net.refused(2, NONE, "redelegate(address,address,uint256)", &[from, to, tokens(1)]);
    assert!(why.contains("too many recent moves"), "{why}");
    assert_eq!(net.tokens(address(9)), tokens(13));
    for _ in 0..16 {
        net.must(2, NONE, "undelegate(address,uint256)", &[from, tokens(1)]);
    }
    let why = net.refused(2, NONE, "undelegate(address,uint256)", &[from, tokens(1)]);
    assert!(why.contains("too many unbonding entries"), "{why}");
    // It binds nobody else.
    net.must(3, tokens(1), "delegate(address)", &[from]);
    net.must(3, NONE, "undelegate(address,uint256)", &[from, tokens(1)]);
}
