//! Rewards are parts of all weight, so a proposer that leaves others' votes out of its block earns what it would have
//! anyway. And what a validator missed counts until it signed enough again, however it leaves and comes back.

use alloy_primitives::U256;
use sahara_chain::{
    application::{DecidedBlock, Vote},
    staking::{Status, Validator},
};

use crate::{
    common::{address, genesis},
    stake_net::{Net, enter, new_key, tokens, word},
};

const NONE: U256 = U256::ZERO;

fn votes(signed: bool) -> Vec<Vote> {
    let first = genesis().validators[0].consensus_key.address();
    vec![Vote { validator: first, power: 10, signed: true }, Vote { validator: new_key().address(), power: 5, signed }]
}

fn earned(net: &Net) -> U256 {
    let validator = Validator::load(&mut net.chain.head().view(), address(9)).unwrap();
    validator.earned
}

#[test]
fn leaving_votes_out_pays_nobody() {
    let gain = |signed| {
        let mut net = Net::new();
        enter(&mut net);
        let before = earned(&net);
        net.block(DecidedBlock { votes: votes(signed), ..DecidedBlock::default() });
        earned(&net) - before
    };
    assert!(gain(true) > NONE);
    assert_eq!(gain(false), gain(true));
}

#[test]
fn absence_is_remembered_by_who_leaves_and_comes_back() {
    let mut net = Net::new();
    enter(&mut net);
    let away = DecidedBlock { votes: votes(false), ..DecidedBlock::default() };
    (0..190).for_each(|_| drop(net.block(away.clone())));
    let status = |net: &Net| Validator::load(&mut net.chain.head().view(), address(1)).unwrap().status;
    assert_eq!(status(&net), Status::Active);
    // It takes its own stake back, which sends it to a jail without an end, and bonds it again at once.
    net.must(1, NONE, "undelegate(address,uint256)", &[word(address(1)), tokens(5)]);
    net.must(1, tokens(5), "delegate(address)", &[word(address(1))]);
    net.must(1, NONE, "unjail()", &[]);
    assert_eq!(status(&net), Status::Active);
    (0..2).for_each(|_| drop(net.block(away.clone())));
    assert_eq!(status(&net), Status::Active);
    net.block(away.clone());
    assert!(matches!(status(&net), Status::Jailed(_)), "193 of the last blocks that it should have signed");
}

#[test]
fn blocks_without_it_neither_count_nor_forgive() {
    let mut net = Net::new();
    enter(&mut net);
    (0..192).for_each(|_| drop(net.block(DecidedBlock { votes: votes(false), ..DecidedBlock::default() })));
    let others = DecidedBlock { votes: votes(true)[..1].to_vec(), ..DecidedBlock::default() };
    (0..300).for_each(|_| drop(net.block(others.clone())));
    let load = |net: &Net| Validator::load(&mut net.chain.head().view(), address(1)).unwrap();
    assert_eq!((load(&net).status, load(&net).missed.count_ones()), (Status::Active, 192));
    // Signing does: after 64 blocks the window begins to forget.
    (0..64 + 20).for_each(|_| drop(net.block(DecidedBlock { votes: votes(true), ..DecidedBlock::default() })));
    assert_eq!(load(&net).missed.count_ones(), 172);
}
