//! Rewards, absence and offences, and who validates after them.

use std::collections::VecDeque;

use super::*;
use crate::staking::{block, candidates, penalty::Penalty, storage::slot};

#[test]
fn only_who_signs_is_paid_and_by_its_part_of_all_weight() {
    let mut world = World::new(&[10, 10]);
    let mut first = world.validator(1);
    first.commission = 1_000;
    first.store(&mut world.storage).unwrap();
    let stranger = Vote { validator: ConsensusAddress([0; 20]), power: 20, signed: true };
    let made = world.begin(&[vote(1, 10, true), vote(2, 10, false), stranger], &[]);
    // A tenth of a token for the block; a quarter of that, of which a tenth is commission.
    let reward = TOKEN / U256::from(40);
    let (first, second) = (world.validator(1), world.validator(2));
    assert_eq!(made, reward);
    assert_eq!((first.owed, first.earned), (reward / U256::from(10), reward * U256::from(9) / U256::from(100)));
    assert_eq!((second.owed, second.earned), (U256::ZERO, U256::ZERO));
    assert_eq!((first.expected, first.missed, second.missed), (1, U256::ZERO, U256::ONE));
    assert_eq!(world.begin(&[vote(1, 0, true)], &[]), U256::ZERO, "no weight, no reward");
}

#[test]
fn who_has_no_stake_left_earns_nothing() {
    let mut world = World::new(&[10, 10]);
    world.must(operator(1), U256::ZERO, UNDELEGATE, &[arg(operator(1)), tokens(10)]);
    assert_eq!(world.validator(1).shares, U256::ZERO);
    assert_eq!(world.begin(&[vote(1, 10, true)], &[]), U256::ZERO);
}

#[test]
fn what_was_credited_is_rounded_up() {
    let mut world = World::new(&[1]);
    let mut validator = world.validator(1);
    validator.shares = U256::from(7);
    assert_eq!(block::pay(&mut validator, U256::from(10)), U256::from(10));
    validator.commission = 5_000;
    assert_eq!(block::pay(&mut validator, U256::from(10)), U256::from(10));
    assert_eq!(validator.owed, U256::from(5));
}

#[test]
fn who_misses_more_than_its_part_of_256_blocks_goes_to_jail_and_nobody_before() {
    let mut world = World::new(&[10_000, 10]);
    let mut last: VecDeque<bool> = VecDeque::new();
    let all = tokens(10_000);
    for block in 0u32..1_000 {
        // Three of four, which is just allowed; later all.
        let signed = block.is_multiple_of(4) && block < 600;
        last.push_back(!signed);
        if last.len() > 256 {
            last.pop_front();
        }
        world.begin(&[vote(1, 10_000, signed)], &[]);
        let missed = last.iter().filter(|missed| **missed).count();
        let validator = world.validator(1);
        if missed <= 192 {
            assert_eq!((validator.status, validator.tokens), (Status::Active, all), "block {block}");
            continue;
        }
        assert!(block > 599, "{block}");
        assert_eq!(validator.status, Status::Jailed(world.time + 600));
        assert_eq!((validator.tokens, validator.missed), (all - tokens(1), U256::ZERO));
        break;
    }
    assert_ne!(world.validator(1).status, Status::Active, "it missed them all");
    assert_eq!(world.pool(), tokens(1), "one of ten thousand");
    let changes = end_block(&mut world.storage).unwrap();
    assert_eq!(changes.iter().map(|change| (change.operator, change.power)).collect::<Vec<_>>(), [(operator(1), 0)]);
    // In jail nothing more is taken, however long.
    for _ in 0..300 {
        world.begin(&[vote(1, 10_000, false)], &[]);
    }
    assert_eq!(world.validator(1).tokens, all - tokens(1));
}

#[test]
fn jail_ends_when_it_is_over_and_with_stake_enough() {
    let mut world = World::new(&[10, 10]);
    assert!(world.refused(operator(1), U256::ZERO, "unjail()", &[]).contains("not in jail"));
    let mut validator = world.validator(1);
    validator.status = Status::Jailed(world.time + 1);
    validator.store(&mut world.storage).unwrap();
    assert!(world.refused(operator(1), U256::ZERO, "unjail()", &[]).contains("too early"));
    world.time += 1;
    world.must(operator(1), U256::ZERO, "unjail()", &[]);
    assert_eq!(world.validator(1).status, Status::Active);
    // With less than the least of its own it goes back, and stays until it bonds.
    world.must(DELEGATOR, tokens(50), DELEGATE, &[arg(operator(1))]);
    world.must(operator(1), U256::ZERO, UNDELEGATE, &[arg(operator(1)), tokens(9)]);
    assert_eq!(world.validator(1).status, Status::Active, "just enough");
    world.must(operator(1), U256::ZERO, UNDELEGATE, &[arg(operator(1)), U256::ONE]);
    assert_eq!(world.validator(1).status, Status::Jailed(world.time));
    assert!(world.refused(operator(1), U256::ZERO, "unjail()", &[]).contains("must bond more"));
    world.must(operator(1), U256::ONE, DELEGATE, &[arg(operator(1))]);
    world.must(operator(1), U256::ZERO, "unjail()", &[]);
    // A delegator who leaves sends nobody to jail.
    world.must(DELEGATOR, U256::ZERO, UNDELEGATE, &[arg(operator(1)), tokens(50)]);
    assert_eq!(world.validator(1).status, Status::Active);
}

#[test]
fn who_signs_twice_pays_for_the_weight_of_it_once_and_never_returns() {
    let mut world = World::new(&[100, 10]);
    world.begin(&[], &[double(1, 990, 100)]);
    let penalty = Penalty { height: 990, proven: 1_001, time: world.time, part: 500, stake: tokens(100), power: 100 };
    let validator = world.validator(1);
    assert_eq!((validator.status, validator.tokens), (Status::Tombstoned(penalty), tokens(95)));
    assert_eq!((world.pool(), validator.power()), (tokens(5), 0));
    world.begin(&[], &[double(1, 990, 100), double(7, 990, 1)]);
    assert_eq!((world.pool(), world.validator(1).tokens), (tokens(5), tokens(95)));
    for (value, name, arguments) in [
        (U256::ZERO, "unjail()", vec![]),
        (tokens(1), DELEGATE, vec![arg(operator(1))]),
        (U256::ZERO, REDELEGATE, vec![arg(operator(2)), arg(operator(1)), tokens(1)]),
    ] {
        let caller = if name == REDELEGATE { operator(2) } else { operator(1) };
        let why = world.refused(caller, value, name, &arguments);
        assert!(why.contains("tombstoned"), "{name}: {why}");
    }
    let changes = end_block(&mut world.storage).unwrap();
    assert_eq!(changes.iter().map(|change| (change.operator, change.power)).collect::<Vec<_>>(), [(operator(1), 0)]);
    assert_eq!(candidates::count(&mut world.storage).unwrap(), 1, "it has no place any more");
    // What is left can be taken out, and brings it no place back.
    world.must(operator(1), U256::ZERO, UNDELEGATE, &[arg(operator(1)), tokens(1)]);
    assert_eq!(candidates::count(&mut world.storage).unwrap(), 1);
}

#[test]
fn the_strongest_validate_and_among_equals_who_came_first() {
    let params = StakingParams { max_validators: 2, ..StakingParams::default() };
    let mut world = World::with(&[10, 20, 10, 5], params);
    let changes = |world: &mut World| -> Vec<(Address, u64)> {
        let changes = end_block(&mut world.storage).unwrap();
        changes.iter().map(|change| (change.operator, change.power)).collect()
    };
    assert_eq!(changes(&mut world), [], "nothing has changed");
    block::mark_changed(&mut world.storage).unwrap();
    assert_eq!(changes(&mut world), [(operator(3), 0), (operator(4), 0)]);
    world.must(DELEGATOR, tokens(1), DELEGATE, &[arg(operator(3))]);
    assert_eq!(changes(&mut world), [(operator(3), 11), (operator(1), 0)]);
    assert_eq!(changes(&mut world), []);
    // Nobody is left: the last ones stay, and are looked at again.
    for n in 1..=4 {
        let mut validator = world.validator(n);
        validator.status = Status::Jailed(0);
        validator.store(&mut world.storage).unwrap();
    }
    block::mark_changed(&mut world.storage).unwrap();
    assert_eq!(changes(&mut world), []);
    assert!(!world.storage.load(slot("changed", &[])).unwrap().is_zero());
    // Whoever has no stake loses its place.
    world.must(operator(4), U256::ZERO, UNDELEGATE, &[arg(operator(4)), tokens(5)]);
    world.must(operator(2), U256::ZERO, "unjail()", &[]);
    assert_eq!(changes(&mut world), [(operator(3), 0)]);
    assert_eq!(candidates::count(&mut world.storage).unwrap(), 3);
}

#[test]
fn a_key_is_forgotten_when_nothing_of_it_can_be_proven_any_more() {
    let mut world = World::new(&[10, 10]);
    let gone = vec![GenesisValidator { operator: operator(1), consensus_key: key(1), power: 0 }];
    validator::set_last_power(&mut world.storage, operator(1), 0).unwrap();
    let (height, time) = (world.height, world.time);
    let later = StakingParams::default().unbonding_seconds;
    let forgotten = |world: &mut World, height, time, gone: &[GenesisValidator]| {
        forget(&mut world.storage, height, time, gone).unwrap()
    };
    assert_eq!(forgotten(&mut world, height, time, &gone), []);
    assert_eq!(forgotten(&mut world, height + 101, time + later, &[]), [], "a block too early");
    assert_eq!(forgotten(&mut world, height + 102, time + later - 1, &[]), [], "a second too early");
    assert_eq!(forgotten(&mut world, height + 102, time + later, &[]), [key(1)]);
    assert_eq!(forgotten(&mut world, height + 103, time + later, &[]), [], "once");
    let next = vec![GenesisValidator { operator: operator(2), consensus_key: key(2), power: 0 }];
    validator::set_last_power(&mut world.storage, operator(2), 0).unwrap();
    assert_eq!(forgotten(&mut world, height + 104, time + later, &next), []);
    assert_eq!(forgotten(&mut world, height + 300, time + 2 * later, &[]), [key(2)]);
    // A few at once; and who came back is remembered.
    let mut world = World::new(&[1; 7]);
    let all: Vec<_> = world.known.values().map(|known| GenesisValidator { power: 0, ..known.clone() }).collect();
    for n in 1..=6 {
        validator::set_last_power(&mut world.storage, operator(n), 0).unwrap();
    }
    forgotten(&mut world, height, time, &all);
    let (height, time) = (height + 200, time + 2 * later);
    assert_eq!(
        [forgotten(&mut world, height, time, &[]), forgotten(&mut world, height, time, &[])].map(|keys| keys.len()),
        [4, 2]
    );
}

#[test]
fn a_place_that_was_filled_from_the_end_makes_nobody_older() {
    let mut world = World::with(&[10, 10, 10], StakingParams { max_validators: 1, ..StakingParams::default() });
    world.must(operator(1), U256::ZERO, UNDELEGATE, &[arg(operator(1)), tokens(10)]);
    end_block(&mut world.storage).unwrap();
    assert_eq!(candidates::at(&mut world.storage, 0).unwrap().operator, operator(3), "the last one fills the gap");
    for n in [3, 2] {
        world.must(DELEGATOR, tokens(1), DELEGATE, &[arg(operator(n))]);
    }
    let changes = end_block(&mut world.storage).unwrap();
    assert_eq!(changes.iter().map(|change| (change.operator, change.power)).collect::<Vec<_>>(), [(operator(2), 11)]);
}
