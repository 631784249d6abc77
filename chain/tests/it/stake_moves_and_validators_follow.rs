//! Stake through transactions: a new validator enters, grows, shrinks and leaves; tokens come back after the wait;
//! rewards are paid; a double sign costs its part once and for ever.

use alloy_primitives::{B256, Bytes, U256};
use sahara_chain::{
    application::{Application, DecidedBlock, Offence, OffenceKind, Vote},
    evm::abi::selector,
    staking,
    validator::{ConsensusKey, ValidatorUpdate},
    wallet::Payment,
};

use crate::{
    common::{address, genesis, pay},
    stake_net::{Net, WEEK, enter, new_key, tokens, word},
};

#[test]
fn stake_moves_and_validators_follow() {
    let mut net = Net::new();
    let power = |power| vec![ValidatorUpdate { key: new_key(), power }];
    assert_eq!(enter(&mut net), power(5));
    assert_eq!(net.must(2, tokens(3), "delegate(address)", &[word(address(1))]), power(8));
    let half = tokens(1) / U256::from(2);
    assert_eq!(net.must(2, half, "delegate(address)", &[word(address(1))]), []);
    assert_eq!(net.must(2, U256::ZERO, "undelegate(address,uint256)", &[word(address(1)), tokens(2)]), power(6));
    assert!(
        net.refused(2, U256::ZERO, "undelegate(address,uint256)", &[word(address(1)), tokens(2)])
            .contains("not that much")
    );
    assert!(net.refused(2, U256::ZERO, "withdraw()", &[]).contains("nothing is due"));
    assert!(net.refused(2, tokens(1), "withdraw()", &[]).contains("takes no value"));
    assert!(net.refused(3, U256::ZERO, "delegate(address)", &[word(address(1))]).contains("out of range"));
    assert!(net.refused(3, tokens(1), "delegate(address)", &[word(address(4))]).contains("no such validator"));
    assert!(net.refused(3, tokens(1), "nonsense()", &[]).contains("no such function"));

    net.pass(4 * WEEK);
    let before = net.chain.balance(address(2));
    net.must(2, U256::ZERO, "withdraw()", &[]);
    let gained = net.chain.balance(address(2)) - before;
    assert!(gained > tokens(2) - half && gained <= tokens(2), "two tokens without the gas");
    // Its operator leaves, and with the last stake the validator.
    net.must(2, U256::ZERO, "undelegate(address,uint256)", &[word(address(1)), tokens(1) + half]);
    assert_eq!(net.must(1, U256::ZERO, "undelegate(address,uint256)", &[word(address(1)), tokens(5)]), power(0));
    // The last validator of a chain cannot leave it.
    assert_eq!(net.must(9, U256::ZERO, "undelegate(address,uint256)", &[word(address(9)), tokens(10)]), []);
}

#[test]
fn who_signs_is_paid_and_who_signs_twice_is_out() {
    let mut net = Net::new();
    enter(&mut net);
    net.must(2, tokens(5), "delegate(address)", &[word(address(1))]);
    let first = ConsensusKey(genesis().validators[0].consensus_key.0).address();
    let second = new_key().address();
    let vote = |validator, signed| Vote { validator, power: 10, signed };
    let votes = vec![vote(first, true), vote(second, true)];
    for _ in 0..10 {
        net.block(DecidedBlock { votes: votes.clone(), ..DecidedBlock::default() });
    }
    // Ten blocks of 0.1 token, half to each validator; of that a tenth is commission, and half of the rest is mine.
    let before = net.chain.balance(address(2));
    net.must(2, U256::ZERO, "claim(address)", &[word(address(1))]);
    let gas = tokens(1) / U256::from(1000);
    let gained = net.chain.balance(address(2)) - before + gas;
    let expected = tokens(1) * U256::from(225) / U256::from(1000);
    assert!(gained > expected && gained < expected + gas, "{gained} {expected}");

    // Someone leaves after the offence, before it is proven.
    let offence_height = net.ledger().info().height;
    net.must(2, U256::ZERO, "undelegate(address,uint256)", &[word(address(1)), tokens(2)]);
    let offence = Offence { validator: second, height: offence_height, kind: OffenceKind::DoubleSign, power: 10 };
    let punished = net.block(DecidedBlock { offences: vec![offence, offence], ..DecidedBlock::default() });
    assert_eq!(punished.validators, [ValidatorUpdate { key: new_key(), power: 0 }]);
    let left = tokens(8) * U256::from(95) / U256::from(100);
    assert_eq!(net.tokens(address(1)), left);
    net.block(DecidedBlock { offences: vec![offence], ..DecidedBlock::default() });
    assert_eq!(net.tokens(address(1)), left, "punished once");
    assert!(net.refused(1, U256::ZERO, "unjail()", &[]).contains("for ever"));
    assert!(net.refused(3, tokens(1), "delegate(address)", &[word(address(1))]).contains("tombstoned"));
    net.pass(4 * WEEK);
    let before = net.chain.balance(address(2));
    net.must(2, U256::ZERO, "withdraw()", &[]);
    let gained = net.chain.balance(address(2)) - before + gas;
    let expected = tokens(2) * U256::from(95) / U256::from(100);
    assert!(gained > expected && gained < expected + gas, "what was on its way out is liable too");
}

#[test]
fn who_is_away_goes_to_jail_and_may_return() {
    let mut net = Net::new();
    enter(&mut net);
    let first = ConsensusKey(genesis().validators[0].consensus_key.0).address();
    let votes = vec![
        Vote { validator: first, power: 10, signed: true },
        Vote { validator: new_key().address(), power: 5, signed: false },
    ];
    let mut out = vec![];
    let mut blocks = 0;
    while out.is_empty() {
        blocks += 1;
        assert!(blocks < 256);
        out = net.block(DecidedBlock { votes: votes.clone(), ..DecidedBlock::default() }).validators;
    }
    assert_eq!((blocks, out[0].power), (193, 0));
    assert!(net.refused(1, U256::ZERO, "unjail()", &[]).contains("too early"));
    net.time += 601;
    assert_eq!(net.must(1, U256::ZERO, "unjail()", &[])[0].power, 4);
}

#[test]
fn solidity_sees_stake_and_cannot_change_it_in_a_view() {
    let mut net = Net::new();
    let (result, _) = net.call(3, U256::ZERO, "validatorOf(address)", &[word(address(9))]);
    assert_eq!(U256::from_be_slice(&result.data[32..64]), tokens(10));
    // A contract that delegates (DELEGATECALL) gets a reason, not a way in: it forwards any call data to the target.
    let forward = |op: u8| {
        let mut code = vec![0x36, 0x5f, 0x5f, 0x37]; // calldatacopy(0, 0, calldatasize)
        code.extend([0x5f, 0x5f, 0x36, 0x5f]); // out 0 0, in calldatasize 0
        code.push(0x73);
        code.extend(staking::ADDRESS);
        code.extend([0x5a, op]); // gas, call
        code.extend([0x3d, 0x5f, 0x5f, 0x3e, 0x3d, 0x5f, 0xfd]); // revert(returndata)
        let mut init = vec![0x60, u8::try_from(code.len()).unwrap(), 0x60, 0x0b, 0x5f, 0x39, 0x60];
        init.extend([u8::try_from(code.len()).unwrap(), 0x5f, 0xf3]);
        init.insert(0, 0x5b);
        init.extend(code);
        Bytes::from(init)
    };
    for (op, why) in [(0xf4u8, "do not delegate"), (0xfa, "static call")] {
        let create =
            pay(3, Payment { nonce: net.nonces[3], input: forward(op), gas_limit: 300_000, ..Payment::default() });
        let contract = address(3).create(net.nonces[3]);
        net.nonces[3] += 1;
        let done = net.block(DecidedBlock { txs: vec![create], ..DecidedBlock::default() });
        assert_eq!(done.results[0].code, 0);
        let input = [selector("withdraw()").as_slice(), B256::ZERO.as_slice()].concat();
        let payment = Payment {
            nonce: net.nonces[3],
            to: Some(contract),
            input: input.into(),
            gas_limit: 300_000,
            ..Payment::default()
        };
        net.nonces[3] += 1;
        let done = net.block(DecidedBlock { txs: vec![pay(3, payment)], ..DecidedBlock::default() });
        let said = String::from_utf8_lossy(&done.results[0].data).into_owned();
        assert!(said.contains(why), "{op:x}: {said:?} {}", done.results[0].reason);
    }
}
