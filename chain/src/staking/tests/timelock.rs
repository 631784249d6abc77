//! What governance announces: nothing of it counts before everybody can have left, whatever happens in between.

use alloy_primitives::{U256, keccak256};

use super::*;
use crate::staking::{NOTICE_BLOCKS, NOTICE_SECONDS, params::MARGIN_SECONDS};

const SET: &str = "setParameters((uint256,uint256,uint256,uint256,uint256,uint256,uint256,uint256))";
const TAKE: &str = "takePool(uint256)";
const COLLECT: &str = "collectPool()";
/// Above what a parameter is by itself.
const FIRST: u64 = 1_000_000;

fn params(world: &mut World) -> StakingParams {
    StakingParams::load(&mut world.storage).unwrap()
}

fn words(answer: &Answer) -> Vec<u64> {
    answer.output.chunks_exact(32).map(|word| U256::from_be_slice(word).saturating_to()).collect()
}

/// Announces parameters, and says from which time and height on they are in force.
fn announce(world: &mut World, next: &StakingParams) -> (u64, u64) {
    let answer = world.must(GOVERNANCE, U256::ZERO, SET, &next.numbers().map(U256::from));
    let said = words(&answer);
    (said[0], said[1])
}

/// A block at this height and time. No time in which the chain stood still lies before it.
fn block_at(world: &mut World, height: u64, time: u64) {
    (world.height, world.time) = (height - 1, time - 1);
    world.begin(&[], &[]);
}

/// Stands still for so long, then makes a block.
fn halt(world: &mut World, seconds: u64) {
    let (height, before, time) = (world.height + 1, world.time, world.time + seconds);
    let facts = BlockFacts { height, time, before, votes: &[], offences: &[], known: &world.known };
    begin_block(&mut world.storage, &facts).unwrap();
    (world.height, world.time) = (height, time);
}

#[test]
fn parameters_change_when_the_longest_exit_is_over_and_not_a_second_or_block_before() {
    let mut world = World::new(&[100]);
    let (old, next) = (params(&mut world), StakingParams { max_validators: 3, ..params(&mut world) });
    let answer = world.must(GOVERNANCE, U256::ZERO, SET, &next.numbers().map(U256::from));
    let time = world.time + old.unbonding_seconds + NOTICE_SECONDS;
    let height = world.height + old.evidence_blocks + NOTICE_BLOCKS;
    assert_eq!(words(&answer), [time, height]);
    assert_eq!(answer.logs[0].topics, [keccak256("ParametersAnnounced(uint256,uint256)")]);
    assert_eq!(answer.logs[0].data, answer.output);
    let pending = world.must(DELEGATOR, U256::ZERO, "pendingParameters()", &[]);
    assert_eq!(words(&pending), [next.numbers().as_slice(), &[time, height]].concat());
    for (height, time) in [(height - 1, time), (height, time - 1)] {
        let mut early = World { storage: world.storage.clone(), known: world.known.clone(), ..world };
        block_at(&mut early, height, time);
        assert_eq!(params(&mut early), old, "{height} {time}");
    }
    block_at(&mut world, height, time);
    assert_eq!(params(&mut world), next);
    assert_eq!(words(&world.must(DELEGATOR, U256::ZERO, "pendingParameters()", &[])), [0; 10]);
}

#[test]
fn what_was_slashed_is_paid_when_the_longest_exit_is_over() {
    let mut world = World::new(&[100]);
    world.begin(&[], &[double(1, 990, 100)]);
    assert!(world.refused(GOVERNANCE, U256::ZERO, COLLECT, &[]).contains("no payment of the pool waits"));
    let answer = world.must(GOVERNANCE, U256::ZERO, TAKE, &[tokens(5)]);
    assert_eq!(answer.payout, U256::ZERO);
    assert_eq!(answer.logs[0].topics, [keccak256("PoolAnnounced(uint256,uint256,uint256)")]);
    let [time, height] = words(&answer)[..] else { panic!("two words") };
    let pending = world.must(DELEGATOR, U256::ZERO, "pendingPool()", &[]).output;
    assert_eq!(U256::from_be_slice(&pending[..32]), tokens(5));
    for (height, time) in [(height - 1, time), (height, time - 1)] {
        (world.height, world.time) = (height, time);
        assert!(world.refused(GOVERNANCE, U256::ZERO, COLLECT, &[]).contains("not due yet"));
    }
    (world.height, world.time) = (height, time);
    assert!(world.refused(DELEGATOR, U256::ZERO, COLLECT, &[]).contains("only governance"));
    assert_eq!(world.must(GOVERNANCE, U256::ZERO, COLLECT, &[]).payout, tokens(5));
    assert_eq!(world.pool(), U256::ZERO);
    assert!(world.refused(GOVERNANCE, U256::ZERO, COLLECT, &[]).contains("no payment of the pool waits"), "once");
}

#[test]
fn an_announcement_is_taken_back_and_one_in_its_place_begins_anew() {
    let mut world = World::new(&[100]);
    world.begin(&[], &[double(1, 990, 100)]);
    let old = params(&mut world);
    let three = StakingParams { max_validators: 3, ..old.clone() };
    for (name, event) in [("cancelParameters()", "ParametersCancelled()"), ("cancelPool()", "PoolCancelled()")] {
        assert!(world.refused(GOVERNANCE, U256::ZERO, name, &[]).contains("nothing was announced"));
        announce(&mut world, &three);
        world.must(GOVERNANCE, U256::ZERO, TAKE, &[tokens(1)]);
        let answer = world.must(GOVERNANCE, U256::ZERO, name, &[]);
        assert_eq!(answer.logs[0].topics, [keccak256(event)]);
        assert!(world.refused(GOVERNANCE, U256::ZERO, name, &[]).contains("nothing was announced"));
        // The other one waits as it did.
        let other = if name == "cancelPool()" { "cancelParameters()" } else { "cancelPool()" };
        world.must(GOVERNANCE, U256::ZERO, other, &[]);
    }
    let (time, height) = announce(&mut world, &three);
    (world.height, world.time) = (height - 1, time - 10);
    let (later, higher) = announce(&mut world, &StakingParams { max_validators: 4, ..old.clone() });
    assert!(later > time && higher > height);
    block_at(&mut world, height, time);
    assert_eq!(params(&mut world), old);
    block_at(&mut world, higher, later);
    assert_eq!(params(&mut world).max_validators, 4);
}

#[test]
fn time_in_which_the_chain_stood_still_does_not_count() {
    let mut world = World::new(&[100]);
    world.begin(&[], &[double(1, 990, 100)]);
    let next = StakingParams { max_validators: 3, ..params(&mut world) };
    let (time, height) = announce(&mut world, &next);
    world.must(GOVERNANCE, U256::ZERO, TAKE, &[tokens(1)]);
    halt(&mut world, MARGIN_SECONDS - 1);
    let pending = words(&world.must(DELEGATOR, U256::ZERO, "pendingParameters()", &[]));
    assert_eq!(pending[8..], [time, height], "a short one counts");
    halt(&mut world, 30 * 24 * 3600);
    for (name, at) in [("pendingParameters()", 8), ("pendingPool()", 1)] {
        let pending = words(&world.must(DELEGATOR, U256::ZERO, name, &[]));
        assert_eq!(pending[at..], [time + 30 * 24 * 3600, height], "{name}");
    }
}

#[test]
fn whoever_gives_the_office_up_for_good_leaves_nothing_waiting() {
    for (heir, left) in [(operator(1), true), (Address::ZERO, false)] {
        let mut world = World::new(&[100]);
        let next = StakingParams { max_validators: 3, ..params(&mut world) };
        let (time, height) = announce(&mut world, &next);
        world.must(GOVERNANCE, U256::ZERO, "setGovernance(address)", &[arg(heir)]);
        block_at(&mut world, height, time);
        assert_eq!(params(&mut world).max_validators == 3, left);
    }
}

#[test]
fn a_shorter_exit_does_not_shorten_the_time_of_what_is_announced_next() {
    let mut world = World::new(&[100]);
    let old = params(&mut world);
    let shortest = StakingParams { unbonding_seconds: old.evidence_seconds + MARGIN_SECONDS, ..old.clone() };
    let (time, height) = announce(&mut world, &shortest);
    // Who leaves in the last second before does so by the old time.
    (world.height, world.time) = (height - 1, time - 1);
    world.must(DELEGATOR, tokens(2), DELEGATE, &[arg(operator(1))]);
    world.must(DELEGATOR, U256::ZERO, UNDELEGATE, &[arg(operator(1)), tokens(2)]);
    block_at(&mut world, height, time);
    assert_eq!(params(&mut world), shortest);
    let (time, height) = announce(&mut world, &StakingParams { double_sign_slash: 10_000, ..shortest });
    assert!(time >= world.time + old.unbonding_seconds);
    (world.height, world.time) = (height - 1, time - 1);
    assert_eq!(world.must(DELEGATOR, U256::ZERO, "withdraw()", &[]).payout, tokens(2));
}

/// Random histories of announcements, halts and people who leave. Whoever leaves within the notice of something announced has
/// its tokens before that counts.
#[test]
fn whoever_leaves_in_time_is_gone_before_anything_changes() {
    let mut gone = 0;
    for seed in 0..60u64 {
        let mut chance = seed;
        let mut random = |below: u64| {
            chance = chance.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (chance >> 33) % below
        };
        let mut world = World::new(&[100]);
        world.begin(&[], &[]);
        // Accounts that left, and the announcement (by number) that each left in time for.
        let mut leaving: Vec<(Address, u64)> = Vec::new();
        let (mut number, mut announced, mut counted) = (FIRST, 0u64, 0u64);
        for step in 0..400u64 {
            match random(8) {
                0 => {
                    let shortest = StakingParams::default().evidence_seconds + MARGIN_SECONDS;
                    let seconds = shortest + random(40 * 24 * 3600);
                    // Its number is in a parameter, so that the one in force says which it is.
                    number += 1;
                    let next = StakingParams { unbonding_seconds: seconds, jail_seconds: number, ..params(&mut world) };
                    announce(&mut world, &next);
                    (announced, counted) = (world.time, 0);
                }
                1 if number > FIRST && counted <= NOTICE_SECONDS && params(&mut world).jail_seconds != number => {
                    let who = Address::left_padding_from(&(1_000 + step).to_be_bytes());
                    world.must(who, tokens(1), DELEGATE, &[arg(operator(1))]);
                    world.must(who, U256::ZERO, UNDELEGATE, &[arg(operator(1)), tokens(1)]);
                    leaving.push((who, number));
                }
                2 => halt(&mut world, random(20 * 24 * 3600)),
                _ => {
                    let seconds = random(MARGIN_SECONDS);
                    world.height += random(300);
                    halt(&mut world, seconds);
                    // A day or two of such blocks.
                    for _ in 0..random(48) {
                        halt(&mut world, MARGIN_SECONDS - 1);
                    }
                }
            }
            counted = counted.max(world.time - announced);
            let now = params(&mut world).jail_seconds;
            leaving.retain(|(who, which)| {
                if now < *which {
                    return true;
                }
                // In force by this block: they could have had everything by now.
                let paid = world.must(*who, U256::ZERO, "withdraw()", &[]).payout;
                assert_eq!(paid, tokens(1), "seed {seed}, step {step}");
                gone += 1;
                false
            });
        }
    }
    assert!(gone > 100, "{gone}");
}
