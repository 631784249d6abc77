//! Random histories of stake beside a small model: the contract accepts and refuses what the model does, everybody has
//! what the model says, it owns exactly what it owes but for the dust of rounding, never pays more than was made or
//! twice, punishes once, and tells consensus nothing that would stop it.

use std::collections::BTreeMap;

use alloy_primitives::{Address, U256};
use ed25519_dalek::SigningKey;
use proptest::prelude::*;
use proptest_state_machine::{ReferenceStateMachine, StateMachineTest, prop_state_machine};
use sahara_chain::{
    application::{Offence, OffenceKind, Vote},
    error::StoreError,
    evm::abi::selector,
    genesis::{DEV_CHAIN_ID, GenesisValidator, TOKEN},
    staking::{self, BlockFacts, Env, StakingParams, Status, Storage, Validator},
    validator::{ConsensusAddress, ConsensusKey},
};

use crate::{
    common::CHAIN,
    stake_model::{ACTORS, EVIDENCE, Model, Part, Standing, Step, step},
    stake_net::{CREATE, registration},
};

#[derive(Clone, Default, PartialEq)]
pub struct Memory(BTreeMap<U256, U256>);

impl Storage for Memory {
    fn load(&mut self, slot: U256) -> Result<U256, StoreError> {
        Ok(self.0.get(&slot).copied().unwrap_or_default())
    }

    fn store(&mut self, slot: U256, value: U256) -> Result<(), StoreError> {
        self.0.insert(slot, value);
        Ok(())
    }
}

fn actor(i: u8) -> Address {
    Address::repeat_byte(i + 1)
}

fn key(i: u8) -> ConsensusKey {
    ConsensusKey(SigningKey::from_bytes(&[i + 1; 32]).verifying_key().to_bytes().into())
}

fn word(i: u8) -> U256 {
    U256::from_be_bytes(actor(i).into_word().0)
}

/// The contract, its money, and what consensus was told.
struct World {
    storage: Memory,
    balance: U256,
    made: U256,
    rewarded: U256,
    height: u64,
    time: u64,
    known: BTreeMap<ConsensusAddress, GenesisValidator>,
    steps: u64,
}

impl World {
    fn new() -> Self {
        let mut world = Self {
            storage: Memory::default(),
            balance: U256::ZERO,
            made: U256::ZERO,
            rewarded: U256::ZERO,
            height: 1,
            time: 1_000_000,
            known: BTreeMap::new(),
            steps: 0,
        };
        let params = StakingParams { max_validators: 3, evidence_blocks: EVIDENCE, ..StakingParams::default() };
        params.store(&mut world.storage).unwrap();
        staking::identify(&mut world.storage, CHAIN, DEV_CHAIN_ID).unwrap();
        for i in 0..2 {
            let validator = GenesisValidator { operator: actor(i), consensus_key: key(i), power: 10 };
            world.balance += staking::bond_genesis(&mut world.storage, &validator).unwrap();
            world.known.insert(validator.consensus_key.address(), validator);
        }
        world
    }

    /// What the call returns, and what it pays.
    fn call(&mut self, from: u8, value: U256, name: &str, arguments: &[U256]) -> Option<(Vec<U256>, U256)> {
        let mut input = selector(name).to_vec();
        arguments.iter().for_each(|word| input.extend(word.to_be_bytes::<32>()));
        let env = Env { caller: actor(from), value, read_only: false, height: self.height, time: self.time };
        let before = self.storage.clone();
        match staking::run(&mut self.storage, &env, &input).unwrap() {
            Ok(answer) => {
                self.balance += value;
                assert!(answer.payout <= self.balance, "{name} pays more than there is");
                self.balance -= answer.payout;
                Some((answer.output.chunks_exact(32).map(U256::from_be_slice).collect(), answer.payout))
            }
            Err(_) => {
                self.storage = before;
                None
            }
        }
    }

    fn ask(&mut self, name: &str, arguments: &[U256]) -> Option<Vec<U256>> {
        self.call(0, U256::ZERO, name, arguments).map(|(output, _)| output)
    }

    fn worth(&mut self, owner: u8, at: u8) -> U256 {
        self.ask("delegationOf(address,address)", &[word(at), word(owner)]).map_or(U256::ZERO, |answer| answer[0])
    }

    /// What the step pays, if it is accepted.
    fn take(&mut self, step: &Step, model: &Model) -> Option<U256> {
        self.steps += 1;
        let none = U256::ZERO;
        let n = U256::from;
        let done = match *step {
            Step::Create { who, commission } => {
                let signer = SigningKey::from_bytes(&[who + 1; 32]);
                self.call(who, TOKEN * n(2), CREATE, &registration(&signer, actor(who), commission))
            }
            Step::Delegate { who, to, amount } => self.call(who, n(amount), "delegate(address)", &[word(to)]),
            Step::Undelegate { who, from, part } => {
                let all = part == Part::MAX && !model.asked.is_zero();
                let amount = if all { self.worth(who, from) } else { model.asked };
                self.call(who, none, "undelegate(address,uint256)", &[word(from), amount])
            }
            Step::Redelegate { who, from, to, .. } => {
                let arguments = [word(from), word(to), model.asked];
                self.call(who, none, "redelegate(address,address,uint256)", &arguments)
            }
            Step::Withdraw(who) => self.call(who, none, "withdraw()", &[]),
            Step::Claim(who, at) => {
                let done = self.call(who, none, "claim(address)", &[word(at)]);
                self.rewarded += done.as_ref().map_or(none, |(_, paid)| *paid);
                return done.map(|_| none);
            }
            Step::ClaimCommission(who) => {
                let done = self.call(who, none, "claimCommission()", &[]);
                self.rewarded += done.as_ref().map_or(none, |(_, paid)| *paid);
                return done.map(|_| none);
            }
            Step::Unjail(who) => self.call(who, none, "unjail()", &[]),
            Step::Block(signers) => {
                let votes = Self::votes(|v| signers >> v & 1 == 1);
                self.block(&votes, &[]);
                return Some(none);
            }
            Step::Away(who) => {
                let free = |world: &mut Self| {
                    Validator::load(&mut world.storage, actor(who)).is_ok_and(|v| v.status == Status::Active)
                };
                while free(self) {
                    self.block(&[Vote { validator: key(who).address(), power: 1, signed: false }], &[]);
                }
                return Some(none);
            }
            Step::Offence { who, ago, power } => {
                let height = self.height.saturating_sub(ago).max(1);
                self.punish(Offence { validator: key(who).address(), height, kind: OffenceKind::DoubleSign, power });
                return Some(none);
            }
            Step::Wait(seconds) => {
                self.time += seconds;
                return Some(none);
            }
        };
        self.end();
        done.map(|(_, paid)| paid)
    }

    fn votes(signs: impl Fn(u8) -> bool) -> Vec<Vote> {
        (0..ACTORS)
            .filter(|v| signs(*v))
            .map(|v| Vote { validator: key(v).address(), power: 3 + u64::from(v), signed: true })
            .collect()
    }

    /// Twice in the block and once more in the next: it counts once.
    fn punish(&mut self, offence: Offence) {
        self.block(&[], &[offence, offence]);
        // What was moved pays now, not when its owner comes by.
        for (v, a) in (0..ACTORS).flat_map(|v| (0..ACTORS).map(move |a| (v, a))) {
            self.call(0, U256::ZERO, "settle(address,address)", &[word(v), word(a)]);
        }
        let changes = self.end();
        assert!(changes.len() <= usize::from(ACTORS));
        let before = self.storage.clone();
        self.block(&[], &[offence]);
        assert!(self.storage == before, "punished twice");
    }

    fn block(&mut self, votes: &[Vote], offences: &[Offence]) {
        self.height += 1;
        self.time += 1;
        let before = self.time - 1;
        // Whoever ever registered, also those that were never strong enough.
        let mut known = BTreeMap::new();
        for i in 0..ACTORS {
            if Validator::load(&mut self.storage, actor(i)).is_ok() {
                let validator = GenesisValidator { operator: actor(i), consensus_key: key(i), power: 1 };
                known.insert(key(i).address(), validator);
            }
        }
        let facts = BlockFacts { height: self.height, time: self.time, before, votes, offences, known: &known };
        let made = staking::begin_block(&mut self.storage, &facts).unwrap();
        self.balance += made;
        self.made += made;
        assert!(made <= U256::from(StakingParams::default().block_reward) + U256::from(ACTORS));
        self.end();
    }

    fn end(&mut self) -> Vec<GenesisValidator> {
        let changes = staking::end_block(&mut self.storage).unwrap();
        for change in &changes {
            let old = self.known.insert(change.consensus_key.address(), change.clone());
            let told = old.map_or(0, |old| old.power);
            assert!(told != change.power, "no news of {}", change.operator);
        }
        let active = self.known.values().filter(|v| v.power > 0).count();
        assert!((1..=3).contains(&active), "{active} validators");
        changes
    }

    fn check(&mut self, model: &Model) {
        let dust = U256::from(64 + 4 * self.steps);
        let mut owed = self.ask("pool()", &[]).unwrap()[0];
        let mut rewards = self.rewarded;
        for v in 0..ACTORS {
            let Ok(validator) = Validator::load(&mut self.storage, actor(v)) else {
                assert!(!model.validators.contains_key(&v));
                continue;
            };
            match (validator.status, model.validators[&v]) {
                (Status::Active, Standing::Active) | (Status::Tombstoned(_), Standing::Tombstoned(_)) => {}
                (Status::Jailed(a), Standing::Jailed(b)) if a == b => {}
                (found, expected) => panic!("validator {v} is {found:?}, not {expected:?}"),
            }
            assert!(validator.tokens.abs_diff(model.stake(v)) <= dust, "{v}: {} {}", validator.tokens, model.stake(v));
            owed += validator.tokens + validator.owed;
            rewards += validator.owed;
            let mut shares = U256::ZERO;
            for a in 0..ACTORS {
                let own = self.ask("delegationOf(address,address)", &[word(v), word(a)]).unwrap();
                assert!(own[0].abs_diff(model.worth(a, v)) <= dust, "{a} at {v}: {} {}", own[0], model.worth(a, v));
                shares += own[1];
                owed += own[2];
                rewards += own[2];
            }
            assert_eq!(shares, validator.shares, "shares belong to delegators");
        }
        for a in 0..ACTORS {
            let entries = self.ask("unbondingOf(address)", &[word(a)]).unwrap();
            assert_eq!(entries.len(), 2 + 3 * model.entries(a), "entries of {a}");
            owed += entries[2..].chunks_exact(3).map(|entry| entry[1]).sum::<U256>();
        }
        assert!(rewards <= self.made, "rewards of {rewards}, and {} were made", self.made);
        assert!(self.balance >= owed, "it owes {owed} and owns {}", self.balance);
        let dust = self.balance - owed;
        assert!(dust <= U256::from(self.height * 4 + self.steps * 8), "{dust} went astray");
    }
}

struct Reference;

impl ReferenceStateMachine for Reference {
    type State = Model;
    type Transition = Step;

    fn init_state() -> BoxedStrategy<Model> {
        Just(Model::new()).boxed()
    }

    fn transitions(_: &Model) -> BoxedStrategy<Step> {
        step().boxed()
    }

    fn apply(mut model: Model, step: &Step) -> Model {
        model.take(step);
        model
    }
}

struct Staking;

impl StateMachineTest for Staking {
    type SystemUnderTest = World;
    type Reference = Reference;

    fn init_test(_: &Model) -> World {
        World::new()
    }

    fn apply(mut world: World, model: &Model, step: Step) -> World {
        let found = world.take(&step, model);
        match (found, model.last) {
            (None, None) => {}
            (Some(found), Some(expected)) => {
                assert!(found.abs_diff(expected) <= U256::from(64), "{step:?} paid {found}, not {expected}");
            }
            (found, expected) => panic!("{step:?} gave {found:?}, not {expected:?}"),
        }
        world.check(model);
        world
    }
}

prop_state_machine! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(48) })]
    #[test]
    fn stake_is_conserved_whatever_happens(sequential 1..80 => Staking);
}

#[test]
fn a_large_stake_after_deep_cuts_does_not_overflow() {
    let (mut world, mut model) = (World::new(), Model::new());
    for _ in 0..40 {
        for step in [
            Step::Delegate { who: 3, to: 1, amount: u64::MAX },
            Step::Away(1),
            Step::Wait(1_000),
            Step::Unjail(1),
            Step::Undelegate { who: 3, from: 1, part: Part::MAX / 3 },
            Step::Withdraw(3),
        ] {
            model.take(&step);
            world.take(&step, &model);
            world.check(&model);
        }
    }
}
