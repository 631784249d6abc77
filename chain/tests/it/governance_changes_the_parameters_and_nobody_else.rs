//! The address that genesis names changes the parameters of staking, within their limits, and uses what was slashed, when
//! everybody could have left before; nobody else does, and without such an address nobody at all.

use alloy_primitives::{Address, U256};
use sahara_chain::{
    application::{Application, DecidedBlock, Offence, OffenceKind},
    staking::{NOTICE_BLOCKS, StakingParams},
    validator::ValidatorUpdate,
};

use crate::{
    common::{address, genesis},
    stake_net::{Net, enter, new_key, tokens, word},
};

const SET: &str = "setParameters((uint256,uint256,uint256,uint256,uint256,uint256,uint256,uint256))";
const NONE: U256 = U256::ZERO;

fn words(params: &StakingParams) -> Vec<U256> {
    params.numbers().map(U256::from).to_vec()
}

#[test]
fn governance_changes_the_parameters_and_nobody_else() {
    let mut genesis = genesis();
    genesis.staking.governance = address(5);
    let mut net = Net::with(&genesis);
    enter(&mut net);
    let one = StakingParams { max_validators: 1, ..genesis.staking.clone() };
    assert!(net.refused(1, NONE, SET, &words(&one)).contains("only governance"));
    for wrong in [
        StakingParams { max_validators: 0, ..one.clone() },
        StakingParams { unbonding_seconds: one.evidence_seconds, ..one.clone() },
        StakingParams { double_sign_slash: 10_001, ..one.clone() },
    ] {
        let (field, _) = wrong.problem().unwrap();
        assert!(net.refused(5, NONE, SET, &words(&wrong)).contains(field));
    }
    assert!(net.refused(5, NONE, SET, &words(&one)[..7]).contains("too early"));
    assert_eq!(net.must(5, NONE, SET, &words(&one)), []);
    let asked = |net: &mut Net, name: &str| {
        let (answer, _) = net.call(3, NONE, name, &[]);
        answer.data.chunks_exact(32).map(U256::from_be_slice).collect::<Vec<_>>()
    };
    assert_eq!(asked(&mut net, "parameters()"), words(&genesis.staking));
    assert_eq!(asked(&mut net, "pendingParameters()")[..8], words(&one));
    // The weaker of two validators makes room when the time has come.
    let before = net.ledger().info().height;
    let mut updates = net.pass_lock(genesis.staking.unbonding_seconds);
    assert_eq!(updates.len(), 1, "{updates:?}");
    let (height, changed) = updates.remove(0);
    assert_eq!(changed, [ValidatorUpdate { key: new_key(), power: 0 }]);
    assert!(height > before + genesis.staking.evidence_blocks + NOTICE_BLOCKS - 10, "{before} to {height}");
    assert_eq!(asked(&mut net, "parameters()"), words(&one));

    let offence = Offence { validator: new_key().address(), height: 3, kind: OffenceKind::DoubleSign, power: 5 };
    net.block(DecidedBlock { offences: vec![offence], ..DecidedBlock::default() });
    let pool = tokens(1) / U256::from(4);
    assert!(net.refused(2, NONE, "takePool(uint256)", &[pool]).contains("only governance"));
    assert!(net.refused(5, NONE, "takePool(uint256)", &[pool + U256::from(1)]).contains("not that much"));
    net.must(5, NONE, "takePool(uint256)", &[pool]);
    assert!(net.refused(5, NONE, "collectPool()", &[]).contains("not due yet"));
    net.pass_lock(genesis.staking.unbonding_seconds);
    let before = net.chain.balance(address(5));
    net.must(5, NONE, "collectPool()", &[]);
    assert!(net.chain.balance(address(5)) > before);

    net.must(5, NONE, "setGovernance(address)", &[word(address(6))]);
    assert!(net.refused(5, NONE, SET, &words(&one)).contains("only governance"));
    net.must(6, NONE, SET, &words(&one));
    net.must(6, NONE, "setGovernance(address)", &[word(Address::ZERO)]);
    assert!(net.refused(6, NONE, SET, &words(&one)).contains("only governance"));
}

#[test]
fn without_governance_the_parameters_stay() {
    let mut net = Net::new();
    let params = words(&genesis().staking);
    assert!(net.refused(0, NONE, SET, &params).contains("only governance"));
}

#[test]
fn stake_that_is_on_its_way_keeps_the_time_that_it_was_promised() {
    let mut genesis = genesis();
    genesis.staking.governance = address(5);
    let mut net = Net::with(&genesis);
    enter(&mut net);
    let at = word(address(1));
    net.must(2, tokens(2), "delegate(address)", &[at]);
    net.must(2, NONE, "undelegate(address,uint256)", &[at, tokens(1)]);
    let shortest = genesis.staking.evidence_seconds + 3600;
    let soon = StakingParams { unbonding_seconds: shortest, ..genesis.staking.clone() };
    let sooner = StakingParams { unbonding_seconds: shortest - 1, ..soon.clone() };
    assert!(net.refused(5, NONE, SET, &words(&sooner)).contains("staking.unbonding_seconds"));
    net.must(5, NONE, SET, &words(&soon));
    net.pass_lock(genesis.staking.unbonding_seconds);
    // What left before the announcement is due before what was announced counts.
    let before = net.chain.balance(address(2));
    net.must(2, NONE, "withdraw()", &[]);
    let gained = net.chain.balance(address(2)) - before;
    assert!(gained > tokens(9) / U256::from(10) && gained <= tokens(1), "{gained}");
    net.must(2, NONE, "undelegate(address,uint256)", &[at, tokens(1) / U256::from(2)]);
    net.must(5, NONE, SET, &words(&StakingParams { unbonding_seconds: 300 * 24 * 3600, ..soon }));
    net.pass_lock(genesis.staking.unbonding_seconds);
    // And what left by the shorter time has it, whatever governance does then.
    let before = net.chain.balance(address(2));
    net.must(2, NONE, "withdraw()", &[]);
    let gained = net.chain.balance(address(2)) - before;
    assert!(gained > tokens(4) / U256::from(10) && gained < tokens(6) / U256::from(10), "{gained}");
}
