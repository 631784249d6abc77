//! Calls of the contract, and what each refuses.

use super::*;
use crate::staking::{
    delegation::{Delegation, MAX_MOVES, shares_for},
    origin,
    params::{MARGIN_SECONDS, WHOLE},
    unbonding::{self, MAX_ENTRIES},
};

#[test]
fn a_new_validator_brings_stake_a_key_of_its_own_and_a_beacon_chain() {
    let mut world = World::new(&[10]);
    let newcomer = operator(9);
    let good = registration(newcomer, 9, WHOLE, 1);
    let short = world.refused(newcomer, tokens(1) - U256::ONE, CREATE, &good);
    assert!(short.contains("must bond more"), "{short}");
    for (arguments, why) in [
        (registration(newcomer, 9, WHOLE + 1, 1), "commission above 100 percent"),
        (registration(newcomer, 9, 0, 0), "beacon chain must have"),
        (registration(newcomer, 9, 0, (1 << 24) + 1), "beacon chain must have"),
        (registration(operator(8), 9, 0, 1), "the proof does not show"),
        (registration(newcomer, 1, 0, 1), "another validator has this key"),
    ] {
        let refused = world.refused(newcomer, tokens(1), CREATE, &arguments);
        assert!(refused.contains(why), "{refused}");
    }
    let again = world.refused(operator(1), tokens(1), CREATE, &registration(operator(1), 9, 0, 1));
    assert!(again.contains("already operates"), "{again}");
    world.must(newcomer, tokens(1), CREATE, &good);
    let made = world.validator(9);
    assert_eq!((made.key, made.tokens, made.shares, made.commission), (key(9), tokens(1), tokens(1), WHOLE));
    assert_eq!((made.status, made.power()), (Status::Active, 1));
    assert_eq!(end_block(&mut world.storage).unwrap().len(), 1);
    assert_eq!(Validator::load(&mut world.storage, operator(7)).unwrap_err().to_string(), "staking: no such validator");
}

#[test]
fn a_commission_is_a_hundred_percent_at_most_and_paid_once() {
    let mut world = World::new(&[10]);
    let set = "setCommission(uint256)";
    assert!(world.refused(operator(1), U256::ZERO, set, &[U256::from(WHOLE + 1)]).contains("above"));
    world.must(operator(1), U256::ZERO, set, &[U256::from(WHOLE)]);
    let made = world.begin(&[vote(1, 10, true)], &[]);
    assert_eq!(made, TOKEN / U256::from(10));
    let claim = "claimCommission()";
    assert_eq!(world.must(operator(1), U256::ZERO, claim, &[]).payout, made);
    assert_eq!(world.must(operator(1), U256::ZERO, claim, &[]).payout, U256::ZERO);
}

#[test]
fn rewards_go_to_shares_and_are_paid_once() {
    let mut world = World::new(&[10]);
    world.must(DELEGATOR, tokens(30), DELEGATE, &[arg(operator(1))]);
    let made = world.begin(&[vote(1, 40, true)], &[]);
    let claim = |world: &mut World, who| world.must(who, U256::ZERO, "claim(address)", &[arg(operator(1))]).payout;
    assert_eq!(claim(&mut world, DELEGATOR), made * U256::from(3) / U256::from(4));
    assert_eq!(claim(&mut world, DELEGATOR), U256::ZERO);
    assert_eq!(claim(&mut world, operator(1)), made / U256::from(4));
    let said = world.must(DELEGATOR, U256::ZERO, "delegationOf(address,address)", &[arg(operator(1)), arg(DELEGATOR)]);
    assert_eq!(U256::from_be_slice(&said.output[..32]), tokens(30));
}

#[test]
fn nobody_takes_out_more_than_it_has() {
    let mut world = World::new(&[10]);
    world.must(DELEGATOR, tokens(5), DELEGATE, &[arg(operator(1))]);
    for wrong in [U256::ZERO, tokens(5) + U256::ONE] {
        let why = world.refused(DELEGATOR, U256::ZERO, UNDELEGATE, &[arg(operator(1)), wrong]);
        assert!(why.contains("not that much"), "{why}");
    }
    world.must(DELEGATOR, U256::ZERO, UNDELEGATE, &[arg(operator(1)), tokens(5)]);
    assert_eq!((world.validator(1).tokens, world.validator(1).shares), (tokens(10), tokens(10)));
    assert!(world.refused(DELEGATOR, U256::ZERO, UNDELEGATE, &[arg(operator(1)), U256::ONE]).contains("not that much"));
    // After a cut a token is more than a share: rounded up, and never more than there are.
    let mut validator = world.validator(1);
    validator.tokens = U256::from(10);
    validator.shares = U256::from(15);
    assert_eq!(shares_for(&validator, U256::from(1), U256::from(15), "").unwrap(), U256::from(2));
    assert_eq!(shares_for(&validator, U256::from(2), U256::from(3), "").unwrap(), U256::from(3));
    assert!(shares_for(&validator, U256::from(3), U256::from(3), "").is_err());
}

#[test]
fn stake_comes_back_when_it_is_old_enough_in_seconds_and_in_blocks() {
    let mut world = World::new(&[10]);
    world.must(DELEGATOR, tokens(5), DELEGATE, &[arg(operator(1))]);
    world.must(DELEGATOR, U256::ZERO, UNDELEGATE, &[arg(operator(1)), tokens(2)]);
    let (height, time) = (world.height, world.time);
    let params = StakingParams::default();
    for (blocks, seconds, paid) in [
        (params.evidence_blocks + 1, params.unbonding_seconds, false),
        (params.evidence_blocks + 2, params.unbonding_seconds - 1, false),
        (params.evidence_blocks + 2, params.unbonding_seconds, true),
    ] {
        (world.height, world.time) = (height + blocks, time + seconds);
        let answer = world.call(DELEGATOR, U256::ZERO, "withdraw()", &[]);
        assert_eq!(answer.map(|answer| answer.payout).ok(), paid.then_some(tokens(2)), "{blocks} {seconds}");
    }
    assert!(world.refused(DELEGATOR, U256::ZERO, "withdraw()", &[]).contains("nothing is due"));
}

#[test]
fn one_account_has_so_many_parts_on_their_way() {
    let mut world = World::new(&[10]);
    world.must(DELEGATOR, tokens(50), DELEGATE, &[arg(operator(1))]);
    for _ in 0..MAX_ENTRIES {
        world.must(DELEGATOR, U256::ZERO, UNDELEGATE, &[arg(operator(1)), tokens(1)]);
    }
    assert!(world.refused(DELEGATOR, U256::ZERO, UNDELEGATE, &[arg(operator(1)), tokens(1)]).contains("too many"));
    let all = unbonding::entries(&mut world.storage, DELEGATOR).unwrap();
    assert_eq!(all.len(), 16);
    // Those that are due leave, the others stay in order.
    let half = world.storage.clone();
    world.time += StakingParams::default().unbonding_seconds;
    world.height += 200;
    assert_eq!(world.must(DELEGATOR, U256::ZERO, "withdraw()", &[]).payout, tokens(16));
    assert_eq!(unbonding::entries(&mut world.storage, DELEGATOR).unwrap(), []);
    world.storage = half;
    assert_eq!(
        world.must(DELEGATOR, U256::ZERO, "unbondingOf(address)", &[arg(DELEGATOR)]).output.len(),
        32 * (2 + 3 * 16)
    );
}

#[test]
fn what_left_before_an_offence_was_proven_pays_its_part_and_what_left_before_it_was_made_nothing() {
    for (offence, pays) in [(1_001, true), (1_002, false)] {
        let mut world = World::new(&[100]);
        world.must(DELEGATOR, tokens(20), DELEGATE, &[arg(operator(1))]);
        world.must(DELEGATOR, U256::ZERO, UNDELEGATE, &[arg(operator(1)), tokens(20)]);
        // What leaves in one block has weight in the next.
        world.height += 10;
        world.begin(&[], &[double(1, offence, 100)]);
        world.time += StakingParams::default().unbonding_seconds;
        world.height += 200;
        let paid = world.must(DELEGATOR, U256::ZERO, "withdraw()", &[]).payout;
        assert_eq!(paid, if pays { tokens(19) } else { tokens(20) });
        assert_eq!(world.pool(), if pays { tokens(6) } else { tokens(5) });
    }
}

#[test]
fn moved_stake_stays_where_it_is_for_a_while_and_answers_for_where_it_was() {
    let mut world = World::new(&[100, 100, 100, 100, 100]);
    let (from, to) = (arg(operator(1)), arg(operator(5)));
    world.must(DELEGATOR, tokens(40), DELEGATE, &[from]);
    assert!(world.refused(DELEGATOR, U256::ZERO, REDELEGATE, &[from, from, tokens(1)]).contains("the same"));
    world.must(DELEGATOR, U256::ZERO, REDELEGATE, &[from, to, tokens(20)]);
    let too_soon = world.refused(DELEGATOR, U256::ZERO, REDELEGATE, &[to, from, U256::ONE]);
    assert!(too_soon.contains("too recently"), "{too_soon}");
    for n in 2..=4 {
        world.must(DELEGATOR, tokens(1), DELEGATE, &[arg(operator(n))]);
        let arguments = [arg(operator(n)), to, tokens(1)];
        if usize::from(n) <= MAX_MOVES {
            world.must(DELEGATOR, U256::ZERO, REDELEGATE, &arguments);
        } else {
            assert!(world.refused(DELEGATOR, U256::ZERO, REDELEGATE, &arguments).contains("too many recent moves"));
        }
    }
    let own = Delegation::load(&mut world.storage, operator(5), DELEGATOR).unwrap();
    assert_eq!((own.shares, own.free(), own.moves.len()), (tokens(22), U256::ZERO, MAX_MOVES));
    // An offence from before the move costs them their part.
    world.begin(&[], &[double(1, 999, 100)]);
    let settle =
        |world: &mut World| world.must(DELEGATOR, U256::ZERO, "settle(address,address)", &[to, arg(DELEGATOR)]);
    let before = world.pool();
    settle(&mut world);
    let own = Delegation::load(&mut world.storage, operator(5), DELEGATOR).unwrap();
    assert_eq!((own.shares, world.pool() - before), (tokens(21), tokens(1)));
    settle(&mut world);
    assert_eq!(world.pool() - before, tokens(1), "once");
    // When nothing can be proven any more they are like any other.
    world.time += StakingParams::default().unbonding_seconds;
    world.height += 200;
    settle(&mut world);
    let own = Delegation::load(&mut world.storage, operator(5), DELEGATOR).unwrap();
    assert_eq!((own.free(), own.moves.len()), (tokens(21), 0));
    world.must(DELEGATOR, U256::ZERO, REDELEGATE, &[to, arg(operator(2)), tokens(21)]);
}

#[test]
fn a_pause_of_the_chain_is_added_from_its_bound_on() {
    for (pause, added) in [(MARGIN_SECONDS - 1, 0), (MARGIN_SECONDS, MARGIN_SECONDS)] {
        let mut world = World::new(&[10]);
        world.must(DELEGATOR, tokens(5), DELEGATE, &[arg(operator(1))]);
        world.must(DELEGATOR, U256::ZERO, UNDELEGATE, &[arg(operator(1)), tokens(2)]);
        let due = world.time + StakingParams::default().unbonding_seconds;
        world.time += pause - 1;
        let (height, before) = (world.height + 1, world.time + 1 - pause);
        let facts = BlockFacts { height, time: world.time + 1, before, votes: &[], offences: &[], known: &world.known };
        begin_block(&mut world.storage, &facts).unwrap();
        (world.height, world.time) = (height + 200, due + added);
        if added > 0 {
            world.time -= 1;
            assert!(world.refused(DELEGATOR, U256::ZERO, "withdraw()", &[]).contains("nothing is due"));
            world.time += 1;
        }
        assert_eq!(world.must(DELEGATOR, U256::ZERO, "withdraw()", &[]).payout, tokens(2));
    }
}

#[test]
fn only_governance_changes_parameters_and_takes_what_was_slashed() {
    let mut world = World::new(&[100]);
    world.begin(&[], &[double(1, 990, 100)]);
    let set = "setParameters((uint256,uint256,uint256,uint256,uint256,uint256,uint256,uint256))";
    let numbers = StakingParams { max_validators: 3, ..StakingParams::default() }.numbers().map(U256::from);
    let take = "takePool(uint256)";
    for caller in [DELEGATOR, Address::ZERO, operator(1)] {
        for (name, arguments) in
            [(set, numbers.to_vec()), ("setGovernance(address)", vec![arg(caller)]), (take, vec![U256::ZERO])]
        {
            assert!(world.refused(caller, U256::ZERO, name, &arguments).contains("only governance"));
        }
    }
    let mut wrong = numbers;
    wrong[2] = U256::ZERO;
    assert!(world.refused(GOVERNANCE, U256::ZERO, set, &wrong).contains("max_validators"));
    assert!(world.refused(GOVERNANCE, U256::ZERO, take, &[tokens(5) + U256::ONE]).contains("not that much"));
    for name in ["cancelParameters()", "cancelPool()", "collectPool()"] {
        assert!(world.refused(DELEGATOR, U256::ZERO, name, &[]).contains("only governance"), "{name}");
    }
    world.must(GOVERNANCE, U256::ZERO, "setGovernance(address)", &[U256::ZERO]);
    assert!(world.refused(Address::ZERO, U256::ZERO, take, &[U256::ZERO]).contains("only governance"), "nobody has it");
    assert!(world.refused(GOVERNANCE, U256::ZERO, take, &[U256::ZERO]).contains("only governance"), "any more");
}

#[test]
fn each_parameter_has_its_bounds() {
    let good = StakingParams::default();
    let wrong = |change: &dyn Fn(&mut StakingParams)| {
        let mut params = good.clone();
        change(&mut params);
        params.problem().map(|(field, _)| field)
    };
    let soonest = good.evidence_seconds + MARGIN_SECONDS;
    assert_eq!(wrong(&|_| {}), None);
    for (n, field) in
        [(0, Some("staking.max_validators")), (1, None), (300, None), (301, Some("staking.max_validators"))]
    {
        assert_eq!(wrong(&|params| params.max_validators = n), field, "{n}");
    }
    for (n, field) in [
        (soonest - 1, Some("staking.unbonding_seconds")),
        (soonest, None),
        (315_360_000, None),
        (315_360_001, Some("staking.unbonding_seconds")),
    ] {
        assert_eq!(wrong(&|params| params.unbonding_seconds = n), field, "{n}");
    }
    for (n, field) in [
        (0, Some("staking.evidence_blocks")),
        (1, None),
        (10_000_000, None),
        (10_000_001, Some("staking.evidence_blocks")),
    ] {
        assert_eq!(wrong(&|params| params.evidence_blocks = n), field, "{n}");
    }
    for (n, field) in [(0, Some("staking.max_missed")), (1, None), (256, None), (257, Some("staking.max_missed"))] {
        assert_eq!(wrong(&|params| params.max_missed = n), field, "{n}");
    }
    assert_eq!(wrong(&|params| params.evidence_seconds = 0), Some("staking.evidence_seconds"));
    assert_eq!(wrong(&|params| params.evidence_seconds = 1), None);
    for (n, bad) in [(WHOLE, false), (WHOLE + 1, true)] {
        assert_eq!(wrong(&|params| params.double_sign_slash = n), bad.then_some("staking.double_sign_slash"));
        assert_eq!(wrong(&|params| params.downtime_slash = n), bad.then_some("staking.downtime_slash"));
    }
    let mut storage = Memory::default();
    let odd = StakingParams {
        governance: GOVERNANCE,
        evidence_blocks: 7,
        evidence_seconds: 8,
        ..good.with_numbers([9, 2, 3, 4, 5, 6, 7, 8])
    };
    odd.store(&mut storage).unwrap();
    assert_eq!((StakingParams::load(&mut storage).unwrap(), odd.numbers()), (odd, [9, 2, 3, 4, 5, 6, 7, 8]));
}

#[test]
fn a_call_takes_value_only_where_it_is_meant_and_changes_nothing_in_a_question() {
    let mut world = World::new(&[10]);
    for name in ["unjail()", "withdraw()", "claimCommission()", "pool()"] {
        assert!(world.refused(DELEGATOR, U256::ONE, name, &[]).contains("takes no value"), "{name}");
    }
    assert!(world.refused(DELEGATOR, U256::ZERO, "drain()", &[]).contains("no such function"));
    for (name, allowed) in [("pool()", true), ("validatorCount()", true), ("claimCommission()", false)] {
        let env = Env { caller: operator(1), value: U256::ZERO, read_only: true, height: 1, time: 1 };
        assert_eq!(run(&mut world.storage, &env, &selector(name)).unwrap().is_ok(), allowed, "{name}");
    }
    let at = "validatorAt(uint256)";
    assert!(world.refused(DELEGATOR, U256::ZERO, at, &[U256::ONE]).contains("no such validator"));
    let said = world.must(DELEGATOR, U256::ZERO, at, &[U256::ZERO]);
    assert_eq!(U256::from_be_slice(&said.output), arg(operator(1)));
    let chain = "announceBeaconChain(bytes32,uint256)";
    assert!(world.refused(operator(1), U256::ZERO, chain, &[U256::ONE, U256::ZERO]).contains("beacon chain must have"));
    assert!(world.refused(DELEGATOR, U256::ZERO, chain, &[U256::ONE, U256::ONE]).contains("no such validator"));
    world.must(operator(1), U256::ZERO, chain, &[U256::ONE, U256::ONE]);
}

#[test]
fn shares_are_worth_their_part_and_their_number_is_bounded() {
    let mut world = World::new(&[10]);
    let mut validator = world.validator(1);
    assert_eq!(validator.slash(2_500), tokens(10) / U256::from(4));
    assert_eq!(validator.worth(tokens(10)), tokens(15) / U256::from(2));
    assert_eq!(validator.add(tokens(3)).unwrap(), tokens(4));
    assert_eq!((validator.tokens, validator.shares), (tokens(21) / U256::from(2), tokens(14)));
    assert_eq!((validator.take(tokens(4)), validator.power()), (tokens(3), 7));
    let most = U256::ONE << 128;
    let of = |tokens: U256, shares: U256| Validator { tokens, shares, ..validator.clone() };
    assert!(of(U256::ONE, most - U256::from(2)).add(U256::ONE).is_err(), "too many shares");
    assert!(of(most, most - U256::from(2)).add(U256::from(2)).is_ok());
    let last = most - U256::ONE;
    assert!(of(last, last).add(U256::ONE).is_err() && of(last, last - U256::ONE).add(U256::ONE).is_err());
    assert!(of(U256::ZERO, tokens(1)).add(tokens(1)).unwrap_err().to_string().contains("all of its stake was slashed"));
    assert!(of(tokens(10), U256::from(10)).add(U256::from(5)).is_err(), "worth no share");
    assert!(
        of(tokens(10), U256::from(10)).add(tokens(1) + TOKEN / U256::from(2)).is_err(),
        "rounding would take too much"
    );
    // Less than a whole share, of which nearly half would go: also of amounts below a token.
    assert!(of(U256::from(4_000_000), U256::from(10)).add(U256::from(799_999)).is_err());
}

#[test]
fn a_validator_is_read_as_it_was_written() {
    let mut world = World::new(&[10]);
    let penalty = penalty::Penalty { height: 3, proven: 4, time: 5, part: 600, stake: tokens(7), power: 8 };
    for status in [Status::Active, Status::Jailed(77), Status::Tombstoned(penalty)] {
        let wanted = Validator {
            status,
            commission: 9_999,
            earned: U256::from(11),
            missed: U256::MAX,
            expected: 255,
            owed: U256::from(12),
            ..world.validator(1)
        };
        wanted.store(&mut world.storage).unwrap();
        assert_eq!(world.validator(1), wanted);
    }
}

#[test]
fn a_call_costs_what_it_may_do() {
    let price = |name| price(&selector(name));
    assert_eq!(price("pool()"), 20_000);
    assert_eq!(price("delegate(address)"), 120_000);
    assert_eq!([UNDELEGATE, REDELEGATE].map(price), [250_000; 2]);
    assert_eq!(price(CREATE), 400_000 + crate::evm::committee::SIGNATURE_GAS);
    assert_eq!(price("drain()"), 2_000);
}

#[test]
fn what_is_taken_out_is_free_first_and_says_for_whom_the_rest_answers() {
    let origin = |n| origin::Origin { validator: operator(n), height: 5, power: 0 };
    let moved = |n, shares: u64| delegation::Move { origin: origin(n), shares: U256::from(shares), until: 9 };
    let all = || {
        let mut own = Delegation::default();
        (own.shares, own.moves) = (U256::from(10), vec![moved(1, 3), moved(2, 4)]);
        own
    };
    let part = |shares: u64, n: Option<u8>| (U256::from(shares), n.map(origin));
    for (taken, parts, left) in [
        (3, vec![part(3, None)], vec![moved(1, 3), moved(2, 4)]),
        (5, vec![part(3, None), part(2, Some(1))], vec![moved(1, 1), moved(2, 4)]),
        (8, vec![part(3, None), part(3, Some(1)), part(2, Some(2))], vec![moved(2, 2)]),
        (10, vec![part(3, None), part(3, Some(1)), part(4, Some(2))], vec![]),
    ] {
        let mut own = all();
        assert_eq!(own.split_off(U256::from(taken)), parts, "{taken}");
        assert_eq!((own.shares, own.moves), (U256::from(10 - taken), left), "{taken}");
    }
}

#[test]
fn the_least_that_an_operator_bonds_is_a_parameter() {
    let mut world = World::with(&[10], StakingParams { min_self_bond: 3, ..StakingParams::default() });
    let wanted = registration(operator(9), 9, 0, 1);
    assert!(world.refused(operator(9), tokens(3) - U256::ONE, CREATE, &wanted).contains("must bond more"));
    world.must(operator(9), tokens(3), CREATE, &wanted);
}

#[test]
fn half_of_what_is_on_its_way_can_be_lost() {
    let mut world = World::with(&[100], StakingParams { double_sign_slash: 5_000, ..StakingParams::default() });
    world.must(DELEGATOR, tokens(20), DELEGATE, &[arg(operator(1))]);
    world.must(DELEGATOR, U256::ZERO, UNDELEGATE, &[arg(operator(1)), tokens(20)]);
    world.begin(&[], &[double(1, 999, 100)]);
    world.time += StakingParams::default().unbonding_seconds;
    world.height += 200;
    assert_eq!(world.must(DELEGATOR, U256::ZERO, "withdraw()", &[]).payout, tokens(10));
    assert_eq!(world.pool(), tokens(60));
}

#[test]
fn calls_say_what_they_did() {
    use alloy_primitives::keccak256;
    let mut world = World::new(&[100]);
    let to = operator(1);
    for (value, name, arguments, event) in [
        (tokens(5), DELEGATE, vec![arg(to)], "Delegated(address,address,uint256)"),
        (U256::ZERO, UNDELEGATE, vec![arg(to), tokens(5)], "Undelegated(address,address,uint256)"),
    ] {
        let answer = world.must(DELEGATOR, value, name, &arguments);
        assert_eq!(answer.logs[0].topics, [keccak256(event), to.into_word(), DELEGATOR.into_word()]);
        assert_eq!(U256::from_be_slice(&answer.logs[0].data), tokens(5));
    }
    world.begin(&[], &[double(1, 990, 100)]);
    let said = world.must(to, U256::ZERO, "announceBeaconChain(bytes32,uint256)", &[U256::ONE, U256::ONE]).output;
    assert!(!U256::from_be_slice(&said).is_zero(), "the epoch from which on it counts");
}
